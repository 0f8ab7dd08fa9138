//! MiniMax-M2 (MiniMax 2025): experts chosen by σ and a bias, weighed by shares of σ alone; queries
//! and keys are normalised over all heads together, and a part of each head rotates.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::{Heads, activation, attend, projections};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::experts::{Gating, Router, gated_experts};
use crate::graph::{BuildError, Builder, ExpertWeight, Pairing, PositionScheme, Rope};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "MiniMax-M2",
    gguf: &["minimax-m2"],
    hugging_face: &["minimax_m2"],
    // Its folders say MiniMax-01 as well, whose queries and keys have no norms.
    recognises: |config| {
        config.str("model_type") == Some("minimax") && config.bool("use_qk_norm") == Some(true)
    },
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::PARTIAL_ROPE,
        keys! {
            "rotary_dim" => "rope.dimension_count",
            "num_local_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "scoring_func" => "scoring_func",
        },
    ],
    settled: &[
        // All layers attend in the same way.
        ("attn_type_list", Only::Any),
        // Of MiniMax-01's sums, and of an expert that all share, of which there is none.
        ("layernorm_full_attention_beta", Only::Number(1.0)),
        ("layernorm_linear_attention_beta", Only::Number(1.0)),
        ("layernorm_mlp_beta", Only::Number(1.0)),
        ("mlp_intermediate_size", Only::Any),
        ("shared_moe_mode", Only::Any),
        ("mtp_transformer_layers", Only::Any),
        ("qk_norm_type", Only::Text(&["per_layer"])),
        ("shared_intermediate_size", Only::Number(0.0)),
        ("use_mtp", Only::Any),
        ("use_qk_norm", Only::Is(true)),
        ("use_routing_bias", Only::Is(true)),
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::HEAD_NORMS,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "block_sparse_moe.gate.weight" => "ffn_gate_inp.weight",
                "block_sparse_moe.e_score_correction_bias" => "exp_probs_b.bias",
                "block_sparse_moe.experts.{e}.w1.weight" => "ffn_gate_exps.weight",
                "block_sparse_moe.experts.{e}.w3.weight" => "ffn_up_exps.weight",
                "block_sparse_moe.experts.{e}.w2.weight" => "ffn_down_exps.weight",
            }
        },
    ],
    conversion: Conversion {
        keys: |keys| {
            keys.put_usual("rope.freq_base", MetadataValue::F32(BASE));
            keys.put("expert_gating_func", MetadataValue::U32(2));
            if let Some(hidden) = keys.values.value("feed_forward_length").cloned() {
                keys.put("expert_feed_forward_length", hidden);
            }
            keys.remove(&["scoring_func"]);
        },
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

const BASE: f32 = 5_000_000.0;

/// Without what keeps the sum from being zero.
const GATING: Gating = Gating {
    normalised: ExpertWeight::Share {
        added: 0.0,
        least: 0.0,
    },
    ..Gating::SIGMOID
};

/// x ← x + Attention(RMS(x)), of queries and keys through RMS; x ← x + experts(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let key = "scoring_func";
    if config.container == Container::HuggingFace
        && config.text(key)?.unwrap_or("sigmoid") != "sigmoid"
    {
        return Err(config.invalid(key, "sigmoid"));
    }
    let decoder = PreNormDecoder::read(config, 1e-6)?;
    let hidden = config.count("feed_forward_length")?;
    let function = activation(config, "hidden_act", "silu")?;
    let router = Router::read(config, &GATING)?;
    let heads = Heads::read_wide(config, decoder.width, Some(128))?;
    let rope = Rope::read_from(model, Pairing::Halves, heads.head_dim, BASE)?;
    let causal = heads.causal(PositionScheme::Rope(rope));
    decoder.wire(
        model,
        &|net, h, layer, _| {
            let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), decoder.eps);
            let [q, k, v] = projections(net, h, layer, heads)?;
            let qkv = [norm(q, "attn_q_norm")?, norm(k, "attn_k_norm")?, v];
            attend(net, qkv, layer, decoder.width, causal.clone())
        },
        &|net, h, layer, _| gated_experts(net, h, layer, (hidden, function), &router),
    )
}
