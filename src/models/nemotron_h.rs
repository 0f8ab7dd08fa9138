//! Nemotron-H without experts (NVIDIA 2025): each layer is Mamba-2, attention that knows no
//! positions, or a feed-forward layer.

use super::mamba2::{self, Mamba2Mixer};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only};
use crate::graph::blocks::{Heads, activation, attend, embedding, head, mlp, projections};
use crate::graph::{BuildError, Builder, PositionScheme, Role};
use rillm_formats::manifest::{Array, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Nemotron-H",
    gguf: &["nemotron_h"],
    hugging_face: &["nemotron_h"],
    family: Family::Recurrent,
    keys: &[keys! {
        "hidden_size" => "embedding_length",
        "num_hidden_layers" => "block_count",
        "layers_block_type" => "layer_types",
        "hybrid_override_pattern" => "layer_types",
        "intermediate_size" => "feed_forward_length",
        "max_position_embeddings" => "context_length",
        "num_attention_heads" => "attention.head_count",
        "num_key_value_heads" => "attention.head_count_kv",
        "head_dim" => "attention.key_length",
        "attention_head_dim" => "attention.key_length",
        "layer_norm_epsilon" => "attention.layer_norm_rms_epsilon",
        "mlp_hidden_act" => "mlp_hidden_act",
        "mamba_hidden_act" => "hidden_act",
        "mamba_num_heads" => "ssm.time_step_rank",
        "mamba_head_dim" => "ssm.head_dim",
        "ssm_state_size" => "ssm.state_size",
        "n_groups" => "ssm.group_count",
        "conv_kernel" => "ssm.conv_kernel",
        "time_step_limit" => "ssm.time_step_limit",
    }],
    settled: &[
        // The norms' other name, heads times their size being known, and kinds that tensors tell.
        ("rms_norm_eps", Only::Any),
        ("expand", Only::Any),
        ("layer_types", Only::Any),
        ("mamba_proj_bias", Only::Any),
        ("mamba_ssm_cache_dtype", Only::Any),
        ("mamba_expand", Only::Any),
        ("sliding_window", Only::Nothing),
        // Of layers with experts, whose tensors are refused.
        ("moe_intermediate_size", Only::Any),
        ("moe_latent_size", Only::Any),
        ("moe_shared_expert_intermediate_size", Only::Any),
        ("moe_shared_expert_overlap", Only::Any),
        ("n_group", Only::Any),
        ("n_routed_experts", Only::Any),
        ("n_shared_experts", Only::Any),
        ("norm_topk_prob", Only::Any),
        ("num_experts_per_tok", Only::Any),
        ("routed_scaling_factor", Only::Any),
        ("topk_group", Only::Any),
        // Tokens after the next one are not guessed.
        ("mtp_hybrid_override_pattern", Only::Any),
        ("mtp_layers_block_type", Only::Any),
        ("num_nextn_predict_layers", Only::Any),
    ],
    names: &[names! {
        "model.embeddings.weight" => "token_embd.weight",
        "model.norm_f.weight" => "output_norm.weight",
        "lm_head.weight" => "output.weight",
        in "model.layers.{i}." => "blk.{i}." {
            "norm.weight" => "attn_norm.weight",
            "mixer.in_proj.*" => "ssm_in.*",
            "mixer.conv1d.*" => "ssm_conv1d.*",
            "mixer.dt_bias" => "ssm_dt.bias",
            "mixer.A_log" => "ssm_a" as NegativeExp,
            "mixer.D" => "ssm_d",
            "mixer.norm.weight" => "ssm_norm.weight",
            "mixer.out_proj.*" => "ssm_out.*",
            "mixer.q_proj.*" => "attn_q.*",
            "mixer.k_proj.*" => "attn_k.*",
            "mixer.v_proj.*" => "attn_v.*",
            "mixer.o_proj.*" => "attn_output.*",
            "mixer.up_proj.*" => "ffn_up.*",
            "mixer.down_proj.*" => "ffn_down.*",
        }
    }],
    harmless_in_gguf: &["rope.freq_base"],
    conversion: Conversion {
        keys: gguf_keys,
        tensor: |keys, tensor| Ok(vec![mamba2::heads_in_columns(keys, tensor)]),
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// x ← x + (Mamba-2, Attention or FFN)(RMS(x)). Which of them a layer has its tensors say.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let layers = layers(model)?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "mlp_hidden_act", "relu2")?;
    let heads = Heads::read_some(config, width)?;
    let attention = heads.causal(PositionScheme::None);
    let mixer = Mamba2Mixer::read(config, width)?;
    let hidden = hidden(model)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        // Several are looked for, so that a file without one of them is told which.
        let has = |names: &[&str]| {
            let mut names = names.iter();
            names.any(|name| model.has(&format!("{layer}.{name}.weight")))
        };
        let y = if has(&["attn_q", "attn_k", "attn_v", "attn_output"]) {
            let qkv = projections(&net, h, &layer, heads)?;
            attend(&net, qkv, &layer, width, attention.clone())?
        } else if has(&["ffn_up", "ffn_down"]) {
            mlp(&net, h, &layer, hidden, function)?
        } else {
            mixer.wire(&net, h, &layer, eps)?
        };
        x = net.add(x, y);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x)?, "logits");
    net.finish();
    Ok(())
}

/// As many as there are kinds, where no number is said.
fn layers(model: &Builder<'_>) -> Result<usize, BuildError> {
    let config = model.config();
    match (
        config.optional_count("block_count")?,
        config.value("layer_types"),
    ) {
        (Some(layers), _) => Ok(layers),
        (None, Some(MetadataValue::Array(kinds))) if !kinds.is_empty() => Ok(kinds.len()),
        (None, Some(MetadataValue::String(letters))) if !letters.is_empty() => Ok(letters.len()),
        (None, _) => config.count("block_count"),
    }
}

/// Of feed-forward layers; GGUF lists zeros for the others.
fn hidden(model: &Builder<'_>) -> Result<usize, BuildError> {
    let (config, key) = (model.config(), "feed_forward_length");
    let Some(MetadataValue::Array(list)) = config.value(key) else {
        return config.count(key);
    };
    let most = (0..list.len()).filter_map(|layer| list.u64(layer)).max();
    let most = most.filter(|&most| most > 0 && most <= config.bounds.elements);
    let most = most.and_then(|most| usize::try_from(most).ok());
    most.ok_or_else(|| config.invalid(key, "widths that the tensors have room for"))
}

/// In GGUF, the kind of a layer is said by its heads of keys and its width.
fn gguf_keys(keys: &mut GgufKeys<'_>) {
    let config = keys.config;
    let letter = |layer: u64| match (
        config.array("layers_block_type"),
        config.str("hybrid_override_pattern"),
    ) {
        (Some(Array::String(kinds)), _) => match kinds.get(layer as usize) {
            Some(b"full_attention" | b"attention") => b'*',
            Some(b"mlp") => b'-',
            _ => b'M',
        },
        (_, Some(letters)) => letters
            .as_bytes()
            .get(layer as usize)
            .copied()
            .unwrap_or(b'M'),
        _ => b'M',
    };
    let listed = match (
        config.array("layers_block_type"),
        config.str("hybrid_override_pattern"),
    ) {
        (Some(kinds), _) => kinds.len() as u64,
        (_, Some(letters)) => letters.len() as u64,
        _ => 0,
    };
    keys.put_usual("block_count", MetadataValue::U32(listed as u32));
    let layers = keys.count("block_count").unwrap_or(0).min(1 << 16);
    let heads = config.u64("num_attention_heads").unwrap_or(1);
    let kv_heads = config.u64("num_key_value_heads").unwrap_or(heads);
    keys.put_attending_layers(kv_heads, |layer| letter(layer) == b'*');
    let hidden = config.u64("intermediate_size").unwrap_or(0) as u32;
    let widths = (0..layers).map(|layer| if letter(layer) == b'-' { hidden } else { 0 });
    let widths = MetadataValue::Array(Array::U32(widths.collect()));
    keys.put("feed_forward_length", widths);
    let inner = (keys.count("ssm.time_step_rank")).zip(keys.count("ssm.head_dim"));
    if let Some((heads, dim)) = inner {
        keys.put(
            "ssm.inner_size",
            MetadataValue::U32(heads.saturating_mul(dim) as u32),
        );
    }
    keys.remove(&["layer_types", "mlp_hidden_act", "ssm.head_dim"]);
}
