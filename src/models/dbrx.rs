//! DBRX (Databricks 2024): LayerNorms without biases, projections of attention fused and kept
//! within a limit, experts whose matrices stand in one tensor, one below the other.

use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only, conversion};
use crate::graph::blocks::{Heads, activation, attend, cap, embedding, fused_projections, head};
use crate::graph::decoder::answer;
use crate::graph::experts::{ExpertMatrices, Gating, Router, RouterScores, routed_experts};
use crate::graph::{
    BuildError, Builder, Config, ExpertWeight, Pairing, PositionScheme, Role, Rope,
};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "DBRX",
    gguf: &["dbrx"],
    hugging_face: &["dbrx"],
    family: Family::MixtureOfExperts,
    keys: &[keys! {
        "d_model" => "embedding_length",
        "n_layers" => "block_count",
        "n_heads" => "attention.head_count",
        "max_seq_len" => "context_length",
        "attn_config.kv_n_heads" => "attention.head_count_kv",
        "num_key_value_heads" => "attention.head_count_kv",
        "attn_config.rope_theta" => "rope.freq_base",
        "rope_parameters.rope_theta" => "rope.freq_base",
        "attn_config.clip_qkv" => "attention.clamp_kqv",
        "ffn_config.ffn_hidden_size" => "feed_forward_length",
        "ffn_config.moe_num_experts" => "expert_count",
        "ffn_config.moe_top_k" => "expert_used_count",
        "ffn_config.moe_normalize_expert_weights" => "expert_weights_power",
        "ffn_config.ffn_act_fn.name" => "hidden_act",
    }],
    settled: &[
        ("attn_config.attn_pdrop", Only::Any),
        ("attn_config.model_type", Only::Any),
        ("ffn_config.hidden_size", Only::Any),
        ("ffn_config.model_type", Only::Any),
        ("ffn_config.moe_jitter_eps", Only::Any),
        ("ffn_config.moe_loss_weight", Only::Any),
        ("ffn_config.uniform_expert_assignment", Only::Is(false)),
        ("rope_parameters.rope_type", Only::Text(&["default"])),
    ],
    names: &[names! {
        "transformer.wte.weight" => "token_embd.weight",
        "transformer.norm_f.weight" => "output_norm.weight",
        "lm_head.weight" => "output.weight",
        in "transformer.blocks.{i}." => "blk.{i}." {
            "norm_attn_norm.norm_1.weight" => "attn_norm.weight",
            "norm_attn_norm.attn.Wqkv.weight" => "attn_qkv.weight",
            "norm_attn_norm.attn.out_proj.weight" => "attn_output.weight",
            "norm_attn_norm.norm_2.weight" => "attn_output_norm.weight",
            "ffn.router.layer.weight" => "ffn_gate_inp.weight",
            "ffn.experts.mlp.w1" => "ffn_gate_exps.weight",
            "ffn.experts.mlp.v1" => "ffn_up_exps.weight",
            "ffn.experts.mlp.w2" => "ffn_down_exps.weight" as Transposed,
        }
    }],
    conversion: Conversion {
        keys: |keys| {
            keys.put("attention.layer_norm_epsilon", MetadataValue::F32(EPS));
        },
        tensor: conversion::expert_stacks,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// The epsilon of all norms, which no configuration says.
const EPS: f32 = 1e-5;

/// x ← x + Attention(LN(x)); x ← x + experts(LN(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", EPS)?;
    let function = activation(config, "hidden_act", "silu")?;
    let limit = cap(config, "attention.clamp_kqv", None)?;
    let heads = Heads::read(config, width)?;
    one_base(config)?;
    let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
    let causal = heads.causal(PositionScheme::Rope(rope));
    let router = router(model)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = fused_projections(&net, h, &layer, heads)?.map(|x| net.clamp(x, limit));
        x = net.add(x, attend(&net, qkv, &layer, width, causal.clone())?);
        let h = net.layer_norm(x, &format!("{layer}.attn_output_norm"), eps)?;
        let route = router.route(&net, h, &layer)?;
        let matrices = matrices(model, &layer, (router.experts, hidden, width))?;
        let routed = routed_experts(&net, h, (&router, route), &matrices, function);
        x = net.add(x, routed);
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// Refuses two bases that differ: transformers 5 reads and writes `rope_parameters` alone, and takes
/// 10000 for what `attn_config` says.
fn one_base(config: &Config<'_>) -> Result<(), BuildError> {
    let [inner, outer] = ["attn_config.rope_theta", "rope_parameters.rope_theta"];
    match [inner, outer].map(|key| config.metadata.f64(key)) {
        [Some(is), Some(other)] if is != other => {
            Err(config.bad(outer, &format!("{is}, as {inner} has it")))
        }
        _ => Ok(()),
    }
}

/// Softmax over all; the weights of the chosen divided by their norm of some power, if at all.
fn router(model: &Builder<'_>) -> Result<Router, BuildError> {
    let (config, key) = (model.config(), "expert_weights_power");
    // GGUF says zero for null.
    let gguf = config.container == Container::Gguf;
    let weight = if config.is_null(key) {
        config.grant(key, MetadataValue::F32(0.0));
        ExpertWeight::Score
    } else if gguf && config.float(key, 1.0)? == 0.0 {
        ExpertWeight::Score
    } else {
        ExpertWeight::Norm(config.positive(key, 1.0)?)
    };
    Ok(Router {
        scores: RouterScores::Softmax,
        weight,
        ..Router::read(config, &Gating::SOFTMAX)?
    })
}

/// The experts of a layer: in stacks, or one below the other.
fn matrices(
    model: &Builder<'_>,
    layer: &str,
    (experts, hidden, width): (usize, usize, usize),
) -> Result<ExpertMatrices, BuildError> {
    let name = |part: &str| format!("{layer}.ffn_{part}_exps.weight");
    let sizes = |rows, columns| [experts, rows, columns];
    if model.config().container == Container::Gguf {
        return ExpertMatrices::read(model, layer, (experts, hidden, width));
    }
    Ok(ExpertMatrices {
        gate: (
            model.experts_below(&name("gate"), sizes(hidden, width))?,
            None,
        ),
        up: (
            model.experts_below(&name("up"), sizes(hidden, width))?,
            None,
        ),
        down: (
            model.experts_beside(&name("down"), sizes(width, hidden))?,
            None,
        ),
    })
}
