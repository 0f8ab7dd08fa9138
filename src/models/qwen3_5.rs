//! Qwen3.5 (Qwen Team 2026), the part that reads and writes texts: Qwen3-Next's layers, with
//! projections of their own for all that goes into the delta rule, with or without experts.

use super::known_shape::{TINY, shapes};
use super::qwen3_next::{self, Delta};
use super::tables::{
    ATTENTION, BIASES, ENDS, EXPERTS, GATED_MLP, PARTIAL_ROPE, ROPE, SIZES, keys, names,
};
use super::{
    Architecture, Conversion, DECODER, Family, GgufKeys, Only, Outline, Written, WrittenRows,
    qwen_moe,
};
use crate::graph::blocks::{Heads, activation, embedding, gated_mlp, head};
use crate::graph::decoder::{answer, nextn_layers};
use crate::graph::experts::Gating;
use crate::graph::{
    BuildError, Builder, Key, Name, Pairing, Pointwise, PositionScheme, Role, Rope,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const QWEN_3_5: Architecture = Architecture {
    title: "Qwen 3.5 (text)",
    gguf: &["qwen35"],
    hugging_face: &["qwen3_5_text"],
    off: BIASES,
    family: Family::Recurrent,
    keys: &[SIZES, ROPE, PARTIAL_ROPE, DELTA],
    settled: &[
        ("attn_output_gate", Only::Is(true)),
        ("mamba_ssm_dtype", Only::Any),
        // Tokens after the next one are not guessed.
        ("mtp_use_dedicated_embeddings", Only::Any),
        // In a text, positions of all dimensions are one.
        ("rope_parameters.mrope_interleaved", Only::Any),
        ("rope_parameters.mrope_section", Only::Any),
    ],
    harmless_in_gguf: &["rope.dimension_sections"],
    names: &[NAMES, ENDS, ATTENTION, GATED_MLP],
    conversion: Conversion {
        keys: gguf_keys,
        tensor: heads_in_turn,
        ..Conversion::PLAIN
    },
    shapes: shapes! {
        "qwen3.5-0.8b", "Qwen 3.5 0.8B", [248_320, 1024, 24, 262_144] => tied
            outline(&HybridShape { every: 4, heads: [8, 2], head_dim: 256, delta_heads: 16, delta_dim: 128, hidden: 3584 });
        "tiny-qwen3.5", "a gated delta rule to try things out with", TINY => tied
            outline(&HybridShape { every: 2, heads: [4, 2], head_dim: 64, delta_heads: 4, delta_dim: 64, hidden: 512 });
    },
    build: |model| build(model, None),
    ..DECODER
};

pub(super) const QWEN_3_5_MOE: Architecture = Architecture {
    title: "Qwen 3.5 MoE (text)",
    gguf: &["qwen35moe"],
    hugging_face: &["qwen3_5_moe_text"],
    family: Family::MixtureOfExperts,
    keys: &[
        SIZES,
        ROPE,
        PARTIAL_ROPE,
        DELTA,
        keys! {
            "num_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "moe_intermediate_size" => "expert_feed_forward_length",
            "shared_expert_intermediate_size" => "expert_shared_feed_forward_length",
        },
    ],
    names: &[NAMES, ENDS, ATTENTION, EXPERTS, qwen_moe::SHARED_EXPERT],
    shapes: &[],
    // The best of a softmax over all, whose weights add up to one among the chosen.
    build: |model| build(model, Some(Gating::CHOSEN_SOFTMAX)),
    ..QWEN_3_5
};

/// What the layers of the delta rule are like, and which they are.
const DELTA: &[Key] = keys! {
    "layer_types" => "attention.recurrent_layers",
    "full_attention_interval" => "full_attention_interval",
    "linear_conv_kernel_dim" => "ssm.conv_kernel",
    "linear_key_head_dim" => "ssm.state_size",
    "linear_value_head_dim" => "ssm.value_head_size",
    "linear_num_key_heads" => "ssm.group_count",
    "linear_num_value_heads" => "ssm.time_step_rank",
};

const NAMES: &[Name] = names! {
    "model.norm.weight" => "output_norm.weight" as PlusOne,
    in "model.layers.{i}." => "blk.{i}." {
        "input_layernorm.weight" => "attn_norm.weight" as PlusOne,
        "post_attention_layernorm.weight" => "post_attention_norm.weight" as PlusOne,
        "self_attn.q_norm.weight" => "attn_q_norm.weight" as PlusOne,
        "self_attn.k_norm.weight" => "attn_k_norm.weight" as PlusOne,
        "linear_attn.in_proj_qkv.weight" => "attn_qkv.weight",
        "linear_attn.in_proj_z.weight" => "attn_gate.weight",
        "linear_attn.in_proj_b.weight" => "ssm_beta.weight",
        "linear_attn.in_proj_a.weight" => "ssm_alpha.weight",
        "linear_attn.conv1d.weight" => "ssm_conv1d.weight",
        "linear_attn.dt_bias" => "ssm_dt.bias",
        "linear_attn.A_log" => "ssm_a" as NegativeExp,
        "linear_attn.norm.weight" => "ssm_norm.weight",
        "linear_attn.out_proj.weight" => "ssm_out.weight",
    }
};

/// x ← x + mixer(RMS(x)); x ← x + (FFN, or experts beside one that is shared)(RMS(x)).
fn build(model: &Builder<'_>, gating: Option<Gating>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let layers = nextn_layers(model)?;
    let heads = Heads::read_wide(config, width, Some(256))?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?;
    let function = activation(config, "hidden_act", "silu")?;
    if function != Pointwise::Silu {
        return Err(config.invalid("hidden_act", "silu"));
    }
    let experts = gating
        .map(|gating| qwen_moe::feed_forward(config, (layers, function), &gating, true))
        .transpose()?;
    let hidden = match experts {
        Some(_) => 0,
        None => config.count("feed_forward_length")?,
    };
    if let Some(context) = config.optional_count("context_length")? {
        model.context(context);
    }
    let rope = Rope::read_part(model, Pairing::Halves, heads.head_dim, 0.25)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    let mut delta = Delta::read(config, eps)?;
    delta.apart = true;
    delta.in_turn = config.container == Container::Gguf;
    let recurrent = qwen3_next::recurrent_layers(config, layers)?;
    let guessing = config.metadata.u64("mtp_num_hidden_layers");
    if config.container == Container::HuggingFace && guessing.is_some_and(|layers| layers > 0) {
        model.guesses_nothing();
    }

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for (i, recurrent) in recurrent.into_iter().enumerate() {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let y = match recurrent {
            true => delta.mix(&net, h, &layer)?,
            false => qwen3_next::attend(&net, h, &layer, (heads, eps), attention.clone())?,
        };
        x = net.add(x, y);
        let h = net.rms_norm(x, &format!("{layer}.post_attention_norm"), eps)?;
        let y = match &experts {
            Some(experts) => experts.wire(&net, h, &layer, i)?,
            None => gated_mlp(&net, h, &layer, hidden, function)?,
        };
        x = net.add(x, y);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

fn gguf_keys(keys: &mut GgufKeys<'_>) {
    let values = (keys.count("ssm.time_step_rank")).zip(keys.count("ssm.value_head_size"));
    if let Some((heads, dim)) = values {
        let inner = MetadataValue::U32(heads.saturating_mul(dim) as u32);
        keys.put("ssm.inner_size", inner);
    }
    // How pairs fall to dimensions of an image's positions, which readers insist on.
    let listed = keys.config.array("rope_parameters.mrope_section");
    let sections = (0..4).map(|place| match listed {
        Some(list) => list.u64(place).unwrap_or(0) as i32,
        None => [11, 11, 10, 0][place],
    });
    let sections = MetadataValue::Array(Array::I32(sections.collect()));
    keys.put("rope.dimension_sections", sections);
}

/// Heads of values that share one of keys are neighbours in a folder. In GGUF heads of keys take
/// turns: the first heads of values of each, then the second ones.
fn heads_in_turn(keys: &mut GgufKeys<'_>, mut tensor: Written) -> Result<Vec<Written>, String> {
    let count = |key: &str| keys.count(key).unwrap_or(1) as usize;
    let (key_heads, heads) = (count("ssm.group_count"), count("ssm.time_step_rank"));
    let before = 2 * key_heads * count("ssm.state_size");
    let (dim, shared) = (count("ssm.value_head_size"), heads / key_heads.max(1));
    let in_turn = |before, dim| WrittenRows::InTurn {
        before,
        dim,
        shared,
        groups: key_heads,
    };
    tensor.rows = match tensor.part() {
        _ if shared < 2 => return Ok(vec![tensor]),
        "ssm_alpha" | "ssm_beta" | "ssm_dt" | "ssm_a" => in_turn(0, 1),
        "attn_gate" => in_turn(0, dim),
        "attn_qkv" | "ssm_conv1d" => in_turn(before, dim),
        "ssm_out" => WrittenRows::ColumnsInTurn {
            dim,
            shared,
            groups: key_heads,
        },
        _ => return Ok(vec![tensor]),
    };
    Ok(vec![tensor])
}

/// Sizes of a model of known shape.
struct HybridShape {
    /// The last of so many layers attends.
    every: u64,
    heads: [u64; 2],
    head_dim: u64,
    delta_heads: u64,
    delta_dim: u64,
    hidden: u64,
}

fn outline(model: &mut Outline, sizes: &HybridShape) {
    const TAPS: u64 = 4;
    let &HybridShape {
        every,
        heads: [heads, kv_heads],
        head_dim: dim,
        delta_heads,
        delta_dim,
        hidden,
    } = sizes;
    let (width, inner) = (model.shape.width, delta_heads * delta_dim);
    model.counts(&[
        ("feed_forward_length", hidden),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", dim),
        ("attention.value_length", dim),
        ("full_attention_interval", every),
        ("rope.dimension_count", dim / 4),
        ("ssm.conv_kernel", TAPS),
        ("ssm.group_count", delta_heads),
        ("ssm.inner_size", inner),
        ("ssm.state_size", delta_dim),
        ("ssm.time_step_rank", delta_heads),
    ]);
    model.put("rope.freq_base", MetadataValue::F32(1e7));
    let sections = MetadataValue::Array(Array::I32(vec![11, 11, 10, 0]));
    model.put("rope.dimension_sections", sections);
    // As Mamba-2 begins, from whose scan this descends.
    let a = (0..delta_heads).map(|head| -1.0 - 15.0 * head as f32 / delta_heads as f32);
    let a: Vec<f32> = a.collect();
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}");
        model.norm(&name("attn_norm.weight"), width);
        if (layer + 1).is_multiple_of(every) {
            model.matrix(&name("attn_q.weight"), &[2 * heads * dim, width]);
            model.matrix(&name("attn_k.weight"), &[kv_heads * dim, width]);
            model.matrix(&name("attn_v.weight"), &[kv_heads * dim, width]);
            model.norm(&name("attn_q_norm.weight"), dim);
            model.norm(&name("attn_k_norm.weight"), dim);
            model.matrix(&name("attn_output.weight"), &[width, heads * dim]);
        } else {
            model.matrix(&name("attn_qkv.weight"), &[3 * inner, width]);
            model.matrix(&name("attn_gate.weight"), &[inner, width]);
            model.matrix(&name("ssm_beta.weight"), &[delta_heads, width]);
            model.matrix(&name("ssm_alpha.weight"), &[delta_heads, width]);
            model.normal(&name("ssm_conv1d.weight"), &[3 * inner, TAPS], 0.0, 0.3);
            model.normal(&name("ssm_dt.bias"), &[delta_heads], -4.6, 0.7);
            model.given(&name("ssm_a"), &[delta_heads], &a);
            model.norm(&name("ssm_norm.weight"), delta_dim);
            model.matrix(&name("ssm_out.weight"), &[width, inner]);
        }
        model.norm(&name("post_attention_norm.weight"), width);
        model.gated_mlp(layer, hidden);
    }
}
