//! Rotary position embedding (Su et al. 2021) and the ways it has been stretched.

use super::{BuildError, Builder, Pairing, Vector};
use rillm_formats::manifest::Container;
use std::f64::consts::PI;

/// A rotary embedding with its scaling worked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Which elements pair up.
    pub pairing: Pairing,
    /// Radians per position of each pair.
    pub frequencies: Frequencies,
    /// A tensor that divides the frequencies, as some GGUF files carry.
    pub divisors: Option<Vector>,
    /// Factor on cos and sin (YaRN's attention factor).
    pub magnitude: f32,
}

/// Radians per position.
#[derive(Clone, Debug, PartialEq)]
pub enum Frequencies {
    /// The same at any length.
    Fixed(Vec<f32>),
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

/// Most elements of a head that can be rotated: frequencies are worked out before any tensor
/// has confirmed the head's size.
const MAX_DIMS: usize = 1 << 16;

impl Rope {
    /// Number of elements of a head that are rotated.
    pub fn dims(&self) -> usize {
        2 * match &self.frequencies {
            Frequencies::Fixed(fixed) => fixed.len(),
            Frequencies::Dynamic { pairs, .. } => *pairs,
        }
    }

    /// Radians per position of pair `index` when the feed ends at `length` positions.
    pub fn frequency(&self, index: usize, length: u64) -> f32 {
        match &self.frequencies {
            Frequencies::Fixed(fixed) => fixed[index],
            &Frequencies::Dynamic {
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

    /// Reads `rope.*` hyperparameters for heads of `dims` rotated elements.
    pub fn read(builder: &Builder<'_>, pairing: Pairing, dims: usize) -> Result<Rope, BuildError> {
        let hyper = builder.hyper();
        let most = dims.min(MAX_DIMS);
        let dims = match hyper.optional_count("rope.dimension_count")? {
            Some(found) if found > most || !found.is_multiple_of(2) => {
                let expected = format!("an even number up to {most}");
                return Err(hyper.invalid("rope.dimension_count", &expected));
            }
            Some(found) => found,
            None if !dims.is_multiple_of(2) || dims > MAX_DIMS => {
                let expected = format!("an even number up to {MAX_DIMS}");
                return Err(hyper.invalid("attention.key_length", &expected));
            }
            None => dims,
        };
        let base = hyper.float("rope.freq_base", 10000.0)?;
        let factor = hyper.float(
            "rope.scaling.factor",
            hyper.float("rope.scale_linear", 1.0)?,
        )?;
        if base <= 0.0 || factor <= 0.0 {
            let key = if base <= 0.0 {
                "rope.freq_base"
            } else {
                "rope.scaling.factor"
            };
            return Err(hyper.invalid(key, "a positive number"));
        }
        let pairs = dims / 2;
        let original =
            |fallback: &str| match hyper.optional_count("rope.scaling.original_context_length")? {
                Some(length) => Ok(length),
                None => hyper.count(fallback),
            };
        let mut magnitude = 1.0;
        let base_wide = f64::from(base);
        // In GGUF a factor alone means linear scaling.
        let unnamed = if factor == 1.0 { "none" } else { "linear" };
        let kind = hyper.text("rope.scaling.type")?.unwrap_or(unnamed);
        let frequencies = match kind {
            "none" | "default" => fixed(pairs, |i| plain(base_wide, dims, i)),
            "linear" => fixed(pairs, |i| plain(base_wide, dims, i) / factor),
            "dynamic" => {
                let trained = hyper.count("context_length")?;
                Frequencies::Dynamic {
                    base,
                    pairs,
                    factor,
                    trained,
                }
            }
            "yarn" => {
                let trained = original("context_length")?;
                let yarn = Yarn::read(builder, trained, factor)?;
                magnitude = yarn.magnitude;
                fixed(pairs, |i| yarn.frequency(base_wide, dims, i))
            }
            "llama3" => {
                let trained = original("context_length")? as f64;
                let low = f64::from(hyper.float("rope.scaling.low_freq_factor", 1.0)?);
                let high = f64::from(hyper.float("rope.scaling.high_freq_factor", 4.0)?);
                let wide = f64::from(factor);
                if low <= 0.0 || high <= low {
                    let expected = "a number above low_freq_factor, which is above zero";
                    return Err(hyper.invalid("rope.scaling.high_freq_factor", expected));
                }
                fixed(pairs, |i| {
                    let frequency = f64::from(plain(base_wide, dims, i));
                    let wave = 2.0 * PI / frequency;
                    let smooth = ((trained / wave - low) / (high - low)).clamp(0.0, 1.0);
                    ((1.0 - smooth) * frequency / wide + smooth * frequency) as f32
                })
            }
            _ => {
                let expected = "none, linear, dynamic, yarn or llama3";
                return Err(hyper.invalid("rope.scaling.type", expected));
            }
        };
        let divisors = builder.optional_vector("rope_freqs.weight", &[pairs])?;
        Ok(Rope {
            pairing,
            frequencies,
            divisors,
            magnitude,
        })
    }
}

/// YaRN (Peng et al. 2023): high frequencies stay, low ones are interpolated, with a ramp
/// between the dimensions that turn `beta_fast` and `beta_slow` times over the trained length.
struct Yarn {
    factor: f64,
    trained: f64,
    fast: f64,
    slow: f64,
    truncate: bool,
    magnitude: f32,
}

impl Yarn {
    fn read(builder: &Builder<'_>, trained: usize, factor: f32) -> Result<Yarn, BuildError> {
        let hyper = builder.hyper();
        // 0.1 m ln s + 1, the temperature of the paper's equation 22
        let temperature = |m: f32| {
            if factor <= 1.0 {
                1.0
            } else {
                0.1 * m * factor.ln() + 1.0
            }
        };
        let m = hyper.float("rope.scaling.mscale", 0.0)?;
        let m_all = hyper.float("rope.scaling.mscale_all_dim", 0.0)?;
        let default = if m != 0.0 && m_all != 0.0 {
            temperature(m) / temperature(m_all)
        } else {
            temperature(1.0)
        };
        Ok(Yarn {
            factor: f64::from(factor),
            trained: trained as f64,
            fast: f64::from(hyper.float("rope.scaling.yarn_beta_fast", 32.0)?),
            slow: f64::from(hyper.float("rope.scaling.yarn_beta_slow", 1.0)?),
            truncate: hyper.flag("rope.scaling.truncate", true)?,
            magnitude: match hyper.container {
                // GGUF's is a factor on top, Hugging Face's the whole.
                Container::Gguf => default * hyper.float("rope.scaling.attn_factor", 1.0)?,
                Container::HuggingFace => hyper.float("rope.scaling.attn_factor", default)?,
            },
        })
    }

    fn frequency(&self, base: f64, dims: usize, index: usize) -> f32 {
        let turning =
            |turns: f64| dims as f64 * (self.trained / (turns * 2.0 * PI)).ln() / (2.0 * base.ln());
        let (mut low, mut high) = (turning(self.fast), turning(self.slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        low = low.max(0.0);
        high = high.min(dims as f64 - 1.0);
        if low == high {
            high += 0.001; // the reference's guard against a ramp of no width
        }
        let ramp = ((index as f64 - low) / (high - low)).clamp(0.0, 1.0);
        let frequency = f64::from(plain(base, dims, index));
        (frequency / self.factor * ramp + frequency * (1.0 - ramp)) as f32
    }
}

fn fixed(pairs: usize, frequency: impl Fn(usize) -> f32) -> Frequencies {
    Frequencies::Fixed((0..pairs).map(frequency).collect())
}

/// base^(−2i / dims)
fn plain(base: f64, dims: usize, index: usize) -> f32 {
    base.powf(-(2.0 * index as f64) / dims as f64) as f32
}
