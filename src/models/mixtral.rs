//! Mixtral (Jiang et al. 2024): LLaMA whose feed-forward layers are mixtures of experts.
//! In GGUF it is a `llama` with an expert count.

use super::{Architecture, DECODER, Family, llama, tables};
use crate::graph::Name;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Mixtral",
    gguf: &[],
    hugging_face: &["mixtral"],
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::ROPE_SCALING,
        tables::ROPE_PARAMETERS,
        &[
            ("attention.sliding_window", "sliding_window"),
            ("expert_count", "num_local_experts"),
            ("expert_used_count", "num_experts_per_tok"),
        ],
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        &[
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
    ],
    conversion: llama::CONVERSION,
    build: llama::build,
    ..DECODER
};
