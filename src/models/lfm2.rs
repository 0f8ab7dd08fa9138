//! LFM2 (Liquid AI 2025): short convolutions between two gates, and a few layers of attention; with
//! or without experts after the first layers.

use super::known_shape::{TINY, shapes};
use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only, Outline};
use crate::graph::blocks::{Heads, attend, embedding, gated_mlp, head, projections};
use crate::graph::decoder::answer;
use crate::graph::experts::{FeedForward, Gating, Router, SharedExpert};
use crate::graph::{
    Attention, BuildError, Builder, Config, ExpertWeight, Key, Name, Net, Pairing, Pointwise,
    PositionScheme, Role, Rope, Value,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const LFM_2: Architecture = Architecture {
    title: "LFM2",
    gguf: &["lfm2"],
    hugging_face: &["lfm2"],
    family: Family::Recurrent,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        MIXERS,
        keys! {
            "block_ff_dim" => "feed_forward_length",
            "full_attn_idxs" => "full_attention_layers",
            "block_auto_adjust_ff_dim" => "feed_forward_adjusted",
            "block_ffn_dim_multiplier" => "feed_forward_multiplier",
            "block_multiple_of" => "feed_forward_multiple",
        },
    ],
    ties: true,
    settled: &[
        // What the authors' first configurations say beside.
        ("block_dim", Only::Any),
        ("block_mlp_init_scale", Only::Any),
        ("block_norm_eps", Only::Any),
        ("block_out_init_scale", Only::Any),
        ("block_use_swiglu", Only::Is(true)),
        ("block_use_xavier_init", Only::Any),
        ("conv_dim", Only::Any),
        ("conv_dim_out", Only::Any),
        ("conv_use_xavier_init", Only::Any),
        ("tie_embedding", Only::Is(true)),
        ("use_pos_enc", Only::Is(true)),
        // Tensors tell.
        ("conv_bias", Only::Any),
    ],
    names: &[tables::ENDS, NAMES],
    conversion: Conversion {
        keys: gguf_keys,
        complete: |keys, tensors| {
            let key = "feed_forward_length";
            if let Some(hidden) = super::conversion::rows(tensors, "blk.0.ffn_gate.weight") {
                keys.put(key, MetadataValue::U32(hidden));
            }
        },
        ..Conversion::PLAIN
    },
    shapes: shapes! {
        "lfm2-1.2b", "LFM2 1.2B", [65_536, 2048, 16, 128_000] => tied
            outline([32, 8], 8192, &[2, 5, 8, 10, 12, 14]);
        "tiny-lfm2", "short convolutions to try things out with", TINY => tied
            outline([4, 2], 512, &[1]);
    },
    build: |model| build(model, hidden(model.config())?, None),
    ..DECODER
};

pub(super) const LFM_2_MOE: Architecture = Architecture {
    title: "LFM2 MoE",
    gguf: &["lfm2moe"],
    hugging_face: &["lfm2_moe"],
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        MIXERS,
        keys! {
            "num_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "moe_intermediate_size" => "expert_feed_forward_length",
            "num_dense_layers" => "leading_dense_block_count",
            "norm_topk_prob" => "expert_weights_norm",
            "routed_scaling_factor" => "expert_weights_scale",
        },
    ],
    settled: &[
        ("tie_embedding", Only::Is(true)),
        // Tensors tell.
        ("conv_bias", Only::Any),
        ("use_expert_bias", Only::Any),
    ],
    names: &[
        tables::ENDS,
        NAMES,
        names! {
            in "model.layers.{i}.feed_forward." => "blk.{i}." {
                "gate.weight" => "ffn_gate_inp.weight",
                "expert_bias" => "exp_probs_b.bias",
                "experts.{e}.w1.weight" => "ffn_gate_exps.weight",
                "experts.{e}.w3.weight" => "ffn_up_exps.weight",
                "experts.{e}.w2.weight" => "ffn_down_exps.weight",
                "experts.gate_up_proj" => "ffn_gate_up_exps.weight",
                "experts.down_proj" => "ffn_down_exps.weight",
            }
        },
    ],
    conversion: Conversion {
        keys: |keys| {
            gguf_keys(keys);
            keys.put("expert_gating_func", MetadataValue::U32(2));
        },
        ..LFM_2.conversion
    },
    shapes: &[],
    build: |model| {
        let experts = experts(model.config())?;
        build(
            model,
            model.config().count("feed_forward_length")?,
            Some(experts),
        )
    },
    ..LFM_2
};

const MIXERS: &[Key] = keys! {
    "norm_eps" => "attention.layer_norm_rms_epsilon",
    "conv_L_cache" => "shortconv.l_cache",
    "layer_types" => "layer_types",
};

const NAMES: &[Name] = names! {
    // The norm that comes last, though its name says otherwise.
    "model.embedding_norm.weight" => "token_embd_norm.weight",
    in "model.layers.{i}." => "blk.{i}." {
        "operator_norm.weight" => "attn_norm.weight",
        "ffn_norm.weight" => "ffn_norm.weight",
        "self_attn.q_proj.weight" => "attn_q.weight",
        "self_attn.k_proj.weight" => "attn_k.weight",
        "self_attn.v_proj.weight" => "attn_v.weight",
        "self_attn.out_proj.weight" => "attn_output.weight",
        "self_attn.q_layernorm.weight" => "attn_q_norm.weight",
        "self_attn.k_layernorm.weight" => "attn_k_norm.weight",
        "conv.in_proj.*" => "shortconv.in_proj.*",
        "conv.conv.*" => "shortconv.conv.*",
        "conv.out_proj.*" => "shortconv.out_proj.*",
        "feed_forward.w1.weight" => "ffn_gate.weight",
        "feed_forward.w3.weight" => "ffn_up.weight",
        "feed_forward.w2.weight" => "ffn_down.weight",
    }
};

/// Shares of the sum of σ, and a little.
const GATING: Gating = Gating {
    normalised: ExpertWeight::Share {
        added: 1e-6,
        least: 0.0,
    },
    ..Gating::SIGMOID
};

/// x ← x + (conv or attention)(RMS(x)); x ← x + (FFN or experts)(RMS(x)).
fn build(
    model: &Builder<'_>,
    hidden: usize,
    experts: Option<FeedForward>,
) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let layers = config.count("block_count")?;
    let taps = config.optional_count("shortconv.l_cache")?.unwrap_or(3);
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let heads = Heads::read_some(config, width)?;
    let rope = Rope::read_from(model, Pairing::Halves, heads.head_dim, 1e6)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    let attends = attending_layers(config, layers)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for (i, attends) in attends.into_iter().enumerate() {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let y = match attends {
            true => attend_normed(&net, h, &layer, (heads, eps), attention.clone())?,
            false => short_conv(&net, h, &layer, taps)?,
        };
        x = net.add(x, y);
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        let y = match &experts {
            Some(experts) => experts.wire(&net, h, &layer, i)?,
            None => gated_mlp(&net, h, &layer, hidden, Pointwise::Silu)?,
        };
        x = net.add(x, y);
    }
    let x = net.rms_norm(net.selected(x), "token_embd_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// out(C ⊙ conv(B ⊙ x)) with B, C and x = in(h).
fn short_conv(net: &Net<'_, '_>, h: Value, layer: &str, taps: usize) -> Result<Value, BuildError> {
    let (model, width) = (net.builder, net.width(h));
    let name = |part: &str| format!("{layer}.shortconv.{part}");
    let bcx = net.linear(h, &name("in_proj"), width.saturating_mul(3))?;
    let [b, c, x] = [0, 1, 2].map(|part| net.slice(bcx, part * width, width));
    let weight = model.turned(&name("conv.weight"), width, taps)?;
    let bias = model.optional_vector(&name("conv.bias"), &[width])?;
    let y = net.conv_of(net.mul(b, x), weight, bias, None);
    net.linear(net.mul(c, y), &name("out_proj"), width)
}

/// Attention whose queries and keys are normalised head by head.
fn attend_normed(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    (heads, eps): (Heads, f32),
    attention: Attention,
) -> Result<Value, BuildError> {
    let norm = |x, name: &str| net.rms_norm_by(x, &format!("{layer}.{name}"), heads.head_dim, eps);
    let [q, k, v] = projections(net, h, layer, heads)?;
    let qkv = [norm(q, "attn_q_norm")?, norm(k, "attn_k_norm")?, v];
    attend(net, qkv, layer, net.width(h), attention)
}

/// Experts after so many plain layers, chosen by σ and a bias.
fn experts(config: &Config<'_>) -> Result<FeedForward, BuildError> {
    let key = "leading_dense_block_count";
    let plain = match (config.value(key), config.container) {
        (None, Container::HuggingFace) => 2,
        _ => config.feature(key)?.unwrap_or(0),
    };
    Ok(FeedForward {
        router: Some(Router::read(config, &GATING)?),
        function: Pointwise::Silu,
        hidden: config.count("expert_feed_forward_length")?,
        shared: SharedExpert::None,
        sparse: (0..config.count("block_count")?)
            .map(|i| i >= plain)
            .collect(),
        plain_hidden: None,
    })
}

/// A folder says from what the width of feed-forward layers follows, a file the width.
fn hidden(config: &Config<'_>) -> Result<usize, BuildError> {
    let hidden = config.count("feed_forward_length")?;
    let adjusted = config.container == Container::HuggingFace;
    if !adjusted || !config.flag("feed_forward_adjusted", true)? {
        return Ok(hidden);
    }
    let multiplier = match config.value("feed_forward_multiplier") {
        Some(_) => f64::from(config.positive("feed_forward_multiplier", 1.0)?),
        None => 1.0,
    };
    let multiple = config
        .optional_count("feed_forward_multiple")?
        .unwrap_or(256);
    let wanted = (multiplier * (hidden.saturating_mul(2) / 3) as f64) as usize;
    Ok(wanted.div_ceil(multiple).saturating_mul(multiple))
}

/// Layers that attend: by their heads of keys, their kinds or their numbers.
fn attending_layers(config: &Config<'_>, layers: usize) -> Result<Vec<bool>, BuildError> {
    let (key, attends) = match config.container {
        Container::Gguf => {
            let key = "attention.head_count_kv";
            let heads = config.value(key);
            let list = heads.and_then(|value| match value {
                MetadataValue::Array(list) if list.len() == layers => {
                    (0..layers).map(|i| Some(list.u64(i)? > 0)).collect()
                }
                _ => None,
            });
            (key, list)
        }
        Container::HuggingFace => ("layer_types", listed(config, layers)),
    };
    attends.ok_or_else(|| config.invalid(key, &format!("an entry for each of {layers} layers")))
}

/// Layers that attend, as a folder says it: kinds, or numbers; all, if neither is there.
fn listed(config: &Config<'_>, layers: usize) -> Option<Vec<bool>> {
    match (
        config.value("layer_types"),
        config.value("full_attention_layers"),
    ) {
        (Some(MetadataValue::Array(Array::String(kinds))), _) if kinds.len() == layers => {
            let kind = |i| match kinds.get(i)? {
                b"full_attention" => Some(true),
                b"conv" => Some(false),
                _ => None,
            };
            (0..layers).map(kind).collect()
        }
        (None, Some(MetadataValue::Array(numbers))) => {
            let attends = |layer| (0..numbers.len()).any(|i| numbers.u64(i) == Some(layer as u64));
            Some((0..layers).map(attends).collect())
        }
        (None, None) => Some(vec![true; layers]),
        _ => None,
    }
}

/// In GGUF, which layers attend is said by their heads of keys.
fn gguf_keys(keys: &mut GgufKeys<'_>) {
    let config = keys.config;
    let attends = |layer: u64| match (config.array("layer_types"), config.array("full_attn_idxs")) {
        (Some(Array::String(kinds)), _) => kinds.get(layer as usize) == Some(b"full_attention"),
        (_, Some(list)) => (0..list.len()).any(|index| list.u64(index) == Some(layer)),
        _ => true,
    };
    let heads = config.u64("num_attention_heads").unwrap_or(1);
    keys.put_attending_layers(config.u64("num_key_value_heads").unwrap_or(heads), attends);
    keys.put_usual("shortconv.l_cache", MetadataValue::U32(3));
    keys.remove(&[
        "layer_types",
        "full_attention_layers",
        "feed_forward_adjusted",
        "feed_forward_multiplier",
        "feed_forward_multiple",
    ]);
}

/// Keys and layers of a model of known shape, in which some layers attend.
fn outline(model: &mut Outline, [heads, kv_heads]: [u64; 2], hidden: u64, attends: &[u64]) {
    const TAPS: u64 = 3;
    let (width, layers) = (model.shape.width, model.shape.layers);
    let dim = width / heads;
    model.counts(&[
        ("feed_forward_length", hidden),
        ("attention.head_count", heads),
        ("shortconv.l_cache", TAPS),
    ]);
    let of_layer = |layer| match attends.contains(&layer) {
        true => kv_heads as u32,
        false => 0,
    };
    let listed = Array::U32((0..layers).map(of_layer).collect());
    model.put("attention.head_count_kv", MetadataValue::Array(listed));
    model.put("rope.freq_base", MetadataValue::F32(1e6));
    model.last_norm = "token_embd_norm.weight";
    for layer in 0..layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        model.norm(&name("attn_norm"), width);
        if attends.contains(&layer) {
            model.matrix(&name("attn_q"), &[width, width]);
            model.matrix(&name("attn_k"), &[kv_heads * dim, width]);
            model.matrix(&name("attn_v"), &[kv_heads * dim, width]);
            model.norm(&name("attn_q_norm"), dim);
            model.norm(&name("attn_k_norm"), dim);
            model.matrix(&name("attn_output"), &[width, width]);
        } else {
            model.matrix(&name("shortconv.in_proj"), &[3 * width, width]);
            model.normal(&name("shortconv.conv"), &[width, TAPS], 0.0, 0.3);
            model.matrix(&name("shortconv.out_proj"), &[width, width]);
        }
        model.norm(&name("ffn_norm"), width);
        model.gated_mlp(layer, hidden);
    }
}
