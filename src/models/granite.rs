//! Granite 3 (Granite Team 2024): LLaMA with a factor on embeddings, scores, residual branches
//! and logits (Yang et al. 2022).

use super::tables::{self, keys};
use super::{Architecture, DECODER, conversion, llama};
use crate::graph::blocks::{Heads, activation, attend, embedding, gated_mlp, head, projections};
use crate::graph::decoder::answer;
use crate::graph::{Attention, BuildError, Builder, Config, Key, Net, PositionScheme, Role, Value};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Granite 3",
    gguf: &["granite"],
    hugging_face: &["granite"],
    off: tables::BIASES,
    keys: &[tables::SIZES, tables::ROPE, FACTORS],
    names: llama::NAMES,
    conversion: conversion::NEIGHBOURS_PAIRED,
    build: |model| dense(model, &Factors::read(model.config())?),
    ..DECODER
};

/// What they are called.
pub(super) const FACTORS: &[Key] = keys! {
    "embedding_multiplier" => "embedding_scale",
    "attention_multiplier" => "attention.scale",
    "residual_multiplier" => "residual_scale",
    "logits_scaling" => "logit_scale",
};

/// What is multiplied by what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factors {
    /// Embeddings.
    pub embedding: f32,
    /// Scores, if not by 1/√d.
    pub scores: Option<f32>,
    /// What is added to the residual.
    pub residual: f32,
    /// What logits are divided by.
    pub logits: f32,
}

impl Factors {
    /// As Granite says them.
    pub(super) fn read(config: &Config<'_>) -> Result<Factors, BuildError> {
        Ok(Factors {
            embedding: config.float("embedding_scale", 1.0)?,
            scores: Some(config.float("attention.scale", 1.0)?),
            residual: config.float("residual_scale", 1.0)?,
            logits: divisor(config, "logit_scale")?,
        })
    }
}

/// x ← x + r · Attention(RMS(x)); x ← x + r · FFN(RMS(x)); logits divided by their factor.
pub(super) fn dense(model: &Builder<'_>, factors: &Factors) -> Result<(), BuildError> {
    let config = model.config();
    let hidden = config.count("feed_forward_length")?;
    let function = activation(config, "hidden_act", "silu")?;
    wire(model, factors, &|net, h, layer| {
        gated_mlp(net, h, layer, hidden, function)
    })
}

/// The feed-forward layer of the layer whose tensors' names begin as the text says.
type FeedForwardOf<'a, 'b, 'c> = &'a dyn Fn(&Net<'b, 'c>, Value, &str) -> Result<Value, BuildError>;

/// The same with other feed-forward layers.
pub(super) fn wire<'b, 'c>(
    model: &'b Builder<'c>,
    factors: &Factors,
    feed_forward: FeedForwardOf<'_, 'b, 'c>,
) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?;
    let heads = Heads::read(config, width)?;
    let rope = llama::rotation(model, heads.head_dim, (1.0, 1e4))?;
    let causal = heads.causal(PositionScheme::Rope(rope));
    let attention = Attention {
        scale: factors.scores.unwrap_or(causal.scale),
        ..causal
    };
    let residual = factors.residual;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = net.scale(embedding(&net, width)?, factors.embedding);
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = projections(&net, h, &layer, heads)?;
        let a = attend(&net, qkv, &layer, width, attention.clone())?;
        x = net.add(x, net.scale(a, residual));
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        let f = feed_forward(&net, h, &layer)?;
        x = net.add(x, net.scale(f, residual));
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| {
        Ok(net.scale(head(&net, x)?, 1.0 / factors.logits))
    })?;
    net.finish();
    Ok(())
}

pub(super) fn divisor(config: &Config<'_>, key: &str) -> Result<f32, BuildError> {
    let number = config.float(key, 1.0)?;
    if number.is_normal() && (1.0 / number).is_normal() {
        Ok(number)
    } else {
        Err(config.invalid(key, "a number to divide by"))
    }
}
