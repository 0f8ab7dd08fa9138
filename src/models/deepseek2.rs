//! DeepSeek-V2 (DeepSeek-AI 2024), V3 and R1 (DeepSeek-AI 2025), and what shares their layout: Kimi
//! K2, GLM-4.7-Flash. Latent attention, then small experts chosen by groups beside shared ones. In
//! GGUF all have one name.

use super::deepseek::{self, SparseFeedForward, expert_keys};
use super::known_shape::{TINY, shapes};
use super::tables::{self, keys, names};
use super::{
    Architecture, Conversion, DECODER, Family, GgufKeys, Only, Outline, Settled, Written,
    WrittenRows,
};
use crate::graph::decoder::{PreNormDecoder, nextn_layers};
use crate::graph::experts::Gating;
use crate::graph::latent_attention::LatentAttention;
use crate::graph::{BuildError, Builder, Config, Key, Name, Pairing};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const DEEPSEEK_V2: Architecture = Architecture {
    title: "DeepSeek-V2",
    gguf: &["deepseek2"],
    hugging_face: &["deepseek_v2"],
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        KEYS,
        tables::ROPE,
        deepseek::EXPERT_KEYS,
        GROUP_KEYS,
        keys! { "topk_method" => "expert_group_method", },
    ],
    settled: SETTLED,
    names: NAMES,
    conversion: CONVERSION,
    shapes: shapes! {
        "deepseek-v2-lite-like", "four of DeepSeek-V2-Lite's layers", [102_400, 2048, 4, 163_840] => untied
            outline(&LatentShape { heads: 16, rank: 512, head: [128, 64, 128], hidden: 10_944, experts: [64, 6, 2], expert_hidden: 1408 });
        "tiny-deepseek2", "latent attention to try things out with", TINY => untied
            outline(&LatentShape { heads: 4, rank: 128, head: [64, 32, 64], hidden: 512, experts: [8, 2, 1], expert_hidden: 128 });
    },
    build: |model| build(model, &V2),
    ..DECODER
};

pub(super) const DEEPSEEK_V3: Architecture = Architecture {
    title: "DeepSeek-V3, R1, Kimi K2",
    gguf: &[],
    hugging_face: &["deepseek_v3", "kimi_k2"],
    keys: LATER_KEYS,
    shapes: &[],
    build: |model| build(model, &V3),
    ..DEEPSEEK_V2
};

pub(super) const GLM_4_7_FLASH: Architecture = Architecture {
    title: "GLM-4.7-Flash",
    hugging_face: &["glm4_moe_lite"],
    build: |model| build(model, &GLM),
    ..DEEPSEEK_V3
};

/// Sizes of the model, of heads and of latents.
pub(super) const KEYS: &[Key] = keys! {
    "hidden_size" => "embedding_length",
    "num_hidden_layers" => "block_count",
    "intermediate_size" => "feed_forward_length",
    "max_position_embeddings" => "context_length",
    "num_attention_heads" => "attention.head_count",
    "num_key_value_heads" => "attention.head_count_kv",
    "q_lora_rank" => "attention.q_lora_rank",
    "kv_lora_rank" => "attention.kv_lora_rank",
    "qk_nope_head_dim" => "attention.key_length_plain",
    "qk_rope_head_dim" => "rope.dimension_count",
    "v_head_dim" => "attention.value_length_mla",
    "rms_norm_eps" => "attention.layer_norm_rms_epsilon",
    "hidden_act" => "hidden_act",
};

const GROUP_KEYS: &[Key] = keys! {
    "n_group" => "expert_group_count",
    "topk_group" => "expert_group_used_count",
};

const LATER_KEYS: &[&[Key]] = &[
    KEYS,
    tables::ROPE,
    tables::PARTIAL_ROPE,
    deepseek::EXPERT_KEYS,
    GROUP_KEYS,
    keys! {
        "rope_interleave" => "rope.interleave",
        "mlp_layer_types" => "feed_forward_kinds",
        "num_nextn_predict_layers" => "nextn_predict_layers",
        "num_mtp_layers" => "nextn_predict_layers",
    },
];

/// What follows from other keys, and what was for training. V2 reads how experts are chosen.
const SETTLED: &[Settled] = &[
    ("aux_loss_alpha", Only::Any),
    ("ep_size", Only::Any),
    ("head_dim", Only::Any),
    ("qk_head_dim", Only::Any),
    ("seq_aux", Only::Any),
    ("topk_method", Only::Text(&["noaux_tc"])),
];

const NAMES: &[&[Name]] = &[
    tables::ENDS,
    tables::NORMS,
    LATENTS,
    tables::EXPERTS,
    tables::GATED_MLP,
    deepseek::SHARED_EXPERTS,
];

/// Projections of latent attention, and the bias for the choice of experts.
pub(super) const LATENTS: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "self_attn.q_proj.weight" => "attn_q.weight",
        "self_attn.q_a_proj.*" => "attn_q_a.*",
        "self_attn.q_a_layernorm.weight" => "attn_q_a_norm.weight",
        "self_attn.q_b_proj.weight" => "attn_q_b.weight",
        "self_attn.kv_a_proj_with_mqa.*" => "attn_kv_a_mqa.*",
        "self_attn.kv_a_layernorm.weight" => "attn_kv_a_norm.weight",
        "self_attn.kv_b_proj.weight" => "attn_kv_b.weight",
        "self_attn.o_proj.*" => "attn_output.*",
        "mlp.gate.e_score_correction_bias" => "exp_probs_b.bias",
    }
};

/// What a class takes for granted where `config.json` does not say it.
struct DeepseekUsual {
    gating: Gating,
    eps: f32,
    /// Layers without experts, before all others.
    plain_layers: usize,
}

const V2: DeepseekUsual = DeepseekUsual {
    gating: Gating::SOFTMAX,
    eps: 1e-6,
    plain_layers: 0,
};

const V3: DeepseekUsual = DeepseekUsual {
    gating: Gating::SIGMOID,
    eps: 1e-6,
    plain_layers: 3,
};

const GLM: DeepseekUsual = DeepseekUsual {
    gating: Gating::SIGMOID,
    eps: 1e-5,
    plain_layers: 1,
};

/// x ← x + LatentAttention(RMS(x)); x ← x + FFN(RMS(x)), or experts.
fn build(model: &Builder<'_>, usual: &DeepseekUsual) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder {
        layers: nextn_layers(model)?,
        ..PreNormDecoder::read(config, usual.eps)?
    };
    let attention = LatentAttention::read(model, Some(pairing(config)?))?;
    let feed_forward = feed_forward(config, decoder.layers, usual)?;
    decoder.wire(
        model,
        &|net, h, layer, _| attention.wire(net, h, layer),
        &|net, h, layer, i| feed_forward.wire(net, h, layer, i),
    )
}

/// Neighbours rotate together, unless a folder says otherwise.
fn pairing(config: &Config<'_>) -> Result<Pairing, BuildError> {
    Ok(match config.flag("rope.interleave", true)? {
        true => Pairing::Interleaved,
        false => Pairing::Halves,
    })
}

fn feed_forward(
    config: &Config<'_>,
    layers: usize,
    usual: &DeepseekUsual,
) -> Result<SparseFeedForward, BuildError> {
    if config.container == Container::Gguf {
        // It says of both generations what experts are chosen by, and by silence that their
        // weights stay as they are.
        let gating = match config.feature("expert_gating_func")? {
            Some(2) => Gating {
                normalises: false,
                ..Gating::SIGMOID
            },
            _ => Gating::SOFTMAX,
        };
        return SparseFeedForward::read(config, layers, (&gating, 0));
    }
    let plain = plain_layers(config, layers)?.unwrap_or(usual.plain_layers);
    let feed_forward = SparseFeedForward::read(config, layers, (&usual.gating, plain))?;
    if usual.gating.normalises {
        for key in ["expert_weights_scale", "expert_group_count"] {
            config.value(key).ok_or_else(|| config.missing(key))?;
        }
        return Ok(feed_forward);
    }
    if config.flag("expert_weights_norm", false)? {
        let expected = "false: the authors' code and transformers' differ";
        return Err(config.invalid("expert_weights_norm", expected));
    }
    match config.text("expert_group_method")? {
        Some("group_limited_greedy") => Ok(feed_forward),
        None | Some("greedy") => Ok(feed_forward.without_groups()),
        Some(_) => Err(config.invalid("expert_group_method", "greedy or group_limited_greedy")),
    }
}

/// How many layers without experts a list of all layers begins with.
pub(super) fn plain_layers(
    config: &Config<'_>,
    layers: usize,
) -> Result<Option<usize>, BuildError> {
    let (key, count) = ("feed_forward_kinds", "leading_dense_block_count");
    let Some(listed) = config.value(key) else {
        return Ok(None);
    };
    let said = match config.value(count) {
        Some(_) => Some(config.feature(count)?.unwrap_or(0)),
        None => None,
    };
    match listed_plain(listed) {
        Some((plain, all)) if all == layers && said.is_none_or(|said| said == plain) => {
            Ok(Some(plain))
        }
        _ => {
            let expected = format!("dense, and then sparse, for each of {layers} layers");
            Err(config.invalid(key, &expected))
        }
    }
}

/// How many of a list are dense, which are the first, and how many there are.
fn listed_plain(listed: &MetadataValue) -> Option<(usize, usize)> {
    let MetadataValue::Array(Array::String(kinds)) = listed else {
        return None;
    };
    let is = |kind: &'static [u8]| move |other: &&[u8]| *other == kind;
    let plain = kinds.iter().take_while(is(b"dense")).count();
    let sparse = kinds.iter().skip(plain).take_while(is(b"sparse")).count();
    (plain + sparse == kinds.len()).then_some((plain, kinds.len()))
}

/// Each head's part of the matrix for keys and values goes into two stacks, that of keys turned; a
/// position is one head of keys, whose end is its value.
pub(super) const CONVERSION: Conversion = Conversion {
    architecture: Some("deepseek2"),
    keys: gguf_keys,
    tensor: gguf_tensors,
    complete: |keys, _| {
        let rank = keys.count("attention.kv_lora_rank").unwrap_or(0) as u32;
        let rotated = keys.count("rope.dimension_count").unwrap_or(0) as u32;
        for (key, count) in [
            ("attention.head_count_kv", 1),
            ("attention.key_length", rank + rotated),
            ("attention.value_length", rank),
        ] {
            keys.put(key, MetadataValue::U32(count));
        }
    },
    ..Conversion::PLAIN
};

fn gguf_keys(keys: &mut GgufKeys<'_>) {
    let number = |count: u64| MetadataValue::U32(count as u32);
    let second = keys.config.str("model_type") == Some("deepseek_v2");
    if !second {
        let sigmoid = MetadataValue::String("sigmoid".into());
        keys.put_usual("expert_gating_func", sigmoid);
    }
    expert_keys(keys);
    let method = keys.values.str("expert_group_method");
    if second && method != Some("group_limited_greedy") {
        keys.remove(&["expert_group_count", "expert_group_used_count"]);
    }
    let kinds = keys.values.value("feed_forward_kinds");
    if let Some((plain, _)) = kinds.and_then(listed_plain) {
        keys.put("leading_dense_block_count", number(plain as u64));
    }
    let plain = keys.count("attention.key_length_plain").unwrap_or(0);
    let rotated = keys.count("rope.dimension_count").unwrap_or(0);
    keys.put("attention.key_length_mla", number(plain + rotated));
    // None, which readers ask for.
    keys.put_usual("attention.q_lora_rank", number(0));
    if let Some(m_all) = keys.float("rope.scaling.mscale_all_dim") {
        let tenth = MetadataValue::F32(0.1 * m_all as f32);
        keys.put("rope.scaling.yarn_log_multiplier", tenth);
    }
    keys.remove(&[
        "attention.key_length_plain",
        "expert_group_method",
        "feed_forward_kinds",
        "nextn_predict_layers",
        "rope.interleave",
        "rope.partial_factor",
        "rope.scaling.mscale_all_dim",
    ]);
}

fn gguf_tensors(keys: &mut GgufKeys<'_>, mut tensor: Written) -> Result<Vec<Written>, String> {
    let rotated = keys.count("rope.dimension_count").unwrap_or(0);
    let key = keys.count("attention.key_length_mla").unwrap_or(0);
    // GGUF's neighbours rotate together.
    let halves = keys.config.bool("rope_interleave") == Some(false);
    let dim = match tensor.part() {
        "attn_kv_b" => return Ok(stacks(keys, key.saturating_sub(rotated), tensor)),
        "attn_q" | "attn_q_b" if halves => key,
        "attn_kv_a_mqa" if halves => tensor.shape.first().copied().unwrap_or(0),
        _ => return Ok(vec![tensor]),
    };
    tensor.rows = WrittenRows::EndsPaired {
        dim: dim as usize,
        end: rotated as usize,
    };
    Ok(vec![tensor])
}

/// Of each head `plain` rows for its keys, and those for its values.
fn stacks(keys: &GgufKeys<'_>, plain: u64, both: Written) -> Vec<Written> {
    let heads = keys.heads();
    let value = keys.count("attention.value_length_mla").unwrap_or(0);
    let rank = both.shape.last().copied().unwrap_or(0);
    let stride = (plain + value) as usize;
    let stack = |part: &str, shape: [u64; 3], rows| Written {
        name: both.name.replace("attn_kv_b", part),
        shape: shape.to_vec(),
        rows,
        factors: Vec::new(),
    };
    let values = WrittenRows::HeadParts {
        rows: value as usize,
        stride,
        offset: plain as usize,
    };
    vec![
        stack(
            "attn_k_b",
            [heads, rank, plain],
            WrittenRows::HeadsTurned { stride },
        ),
        stack("attn_v_b", [heads, value, rank], values),
    ]
}

/// Sizes of a model of known shape.
struct LatentShape {
    heads: u64,
    /// Of keys and values.
    rank: u64,
    /// Elements of a head's key that know no positions, that do, and of its value.
    head: [u64; 3],
    hidden: u64,
    /// Experts, those that a token takes, and those that all rows share.
    experts: [u64; 3],
    expert_hidden: u64,
}

/// Keys and layers: the first one without experts.
fn outline(model: &mut Outline, sizes: &LatentShape) {
    let &LatentShape {
        heads,
        rank,
        head: [plain, rotated, value],
        hidden,
        experts: [experts, used, shared],
        expert_hidden,
    } = sizes;
    model.counts(&[
        ("feed_forward_length", hidden),
        ("attention.head_count", heads),
        ("attention.head_count_kv", 1),
        ("attention.key_length", rank + rotated),
        ("attention.value_length", rank),
        ("attention.key_length_mla", plain + rotated),
        ("attention.value_length_mla", value),
        ("attention.kv_lora_rank", rank),
        ("attention.q_lora_rank", 0),
        ("rope.dimension_count", rotated),
        ("leading_dense_block_count", 1),
        ("expert_count", experts),
        ("expert_used_count", used),
        ("expert_shared_count", shared),
        ("expert_feed_forward_length", expert_hidden),
        ("expert_gating_func", 1),
    ]);
    let (width, shared) = (model.shape.width, shared * expert_hidden);
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        model.norm(&name("attn_norm"), width);
        model.matrix(&name("attn_q"), &[heads * (plain + rotated), width]);
        model.matrix(&name("attn_kv_a_mqa"), &[rank + rotated, width]);
        model.norm(&name("attn_kv_a_norm"), rank);
        model.matrix(&name("attn_k_b"), &[heads, rank, plain]);
        model.matrix(&name("attn_v_b"), &[heads, value, rank]);
        model.matrix(&name("attn_output"), &[width, heads * value]);
        model.norm(&name("ffn_norm"), width);
        if layer == 0 {
            model.gated_mlp(layer, hidden);
            continue;
        }
        model.matrix(&name("ffn_gate_inp"), &[experts, width]);
        model.matrix(&name("ffn_gate_exps"), &[experts, expert_hidden, width]);
        model.matrix(&name("ffn_up_exps"), &[experts, expert_hidden, width]);
        model.matrix(&name("ffn_down_exps"), &[experts, width, expert_hidden]);
        model.matrix(&name("ffn_gate_shexp"), &[shared, width]);
        model.matrix(&name("ffn_up_shexp"), &[shared, width]);
        model.matrix(&name("ffn_down_shexp"), &[width, shared]);
    }
}
