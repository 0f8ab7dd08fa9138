//! RetNet (Sun et al. 2023): retention, linear attention with a fixed decay for each head. Its
//! state does not grow with the context.
//!
//! Two layouts are in use: that of torchscale, the authors' library, and that of
//! flash-linear-attention. They differ in more than names: torchscale scales its rows.

use super::known_shape::{ENDLESS, TINY, shapes};
use super::tables::{keys, names};
use super::{Architecture, DECODER, Family, Only, Outline, conversion, fla};
use crate::graph::blocks::{activation, embedding, gated_mlp, head};
use crate::graph::decoder::answer;
use crate::graph::rope::{Division, RopeFrequencies};
use crate::graph::{
    BuildError, Builder, Config, DECAY_ROWS, Decay, Divisor, LinearAttention, Pairing, Role, Rope,
    Value,
};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RetNet",
    gguf: &["retnet"],
    hugging_face: &["retnet"],
    family: Family::Recurrent,
    keys: &[
        keys! {
            "decoder_embed_dim" => "embedding_length",
            "decoder_layers" => "block_count",
            "decoder_ffn_embed_dim" => "feed_forward_length",
            "decoder_retention_heads" => "retention.head_count",
            "decoder_value_embed_dim" => "retention.value_length",
            "layernorm_eps" => "attention.layer_norm_rms_epsilon",
            "activation_fn" => "hidden_act",
            "decoder_normalize_before" => "norm_before",
            "deepnorm" => "deepnorm",
            "subln" => "subln",
            "no_scale_embedding" => "embedding_unscaled",
            "layernorm_embedding" => "embedding_norm",
            "moe_freq" => "moe_every_n_layers",
            "multiway" => "multiway",
            "no_output_layer" => "without_output",
        },
        fla::KEYS,
    ],
    settled: &[
        ("conv_size", Only::Any),
        ("fused_gate", Only::Any),
        ("max_target_positions", Only::Any),
        ("moe_eval_capacity_token_fraction", Only::Any),
        ("moe_gating_use_fp32", Only::Any),
        ("moe_second_expert_policy", Only::Any),
        ("recurrent_chunk_size", Only::Any),
        ("rms_norm_eps", Only::Number(1e-6)),
        ("share_conv_kernel", Only::Any),
        // Whether a head is stored says it.
        ("share_decoder_input_output_embed", Only::Any),
        ("xpos_scale_base", Only::Any),
    ],
    names: &[
        names! {
            "embed_tokens.weight" => "token_embd.weight",
            "layernorm_embedding.weight" => "token_embd_norm.weight",
            "layer_norm.weight" => "output_norm.weight",
            "output_projection.weight" => "output.weight",
            in "layers.{i}." => "blk.{i}." {
                "retention_layer_norm.weight" => "attn_norm.weight",
                "retention.q_proj.weight" => "attn_q.weight",
                "retention.k_proj.weight" => "attn_k.weight",
                "retention.v_proj.weight" => "attn_v.weight",
                "retention.g_proj.weight" => "attn_gate.weight",
                "retention.out_proj.weight" => "attn_output.weight",
                "final_layer_norm.weight" => "ffn_norm.weight",
                "ffn.fc1.weight" => "ffn_gate.weight",
                "ffn.gate.weight" => "ffn_up.weight",
                "ffn.fc2.weight" => "ffn_down.weight",
            }
        },
        fla::NAMES,
    ],
    conversion: conversion::ENDLESS,
    shapes: shapes! {
        "retnet-370m", "RetNet 370M", [50_280, 1024, 24, ENDLESS] => tied outline(4, 2048, 1536);
        "tiny-retnet", "a RetNet to try things out with", TINY => tied outline(2, 512, 512);
    },
    build,
    ..DECODER
};

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    match model.config().value("retention.head_count") {
        Some(_) => torchscale(model),
        None => flash_linear_attention(model),
    }
}

/// x ← α x + out(silu(g) ⊙ RMS(retention(q, k, v))); x ← α x + down(f(gate x) ⊙ up x), each with
/// a norm before it or behind it.
fn torchscale(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    if config.feature("moe_every_n_layers")?.is_some() {
        return Err(config.invalid("moe_every_n_layers", "0: experts do not run"));
    }
    for key in ["multiway", "without_output"] {
        if config.flag(key, false)? {
            return Err(config.invalid(key, "false: only the plain decoder runs"));
        }
    }
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let heads = config.count("retention.head_count")?;
    let (key_dim, value_dim) = (
        cut(config, "retention.head_count", width, heads)?,
        cut(
            config,
            "retention.value_length",
            config.count("retention.value_length")?,
            heads,
        )?,
    );
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?;
    let function = activation(config, "hidden_act", "gelu")?;
    // The authors' configuration lets each of the two rule out the other.
    let sub_norm = config.flag("subln", true)?;
    let deep = config.flag("deepnorm", false)? && !sub_norm;
    let before = sub_norm || config.flag("norm_before", true)? && !deep;
    let alpha = if deep {
        (2.0 * layers as f64).powf(0.25) as f32
    } else {
        1.0
    };

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    if !config.flag("embedding_unscaled", true)? {
        x = net.scale(x, (width as f32).sqrt());
    }
    if config.flag("embedding_norm", false)? {
        x = net.rms_norm(x, "token_embd_norm", eps)?;
    }
    // θ = 10000^(−j/(n − 1)) for pair j of n.
    let last = (key_dim / 2).saturating_sub(1).max(1) as f64;
    let rope = rotation(key_dim, Pairing::Interleaved, |pair| pair / last);
    let retention = LinearAttention {
        decay: decays(model, heads),
        divisor: Divisor::Clamp,
        rope: Some(rope),
        ..LinearAttention::plain(heads, key_dim, value_dim)
    };
    let norm = |x: Value, name: &str, due: bool| match due {
        true => net.rms_norm(x, name, eps),
        false => Ok(x),
    };
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let (first, second) = (format!("{layer}.attn_norm"), format!("{layer}.ffn_norm"));
        let h = norm(x, &first, before)?;
        let q = net.linear(h, &format!("{layer}.attn_q"), width)?;
        let k = net.linear(h, &format!("{layer}.attn_k"), width)?;
        let k = net.scale(k, 1.0 / (key_dim as f32).sqrt());
        let v = net.linear(h, &format!("{layer}.attn_v"), heads * value_dim)?;
        let y = net.linear_attention([q, k, v], retention.clone());
        let y = fla::gated(&net, h, net.rms_norm_plain(y, value_dim, eps), &layer)?;
        let y = net.linear(y, &format!("{layer}.attn_output"), width)?;
        x = norm(net.add(net.scale(x, alpha), y), &first, !before)?;
        let h = norm(x, &second, before)?;
        let y = gated_mlp(&net, h, &layer, hidden, function)?;
        x = norm(net.add(net.scale(x, alpha), y), &second, !before)?;
    }
    let x = norm(net.selected(x), "output_norm", before)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// The same with norms before each part, rows as they are, and a norm of heads that has weights.
fn flash_linear_attention(model: &Builder<'_>) -> Result<(), BuildError> {
    let sizes = fla::FlaSizes::of(model.config(), (1.0, 2.0), 1e-6)?;
    if !sizes.key_dim.is_multiple_of(2) {
        let even = "heads whose keys have an even length";
        return Err(model.config().invalid("retention.expand_k", even));
    }
    let pairs = (sizes.key_dim / 2) as f64;
    let rope = rotation(sizes.key_dim, Pairing::Halves, |pair| pair / pairs);
    let decay = decays(model, sizes.heads);
    fla::decoder(model, &sizes, |_, _, _| {
        Ok(LinearAttention {
            decay: decay.clone(),
            rope: Some(rope.clone()),
            ..LinearAttention::plain(sizes.heads, sizes.key_dim, sizes.value_dim)
        })
    })
}

/// γ = 1 − 2^(−5−h) for head h (equation 8).
fn decays(model: &Builder<'_>, heads: usize) -> Decay {
    let powers = (0..heads).flat_map(|head| {
        let gamma = 1.0 - (-5.0 - head as f64).exp2();
        (0..=DECAY_ROWS).map(move |rows| gamma.powi(rows as i32) as f32)
    });
    Decay::Fixed(model.constant(powers))
}

/// Turns whole keys: pair j by 10000^(−power(j)) a position.
fn rotation(key_dim: usize, pairing: Pairing, power: impl Fn(f64) -> f64) -> Rope {
    let frequency = |pair| 10000f64.powf(-power(pair as f64)) as f32;
    Rope {
        pairing,
        frequencies: RopeFrequencies::Endless((0..key_dim / 2).map(frequency).collect()),
        division: Division::None,
        magnitude: 1.0,
    }
}

/// What a head gets of `width`.
fn cut(config: &Config<'_>, key: &str, width: usize, heads: usize) -> Result<usize, BuildError> {
    let dim = width / heads;
    let keys = key != "retention.value_length";
    if dim == 0
        || dim * heads != width
        || keys && (!dim.is_multiple_of(2) || dim > fla::LONGEST_KEY)
    {
        let even = if keys { " of an even length" } else { "" };
        return Err(config.invalid(key, &format!("a cut into {heads} heads{even}")));
    }
    Ok(dim)
}

/// Keys and layers of a model of known shape, in torchscale's form; `values` are those of all
/// heads together.
fn outline(model: &mut Outline, heads: u64, values: u64, hidden: u64) {
    model.counts(&[
        ("feed_forward_length", hidden),
        ("retention.head_count", heads),
        ("retention.value_length", values),
    ]);
    model.put("hidden_act", MetadataValue::String("gelu".into()));
    let width = model.shape.width;
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        model.norm(&name("attn_norm"), width);
        model.matrix(&name("attn_q"), &[width, width]);
        model.matrix(&name("attn_k"), &[width, width]);
        model.matrix(&name("attn_v"), &[values, width]);
        model.matrix(&name("attn_gate"), &[values, width]);
        model.matrix(&name("attn_output"), &[width, values]);
        model.norm(&name("ffn_norm"), width);
        model.gated_mlp(layer, hidden);
    }
}
