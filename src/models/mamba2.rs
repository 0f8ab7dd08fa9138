//! Mamba-2 (Dao & Gu 2024): selective state spaces whose channels form heads, each with one
//! decay, so that states can be large.

use super::known_shape::{ENDLESS, TINY, shapes};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only, Outline, Written, mamba};
use crate::graph::blocks::{embedding, head};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Config, Name, Net, Role, Value};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Mamba-2",
    gguf: &["mamba2"],
    hugging_face: &["mamba2"],
    off: &["use_bias"],
    family: Family::Recurrent,
    keys: &[
        mamba::KEYS,
        keys! {
            "ssm_cfg.d_ssm" => "ssm.inner_size",
            "num_heads" => "ssm.time_step_rank",
            "head_dim" => "ssm.head_dim",
            "ssm_cfg.headdim" => "ssm.head_dim",
            "n_groups" => "ssm.group_count",
            "ssm_cfg.ngroups" => "ssm.group_count",
            "time_step_limit" => "ssm.time_step_limit",
            "ssm_cfg.norm_before_gate" => "ssm.norm_before_gate",
            "ssm_cfg.rmsnorm" => "ssm.norm",
        },
    ],
    // The authors' code for transformers does not read it: gates come before norms.
    settled: &[
        ("norm_before_gate", Only::Any),
        ("layer_types", Only::Any),
        ("attn_cfg", Only::Any),
        ("ssm_cfg.layer", Only::Text(&["Mamba2"])),
        ("time_step_rank", Only::Any),
    ],
    names: &[
        mamba::ENDS,
        MIXER,
        names! {
            // Codestral Mamba as its authors store it.
            "model.backbone.embeddings.weight" => "token_embd.weight",
            "model.backbone.embedding.weight" => "token_embd.weight",
            "model.backbone.norm_f.weight" => "output_norm.weight",
            "model.lm_head.weight" => "output.weight",
            in "model.backbone.layers.{i}." => "blk.{i}." {
                "norm.weight" => "attn_norm.weight",
            }
        },
        CODESTRAL_MIXER,
    ],
    recognises: |config| mamba::is_the_authors(config) && mamba::says_mamba2(config),
    conversion: Conversion {
        keys: |keys| {
            let expanded = mamba::expanded_width(keys);
            let head_dim = keys.count("ssm.head_dim").unwrap_or(64);
            let heads = keys.count("ssm.time_step_rank");
            let inner = heads.map_or(expanded, |heads| heads.saturating_mul(head_dim));
            let rank = expanded.checked_div(head_dim).unwrap_or(0);
            mamba::complete(keys, inner, rank, 128);
            keys.put_usual("ssm.group_count", MetadataValue::U32(1));
            keys.remove(mamba::AUTHORS_KEYS);
        },
        tensor: |keys, tensor| Ok(vec![heads_in_columns(keys, tensor)]),
        ..Conversion::PLAIN
    },
    shapes: shapes! {
        "mamba2-370m", "Mamba-2 370M", [50_288, 1024, 48, ENDLESS] => tied
            outline(2048, [32, 1, 128]);
        "tiny-mamba2", "a Mamba-2 to try things out with", TINY => tied outline(512, [8, 2, 32]);
    },
    build,
    ..DECODER
};

/// The mixing layer's tensors under a layer's prefix.
macro_rules! mixer_names {
    ($prefix:literal) => {
        names! {
            in $prefix => "" {
                ".in_proj.*" => "blk.{i}.ssm_in.*",
                ".conv1d.*" => "blk.{i}.ssm_conv1d.*",
                ".dt_bias" => "blk.{i}.ssm_dt.bias",
                ".A_log" => "blk.{i}.ssm_a" as NegativeExp,
                ".D" => "blk.{i}.ssm_d",
                ".norm.weight" => "blk.{i}.ssm_norm.weight",
                ".out_proj.*" => "blk.{i}.ssm_out.*",
            }
        }
    };
}

const MIXER: &[Name] = mixer_names!("backbone.layers.{i}.mixer");
const CODESTRAL_MIXER: &[Name] = mixer_names!("model.backbone.layers.{i}.mixer");
/// As hybrids call them.
pub(super) const HYBRID_MIXER: &[Name] = mixer_names!("model.layers.{i}.mamba");

/// x ← x + Mixer(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    mamba::check_authors(config)?;
    if config.flag("ssm.norm_before_gate", false)? {
        return Err(config.invalid("ssm.norm_before_gate", "false"));
    }
    if !config.flag("ssm.norm", true)? {
        return Err(config.invalid("ssm.norm", "true"));
    }
    let mixer = Mamba2Mixer::read(config, width)?;

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        x = net.add(x, mixer.wire(&net, h, &layer, eps)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// Sizes of the mixing layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mamba2Mixer {
    width: usize,
    inner: usize,
    heads: usize,
    groups: usize,
    states: usize,
    taps: usize,
    /// What the step sizes are kept within.
    limits: (f32, f32),
    /// What z, x, B, C and Δ are multiplied by on their way in.
    pub factors: [f32; 5],
    /// Whether what is gated is normalised.
    pub normed: bool,
}

impl Mamba2Mixer {
    /// Reads `ssm.*` for a layer of `width` elements.
    pub(super) fn read(config: &Config<'_>, width: usize) -> Result<Mamba2Mixer, BuildError> {
        mamba::check_activation(config)?;
        let authors = mamba::is_authors(config);
        let or = |key: &str, usual: usize| match config.optional_count(key)? {
            Some(count) => Ok(count),
            None if authors => Ok(usual),
            None => config.count(key),
        };
        let (heads, inner) = if config.container == Container::Gguf {
            (
                config.count("ssm.time_step_rank")?,
                config.count("ssm.inner_size")?,
            )
        } else if authors {
            let inner = match config.optional_count("ssm.inner_size")? {
                Some(inner) => inner,
                None => mamba::expanded(config, width)?,
            };
            (inner / or("ssm.head_dim", 64)?, inner)
        } else {
            let heads = config.count("ssm.time_step_rank")?;
            let inner = match mamba::count_or_auto(config, "ssm.head_dim")? {
                Some(head_dim) => heads.saturating_mul(head_dim),
                // Where heads share what there is.
                None => match config.optional_count("ssm.inner_size")? {
                    Some(inner) => inner,
                    None => mamba::expanded(config, width)?,
                },
            };
            (heads, inner)
        };
        if heads == 0 || !inner.is_multiple_of(heads) {
            return Err(config.invalid("ssm.time_step_rank", "a divisor of the inner width"));
        }
        let groups = or("ssm.group_count", 1)?;
        if !heads.is_multiple_of(groups) || !inner.is_multiple_of(groups) {
            return Err(config.invalid("ssm.group_count", "a divisor of the head count"));
        }
        let mixer = Mamba2Mixer {
            width,
            inner,
            heads,
            groups,
            states: or("ssm.state_size", 128)?,
            taps: or("ssm.conv_kernel", 4)?,
            limits: limits(config)?,
            factors: [1.0; 5],
            normed: true,
        };
        match mixer.groups.checked_mul(mixer.states) {
            Some(selected) if selected < 1 << 40 && inner < 1 << 40 => Ok(mixer),
            _ => Err(config.invalid("ssm.state_size", "a smaller number")),
        }
    }

    /// Elements of z, x, B, C and Δ.
    fn parts(&self) -> [usize; 5] {
        let selected = self.groups * self.states;
        [self.inner, self.inner, selected, selected, self.heads]
    }

    /// out(RMS(SSD(silu(conv(u))) ⊙ silu(z))) with z, u and Δ = in(h).
    pub(super) fn wire(
        &self,
        net: &Net<'_, '_>,
        h: Value,
        layer: &str,
        eps: f32,
    ) -> Result<Value, BuildError> {
        let (inner, selected) = (self.inner, self.groups * self.states);
        let all = 2 * inner + 2 * selected + self.heads;
        let mut zu = net.linear(h, &format!("{layer}.ssm_in"), all)?;
        if self.factors != [1.0; 5] {
            let parts = self.factors.into_iter().zip(self.parts());
            let factors = parts.flat_map(|(factor, len)| (0..len).map(move |_| factor));
            zu = net.weigh(zu, net.builder.constant(factors));
        }
        let z = net.slice(zu, 0, inner);
        let u = net.slice(zu, inner, inner + 2 * selected);
        let dt = net.slice(zu, all - self.heads, self.heads);
        let u = net.conv(u, &format!("{layer}.ssm_conv1d"), self.taps)?;
        let dt = net.step_size(dt, &format!("{layer}.ssm_dt"), self.limits)?;

        let x = net.slice(u, 0, inner);
        let b = net.slice(u, inner, selected);
        let c = net.slice(u, inner + selected, selected);
        let model = net.builder;
        let a = model.vector(&format!("{layer}.ssm_a"), &[self.heads])?;
        let d = model.vector(&format!("{layer}.ssm_d"), &[self.heads])?;
        let y = net.head_scan([x, dt, b, c, z], a, d, self.groups);
        let y = match self.normed {
            true => net.rms_norm_parts(y, &format!("{layer}.ssm_norm"), self.groups, eps)?,
            false => y,
        };
        net.linear(y, &format!("{layer}.ssm_out"), self.width)
    }
}

/// Two numbers, the second of which may be infinite.
fn limits(config: &Config<'_>) -> Result<(f32, f32), BuildError> {
    use rillm_formats::manifest::MetadataValue;
    let key = "ssm.time_step_limit";
    let both = match config.value(key) {
        None => return Ok((0.0, f32::INFINITY)),
        Some(MetadataValue::Array(list)) if list.len() == 2 => (list.f64(0), list.f64(1)),
        Some(_) => (None, None),
    };
    match both {
        (Some(low), Some(high)) if low <= high => Ok((low as f32, high as f32)),
        _ => Err(config.invalid(key, "a list of two numbers, the smaller one first")),
    }
}

/// In GGUF, heads' numbers stand in a column, and a norm of groups in a row for each.
pub(super) fn heads_in_columns(keys: &GgufKeys<'_>, mut tensor: Written) -> Written {
    let groups = keys.count("ssm.group_count");
    match (tensor.part(), tensor.shape.as_slice()) {
        ("ssm_a" | "ssm_d", &[heads]) if groups.is_some() => tensor.shape = vec![heads, 1],
        ("ssm_norm", &[inner]) => {
            let groups = groups.unwrap_or(1).max(1);
            tensor.shape = vec![groups, inner / groups];
        }
        _ => {}
    }
    tensor
}

/// Keys and layers of a model of known shape.
fn outline(model: &mut Outline, inner: u64, [heads, groups, states]: [u64; 3]) {
    const TAPS: u64 = 4;
    model.counts(&[
        ("feed_forward_length", 0),
        ("attention.head_count", 0),
        ("ssm.conv_kernel", TAPS),
        ("ssm.inner_size", inner),
        ("ssm.state_size", states),
        ("ssm.time_step_rank", heads),
        ("ssm.group_count", groups),
    ]);
    let (width, mixed) = (model.shape.width, inner + 2 * groups * states);
    // A between −1 and −16, as real ones begin (Dao & Gu 2024, section 9).
    let a = (0..heads).map(|head| -1.0 - 15.0 * head as f32 / heads as f32);
    let a: Vec<f32> = a.collect();
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}");
        model.norm(&name("attn_norm.weight"), width);
        model.matrix(&name("ssm_in.weight"), &[inner + mixed + heads, width]);
        model.normal(&name("ssm_conv1d.weight"), &[mixed, TAPS], 0.0, 0.3);
        model.normal(&name("ssm_conv1d.bias"), &[mixed], 0.0, 0.1);
        model.normal(&name("ssm_dt.bias"), &[heads], -4.6, 0.7);
        model.given(&name("ssm_a"), &[heads, 1], &a);
        model.normal(&name("ssm_d"), &[heads, 1], 1.0, 0.1);
        let parts = [groups, inner / groups];
        model.normal(&name("ssm_norm.weight"), &parts, 1.0, 0.1);
        model.matrix(&name("ssm_out.weight"), &[width, inner]);
    }
}
