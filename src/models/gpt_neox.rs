//! GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023).

use super::{Architecture, Conversion, DECODER, conversion, tables};
use crate::graph::blocks::{
    Heads, Tied, activation, attend, embedding, head, interleaved_projections, mlp,
};
use crate::graph::{BuildError, Builder, Name, Pairing, PositionScheme, Role, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "GPT-NeoX, Pythia",
    gguf: &["gptneox"],
    hugging_face: &["gpt_neox"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::ROPE_SCALING,
        tables::ROPE_PARAMETERS,
        &[
            ("attention.layer_norm_epsilon", "layer_norm_eps"),
            ("rope.partial_factor", "rotary_pct"),
            ("rope.freq_base", "rotary_emb_base"),
            ("use_parallel_residual", "use_parallel_residual"),
        ],
    ],
    names: &[&[
        Name::plain("gpt_neox.embed_in.weight", "token_embd.weight"),
        Name::plain("embed_out.weight", "output.weight"),
        Name::plain("gpt_neox.final_layer_norm.weight", "output_norm.weight"),
        Name::plain("gpt_neox.final_layer_norm.bias", "output_norm.bias"),
        Name::plain(
            "gpt_neox.layers.{i}.input_layernorm.weight",
            "blk.{i}.attn_norm.weight",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.input_layernorm.bias",
            "blk.{i}.attn_norm.bias",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.attention.query_key_value.weight",
            "blk.{i}.attn_qkv.weight",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.attention.query_key_value.bias",
            "blk.{i}.attn_qkv.bias",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.attention.dense.weight",
            "blk.{i}.attn_output.weight",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.attention.dense.bias",
            "blk.{i}.attn_output.bias",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.post_attention_layernorm.weight",
            "blk.{i}.ffn_norm.weight",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.post_attention_layernorm.bias",
            "blk.{i}.ffn_norm.bias",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.mlp.dense_h_to_4h.weight",
            "blk.{i}.ffn_up.weight",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.mlp.dense_h_to_4h.bias",
            "blk.{i}.ffn_up.bias",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.mlp.dense_4h_to_h.weight",
            "blk.{i}.ffn_down.weight",
        ),
        Name::plain(
            "gpt_neox.layers.{i}.mlp.dense_4h_to_h.bias",
            "blk.{i}.ffn_down.bias",
        ),
    ]],
    conversion: Conversion {
        tensor: conversion::queries_first,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// x ← x + Attention(LN₁(x)) + MLP(LN₂(x)), or one after the other.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.float("attention.layer_norm_epsilon", 1e-5)?;
    let parallel = config.flag("use_parallel_residual", true)?;
    let function = activation(config, "hidden_act", "gelu")?;
    let heads = Heads::read(config, width)?;
    let rope = Rope::read_part(model, Pairing::Halves, heads.head_dim, 0.25)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = interleaved_projections(&net, h, &layer, heads)?;
        let attended = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let source = if parallel { x } else { attended };
        let h = net.layer_norm(source, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(attended, mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x, Tied::OnRequest)?, "logits");
    net.finish();
    Ok(())
}
