//! Mixtral (Jiang et al. 2024): LLaMA whose feed-forward layers are mixtures of experts.
//! In GGUF it is a `llama` with an expert count.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, llama};
use rillm_formats::manifest::MetadataValue;

const USUAL: llama::Usual = llama::Usual {
    eps: 1e-5,
    base: 1e6,
    ..llama::USUAL
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Mixtral",
    gguf: &[],
    hugging_face: &["mixtral"],
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "sliding_window" => "attention.sliding_window",
            "num_local_experts" => "expert_count",
            "num_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
        },
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "block_sparse_moe.gate.weight" => "ffn_gate_inp.weight",
                "block_sparse_moe.experts.{e}.w1.weight" => "ffn_gate_exps.weight",
                "block_sparse_moe.experts.{e}.w3.weight" => "ffn_up_exps.weight",
                "block_sparse_moe.experts.{e}.w2.weight" => "ffn_down_exps.weight",
            }
        },
    ],
    conversion: Conversion {
        keys: |keys| {
            keys.put_usual("rope.freq_base", MetadataValue::F32(USUAL.base));
            keys.put_usual(
                "attention.layer_norm_rms_epsilon",
                MetadataValue::F32(USUAL.eps),
            );
        },
        ..llama::CONVERSION
    },
    build: |model| llama::wire(model, &USUAL, &|_| true),
    ..DECODER
};
