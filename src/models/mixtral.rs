//! Mixtral (Jiang et al. 2024): LLaMA whose feed-forward layers are mixtures of experts.
//! In GGUF it is a `llama` with an expert count.

use super::{Architecture, Family, llama};
use crate::graph::Name;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Mixtral",
    gguf: &[],
    hugging_face: &["mixtral"],
    family: Family::MixtureOfExperts,
    keys: llama::KEYS,
    names: &[
        Name::plain("model.embed_tokens.weight", "token_embd.weight"),
        Name::plain("model.norm.weight", "output_norm.weight"),
        Name::plain("lm_head.weight", "output.weight"),
        Name::plain(
            "model.layers.{i}.input_layernorm.weight",
            "blk.{i}.attn_norm.weight",
        ),
        Name::plain(
            "model.layers.{i}.self_attn.q_proj.weight",
            "blk.{i}.attn_q.weight",
        ),
        Name::plain(
            "model.layers.{i}.self_attn.k_proj.weight",
            "blk.{i}.attn_k.weight",
        ),
        Name::plain(
            "model.layers.{i}.self_attn.v_proj.weight",
            "blk.{i}.attn_v.weight",
        ),
        Name::plain(
            "model.layers.{i}.self_attn.o_proj.weight",
            "blk.{i}.attn_output.weight",
        ),
        Name::plain(
            "model.layers.{i}.post_attention_layernorm.weight",
            "blk.{i}.ffn_norm.weight",
        ),
        Name::plain(
            "model.layers.{i}.block_sparse_moe.gate.weight",
            "blk.{i}.ffn_gate_inp.weight",
        ),
        Name::plain(
            "model.layers.{i}.block_sparse_moe.experts.{e}.w1.weight",
            "blk.{i}.ffn_gate_exps.weight",
        ),
        Name::plain(
            "model.layers.{i}.block_sparse_moe.experts.{e}.w3.weight",
            "blk.{i}.ffn_up_exps.weight",
        ),
        Name::plain(
            "model.layers.{i}.block_sparse_moe.experts.{e}.w2.weight",
            "blk.{i}.ffn_down_exps.weight",
        ),
    ],
    unused: &[],
    build: llama::build,
};
