//! RWKV-6 (Peng et al. 2024, "Finch"): a memory of outer products that fades as each row says, read
//! before the row is taken in; what is mixed with the row before is of the rows' own making as
//! well. Memory constant in length.

use super::{Architecture, Conversion, DECODER, Family, GgufKeys, conversion};
use crate::graph::blocks::{Tied, embedding, head};
use crate::graph::{
    BuildError, Builder, Catalog, Decay, LinearAttention, Name, Net, Pointwise, Role, Share, Value,
    Vector, View,
};
use rillm_formats::manifest::Value as Fact;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RWKV-6",
    gguf: &["rwkv6"],
    hugging_face: &["rwkv6"],
    family: Family::Recurrent,
    keys: &[
        &[
            ("embedding_length", "hidden_size"),
            ("block_count", "num_hidden_layers"),
            ("feed_forward_length", "intermediate_size"),
            ("wkv.inner_size", "attention_hidden_size"),
            ("wkv.head_size", "head_size"),
            ("wkv.head_size_divisor", "head_size_divisor"),
            ("attention.layer_norm_epsilon", "layer_norm_epsilon"),
            // GGUF's `rescale_every_n_layers` speaks of weights that have been divided.
            ("rescale_undivided_every", "rescale_every"),
        ],
        &[
            ("block_count", "num_layers"),
            ("feed_forward_length", "ffn_size"),
            ("attention.layer_norm_epsilon", "layer_norm_eps"),
            ("attention.group_norm_epsilon", "ln_x_eps"),
        ],
    ],
    names: &[TRANSFORMERS, AUTHORS],
    conversion: Conversion {
        complete,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// The names of checkpoints for transformers. Low-rank matrices are `[in, out]`.
const TRANSFORMERS: &[Name] = &[
    Name::plain("rwkv.embeddings.weight", "token_embd.weight"),
    Name::plain("rwkv.blocks.0.pre_ln.weight", "token_embd_norm.weight"),
    Name::plain("rwkv.blocks.0.pre_ln.bias", "token_embd_norm.bias"),
    Name::plain("rwkv.ln_out.weight", "output_norm.weight"),
    Name::plain("rwkv.ln_out.bias", "output_norm.bias"),
    Name::plain("rwkv.blocks.{i}.ln1.weight", "blk.{i}.attn_norm.weight"),
    Name::plain("rwkv.blocks.{i}.ln1.bias", "blk.{i}.attn_norm.bias"),
    Name::plain("rwkv.blocks.{i}.ln2.weight", "blk.{i}.attn_norm_2.weight"),
    Name::plain("rwkv.blocks.{i}.ln2.bias", "blk.{i}.attn_norm_2.bias"),
    Name::plain(
        "rwkv.blocks.{i}.attention.time_maa_x",
        "blk.{i}.time_mix_lerp_x.weight",
    ),
    Name::part(
        "rwkv.blocks.{i}.attention.time_maa_w",
        "blk.{i}.time_mix_lerp_fused.weight",
        0,
    ),
    Name::part(
        "rwkv.blocks.{i}.attention.time_maa_k",
        "blk.{i}.time_mix_lerp_fused.weight",
        1,
    ),
    Name::part(
        "rwkv.blocks.{i}.attention.time_maa_v",
        "blk.{i}.time_mix_lerp_fused.weight",
        2,
    ),
    Name::part(
        "rwkv.blocks.{i}.attention.time_maa_r",
        "blk.{i}.time_mix_lerp_fused.weight",
        3,
    ),
    Name::part(
        "rwkv.blocks.{i}.attention.time_maa_g",
        "blk.{i}.time_mix_lerp_fused.weight",
        4,
    ),
    Name::viewed(
        "rwkv.blocks.{i}.attention.time_maa_w1",
        "blk.{i}.time_mix_w1.weight",
        View::Transposed,
    ),
    Name::viewed(
        "rwkv.blocks.{i}.attention.time_maa_w2",
        "blk.{i}.time_mix_w2.weight",
        View::Transposed,
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.time_decay",
        "blk.{i}.time_mix_decay.weight",
    ),
    Name::viewed(
        "rwkv.blocks.{i}.attention.time_decay_w1",
        "blk.{i}.time_mix_decay_w1.weight",
        View::Transposed,
    ),
    Name::viewed(
        "rwkv.blocks.{i}.attention.time_decay_w2",
        "blk.{i}.time_mix_decay_w2.weight",
        View::Transposed,
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.time_faaaa",
        "blk.{i}.time_mix_first.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.receptance.weight",
        "blk.{i}.time_mix_receptance.weight",
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
        "rwkv.blocks.{i}.attention.gate.weight",
        "blk.{i}.time_mix_gate.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.output.weight",
        "blk.{i}.time_mix_output.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.ln_x.weight",
        "blk.{i}.time_mix_ln.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.attention.ln_x.bias",
        "blk.{i}.time_mix_ln.bias",
    ),
    Name::plain(
        "rwkv.blocks.{i}.feed_forward.time_maa_k",
        "blk.{i}.channel_mix_lerp_k.weight",
    ),
    Name::plain(
        "rwkv.blocks.{i}.feed_forward.time_maa_r",
        "blk.{i}.channel_mix_lerp_r.weight",
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

/// The names of the author's checkpoints.
const AUTHORS: &[Name] = &[
    Name::plain("emb.weight", "token_embd.weight"),
    Name::plain("blocks.0.ln0.weight", "token_embd_norm.weight"),
    Name::plain("blocks.0.ln0.bias", "token_embd_norm.bias"),
    Name::plain("ln_out.weight", "output_norm.weight"),
    Name::plain("ln_out.bias", "output_norm.bias"),
    Name::plain("head.weight", "output.weight"),
    Name::plain("blocks.{i}.ln1.weight", "blk.{i}.attn_norm.weight"),
    Name::plain("blocks.{i}.ln1.bias", "blk.{i}.attn_norm.bias"),
    Name::plain("blocks.{i}.ln2.weight", "blk.{i}.attn_norm_2.weight"),
    Name::plain("blocks.{i}.ln2.bias", "blk.{i}.attn_norm_2.bias"),
    Name::plain(
        "blocks.{i}.att.time_maa_x",
        "blk.{i}.time_mix_lerp_x.weight",
    ),
    Name::part(
        "blocks.{i}.att.time_maa_w",
        "blk.{i}.time_mix_lerp_fused.weight",
        0,
    ),
    Name::part(
        "blocks.{i}.att.time_maa_k",
        "blk.{i}.time_mix_lerp_fused.weight",
        1,
    ),
    Name::part(
        "blocks.{i}.att.time_maa_v",
        "blk.{i}.time_mix_lerp_fused.weight",
        2,
    ),
    Name::part(
        "blocks.{i}.att.time_maa_r",
        "blk.{i}.time_mix_lerp_fused.weight",
        3,
    ),
    Name::part(
        "blocks.{i}.att.time_maa_g",
        "blk.{i}.time_mix_lerp_fused.weight",
        4,
    ),
    Name::viewed(
        "blocks.{i}.att.time_maa_w1",
        "blk.{i}.time_mix_w1.weight",
        View::Transposed,
    ),
    Name::viewed(
        "blocks.{i}.att.time_maa_w2",
        "blk.{i}.time_mix_w2.weight",
        View::Transposed,
    ),
    Name::plain("blocks.{i}.att.time_decay", "blk.{i}.time_mix_decay.weight"),
    Name::viewed(
        "blocks.{i}.att.time_decay_w1",
        "blk.{i}.time_mix_decay_w1.weight",
        View::Transposed,
    ),
    Name::viewed(
        "blocks.{i}.att.time_decay_w2",
        "blk.{i}.time_mix_decay_w2.weight",
        View::Transposed,
    ),
    Name::plain("blocks.{i}.att.time_faaaa", "blk.{i}.time_mix_first.weight"),
    Name::plain(
        "blocks.{i}.att.receptance.weight",
        "blk.{i}.time_mix_receptance.weight",
    ),
    Name::plain("blocks.{i}.att.key.weight", "blk.{i}.time_mix_key.weight"),
    Name::plain(
        "blocks.{i}.att.value.weight",
        "blk.{i}.time_mix_value.weight",
    ),
    Name::plain("blocks.{i}.att.gate.weight", "blk.{i}.time_mix_gate.weight"),
    Name::plain(
        "blocks.{i}.att.output.weight",
        "blk.{i}.time_mix_output.weight",
    ),
    Name::plain("blocks.{i}.att.ln_x.weight", "blk.{i}.time_mix_ln.weight"),
    Name::plain("blocks.{i}.att.ln_x.bias", "blk.{i}.time_mix_ln.bias"),
    Name::plain(
        "blocks.{i}.ffn.time_maa_k",
        "blk.{i}.channel_mix_lerp_k.weight",
    ),
    Name::plain(
        "blocks.{i}.ffn.time_maa_r",
        "blk.{i}.channel_mix_lerp_r.weight",
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
    let eps = config.float("attention.layer_norm_epsilon", 1e-5)?;
    let divisor = config.double("wkv.head_size_divisor", 8.0)?;
    let group_eps = (1e-5 * divisor * divisor) as f32;
    let group_eps = config.float("attention.group_norm_epsilon", group_eps)?;
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
    net.emit(head(&net, x, Tied::OnRequest)?, "logits");
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
    let retention = LinearAttention {
        decay: Decay::Keys(net.apply(w, Pointwise::Exp)),
        before: true,
        ..LinearAttention::plain(width / head_dim, head_dim, head_dim)
    };
    let y = net.linear_attention([r, k, v], retention);
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
    keys.put("attention.head_count", Fact::U32(0));
    keys.put_usual_context(conversion::ANY_LENGTH);
    for (key, part, parts) in [
        ("time_mix_extra_dim", "time_mix_w1", 5),
        ("time_decay_extra_dim", "time_mix_decay_w1", 1),
        ("feed_forward_length", "channel_mix_key", 1),
    ] {
        if let Some(rows) = conversion::rows(tensors, &format!("blk.0.{part}.weight")) {
            keys.put(key, Fact::U32(rows / parts));
        }
    }
}
