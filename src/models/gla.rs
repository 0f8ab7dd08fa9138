//! Gated linear attention (Yang et al. 2023): linear attention with a decay for
//! each element of a key, computed from the input. The state's size does not depend on the context.
//! The layout is that of
//! flash-linear-attention, the authors' library.

use super::known_shape::{ENDLESS, TINY, shapes};
use super::{Architecture, DECODER, Family, Outline, Quantization, conversion, fla};
use crate::graph::{BuildError, Builder, Decay, LinearAttention, Net, Pointwise, Value};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Gated linear attention",
    gguf: &["gla"],
    hugging_face: &["gla"],
    family: Family::Recurrent,
    keys: &[fla::KEYS],
    settled: fla::SETTLED,
    names: &[fla::NAMES],
    conversion: conversion::ENDLESS,
    quantization: Quantization {
        kept: &["attn_decay_"],
        ..Quantization::USUAL
    },
    shapes: shapes! {
        "gla-370m", "gated linear attention of that size", [50_280, 1024, 24, ENDLESS] => tied
            outline(4, 2816);
        "tiny-gla", "gated linear attention to try things out with", TINY => tied outline(2, 512);
    },
    build,
    ..DECODER
};

/// What decays are squeezed through on their way, as the authors' library has it.
const RANK: usize = 16;

/// τ, the temperature that keeps decays near one (section 4.4).
const TEMPERATURE: f32 = 16.0;

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    for (key, only) in [
        ("retention.decay_of_keys", true),
        ("retention.decay_of_values", false),
    ] {
        if config.flag(key, only)? != only {
            return Err(config.invalid(key, &format!("{only}: only keys decay")));
        }
    }
    if config.value("retention.least_decay").is_some() {
        return Err(config.invalid("retention.least_decay", "null: decays are not clamped"));
    }
    let sizes = fla::FlaSizes::of(config, (0.5, 1.0), 1e-6)?;
    fla::decoder(model, &sizes, |net, h, layer| {
        let decay = Decay::Keys(decay(net, h, layer, sizes.kv_heads * sizes.key_dim)?);
        Ok(LinearAttention {
            decay,
            ..LinearAttention::plain(sizes.heads, sizes.key_dim, sizes.value_dim)
        })
    })
}

/// α = σ(h W₁ W₂ + b)^(1/τ) (section 4.4).
fn decay(net: &Net<'_, '_>, h: Value, layer: &str, keys: usize) -> Result<Value, BuildError> {
    let (first, second) = (
        format!("{layer}.attn_decay_a"),
        format!("{layer}.attn_decay_b"),
    );
    let logits = net.linear(net.linear(h, &first, RANK)?, &second, keys)?;
    // ln σ(x) = −softplus(−x), exact where σ(x) itself would have rounded to one.
    let log = net.apply(net.scale(logits, -1.0), Pointwise::Softplus);
    Ok(net.apply(net.scale(log, -1.0 / TEMPERATURE), Pointwise::Exp))
}

/// Keys and layers of a model of known shape.
fn outline(model: &mut Outline, heads: u64, hidden: u64) {
    model.counts(&[
        ("feed_forward_length", hidden),
        ("attention.head_count", heads),
    ]);
    let (width, rank) = (model.shape.width, RANK as u64);
    let keys = width / 2;
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        model.norm(&name("attn_norm"), width);
        model.matrix(&name("attn_q"), &[keys, width]);
        model.matrix(&name("attn_k"), &[keys, width]);
        model.matrix(&name("attn_v"), &[width, width]);
        model.matrix(&name("attn_gate"), &[width, width]);
        model.matrix(&name("attn_output"), &[width, width]);
        model.matrix(&name("attn_decay_a"), &[rank, width]);
        model.matrix(&name("attn_decay_b"), &[keys, rank]);
        let bias = format!("blk.{layer}.attn_decay_b.bias");
        model.normal(&bias, &[keys], 0.0, 0.5);
        model.norm(&name("attn_sub_norm"), width / heads);
        model.norm(&name("ffn_norm"), width);
        model.gated_mlp(layer, hidden);
    }
}
