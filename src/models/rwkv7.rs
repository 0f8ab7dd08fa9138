//! RWKV-7 (Peng et al. 2025, "Goose"): linear attention by a delta rule whose decay,
//! erased keys and learning rate are computed from the input. Its state does not grow with the
//! context.

use super::known_shape::{ENDLESS, TINY, shapes};
use super::rwkv6::{self, LowRank};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only, Outline, conversion};
use crate::graph::blocks::{embedding, head};
use crate::graph::decoder::answer;
use crate::graph::{
    BuildError, Builder, Counting, Decay, DeltaRule, LinearAttention, Name, Net, Pointwise, Role,
    Share, Value,
};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RWKV-7",
    gguf: &["rwkv7"],
    hugging_face: &["rwkv7"],
    family: Family::Recurrent,
    keys: &[
        keys! {
            "hidden_size" => "embedding_length",
            "num_layers" => "block_count",
            "ffn_size" => "feed_forward_length",
            "head_size" => "wkv.head_size",
            "layer_norm_eps" => "attention.layer_norm_epsilon",
            "ln_x_eps" => "attention.group_norm_epsilon",
            "decay_lora" => "attention.decay_lora_rank",
            "a_lora" => "attention.iclr_lora_rank",
            "v_lora" => "attention.value_residual_mix_lora_rank",
            "gate_lora" => "attention.gate_lora_rank",
        },
        keys! {
            "num_hidden_layers" => "block_count",
            "intermediate_size" => "feed_forward_length",
            "hidden_ratio" => "feed_forward_ratio",
            "head_dim" => "wkv.head_size",
            "norm_eps" => "attention.layer_norm_epsilon",
            "decay_low_rank_dim" => "attention.decay_lora_rank",
            "a_low_rank_dim" => "attention.iclr_lora_rank",
            "v_low_rank_dim" => "attention.value_residual_mix_lora_rank",
            "gate_low_rank_dim" => "attention.gate_lora_rank",
            "hidden_act" => "hidden_act",
            "attn.layers" => "layers_of_attention",
            "norm_first" => "embedding_norm",
        },
    ],
    settled: &[
        ("fuse_norm", Only::Any),
        ("norm_bias", Only::Any),
        // As many as fit, and of each layer the width that its tensors have.
        ("num_heads", Only::Any),
        ("value_dim", Only::Any),
    ],
    harmless_in_gguf: &["attention.head_count", "token_shift_count"],
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
            keys.put("attention.head_count", MetadataValue::U32(0));
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
    shapes: shapes! {
        "rwkv7-0.4b", "RWKV-7 0.4B", [65_536, 1024, 24, ENDLESS] => untied
            outline(64, 4096, [64, 64, 32, 128]);
        "tiny-rwkv7", "an RWKV-7 to try things out with", TINY => untied
            outline(64, 512, [16, 16, 16, 32]);
    },
    build,
    ..DECODER
};

/// The names of the author's checkpoints, whose low-rank matrices are `[in, out]`.
const AUTHORS: &[Name] = names! {
    "emb.weight" => "token_embd.weight",
    "blocks.0.ln0.*" => "token_embd_norm.*",
    "ln_out.*" => "output_norm.*",
    "head.weight" => "output.weight",
    in "blocks.{i}." => "blk.{i}." {
        "ln1.*" => "attn_norm.*",
        "ln2.*" => "attn_norm_2.*",
        "att.x_r" => "time_mix_lerp_fused.weight" part 0,
        "att.x_w" => "time_mix_lerp_fused.weight" part 1,
        "att.x_k" => "time_mix_lerp_fused.weight" part 2,
        "att.x_v" => "time_mix_lerp_fused.weight" part 3,
        "att.x_a" => "time_mix_lerp_fused.weight" part 4,
        "att.x_g" => "time_mix_lerp_fused.weight" part 5,
        "att.w0" => "time_mix_w0.weight",
        "att.w1" => "time_mix_w1.weight" as Transposed,
        "att.w2" => "time_mix_w2.weight" as Transposed,
        "att.a0" => "time_mix_a0.weight",
        "att.a1" => "time_mix_a1.weight" as Transposed,
        "att.a2" => "time_mix_a2.weight" as Transposed,
        "att.v0" => "time_mix_v0.weight",
        "att.v1" => "time_mix_v1.weight" as Transposed,
        "att.v2" => "time_mix_v2.weight" as Transposed,
        "att.g1" => "time_mix_g1.weight" as Transposed,
        "att.g2" => "time_mix_g2.weight" as Transposed,
        "att.k_k" => "time_mix_k_k.weight",
        "att.k_a" => "time_mix_k_a.weight",
        "att.r_k" => "time_mix_r_k.weight",
        "att.receptance.weight" => "time_mix_receptance.weight",
        "att.key.weight" => "time_mix_key.weight",
        "att.value.weight" => "time_mix_value.weight",
        "att.output.weight" => "time_mix_output.weight",
        "att.ln_x.*" => "time_mix_ln.*",
        "ffn.x_k" => "channel_mix_lerp_k.weight",
        "ffn.key.weight" => "channel_mix_key.weight",
        "ffn.value.weight" => "channel_mix_value.weight",
    }
};

const FLASH_LINEAR_ATTENTION: &[Name] = names! {
    "model.embeddings.weight" => "token_embd.weight",
    "model.layers.0.pre_norm.*" => "token_embd_norm.*",
    "model.norm.*" => "output_norm.*",
    "lm_head.weight" => "output.weight",
    in "model.layers.{i}." => "blk.{i}." {
        "attn_norm.*" => "attn_norm.*",
        "ffn_norm.*" => "attn_norm_2.*",
        "attn.x_x" => "time_mix_lerp_fused.weight",
        "attn.x_r" => "time_mix_lerp_fused.weight" part 0,
        "attn.x_w" => "time_mix_lerp_fused.weight" part 1,
        "attn.x_k" => "time_mix_lerp_fused.weight" part 2,
        "attn.x_v" => "time_mix_lerp_fused.weight" part 3,
        "attn.x_a" => "time_mix_lerp_fused.weight" part 4,
        "attn.x_g" => "time_mix_lerp_fused.weight" part 5,
        "attn.w_lora.lora.0.weight" => "time_mix_w1.weight",
        "attn.w_lora.lora.2.weight" => "time_mix_w2.weight",
        "attn.w_lora.lora.2.bias" => "time_mix_w0.weight",
        "attn.a_lora.lora.0.weight" => "time_mix_a1.weight",
        "attn.a_lora.lora.2.weight" => "time_mix_a2.weight",
        "attn.a_lora.lora.2.bias" => "time_mix_a0.weight",
        "attn.v_lora.lora.0.weight" => "time_mix_v1.weight",
        "attn.v_lora.lora.2.weight" => "time_mix_v2.weight",
        "attn.v_lora.lora.2.bias" => "time_mix_v0.weight",
        "attn.g_lora.lora.0.weight" => "time_mix_g1.weight",
        "attn.g_lora.lora.2.weight" => "time_mix_g2.weight",
        "attn.k_k" => "time_mix_k_k.weight",
        "attn.k_a" => "time_mix_k_a.weight",
        "attn.r_k" => "time_mix_r_k.weight",
        "attn.r_proj.weight" => "time_mix_receptance.weight",
        "attn.k_proj.weight" => "time_mix_key.weight",
        "attn.v_proj.weight" => "time_mix_value.weight",
        "attn.o_proj.weight" => "time_mix_output.weight",
        "attn.g_norm.*" => "time_mix_ln.*",
        "ffn.x_k" => "channel_mix_lerp_k.weight",
        "ffn.key.weight" => "channel_mix_key.weight",
        "ffn.value.weight" => "channel_mix_value.weight",
    }
};

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
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    // For heads of 64 this is the 64e-5 that others have built in.
    let group_eps = config.epsilon("attention.group_norm_epsilon", head_dim as f32 * eps)?;
    // Padding is multiplied away before anything else happens.
    model.counts_positions(Counting::Unmasked);

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
    answer(&net, x, |x| head(&net, x))?;
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
    let attention = LinearAttention {
        decay: Decay::Keys(w),
        delta: DeltaRule::Pair {
            read: net.scale(erased, -1.0),
            write: net.mul(erased, a),
        },
        ..LinearAttention::plain(width / head_dim, head_dim, head_dim)
    };
    let y = net.linear_attention([r, k, v], attention);
    let y = net.group_norm(y, &name("ln"), head_dim, eps)?;
    // In GGUF the heads are not told apart.
    let heads = [width / head_dim, head_dim];
    let bonus =
        vector("r_k").or_else(|_| model.vector(&format!("{}.weight", name("r_k")), &heads))?;
    let y = net.add(y, net.bonus([r, k, v], bonus, head_dim));
    net.linear(net.mul(y, g), &name("output"), width)
}

/// Keys and layers of a model of known shape; ranks are those of decay, learning rate, value mixing
/// and gate.
fn outline(
    model: &mut Outline,
    head_dim: u64,
    hidden: u64,
    [decay, rate, residual, gate]: [u64; 4],
) {
    model.counts(&[
        ("attention.head_count", 0),
        ("wkv.head_size", head_dim),
        ("attention.decay_lora_rank", decay),
        ("attention.iclr_lora_rank", rate),
        ("attention.value_residual_mix_lora_rank", residual),
        ("attention.gate_lora_rank", gate),
    ]);
    rwkv6::outline_norms(model, hidden, &["attn_norm", "attn_norm_2", "time_mix_ln"]);
    let width = model.shape.width;
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        model.normal(&name("time_mix_lerp_fused"), &[6, 1, 1, width], 0.5, 0.2);
        // Those of the first layer are copies that nobody uses.
        let residual = if layer == 0 { rate } else { residual };
        for (part, rank) in [("w", decay), ("a", rate), ("v", residual), ("g", gate)] {
            let name = |index: u32| name(&format!("time_mix_{part}{index}"));
            if part != "g" {
                model.normal(&name(0), &[width], 0.0, 0.5);
            }
            model.matrix(&name(1), &[rank, width]);
            model.matrix(&name(2), &[width, rank]);
        }
        model.normal(&name("time_mix_k_k"), &[width], 0.85, 0.1);
        model.normal(&name("time_mix_k_a"), &[width], 1.0, 0.1);
        model.normal(&name("time_mix_r_k"), &[width], 0.0, 0.1);
        for part in ["receptance", "key", "value", "output"] {
            model.matrix(&name(&format!("time_mix_{part}")), &[width, width]);
        }
        model.normal(&name("channel_mix_lerp_k"), &[1, 1, width], 0.5, 0.2);
        model.matrix(&name("channel_mix_key"), &[hidden, width]);
        model.matrix(&name("channel_mix_value"), &[width, hidden]);
    }
}
