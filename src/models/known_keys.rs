//! Which keys of a configuration may be there although nobody reads them.
//!
//! A key that changes what a model computes and is not understood would make its results silently
//! wrong. So a key that is neither read nor known to be harmless is refused by name, if that name
//! speaks of what models compute ([`WORDS`]); of notes to people there is no end. What is known of
//! one architecture alone stands in its file ([`Architecture::settled`]), what holds for all in
//! [`harmless`].

mod harmless;

pub use harmless::HARMLESS;

use super::{Architecture, Family};
use crate::graph::{BuildError, Config};
use harmless::{ALIASES, HARMLESS_IN_GGUF, SETTLED};
use rillm_formats::manifest::{Array, Container, MetadataValue};
use std::collections::HashSet;

/// Which values of a key change nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Only {
    /// Any: the authors' code does not read it, or reads it for another purpose.
    Any,
    /// This truth value.
    Is(bool),
    /// This number.
    Number(f64),
    /// One of these texts.
    Text(&'static [&'static str]),
    /// None but `null` and what is empty.
    Nothing,
}

/// A key of `config.json` that no table of hyperparameters has, and its values that change nothing.
pub type Settled = (&'static str, Only);

/// What the words of a key begin with that speaks of what a model computes: layers, sizes,
/// functions, positions, norms, routing, states.
pub const WORDS: &[&str] = &[
    "act",
    "alibi",
    "attend",
    "attention",
    "attn",
    "band",
    "base",
    "beta",
    "bias",
    "bidirectional",
    "block",
    "cap",
    "causal",
    "channel",
    "chunk",
    "clamp",
    "clip",
    "codebook",
    "conv",
    "cross",
    "decay",
    "decoder",
    "deep",
    "delta",
    "depth",
    "dilat",
    "dim",
    "dt",
    "embed",
    "embd",
    "encoder",
    "eps",
    "expan",
    "expert",
    "factor",
    "feature",
    "feed",
    "ffn",
    "freq",
    "fuse",
    "gamma",
    "gat",
    "gelu",
    "glu",
    "group",
    "head",
    "hidden",
    "inner",
    "interleav",
    "intermediate",
    "interval",
    "kernel",
    "key",
    "kv",
    "lambda",
    "latent",
    "layer",
    "linear",
    "ln",
    "local",
    "logit",
    "loop",
    "lora",
    "lru",
    "mamba",
    "mask",
    "mem",
    "mix",
    "mla",
    "mlp",
    "moe",
    "mrope",
    "mtp",
    "multipl",
    "mup",
    "nextn",
    "nope",
    "norm",
    "ntk",
    "num",
    "offset",
    "order",
    "parallel",
    "pattern",
    "period",
    "pool",
    "pos",
    "power",
    "projection",
    "qk",
    "quer",
    "rank",
    "recurren",
    "relative",
    "resid",
    "rms",
    "rope",
    "rot",
    "rout",
    "scal",
    "segment",
    "share",
    "shift",
    "size",
    "skip",
    "sliding",
    "slope",
    "softcap",
    "softmax",
    "sink",
    "sparse",
    "sparsity",
    "ssm",
    "state",
    "stride",
    "temperature",
    "theta",
    "tie",
    "topk",
    "upcast",
    "value",
    "width",
    "window",
    "xpos",
    "yarn",
];

/// Configurations of their own, as some have for attention, or for each half of a model.
const OBJECTS: &[&str] = &["attn_config.", "ffn_config.", "encoder.", "decoder."];

/// Whether a key's name speaks of what a model computes.
fn speaks_of_arithmetic(key: &str) -> bool {
    let mut words = key.split(['_', '.', '-']);
    words.any(|word| WORDS.iter().any(|begin| word.starts_with(begin)))
}

/// Refuses what stands in a `config.json` and is not understood.
pub(crate) fn check_folder(
    config: &Config<'_>,
    architecture: &Architecture,
) -> Result<(), BuildError> {
    if config.container == Container::Gguf {
        return Ok(());
    }
    let read = |key: &str| {
        let mut lines = architecture.keys.iter().copied().flatten();
        lines.any(|(_, theirs)| *theirs == key)
    };
    let reads_in = |object: &str| {
        let mut lines = architecture.keys.iter().copied().flatten();
        lines.any(|(_, theirs)| theirs.starts_with(object))
    };
    // A window that is switched off may be as wide as it likes.
    let unused_window = config.metadata.bool("use_sliding_window") == Some(false);
    for (key, value) in &config.metadata.0 {
        let of_windows = matches!(
            key.as_str(),
            "sliding_window" | "sliding_window_pattern" | "max_window_layers"
        );
        let inner = OBJECTS
            .iter()
            .filter(|object| reads_in(object))
            .find_map(|object| key.strip_prefix(*object))
            .unwrap_or(key);
        if key.starts_with('_')
            || read(key)
            || within(key, "generation")
            || unused_window && of_windows
            || HARMLESS
                .iter()
                .any(|harmless| within(key, harmless) || within(inner, harmless))
        {
            continue;
        }
        let lists = [architecture.settled, SETTLED];
        let mut settled = lists.iter().copied().flatten();
        // What another family calls what this one reads, with the same value.
        let repeats = |other: &&&str| {
            read(other)
                && (config.metadata.value(other)).is_some_and(|theirs| same_value(value, theirs))
        };
        let mut aliases = ALIASES.iter().filter(|names| names.contains(&key.as_str()));
        if aliases.any(|names| names.iter().find(repeats).is_some()) {
            continue;
        }
        match settled.find(|(known, _)| within(key, known) || within(inner, known)) {
            Some((_, only)) => {
                if let Some(expected) = only.expected(value) {
                    return Err(config.bad(key, &expected));
                }
            }
            None if is_off(value) || !speaks_of_arithmetic(inner) => {}
            None => return Err(config.unknown(key)),
        }
    }
    check_shapes(config, read)
}

/// Refuses what is no value in place of one that decides, and no number in place of a count that the
/// tensors' shapes tell as well.
fn check_shapes(config: &Config<'_>, read: impl Fn(&str) -> bool) -> Result<(), BuildError> {
    for (key, only) in SETTLED {
        let truth = matches!(only, Only::Is(_));
        if truth && !read(key) && config.is_object(key) {
            return Err(config.bad(key, "true or false"));
        }
    }
    for key in COUNTS.iter().filter(|key| !read(key)) {
        let whole = match config.metadata.value(key) {
            None => !config.is_object(key),
            Some(value) => number(value).is_some_and(|number| number.fract() == 0.0),
        };
        if !whole {
            return Err(config.bad(key, "a whole number"));
        }
    }
    Ok(())
}

/// Counts that the tensors' shapes tell as well.
const COUNTS: &[&str] = &["max_position_embeddings", "type_vocab_size", "vocab_size"];

/// Flags that deny what tensors may nevertheless bring, and the parts of a layer that then have
/// none.
pub(super) const DENIED: &[(&str, &str, &[&str])] = &[
    ("attention_bias", "bias", ATTENTION),
    ("mlp_bias", "bias", MLP),
    ("bias", "bias", ATTENTION),
    ("bias", "bias", MLP),
    ("use_bias", "bias", ATTENTION),
    ("use_bias", "bias", MLP),
    ("use_bias", "bias", MIXER),
    ("use_conv_bias", "bias", CONVOLUTION),
    ("mamba_conv_bias", "bias", CONVOLUTION),
    ("mamba_proj_bias", "bias", MIXER),
    ("qk_layernorm", "weight", HEAD_NORMS),
    ("use_qk_norm", "weight", HEAD_NORMS),
    ("use_qkv_bias", "bias", PROJECTIONS),
    ("use_expert_bias", "bias", CHOICE),
];
const PROJECTIONS: &[&str] = &["attn_q", "attn_k", "attn_v", "attn_qkv"];
const ATTENTION: &[&str] = &["attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output"];
const MLP: &[&str] = &["ffn_gate", "ffn_up", "ffn_down"];
const MIXER: &[&str] = &["ssm_in", "ssm_out"];
const CONVOLUTION: &[&str] = &["ssm_conv1d"];
const CHOICE: &[&str] = &["exp_probs_b"];
const HEAD_NORMS: &[&str] = &["attn_q_norm", "attn_k_norm"];

/// Refuses a flag of a `config.json` that the tensors which graphs use contradict: the authors'
/// code would leave them out. What it takes for granted where the flag is not said, an
/// architecture tells ([`Architecture::off`]).
pub(crate) fn check_flags(
    config: &Config<'_>,
    architecture: &Architecture,
    used: &HashSet<&str>,
) -> Result<(), BuildError> {
    if config.container == Container::Gguf {
        return Ok(());
    }
    for (key, parameter, parts) in DENIED {
        let mut settled = architecture.settled.iter();
        if settled.any(|(known, _)| known == key) {
            continue;
        }
        let there = used.iter().find(|name| {
            let mut words = name.split('.').skip(2);
            words.next().is_some_and(|part| parts.contains(&part))
                && words.next() == Some(parameter)
        });
        let norms = *parameter == "weight";
        let on = match config.metadata.value(key) {
            _ if config.is_object(key) => return Err(config.bad(key, "true or false")),
            Some(MetadataValue::Bool(on)) => *on,
            Some(_) => return Err(config.bad(key, "true or false")),
            None => !architecture.off.contains(key),
        };
        let said = config.metadata.value(key).is_some();
        match there {
            Some(name) if !on => {
                return Err(config.bad(key, &format!("true, for there is {name}")));
            }
            None if on && said && norms => {
                return Err(config.bad(key, "false, for no layer has norms of queries and keys"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what stands in a GGUF file and no graph has asked for.
pub(crate) fn check_gguf(
    config: &Config<'_>,
    architecture: &Architecture,
) -> Result<(), BuildError> {
    if config.container == Container::HuggingFace {
        return Ok(());
    }
    let begin = format!("{}.", config.architecture);
    let asked = config.asked();
    for (full, value) in config.metadata.0.range(begin.clone()..) {
        let Some(key) = full.strip_prefix(&begin) else {
            break;
        };
        let mut lines = architecture.keys.iter().copied().flatten();
        let known = asked.contains(key)
            || lines.any(|(canonical, _)| *canonical == key)
            || HARMLESS_IN_GGUF.contains(&key)
            || architecture.harmless_in_gguf.contains(&key);
        // Who looks at whom, which only decoders that may be encoders are asked.
        let causal = key == "attention.causal" && !asked.contains(key);
        let decodes = architecture.family != Family::Encoder || config.flag("is_decoder", false)?;
        if causal && *value != MetadataValue::Bool(decodes) {
            return Err(config.bad(full, &decodes.to_string()));
        }
        if !known && !causal && !is_neutral(value) {
            return Err(config.unknown(full));
        }
    }
    Ok(())
}

/// Whether a key is this one, or stands in the object of that name.
fn within(key: &str, name: &str) -> bool {
    let rest = key.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_empty(value: &MetadataValue) -> bool {
    match value {
        MetadataValue::Array(list) => list.is_empty(),
        MetadataValue::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Whether two values of a configuration are one, however it is written.
fn same_value(one: &MetadataValue, other: &MetadataValue) -> bool {
    one == other || number(one).is_some() && number(one) == number(other)
}

/// A number of a `config.json`.
fn number(value: &MetadataValue) -> Option<f64> {
    match value {
        MetadataValue::U64(number) => Some(*number as f64),
        MetadataValue::I64(number) => Some(*number as f64),
        MetadataValue::F64(number) => Some(*number),
        _ => None,
    }
}

/// Whether a value of a configuration means that a feature is not used.
fn is_off(value: &MetadataValue) -> bool {
    is_empty(value) || matches!(value, MetadataValue::Bool(false) | MetadataValue::U64(0))
}

/// Whether a value means that a feature is not used: nothing, none of it, or a factor of one.
fn is_neutral(value: &MetadataValue) -> bool {
    let number = |number: f64| number == 0.0 || number == 1.0;
    match value {
        MetadataValue::Bool(on) => !on,
        MetadataValue::F32(value) => number(f64::from(*value)),
        MetadataValue::F64(value) => number(*value),
        MetadataValue::U8(0)
        | MetadataValue::I8(0)
        | MetadataValue::U16(0)
        | MetadataValue::I16(0)
        | MetadataValue::U32(0)
        | MetadataValue::I32(0)
        | MetadataValue::U64(0)
        | MetadataValue::I64(0) => true,
        MetadataValue::Array(Array::Bool(list)) => !list.contains(&true),
        value => is_empty(value),
    }
}

impl Only {
    /// What would have to stand in place of a value, if it is none of these.
    fn expected(self, value: &MetadataValue) -> Option<String> {
        let (holds, expected) = match (self, value) {
            (Only::Any, _) => (true, String::new()),
            (Only::Is(only), MetadataValue::Bool(is)) => (*is == only, only.to_string()),
            (Only::Is(only), _) => (false, only.to_string()),
            (Only::Number(only), _) => (number(value) == Some(only), only.to_string()),
            (Only::Text(known), MetadataValue::String(text)) => {
                (known.contains(&text.as_str()), known.join(" or "))
            }
            (Only::Text(known), _) => (false, known.join(" or ")),
            (Only::Nothing, value) => (is_empty(value), "null".to_string()),
        };
        (!holds).then_some(expected)
    }
}
