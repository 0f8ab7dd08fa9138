//! MiniMax-01 (MiniMax 2025): lightning attention, whose state decays by a number that each head has,
//! and a few layers of softmax attention, each followed by routed experts. What each adds to is the
//! normed row, both by factors.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only, qwen3_next};
use crate::graph::blocks::{Heads, activation, attend, embedding, head, projections};
use crate::graph::decoder::answer;
use crate::graph::experts::{Gating, Router, gated_experts};
use crate::graph::{
    BuildError, Builder, Config, DECAY_ROWS, Decay, LinearAttention, Net, Pairing, Pointwise,
    PositionScheme, Role, Rope, RowOrder, Value,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "MiniMax-01",
    gguf: &["minimax"],
    hugging_face: &["minimax", "minimax_text_01"],
    // Trained further it is called MiniMax-M1.
    recognises: |config| config.str("model_type") == Some("minimax_m1"),
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::PARTIAL_ROPE,
        keys! {
            "rotary_dim" => "rope.dimension_count",
            "layer_types" => "attention.recurrent_layers",
            "attn_type_list" => "attention.softmax_layers",
            "num_local_experts" => "expert_count",
            "num_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "full_attn_alpha_factor" => "attention.full_alpha",
            "full_attn_beta_factor" => "attention.full_beta",
            "linear_attn_alpha_factor" => "attention.linear_alpha",
            "linear_attn_beta_factor" => "attention.linear_beta",
            "mlp_alpha_factor" => "feed_forward_alpha",
            "mlp_beta_factor" => "feed_forward_beta",
            "layernorm_full_attention_alpha" => "attention.full_alpha",
            "layernorm_full_attention_beta" => "attention.full_beta",
            "layernorm_linear_attention_alpha" => "attention.linear_alpha",
            "layernorm_linear_attention_beta" => "attention.linear_beta",
            "layernorm_mlp_alpha" => "feed_forward_alpha",
            "layernorm_mlp_beta" => "feed_forward_beta",
        },
    ],
    settled: &[
        // How many rows are taken at once.
        ("block_size", Only::Any),
        ("sliding_window", Only::Nothing),
        // What each adds to is the normed row.
        ("postnorm", Only::Is(true)),
        // An expert that all share, of which there is none.
        ("shared_intermediate_size", Only::Number(0.0)),
        ("shared_moe_mode", Only::Any),
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "self_attn.qkv_proj.weight" => "attn_qkv.weight",
                "self_attn.output_gate.weight" => "attn_gate.weight",
                "self_attn.norm.weight" => "attn_sub_norm.weight",
                "self_attn.out_proj.weight" => "attn_output.weight",
                "block_sparse_moe.gate.weight" => "ffn_gate_inp.weight",
                "block_sparse_moe.experts.{e}.w1.weight" => "ffn_gate_exps.weight",
                "block_sparse_moe.experts.{e}.w3.weight" => "ffn_up_exps.weight",
                "block_sparse_moe.experts.{e}.w2.weight" => "ffn_down_exps.weight",
            }
        },
    ],
    // What follows from the numbers of heads and layers.
    unused_in_checkpoints: &[
        "model.layers.{i}.self_attn.slope_rate",
        "model.layers.{i}.self_attn.query_decay",
        "model.layers.{i}.self_attn.key_decay",
        "model.layers.{i}.self_attn.diagonal_decay",
    ],
    conversion: Conversion {
        keys: |keys| {
            keys.put_usual("rope.freq_base", MetadataValue::F32(BASE));
            let layers = keys.count("block_count").unwrap_or(0).min(1 << 16);
            let softmax = keys.values.array(SOFTMAX_LAYERS);
            let recurrent = (0..layers as usize).map(|layer| match softmax {
                Some(list) => list.u64(layer) == Some(0),
                None => usual_kind(layer),
            });
            let recurrent = MetadataValue::Array(Array::Bool(recurrent.collect()));
            keys.put_usual("attention.recurrent_layers", recurrent);
            keys.remove(&[SOFTMAX_LAYERS]);
        },
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

const BASE: f32 = 1e6;

/// The epsilon of lightning attention's norm, which no file says.
const LIGHTNING_EPSILON: f32 = 1e-6;

/// A number for each layer, as the authors list them: one of softmax attention, or none.
const SOFTMAX_LAYERS: &str = "attention.softmax_layers";

/// Which layers are of lightning attention.
fn lightning_layers(config: &Config<'_>, layers: usize) -> Result<Vec<bool>, BuildError> {
    let Some(listed) = config.value(SOFTMAX_LAYERS) else {
        return match config.value("attention.recurrent_layers") {
            Some(_) => qwen3_next::recurrent_layers(config, layers),
            None => Ok((0..layers).map(usual_kind).collect()),
        };
    };
    let kind = |layer| match listed {
        MetadataValue::Array(list) if list.len() == layers => match list.u64(layer)? {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        },
        _ => None,
    };
    let kinds: Option<Vec<bool>> = (0..layers).map(kind).collect();
    let expected = format!("0 or 1 for each of {layers} layers");
    let kinds = kinds.ok_or_else(|| config.invalid(SOFTMAX_LAYERS, &expected))?;
    // transformers' class reads the one, the authors' code the other.
    if config.value("attention.recurrent_layers").is_some()
        && qwen3_next::recurrent_layers(config, layers)? != kinds
    {
        return Err(config.invalid(
            SOFTMAX_LAYERS,
            "the same layers as layer_types has, or none",
        ));
    }
    Ok(kinds)
}

/// Whether a layer is one of lightning attention where nobody says it.
fn usual_kind(layer: usize) -> bool {
    layer % 2 == 1
}

/// x ← RMS(x); x ← α x + β (lightning attention or Attention)(x); x ← RMS(x); x ← α x + β experts(x).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    let rope = Rope::read_from(model, Pairing::Halves, heads.head_dim, BASE)?;
    // transformers' class turns whole heads, whatever a file says; the authors' code a part of them.
    let authors = config.container == Container::Gguf || config.value(SOFTMAX_LAYERS).is_some();
    let turned = config.optional_count("rope.dimension_count")?;
    if !authors && turned.is_some_and(|turned| turned != heads.head_dim) {
        return Err(config.invalid("rope.dimension_count", "a head's width, or attn_type_list"));
    }
    if !authors && config.float("rope.partial_factor", 1.0)? != 1.0 {
        return Err(config.invalid("rope.partial_factor", "1, or attn_type_list"));
    }
    let causal = heads.causal(PositionScheme::Rope(rope));
    let router = Router::read(config, &Gating::CHOSEN_SOFTMAX)?;
    let [linear, full, fed] = ["attention.linear", "attention.full", "feed_forward"].map(|part| {
        let factor = |name: &str| config.float(&format!("{part}_{name}"), 1.0);
        Ok::<[f32; 2], BuildError>([factor("alpha")?, factor("beta")?])
    });
    let (linear, full, fed) = (linear?, full?, fed?);
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    let add = |x, y, [alpha, beta]: [f32; 2]| net.add(net.scale(x, alpha), net.scale(y, beta));
    for (i, lightning) in lightning_layers(config, layers)?.into_iter().enumerate() {
        let layer = format!("blk.{i}");
        x = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        x = match lightning {
            true => {
                let lightning = Lightning {
                    heads: heads.heads,
                    dim: heads.head_dim,
                    decay: decay(model, heads.heads, (i, layers)),
                    function,
                };
                add(x, lightning.wire(&net, x, &layer)?, linear)
            }
            false => {
                let qkv = projections(&net, x, &layer, heads)?;
                add(x, attend(&net, qkv, &layer, width, causal.clone())?, full)
            }
        };
        x = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        let y = gated_experts(&net, x, &layer, (hidden, function), &router)?;
        x = add(x, y, fed);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// Lightning attention (Qin et al. 2024).
struct Lightning {
    heads: usize,
    dim: usize,
    decay: Decay,
    function: Pointwise,
}

impl Lightning {
    /// S ← γ S + k ⊗ v, read by q, normalised over all heads together and gated; q, k and v, which
    /// stand side by side head by head, pass through a function.
    fn wire(self, net: &Net<'_, '_>, x: Value, layer: &str) -> Result<Value, BuildError> {
        let (width, inner) = (net.width(x), self.heads.saturating_mul(self.dim));
        let part = |place: usize| {
            let order = RowOrder::Blocks {
                block: self.dim,
                stride: 3 * self.dim,
                offset: place * self.dim,
            };
            let name = format!("{layer}.attn_qkv.weight");
            let stored = (inner.saturating_mul(3), width);
            let weight = net.builder.matrix_rows(&name, stored, inner, order)?;
            Ok::<Value, BuildError>(net.apply(net.matmul(x, weight, None), self.function))
        };
        let attention = LinearAttention {
            decay: self.decay.clone(),
            ..LinearAttention::plain(self.heads, self.dim, self.dim)
        };
        let y = net.linear_attention([part(0)?, part(1)?, part(2)?], attention);
        let y = net.rms_norm(y, &format!("{layer}.attn_sub_norm"), LIGHTNING_EPSILON)?;
        let gate = net.linear(x, &format!("{layer}.attn_gate"), inner)?;
        let y = net.mul(y, net.apply(gate, Pointwise::Sigmoid));
        net.linear(y, &format!("{layer}.attn_output"), width)
    }
}

/// γ = e^(−s f): slopes s as in ALiBi, 2^(−8 (h + 1)/H), and a factor f that falls from layer to layer
/// from one to next to nothing.
fn decay(model: &Builder<'_>, heads: usize, (layer, layers): (usize, usize)) -> Decay {
    let factor = 1.0 - layer as f64 / ((layers - 1) as f64 + 1e-5) + 1e-5;
    let powers = (1..=heads).flat_map(|head| {
        let slope = (-8.0 * head as f64 / heads as f64).exp2() * factor;
        (0..=DECAY_ROWS).map(move |rows| (-slope * rows as f64).exp() as f32)
    });
    Decay::Fixed(model.constant(powers))
}
