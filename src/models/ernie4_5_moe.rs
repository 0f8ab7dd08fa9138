//! ERNIE 4.5 MoE (Baidu 2025): experts chosen by softmax and a bias, weighed by softmax alone,
//! beside experts that all rows share; in every so many layers of a range. Neighbours rotate
//! together.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::{Heads, activation, attend, projections};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::experts::{FeedForward, Gating, Router, RouterScores, SharedExpert};
use crate::graph::{
    BuildError, Builder, Config, ExpertWeight, GroupScore, Pairing, PositionScheme, Rope,
};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "ERNIE 4.5 MoE",
    gguf: &["ernie4_5-moe"],
    hugging_face: &["ernie4_5_moe"],
    off: &["use_bias"],
    family: Family::MixtureOfExperts,
    ties: true,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "moe_num_experts" => "expert_count",
            "num_experts" => "expert_count",
            "moe_k" => "expert_used_count",
            "num_experts_per_tok" => "expert_used_count",
            "moe_intermediate_size" => "expert_feed_forward_length",
            "moe_num_shared_experts" => "expert_shared_count",
            "moe_layer_start_index" => "leading_dense_block_count",
            "moe_layer_end_index" => "last_expert_block",
            "moe_layer_interval" => "interleave_moe_layer_step",
            "moe_norm_min" => "expert_weights_least",
        },
    ],
    settled: &[
        // Of training.
        ("moe_capacity", Only::Any),
        ("moe_gate", Only::Text(&["topk"])),
        ("moe_use_aux_free", Only::Any),
        ("num_nextn_predict_layers", Only::Any),
        ("use_rmsnorm", Only::Is(true)),
    ],
    names: &[
        names! {
            "lm_head.bias" => "output.bias",
            in "model.layers.{i}." => "blk.{i}." {
                "mlp.moe_statics.e_score_correction_bias" => "exp_probs_b.bias",
                "mlp.gate.moe_statics.e_score_correction_bias" => "exp_probs_b.bias",
                "mlp.shared_experts.gate_proj.*" => "ffn_gate_shexp.*",
                "mlp.shared_experts.up_proj.*" => "ffn_up_shexp.*",
                "mlp.shared_experts.down_proj.*" => "ffn_down_shexp.*",
            }
        },
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::GATED_MLP,
        tables::EXPERTS,
    ],
    conversion: Conversion {
        keys: |keys| {
            keys.put_usual("rope.freq_base", MetadataValue::F32(BASE));
            let hidden = keys.count("expert_feed_forward_length").unwrap_or(0);
            let shared = keys.count("expert_shared_count").unwrap_or(SHARED as u64);
            let shared = hidden.saturating_mul(shared) as u32;
            let key = "expert_shared_feed_forward_length";
            keys.put(key, MetadataValue::U32(shared));
            if keys
                .values
                .f64("last_expert_block")
                .is_none_or(|last| last < 0.0)
            {
                keys.remove(&["last_expert_block"]);
            }
        },
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

const BASE: f32 = 500_000.0;

/// Experts that all rows share where nothing is said.
const SHARED: usize = 2;

/// Softmax over all, a bias for the choice, and shares of the sum of the chosen.
const GATING: Gating = Gating {
    scores: RouterScores::Softmax,
    normalised: ExpertWeight::Share {
        added: 0.0,
        least: 1e-12,
    },
    normalises: true,
    group_score: GroupScore::Largest,
};

/// x ← x + Attention(RMS(x)); x ← x + (experts + FFN, or FFN)(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let folder = config.container == Container::HuggingFace;
    let decoder = PreNormDecoder::read(config, 1e-5)?;
    let heads = Heads::read(config, decoder.width)?;
    let base = if folder { BASE } else { 10_000.0 };
    let rope = Rope::read_from(model, Pairing::Interleaved, heads.head_dim, base)?;
    let causal = heads.causal(PositionScheme::Rope(rope));
    let hidden = config.count("expert_feed_forward_length")?;
    let shared = match config.value("expert_shared_count") {
        None if folder => Some(SHARED),
        _ => config.feature("expert_shared_count")?,
    };
    let least = config.epsilon("expert_weights_least", 1e-12)?;
    let router = Router::read(config, &GATING)?;
    let feed_forward = FeedForward {
        router: Some(Router {
            weight: ExpertWeight::Share { added: 0.0, least },
            ..router
        }),
        function: activation(config, "hidden_act", "silu")?,
        hidden,
        shared: SharedExpert::of(shared, hidden),
        sparse: sparse_layers(config, decoder.layers)?,
        plain_hidden: config.optional_count("feed_forward_length")?,
    };
    decoder.wire(
        model,
        &|net, h, layer, _| {
            let qkv = projections(net, h, layer, heads)?;
            attend(net, qkv, layer, decoder.width, causal.clone())
        },
        &|net, h, layer, i| feed_forward.wire(net, h, layer, i),
    )
}

/// Every so many layers of a range.
fn sparse_layers(config: &Config<'_>, layers: usize) -> Result<Vec<bool>, BuildError> {
    let key = "leading_dense_block_count";
    let first = match config.value(key) {
        None => 1,
        Some(_) => config.feature(key)?.unwrap_or(0),
    };
    let key = "last_expert_block";
    let last = match config
        .value(key)
        .map(|_| config.double(key, -1.0))
        .transpose()?
    {
        None => layers,
        Some(last) if last < 0.0 => layers,
        Some(_) => config.feature(key)?.unwrap_or(0),
    };
    let step = config
        .optional_count("interleave_moe_layer_step")?
        .unwrap_or(1);
    let sparse = |i: usize| (i + 1).is_multiple_of(step) && (first..=last).contains(&i);
    Ok((0..layers).map(sparse).collect())
}
