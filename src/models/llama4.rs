//! Llama 4's text part (Meta 2025): experts of which what they are given is weighed, beside one that
//! all rows share; layers that rotate see chunks, and those that do not, every so many, see
//! everything through queries that grow with their position.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only, conversion};
use crate::graph::blocks::{Heads, activation, attend, projections};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::experts::{FeedForward, Gating, Router, RouterScores, SharedExpert, Weighed};
use crate::graph::{
    Attention, BuildError, Builder, Config, ExpertWeight, Mask, Pairing, PositionScheme, Rope,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Llama 4",
    gguf: &["llama4"],
    hugging_face: &["llama4_text"],
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        tables::ROPE,
        keys! {
            "hidden_size" => "embedding_length",
            "num_hidden_layers" => "block_count",
            "intermediate_size_mlp" => "feed_forward_length",
            "intermediate_size" => "expert_feed_forward_length",
            "max_position_embeddings" => "context_length",
            "num_attention_heads" => "attention.head_count",
            "num_key_value_heads" => "attention.head_count_kv",
            "head_dim" => "attention.key_length",
            "rms_norm_eps" => "attention.layer_norm_rms_epsilon",
            "hidden_act" => "hidden_act",
            "num_local_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "interleave_moe_layer_step" => "interleave_moe_layer_step",
            "moe_layers" => "expert_layers",
            "no_rope_layers" => "rope.rotated_layers",
            "no_rope_layer_interval" => "rope.unrotated_interval",
            "layer_types" => "attention.chunked_layers",
            "attention_chunk_size" => "attention.chunk_size",
            "attn_temperature_tuning" => "attention.temperature",
            "attn_scale" => "attention.temperature_scale",
            "floor_scale" => "attention.temperature_length",
            "use_qk_norm" => "attention.head_norms",
        },
    ],
    settled: &[
        ("for_llm_compression", Only::Is(false)),
        // Its norms have no weights.
        ("use_qk_norm", Only::Any),
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "feed_forward.gate_proj.weight" => "ffn_gate.weight",
                "feed_forward.up_proj.weight" => "ffn_up.weight",
                "feed_forward.down_proj.weight" => "ffn_down.weight",
                "feed_forward.router.weight" => "ffn_gate_inp.weight",
                "feed_forward.experts.gate_up_proj" => "ffn_gate_up_exps.weight" as Transposed,
                "feed_forward.experts.down_proj" => "ffn_down_exps.weight" as Transposed,
                "feed_forward.shared_expert.gate_proj.weight" => "ffn_gate_shexp.weight",
                "feed_forward.shared_expert.up_proj.weight" => "ffn_up_shexp.weight",
                "feed_forward.shared_expert.down_proj.weight" => "ffn_down_shexp.weight",
            }
        },
    ],
    conversion: Conversion {
        keys: |keys| keys.put_usual("rope.freq_base", MetadataValue::F32(BASE)),
        tensor: |_, tensor| match tensor.part().starts_with("ffn_gate_up_") {
            true => conversion::gates_apart(tensor),
            false => Ok(vec![tensor]),
        },
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

const BASE: f32 = 500_000.0;
/// A list in which 1 says that a layer rotates, whatever its name says.
const ROTATED: &str = "rope.rotated_layers";
const INTERVAL: &str = "rope.unrotated_interval";
/// Which layers see chunks.
const CHUNKED: &str = "attention.chunked_layers";

/// x ← x + Attention(RMS(x)); x ← x + (experts + FFN, or FFN)(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder::read(config, 1e-5)?;
    let (width, layers, eps) = (decoder.width, decoder.layers, decoder.eps);
    let heads = Heads::read_wide(config, width, Some(128))?;
    let base = match config.container {
        Container::Gguf => 10_000.0,
        Container::HuggingFace => BASE,
    };
    let rope = Rope::read_from(model, Pairing::Interleaved, heads.head_dim, base)?;
    let rotated = rotated_layers(config, layers)?;
    let chunked = chunked_layers(config, &rotated)?;
    let chunk = config
        .optional_count("attention.chunk_size")?
        .unwrap_or(8192) as u64;
    let normalised = config.flag("attention.head_norms", true)?;
    let slope = slope(config)?;
    let length = config.optional_count("attention.temperature_length")?;
    let length = u32::try_from(length.unwrap_or(8192)).unwrap_or(u32::MAX);
    let feed_forward = feed_forward(config, layers)?;
    decoder.wire(
        model,
        &|net, h, layer, i| {
            let [mut q, mut k, v] = projections(net, h, layer, heads)?;
            // Norms without weights: heads may as well turn afterwards.
            if normalised && rotated[i] {
                q = net.rms_norm_plain(q, heads.head_dim, eps);
                k = net.rms_norm_plain(k, heads.head_dim, eps);
            }
            let position = match rotated[i] {
                true => PositionScheme::Rope(rope.clone()),
                false => PositionScheme::None,
            };
            if let (Some(slope), false) = (slope, rotated[i]) {
                q = net.scale_by_position(q, slope, (1, length));
            }
            let mask = match chunked[i] {
                true => Mask::Chunked { length: chunk },
                false => Mask::Causal { window: None },
            };
            let attention = Attention {
                mask,
                ..heads.causal(position)
            };
            attend(net, [q, k, v], layer, width, attention)
        },
        &|net, h, layer, i| feed_forward.wire(net, h, layer, i),
    )
}

/// How fast queries that know no position grow, if they do.
fn slope(config: &Config<'_>) -> Result<Option<f32>, BuildError> {
    let key = "attention.temperature";
    // Some say it by number.
    let grows = match config.value(key) {
        None | Some(MetadataValue::Bool(_)) => config.flag(key, true)?,
        Some(_) => config.double(key, 1.0)? != 0.0,
    };
    let slope = config.float("attention.temperature_scale", 0.1)?;
    Ok(grows.then_some(slope))
}

/// Listed, or all but every so many.
fn rotated_layers(config: &Config<'_>, layers: usize) -> Result<Vec<bool>, BuildError> {
    let expected = format!("a one or a zero for each of {layers} layers");
    match config.value(ROTATED) {
        None => {
            let interval = config.optional_count(INTERVAL)?.unwrap_or(4);
            Ok((1..=layers).map(|i| !i.is_multiple_of(interval)).collect())
        }
        // As published configurations have it, and leave it to the class.
        Some(MetadataValue::Array(list)) if list.is_empty() => {
            Ok((1..=layers).map(|i| !i.is_multiple_of(4)).collect())
        }
        Some(MetadataValue::Array(list)) if list.len() == layers => {
            let rotates = |i| match list.u64(i) {
                Some(rotates @ 0..=1) => Ok(rotates == 1),
                _ => Err(config.invalid(ROTATED, &expected)),
            };
            (0..layers).map(rotates).collect()
        }
        Some(_) => Err(config.invalid(ROTATED, &expected)),
    }
}

/// Listed, or those that rotate.
fn chunked_layers(config: &Config<'_>, rotated: &[bool]) -> Result<Vec<bool>, BuildError> {
    let expected = "chunked_attention or full_attention for each layer";
    match config.value(CHUNKED) {
        None => Ok(rotated.to_vec()),
        Some(MetadataValue::Array(Array::Bool(list))) if list.len() == rotated.len() => {
            Ok(list.clone())
        }
        Some(MetadataValue::Array(Array::String(kinds))) if kinds.len() == rotated.len() => {
            let chunked = |kind: &[u8]| match kind {
                b"chunked_attention" => Ok(true),
                b"full_attention" => Ok(false),
                _ => Err(config.invalid(CHUNKED, expected)),
            };
            kinds.iter().map(chunked).collect()
        }
        Some(_) => Err(config.invalid(CHUNKED, expected)),
    }
}

/// Layers with experts are listed, or every so many, the last of them first.
fn feed_forward(config: &Config<'_>, layers: usize) -> Result<FeedForward, BuildError> {
    let key = "expert_layers";
    let sparse = match config.value(key) {
        None => {
            let step = config
                .optional_count("interleave_moe_layer_step")?
                .unwrap_or(1);
            (1..=layers).map(|i| i.is_multiple_of(step)).collect()
        }
        Some(MetadataValue::Array(list)) => {
            let numbers: Vec<u64> = (0..list.len()).filter_map(|i| list.u64(i)).collect();
            if numbers.len() != list.len() {
                return Err(config.invalid(key, "numbers of layers"));
            }
            (0..layers as u64).map(|i| numbers.contains(&i)).collect()
        }
        Some(_) => return Err(config.invalid(key, "a list of layers")),
    };
    let hidden = config.count("expert_feed_forward_length")?;
    let router = Router::read(config, &Gating::SIGMOID)?;
    Ok(FeedForward {
        router: Some(Router {
            scores: RouterScores::Sigmoid,
            weight: ExpertWeight::Score,
            weighed: Weighed::Inputs,
            ..router
        }),
        function: activation(config, "hidden_act", "silu")?,
        hidden,
        shared: SharedExpert::Plain(hidden),
        sparse,
        plain_hidden: config.optional_count("feed_forward_length")?,
    })
}
