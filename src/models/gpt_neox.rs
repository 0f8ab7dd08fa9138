//! GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023).

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Only, conversion};
use crate::graph::blocks::{
    Heads, activation, attend, embedding, head, interleaved_projections, mlp,
};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Pairing, PositionScheme, Role, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "GPT-NeoX, Pythia",
    gguf: &["gptneox"],
    hugging_face: &["gpt_neox"],
    keys: &[
        tables::SIZES,
        // Its class reads this name before the usual one.
        keys! {
            "rotary_emb_base" => "rope.freq_base",
        },
        tables::ROPE,
        keys! {
            "layer_norm_eps" => "attention.layer_norm_epsilon",
            "rope_scaling.partial_rotary_factor" => "rope.partial_factor",
            "rope_parameters.partial_rotary_factor" => "rope.partial_factor",
            "rotary_pct" => "rope.partial_factor",
            "is_decoder" => "is_decoder",
            "use_parallel_residual" => "use_parallel_residual",
        },
    ],
    settled: &[
        // Of training.
        ("num_steps", Only::Any),
        // The authors' code reads rotary_pct.
        ("partial_rotary_factor", Only::Any),
    ],
    names: &[names! {
        "gpt_neox.embed_in.weight" => "token_embd.weight",
        "embed_out.weight" => "output.weight",
        "gpt_neox.final_layer_norm.*" => "output_norm.*",
        in "gpt_neox.layers.{i}." => "blk.{i}." {
            "input_layernorm.*" => "attn_norm.*",
            "attention.query_key_value.*" => "attn_qkv.*",
            "attention.dense.*" => "attn_output.*",
            "post_attention_layernorm.*" => "ffn_norm.*",
            "mlp.dense_h_to_4h.*" => "ffn_up.*",
            "mlp.dense_4h_to_h.*" => "ffn_down.*",
        }
    }],
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
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
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
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
