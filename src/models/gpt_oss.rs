//! gpt-oss (OpenAI 2025): windows in every other layer, a score per head that every query sees beside
//! its keys, and experts with biases, whose gates are clamped.

use super::known_shape::{TINY, shapes};
use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Outline, Written, WrittenRows};
use crate::graph::blocks::{Heads, WindowPattern, Windows, activation, attend, projections};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::experts::{Gating, Router};
use crate::graph::{
    Attention, BuildError, Builder, Config, Mask, Net, Pairing, Pointwise, PositionScheme, Rope,
    Value,
};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "gpt-oss",
    gguf: &["gpt-oss"],
    hugging_face: &["gpt_oss"],
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::WINDOWS,
        keys! {
            "num_local_experts" => "expert_count",
            "num_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "experts_per_token" => "expert_used_count",
            "swiglu_alpha" => "swiglu_alpha",
            "swiglu_limit" => "swiglu_limit",
        },
    ],
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.weight" => "attn_norm.weight",
                "post_attention_layernorm.weight" => "post_attention_norm.weight",
                "self_attn.sinks" => "attn_sinks.weight",
                "mlp.router.*" => "ffn_gate_inp.*",
                // Gates and what they let through by turns.
                "mlp.experts.gate_up_proj" => "ffn_gate_up_exps.weight" as Transposed,
                "mlp.experts.gate_up_proj_bias" => "ffn_gate_up_exps.bias",
                "mlp.experts.down_proj" => "ffn_down_exps.weight" as Transposed,
                "mlp.experts.down_proj_bias" => "ffn_down_exps.bias",
            }
        },
    ],
    conversion: Conversion {
        keys: |keys| {
            if let Some(hidden) = keys.values.value("feed_forward_length").cloned() {
                keys.put("expert_feed_forward_length", hidden);
            }
        },
        tensor: by_turns_apart,
        ..Conversion::PLAIN
    },
    shapes: shapes! {
        "gpt-oss-like", "four of gpt-oss 20B's layers", [201_088, 2880, 4, 131_072] => untied
            outline([64, 8, 64], [32, 4]);
        "tiny-gpt-oss", "sinks, windows and clamped experts to try things out with", TINY => untied
            outline([4, 2, 64], [8, 2]);
    },
    build,
    ..DECODER
};

/// x ← x + Attention(RMS(x)); x ← x + experts(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder {
        second_norm: "post_attention_norm",
        ..PreNormDecoder::read(config, 1e-5)?
    };
    let heads = Heads::read_wide(config, decoder.width, Some(64))?;
    Rope::expect_scaling(config)?;
    let rope = Rope::read_continuous(model, Pairing::Halves, heads.head_dim, 150_000.0)?;
    let windows = WindowPattern::AllButEvery(2);
    let windows = Windows::read(config, decoder.layers, Some(128), windows)?;
    let experts = ClampedExperts::read(config)?;
    decoder.wire(
        model,
        &|net, h, layer, i| {
            let sinks = net
                .builder
                .vector(&format!("{layer}.attn_sinks.weight"), &[heads.heads])?;
            let attention = Attention {
                mask: Mask::Causal {
                    window: windows.of(i),
                },
                sinks: Some(sinks),
                ..heads.causal(PositionScheme::Rope(rope.clone()))
            };
            let qkv = projections(net, h, layer, heads)?;
            attend(net, qkv, layer, decoder.width, attention)
        },
        &|net, h, layer, _| experts.wire(net, h, layer),
    )
}

/// down((up x + 1) · g · σ(α g)) of the chosen experts, where g = gate x, at most `limit`, and
/// up x is within it.
struct ClampedExperts {
    router: Router,
    hidden: usize,
    alpha: f32,
    limit: f32,
}

impl ClampedExperts {
    fn read(config: &Config<'_>) -> Result<ClampedExperts, BuildError> {
        if activation(config, "hidden_act", "silu")? != Pointwise::Silu {
            return Err(config.invalid("hidden_act", "silu"));
        }
        let hidden = match config.container {
            Container::Gguf => "expert_feed_forward_length",
            Container::HuggingFace => "feed_forward_length",
        };
        Ok(ClampedExperts {
            router: Router::read(config, &Gating::CHOSEN_SOFTMAX)?,
            hidden: config.count(hidden)?,
            alpha: config.float("swiglu_alpha", 1.702)?,
            limit: config.positive("swiglu_limit", 7.0)?,
        })
    }

    fn wire(&self, net: &Net<'_, '_>, x: Value, layer: &str) -> Result<Value, BuildError> {
        let (model, width, count) = (net.builder, net.width(x), self.router.experts);
        let route = self.router.route(net, x, layer)?;
        let stack = |part: &str, rows, columns| {
            let name = format!("{layer}.ffn_{part}_exps");
            let weight = model.experts(&format!("{name}.weight"), count, rows, columns)?;
            let bias = model.vector(&format!("{name}.bias"), &[count, rows])?;
            Ok::<_, BuildError>((weight, Some(bias)))
        };
        let both = format!("{layer}.ffn_gate_up_exps");
        let turn = |offset| model.experts_by_turns(&both, count, (self.hidden, width), offset);
        let (gate, up) = if model.has(&format!("{both}.weight")) {
            (turn(0)?, turn(1)?)
        } else {
            (
                stack("gate", self.hidden, width)?,
                stack("up", self.hidden, width)?,
            )
        };
        let gate = net.within(
            net.expert_matmul(x, route, gate),
            f32::NEG_INFINITY,
            self.limit,
        );
        let up = net.clamp(net.expert_matmul(x, route, up), Some(self.limit));
        let open = net.apply(net.scale(gate, self.alpha), Pointwise::Sigmoid);
        let swish = net.mul(gate, open);
        let inner = net.add(net.mul(up, swish), swish);
        let down = net.expert_matmul(inner, route, stack("down", width, self.hidden)?);
        Ok(net.expert_sum(down, route))
    }
}

/// Gates and what they let through, which stand by turns, go into tensors of their own.
fn by_turns_apart(_: &mut GgufKeys<'_>, tensor: Written) -> Result<Vec<Written>, String> {
    if tensor.part() != "ffn_gate_up_exps" {
        return Ok(vec![tensor]);
    }
    let place = match tensor.name.ends_with(".bias") {
        true => tensor.shape.len().saturating_sub(1),
        false => tensor.shape.len().saturating_sub(2),
    };
    let mut shape = tensor.shape.clone();
    match shape.get_mut(place) {
        Some(rows) if rows.is_multiple_of(2) => *rows /= 2,
        _ => {
            let Written { name, shape, .. } = tensor;
            return Err(format!(
                "tensor {name} of shape {shape:?} has no two halves"
            ));
        }
    }
    let turn = |part: &str, second| Written {
        name: tensor.name.replace("ffn_gate_up_exps", part),
        shape: shape.clone(),
        rows: WrittenRows::Turns { second },
        factors: Vec::new(),
    };
    Ok(vec![
        turn("ffn_gate_exps", false),
        turn("ffn_up_exps", true),
    ])
}

/// Keys and layers of a decoder of known shape.
fn outline(model: &mut Outline, [heads, kv_heads, dim]: [u64; 3], [experts, used]: [u64; 2]) {
    let width = model.shape.width;
    model.counts(&[
        ("feed_forward_length", width),
        ("expert_feed_forward_length", width),
        ("expert_count", experts),
        ("expert_used_count", used),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", dim),
        ("attention.value_length", dim),
        ("attention.sliding_window", 128),
        ("rope.scaling.original_context_length", 4096),
    ]);
    model.put("rope.scaling.type", MetadataValue::String("yarn".into()));
    model.put("rope.scaling.factor", MetadataValue::F32(32.0));
    model.put("rope.freq_base", MetadataValue::F32(150_000.0));
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        model.norm(&name("attn_norm"), width);
        model.norm(&name("post_attention_norm"), width);
        model.normal(&name("attn_sinks"), &[heads], 0.0, 1.0);
        for (part, rows, columns) in [
            ("attn_q", heads * dim, width),
            ("attn_k", kv_heads * dim, width),
            ("attn_v", kv_heads * dim, width),
            ("attn_output", width, heads * dim),
            ("ffn_gate_inp", experts, width),
        ] {
            model.matrix(&name(part), &[rows, columns]);
            let bias = format!("blk.{layer}.{part}.bias");
            model.normal(&bias, &[rows], 0.0, 0.02);
        }
        for part in ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"] {
            model.matrix(&name(part), &[experts, width, width]);
            let bias = format!("blk.{layer}.{part}.bias");
            model.normal(&bias, &[experts, width], 0.0, 0.02);
        }
    }
}
