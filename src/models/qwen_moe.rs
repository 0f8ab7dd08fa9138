//! Qwen 1.5, 2 and 3 with experts (Yang et al. 2024, 2025): in layers of every so many, and none
//! in those that are listed.

use super::known_shape::shapes;
use super::llama::Transformer;
use super::qwen::{self, HeadNorm, QwenAttention};
use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only, Outline, llama};
use crate::graph::blocks::{Heads, WindowPattern, activation};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::experts::{FeedForward, Gating, Router, SharedExpert, expert_layers};
use crate::graph::{BuildError, Builder, Config, Key, Name, Pointwise};
use rillm_formats::manifest::Container;

pub(super) const QWEN_2_MOE: Architecture = Architecture {
    title: "Qwen 1.5 MoE, Qwen 2 MoE",
    gguf: &["qwen2moe"],
    hugging_face: &["qwen2_moe"],
    biased: &["attn_q", "attn_k", "attn_v"],
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::WINDOWS,
        EXPERTS,
        qwen::WINDOWS,
    ],
    settled: &[("qkv_bias", Only::Any), ("attention_bias", Only::Any)],
    names: NAMES,
    build: |model| build(model, HeadNorm::None),
    ..DECODER
};

pub(super) const QWEN_3_MOE: Architecture = Architecture {
    title: "Qwen 3 MoE",
    gguf: &["qwen3moe"],
    hugging_face: &["qwen3_moe"],
    off: tables::BIASES,
    settled: &[("max_window_layers", Only::Any)],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        EXPERTS,
        keys! {
            "sliding_window" => "attention.sliding_window",
            "use_sliding_window" => "use_sliding_window",
        },
    ],
    conversion: Conversion {
        // A window that is not used.
        keys: |keys| keys.remove(&["use_sliding_window"]),
        ..Conversion::PLAIN
    },
    shapes: shapes! {
        "qwen3-moe-like", "six of Qwen 3 30B-A3B's layers", [151_936, 2048, 6, 40_960] => untied
            outline(&Transformer { heads: [32, 4], head_dim: 128, hidden: 768, base: 1e6, head_norms: true, experts: Some([128, 8]) });
    },
    build: |model| build(model, HeadNorm::Rms),
    ..QWEN_2_MOE
};

fn outline(model: &mut Outline, sizes: &Transformer) {
    llama::outline(model, sizes);
    model.counts(&[("expert_feed_forward_length", sizes.hidden)]);
}

/// Experts, and which layers have them.
pub(super) const EXPERTS: &[Key] = keys! {
    "num_experts" => "expert_count",
    "num_local_experts" => "expert_count",
    "num_experts_per_tok" => "expert_used_count",
    "moe_intermediate_size" => "expert_feed_forward_length",
    "shared_expert_intermediate_size" => "expert_shared_feed_forward_length",
    "norm_topk_prob" => "expert_weights_norm",
    "decoder_sparse_step" => "expert_every_n_layers",
    "mlp_only_layers" => "expert_less_layers",
};

const NAMES: &[&[Name]] = &[
    tables::ENDS,
    tables::NORMS,
    tables::ATTENTION,
    tables::HEAD_NORMS,
    tables::GATED_MLP,
    tables::EXPERTS,
    SHARED_EXPERT,
];

/// The expert that all rows share, and its gate.
pub(super) const SHARED_EXPERT: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "mlp.shared_expert_gate.weight" => "ffn_gate_inp_shexp.weight",
        "mlp.shared_expert.gate_proj.weight" => "ffn_gate_shexp.weight",
        "mlp.shared_expert.up_proj.weight" => "ffn_up_shexp.weight",
        "mlp.shared_expert.down_proj.weight" => "ffn_down_shexp.weight",
    }
};

/// x ← x + Attention(RMS(x)); x ← x + (experts or FFN)(RMS(x)).
fn build(model: &Builder<'_>, head_norm: HeadNorm) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder::read(config, 1e-6)?;
    let function = activation(config, "hidden_act", "silu")?;
    let gguf = config.container == Container::Gguf;
    // Qwen 3's files all normalise, and those in GGUF do not say so.
    let gating = match head_norm == HeadNorm::Rms && gguf {
        true => Gating::CHOSEN_SOFTMAX,
        false => Gating::SOFTMAX,
    };
    let shared = head_norm == HeadNorm::None;
    let feed_forward = feed_forward(config, (decoder.layers, function), &gating, shared)?;
    let usual = match head_norm {
        HeadNorm::None => None,
        HeadNorm::Rms => Some(WindowPattern::From(0)),
    };
    // Unlike Qwen 3's own class, those with experts take no width of a head for granted.
    let heads = Heads::read(config, decoder.width)?;
    let sizes = (decoder.width, decoder.layers);
    let attention = QwenAttention::read(model, heads, sizes, head_norm, usual)?;
    decoder.wire(
        model,
        &|net, h, layer, i| attention.wire(net, h, layer, i),
        &|net, h, layer, i| feed_forward.wire(net, h, layer, i),
    )
}

/// Routed experts, beside which is one that all rows share through a gate of its own, if there is
/// one.
pub(super) fn feed_forward(
    config: &Config<'_>,
    (layers, function): (usize, Pointwise),
    gating: &Gating,
    shared: bool,
) -> Result<FeedForward, BuildError> {
    let key = "expert_feed_forward_length";
    // Converters of old wrote it for all layers alike.
    let hidden = match config.container {
        Container::Gguf if config.value(key).is_none() => config.count("feed_forward_length")?,
        _ => config.count(key)?,
    };
    // To say that there are none is not to say nothing.
    let router = match config.value("expert_count") {
        Some(_) => Router::read_some(config, gating)?,
        None => Some(Router::read(config, gating)?),
    };
    Ok(FeedForward {
        router,
        function,
        hidden,
        shared: match shared {
            true => {
                let width = config.optional_count("expert_shared_feed_forward_length")?;
                SharedExpert::Gated(width.unwrap_or(hidden))
            }
            // Qwen 3's folders may say that it has a width of nothing.
            false => SharedExpert::None,
        },
        sparse: expert_layers(config, layers)?,
        plain_hidden: config.optional_count("feed_forward_length")?,
    })
}
