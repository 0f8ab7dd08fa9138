//! From a vector for each token to one for the text.

use std::fmt;
use std::str::FromStr;

/// How a text's vector comes from its tokens'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// The first token's.
    Cls,
    /// The largest value of each dimension.
    Max,
    /// Their mean.
    Mean,
    /// Their sum over the root of their number.
    MeanSqrtLen,
    /// Their mean, each weighted by its number, from 1 on.
    WeightedMean,
    /// The last token's.
    LastToken,
}

impl Pooling {
    /// All of them, in the order in which several are put side by side.
    pub const ALL: [Pooling; 6] = [
        Pooling::Cls,
        Pooling::Max,
        Pooling::Mean,
        Pooling::MeanSqrtLen,
        Pooling::WeightedMean,
        Pooling::LastToken,
    ];

    /// sentence-transformers' name of it.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Cls => "cls",
            Pooling::Max => "max",
            Pooling::Mean => "mean",
            Pooling::MeanSqrtLen => "mean_sqrt_len_tokens",
            Pooling::WeightedMean => "weightedmean",
            Pooling::LastToken => "lasttoken",
        }
    }

    /// Its key in `1_Pooling/config.json`.
    pub(super) fn key(self) -> &'static str {
        match self {
            Pooling::Cls => "pooling_mode_cls_token",
            Pooling::Max => "pooling_mode_max_tokens",
            Pooling::Mean => "pooling_mode_mean_tokens",
            Pooling::MeanSqrtLen => "pooling_mode_mean_sqrt_len_tokens",
            Pooling::WeightedMean => "pooling_mode_weightedmean_tokens",
            Pooling::LastToken => "pooling_mode_lasttoken",
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no way of pooling has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPooling(String);

impl fmt::Display for UnknownPooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Pooling::ALL.map(Pooling::name).join(", ");
        write!(
            f,
            "there is no pooling {:?}, expected one of {names}",
            self.0
        )
    }
}

impl std::error::Error for UnknownPooling {}

impl FromStr for Pooling {
    type Err = UnknownPooling;

    /// sentence-transformers' names, and llama.cpp's `last`.
    fn from_str(name: &str) -> Result<Pooling, UnknownPooling> {
        let mut all = Pooling::ALL.into_iter();
        match name {
            "last" => Ok(Pooling::LastToken),
            _ => all
                .find(|pooling| pooling.name() == name)
                .ok_or_else(|| UnknownPooling(name.to_string())),
        }
    }
}

/// A text's vector while its tokens' come in, one after the other.
#[derive(Clone, Debug)]
pub(super) struct PooledText {
    pooling: Pooling,
    /// The first token that counts: those before belong to the prompt.
    first: usize,
    weights: f64,
    sums: Vec<f64>,
}

impl PooledText {
    pub(super) fn new(pooling: Pooling, first: usize, width: usize) -> PooledText {
        let start = match pooling {
            Pooling::Max => f64::NEG_INFINITY,
            _ => 0.0,
        };
        PooledText {
            pooling,
            first,
            weights: 0.0,
            sums: vec![start; width],
        }
    }

    pub(super) fn push(&mut self, token: usize, values: &[f32]) {
        let replaces = match self.pooling {
            Pooling::Cls => token == 0,
            Pooling::LastToken => true,
            _ => false,
        };
        let counts = token >= self.first;
        let weight = match self.pooling {
            Pooling::WeightedMean => (token + 1) as f64,
            _ => 1.0,
        };
        for (sum, value) in self.sums.iter_mut().zip(values) {
            let value = f64::from(*value);
            match self.pooling {
                _ if replaces => *sum = value,
                Pooling::Max if counts => *sum = sum.max(value),
                Pooling::Mean | Pooling::MeanSqrtLen | Pooling::WeightedMean if counts => {
                    *sum += weight * value;
                }
                _ => {}
            }
        }
        if counts {
            self.weights += weight;
        }
    }

    /// Appends the vector.
    pub(super) fn finish(&self, out: &mut Vec<f32>) {
        // A text that is all prompt has none of its own, as in the reference.
        let weights = self.weights.max(1e-9);
        let divisor = match self.pooling {
            Pooling::Mean | Pooling::WeightedMean => weights,
            Pooling::MeanSqrtLen => weights.sqrt(),
            _ => 1.0,
        };
        let floor = match self.pooling {
            Pooling::Max => -1e9,
            _ => f64::NEG_INFINITY,
        };
        out.extend(
            self.sums
                .iter()
                .map(|sum| (sum / divisor).max(floor) as f32),
        );
    }
}
