//! Jamba (Lieber et al. 2024): layers of Mamba, every few of them one of attention without
//! positions; after each a feed-forward layer, or a mixture of experts.

use super::mamba::{JAMBA_MIXER, Mixer, Norms};
use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only};
use crate::graph::blocks::{Heads, activation, attend, embedding, gated_mlp, head, projections};
use crate::graph::decoder::answer;
use crate::graph::experts::{Gating, Router, gated_experts};
use crate::graph::{BuildError, Builder, PositionScheme, Role};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Jamba",
    gguf: &["jamba"],
    hugging_face: &["jamba"],
    off: &["attention_bias", "mlp_bias", "mamba_proj_bias"],
    family: Family::Recurrent,
    keys: &[
        tables::SIZES,
        keys! {
            "mamba_expand" => "ssm.expand",
            "mamba_d_state" => "ssm.state_size",
            "mamba_d_conv" => "ssm.conv_kernel",
            "mamba_dt_rank" => "ssm.time_step_rank",
            "num_experts" => "expert_count",
            "num_local_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
        },
    ],
    settled: &[
        ("attn_layer_offset", Only::Any),
        ("attn_layer_period", Only::Any),
        ("calc_logits_for_entire_prompt", Only::Any),
        ("expert_layer_offset", Only::Any),
        ("expert_layer_period", Only::Any),
        ("layer_types", Only::Any),
        ("layers_block_type", Only::Any),
        ("layers_num_experts", Only::Any),
        ("mamba_inner_layernorms", Only::Is(true)),
        ("sliding_window", Only::Nothing),
    ],
    names: &[
        names! {
            "model.embed_tokens.weight" => "token_embd.weight",
            "model.final_layernorm.weight" => "output_norm.weight",
            "lm_head.weight" => "output.weight",
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.weight" => "attn_norm.weight",
                "pre_ff_layernorm.weight" => "ffn_norm.weight",
                "mamba.dt_layernorm.weight" => "ssm_dt_norm.weight",
                "mamba.b_layernorm.weight" => "ssm_b_norm.weight",
                "mamba.c_layernorm.weight" => "ssm_c_norm.weight",
                "feed_forward.gate_proj.weight" => "ffn_gate.weight",
                "feed_forward.up_proj.weight" => "ffn_up.weight",
                "feed_forward.down_proj.weight" => "ffn_down.weight",
                "feed_forward.router.weight" => "ffn_gate_inp.weight",
                "feed_forward.experts.{e}.gate_proj.weight" => "ffn_gate_exps.weight",
                "feed_forward.experts.{e}.up_proj.weight" => "ffn_up_exps.weight",
                "feed_forward.experts.{e}.down_proj.weight" => "ffn_down_exps.weight",
            }
        },
        tables::ATTENTION,
        JAMBA_MIXER,
    ],
    conversion: Conversion {
        keys,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// x ← x + (Mamba or Attention)(RMS(x)); x ← x + (FFN or experts)(RMS(x)). Which of them a layer
/// has its tensors say.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?;
    let function = activation(config, "hidden_act", "silu")?;
    let attention = Heads::read_some(config, width)?;
    let mixer = Mixer {
        norms: Norms::Weighted(eps),
        ..Mixer::read(config, width)?
    };
    let router = Router::read_some(config, &Gating::SOFTMAX)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        // Two of a kind are looked for, so that a file without one of them is told which.
        let any = |names: [&str; 2]| {
            let mut names = names.into_iter();
            names.any(|name| model.has(&format!("{layer}.{name}.weight")))
        };
        let mixed = if any(["attn_q", "attn_k"]) {
            let qkv = projections(&net, h, &layer, attention)?;
            let causal = attention.causal(PositionScheme::None);
            attend(&net, qkv, &layer, width, causal)?
        } else {
            mixer.wire(&net, h, &layer)?
        };
        x = net.add(x, mixed);

        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        let routed = any(["ffn_gate_inp", "ffn_gate_exps"]);
        let f = match router.as_ref().filter(|_| routed) {
            Some(router) => gated_experts(&net, h, &layer, (hidden, function), router)?,
            None => gated_mlp(&net, h, &layer, hidden, function)?,
        };
        x = net.add(x, f);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// In GGUF, which layers attend is said by their heads of keys.
fn keys(keys: &mut GgufKeys<'_>) {
    let or = |key: &str, usual: u64| keys.config.u64(key).unwrap_or(usual);
    let (period, offset) = (or("attn_layer_period", 8), or("attn_layer_offset", 4));
    let kv_heads = or("num_key_value_heads", or("num_attention_heads", 1));
    let width = keys.count("embedding_length").unwrap_or(0);
    let inner = width.saturating_mul(or("mamba_expand", 2)) as u32;
    keys.put_attending_layers(kv_heads, |layer| layer.checked_rem(period) == Some(offset));
    keys.put("ssm.inner_size", MetadataValue::U32(inner));
    keys.remove(&["ssm.expand"]);
    if keys.values.str("ssm.time_step_rank").is_some() {
        let rank = width.div_ceil(16) as u32;
        keys.put("ssm.time_step_rank", MetadataValue::U32(rank));
    }
}
