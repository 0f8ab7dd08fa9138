//! Rotary position embedding (Su et al. 2021) and the ways it has been stretched.

mod scaling;

use super::{BuildError, Builder, Config, Pairing, Vector};
use scaling::{LongRope, Yarn};

use rillm_formats::manifest::Container;
pub use scaling::yarn_score_factor;
use std::f64::consts::PI;

/// A rotary embedding with its scaling worked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Which elements pair up.
    pub pairing: Pairing,
    /// Radians per position of each pair.
    pub frequencies: RopeFrequencies,
    /// What divides the frequencies.
    pub division: Division,
    /// Factor on cos and sin (YaRN's attention factor).
    pub magnitude: f32,
}

/// What divides the frequencies, pair by pair.
#[derive(Clone, Debug, PartialEq)]
pub enum Division {
    /// Nothing.
    None,
    /// The same at any length (llama3's scaling in GGUF).
    Fixed(Divisors),
    /// One table up to the trained length, another one beyond (Ding et al. 2024, LongRoPE),
    /// chosen by the length after the current feed.
    ByLength {
        /// Up to the trained length.
        short: Divisors,
        /// Beyond.
        long: Divisors,
        /// The trained length.
        trained: u64,
    },
}

/// One divisor for each pair.
#[derive(Clone, Debug, PartialEq)]
pub enum Divisors {
    /// From the configuration.
    Numbers(Vec<f32>),
    /// From the files' tensors.
    Tensor(Vector),
}

/// Radians per position.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeFrequencies {
    /// The same at any length.
    Fixed(Vec<f32>),
    /// The same, for states without an end: angles are not rounded to single precision, in
    /// which neighbours are told apart ever less as positions grow (half a radian at ten million).
    Endless(Vec<f32>),
    /// NTK by parts of the length after the current feed ("dynamic"): the base grows once the
    /// trained length is passed.
    Dynamic {
        /// The base at the trained length.
        base: f32,
        /// Number of pairs.
        pairs: usize,
        /// Scaling factor.
        factor: f32,
        /// The trained length.
        trained: usize,
    },
}

/// Which layers' hyperparameters of rotation are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layers {
    /// Of layers that see everything, and of all where no others are told apart.
    All,
    /// Of layers that look through a sliding window.
    Sliding,
}

impl Layers {
    /// The canonical name of what `rope.…` is for all layers.
    fn key(self, key: &str) -> String {
        match (self, key.strip_prefix("rope.scaling.")) {
            (Layers::All, _) => key.to_string(),
            (Layers::Sliding, Some(key)) => format!("rope.scaling_swa.{key}"),
            (Layers::Sliding, None) => format!("{key}_swa"),
        }
    }
}

/// What is meant where the files do not say it.
#[derive(Clone, Copy, Debug)]
struct RopeDefaults {
    /// Of a head, how much is rotated.
    part: f64,
    base: f32,
    /// Whether YaRN's ramp begins and ends at whole dimensions.
    truncates: bool,
}

impl RopeDefaults {
    fn new(part: f64, base: f32) -> RopeDefaults {
        RopeDefaults {
            part,
            base,
            truncates: true,
        }
    }
}

/// Whether a configuration says by itself how layers rotate that look through a sliding window.
fn says_sliding(config: &Config<'_>) -> bool {
    let mut keys = config.keys.iter().copied().flatten();
    keys.any(|(canonical, theirs)| {
        let sliding = canonical.starts_with("rope.") && theirs.contains(".sliding_attention.");
        sliding && config.metadata.value(theirs).is_some()
    })
}

/// Most elements of a head that can be rotated: frequencies are worked out before any tensor
/// has confirmed the head's size.
const MAX_DIMS: usize = 1 << 16;

/// In GGUF, by how much texts may be longer before the base grows with them.
pub const DYNAMIC: &str = "rope.scaling.dynamic_factor";

impl Rope {
    /// Number of elements of a head that are rotated.
    pub fn dims(&self) -> usize {
        2 * match &self.frequencies {
            RopeFrequencies::Fixed(fixed) | RopeFrequencies::Endless(fixed) => fixed.len(),
            RopeFrequencies::Dynamic { pairs, .. } => *pairs,
        }
    }

    /// Radians per position of pair `index`, before division, when the feed ends at `length`
    /// positions.
    pub fn frequency(&self, index: usize, length: u64) -> f32 {
        match &self.frequencies {
            RopeFrequencies::Fixed(fixed) | RopeFrequencies::Endless(fixed) => fixed[index],
            &RopeFrequencies::Dynamic {
                base,
                pairs,
                factor,
                trained,
            } => {
                let dims = 2.0 * pairs as f64;
                let (factor, trained) = (f64::from(factor), trained as f64);
                let over = (length as f64).max(trained);
                let grown = f64::from(base)
                    * (factor * over / trained - (factor - 1.0)).powf(dims / (dims - 2.0));
                plain(grown, 2 * pairs, index)
            }
        }
    }

    /// The angle of a pair of this frequency at a position: rounded as the references round it,
    /// or not at all where there is no last position.
    pub fn angle(&self, frequency: f32, position: u64) -> f64 {
        match self.frequencies {
            RopeFrequencies::Endless(_) => position as f64 * f64::from(frequency),
            RopeFrequencies::Fixed(_) | RopeFrequencies::Dynamic { .. } => {
                f64::from(position as f32 * frequency)
            }
        }
    }

    /// What divides the frequencies when the feed ends at `length` positions.
    pub fn divisors(&self, length: u64) -> Option<&Divisors> {
        match &self.division {
            Division::None => None,
            Division::Fixed(divisors) => Some(divisors),
            Division::ByLength { long, trained, .. } if length > *trained => Some(long),
            Division::ByLength { short, .. } => Some(short),
        }
    }

    /// Reads `rope.*` hyperparameters for heads of `head_dim` elements.
    pub fn read(
        builder: &Builder<'_>,
        pairing: Pairing,
        head_dim: usize,
    ) -> Result<Rope, BuildError> {
        Rope::read_from(builder, pairing, head_dim, 10000.0)
    }

    /// The same where `part` of a head is rotated if the files do not say.
    pub fn read_part(
        builder: &Builder<'_>,
        pairing: Pairing,
        head_dim: usize,
        part: f64,
    ) -> Result<Rope, BuildError> {
        Rope::read_whole(builder, pairing, head_dim, (part, 10000.0))
    }

    /// The same where the base is another one if the files do not say.
    pub fn read_from(
        builder: &Builder<'_>,
        pairing: Pairing,
        head_dim: usize,
        base: f32,
    ) -> Result<Rope, BuildError> {
        Rope::read_whole(builder, pairing, head_dim, (1.0, base))
    }

    /// Refuses a folder that does not say how its rotation is scaled, be it `default`, for a class that
    /// would scale it then: no published folder leaves it to that.
    ///
    /// # Errors
    /// Names the key.
    pub fn expect_scaling(config: &Config<'_>) -> Result<(), BuildError> {
        const KEY: &str = "rope.scaling.type";
        match config.container == Container::HuggingFace && config.value(KEY).is_none() {
            true => Err(config.missing(KEY)),
            false => Ok(()),
        }
    }

    /// The one rotation of a model that has no other: a part of each head, from a base.
    pub fn read_whole(
        builder: &Builder<'_>,
        pairing: Pairing,
        head_dim: usize,
        (part, base): (f64, f32),
    ) -> Result<Rope, BuildError> {
        let defaults = RopeDefaults::new(part, base);
        let read = |layers| Rope::read_layers(builder, pairing, head_dim, layers, defaults);
        let rope = read(Layers::All)?;
        let config = builder.config();
        if says_sliding(config) && read(Layers::Sliding)? != rope {
            let expected = "what it is for full attention: all layers rotate alike";
            return Err(config.invalid("rope.freq_base_swa", expected));
        }
        Ok(rope)
    }

    /// The rotations of layers that see everything and of those that look through a sliding
    /// window, which are scaled only where a configuration says it of them by themselves. `bases`
    /// are theirs if the files do not say.
    pub fn read_both(
        builder: &Builder<'_>,
        pairing: Pairing,
        head_dim: usize,
        bases: [f32; 2],
    ) -> Result<[Rope; 2], BuildError> {
        let config = builder.config();
        let read = |layers, base| {
            let defaults = RopeDefaults::new(1.0, base);
            Rope::read_layers(builder, pairing, head_dim, layers, defaults)
        };
        let [all, sliding] = bases;
        let rope = read(Layers::All, all)?;
        if says_sliding(config) {
            return Ok([rope, read(Layers::Sliding, sliding)?]);
        }
        let base = config.positive("rope.freq_base_swa", sliding)?;
        let dims = rotated(config, head_dim, 1.0, Layers::All)?;
        Ok([rope, Rope::plain(pairing, dims, base)])
    }

    /// All of each head, from a base if the files do not say; a ramp of YaRN begins and ends between
    /// dimensions unless they say otherwise.
    pub fn read_continuous(
        builder: &Builder<'_>,
        pairing: Pairing,
        head_dim: usize,
        base: f32,
    ) -> Result<Rope, BuildError> {
        let usual = RopeDefaults {
            part: 1.0,
            base,
            truncates: false,
        };
        Rope::read_layers(builder, pairing, head_dim, Layers::All, usual)
    }

    fn read_layers(
        builder: &Builder<'_>,
        pairing: Pairing,
        head_dim: usize,
        layers: Layers,
        usual: RopeDefaults,
    ) -> Result<Rope, BuildError> {
        let RopeDefaults {
            part,
            base,
            truncates,
        } = usual;
        let config = builder.config();
        let key = |key: &str| layers.key(key);
        let dims = rotated(config, head_dim, part, layers)?;
        let pairs = dims / 2;
        let base = config.positive(&key("rope.freq_base"), base)?;
        let original =
            || match config.optional_count(&key("rope.scaling.original_context_length"))? {
                Some(length) => Ok(length),
                None => config.count("context_length"),
            };
        let mut rope = Rope::plain(pairing, dims, base);
        if let Some(tensor) = builder.optional_vector("rope_freqs.weight", &[pairs])? {
            rope.division = Division::Fixed(Divisors::Tensor(tensor));
        }
        let long = LongRope::find(builder, pairs, layers)?;
        let base = f64::from(base);
        let said = config.text(&key("rope.scaling.type"))?;
        let factor = match config.value(&key("rope.scaling.factor")) {
            Some(_) => Some(config.positive(&key("rope.scaling.factor"), 1.0)?),
            None => match config.value("rope.scale_linear") {
                Some(_) => Some(config.positive("rope.scale_linear", 1.0)?),
                None => None,
            },
        };
        let dynamic = config.value(&key(DYNAMIC)).is_some();
        let kind = match said {
            _ if dynamic => "dynamic",
            // Files before the name was settled call it su or yarn, and GGUF files not at all.
            _ if long.is_some() => "longrope",
            Some(kind) => kind,
            // In GGUF a factor alone means linear scaling.
            None if config.container == Container::Gguf && factor.is_some_and(|f| f != 1.0) => {
                "linear"
            }
            None if factor.is_some_and(|factor| factor != 1.0) => {
                return Err(config.missing(&key("rope.scaling.type")));
            }
            None => "none",
        };
        let factor = || match factor {
            _ if dynamic => config.positive(&key(DYNAMIC), 1.0),
            Some(factor) => Ok(factor),
            // Readers of GGUF take none for one.
            None if config.container == Container::Gguf => Ok(1.0),
            None if kind == "yarn" && config.is_null(&key("rope.scaling.factor")) => {
                Ok(config.count("context_length")? as f32 / original()? as f32)
            }
            None => Err(config.missing(&key("rope.scaling.factor"))),
        };
        match (kind, long) {
            ("none" | "default", _) => {}
            ("linear", _) => {
                let factor = factor()?;
                rope.frequencies = fixed(pairs, |i| plain(base, dims, i) / factor);
            }
            ("dynamic", _) => {
                rope.frequencies = RopeFrequencies::Dynamic {
                    base: base as f32,
                    pairs,
                    factor: factor()?,
                    trained: config.count("context_length")?,
                };
            }
            ("yarn", _) => {
                let yarn = Yarn::read(config, (original()?, factor()?), layers, truncates)?;
                rope.magnitude = yarn.magnitude;
                rope.frequencies = fixed(pairs, |i| yarn.frequency(base, dims, i));
            }
            ("longrope", Some(tables)) => {
                let trained = original()?;
                rope.magnitude = tables.magnitude(config, trained, layers)?;
                rope.division = Division::ByLength {
                    short: tables.short,
                    long: tables.long,
                    trained: trained as u64,
                };
            }
            ("llama3", _) => {
                let trained = original()? as f64;
                let bound = |name: &str, usual: f64| {
                    let key = key(name);
                    match config.value(&key) {
                        Some(_) => Ok(f64::from(config.float(&key, 0.0)?)),
                        None if config.container == Container::Gguf => Ok(usual),
                        None => Err(config.missing(&key)),
                    }
                };
                let low = bound("rope.scaling.low_freq_factor", 1.0)?;
                let high = bound("rope.scaling.high_freq_factor", 4.0)?;
                let wide = f64::from(factor()?);
                if low <= 0.0 || high < low {
                    let expected = "no number below low_freq_factor, which is above zero";
                    return Err(config.invalid(&key("rope.scaling.high_freq_factor"), expected));
                }
                rope.frequencies = fixed(pairs, |i| {
                    let frequency = f64::from(plain(base, dims, i));
                    let wave = 2.0 * PI / frequency;
                    let smooth = match high > low {
                        true => ((trained / wave - low) / (high - low)).clamp(0.0, 1.0),
                        // Nothing lies between, as in Llama 4 Scout.
                        false => f64::from(trained / wave >= low),
                    };
                    ((1.0 - smooth) * frequency / wide + smooth * frequency) as f32
                });
            }
            _ => {
                let expected = "none, linear, dynamic, yarn, llama3, or longrope with its tables";
                return Err(config.invalid(&key("rope.scaling.type"), expected));
            }
        }
        Ok(rope)
    }

    /// One that nothing scales.
    pub fn plain(pairing: Pairing, dims: usize, base: f32) -> Rope {
        Rope {
            pairing,
            frequencies: fixed(dims / 2, |i| plain(f64::from(base), dims, i)),
            division: Division::None,
            magnitude: 1.0,
        }
    }
}

/// How many elements of a head are rotated: as many as are said, a part, or all.
fn rotated(
    config: &Config<'_>,
    head_dim: usize,
    part: f64,
    layers: Layers,
) -> Result<usize, BuildError> {
    let (count, factor) = (
        layers.key("rope.dimension_count"),
        layers.key("rope.partial_factor"),
    );
    let dims = match config.optional_count(&count)? {
        Some(dims) => dims,
        // Rounded down, as the reference does it.
        None => (head_dim as f64 * config.double(&factor, part)?) as usize,
    };
    let most = head_dim.min(MAX_DIMS);
    if dims > 0 && dims <= most && dims.is_multiple_of(2) {
        return Ok(dims);
    }
    if config.value(&count).is_none() && config.value(&factor).is_some() {
        let expected = format!("a part of the head's {head_dim} elements that is an even number");
        return Err(config.invalid(&factor, &expected));
    }
    let said = config.value(&count).is_some();
    let key = if said {
        count.as_str()
    } else {
        "attention.key_length"
    };
    Err(config.invalid(key, &format!("an even number up to {most}")))
}

fn fixed(pairs: usize, frequency: impl Fn(usize) -> f32) -> RopeFrequencies {
    RopeFrequencies::Fixed((0..pairs).map(frequency).collect())
}

/// base^(−2i / dims)
fn plain(base: f64, dims: usize, index: usize) -> f32 {
    base.powf(-(2.0 * index as f64) / dims as f64) as f32
}
