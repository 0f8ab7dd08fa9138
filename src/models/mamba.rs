//! Mamba (Gu & Dao 2023): selective state spaces, whose state does not grow with the context.
//! Falcon Mamba (Zuo et al. 2024) normalises Δ, B and C.

use super::known_shape::{ENDLESS, TINY, shapes};
use super::tables::{keys, names};
use super::{
    Architecture, Conversion, DECODER, Family, GgufKeys, Only, Outline, Settled, conversion,
};
use crate::graph::blocks::{embedding, head};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Config, Key, Name, Net, Role, Value};
use rillm_formats::manifest::{Container, Metadata, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Mamba, Falcon Mamba",
    gguf: &["mamba"],
    hugging_face: &["mamba", "falcon_mamba"],
    off: &["use_bias"],
    family: Family::Recurrent,
    keys: &[
        KEYS,
        keys! {
            "time_step_rank" => "ssm.time_step_rank",
            "ssm_cfg.dt_rank" => "ssm.time_step_rank",
            "mixer_rms_eps" => "ssm.norm_rms_epsilon",
        },
    ],
    settled: SETTLED,
    ties: true,
    names: &[ENDS, MIXER],
    recognises: |config| is_the_authors(config) && !says_mamba2(config),
    conversion: Conversion {
        keys: |keys| {
            let width = keys.count("embedding_length").unwrap_or(0);
            complete(keys, expanded_width(keys), width.div_ceil(16), 16);
            let normalized = keys.config.str("model_type") == Some("falcon_mamba");
            keys.put_usual("ssm.dt_b_c_rms", MetadataValue::Bool(normalized));
            keys.remove(AUTHORS_KEYS);
        },
        ..Conversion::PLAIN
    },
    shapes: shapes! {
        "mamba-370m", "Mamba 370M", [50_280, 1024, 48, ENDLESS] => tied outline(2048, 64);
        "tiny-mamba", "a Mamba to try things out with", TINY => tied outline(512, 16);
    },
    build,
    ..DECODER
};

/// As transformers and as the authors write them.
pub(super) const KEYS: &[Key] = keys! {
    "hidden_size" => "embedding_length",
    "d_model" => "embedding_length",
    "num_hidden_layers" => "block_count",
    "n_layer" => "block_count",
    "intermediate_size" => "ssm.inner_size",
    "expand" => "ssm.expand",
    "ssm_cfg.expand" => "ssm.expand",
    "state_size" => "ssm.state_size",
    "ssm_cfg.d_state" => "ssm.state_size",
    "conv_kernel" => "ssm.conv_kernel",
    "ssm_cfg.d_conv" => "ssm.conv_kernel",
    "layer_norm_epsilon" => "attention.layer_norm_rms_epsilon",
    "hidden_act" => "hidden_act",
    "rms_norm" => "rms_norm",
    "d_intermediate" => "feed_forward_length",
    "attn_layer_idx" => "attention.layers",
};

/// What the authors' configurations say beside what is read.
pub(super) const SETTLED: &[Settled] = &[
    ("attn_cfg", Only::Any),
    // What transformers calls `intermediate_size`.
    ("d_inner", Only::Any),
    ("layer_types", Only::Any),
    ("num_heads", Only::Any),
    ("ssm_cfg.layer", Only::Text(&["Mamba1", "Mamba2"])),
];

/// Embedding, norms and head.
pub(super) const ENDS: &[Name] = names! {
    "backbone.embeddings.weight" => "token_embd.weight",
    "backbone.embedding.weight" => "token_embd.weight",
    "backbone.norm_f.weight" => "output_norm.weight",
    "lm_head.weight" => "output.weight",
    in "backbone.layers.{i}." => "blk.{i}." {
        "norm.weight" => "attn_norm.weight",
    }
};

/// The mixing layer's tensors under a layer's prefix.
macro_rules! mixer_names {
    ($prefix:literal) => {
        names! {
            in $prefix => "" {
                ".in_proj.*" => "blk.{i}.ssm_in.*",
                ".conv1d.*" => "blk.{i}.ssm_conv1d.*",
                ".x_proj.weight" => "blk.{i}.ssm_x.weight",
                ".dt_proj.*" => "blk.{i}.ssm_dt.*",
                ".A_log" => "blk.{i}.ssm_a" as NegativeExp,
                ".D" => "blk.{i}.ssm_d",
                ".out_proj.*" => "blk.{i}.ssm_out.*",
            }
        }
    };
}

const MIXER: &[Name] = mixer_names!("backbone.layers.{i}.mixer");
/// As Jamba calls them.
pub(super) const JAMBA_MIXER: &[Name] = mixer_names!("model.layers.{i}.mamba");

/// x ← x + Mixer(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    check_authors(config)?;
    let (normalized, usual) = match config.container {
        Container::Gguf => (config.flag("ssm.dt_b_c_rms", false)?, eps),
        Container::HuggingFace => {
            let kind = config.metadata.str("model_type");
            (kind == Some("falcon_mamba"), 1e-6)
        }
    };
    let mixer = Mixer {
        norms: if normalized {
            Norms::Bare(config.epsilon("ssm.norm_rms_epsilon", usual)?)
        } else {
            Norms::None
        },
        ..Mixer::read(config, width)?
    };

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        x = net.add(x, mixer.wire(&net, h, &layer)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// How step sizes, B and C are normalised once they are selected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Norms {
    None,
    /// Without weights.
    Bare(f32),
    Weighted(f32),
}

/// Sizes of the mixing layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mixer {
    pub(super) width: usize,
    pub(super) inner: usize,
    pub(super) states: usize,
    pub(super) taps: usize,
    pub(super) rank: usize,
    pub(super) norms: Norms,
}

impl Mixer {
    /// Reads `ssm.*` for a layer of `width` elements.
    pub(super) fn read(config: &Config<'_>, width: usize) -> Result<Mixer, BuildError> {
        check_activation(config)?;
        let authors = is_authors(config);
        let or = |key: &str, usual: usize| match count_or_auto(config, key) {
            Ok(None) if is_auto(config, key) => Ok(usual),
            Ok(Some(count)) => Ok(count),
            Ok(None) if authors => Ok(usual),
            Ok(None) => config.count(key),
            Err(error) => Err(error),
        };
        let inner = match config.optional_count("ssm.inner_size")? {
            Some(inner) => inner,
            // Jamba writes nothing but the factor.
            None if authors || config.metadata.value("mamba_expand").is_some() => {
                expanded(config, width)?
            }
            None => config.count("ssm.inner_size")?,
        };
        Ok(Mixer {
            width,
            inner,
            states: or("ssm.state_size", 16)?,
            taps: or("ssm.conv_kernel", 4)?,
            rank: or("ssm.time_step_rank", width.div_ceil(16))?,
            norms: Norms::None,
        })
    }

    /// out(SSM(silu(conv(u))) ⊙ silu(z)) with u and z = in(h).
    pub(super) fn wire(
        &self,
        net: &Net<'_, '_>,
        h: Value,
        layer: &str,
    ) -> Result<Value, BuildError> {
        let (inner, states, rank) = (self.inner, self.states, self.rank);
        let uz = net.linear(h, &format!("{layer}.ssm_in"), 2 * inner)?;
        let (u, z) = (net.slice(uz, 0, inner), net.slice(uz, inner, inner));
        let u = net.conv(u, &format!("{layer}.ssm_conv1d"), self.taps)?;

        // The selection: step size, input and output projections depend on u.
        let selected = net.linear(u, &format!("{layer}.ssm_x"), rank + 2 * states)?;
        let norm = |x: Value, name: &str| match self.norms {
            Norms::None => Ok(x),
            Norms::Bare(eps) => Ok(net.bare_rms_norm(x, eps)),
            Norms::Weighted(eps) => net.rms_norm(x, &format!("{layer}.{name}"), eps),
        };
        let dt = norm(net.slice(selected, 0, rank), "ssm_dt_norm")?;
        let b = norm(net.slice(selected, rank, states), "ssm_b_norm")?;
        let c = norm(net.slice(selected, rank + states, states), "ssm_c_norm")?;
        let dt = net.linear(dt, &format!("{layer}.ssm_dt"), inner)?;

        let model = net.builder;
        let a = model.turned(&format!("{layer}.ssm_a"), inner, states)?;
        let d = model.vector(&format!("{layer}.ssm_d"), &[inner])?;
        let y = net.scan([u, dt, b, c, z], a, d);
        net.linear(y, &format!("{layer}.ssm_out"), self.width)
    }
}

/// Whether `config.json` is the authors' own, which says what is unusual and nothing else.
pub(super) fn is_authors(config: &Config<'_>) -> bool {
    let has = |key: &str| config.metadata.value(key).is_some();
    config.container == Container::HuggingFace && has("d_model") && !has("hidden_size")
}

/// What the authors' code can do beside.
pub(super) fn check_authors(config: &Config<'_>) -> Result<(), BuildError> {
    if !is_authors(config) {
        return Ok(());
    }
    if !config.flag("rms_norm", true)? {
        return Err(config.invalid("rms_norm", "true"));
    }
    if config.feature("feed_forward_length")?.is_some() {
        return Err(config.invalid("feed_forward_length", "0: no layers but the mixing ones"));
    }
    match config.value("attention.layers") {
        Some(MetadataValue::Array(list)) if !list.is_empty() => {
            Err(config.invalid("attention.layers", "an empty list"))
        }
        _ => Ok(()),
    }
}

/// Whether a configuration leaves a count to the code that reads it.
fn is_auto(config: &Config<'_>, key: &str) -> bool {
    matches!(config.text(key), Ok(Some("auto")))
}

/// A count that may be left to the code that reads it.
pub(super) fn count_or_auto(config: &Config<'_>, key: &str) -> Result<Option<usize>, BuildError> {
    match is_auto(config, key) {
        true => Ok(None),
        false => config.optional_count(key),
    }
}

pub(super) fn check_activation(config: &Config<'_>) -> Result<(), BuildError> {
    match config.text("hidden_act")?.unwrap_or("silu") {
        "silu" | "swish" => Ok(()),
        _ => Err(config.invalid("hidden_act", "silu")),
    }
}

/// `ssm.expand` times the width, twice unless the files say otherwise.
pub(super) fn expanded(config: &Config<'_>, width: usize) -> Result<usize, BuildError> {
    let inner = config.double("ssm.expand", 2.0)? * width as f64;
    if (1.0..1e9).contains(&inner) {
        Ok(inner as usize)
    } else {
        Err(config.invalid("ssm.expand", "a factor for the width"))
    }
}

/// Keys of the authors that GGUF does not have.
pub(super) const AUTHORS_KEYS: &[&str] =
    &["ssm.expand", "ssm.head_dim", "rms_norm", "attention.layers"];

/// Whether these are the authors' own, who do not write what a model is: their configurations are
/// of one kind.
pub(super) fn is_the_authors(config: &Metadata) -> bool {
    let has = |key: &str| config.value(key).is_some();
    let sizes = ["d_model", "n_layer"].map(|key| config.u64(key).is_some());
    sizes == [true; 2] && has("fused_add_norm") && !has("model_type")
}

/// Whether an author's configuration is of the second generation.
pub(super) fn says_mamba2(config: &Metadata) -> bool {
    config.str("ssm_cfg.layer") == Some("Mamba2")
}

/// The width between a layer's projections, where only the factor is known.
pub(super) fn expanded_width(keys: &GgufKeys<'_>) -> u64 {
    let width = keys.count("embedding_length").unwrap_or(0);
    (width as f64 * keys.float("ssm.expand").unwrap_or(2.0)) as u64
}

/// What configurations leave to be known, and what readers of GGUF insist on.
pub(super) fn complete(keys: &mut GgufKeys<'_>, inner: u64, rank: u64, states: u64) {
    let number = |count: u64| MetadataValue::U32(u32::try_from(count).unwrap_or(0));
    if keys.values.str("ssm.time_step_rank").is_some() {
        keys.remove(&["ssm.time_step_rank"]);
    }
    keys.put_usual("ssm.inner_size", number(inner));
    keys.put_usual("ssm.time_step_rank", number(rank));
    keys.put_usual("ssm.state_size", number(states));
    keys.put_usual("ssm.conv_kernel", MetadataValue::U32(4));
    keys.put_usual("context_length", MetadataValue::U32(conversion::ANY_LENGTH));
    keys.put_usual("attention.layer_norm_rms_epsilon", MetadataValue::F32(1e-5));
    // Without meaning.
    keys.put_usual("attention.head_count", MetadataValue::U32(0));
    keys.put_usual("feed_forward_length", MetadataValue::U32(0));
}

/// Keys and layers of a model of known shape.
fn outline(model: &mut Outline, inner: u64, rank: u64) {
    const TAPS: u64 = 4;
    const STATES: u64 = 16;
    model.counts(&[
        ("feed_forward_length", 0),
        ("attention.head_count", 0),
        ("ssm.conv_kernel", TAPS),
        ("ssm.inner_size", inner),
        ("ssm.state_size", STATES),
        ("ssm.time_step_rank", rank),
    ]);
    let width = model.shape.width;
    // A = −1, −2 … for each channel, as real ones begin (Gu & Dao 2023, section 3.6).
    let a = (0..inner * STATES).map(|index| -((index % STATES + 1) as f32));
    let a: Vec<f32> = a.collect();
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}");
        model.norm(&name("attn_norm.weight"), width);
        model.matrix(&name("ssm_in.weight"), &[2 * inner, width]);
        model.normal(&name("ssm_conv1d.weight"), &[inner, TAPS], 0.0, 0.3);
        model.normal(&name("ssm_conv1d.bias"), &[inner], 0.0, 0.1);
        model.matrix(&name("ssm_x.weight"), &[rank + 2 * STATES, inner]);
        model.matrix(&name("ssm_dt.weight"), &[inner, rank]);
        // softplus(−4.6) is 0.01, in the middle of where steps begin.
        model.normal(&name("ssm_dt.bias"), &[inner], -4.6, 0.7);
        model.given(&name("ssm_a"), &[inner, STATES], &a);
        model.normal(&name("ssm_d"), &[inner], 1.0, 0.1);
        model.matrix(&name("ssm_out.weight"), &[width, inner]);
    }
}
