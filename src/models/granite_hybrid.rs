//! Granite 4 (Granite Team 2025) and Bamba (Ganti et al. 2024): layers of Mamba-2, and a few of
//! attention with or without positions; after each a feed-forward layer, or experts beside one
//! that all rows share. In GGUF both have one name.

use super::mamba2::{HYBRID_MIXER, Mamba2Mixer};
use super::tables::{self, keys, names};
use super::{
    Architecture, Conversion, DECODER, Family, GgufKeys, Only, Written, conversion, granite,
    granite_moe, llama, mamba2,
};
use crate::graph::blocks::{Heads, activation, attend, embedding, gated_mlp, head, projections};
use crate::graph::decoder::answer;
use crate::graph::experts::{Gating, Router, gated_experts};
use crate::graph::{
    Attention, BuildError, Builder, Config, Key, Net, Pointwise, PositionScheme, Role, Value,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const GRANITE_4: Architecture = Architecture {
    title: "Granite 4",
    gguf: &["granitehybrid"],
    hugging_face: &["granitemoehybrid"],
    off: &["attention_bias", "mlp_bias", "mamba_proj_bias"],
    family: Family::Recurrent,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        granite::FACTORS,
        MIXER_KEYS,
        keys! {
            "position_embedding_type" => "position_embedding_type",
            "num_local_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "shared_intermediate_size" => "expert_shared_feed_forward_length",
        },
    ],
    settled: &[
        ("attn_layer_indices", Only::Any),
        ("layer_types", Only::Any),
        ("layers_block_type", Only::Any),
        ("normalization_function", Only::Text(&["rmsnorm"])),
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        HYBRID_MIXER,
        granite_moe::FUSED_EXPERTS,
    ],
    conversion: Conversion {
        keys: |keys| {
            let rotates = keys.config.str("position_embedding_type") == Some("rope");
            hybrid_keys(keys, rotates);
        },
        tensor: hybrid_tensor,
        ..Conversion::PLAIN
    },
    build: |model| build(model, granite_rope(model)?, 1e-6),
    ..DECODER
};

pub(super) const BAMBA: Architecture = Architecture {
    title: "Bamba",
    gguf: &[],
    hugging_face: &["bamba"],
    off: GRANITE_4.off,
    family: Family::Recurrent,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::PARTIAL_ROPE,
        MIXER_KEYS,
    ],
    settled: &[
        ("attn_layer_indices", Only::Any),
        ("attn_rotary_emb", Only::Any),
        ("sliding_window", Only::Nothing),
    ],
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        HYBRID_MIXER,
        names! {
            "model.final_layernorm.weight" => "output_norm.weight",
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.weight" => "attn_norm.weight",
                "pre_ff_layernorm.weight" => "ffn_norm.weight",
                "feed_forward.gate_proj.*" => "ffn_gate.*",
                "feed_forward.up_proj.*" => "ffn_up.*",
                "feed_forward.down_proj.*" => "ffn_down.*",
            }
        },
    ],
    conversion: Conversion {
        architecture: Some("granitehybrid"),
        keys: |keys| {
            hybrid_keys(keys, true);
            keys.put_usual("rope.partial_factor", MetadataValue::F32(BAMBA_PART as f32));
        },
        tensor: hybrid_tensor,
        ..Conversion::PLAIN
    },
    build: |model| build(model, bamba_rope(model)?, 1e-5),
    ..DECODER
};

const MIXER_KEYS: &[Key] = keys! {
    "mamba_expand" => "ssm.expand",
    "mamba_d_state" => "ssm.state_size",
    "mamba_d_conv" => "ssm.conv_kernel",
    "mamba_n_heads" => "ssm.time_step_rank",
    "mamba_n_groups" => "ssm.group_count",
    "mamba_d_head" => "ssm.head_dim",
    "time_step_limit" => "ssm.time_step_limit",
};

/// The part of a head that Bamba rotates.
const BAMBA_PART: f64 = 0.5;

/// x ← x + r · (Mamba-2 or Attention)(RMS(x)); x ← x + r · (FFN or experts + FFN)(RMS(x)); logits
/// divided by their factor. Which of them a layer has its tensors say. `rotated` is the part of a
/// head that knows positions, `eps` the norms' epsilon, where no file says it.
fn build(model: &Builder<'_>, rotated: Option<f64>, eps: f32) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", eps)?;
    let heads = Heads::read_some(config, width)?;
    let position = match rotated {
        Some(part) => PositionScheme::Rope(llama::rotation(model, heads.head_dim, (part, 1e4))?),
        None => PositionScheme::None,
    };
    let causal = heads.causal(position);
    let attention = Attention {
        scale: attention_scale(config, causal.scale)?,
        ..causal
    };
    let mixer = Mamba2Mixer::read(config, width)?;
    let feed_forward = HybridFeedForward::read(config)?;
    let residual = config.float("residual_scale", 1.0)?;
    let of_embedding = config.float("embedding_scale", 1.0)?;
    let of_logits = granite::divisor(config, "logit_scale")?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = net.scale(embedding(&net, width)?, of_embedding);
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        // Several are looked for, so that a file without one of them is told which.
        let attends = ["attn_q", "attn_k", "attn_qkv"]
            .iter()
            .any(|name| model.has(&format!("{layer}.{name}.weight")));
        let mixed = if attends {
            let qkv = projections(&net, h, &layer, heads)?;
            attend(&net, qkv, &layer, width, attention.clone())?
        } else {
            mixer.wire(&net, h, &layer, eps)?
        };
        x = net.add(x, net.scale(mixed, residual));
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        let f = feed_forward.wire(&net, h, &layer)?;
        x = net.add(x, net.scale(f, residual));
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| Ok(net.scale(head(&net, x)?, 1.0 / of_logits)))?;
    net.finish();
    Ok(())
}

/// All of a head, if it knows positions at all.
fn granite_rope(model: &Builder<'_>) -> Result<Option<f64>, BuildError> {
    let config = model.config();
    let rotates = match config.container {
        Container::Gguf => config.flag("rope.scaling.finetuned", true)?,
        Container::HuggingFace => config.text("position_embedding_type")? == Some("rope"),
    };
    Ok(rotates.then_some(1.0))
}

/// Half of a head, whatever stands beside the object of rotary parameters.
fn bamba_rope(model: &Builder<'_>) -> Result<Option<f64>, BuildError> {
    let (config, key) = (model.config(), "partial_rotary_factor");
    match config.metadata.value(key) {
        Some(_) if config.metadata.f64(key) != Some(BAMBA_PART) => {
            Err(config.bad(key, "0.5, which its authors' code takes it for"))
        }
        _ => Ok(Some(BAMBA_PART)),
    }
}

/// GGUF leaves out what is usual; Granite's own configuration means one.
fn attention_scale(config: &Config<'_>, usual: f32) -> Result<f32, BuildError> {
    let granite = config.metadata.str("model_type") == Some("granitemoehybrid");
    let default = match config.container {
        Container::HuggingFace if granite => 1.0,
        _ => usual,
    };
    config.float("attention.scale", default)
}

/// What follows a mixing layer.
pub(super) struct HybridFeedForward {
    hidden: usize,
    router: Option<Router>,
    shared: Option<usize>,
    function: Pointwise,
}

impl HybridFeedForward {
    pub fn read(config: &Config<'_>) -> Result<HybridFeedForward, BuildError> {
        let router = Router::read_some(config, &Gating::CHOSEN_SOFTMAX)?;
        let shared = config.feature("expert_shared_feed_forward_length")?;
        Ok(HybridFeedForward {
            hidden: match (&router, shared) {
                // What all rows share is the whole layer.
                (None, Some(shared)) => shared,
                _ => config.count("feed_forward_length")?,
            },
            router,
            shared,
            function: activation(config, "hidden_act", "silu")?,
        })
    }

    pub fn wire(&self, net: &Net<'_, '_>, h: Value, layer: &str) -> Result<Value, BuildError> {
        let folder = net.builder.config().container == Container::HuggingFace;
        match (&self.router, self.shared) {
            (Some(router), shared) => {
                let sizes = (self.hidden, self.function);
                let routed = gated_experts(net, h, layer, sizes, router)?;
                match shared {
                    Some(hidden) => Ok(net.add(routed, self.shared(net, h, layer, hidden)?)),
                    None => Ok(routed),
                }
            }
            (None, Some(hidden)) if folder => self.shared(net, h, layer, hidden),
            (None, _) => gated_mlp(net, h, layer, self.hidden, self.function),
        }
    }

    /// down(f(gate x) ⊙ up x), gate and up in one matrix or in two.
    fn shared(
        &self,
        net: &Net<'_, '_>,
        h: Value,
        layer: &str,
        hidden: usize,
    ) -> Result<Value, BuildError> {
        let (gate, up) = if net.builder.config().container == Container::HuggingFace {
            let both = net.linear(
                h,
                &format!("{layer}.ffn_gate_up_shexp"),
                hidden.saturating_mul(2),
            )?;
            (net.slice(both, 0, hidden), net.slice(both, hidden, hidden))
        } else {
            (
                net.linear(h, &format!("{layer}.ffn_gate_shexp"), hidden)?,
                net.linear(h, &format!("{layer}.ffn_up_shexp"), hidden)?,
            )
        };
        let inner = net.mul(net.apply(gate, self.function), up);
        net.linear(inner, &format!("{layer}.ffn_down_shexp"), net.width(h))
    }
}

/// In GGUF, which layers attend is said by their heads of keys; whether they rotate what they
/// compare, by a flag.
fn hybrid_keys(keys: &mut GgufKeys<'_>, rotates: bool) {
    let config = keys.config;
    let attends = |layer: u64| match config.array("layer_types") {
        // As files up to 2025 call them, and as later ones do.
        Some(Array::String(kinds)) => matches!(
            kinds.get(layer as usize),
            Some(b"attention" | b"full_attention")
        ),
        _ => config
            .array("attn_layer_indices")
            .is_some_and(|list| (0..list.len()).any(|index| list.u64(index) == Some(layer))),
    };
    let heads = config.u64("num_attention_heads").unwrap_or(1);
    let kv_heads = config.u64("num_key_value_heads").unwrap_or(heads);
    keys.put_attending_layers(kv_heads, attends);
    let width = keys.count("embedding_length").unwrap_or(0);
    let expand = config.f64("mamba_expand").unwrap_or(2.0);
    keys.put(
        "ssm.inner_size",
        MetadataValue::U32((width as f64 * expand) as u32),
    );
    keys.put("rope.scaling.finetuned", MetadataValue::Bool(rotates));
    if keys.count("expert_count").unwrap_or(0) == 0 {
        let shared = "expert_shared_feed_forward_length";
        if let Some(hidden) = keys.values.0.remove(shared) {
            keys.put("feed_forward_length", hidden);
        }
        keys.remove(&["expert_count", "expert_used_count"]);
    }
    keys.remove(&["ssm.expand", "ssm.head_dim", "position_embedding_type"]);
}

/// Gates and what they let through are apart in GGUF. Where there are no experts, what all rows
/// share is a feed-forward layer like any other.
fn hybrid_tensor(keys: &mut GgufKeys<'_>, tensor: Written) -> Result<Vec<Written>, String> {
    let mut all = match tensor.part().starts_with("ffn_gate_up_") {
        true => conversion::gates_apart(tensor)?,
        false => {
            let tensor = mamba2::heads_in_columns(keys, tensor);
            conversion::neighbours_paired(keys, tensor)?
        }
    };
    if keys.count("expert_count").is_none() {
        for tensor in &mut all {
            tensor.name = tensor.name.replace("_shexp.", ".");
        }
    }
    Ok(all)
}
