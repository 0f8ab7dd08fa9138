//! BLOOM (BigScience Workshop 2022).

use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Only, conversion};
use crate::graph::blocks::{Heads, alibi, attend, embedding, head, interleaved_projections, mlp};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Counting, Pointwise, PositionScheme, Role};

/// Hugging Face names, with and without the language model's prefix.
macro_rules! table {
    ($($prefix:literal),*) => {
        names! {
            "lm_head.weight" => "output.weight",
            $(in $prefix => "" {
                "word_embeddings.weight" => "token_embd.weight",
                "word_embeddings_layernorm.*" => "token_embd_norm.*",
                "ln_f.*" => "output_norm.*",
                "h.{i}.input_layernorm.*" => "blk.{i}.attn_norm.*",
                "h.{i}.self_attention.query_key_value.*" => "blk.{i}.attn_qkv.*",
                "h.{i}.self_attention.dense.*" => "blk.{i}.attn_output.*",
                "h.{i}.post_attention_layernorm.*" => "blk.{i}.ffn_norm.*",
                "h.{i}.mlp.dense_h_to_4h.*" => "blk.{i}.ffn_up.*",
                "h.{i}.mlp.dense_4h_to_h.*" => "blk.{i}.ffn_down.*",
            })*
        }
    };
}

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "BLOOM",
    gguf: &["bloom"],
    hugging_face: &["bloom"],
    keys: &[keys! {
        "n_embed" => "embedding_length",
        "hidden_size" => "embedding_length",
        "n_layer" => "block_count",
        "num_hidden_layers" => "block_count",
        "n_head" => "attention.head_count",
        "num_attention_heads" => "attention.head_count",
        "layer_norm_epsilon" => "attention.layer_norm_epsilon",
        "seq_length" => "context_length",
        "apply_residual_connection_post_layernorm" => "apply_residual_connection_post_layernorm",
    }],
    settled: &[
        ("offset_alibi", Only::Any),
        ("skip_bias_add", Only::Any),
        ("skip_bias_add_qkv", Only::Any),
    ],
    ties: true,
    names: &[table!("transformer.", "")],
    conversion: Conversion {
        tensor: conversion::queries_first,
        complete: |keys, _| keys.put_usual_context(2048),
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// x ← x + Attention(LN(x)); x ← x + MLP(LN(x)), where some models add to the normalised x.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.optional_count("feed_forward_length")?;
    let hidden = hidden.unwrap_or(4 * width);
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let after = config.flag("apply_residual_connection_post_layernorm", false)?;
    let heads = Heads::read(config, width)?;
    let attention = heads.causal(PositionScheme::Alibi(alibi(heads.heads, 8.0)));
    if let Some(context) = config.optional_count("context_length")? {
        model.context(context);
    }
    model.counts_positions(Counting::Unmasked);

    let net = model.graph(Role::Decode);
    let mut x = net.layer_norm(embedding(&net, width)?, "token_embd_norm", eps)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = interleaved_projections(&net, h, &layer, heads)?;
        let a = attend(&net, qkv, &layer, width, attention.clone())?;
        x = net.add(if after { h } else { x }, a);
        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        let f = mlp(&net, h, &layer, hidden, Pointwise::GeluTanh)?;
        x = net.add(if after { h } else { x }, f);
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
