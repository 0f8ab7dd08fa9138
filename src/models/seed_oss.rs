//! Seed-OSS (ByteDance Seed 2025): LLaMA with biases of queries, keys and values.

use super::tables::{self, names};
use super::{Architecture, DECODER, Only, llama};
use crate::graph::Pairing;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Seed-OSS",
    gguf: &["seed_oss"],
    hugging_face: &["seed_oss"],
    off: &["mlp_bias"],
    keys: llama::KEYS,
    // Tensors tell.
    settled: &[("attention_out_bias", Only::Any)],
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        tables::GATED_MLP,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.weight" => "attn_norm.weight",
                "post_attention_layernorm.weight" => "post_attention_norm.weight",
            }
        },
    ],
    build: |model| llama::wire(model, &USUAL, &|_| true),
    ..DECODER
};

const USUAL: llama::Usual = llama::Usual {
    head_dim: Some(128),
    pairing: Some(Pairing::Halves),
    ffn_norm: "post_attention_norm",
    ..llama::USUAL
};
