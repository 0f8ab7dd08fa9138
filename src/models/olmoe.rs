//! OLMoE (Muennighoff et al. 2024): every feed-forward layer is a mixture of many small experts,
//! whose weights add up to one among all; queries and keys are normalised over all heads together.

use super::known_shape::shapes;
use super::llama::{self, Transformer};
use super::tables::{self, keys};
use super::{Architecture, DECODER, Family, Outline};
use crate::graph::blocks::{Heads, activation, attend, cap, projections};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::experts::{Gating, Router, gated_experts};
use crate::graph::{BuildError, Builder, Pairing, PositionScheme, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "OLMoE",
    gguf: &["olmoe"],
    hugging_face: &["olmoe"],
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "clip_qkv" => "attention.clamp_kqv",
            "num_experts" => "expert_count",
            "num_local_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "norm_topk_prob" => "expert_weights_norm",
        },
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::HEAD_NORMS,
        tables::EXPERTS,
    ],
    shapes: shapes! {
        "olmoe-like", "half of OLMoE's layers", [50_304, 2048, 8, 4096] => untied
            outline(&Transformer { heads: [16, 16], head_dim: 128, hidden: 1024, experts: Some([64, 8]), ..llama::PLAIN });
        "tiny-olmoe", "an OLMoE to try things out with", super::known_shape::TINY => untied
            outline(&Transformer { heads: [4, 4], head_dim: 64, hidden: 128, experts: Some([16, 4]), ..llama::PLAIN });
    },
    build,
    ..DECODER
};

/// x ← x + Attention(RMS(x)), of queries and keys through RMS, all within a limit; x ← x +
/// experts(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder::read(config, 1e-5)?;
    let hidden = config.count("feed_forward_length")?;
    let function = activation(config, "hidden_act", "silu")?;
    let router = Router::read(config, &Gating::SOFTMAX)?;
    let heads = Heads::read(config, decoder.width)?;
    let limit = cap(config, "attention.clamp_kqv", None)?;
    let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
    let causal = heads.causal(PositionScheme::Rope(rope));
    decoder.wire(
        model,
        &|net, h, layer, _| {
            let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), decoder.eps);
            let [q, k, v] = projections(net, h, layer, heads)?;
            let qkv = [norm(q, "attn_q_norm")?, norm(k, "attn_k_norm")?, v];
            let qkv = qkv.map(|x| net.clamp(x, limit));
            attend(net, qkv, layer, decoder.width, causal.clone())
        },
        &|net, h, layer, _| gated_experts(net, h, layer, (hidden, function), &router),
    )
}

/// LLaMA's tensors, and the norms of whole projections.
fn outline(model: &mut Outline, sizes: &Transformer) {
    llama::outline(model, sizes);
    let [heads, kv_heads] = sizes.heads;
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        model.norm(&name("attn_q_norm"), heads * sizes.head_dim);
        model.norm(&name("attn_k_norm"), kv_heads * sizes.head_dim);
    }
}
