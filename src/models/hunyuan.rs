//! Hunyuan (Tencent 2025): LLaMA whose queries and keys are normalised after they have been rotated;
//! with or without routed experts beside one that all rows share.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only};
use crate::graph::blocks::{Heads, activation, attend, embedding, gated_mlp, head, projections};
use crate::graph::decoder::answer;
use crate::graph::experts::{FeedForward, Gating, Router, SharedExpert};
use crate::graph::rope::RopeFrequencies;
use crate::graph::{BuildError, Builder, Config, Key, Name, Pairing, PositionScheme, Role, Rope};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const DENSE: Architecture = Architecture {
    title: "Hunyuan (dense)",
    gguf: &["hunyuan-dense"],
    hugging_face: &["hunyuan_v1_dense"],
    off: tables::BIASES,
    keys: &[tables::SIZES, tables::ROPE, ALPHA],
    settled: &[
        ("add_classification_head", Only::Is(false)),
        ("attention_head_dim", Only::Any),
        ("cla_share_factor", Only::Any),
        ("class_num", Only::Any),
        ("dense_list", Only::Any),
        ("norm_type", Only::Text(&["rms"])),
        ("num_experts", Only::Number(1.0)),
        ("org_vocab_size", Only::Any),
        ("pool_type", Only::Any),
        ("use_cla", Only::Is(false)),
        ("use_rotary_pos_emb", Only::Is(true)),
        // Of images.
        ("anyres_pooling_size", Only::Any),
        ("mask_init_id", Only::Any),
        ("num_media_embeds", Only::Any),
        ("vit_norm_type", Only::Any),
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::GATED_MLP,
        HEAD_NORMS,
    ],
    conversion: Conversion {
        keys: stretched_base,
        ..Conversion::PLAIN
    },
    build: |model| build(model, None),
    ..DECODER
};

pub(super) const MIXTURE: Architecture = Architecture {
    title: "Hunyuan MoE (A13B)",
    gguf: &["hunyuan-moe"],
    hugging_face: &["hunyuan_v1_moe"],
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        ALPHA,
        keys! {
            "num_experts" => "expert_count",
            "num_local_experts" => "expert_count",
            "moe_topk" => "expert_used_count",
            "num_experts_per_tok" => "expert_used_count",
            "moe_intermediate_size" => "expert_feed_forward_length",
            "num_shared_expert" => "expert_shared_count",
        },
    ],
    settled: &[
        ("add_classification_head", Only::Is(false)),
        ("attention_head_dim", Only::Any),
        ("cla_share_factor", Only::Any),
        ("class_num", Only::Any),
        ("dense_list", Only::Any),
        ("moe_layer_num_skipped", Only::Number(0.0)),
        ("norm_topk_prob", Only::Is(true)),
        ("norm_type", Only::Text(&["rms"])),
        ("org_vocab_size", Only::Any),
        ("pool_type", Only::Any),
        // Of choices limited to groups, which there are not.
        ("routed_scaling_factor", Only::Any),
        ("use_cla", Only::Is(false)),
        ("use_mixed_mlp_moe", Only::Is(true)),
        ("use_rotary_pos_emb", Only::Is(true)),
        // Of images.
        ("anyres_pooling_size", Only::Any),
        ("mask_init_id", Only::Any),
        ("num_media_embeds", Only::Any),
        ("vit_norm_type", Only::Any),
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        HEAD_NORMS,
        tables::EXPERTS,
        names! {
            in "model.layers.{i}.mlp." => "blk.{i}." {
                "gate.wg.weight" => "ffn_gate_inp.weight",
                "shared_mlp.gate_proj.*" => "ffn_gate_shexp.*",
                "shared_mlp.up_proj.*" => "ffn_up_shexp.*",
                "shared_mlp.down_proj.*" => "ffn_down_shexp.*",
            }
        },
    ],
    conversion: Conversion {
        keys: |keys| {
            stretched_base(keys);
            let hidden = keys.count("feed_forward_length").unwrap_or(0);
            let shared = keys.count("expert_shared_count").unwrap_or(1);
            let number = |count: u64| MetadataValue::U32(count as u32);
            keys.put_usual("expert_feed_forward_length", number(hidden));
            let shared = number(hidden.saturating_mul(shared));
            keys.put("expert_shared_feed_forward_length", shared);
        },
        ..Conversion::PLAIN
    },
    build: |model| build(model, Some(experts(model.config())?)),
    ..DECODER
};

const ALPHA: &[Key] = keys! {
    "rope_scaling.alpha" => "rope.scaling.alpha",
    "rope_parameters.alpha" => "rope.scaling.alpha",
};

const HEAD_NORMS: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "self_attn.query_layernorm.weight" => "attn_q_norm.weight",
        "self_attn.key_layernorm.weight" => "attn_k_norm.weight",
    }
};

/// x ← x + Attention(RMS(x)); x ← x + (FFN, or experts + FFN)(RMS(x)).
fn build(model: &Builder<'_>, experts: Option<FeedForward>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    let rope = rotation(model, heads.head_dim)?;
    let attention = heads.causal(PositionScheme::None);
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    let table = net.rope_table(&rope);
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let [q, k, v] = projections(&net, h, &layer, heads)?;
        let turned = |x, name: &str| {
            let x = net.rotate(x, (table, rope.pairing), heads.head_dim);
            net.rms_norm_by(x, &format!("{layer}.{name}"), heads.head_dim, eps)
        };
        let qkv = [turned(q, "attn_q_norm")?, turned(k, "attn_k_norm")?, v];
        x = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
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

/// The best of softmax(logits), whose weights add up to one among the chosen, in every layer.
fn experts(config: &Config<'_>) -> Result<FeedForward, BuildError> {
    let hidden = config.count("feed_forward_length")?;
    let of_experts = config.optional_count("expert_feed_forward_length")?;
    let shared = config.optional_count("expert_shared_count")?.unwrap_or(1);
    Ok(FeedForward {
        router: Some(Router::read(config, &Gating::CHOSEN_SOFTMAX)?),
        function: activation(config, "hidden_act", "silu")?,
        hidden: of_experts.unwrap_or(hidden),
        shared: SharedExpert::of(Some(shared), hidden),
        sparse: vec![true; config.count("block_count")?],
        plain_hidden: None,
    })
}

/// What a folder calls dynamic scaling and has an α stretches the base once and for all:
/// θ · α^(d / (d − 2)).
fn rotation(model: &Builder<'_>, head_dim: usize) -> Result<Rope, BuildError> {
    let config = model.config();
    let rope = Rope::read(model, Pairing::Halves, head_dim)?;
    match (alpha(config)?, &rope.frequencies) {
        (Some(alpha), &RopeFrequencies::Dynamic { base, pairs, .. }) => {
            let base = stretched(f64::from(base), alpha, 2 * pairs);
            Ok(Rope::plain(Pairing::Halves, 2 * pairs, base))
        }
        _ => Ok(rope),
    }
}

fn alpha(config: &Config<'_>) -> Result<Option<f64>, BuildError> {
    let key = "rope.scaling.alpha";
    match (config.container, config.value(key)) {
        (Container::HuggingFace, Some(_)) => Ok(Some(f64::from(config.positive(key, 1.0)?))),
        _ => Ok(None),
    }
}

fn stretched(base: f64, alpha: f64, dims: usize) -> f32 {
    let dims = dims as f64;
    (base * alpha.powf(dims / (dims - 2.0))) as f32
}

/// GGUF has the base alone.
fn stretched_base(keys: &mut GgufKeys<'_>) {
    let Some(alpha) = keys.float("rope.scaling.alpha") else {
        return;
    };
    let base = keys.float("rope.freq_base").unwrap_or(1e4);
    let dims = keys.head_dim().unwrap_or(0) as usize;
    let of_scaling = |key: &str| key.starts_with("rope.scaling.");
    if keys.values.str("rope.scaling.type") == Some("dynamic") {
        keys.values.0.retain(|key, _| !of_scaling(key));
        let base = stretched(base, alpha, dims);
        keys.put("rope.freq_base", MetadataValue::F32(base));
    }
    keys.remove(&["rope.scaling.alpha"]);
}
