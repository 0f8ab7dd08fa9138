//! GLM-4.5 (GLM Team 2025): DeepSeek-V3's routing beside one expert that all rows share, after a
//! few plain layers; a part of each head rotates, and heads may be normalised.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family};
use crate::graph::blocks::{Heads, activation, attend, head_norms, projections};
use crate::graph::decoder::{PreNormDecoder, nextn_layers};
use crate::graph::experts::{FeedForward, Gating, Router, SharedExpert};
use crate::graph::{BuildError, Builder, Pairing, PositionScheme, Rope};
use rillm_formats::manifest::Container;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "GLM-4.5, GLM-4.6",
    gguf: &["glm4moe"],
    hugging_face: &["glm4_moe"],
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::PARTIAL_ROPE,
        keys! {
            "n_routed_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "moe_intermediate_size" => "expert_feed_forward_length",
            "n_shared_experts" => "expert_shared_count",
            "first_k_dense_replace" => "leading_dense_block_count",
            "norm_topk_prob" => "expert_weights_norm",
            "routed_scaling_factor" => "expert_weights_scale",
            "n_group" => "expert_group_count",
            "topk_group" => "expert_group_used_count",
            "use_qk_norm" => "attention.head_norms",
            "num_nextn_predict_layers" => "nextn_predict_layers",
            "num_mtp_layers" => "nextn_predict_layers",
        },
    ],
    names: &[
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "post_attention_layernorm.weight" => "post_attention_norm.weight",
                "mlp.gate.e_score_correction_bias" => "exp_probs_b.bias",
                "mlp.shared_experts.gate_proj.weight" => "ffn_gate_shexp.weight",
                "mlp.shared_experts.up_proj.weight" => "ffn_up_shexp.weight",
                "mlp.shared_experts.down_proj.weight" => "ffn_down_shexp.weight",
            }
        },
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::HEAD_NORMS,
        tables::GATED_MLP,
        tables::EXPERTS,
    ],
    conversion: Conversion {
        // Tensors tell; layers that guess are not written.
        keys: |keys| keys.remove(&["attention.head_norms", "nextn_predict_layers"]),
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// x ← x + Attention(RMS(x)); x ← x + (experts + FFN, or FFN)(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder {
        layers: nextn_layers(model)?,
        second_norm: "post_attention_norm",
        ..PreNormDecoder::read(config, 1e-5)?
    };
    let heads = Heads::read(config, decoder.width)?;
    let (dim, eps) = (heads.head_dim, decoder.eps);
    let part = match config.container {
        Container::Gguf => 1.0,
        Container::HuggingFace => 0.5,
    };
    let rope = Rope::read_part(model, Pairing::Halves, dim, part)?;
    let causal = heads.causal(PositionScheme::Rope(rope));
    let normalised = match config.container {
        Container::Gguf => head_norms(model, "blk.0"),
        Container::HuggingFace => config.flag("attention.head_norms", false)?,
    };
    let hidden = config.count("expert_feed_forward_length")?;
    let shared = config.feature("expert_shared_count")?;
    let plain = config.feature("leading_dense_block_count")?.unwrap_or(0);
    let feed_forward = FeedForward {
        router: Some(Router::read(config, &Gating::SIGMOID)?),
        function: activation(config, "hidden_act", "silu")?,
        hidden,
        shared: SharedExpert::of(shared, hidden),
        sparse: (0..decoder.layers).map(|i| i >= plain).collect(),
        plain_hidden: config.optional_count("feed_forward_length")?,
    };
    decoder.wire(
        model,
        &|net, h, layer, _| {
            let [mut q, mut k, v] = projections(net, h, layer, heads)?;
            if normalised {
                q = net.rms_norm_by(q, &format!("{layer}.attn_q_norm"), dim, eps)?;
                k = net.rms_norm_by(k, &format!("{layer}.attn_k_norm"), dim, eps)?;
            }
            attend(net, [q, k, v], layer, decoder.width, causal.clone())
        },
        &|net, h, layer, i| feed_forward.wire(net, h, layer, i),
    )
}
