//! Nemotron-H (NVIDIA 2025), Nemotron 3: each layer is Mamba-2, attention that knows no positions, a
//! feed-forward layer, or routed experts beside one that all rows share, which may work on a shorter
//! projection of a row.

use super::mamba2::{self, Mamba2Mixer};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only};
use crate::graph::blocks::{Heads, activation, attend, embedding, head, mlp, projections};
use crate::graph::decoder::{answer, nextn_layers};
use crate::graph::experts::{Gating, Router};
use crate::graph::{BuildError, Builder, Config, Net, Pointwise, PositionScheme, Role, Value};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Nemotron-H, Nemotron 3",
    gguf: &["nemotron_h", "nemotron_h_moe"],
    hugging_face: &["nemotron_h"],
    off: &["mlp_bias", "use_bias"],
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
        // Steps stay within these in the authors' code. transformers' class reads time_step_min in their
        // place, by which the authors draw initial biases alone.
        "time_step_limit" => "ssm.time_step_limit",
        "n_routed_experts" => "expert_count",
        "num_experts_per_tok" => "expert_used_count",
        "n_shared_experts" => "expert_shared_count",
        "moe_intermediate_size" => "expert_feed_forward_length",
        "moe_shared_expert_intermediate_size" => "expert_shared_feed_forward_length",
        "moe_latent_size" => "moe_latent_size",
        "norm_topk_prob" => "expert_weights_norm",
        "routed_scaling_factor" => "expert_weights_scale",
        "n_group" => "expert_group_count",
        "topk_group" => "expert_group_used_count",
        "num_nextn_predict_layers" => "nextn_predict_layers",
    }],
    settled: &[
        // The norms' other name, heads times their size being known, and kinds that tensors tell.
        ("rms_norm_eps", Only::Any),
        ("expand", Only::Any),
        ("layer_types", Only::Any),
        ("mamba_proj_bias", Only::Any),
        ("mamba_ssm_cache_dtype", Only::Any),
        ("mamba_expand", Only::Any),
        ("num_query_groups", Only::Any),
        ("sliding_window", Only::Nothing),
        // When experts are worked on, not what they are given.
        ("moe_shared_expert_overlap", Only::Any),
        // Tokens after the next one are not guessed.
        ("mtp_hybrid_override_pattern", Only::Any),
        ("mtp_layers_block_type", Only::Any),
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
            "mixer.gate.weight" => "ffn_gate_inp.weight",
            "mixer.gate.e_score_correction_bias" => "exp_probs_b.bias",
            "mixer.experts.{e}.up_proj.weight" => "ffn_up_exps.weight",
            "mixer.experts.{e}.down_proj.weight" => "ffn_down_exps.weight",
            "mixer.experts.up_proj" => "ffn_up_exps.weight",
            "mixer.experts.down_proj" => "ffn_down_exps.weight",
            "mixer.shared_experts.up_proj.*" => "ffn_up_shexp.*",
            "mixer.shared_experts.down_proj.*" => "ffn_down_shexp.*",
            "mixer.fc1_latent_proj.*" => "ffn_latent_down.*",
            "mixer.fc2_latent_proj.*" => "ffn_latent_up.*",
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

/// x ← x + (Mamba-2, Attention, FFN or experts)(RMS(x)). Which of them a layer has its tensors say.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let layers = layers(model)?;
    let eps = epsilon(config)?;
    let function = activation(config, "mlp_hidden_act", "relu2")?;
    let heads = Heads::read_some(config, width)?;
    let attention = heads.causal(PositionScheme::None);
    let mixer = Mamba2Mixer::read(config, width)?;
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
            mlp(&net, h, &layer, hidden(config, i)?, function)?
        } else if has(&["ffn_gate_inp", "ffn_up_exps", "ffn_down_exps"]) {
            Experts::read(config, function)?.wire(&net, h, &layer)?
        } else {
            mixer.wire(&net, h, &layer, eps)?
        };
        x = net.add(x, y);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// Of the norms, which GGUF calls by either name.
fn epsilon(config: &Config<'_>) -> Result<f32, BuildError> {
    let other = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    config.epsilon("attention.layer_norm_rms_epsilon", other)
}

/// As many as there are kinds, where no number is said; those that guess come after.
fn layers(model: &Builder<'_>) -> Result<usize, BuildError> {
    let config = model.config();
    if config.container == Container::Gguf {
        return nextn_layers(model);
    }
    if config.feature("nextn_predict_layers")?.is_some() {
        model.guesses_nothing();
    }
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

/// Of a feed-forward layer; GGUF lists a width for each layer, and zeros for those of other kinds.
fn hidden(config: &Config<'_>, layer: usize) -> Result<usize, BuildError> {
    let key = "feed_forward_length";
    let Some(MetadataValue::Array(list)) = config.value(key) else {
        return config.count(key);
    };
    let listed = list.u64(layer).filter(|&width| width > 0);
    let listed = listed.filter(|&width| width <= config.bounds.elements);
    let listed = listed.and_then(|width| usize::try_from(width).ok());
    listed.ok_or_else(|| config.invalid(key, "widths that the tensors have room for"))
}

/// down(f(up z)) of the experts that x chooses, and of one that all rows share, which is given x. z is
/// x, or a shorter projection of it, from which another leads back.
struct Experts {
    router: Router,
    hidden: usize,
    shared: usize,
    latent: Option<usize>,
    function: Pointwise,
}

impl Experts {
    fn read(config: &Config<'_>, function: Pointwise) -> Result<Experts, BuildError> {
        Ok(Experts {
            router: Router::read(config, &Gating::SIGMOID)?,
            hidden: config.count("expert_feed_forward_length")?,
            shared: config.count("expert_shared_feed_forward_length")?,
            latent: config.optional_count("moe_latent_size")?,
            function,
        })
    }

    fn wire(&self, net: &Net<'_, '_>, x: Value, layer: &str) -> Result<Value, BuildError> {
        let (width, experts) = (net.width(x), self.router.experts);
        let name = |part: &str| format!("{layer}.ffn_{part}");
        let route = self.router.route(net, x, layer)?;
        let z = match self.latent {
            Some(latent) => net.linear(x, &name("latent_down"), latent)?,
            None => x,
        };
        let stack = |part: &str, rows, columns| {
            let name = format!("{}.weight", name(part));
            net.builder.experts(&name, experts, rows, columns)
        };
        let up = stack("up_exps", self.hidden, net.width(z))?;
        let down = stack("down_exps", net.width(z), self.hidden)?;
        let inner = net.apply(net.expert_matmul(z, route, (up, None)), self.function);
        let mut y = net.expert_sum(net.expert_matmul(inner, route, (down, None)), route);
        if self.latent.is_some() {
            y = net.linear(y, &name("latent_up"), width)?;
        }
        let inner = net.linear(x, &name("up_shexp"), self.shared)?;
        let inner = net.apply(inner, self.function);
        Ok(net.add(y, net.linear(inner, &name("down_shexp"), width)?))
    }
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
            Some(b"moe") => b'E',
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
    let width = |key: &str| config.u64(key).unwrap_or(0) as u32;
    let widths = (0..layers).map(|layer| match letter(layer) {
        b'-' => width("intermediate_size"),
        b'E' => width("moe_intermediate_size"),
        _ => 0,
    });
    let widths = MetadataValue::Array(Array::U32(widths.collect()));
    keys.put("feed_forward_length", widths);
    let inner = (keys.count("ssm.time_step_rank")).zip(keys.count("ssm.head_dim"));
    if let Some((heads, dim)) = inner {
        keys.put(
            "ssm.inner_size",
            MetadataValue::U32(heads.saturating_mul(dim) as u32),
        );
    }
    // Readers ask for the norms' epsilon by either name.
    if let Some(eps) = keys
        .values
        .value("attention.layer_norm_rms_epsilon")
        .cloned()
    {
        keys.put("attention.layer_norm_epsilon", eps);
    }
    match (0..layers).any(|layer| letter(layer) == b'E') {
        true => keys.architecture = "nemotron_h_moe",
        false => keys.remove(OF_EXPERTS),
    }
    keys.remove(&[
        "layer_types",
        "mlp_hidden_act",
        "nextn_predict_layers",
        "ssm.head_dim",
    ]);
}

/// What configurations say of experts whether or not there are some.
const OF_EXPERTS: &[&str] = &[
    "expert_count",
    "expert_used_count",
    "expert_shared_count",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "expert_weights_norm",
    "expert_weights_scale",
    "expert_group_count",
    "expert_group_used_count",
    "moe_latent_size",
];
