//! RWKV-7 (Peng et al. 2025, "Goose"): a memory of outer products whose fading, erasing and
//! learning rate are of each row's own making; memory constant in length.

use super::rwkv6::{self, LowRank};
use super::{Architecture, Conversion, DECODER, Family, conversion};
use crate::graph::blocks::{Tied, embedding, head};
use crate::graph::{
    BuildError, Builder, Decay, DeltaRule, LinearAttention, Name, Net, Pointwise, Role, Share,
    Value, View,
};
use rillm_formats::manifest::Value as Fact;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RWKV-7",
    gguf: &["rwkv7"],
    hugging_face: &["rwkv7"],
    family: Family::Recurrent,
    keys: &[
        &[
            ("embedding_length", "hidden_size"),
            ("block_count", "num_layers"),
            ("feed_forward_length", "ffn_size"),
            ("wkv.head_size", "head_size"),
            ("attention.layer_norm_epsilon", "layer_norm_eps"),
            ("attention.group_norm_epsilon", "ln_x_eps"),
            ("attention.decay_lora_rank", "decay_lora"),
            ("attention.iclr_lora_rank", "a_lora"),
            ("attention.value_residual_mix_lora_rank", "v_lora"),
            ("attention.gate_lora_rank", "gate_lora"),
        ],
        &[
            ("block_count", "num_hidden_layers"),
            ("feed_forward_length", "intermediate_size"),
            ("feed_forward_ratio", "hidden_ratio"),
            ("wkv.head_size", "head_dim"),
            ("attention.layer_norm_epsilon", "norm_eps"),
            ("attention.decay_lora_rank", "decay_low_rank_dim"),
            ("attention.iclr_lora_rank", "a_low_rank_dim"),
            ("attention.value_residual_mix_lora_rank", "v_low_rank_dim"),
            ("attention.gate_lora_rank", "gate_low_rank_dim"),
            ("hidden_act", "hidden_act"),
            ("layers_of_attention", "attn.layers"),
            ("embedding_norm", "norm_first"),
        ],
    ],
    names: &[AUTHORS, FLASH_LINEAR_ATTENTION],
    unused: &[
        "blk.0.time_mix_v0.weight",
        "blk.0.time_mix_v1.weight",
        "blk.0.time_mix_v2.weight",
    ],
    conversion: Conversion {
        tensor: |_, mut tensor| {
            // Readers want no heads in it.
            if tensor.part() == "time_mix_r_k" {
                tensor.shape = vec![tensor.shape.iter().product()];
            }
            Ok(vec![tensor])
        },
        complete: |keys, _| {
            keys.put("attention.head_count", Fact::U32(0));
            keys.put_usual_context(conversion::ANY_LENGTH);
        },
        // The first layer has no values to mix its own with; readers want the tensors for it
        // nevertheless, as large as those of its learning rates, and do not use them.
        copies: &[
            ("blk.0.time_mix_v0.weight", "blk.0.time_mix_a0.weight"),
            ("blk.0.time_mix_v1.weight", "blk.0.time_mix_a1.weight"),
            ("blk.0.time_mix_v2.weight", "blk.0.time_mix_a2.weight"),
        ],
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// The names of the author's checkpoints, whose low-rank matrices are `[in, out]`.
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
    Name::part(
        "blocks.{i}.att.x_r",
        "blk.{i}.time_mix_lerp_fused.weight",
        0,
    ),
    Name::part(
        "blocks.{i}.att.x_w",
        "blk.{i}.time_mix_lerp_fused.weight",
        1,
    ),
    Name::part(
        "blocks.{i}.att.x_k",
        "blk.{i}.time_mix_lerp_fused.weight",
        2,
    ),
    Name::part(
        "blocks.{i}.att.x_v",
        "blk.{i}.time_mix_lerp_fused.weight",
        3,
    ),
    Name::part(
        "blocks.{i}.att.x_a",
        "blk.{i}.time_mix_lerp_fused.weight",
        4,
    ),
    Name::part(
        "blocks.{i}.att.x_g",
        "blk.{i}.time_mix_lerp_fused.weight",
        5,
    ),
    Name::plain("blocks.{i}.att.w0", "blk.{i}.time_mix_w0.weight"),
    Name::viewed(
        "blocks.{i}.att.w1",
        "blk.{i}.time_mix_w1.weight",
        View::Transposed,
    ),
    Name::viewed(
        "blocks.{i}.att.w2",
        "blk.{i}.time_mix_w2.weight",
        View::Transposed,
    ),
    Name::plain("blocks.{i}.att.a0", "blk.{i}.time_mix_a0.weight"),
    Name::viewed(
        "blocks.{i}.att.a1",
        "blk.{i}.time_mix_a1.weight",
        View::Transposed,
    ),
    Name::viewed(
        "blocks.{i}.att.a2",
        "blk.{i}.time_mix_a2.weight",
        View::Transposed,
    ),
    Name::plain("blocks.{i}.att.v0", "blk.{i}.time_mix_v0.weight"),
    Name::viewed(
        "blocks.{i}.att.v1",
        "blk.{i}.time_mix_v1.weight",
        View::Transposed,
    ),
    Name::viewed(
        "blocks.{i}.att.v2",
        "blk.{i}.time_mix_v2.weight",
        View::Transposed,
    ),
    Name::viewed(
        "blocks.{i}.att.g1",
        "blk.{i}.time_mix_g1.weight",
        View::Transposed,
    ),
    Name::viewed(
        "blocks.{i}.att.g2",
        "blk.{i}.time_mix_g2.weight",
        View::Transposed,
    ),
    Name::plain("blocks.{i}.att.k_k", "blk.{i}.time_mix_k_k.weight"),
    Name::plain("blocks.{i}.att.k_a", "blk.{i}.time_mix_k_a.weight"),
    Name::plain("blocks.{i}.att.r_k", "blk.{i}.time_mix_r_k.weight"),
    Name::plain(
        "blocks.{i}.att.receptance.weight",
        "blk.{i}.time_mix_receptance.weight",
    ),
    Name::plain("blocks.{i}.att.key.weight", "blk.{i}.time_mix_key.weight"),
    Name::plain(
        "blocks.{i}.att.value.weight",
        "blk.{i}.time_mix_value.weight",
    ),
    Name::plain(
        "blocks.{i}.att.output.weight",
        "blk.{i}.time_mix_output.weight",
    ),
    Name::plain("blocks.{i}.att.ln_x.weight", "blk.{i}.time_mix_ln.weight"),
    Name::plain("blocks.{i}.att.ln_x.bias", "blk.{i}.time_mix_ln.bias"),
    Name::plain("blocks.{i}.ffn.x_k", "blk.{i}.channel_mix_lerp_k.weight"),
    Name::plain(
        "blocks.{i}.ffn.key.weight",
        "blk.{i}.channel_mix_key.weight",
    ),
    Name::plain(
        "blocks.{i}.ffn.value.weight",
        "blk.{i}.channel_mix_value.weight",
    ),
];

const FLASH_LINEAR_ATTENTION: &[Name] = &[
    Name::plain("model.embeddings.weight", "token_embd.weight"),
    Name::plain("model.layers.0.pre_norm.weight", "token_embd_norm.weight"),
    Name::plain("model.layers.0.pre_norm.bias", "token_embd_norm.bias"),
    Name::plain("model.norm.weight", "output_norm.weight"),
    Name::plain("model.norm.bias", "output_norm.bias"),
    Name::plain("lm_head.weight", "output.weight"),
    Name::plain(
        "model.layers.{i}.attn_norm.weight",
        "blk.{i}.attn_norm.weight",
    ),
    Name::plain("model.layers.{i}.attn_norm.bias", "blk.{i}.attn_norm.bias"),
    Name::plain(
        "model.layers.{i}.ffn_norm.weight",
        "blk.{i}.attn_norm_2.weight",
    ),
    Name::plain("model.layers.{i}.ffn_norm.bias", "blk.{i}.attn_norm_2.bias"),
    Name::plain(
        "model.layers.{i}.attn.x_x",
        "blk.{i}.time_mix_lerp_fused.weight",
    ),
    Name::part(
        "model.layers.{i}.attn.x_r",
        "blk.{i}.time_mix_lerp_fused.weight",
        0,
    ),
    Name::part(
        "model.layers.{i}.attn.x_w",
        "blk.{i}.time_mix_lerp_fused.weight",
        1,
    ),
    Name::part(
        "model.layers.{i}.attn.x_k",
        "blk.{i}.time_mix_lerp_fused.weight",
        2,
    ),
    Name::part(
        "model.layers.{i}.attn.x_v",
        "blk.{i}.time_mix_lerp_fused.weight",
        3,
    ),
    Name::part(
        "model.layers.{i}.attn.x_a",
        "blk.{i}.time_mix_lerp_fused.weight",
        4,
    ),
    Name::part(
        "model.layers.{i}.attn.x_g",
        "blk.{i}.time_mix_lerp_fused.weight",
        5,
    ),
    Name::plain(
        "model.layers.{i}.attn.w_lora.lora.0.weight",
        "blk.{i}.time_mix_w1.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.w_lora.lora.2.weight",
        "blk.{i}.time_mix_w2.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.w_lora.lora.2.bias",
        "blk.{i}.time_mix_w0.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.a_lora.lora.0.weight",
        "blk.{i}.time_mix_a1.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.a_lora.lora.2.weight",
        "blk.{i}.time_mix_a2.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.a_lora.lora.2.bias",
        "blk.{i}.time_mix_a0.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.v_lora.lora.0.weight",
        "blk.{i}.time_mix_v1.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.v_lora.lora.2.weight",
        "blk.{i}.time_mix_v2.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.v_lora.lora.2.bias",
        "blk.{i}.time_mix_v0.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.g_lora.lora.0.weight",
        "blk.{i}.time_mix_g1.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.g_lora.lora.2.weight",
        "blk.{i}.time_mix_g2.weight",
    ),
    Name::plain("model.layers.{i}.attn.k_k", "blk.{i}.time_mix_k_k.weight"),
    Name::plain("model.layers.{i}.attn.k_a", "blk.{i}.time_mix_k_a.weight"),
    Name::plain("model.layers.{i}.attn.r_k", "blk.{i}.time_mix_r_k.weight"),
    Name::plain(
        "model.layers.{i}.attn.r_proj.weight",
        "blk.{i}.time_mix_receptance.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.k_proj.weight",
        "blk.{i}.time_mix_key.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.v_proj.weight",
        "blk.{i}.time_mix_value.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.o_proj.weight",
        "blk.{i}.time_mix_output.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.g_norm.weight",
        "blk.{i}.time_mix_ln.weight",
    ),
    Name::plain(
        "model.layers.{i}.attn.g_norm.bias",
        "blk.{i}.time_mix_ln.bias",
    ),
    Name::plain(
        "model.layers.{i}.ffn.x_k",
        "blk.{i}.channel_mix_lerp_k.weight",
    ),
    Name::plain(
        "model.layers.{i}.ffn.key.weight",
        "blk.{i}.channel_mix_key.weight",
    ),
    Name::plain(
        "model.layers.{i}.ffn.value.weight",
        "blk.{i}.channel_mix_value.weight",
    ),
];

/// −e^(−1/2), which keeps decays above e^(−e^(−1/2)) (equation 7); with the author's digits.
const SLOWEST: f32 = -0.606_531;

/// Keeps a key of zeros from becoming infinitely long.
const NORM_EPSILON: f32 = 1e-24;

/// x ← x + time mixing(LN(x)); x ← x + value relu(key mix(LN(x)))².
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let head_dim = config.count("wkv.head_size")?;
    if !width.is_multiple_of(head_dim) {
        return Err(config.invalid("wkv.head_size", "a divisor of the width"));
    }
    if config.value("layers_of_attention").is_some() {
        return Err(config.invalid(
            "layers_of_attention",
            "null: layers of attention do not run",
        ));
    }
    if config.text("hidden_act")?.unwrap_or("sqrelu") != "sqrelu" {
        return Err(config.invalid("hidden_act", "sqrelu"));
    }
    let hidden = match config.optional_count("feed_forward_length")? {
        Some(hidden) => hidden,
        None => {
            let hidden = width as f64 * config.double("feed_forward_ratio", 4.0)?;
            (hidden as usize).div_ceil(32).saturating_mul(32)
        }
    };
    let eps = config.float("attention.layer_norm_epsilon", 1e-5)?;
    // For heads of 64 this is the 64e-5 that others have built in.
    let group_eps = config.float("attention.group_norm_epsilon", head_dim as f32 * eps)?;
    // Padding is multiplied away before anything else happens.
    model.counts_positions();

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    if config.flag("embedding_norm", true)? {
        x = net.layer_norm(x, "token_embd_norm", eps)?;
    }
    let mut first_value = None;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let sizes = (head_dim, group_eps);
        x = net.add(x, time_mix(&net, h, &layer, sizes, &mut first_value)?);

        let h = net.layer_norm(x, &format!("{layer}.attn_norm_2"), eps)?;
        let mix = model.vector(&format!("{layer}.channel_mix_lerp_k.weight"), &[width])?;
        let [h] = net.token_shift(h, [mix]);
        let k = net.linear(h, &format!("{layer}.channel_mix_key"), hidden)?;
        let k = net.apply(k, Pointwise::SquaredRelu);
        x = net.add(
            x,
            net.linear(k, &format!("{layer}.channel_mix_value"), width)?,
        );
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x, Tied::OnRequest)?, "logits");
    net.finish();
    Ok(())
}

/// S ← w ⊙ S − κ ⊙ a ⊗ (κ·S) + k ⊗ v, read by r, with a bonus for the row itself (section 3).
fn time_mix(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    (head_dim, eps): (usize, f32),
    first_value: &mut Option<Value>,
) -> Result<Value, BuildError> {
    let (model, width) = (net.builder, net.width(h));
    let name = |part: &str| format!("{layer}.time_mix_{part}");
    let vector = |part: &str| model.vector(&format!("{}.weight", name(part)), &[width]);
    let fused = format!("{}.weight", name("lerp_fused"));
    let mix = |part| model.vector_range(&fused, &[6, width], (part * width, width));
    let mixes = [mix(0)?, mix(1)?, mix(2)?, mix(3)?, mix(4)?, mix(5)?];
    let [r, w, k, v, a, g] = net.token_shift(h, mixes);
    let low_rank = |x: Value, part: &str, function: Option<Pointwise>, bias: bool| {
        let key = match part {
            "w" => "attention.decay_lora_rank",
            "a" => "attention.iclr_lora_rank",
            "v" => "attention.value_residual_mix_lora_rank",
            _ => "attention.gate_lora_rank",
        };
        let parts = LowRank {
            names: [1, 2].map(|number| format!("{}{number}.weight", name(part))),
            rank: model.config().optional_count(key)?,
            function,
            bias: match bias {
                true => Some(vector(&format!("{part}0"))?),
                false => None,
            },
        };
        rwkv6::low_rank(net, x, parts)
    };
    let sigmoid = |x: Value| net.apply(x, Pointwise::Sigmoid);

    let r = net.linear(r, &name("receptance"), width)?;
    let w = sigmoid(low_rank(w, "w", Some(Pointwise::Tanh), true)?);
    let w = net.apply(net.scale(w, SLOWEST), Pointwise::Exp);
    let k = net.linear(k, &name("key"), width)?;
    let own = net.linear(v, &name("value"), width)?;
    let v = match *first_value {
        None => own,
        Some(first) => net.lerp(
            own,
            first,
            Share::Row(sigmoid(low_rank(v, "v", None, true)?)),
        ),
    };
    first_value.get_or_insert(v);
    let a = sigmoid(low_rank(a, "a", None, true)?);
    let g = low_rank(g, "g", Some(Pointwise::Sigmoid), false)?;

    let erased = net.l2_norm(net.weigh(k, vector("k_k")?), head_dim, NORM_EPSILON);
    let k = net.lerp(k, net.mul(k, a), Share::Fixed(vector("k_a")?));
    let retention = LinearAttention {
        decay: Decay::Keys(w),
        delta: DeltaRule::Pair {
            read: net.scale(erased, -1.0),
            write: net.mul(erased, a),
        },
        ..LinearAttention::plain(width / head_dim, head_dim, head_dim)
    };
    let y = net.linear_attention([r, k, v], retention);
    let y = net.group_norm(y, &name("ln"), head_dim, eps)?;
    // In GGUF the heads are not told apart.
    let heads = [width / head_dim, head_dim];
    let bonus =
        vector("r_k").or_else(|_| model.vector(&format!("{}.weight", name("r_k")), &heads))?;
    let y = net.add(y, net.bonus([r, k, v], bonus, head_dim));
    net.linear(net.mul(y, g), &name("output"), width)
}
