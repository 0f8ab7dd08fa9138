//! RWKV-6 (Peng et al. 2024, "Finch"): linear attention whose decay is computed from the
//! input, as is how much of the row before is mixed in (token shift). The state is read before the
//! row is written to it, and does not grow with the context.

use super::known_shape::{ENDLESS, TINY, shapes};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only, Outline, conversion};
use crate::graph::blocks::{embedding, head};
use crate::graph::decoder::answer;
use crate::graph::{
    BuildError, Builder, Catalog, Decay, LinearAttention, Name, Net, Pointwise, Role, Share, Value,
    Vector,
};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RWKV-6",
    gguf: &["rwkv6"],
    hugging_face: &["rwkv6"],
    family: Family::Recurrent,
    keys: &[
        keys! {
            "hidden_size" => "embedding_length",
            "num_hidden_layers" => "block_count",
            "intermediate_size" => "feed_forward_length",
            "attention_hidden_size" => "wkv.inner_size",
            "head_size" => "wkv.head_size",
            "head_size_divisor" => "wkv.head_size_divisor",
            "layer_norm_epsilon" => "attention.layer_norm_epsilon",
            // GGUF's `rescale_every_n_layers` speaks of weights that have been divided.
            "rescale_every" => "rescale_undivided_every",
        },
        keys! {
            "num_layers" => "block_count",
            "ffn_size" => "feed_forward_length",
            "layer_norm_eps" => "attention.layer_norm_epsilon",
            "ln_x_eps" => "attention.group_norm_epsilon",
        },
    ],
    // As many as heads of their size fit.
    settled: &[("num_attention_heads", Only::Any)],
    // Sizes that the tensors tell.
    harmless_in_gguf: &[
        "attention.head_count",
        "time_decay_extra_dim",
        "time_mix_extra_dim",
        "token_shift_count",
    ],
    names: &[TRANSFORMERS, AUTHORS],
    conversion: Conversion {
        complete,
        ..Conversion::PLAIN
    },
    shapes: shapes! {
        "rwkv6-0.4b", "RWKV-6 of that size", [65_536, 1024, 24, ENDLESS] => untied
            outline(64, 3584, [32, 64]);
        "tiny-rwkv6", "an RWKV-6 to try things out with", TINY => untied outline(64, 512, [16, 32]);
    },
    build,
    ..DECODER
};

/// The names of checkpoints for transformers. Low-rank matrices are `[in, out]`.
const TRANSFORMERS: &[Name] = names! {
    "rwkv.embeddings.weight" => "token_embd.weight",
    "rwkv.blocks.0.pre_ln.*" => "token_embd_norm.*",
    "rwkv.ln_out.*" => "output_norm.*",
    in "rwkv.blocks.{i}." => "blk.{i}." {
        "ln1.*" => "attn_norm.*",
        "ln2.*" => "attn_norm_2.*",
        "attention.time_maa_x" => "time_mix_lerp_x.weight",
        "attention.time_maa_w" => "time_mix_lerp_fused.weight" part 0,
        "attention.time_maa_k" => "time_mix_lerp_fused.weight" part 1,
        "attention.time_maa_v" => "time_mix_lerp_fused.weight" part 2,
        "attention.time_maa_r" => "time_mix_lerp_fused.weight" part 3,
        "attention.time_maa_g" => "time_mix_lerp_fused.weight" part 4,
        "attention.time_maa_w1" => "time_mix_w1.weight" as Transposed,
        "attention.time_maa_w2" => "time_mix_w2.weight" as Transposed,
        "attention.time_decay" => "time_mix_decay.weight",
        "attention.time_decay_w1" => "time_mix_decay_w1.weight" as Transposed,
        "attention.time_decay_w2" => "time_mix_decay_w2.weight" as Transposed,
        "attention.time_faaaa" => "time_mix_first.weight",
        "attention.receptance.weight" => "time_mix_receptance.weight",
        "attention.key.weight" => "time_mix_key.weight",
        "attention.value.weight" => "time_mix_value.weight",
        "attention.gate.weight" => "time_mix_gate.weight",
        "attention.output.weight" => "time_mix_output.weight",
        "attention.ln_x.*" => "time_mix_ln.*",
        "feed_forward.time_maa_k" => "channel_mix_lerp_k.weight",
        "feed_forward.time_maa_r" => "channel_mix_lerp_r.weight",
        "feed_forward.key.weight" => "channel_mix_key.weight",
        "feed_forward.value.weight" => "channel_mix_value.weight",
        "feed_forward.receptance.weight" => "channel_mix_receptance.weight",
    }
};

/// The names of the author's checkpoints.
const AUTHORS: &[Name] = names! {
    "emb.weight" => "token_embd.weight",
    "blocks.0.ln0.*" => "token_embd_norm.*",
    "ln_out.*" => "output_norm.*",
    "head.weight" => "output.weight",
    in "blocks.{i}." => "blk.{i}." {
        "ln1.*" => "attn_norm.*",
        "ln2.*" => "attn_norm_2.*",
        "att.time_maa_x" => "time_mix_lerp_x.weight",
        "att.time_maa_w" => "time_mix_lerp_fused.weight" part 0,
        "att.time_maa_k" => "time_mix_lerp_fused.weight" part 1,
        "att.time_maa_v" => "time_mix_lerp_fused.weight" part 2,
        "att.time_maa_r" => "time_mix_lerp_fused.weight" part 3,
        "att.time_maa_g" => "time_mix_lerp_fused.weight" part 4,
        "att.time_maa_w1" => "time_mix_w1.weight" as Transposed,
        "att.time_maa_w2" => "time_mix_w2.weight" as Transposed,
        "att.time_decay" => "time_mix_decay.weight",
        "att.time_decay_w1" => "time_mix_decay_w1.weight" as Transposed,
        "att.time_decay_w2" => "time_mix_decay_w2.weight" as Transposed,
        "att.time_faaaa" => "time_mix_first.weight",
        "att.receptance.weight" => "time_mix_receptance.weight",
        "att.key.weight" => "time_mix_key.weight",
        "att.value.weight" => "time_mix_value.weight",
        "att.gate.weight" => "time_mix_gate.weight",
        "att.output.weight" => "time_mix_output.weight",
        "att.ln_x.*" => "time_mix_ln.*",
        "ffn.time_maa_k" => "channel_mix_lerp_k.weight",
        "ffn.time_maa_r" => "channel_mix_lerp_r.weight",
        "ffn.key.weight" => "channel_mix_key.weight",
        "ffn.value.weight" => "channel_mix_value.weight",
        "ffn.receptance.weight" => "channel_mix_receptance.weight",
    }
};

/// x ← x + time mixing(LN(x)); x ← x + σ(receptance) ⊙ value relu(key mix(LN(x)))².
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let head_dim = config.count("wkv.head_size")?;
    if !width.is_multiple_of(head_dim) {
        return Err(config.invalid("wkv.head_size", "a divisor of the width"));
    }
    let inner = config.optional_count("wkv.inner_size")?;
    if inner.is_some_and(|inner| inner != width) {
        return Err(config.invalid("wkv.inner_size", "the width"));
    }
    let hidden = match config.optional_count("feed_forward_length")? {
        Some(hidden) => hidden,
        None => width.saturating_mul(7) / 2 / 32 * 32,
    };
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let divisor = config.double("wkv.head_size_divisor", 8.0)?;
    let group_eps = (1e-5 * divisor * divisor) as f32;
    let group_eps = config.epsilon("attention.group_norm_epsilon", group_eps)?;
    // Half precision would overflow in late layers: all of x is halved from time to time, and with
    // it what comes to x. GGUF's weights have been divided already.
    let every = |key: &str| match config.double(key, 0.0)? {
        every if every.fract() != 0.0 => Err(config.invalid(key, "a whole number")),
        every => Ok((every > 0.0).then_some(every as usize)),
    };
    let divided = every("rescale_every_n_layers")?;
    let undivided = every("rescale_undivided_every")?;

    let net = model.graph(Role::Decode);
    let mut x = net.layer_norm(embedding(&net, width)?, "token_embd_norm", eps)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let halved = undivided.map_or(0, |every| (i / every).min(f32::MAX_EXP as usize));
        let factor = (-(halved as f32)).exp2();

        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let y = time_mix(&net, h, &layer, (head_dim, group_eps))?;
        x = net.add(x, net.scale(y, factor));

        let h = net.layer_norm(x, &format!("{layer}.attn_norm_2"), eps)?;
        let y = channel_mix(&net, h, &layer, hidden)?;
        x = net.add(x, net.scale(y, factor));
        if (divided.or(undivided)).is_some_and(|every| (i + 1).is_multiple_of(every)) {
            x = net.scale(x, 0.5);
        }
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// (r·(S + u ⊙ k ⊗ v)), S ← w ⊙ S + k ⊗ v (section 4.2), what is mixed in of the row before being
/// μ + tanh(x W₁) W₂ (equation 14).
fn time_mix(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    (head_dim, eps): (usize, f32),
) -> Result<Value, BuildError> {
    const MIXES: usize = 5;
    let (model, width) = (net.builder, net.width(h));
    let name = |part: &str| format!("{layer}.time_mix_{part}");
    let weight = |part: &str| format!("{}.weight", name(part));
    let vector = |part: &str| model.vector(&weight(part), &[width]);

    let all = model.constant(std::iter::repeat_n(1.0, width));
    let [between, before] = net.token_shift(h, [vector("lerp_x")?, all]);
    let first = weight("w1");
    let rank = match model.config().optional_count("time_mix_extra_dim")? {
        Some(rank) => rank,
        None => (model.rows(&first)? / MIXES).max(1),
    };
    let low = model.matrix(&first, rank.saturating_mul(MIXES), width)?;
    let low = net.apply(net.matmul(between, low, None), Pointwise::Tanh);
    let mixed = |index: usize, part: &str| {
        let own: Vector = match model.has(&weight("lerp_w")) {
            false => model.vector_range(
                &weight("lerp_fused"),
                &[MIXES, width],
                (index * width, width),
            )?,
            // Each by itself, in older files.
            true => vector(&format!("lerp_{part}"))?,
        };
        let second = model.matrix_of(&weight("w2"), [MIXES, width, rank], index)?;
        let share = net.matmul(net.slice(low, index * rank, rank), second, Some(own));
        Ok::<Value, BuildError>(net.lerp(h, before, Share::Row(share)))
    };
    let [w, k, v, r, g] = [
        mixed(0, "w")?,
        mixed(1, "k")?,
        mixed(2, "v")?,
        mixed(3, "r")?,
        mixed(4, "g")?,
    ];

    let r = net.linear(r, &name("receptance"), width)?;
    let k = net.linear(k, &name("key"), width)?;
    let v = net.linear(v, &name("value"), width)?;
    let g = net.linear(g, &name("gate"), width)?;
    let g = net.apply(g, Pointwise::Silu);
    let decay = LowRank {
        names: [weight("decay_w1"), weight("decay_w2")],
        rank: model.config().optional_count("time_decay_extra_dim")?,
        function: Some(Pointwise::Tanh),
        bias: Some(vector("decay")?),
    };
    let w = low_rank(net, w, decay)?;
    let w = net.scale(net.apply(w, Pointwise::Exp), -1.0);
    let attention = LinearAttention {
        decay: Decay::Keys(net.apply(w, Pointwise::Exp)),
        before: true,
        ..LinearAttention::plain(width / head_dim, head_dim, head_dim)
    };
    let y = net.linear_attention([r, k, v], attention);
    let bonus = model.vector(&weight("first"), &[width / head_dim, head_dim])?;
    let y = net.add(y, net.bonus([r, k, v], bonus, head_dim));
    let y = net.group_norm(y, &name("ln"), head_dim, eps)?;
    net.linear(net.mul(y, g), &name("output"), width)
}

/// A product of two matrices as narrow as `rank`.
pub(super) struct LowRank {
    /// Of the matrices.
    pub names: [String; 2],
    /// What the first matrix says if nothing else does.
    pub rank: Option<usize>,
    /// What is between them.
    pub function: Option<Pointwise>,
    pub bias: Option<Vector>,
}

/// f(x W₁) W₂ + b, as wide as x.
pub(super) fn low_rank(net: &Net<'_, '_>, x: Value, parts: LowRank) -> Result<Value, BuildError> {
    let (model, width) = (net.builder, net.width(x));
    let [first, second] = &parts.names;
    let rank = match parts.rank {
        Some(rank) => rank,
        None => model.rows(first)?,
    };
    let mut x = net.matmul(x, model.matrix(first, rank, width)?, None);
    if let Some(function) = parts.function {
        x = net.apply(x, function);
    }
    Ok(net.matmul(x, model.matrix(second, width, rank)?, parts.bias))
}

/// σ(r) ⊙ value(relu(key)²), both of mixtures with the row before.
pub(super) fn channel_mix(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    hidden: usize,
) -> Result<Value, BuildError> {
    let width = net.width(h);
    let name = |part: &str| format!("{layer}.channel_mix_{part}");
    let mix = |part| {
        let name = name(&format!("lerp_{part}.weight"));
        net.builder.vector(&name, &[width])
    };
    let [k, r] = net.token_shift(h, [mix("k")?, mix("r")?]);
    let k = net.linear(k, &name("key"), hidden)?;
    let k = net.apply(k, Pointwise::SquaredRelu);
    let r = net.linear(r, &name("receptance"), width)?;
    let y = net.linear(k, &name("value"), width)?;
    Ok(net.mul(net.apply(r, Pointwise::Sigmoid), y))
}

/// Ranks that tensors imply, and what readers of GGUF insist on.
fn complete(keys: &mut GgufKeys<'_>, tensors: &dyn Catalog) {
    keys.put("attention.head_count", MetadataValue::U32(0));
    keys.put_usual_context(conversion::ANY_LENGTH);
    for (key, part, parts) in [
        ("time_mix_extra_dim", "time_mix_w1", 5),
        ("time_decay_extra_dim", "time_mix_decay_w1", 1),
        ("feed_forward_length", "channel_mix_key", 1),
    ] {
        if let Some(rows) = conversion::rows(tensors, &format!("blk.0.{part}.weight")) {
            keys.put(key, MetadataValue::U32(rows / parts));
        }
    }
}

/// What all of RWKV have of a known shape: keys, and the norms at both ends and in every layer.
pub(super) fn outline_norms(model: &mut Outline, hidden: u64, of_layers: &[&str]) {
    model.counts(&[("feed_forward_length", hidden)]);
    model.put("attention.layer_norm_epsilon", MetadataValue::F32(1e-5));
    let width = model.shape.width;
    model.norm("token_embd_norm.weight", width);
    model.normal("token_embd_norm.bias", &[width], 0.0, 0.1);
    model.normal("output_norm.bias", &[width], 0.0, 0.1);
    for layer in 0..model.shape.layers {
        for norm in of_layers {
            model.norm(&format!("blk.{layer}.{norm}.weight"), width);
            model.normal(&format!("blk.{layer}.{norm}.bias"), &[width], 0.0, 0.1);
        }
    }
}

/// Keys and layers of a model of known shape; ranks are those of mixtures and of decays.
fn outline(model: &mut Outline, head_dim: u64, hidden: u64, [mix, decay]: [u64; 2]) {
    model.counts(&[
        ("attention.head_count", 0),
        ("wkv.head_size", head_dim),
        ("time_mix_extra_dim", mix),
        ("time_decay_extra_dim", decay),
    ]);
    outline_norms(model, hidden, &["attn_norm", "attn_norm_2", "time_mix_ln"]);
    let width = model.shape.width;
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        model.normal(&name("time_mix_lerp_x"), &[1, 1, width], 0.5, 0.2);
        model.normal(&name("time_mix_lerp_fused"), &[5, 1, 1, width], 0.5, 0.2);
        model.matrix(&name("time_mix_w1"), &[5 * mix, width]);
        model.matrix(&name("time_mix_w2"), &[5, width, mix]);
        model.normal(&name("time_mix_decay"), &[width], -2.0, 1.0);
        model.matrix(&name("time_mix_decay_w1"), &[decay, width]);
        model.matrix(&name("time_mix_decay_w2"), &[width, decay]);
        let heads = [width / head_dim, head_dim];
        model.normal(&name("time_mix_first"), &heads, 0.0, 0.3);
        for part in ["receptance", "key", "value", "gate", "output"] {
            model.matrix(&name(&format!("time_mix_{part}")), &[width, width]);
        }
        for mix in ["channel_mix_lerp_k", "channel_mix_lerp_r"] {
            model.normal(&name(mix), &[1, 1, width], 0.5, 0.2);
        }
        model.matrix(&name("channel_mix_key"), &[hidden, width]);
        model.matrix(&name("channel_mix_value"), &[width, hidden]);
        model.matrix(&name("channel_mix_receptance"), &[width, width]);
    }
}
