//! RWKV-4 (Peng et al. 2023): exponentially weighted means over the past, a state for each
//! channel that does not grow with the context.

use super::known_shape::{ENDLESS, TINY, shapes};
use super::tables::{keys, names};
use super::{Architecture, DECODER, Family, Outline, conversion, rwkv6};
use crate::graph::blocks::{embedding, head};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Name, Pointwise, Role};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RWKV-4",
    gguf: &["rwkv4"],
    hugging_face: &["rwkv"],
    family: Family::Recurrent,
    keys: &[keys! {
        "hidden_size" => "embedding_length",
        "num_hidden_layers" => "block_count",
        "intermediate_size" => "feed_forward_length",
        "attention_hidden_size" => "wkv.inner_size",
        "layer_norm_epsilon" => "attention.layer_norm_epsilon",
        "rescale_every" => "rescale_every_n_layers",
    }],
    // Of later generations: each channel is by itself here.
    harmless_in_gguf: &["wkv.head_size"],
    names: &[TRANSFORMERS, AUTHORS],
    conversion: conversion::ENDLESS,
    shapes: shapes! {
        "rwkv4-430m", "RWKV-4 430M", [50_277, 1024, 24, ENDLESS] => untied outline(4096);
        "tiny-rwkv4", "an RWKV-4 to try things out with", TINY => untied outline(512);
    },
    build,
    ..DECODER
};

/// The names of checkpoints for transformers.
const TRANSFORMERS: &[Name] = names! {
    "rwkv.embeddings.weight" => "token_embd.weight",
    "rwkv.blocks.0.pre_ln.*" => "token_embd_norm.*",
    "rwkv.ln_out.*" => "output_norm.*",
    "head.weight" => "output.weight",
    in "rwkv.blocks.{i}." => "blk.{i}." {
        "ln1.*" => "attn_norm.*",
        "ln2.*" => "attn_norm_2.*",
        "attention.time_decay" => "time_mix_decay.weight" as NegativeExp,
        "attention.time_first" => "time_mix_first.weight",
        "attention.time_mix_key" => "time_mix_lerp_k.weight" as OneMinus,
        "attention.time_mix_value" => "time_mix_lerp_v.weight" as OneMinus,
        "attention.time_mix_receptance" => "time_mix_lerp_r.weight" as OneMinus,
        "attention.key.weight" => "time_mix_key.weight",
        "attention.value.weight" => "time_mix_value.weight",
        "attention.receptance.weight" => "time_mix_receptance.weight",
        "attention.output.weight" => "time_mix_output.weight",
        "feed_forward.time_mix_key" => "channel_mix_lerp_k.weight" as OneMinus,
        "feed_forward.time_mix_receptance" => "channel_mix_lerp_r.weight" as OneMinus,
        "feed_forward.key.weight" => "channel_mix_key.weight",
        "feed_forward.value.weight" => "channel_mix_value.weight",
        "feed_forward.receptance.weight" => "channel_mix_receptance.weight",
    }
};

/// The names of the author's checkpoints, whose head is called the same.
const AUTHORS: &[Name] = names! {
    "emb.weight" => "token_embd.weight",
    "blocks.0.ln0.*" => "token_embd_norm.*",
    "ln_out.*" => "output_norm.*",
    in "blocks.{i}." => "blk.{i}." {
        "ln1.*" => "attn_norm.*",
        "ln2.*" => "attn_norm_2.*",
        "att.time_decay" => "time_mix_decay.weight" as NegativeExp,
        "att.time_first" => "time_mix_first.weight",
        "att.time_mix_k" => "time_mix_lerp_k.weight" as OneMinus,
        "att.time_mix_v" => "time_mix_lerp_v.weight" as OneMinus,
        "att.time_mix_r" => "time_mix_lerp_r.weight" as OneMinus,
        "att.key.weight" => "time_mix_key.weight",
        "att.value.weight" => "time_mix_value.weight",
        "att.receptance.weight" => "time_mix_receptance.weight",
        "att.output.weight" => "time_mix_output.weight",
        "ffn.time_mix_k" => "channel_mix_lerp_k.weight" as OneMinus,
        "ffn.time_mix_r" => "channel_mix_lerp_r.weight" as OneMinus,
        "ffn.key.weight" => "channel_mix_key.weight",
        "ffn.value.weight" => "channel_mix_value.weight",
        "ffn.receptance.weight" => "channel_mix_receptance.weight",
    }
};

/// The last norm's, whatever the configuration says of the others.
const OUTPUT_EPSILON: f32 = 1e-5;

/// x ← x + output(σ(r) ⊙ wkv(k, v)); x ← x + σ(r) ⊙ value(relu(key)²).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let inner = config.optional_count("wkv.inner_size")?.unwrap_or(width);
    let hidden = config.optional_count("feed_forward_length")?;
    let hidden = hidden.unwrap_or(width.saturating_mul(4));
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let rescale = config.double("rescale_every_n_layers", 6.0)?;
    if rescale.fract() != 0.0 {
        return Err(config.invalid("rescale_every_n_layers", "a whole number"));
    }
    // Zero and less mean never.
    let rescale = (rescale > 0.0).then_some(rescale as usize);

    let net = model.graph(Role::Decode);
    let mut x = net.layer_norm(embedding(&net, width)?, "token_embd_norm", eps)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let name = |part: &str| format!("{layer}.{part}");
        let vector = |part: &str, len| model.vector(&format!("{layer}.{part}.weight"), &[len]);
        // Half precision would overflow in late layers: all of x is halved from time to time.
        let halved = rescale.map_or(0, |every| (i / every).min(f32::MAX_EXP as usize));
        let factor = (-(halved as f32)).exp2();

        let h = net.layer_norm(x, &name("attn_norm"), eps)?;
        let mixes = [
            vector("time_mix_lerp_k", width)?,
            vector("time_mix_lerp_v", width)?,
            vector("time_mix_lerp_r", width)?,
        ];
        let [k, v, r] = net.token_shift(h, mixes);
        let k = net.linear(k, &name("time_mix_key"), inner)?;
        let v = net.linear(v, &name("time_mix_value"), inner)?;
        let r = net.linear(r, &name("time_mix_receptance"), inner)?;
        let decay = vector("time_mix_decay", inner)?;
        let y = net.wkv([k, v], decay, vector("time_mix_first", inner)?);
        let y = net.mul(net.apply(r, Pointwise::Sigmoid), y);
        let y = net.linear(y, &name("time_mix_output"), width)?;
        x = net.add(x, net.scale(y, factor));

        let h = net.layer_norm(x, &name("attn_norm_2"), eps)?;
        let y = rwkv6::channel_mix(&net, h, &layer, hidden)?;
        x = net.add(x, net.scale(y, factor));
        if rescale.is_some_and(|every| (i + 1).is_multiple_of(every)) {
            x = net.scale(x, 0.5);
        }
    }
    let x = net.layer_norm(net.selected(x), "output_norm", OUTPUT_EPSILON)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// Keys and layers of a model of known shape.
fn outline(model: &mut Outline, hidden: u64) {
    rwkv6::outline_norms(model, hidden, &["attn_norm", "attn_norm_2"]);
    let width = model.shape.width;
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        for mix in ["time_mix_lerp_k", "time_mix_lerp_v", "time_mix_lerp_r"] {
            model.normal(&name(mix), &[1, 1, width], 0.5, 0.2);
        }
        for mix in ["channel_mix_lerp_k", "channel_mix_lerp_r"] {
            model.normal(&name(mix), &[1, 1, width], 0.5, 0.2);
        }
        model.normal(&name("time_mix_decay"), &[width], -0.6, 0.2);
        model.normal(&name("time_mix_first"), &[width], 0.0, 0.3);
        for part in ["receptance", "key", "value", "output"] {
            model.matrix(&name(&format!("time_mix_{part}")), &[width, width]);
        }
        model.matrix(&name("channel_mix_key"), &[hidden, width]);
        model.matrix(&name("channel_mix_value"), &[width, hidden]);
        model.matrix(&name("channel_mix_receptance"), &[width, width]);
    }
}
