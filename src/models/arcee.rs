//! Arcee's foundation models (AFM, Arcee AI 2025): LLaMA with an MLP without gate, whose
//! activation is the squared ReLU (So et al. 2021).

use super::{Architecture, DECODER, conversion, llama, tables};
use crate::graph::blocks::{Heads, activation, attend, embedding, head, mlp, projections};
use crate::graph::decoder::{answer, decoder_role};
use crate::graph::{BuildError, Builder, PositionScheme};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Arcee",
    gguf: &["arcee"],
    hugging_face: &["arcee"],
    off: tables::BIASES,
    keys: llama::KEYS,
    names: llama::NAMES,
    conversion: conversion::NEIGHBOURS_PAIRED,
    build,
    ..DECODER
};

/// x ← x + Attention(RMS(x)); x ← x + MLP(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "relu2")?;
    let heads = Heads::read(config, width)?;
    let rope = llama::rotation(model, heads.head_dim, (1.0, 1e4))?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    model.context(config.count("context_length")?);

    let net = model.graph(decoder_role(config)?);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = projections(&net, h, &layer, heads)?;
        x = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
