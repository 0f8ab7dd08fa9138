//! Gemma 4 without experts (Gemma Team 2026), the part that reads and writes texts: heads of two
//! sizes, an embedding for each layer in small models, and layers that read the keys of earlier
//! ones.

use super::gemma3n::{
    PER_LAYER, SharedKeys, UNUSED, ValuesFrom, own_embeddings, with_own_embedding,
};
use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, GgufKeys, Only};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, cap, embedding, gated_mlp, head, soft_cap,
};
use crate::graph::decoder::answer;
use crate::graph::rope::{Division, RopeFrequencies};
use crate::graph::{
    Attention, BuildError, Builder, Config, Divisors, Mask, Net, Pairing, PositionScheme, Role,
    Rope, RowOrder, Value,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Gemma 4 (text)",
    gguf: &["gemma4"],
    hugging_face: &["gemma4_text"],
    off: tables::BIASES,
    keys: &[
        tables::SIZES,
        keys! {
            "hidden_activation" => "hidden_activation",
            "final_logit_softcapping" => "final_logit_softcapping",
            "hidden_size_per_layer_input" => "embedding_length_per_layer_input",
            "num_kv_shared_layers" => "attention.shared_kv_layers",
            "use_double_wide_mlp" => "feed_forward_doubled",
            "attention_k_eq_v" => "attention.values_of_keys",
            "global_head_dim" => "attention.key_length_full",
            "num_global_key_value_heads" => "attention.head_count_kv_full",
            "rope_parameters.full_attention.rope_theta" => "rope.freq_base",
            "rope_parameters.full_attention.partial_rotary_factor" => "rope.proportion",
            "rope_parameters.full_attention.rope_type" => "rope.full_type",
            "rope_parameters.sliding_attention.rope_theta" => "rope.freq_base_swa",
            "rope_parameters.sliding_attention.rope_type" => "rope.sliding_type",
        },
        tables::WINDOWS,
    ],
    settled: &[
        ("enable_moe_block", Only::Is(false)),
        ("expert_intermediate_size", Only::Nothing),
        ("moe_intermediate_size", Only::Nothing),
        ("num_experts", Only::Nothing),
        ("top_k_experts", Only::Nothing),
        // Read, layer by layer.
        ("per_layer_config", Only::Any),
        // Of images.
        ("use_bidirectional_attention", Only::Text(&["vision"])),
        // Tensors tell.
        ("vocab_size_per_layer_input", Only::Any),
    ],
    ties: true,
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        tables::HEAD_NORMS,
        tables::GATED_MLP,
        PER_LAYER,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "layer_scalar" => "layer_output_scale.weight",
            }
        },
    ],
    harmless_in_gguf: &["attention.value_length_swa", "rope.dimension_count_swa"],
    unused: UNUSED,
    conversion: Conversion {
        keys: gguf_keys,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// x ← x + RMS(Attention(RMS(x))); x ← x + RMS(FFN(RMS(x))); x ← s · (x + what the layer's own
/// embedding makes of it).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?;
    let function = activation(config, "hidden_activation", "gelu_pytorch_tanh")?;
    let windows = Windows::read(config, layers, Some(512), WindowPattern::AllButEvery(6))?;
    let mut shared = SharedKeys::read(config, layers, 0)?;
    let hidden = hidden_widths(config, layers, shared.first)?;
    let own = own_width(config)?;
    let of_logits = cap(config, "final_logit_softcapping", None)?;
    let kinds = [HeadKind::full(model)?, HeadKind::sliding(model)?];
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = net.scale(embedding(&net, width)?, (width as f32).sqrt());
    let embeddings = match own {
        Some(own) => Some((own_embeddings(&net, x, (layers, own), eps)?, own)),
        None => None,
    };
    for (i, &hidden) in hidden.iter().enumerate() {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), eps);
        let window = windows.of(i);
        let kind = usize::from(window.is_some());
        let heads = kinds[kind].heads_of(model, i)?;
        let attention = Attention {
            scale: 1.0,
            mask: Mask::Causal { window },
            ..heads.causal(PositionScheme::Rope(kinds[kind].rope.clone()))
        };
        let h = norm(x, "attn_norm")?;
        let values = values(model, &layer, window.is_some())?;
        let a = shared.attend(&net, h, &layer, (i, kind), (attention, eps, values))?;
        x = net.add(x, norm(a, "post_attention_norm")?);
        let f = gated_mlp(&net, norm(x, "ffn_norm")?, &layer, hidden, function)?;
        x = net.add(x, norm(f, "post_ffw_norm")?);
        if let Some((own, len)) = embeddings {
            let own = net.slice(own, i * len, len);
            let more = with_own_embedding(&net, x, own, &layer, (function, eps))?;
            x = net.add(x, more);
        }
        x = scaled_output(&net, x, &layer)?;
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| Ok(soft_cap(&net, head(&net, x)?, of_logits)))?;
    net.finish();
    Ok(())
}

/// Elements that no head has.
const MAX_DIM: u64 = 1 << 16;

/// Heads and rotation of layers that see everything, or of those with a window.
struct HeadKind {
    heads: Heads,
    rope: Rope,
}

impl HeadKind {
    /// Of each head a part rotates, at the frequencies that it would have if all of it did.
    fn full(model: &Builder<'_>) -> Result<HeadKind, BuildError> {
        let config = model.config();
        let (dim_key, kv_key) = match config.container {
            Container::Gguf => ("attention.key_length", "attention.head_count_kv"),
            Container::HuggingFace => ("attention.key_length_full", "attention.head_count_kv_full"),
        };
        let listed = (0..config.bounds.layers).find_map(|layer| {
            let key = format!("per_layer_config.{layer}.head_dim");
            config.metadata.u64(&key)
        });
        let listed = listed.filter(|&dim| dim < MAX_DIM).map(|dim| dim as usize);
        let said = config.optional_count(dim_key)?;
        let dim = listed.or(said).unwrap_or(512);
        let kv_heads = match config.container {
            Container::HuggingFace if !config.flag("attention.values_of_keys", false)? => None,
            Container::HuggingFace => config.optional_count(kv_key)?,
            Container::Gguf => None,
        };
        let base = config.positive("rope.freq_base", 1e6)?;
        let mut rope = Rope::plain(Pairing::Halves, even(config, dim_key, dim)?, base);
        if config.container == Container::Gguf {
            let divisors = model.vector("rope_freqs.weight", &[dim / 2])?;
            rope.division = Division::Fixed(Divisors::Tensor(divisors));
        } else {
            check_type(config, "rope.full_type", "proportional")?;
            let part = config.positive("rope.proportion", 0.25)?;
            let rotated = (f64::from(part) * dim as f64 / 2.0) as usize;
            if let RopeFrequencies::Fixed(frequencies) = &mut rope.frequencies {
                frequencies
                    .iter_mut()
                    .skip(rotated)
                    .for_each(|it| *it = 0.0);
            }
        }
        HeadKind::of(config, dim, kv_heads, rope)
    }

    fn sliding(model: &Builder<'_>) -> Result<HeadKind, BuildError> {
        let config = model.config();
        let dim_key = match config.container {
            Container::Gguf => "attention.key_length_swa",
            Container::HuggingFace => "attention.key_length",
        };
        check_type(config, "rope.sliding_type", "default")?;
        let dim = config.optional_count(dim_key)?.unwrap_or(256);
        let base = config.positive("rope.freq_base_swa", 1e4)?;
        let rope = Rope::plain(Pairing::Halves, even(config, dim_key, dim)?, base);
        HeadKind::of(config, dim, None, rope)
    }

    fn of(
        config: &Config<'_>,
        head_dim: usize,
        kv_heads: Option<usize>,
        rope: Rope,
    ) -> Result<HeadKind, BuildError> {
        let heads = config.count("attention.head_count")?;
        let kv_heads = match (kv_heads, config.value("attention.head_count_kv")) {
            (Some(kv_heads), _) => kv_heads,
            // Said layer by layer.
            (None, Some(MetadataValue::Array(_))) => heads,
            (None, _) => config
                .optional_count("attention.head_count_kv")?
                .unwrap_or(heads),
        };
        let heads = Heads {
            heads,
            kv_heads,
            head_dim,
        };
        Ok(HeadKind { heads, rope })
    }

    /// Those of one layer, of which a file may list heads of keys, and a folder all it differs in.
    fn heads_of(&self, model: &Builder<'_>, layer: usize) -> Result<Heads, BuildError> {
        let (config, key) = (model.config(), "attention.head_count_kv");
        let mut heads = self.heads;
        if let (Container::Gguf, Some(MetadataValue::Array(list))) =
            (config.container, config.value(key))
        {
            heads.kv_heads = list
                .u64(layer)
                .and_then(|it| usize::try_from(it).ok())
                .unwrap_or(0);
        }
        let own = |name: &str| {
            let key = format!("per_layer_config.{layer}.{name}");
            let found = config.metadata.u64(&key)?;
            usize::try_from(found).ok()
        };
        heads.kv_heads = own("num_key_value_heads").unwrap_or(heads.kv_heads);
        let dim = own("head_dim").unwrap_or(heads.head_dim);
        if dim != heads.head_dim {
            let key = format!("per_layer_config.{layer}.head_dim");
            return Err(config.bad(&key, "that of all layers of this kind"));
        }
        if heads.kv_heads == 0 || !heads.heads.is_multiple_of(heads.kv_heads) {
            return Err(config.invalid(key, "a divisor of the head count"));
        }
        Ok(heads)
    }
}

fn even(config: &Config<'_>, key: &str, dim: usize) -> Result<usize, BuildError> {
    match dim.is_multiple_of(2) && (dim as u64) < MAX_DIM {
        true => Ok(dim),
        false => Err(config.invalid(key, "an even number below 65536")),
    }
}

fn check_type(config: &Config<'_>, key: &str, known: &str) -> Result<(), BuildError> {
    match config.text(key)? {
        None => Ok(()),
        Some(found) if found == known => Ok(()),
        Some(_) => Err(config.invalid(key, known)),
    }
}

/// Layers that see everything may make values of what keys are made of.
fn values(model: &Builder<'_>, layer: &str, slides: bool) -> Result<ValuesFrom, BuildError> {
    let config = model.config();
    let of_keys = match config.container {
        Container::HuggingFace => config.flag("attention.values_of_keys", false)?,
        Container::Gguf => !model.has(&format!("{layer}.attn_v.weight")),
    };
    Ok(match of_keys && !slides {
        true => ValuesFrom::OfKeys,
        false => ValuesFrom::Apart,
    })
}

/// Of feed-forward layers: a list, or a width that is doubled in layers that share keys.
fn hidden_widths(
    config: &Config<'_>,
    layers: usize,
    shared: usize,
) -> Result<Vec<usize>, BuildError> {
    let key = "feed_forward_length";
    if let Some(MetadataValue::Array(list)) = config.value(key) {
        let width = |layer| {
            let width = list
                .u64(layer)
                .filter(|&width| width <= config.bounds.elements);
            width.and_then(|width| usize::try_from(width).ok())
        };
        let widths: Option<Vec<usize>> = (0..layers).map(width).collect();
        let listed = widths.filter(|_| list.len() == layers);
        return listed.ok_or_else(|| config.invalid(key, "a width for each layer"));
    }
    let hidden = config.count(key)?;
    let folder = config.container == Container::HuggingFace;
    let doubled = folder && config.flag("feed_forward_doubled", false)?;
    let width = |layer| {
        if doubled && layer >= shared {
            2 * hidden
        } else {
            hidden
        }
    };
    Ok((0..layers).map(width).collect())
}

/// Elements of a layer's own embedding, if layers have some.
fn own_width(config: &Config<'_>) -> Result<Option<usize>, BuildError> {
    let key = "embedding_length_per_layer_input";
    match config.value(key) {
        Some(_) => config.feature(key),
        None if config.container == Container::Gguf || config.is_null(key) => Ok(None),
        None => Ok(Some(256)),
    }
}

/// x times the one number of `layer_output_scale`, if there is one.
fn scaled_output(net: &Net<'_, '_>, x: Value, layer: &str) -> Result<Value, BuildError> {
    let name = format!("{layer}.layer_output_scale.weight");
    let width = net.width(x);
    let repeated = RowOrder::Blocks {
        block: 1,
        stride: 0,
        offset: 0,
    };
    let scale = net
        .builder
        .optional_vector_rows(&name, 1, width, repeated)?;
    Ok(match scale {
        Some(scale) => net.weigh(x, scale),
        None => x,
    })
}

fn gguf_keys(keys: &mut GgufKeys<'_>) {
    let config = keys.config;
    let count = |key: &str, usual: u64| config.u64(key).unwrap_or(usual);
    let layers = count("num_hidden_layers", 0).min(1 << 16);
    let slides = |layer: u64| match config.array("layer_types") {
        Some(Array::String(kinds)) => kinds.get(layer as usize) == Some(b"sliding_attention"),
        _ => !(layer + 1).is_multiple_of(6),
    };
    let own = |layer: u64, name: &str| config.u64(&format!("per_layer_config.{layer}.{name}"));
    let full = (0..layers).find(|&layer| !slides(layer));
    let full_dim = full.and_then(|layer| own(layer, "head_dim"));
    let full_dim = full_dim.unwrap_or(count("global_head_dim", 512));
    let sliding_dim = count("head_dim", 256);
    let heads = count("num_key_value_heads", count("num_attention_heads", 1));
    let full_heads = match config.bool("attention_k_eq_v") {
        Some(true) => count("num_global_key_value_heads", heads),
        _ => heads,
    };
    let kv_heads = (0..layers).map(|layer| {
        let usual = if slides(layer) { heads } else { full_heads };
        own(layer, "num_key_value_heads").unwrap_or(usual) as u32
    });
    let kv_heads = MetadataValue::Array(Array::U32(kv_heads.collect()));
    let shared = count("num_kv_shared_layers", 0);
    let number = |count: u64| MetadataValue::U32(count as u32);
    keys.put("attention.head_count_kv", kv_heads);
    keys.put("attention.key_length", number(full_dim));
    keys.put("attention.key_length_swa", number(sliding_dim));
    keys.put("attention.value_length_swa", number(sliding_dim));
    keys.put("attention.shared_kv_layers", number(shared));
    keys.put("rope.dimension_count", number(full_dim));
    keys.put("rope.dimension_count_swa", number(sliding_dim));
    keys.put_usual("embedding_length_per_layer_input", number(256));
    keys.put_usual("rope.proportion", MetadataValue::F32(0.25));
    if config.bool("use_double_wide_mlp") == Some(true) {
        let hidden = count("intermediate_size", 0);
        let widths = (0..layers).map(|layer| {
            let doubled = layer + shared >= layers;
            (hidden << u32::from(doubled)) as u32
        });
        let widths = MetadataValue::Array(Array::U32(widths.collect()));
        keys.put("feed_forward_length", widths);
    }
    keys.remove(&[
        "attention.head_count_kv_full",
        "attention.key_length_full",
        "attention.values_of_keys",
        "feed_forward_doubled",
        "rope.full_type",
        "rope.sliding_type",
    ]);
}
