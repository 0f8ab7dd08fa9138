//! Kimi Linear (Kimi Team 2025): three layers of a gated delta rule whose state decays channel by
//! channel to one of latent attention that knows no positions, then DeepSeek-V3's experts.

use super::deepseek::SparseFeedForward;
use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only, deepseek2};
use crate::graph::blocks::activation;
use crate::graph::decoder::{PreNormDecoder, nextn_layers};
use crate::graph::experts::Gating;
use crate::graph::latent_attention::LatentAttention;
use crate::graph::{
    BuildError, Builder, Config, Decay, DeltaRule, LinearAttention, Net, Pointwise, Value,
};
use rillm_formats::manifest::{Array, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Kimi Linear",
    gguf: &["kimi-linear"],
    hugging_face: &["kimi_linear"],
    // Nothing rotates.
    harmless_in_gguf: &["rope.freq_base"],
    family: Family::Recurrent,
    keys: &[
        deepseek2::KEYS,
        keys! {
            "model_max_length" => "context_length",
            "num_experts" => "expert_count",
            "num_experts_per_token" => "expert_used_count",
            "num_shared_experts" => "expert_shared_count",
            "moe_intermediate_size" => "expert_feed_forward_length",
            "first_k_dense_replace" => "leading_dense_block_count",
            "mlp_layer_types" => "feed_forward_kinds",
            "moe_layer_freq" => "expert_every_nth_layer",
            "moe_renormalize" => "expert_weights_norm",
            "moe_router_activation_func" => "expert_gating_func",
            "routed_scaling_factor" => "expert_weights_scale",
            "num_expert_group" => "expert_group_count",
            "topk_group" => "expert_group_used_count",
            "num_nextn_predict_layers" => "nextn_predict_layers",
            "linear_num_heads" => "kda.head_count",
            "linear_head_dim" => "kda.head_dim",
            "linear_conv_kernel_dim" => "ssm.conv_kernel",
            "linear_attn_config.num_heads" => "kda.head_count",
            "linear_attn_config.head_dim" => "kda.head_dim",
            "linear_attn_config.short_conv_kernel_size" => "ssm.conv_kernel",
        },
    ],
    settled: &[
        // What follows from other keys, and kinds of layers, which tensors tell.
        ("head_dim", Only::Any),
        ("layer_types", Only::Any),
        ("linear_attn_config.full_attn_layers", Only::Any),
        ("linear_attn_config.kda_layers", Only::Any),
        ("qk_head_dim", Only::Any),
        ("use_grouped_topk", Only::Any),
        // Nothing rotates.
        ("mla_use_nope", Only::Is(true)),
        ("rope_parameters", Only::Any),
        ("rope_scaling", Only::Any),
        ("rope_theta", Only::Any),
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        deepseek2::LATENTS,
        tables::ATTENTION,
        tables::GATED_MLP,
        names! {
            in "model.layers.{i}.self_attn." => "blk.{i}." {
                "q_conv1d.weight" => "ssm_conv1d_q.weight",
                "k_conv1d.weight" => "ssm_conv1d_k.weight",
                "v_conv1d.weight" => "ssm_conv1d_v.weight",
                "f_a_proj.weight" => "ssm_f_a.weight",
                "f_b_proj.weight" => "ssm_f_b.weight",
                "dt_bias" => "ssm_dt.bias",
                "A_log" => "ssm_a" as NegativeExp,
                "b_proj.weight" => "ssm_beta.weight",
                "g_a_proj.weight" => "ssm_g_a.weight",
                "g_b_proj.weight" => "ssm_g_b.weight",
                "o_norm.weight" => "ssm_norm.weight",
            }
            in "model.layers.{i}.block_sparse_moe." => "blk.{i}." {
                "gate.weight" => "ffn_gate_inp.weight",
                "gate.e_score_correction_bias" => "exp_probs_b.bias",
                "experts.{e}.w1.weight" => "ffn_gate_exps.weight",
                "experts.{e}.w3.weight" => "ffn_up_exps.weight",
                "experts.{e}.w2.weight" => "ffn_down_exps.weight",
                "shared_experts.gate_proj.weight" => "ffn_gate_shexp.weight",
                "shared_experts.up_proj.weight" => "ffn_up_shexp.weight",
                "shared_experts.down_proj.weight" => "ffn_down_shexp.weight",
                // Where transformers puts layers without experts as well.
                "gate_proj.weight" => "ffn_gate.weight",
                "up_proj.weight" => "ffn_up.weight",
                "down_proj.weight" => "ffn_down.weight",
            }
        },
    ],
    conversion: Conversion {
        architecture: None,
        keys: gguf_keys,
        complete: |keys, tensors| {
            let listed = keys.values.value("attention.head_count_kv").cloned();
            (deepseek2::CONVERSION.complete)(keys, tensors);
            if let Some(listed) = listed {
                keys.put("attention.head_count_kv", listed);
            }
        },
        ..deepseek2::CONVERSION
    },
    build,
    ..DECODER
};

/// Keeps keys of zeros from becoming infinitely long.
const NORM_EPSILON: f32 = 1e-6;

/// x ← x + (DeltaAttention or LatentAttention)(RMS(x)); x ← x + (FFN, or experts + FFN)(RMS(x)). Which
/// of the two mixes a layer has its tensors say.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    if activation(config, "hidden_act", "silu")? != Pointwise::Silu {
        return Err(config.invalid("hidden_act", "silu"));
    }
    let decoder = PreNormDecoder {
        layers: nextn_layers(model)?,
        ..PreNormDecoder::read(config, 1e-5)?
    };
    let latent = LatentAttention::read(model, None)?;
    let delta = DeltaAttention::read(config, decoder.eps)?;
    let plain = deepseek2::plain_layers(config, decoder.layers)?.unwrap_or(1);
    let feed_forward = SparseFeedForward::read(config, decoder.layers, (&Gating::SIGMOID, plain))?;
    decoder.wire(
        model,
        &|net, h, layer, _| {
            // Several are looked for, so that a file without one of them is told which.
            let of_latents = ["attn_kv_a_mqa", "attn_kv_a_norm", "attn_kv_b", "attn_k_b"];
            let mut names = of_latents.iter();
            match names.any(|name| model.has(&format!("{layer}.{name}.weight"))) {
                true => latent.wire(net, h, layer),
                false => delta.wire(net, h, layer),
            }
        },
        &|net, h, layer, i| feed_forward.wire(net, h, layer, i),
    )
}

/// Kimi Delta Attention (section 3).
struct DeltaAttention {
    heads: usize,
    dim: usize,
    taps: usize,
    eps: f32,
}

impl DeltaAttention {
    fn read(config: &Config<'_>, eps: f32) -> Result<DeltaAttention, BuildError> {
        Ok(DeltaAttention {
            heads: match config.optional_count("kda.head_count")? {
                Some(heads) => heads,
                None => config.count("attention.head_count")?,
            },
            dim: config.count("kda.head_dim")?,
            taps: config.count("ssm.conv_kernel")?,
            eps,
        })
    }

    /// S ← Diag(α) S; S ← S + k ⊗ β (v − k·S), read by q, normalised and gated; q, k and v have been
    /// through a short convolution.
    fn wire(&self, net: &Net<'_, '_>, h: Value, layer: &str) -> Result<Value, BuildError> {
        let (model, width) = (net.builder, net.width(h));
        let inner = self.heads.saturating_mul(self.dim);
        let name = |part: &str| format!("{layer}.{part}");
        let conv = |part: &str| {
            let taps = format!("{layer}.ssm_conv1d_{part}.weight");
            let taps = model.turned(&taps, inner, self.taps)?;
            let x = net.linear(h, &format!("{layer}.attn_{part}"), inner)?;
            Ok::<Value, BuildError>(net.conv_of(x, taps, None, Some(Pointwise::Silu)))
        };
        let q = net.l2_norm(conv("q")?, self.dim, NORM_EPSILON);
        let q = net.scale(q, 1.0 / (self.dim as f32).sqrt());
        let k = net.l2_norm(conv("k")?, self.dim, NORM_EPSILON);
        let v = conv("v")?;

        // α = exp(−e^A softplus(f)), an A for each head and an f for each channel.
        let f = model.matrix(&name("ssm_f_b.weight"), inner, self.dim)?;
        let bias = model.vector(&name("ssm_dt.bias"), &[inner])?;
        let f = net.matmul(net.linear(h, &name("ssm_f_a"), self.dim)?, f, Some(bias));
        let a = model.vector_repeated(&name("ssm_a"), self.heads, self.dim)?;
        let alpha = net.weigh(net.apply(f, Pointwise::Softplus), a);
        let alpha = net.apply(alpha, Pointwise::Exp);
        let beta = net.linear(h, &name("ssm_beta"), self.heads)?;
        let beta = net.apply(beta, Pointwise::Sigmoid);

        // What a key reads has decayed by then: k·(Diag(α) S) = (α ⊙ k)·S.
        let delta = DeltaRule::Pair {
            read: net.mul(k, alpha),
            write: net.scale(net.scale_heads(k, beta), -1.0),
        };
        let attention = LinearAttention {
            decay: Decay::Keys(alpha),
            delta,
            ..LinearAttention::plain(self.heads, self.dim, self.dim)
        };
        let y = net.linear_attention([q, k, net.scale_heads(v, beta)], attention);
        let y = net.rms_norm_by(y, &name("ssm_norm"), self.dim, self.eps)?;
        let gate = net.linear(h, &name("ssm_g_a"), self.dim)?;
        let gate = net.linear(gate, &name("ssm_g_b"), inner)?;
        let y = net.mul(y, net.apply(gate, Pointwise::Sigmoid));
        net.linear(y, &name("attn_output"), width)
    }
}

/// In GGUF, which layers attend is said by their heads of keys; the delta rule has as many heads as
/// attention.
fn gguf_keys(keys: &mut GgufKeys<'_>) {
    (deepseek2::CONVERSION.keys)(keys);
    let config = keys.config;
    let listed = config.array("linear_attn_config.full_attn_layers");
    let attends = |layer: u64| match (config.array("layer_types"), listed) {
        (Some(Array::String(kinds)), _) => kinds.get(layer as usize) == Some(b"full_attention"),
        // Counted from one.
        (_, Some(list)) => (0..list.len()).any(|index| list.u64(index) == Some(layer + 1)),
        _ => layer > 0 && layer.is_multiple_of(4),
    };
    keys.put_attending_layers(1, attends);
    if keys.count("kda.head_count") == keys.count("attention.head_count") {
        keys.remove(&["kda.head_count"]);
    }
    keys.put_usual("leading_dense_block_count", MetadataValue::U32(1));
}
