//! RWKV-4 (Peng et al. 2023): weighted means over the past that are carried along channel by
//! channel; memory constant in length.

use super::{Architecture, DECODER, Family, conversion, rwkv6};
use crate::graph::blocks::{Tied, embedding, head};
use crate::graph::{BuildError, Builder, Name, Pointwise, Role, View};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RWKV-4",
    gguf: &["rwkv4"],
    hugging_face: &["rwkv"],
    family: Family::Recurrent,
    keys: &[&[
        ("embedding_length", "hidden_size"),
        ("block_count", "num_hidden_layers"),
        ("feed_forward_length", "intermediate_size"),
        ("wkv.inner_size", "attention_hidden_size"),
        ("attention.layer_norm_epsilon", "layer_norm_epsilon"),
        ("rescale_every_n_layers", "rescale_every"),
    ]],
    names: &[TRANSFORMERS, AUTHORS],
    conversion: conversion::ENDLESS,
    build,
    ..DECODER
};

/// The names of checkpoints for transformers.
const TRANSFORMERS: &[Name] = &[
    Name::plain("rwkv.embeddings.weight", "token_embd.weight"),
    Name::plain("rwkv.blocks.0.pre_ln.weight", "token_embd_norm.weight"),
    Name::plain("rwkv.blocks.0.pre_ln.bias", "token_embd_norm.bias"),
    Name::plain("rwkv.ln_out.weight", "output_norm.weight"),
    Name::plain("rwkv.ln_out.bias", "output_norm.bias"),
    Name::plain("head.weight", "output.weight"),
    Name::plain("rwkv.blocks.{i}.ln1.weight", "blk.{i}.attn_norm.weight"),
    Name::plain("rwkv.blocks.{i}.ln1.bias", "blk.{i}.attn_norm.bias"),
    Name::plain("rwkv.blocks.{i}.ln2.weight", "blk.{i}.attn_norm_2.weight"),
    Name::plain("rwkv.blocks.{i}.ln2.bias", "blk.{i}.attn_norm_2.bias"),
    Name::viewed(
        "rwkv.blocks.{i}.attention.time_decay",
        "blk.{i}.time_mix_decay.weight",
        View::NegativeExp,
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.time_first",
        "blk.{i}.time_mix_first.weight",
    ),
    Name::viewed(
        "rwkv.blocks.{i}.attention.time_mix_key",
        "blk.{i}.time_mix_lerp_k.weight",
        View::OneMinus,
    ),
    Name::viewed(
        "rwkv.blocks.{i}.attention.time_mix_value",
        "blk.{i}.time_mix_lerp_v.weight",
        View::OneMinus,
    ),
    Name::viewed(
        "rwkv.blocks.{i}.attention.time_mix_receptance",
        "blk.{i}.time_mix_lerp_r.weight",
        View::OneMinus,
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.key.weight",
        "blk.{i}.time_mix_key.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.value.weight",
        "blk.{i}.time_mix_value.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.receptance.weight",
        "blk.{i}.time_mix_receptance.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.output.weight",
        "blk.{i}.time_mix_output.weight",
    ),
    Name::viewed(
        "rwkv.blocks.{i}.feed_forward.time_mix_key",
        "blk.{i}.channel_mix_lerp_k.weight",
        View::OneMinus,
    ),
    Name::viewed(
        "rwkv.blocks.{i}.feed_forward.time_mix_receptance",
        "blk.{i}.channel_mix_lerp_r.weight",
        View::OneMinus,
    ),
    Name::plain(
        "rwkv.blocks.{i}.feed_forward.key.weight",
        "blk.{i}.channel_mix_key.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.feed_forward.value.weight",
        "blk.{i}.channel_mix_value.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.feed_forward.receptance.weight",
        "blk.{i}.channel_mix_receptance.weight",
    ),
];

/// The names of the author's checkpoints, whose head is called the same.
const AUTHORS: &[Name] = &[
    Name::plain("emb.weight", "token_embd.weight"),
    Name::plain("blocks.0.ln0.weight", "token_embd_norm.weight"),
    Name::plain("blocks.0.ln0.bias", "token_embd_norm.bias"),
    Name::plain("ln_out.weight", "output_norm.weight"),
    Name::plain("ln_out.bias", "output_norm.bias"),
    Name::plain("blocks.{i}.ln1.weight", "blk.{i}.attn_norm.weight"),
    Name::plain("blocks.{i}.ln1.bias", "blk.{i}.attn_norm.bias"),
    Name::plain("blocks.{i}.ln2.weight", "blk.{i}.attn_norm_2.weight"),
    Name::plain("blocks.{i}.ln2.bias", "blk.{i}.attn_norm_2.bias"),
    Name::viewed(
        "blocks.{i}.att.time_decay",
        "blk.{i}.time_mix_decay.weight",
        View::NegativeExp,
    ),
    Name::plain("blocks.{i}.att.time_first", "blk.{i}.time_mix_first.weight"),
    Name::viewed(
        "blocks.{i}.att.time_mix_k",
        "blk.{i}.time_mix_lerp_k.weight",
        View::OneMinus,
    ),
    Name::viewed(
        "blocks.{i}.att.time_mix_v",
        "blk.{i}.time_mix_lerp_v.weight",
        View::OneMinus,
    ),
    Name::viewed(
        "blocks.{i}.att.time_mix_r",
        "blk.{i}.time_mix_lerp_r.weight",
        View::OneMinus,
    ),
    Name::plain("blocks.{i}.att.key.weight", "blk.{i}.time_mix_key.weight"),
    Name::plain(
        "blocks.{i}.att.value.weight",
        "blk.{i}.time_mix_value.weight",
    ),
    Name::plain(
        "blocks.{i}.att.receptance.weight",
        "blk.{i}.time_mix_receptance.weight",
    ),
    Name::plain(
        "blocks.{i}.att.output.weight",
        "blk.{i}.time_mix_output.weight",
    ),
    Name::viewed(
        "blocks.{i}.ffn.time_mix_k",
        "blk.{i}.channel_mix_lerp_k.weight",
        View::OneMinus,
    ),
    Name::viewed(
        "blocks.{i}.ffn.time_mix_r",
        "blk.{i}.channel_mix_lerp_r.weight",
        View::OneMinus,
    ),
    Name::plain(
        "blocks.{i}.ffn.key.weight",
        "blk.{i}.channel_mix_key.weight",
    ),
    Name::plain(
        "blocks.{i}.ffn.value.weight",
        "blk.{i}.channel_mix_value.weight",
    ),
    Name::plain(
        "blocks.{i}.ffn.receptance.weight",
        "blk.{i}.channel_mix_receptance.weight",
    ),
];

/// The last norm's, whatever the configuration says of the others.
const OUTPUT_EPSILON: f32 = 1e-5;

/// x ← x + output(σ(r) ⊙ wkv(k, v)); x ← x + σ(r) ⊙ value(relu(key)²).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let inner = config.optional_count("wkv.inner_size")?.unwrap_or(width);
    let hidden = config.optional_count("feed_forward_length")?;
    let hidden = hidden.unwrap_or(width.saturating_mul(4));
    let eps = config.float("attention.layer_norm_epsilon", 1e-5)?;
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
    net.emit(head(&net, x, Tied::OnRequest)?, "logits");
    net.finish();
    Ok(())
}
