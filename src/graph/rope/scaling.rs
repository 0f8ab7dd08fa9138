//! Contexts stretched beyond what was trained: LongRoPE and YaRN.

use super::{Divisors, Layers, plain};
use crate::graph::{BuildError, Builder, Config};
use rillm_formats::manifest::Container;
use std::f64::consts::PI;

/// LongRoPE's two tables.
pub(super) struct LongRope {
    pub short: Divisors,
    pub long: Divisors,
}

impl LongRope {
    /// In a Hugging Face folder they are lists, in GGUF tensors.
    pub fn find(
        builder: &Builder<'_>,
        pairs: usize,
        layers: Layers,
    ) -> Result<Option<LongRope>, BuildError> {
        let names = ["rope_factors_short.weight", "rope_factors_long.weight"];
        if names.iter().any(|name| builder.has(name)) {
            let [short, long] = names.map(|name| builder.vector(name, &[pairs]));
            let [short, long] = [Divisors::Tensor(short?), Divisors::Tensor(long?)];
            return Ok(Some(LongRope { short, long }));
        }
        let keys = ["rope.scaling.short_factor", "rope.scaling.long_factor"];
        let keys = keys.map(|key| layers.key(key));
        let keys = [keys[0].as_str(), keys[1].as_str()];
        let config = builder.config();
        if keys.iter().all(|key| config.value(key).is_none()) {
            return Ok(None);
        }
        let read = |key: &str| {
            let numbers = config.floats(key, pairs)?;
            match numbers.filter(|numbers| numbers.iter().all(|&number| number > 0.0)) {
                Some(numbers) => Ok(Divisors::Numbers(numbers)),
                None => Err(config.invalid(key, "a list of positive numbers")),
            }
        };
        let [short, long] = keys.map(read);
        Ok(Some(LongRope {
            short: short?,
            long: long?,
        }))
    }

    /// √(1 + ln s / ln trained) for a context stretched s-fold (Ding et al. 2024, section 4),
    /// unless the files say otherwise. GGUF always does, where there is one.
    pub fn magnitude(
        &self,
        config: &Config<'_>,
        trained: usize,
        layers: Layers,
    ) -> Result<f32, BuildError> {
        let factor = layers.key("rope.scaling.factor");
        let stretch = match config.value(&factor) {
            Some(_) => f64::from(config.positive(&factor, 1.0)?),
            None => config.count("context_length")? as f64 / trained as f64,
        };
        let default = match config.container {
            Container::Gguf => 1.0,
            Container::HuggingFace if stretch <= 1.0 => 1.0,
            Container::HuggingFace => (1.0 + stretch.ln() / (trained as f64).ln()).sqrt() as f32,
        };
        let magnitude = config.float(&layers.key("rope.scaling.attn_factor"), default)?;
        if magnitude.is_finite() {
            Ok(magnitude)
        } else {
            let key = "rope.scaling.original_context_length";
            Err(config.invalid(key, "a length above 1"))
        }
    }
}

/// YaRN (Peng et al. 2023): high frequencies stay, low ones are interpolated, with a ramp
/// between the dimensions that turn `beta_fast` and `beta_slow` times over the trained length.
pub(super) struct Yarn {
    factor: f64,
    trained: f64,
    fast: f64,
    slow: f64,
    truncate: bool,
    pub magnitude: f32,
}

impl Yarn {
    pub fn read(
        config: &Config<'_>,
        (trained, factor): (usize, f32),
        layers: Layers,
        truncates: bool,
    ) -> Result<Yarn, BuildError> {
        let float =
            |key: &str, default| config.float(&layers.key(&format!("rope.scaling.{key}")), default);
        let m_all = mscale_all_dim(config, layers)?;
        // GGUF has no key for the one, and takes it for the other.
        let usual = match config.container {
            Container::Gguf => m_all,
            Container::HuggingFace => 0.0,
        };
        let m = float("mscale", usual)?;
        let default = if m != 0.0 && m_all != 0.0 {
            temperature(m, factor) / temperature(m_all, factor)
        } else {
            temperature(1.0, factor)
        };
        Ok(Yarn {
            factor: f64::from(factor),
            trained: trained as f64,
            fast: f64::from(float("yarn_beta_fast", 32.0)?),
            slow: f64::from(float("yarn_beta_slow", 1.0)?),
            truncate: config.flag(&layers.key("rope.scaling.truncate"), truncates)?,
            magnitude: match config.container {
                // GGUF has two: Hugging Face's, which is the whole, and a factor on top.
                Container::Gguf => float("yarn_attn_factor", default)? * float("attn_factor", 1.0)?,
                Container::HuggingFace => float("attn_factor", default)?,
            },
        })
    }

    pub fn frequency(&self, base: f64, dims: usize, index: usize) -> f32 {
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

/// 0.1 m ln s + 1, the temperature of the paper's equation 22.
fn temperature(m: f32, factor: f32) -> f32 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * m * factor.ln() + 1.0
    }
}

/// m of what all elements of a query and a key are multiplied by, those that do not rotate
/// included. GGUF has a tenth of it.
fn mscale_all_dim(config: &Config<'_>, layers: Layers) -> Result<f32, BuildError> {
    let float = |key: &str| config.float(&layers.key(&format!("rope.scaling.{key}")), 0.0);
    match float("yarn_log_multiplier")? {
        0.0 => float("mscale_all_dim"),
        tenth => Ok(tenth / 0.1),
    }
}

/// What multiplies the scores of attention beside the rotation's own magnitude, where
/// `mscale_all_dim` is said, be it of YaRN or of another scaling (DeepSeek-V2 and later).
pub fn yarn_score_factor(config: &Config<'_>) -> Result<f32, BuildError> {
    let m_all = mscale_all_dim(config, Layers::All)?;
    match config.text("rope.scaling.type")? {
        Some("default" | "none") | None => Ok(1.0),
        Some(_) if m_all != 0.0 => {
            let factor = config.positive("rope.scaling.factor", 1.0)?;
            Ok(temperature(m_all, factor).powi(2))
        }
        Some(_) => Ok(1.0),
    }
}
