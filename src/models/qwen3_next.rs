//! Qwen3-Next: three layers of gated delta rule (Yang et al. 2025, "Gated Delta Networks") to
//! one of gated attention, each followed by routed experts beside one that all rows share.

use super::tables::{ATTENTION, BIASES, ENDS, EXPERTS, PARTIAL_ROPE, ROPE, SIZES, keys, names};
use super::{Architecture, Conversion, DECODER, Family, qwen_moe};
use crate::graph::blocks::{Heads, activation, embedding, head};
use crate::graph::decoder::{answer, nextn_layers};
use crate::graph::experts::Gating;
use crate::graph::{
    Attention, BuildError, Builder, Config, Decay, DeltaRule, Keys, KvCache, LinearAttention,
    Matrix, Name, Net, Pairing, Pointwise, PositionScheme, Role, Rope, RowOrder, Value,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Qwen3-Next",
    gguf: &["qwen3next"],
    hugging_face: &["qwen3_next"],
    off: BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        SIZES,
        ROPE,
        PARTIAL_ROPE,
        qwen_moe::EXPERTS,
        keys! {
            "layer_types" => "attention.recurrent_layers",
            "full_attention_interval" => "full_attention_interval",
            "linear_conv_kernel_dim" => "ssm.conv_kernel",
            "linear_key_head_dim" => "ssm.state_size",
            "linear_value_head_dim" => "ssm.value_head_size",
            "linear_num_key_heads" => "ssm.group_count",
            "linear_num_value_heads" => "ssm.time_step_rank",
        },
    ],
    names: &[
        NAMES,
        ENDS,
        ATTENTION,
        EXPERTS,
        qwen_moe::SHARED_EXPERT,
        super::tables::GATED_MLP,
    ],
    conversion: Conversion {
        complete: |keys, _| {
            let inner = (keys.count("ssm.time_step_rank"))
                .zip(keys.count("ssm.value_head_size"))
                .map(|(heads, dim)| (heads * dim) as u32);
            if let Some(inner) = inner {
                keys.put("ssm.inner_size", MetadataValue::U32(inner));
            }
        },
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

const NAMES: &[Name] = names! {
    "model.norm.weight" => "output_norm.weight" as PlusOne,
    in "model.layers.{i}." => "blk.{i}." {
        "input_layernorm.weight" => "attn_norm.weight" as PlusOne,
        "post_attention_layernorm.weight" => "post_attention_norm.weight" as PlusOne,
        "self_attn.q_norm.weight" => "attn_q_norm.weight" as PlusOne,
        "self_attn.k_norm.weight" => "attn_k_norm.weight" as PlusOne,
        "linear_attn.in_proj_qkvz.weight" => "ssm_in.weight",
        "linear_attn.in_proj_ba.weight" => "ssm_ba.weight",
        "linear_attn.conv1d.weight" => "ssm_conv1d.weight",
        "linear_attn.dt_bias" => "ssm_dt.bias",
        "linear_attn.A_log" => "ssm_a" as NegativeExp,
        "linear_attn.norm.weight" => "ssm_norm.weight",
        "linear_attn.out_proj.weight" => "ssm_out.weight",
    }
};

/// Keeps keys of zeros from becoming infinitely long.
const NORM_EPSILON: f32 = 1e-6;

/// x ← x + mixer(RMS(x)); x ← x + experts(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let layers = nextn_layers(model)?;
    let heads = Heads::read_wide(config, width, Some(256))?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?;
    let function = activation(config, "hidden_act", "silu")?;
    if function != Pointwise::Silu {
        return Err(config.invalid("hidden_act", "silu"));
    }
    if let Some(context) = config.optional_count("context_length")? {
        model.context(context);
    }
    let rope = Rope::read_part(model, Pairing::Halves, heads.head_dim, 0.25)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    let delta = Delta::read(config, eps)?;
    let recurrent = recurrent_layers(config, layers)?;
    let feed_forward =
        qwen_moe::feed_forward(config, (layers, function), &Gating::CHOSEN_SOFTMAX, true)?;

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for (i, recurrent) in recurrent.into_iter().enumerate() {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let y = match recurrent {
            true => delta.mix(&net, h, &layer)?,
            false => attend(&net, h, &layer, (heads, eps), attention.clone())?,
        };
        x = net.add(x, y);
        let h = net.rms_norm(x, &format!("{layer}.post_attention_norm"), eps)?;
        x = net.add(x, feed_forward.wire(&net, h, &layer, i)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// Layers with linear attention in place of a KV cache: listed, or all but every so many.
pub(super) fn recurrent_layers(
    config: &Config<'_>,
    layers: usize,
) -> Result<Vec<bool>, BuildError> {
    let key = "attention.recurrent_layers";
    let Some(found) = config.value(key) else {
        let every = config
            .optional_count("full_attention_interval")?
            .unwrap_or(4);
        return Ok((1..=layers).map(|i| !i.is_multiple_of(every)).collect());
    };
    // Those that guess are listed as well.
    let all = config.count("block_count")?;
    let kind = |list: &Array, index: usize| match list {
        Array::Bool(recurrent) => recurrent.get(index).copied(),
        Array::String(kinds) => match kinds.get(index)? {
            b"linear_attention" => Some(true),
            b"full_attention" => Some(false),
            _ => None,
        },
        _ => list.u64(index).map(|recurrent| recurrent != 0),
    };
    let listed: Option<Vec<bool>> = match found {
        MetadataValue::Array(list) if list.len() == all => {
            (0..layers).map(|i| kind(list, i)).collect()
        }
        _ => None,
    };
    listed.ok_or_else(|| config.invalid(key, &format!("a kind for each of {all} layers")))
}

/// o(softmax(q kᵀ) v ⊙ σ(gate)), where each head's queries lie before its gates.
pub(super) fn attend(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    (heads, eps): (Heads, f32),
    attention: Attention,
) -> Result<Value, BuildError> {
    let (model, width, dim) = (net.builder, net.width(h), heads.head_dim);
    let rows = heads.heads.saturating_mul(dim);
    let part = |offset| {
        let (name, stored) = (format!("{layer}.attn_q"), rows.saturating_mul(2));
        let order = RowOrder::Blocks {
            block: dim,
            stride: 2 * dim,
            offset,
        };
        let weight = format!("{name}.weight");
        let weight = model.matrix_rows(&weight, (stored, width), rows, order)?;
        let bias = model.optional_vector_rows(&format!("{name}.bias"), stored, rows, order)?;
        Ok::<Value, BuildError>(net.matmul(h, weight, bias))
    };
    let (q, gate) = (part(0)?, part(dim)?);
    let k = net.linear(h, &format!("{layer}.attn_k"), heads.kv_heads * dim)?;
    let v = net.linear(h, &format!("{layer}.attn_v"), heads.kv_heads * dim)?;
    let q = net.rms_norm_by(q, &format!("{layer}.attn_q_norm"), dim, eps)?;
    let k = net.rms_norm_by(k, &format!("{layer}.attn_k_norm"), dim, eps)?;
    let keys = Keys::Cache(model.state(KvCache::new(heads.kv_heads, dim)));
    let y = net.attention(q, Some((k, v)), Attention { keys, ..attention });
    let y = net.mul(y, net.apply(gate, Pointwise::Sigmoid));
    net.linear(y, &format!("{layer}.attn_output"), width)
}

/// A layer of gated delta rule: its sizes, and how its projections are stored.
pub(super) struct Delta {
    key_heads: usize,
    heads: usize,
    key_dim: usize,
    value_dim: usize,
    taps: usize,
    eps: f32,
    /// Whether β, and what step sizes are made of, are matrices of their own, and z always is.
    pub apart: bool,
    /// Whether heads of values take those of keys by turns.
    pub in_turn: bool,
}

impl Delta {
    pub(super) fn read(config: &Config<'_>, eps: f32) -> Result<Delta, BuildError> {
        let key_heads = config.count("ssm.group_count")?;
        let heads = config.count("ssm.time_step_rank")?;
        let key_dim = config.count("ssm.state_size")?;
        let value_dim = match config.optional_count("ssm.value_head_size")? {
            Some(dim) => dim,
            None => config.count("ssm.inner_size")? / heads,
        };
        if !heads.is_multiple_of(key_heads) || value_dim == 0 {
            let expected = format!("a multiple of {key_heads} heads of keys");
            return Err(config.invalid("ssm.time_step_rank", &expected));
        }
        Ok(Delta {
            key_heads,
            heads,
            key_dim,
            value_dim,
            taps: config.count("ssm.conv_kernel")?,
            eps,
            apart: false,
            in_turn: false,
        })
    }

    /// S ← α S + k ⊗ β (v − k·(α S)), read by q, normalised and gated; q, k and v have been
    /// through a short convolution.
    pub(super) fn mix(
        &self,
        net: &Net<'_, '_>,
        h: Value,
        layer: &str,
    ) -> Result<Value, BuildError> {
        let (model, width) = (net.builder, net.width(h));
        let keys = self.key_heads.saturating_mul(self.key_dim);
        let values = self.heads.saturating_mul(self.value_dim);
        let [q, k, v, z] = self.projections(model, layer, width, (keys, values))?;
        let channels = keys.saturating_mul(2).saturating_add(values);
        let conv = |weight: Matrix, offset: usize| {
            let name = format!("{layer}.ssm_conv1d.weight");
            let sizes = (channels, self.taps);
            let taps = model.turned_part(&name, sizes, (offset, weight.rows))?;
            let x = net.matmul(h, weight, None);
            Ok::<Value, BuildError>(net.conv_of(x, taps, None, Some(Pointwise::Silu)))
        };
        let (q, k, v) = (conv(q, 0)?, conv(k, keys)?, conv(v, 2 * keys)?);
        let q = net.l2_norm(q, self.key_dim, NORM_EPSILON);
        let q = net.scale(q, 1.0 / (self.key_dim as f32).sqrt());
        let k = net.l2_norm(k, self.key_dim, NORM_EPSILON);

        // For each head of values β, and what the step size is made of.
        let [beta, step] = self.rates(model, layer, width)?;
        let beta = net.apply(net.matmul(h, beta, None), Pointwise::Sigmoid);
        let bias = model.vector(&format!("{layer}.ssm_dt.bias"), &[self.heads])?;
        let step = net.apply(net.matmul(h, step, Some(bias)), Pointwise::Softplus);
        let a = model.vector(&format!("{layer}.ssm_a"), &[self.heads])?;
        let alpha = net.apply(net.weigh(step, a), Pointwise::Exp);

        let attention = LinearAttention {
            decay: Decay::Heads(alpha),
            delta: DeltaRule::Delta(beta),
            in_turn: self.in_turn,
            ..LinearAttention::plain(self.heads, self.key_dim, self.value_dim)
        };
        let y = net.linear_attention([q, k, v], attention);
        let y = net.rms_norm_by(y, &format!("{layer}.ssm_norm"), self.value_dim, self.eps)?;
        let z = net.apply(net.matmul(h, z, None), Pointwise::Silu);
        net.linear(net.mul(y, z), &format!("{layer}.ssm_out"), width)
    }

    /// Of β and of step sizes: fused for each head of keys, or apart.
    fn rates(
        &self,
        model: &Builder<'_>,
        layer: &str,
        width: usize,
    ) -> Result<[Matrix; 2], BuildError> {
        if self.apart {
            let rate =
                |name: &str| model.matrix(&format!("{layer}.{name}.weight"), self.heads, width);
            return Ok([rate("ssm_beta")?, rate("ssm_alpha")?]);
        }
        let shared = self.heads / self.key_heads;
        let part = |offset| {
            let order = RowOrder::Blocks {
                block: shared,
                stride: 2 * shared,
                offset,
            };
            let name = format!("{layer}.ssm_ba.weight");
            let stored = (self.heads.saturating_mul(2), width);
            model.matrix_rows(&name, stored, self.heads, order)
        };
        Ok([part(0)?, part(shared)?])
    }

    /// q, k, v and z: fused for each head of keys, or, as newer converters to GGUF write them,
    /// one after another and z apart.
    fn projections(
        &self,
        model: &Builder<'_>,
        layer: &str,
        width: usize,
        (keys, values): (usize, usize),
    ) -> Result<[Matrix; 4], BuildError> {
        let (k, v) = (self.key_dim, self.heads / self.key_heads * self.value_dim);
        let stored = keys.saturating_add(values).saturating_mul(2);
        let part = |name: &str, stored, rows, (block, stride, offset)| {
            let order = RowOrder::Blocks {
                block,
                stride,
                offset,
            };
            model.matrix_rows(
                &format!("{layer}.{name}.weight"),
                (stored, width),
                rows,
                order,
            )
        };
        let gguf = model.config().container == Container::Gguf;
        if self.apart || gguf && model.has(&format!("{layer}.attn_qkv.weight")) {
            let stored = stored - values;
            let part = |rows, offset| part("attn_qkv", stored, rows, (rows, rows, offset));
            let z = model.matrix(&format!("{layer}.attn_gate.weight"), values, width)?;
            return Ok([
                part(keys, 0)?,
                part(keys, keys)?,
                part(values, 2 * keys)?,
                z,
            ]);
        }
        let stride = 2 * (k + v);
        let part = |rows, block, offset| part("ssm_in", stored, rows, (block, stride, offset));
        Ok([
            part(keys, k, 0)?,
            part(keys, k, k)?,
            part(values, v, 2 * k)?,
            part(values, v, 2 * k + v)?,
        ])
    }
}
