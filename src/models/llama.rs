//! LLaMA (Touvron et al. 2023; Grattafiori et al. 2024).

use super::{Architecture, Conversion, DECODER, Quantization, conversion, tables};
use crate::graph::blocks::{
    Heads, Tied, WindowPattern, Windows, activation, attend, embedding, gated_experts, gated_mlp,
    head, projections,
};
use crate::graph::{
    Among, Attention, BuildError, Builder, Key, Mask, Name, Pairing, PositionScheme, Role, Rope,
    Value,
};
use rillm_formats::manifest::Container;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "LLaMA 1–3",
    gguf: &["llama"],
    hugging_face: &["llama"],
    keys: KEYS,
    names: NAMES,
    conversion: CONVERSION,
    quantization: Quantization {
        precise_values_at: Some(80),
        ..Quantization::USUAL
    },
    build,
    ..DECODER
};

/// Queries and keys are arranged so that neighbours rotate together.
pub(super) const CONVERSION: Conversion = Conversion {
    architecture: Some("llama"),
    tensor: conversion::neighbours_paired,
    ..Conversion::PLAIN
};

pub(super) const KEYS: &[&[Key]] = &[
    tables::SIZES,
    tables::ROPE,
    tables::ROPE_SCALING,
    tables::ROPE_PARAMETERS,
];

pub(super) const NAMES: &[&[Name]] = &[
    tables::ENDS,
    tables::NORMS,
    tables::ATTENTION,
    tables::GATED_MLP,
];

pub(super) fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    wire(model, &|_| true)
}

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)), where FFN is gated, or a mixture of gated
/// experts if there are any. Layers that are not `rotated` know no positions.
pub(super) fn wire(model: &Builder<'_>, rotated: &dyn Fn(usize) -> bool) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.float("attention.layer_norm_rms_epsilon", 1e-6)?;
    let experts = config.feature("expert_count")?;
    let function = activation(config, "hidden_act", "silu")?;
    if !config.flag("attention.causal", true)? {
        return Err(config.invalid("attention.causal", "true: this is a decoder"));
    }
    let heads = Heads::read(config, width)?;
    let rope = rotation(model, heads.head_dim, 1.0)?;
    let windows = Windows::read(config, layers, None, WindowPattern::From(0))?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let window = windows.of(i);
        let position = match rotated(i) {
            true => PositionScheme::Rope(rope.clone()),
            false => PositionScheme::None,
        };
        let attention = Attention {
            mask: Mask::Causal { window },
            ..heads.causal(position)
        };
        let qkv = projections(&net, h, &layer, heads)?;
        x = net.add(x, attend(&net, qkv, &layer, width, attention)?);

        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        let f: Value = match experts {
            Some(experts) => {
                let used = config.count("expert_used_count")?;
                if used > experts {
                    return Err(config.invalid("expert_used_count", "at most the expert count"));
                }
                gated_experts(&net, h, &layer, hidden, (experts, used), Among::Chosen)?
            }
            None => gated_mlp(&net, h, &layer, hidden, function)?,
        };
        x = net.add(x, f);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x, Tied::OnRequest)?, "logits");
    net.finish();
    Ok(())
}

/// LLaMA rotates halves of a head, or of `part` of it if the files do not say. GGUF's converter
/// permutes the rows of Q and K of this family so that neighbours pair up instead: of whole heads,
/// even where only a part of them rotates, whose pairs then lie further apart.
pub(super) fn rotation(
    model: &Builder<'_>,
    head_dim: usize,
    part: f64,
) -> Result<Rope, BuildError> {
    if model.config().container == Container::HuggingFace {
        return Rope::read_part(model, Pairing::Halves, head_dim, part);
    }
    let mut rope = Rope::read_part(model, Pairing::Interleaved, head_dim, part)?;
    if rope.dims() < head_dim {
        if !head_dim.is_multiple_of(2) {
            let expected = "an even number, as converters make pairs of all elements";
            return Err(model.config().invalid("attention.key_length", expected));
        }
        rope.pairing = Pairing::Woven;
    }
    Ok(rope)
}
