//! Granite 3 MoE (Granite Team 2024): Granite whose feed-forward layers are mixtures of experts,
//! weighed by a softmax among the chosen, in some beside one that all rows share.

use super::granite_hybrid::HybridFeedForward;
use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, conversion, granite};
use crate::graph::Name;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Granite 3 MoE",
    gguf: &["granitemoe"],
    hugging_face: &["granitemoe", "granitemoeshared"],
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        granite::FACTORS,
        keys! {
            "num_local_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "shared_intermediate_size" => "expert_shared_feed_forward_length",
        },
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        FUSED_EXPERTS,
    ],
    conversion: Conversion {
        keys: |keys| {
            let shared = "expert_shared_feed_forward_length";
            if keys.count(shared) == Some(0) {
                keys.remove(&[shared]);
            }
        },
        tensor: |keys, tensor| match tensor.part().starts_with("ffn_gate_up_") {
            true => conversion::gates_apart(tensor),
            false => conversion::neighbours_paired(keys, tensor),
        },
        ..Conversion::PLAIN
    },
    build: |model| {
        let feed_forward = HybridFeedForward::read(model.config())?;
        granite::wire(
            model,
            &granite::Factors::read(model.config())?,
            &|net, h, layer| feed_forward.wire(net, h, layer),
        )
    },
    ..DECODER
};

/// Experts in stacks, and what all rows share: gates first, then what they let through.
pub(super) const FUSED_EXPERTS: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "shared_mlp.input_linear.weight" => "ffn_gate_up_shexp.weight",
        "shared_mlp.output_linear.weight" => "ffn_down_shexp.weight",
        "block_sparse_moe.router.layer.weight" => "ffn_gate_inp.weight",
        "block_sparse_moe.input_linear.weight" => "ffn_gate_up_exps.weight",
        "block_sparse_moe.output_linear.weight" => "ffn_down_exps.weight",
        // As transformers 5 holds them in memory.
        "block_sparse_moe.router.weight" => "ffn_gate_inp.weight",
        "block_sparse_moe.experts.gate_up_proj" => "ffn_gate_up_exps.weight",
        "block_sparse_moe.experts.down_proj" => "ffn_down_exps.weight",
    }
};
