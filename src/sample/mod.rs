//! From logits to a token.
//!
//! Stages narrow the candidates one after the other, in llama.cpp's order unless another is
//! asked for; what is left is drawn from. Everything a sampler needs is reserved once.
//!
//! [`Sampler`] chooses; [`log_probability`] and [`most_likely`] say how likely tokens were.
//!
//! ```
//! use rillm::sample::{log_probability, most_likely};
//!
//! let logits = [0.0, 2.0, 1.0];
//! let mut top = [(0, 0.0); 2];
//! most_likely(&logits, &mut top);
//! assert_eq!(top.map(|(token, _)| token), [1, 2]);
//! assert_eq!(top[0].1, log_probability(&logits, 1));
//! ```

mod candidates;
pub(crate) mod dry;
mod options;
mod recent;
mod stage;

pub use options::{DryOptions, InvalidOption, Mirostat, SampleOptions};
pub use stage::{SampleStage, UnknownSampleStage};

use candidates::Candidates;
use dry::Dry;
use recent::Recent;

/// Chooses tokens. Its memory is reserved once.
///
/// ```
/// use rillm::sample::{SampleOptions, Sampler};
///
/// let mut sampler = Sampler::new(SampleOptions::greedy(), 4, 16);
/// assert_eq!(sampler.sample(&[0.0, 1.5, -2.0, 0.5]), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SampleOptions,
    random: fastrand::Rng,
    candidates: Candidates,
    recent: Recent,
    dry: Dry,
    /// Mirostat's bound on surprise, in bits.
    mu: f32,
}

impl Sampler {
    /// A sampler over `vocabulary` tokens, for texts of up to `context` of them: as much as
    /// penalties without a bound may look back. Options out of range count as the nearest.
    pub fn new(options: SampleOptions, vocabulary: usize, context: usize) -> Sampler {
        let penalties = options.repeat_penalty != 1.0
            || options.presence_penalty != 0.0
            || options.frequency_penalty != 0.0;
        let last_n = if penalties { options.penalty_last_n } else { 0 };
        Sampler {
            random: fastrand::Rng::with_seed(options.seed),
            candidates: Candidates::new(vocabulary),
            recent: Recent::new(last_n.min(context), vocabulary),
            dry: Dry::new(&options.dry, vocabulary, context),
            mu: options.mirostat.map_or(0.0, |mirostat| 2.0 * mirostat.tau),
            options,
        }
    }

    /// What it was made with.
    pub fn options(&self) -> &SampleOptions {
        &self.options
    }

    /// Takes note of a token of the text: what penalties look back at.
    pub fn accept(&mut self, token: u32) {
        self.recent.push(token);
        self.dry.push(token);
    }

    /// Forgets the text, as if penalties had nothing to look back at.
    pub fn forget(&mut self) {
        self.recent.clear();
        self.dry.clear();
    }

    /// Forgets the text, and chooses as if anew.
    pub fn reset(&mut self) {
        self.forget();
        self.random = fastrand::Rng::with_seed(self.options.seed);
        self.mu = self
            .options
            .mirostat
            .map_or(0.0, |mirostat| 2.0 * mirostat.tau);
    }

    /// The candidates that the stages leave of these logits, with the probabilities by which one of
    /// them would be drawn; Mirostat narrows by other means and is left out.
    ///
    /// ```
    /// use rillm::sample::{SampleOptions, Sampler};
    ///
    /// let mut sampler = Sampler::new(SampleOptions::default(), 4, 16);
    /// let left = sampler.narrowed(&[0.0, 9.0, -2.0, 0.5]);
    /// assert_eq!(left.iter().map(|(token, _)| *token).max(), Some(1));
    /// ```
    pub fn narrowed(&mut self, logits: &[f32]) -> Vec<(u32, f32)> {
        self.candidates.fill(logits);
        for &(token, bias) in &self.options.logit_bias {
            self.candidates.bias(token, bias);
        }
        self.narrow();
        self.candidates.probabilities()
    }

    /// Mirostat's bound on surprise, in bits.
    pub(crate) fn mirostat_bound(&self) -> f32 {
        self.mu
    }

    /// The next token; 0 if there are no logits.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let options = &self.options;
        let plain = self.recent.is_off() && self.dry.is_off() && options.logit_bias.is_empty();
        // The stages that may drop the most likely token.
        let plain = plain && options.xtc_probability <= 0.0 && options.typical_p >= 1.0;
        let greedy =
            options.temperature <= 0.0 && options.stages.contains(&SampleStage::Temperature);
        if plain && greedy && options.mirostat.is_none() {
            return argmax(logits);
        }
        self.candidates.fill(logits);
        for &(token, bias) in &options.logit_bias {
            self.candidates.bias(token, bias);
        }
        if let Some(mirostat) = options.mirostat {
            if options.temperature > 0.0 {
                self.candidates.temperature(options.temperature);
            } else {
                self.candidates.best_alone();
            }
            let (token, surprise) = self.candidates.surprising(self.mu, &mut self.random);
            self.mu -= mirostat.eta * (surprise - mirostat.tau);
            return token;
        }
        self.narrow();
        self.candidates.draw(&mut self.random)
    }

    /// Runs the stages over all candidates.
    fn narrow(&mut self) {
        let (options, candidates) = (&self.options, &mut self.candidates);
        let keep = options.min_keep.max(1);
        for stage in &options.stages {
            match stage {
                SampleStage::Penalties if self.recent.is_off() => {}
                SampleStage::Penalties => {
                    candidates
                        .change(|token, logit| penalised(options, self.recent.count(token), logit));
                }
                SampleStage::Dry if self.dry.is_off() => {}
                SampleStage::Dry => {
                    self.dry.measure();
                    candidates.change(|token, logit| logit - self.dry.penalty(token));
                }
                SampleStage::TopNSigma => candidates.top_n_sigma(options.top_n_sigma),
                SampleStage::TopK => candidates.top_k(options.top_k, keep),
                SampleStage::TypicalP => candidates.typical_p(options.typical_p, keep),
                SampleStage::TopP => candidates.top_p(options.top_p, keep),
                SampleStage::MinP => candidates.min_p(options.min_p, keep),
                SampleStage::Xtc => candidates.xtc(
                    (options.xtc_probability, options.xtc_threshold),
                    keep,
                    &mut self.random,
                ),
                SampleStage::Temperature if options.temperature <= 0.0 => candidates.best_alone(),
                SampleStage::Temperature if options.dynamic_temperature > 0.0 => {
                    let (middle, range) = (options.temperature, options.dynamic_temperature);
                    candidates.dynamic_temperature(
                        (middle - range).max(0.0)..middle + range,
                        options.dynamic_temperature_exponent,
                    );
                }
                SampleStage::Temperature => candidates.temperature(options.temperature),
            }
        }
    }
}

/// A logit of a token that occurred so often.
fn penalised(options: &SampleOptions, count: u32, logit: f32) -> f32 {
    if count == 0 {
        return logit;
    }
    let repeated = if logit > 0.0 {
        logit / options.repeat_penalty
    } else {
        logit * options.repeat_penalty
    };
    repeated - options.frequency_penalty * count as f32 - options.presence_penalty
}

/// The index of the largest value, the first of equals; 0 if there is none.
pub fn argmax(values: &[f32]) -> u32 {
    let mut best = 0;
    for (index, &value) in values.iter().enumerate() {
        // What is not a number is never the best.
        if value > values[best] || values[best].is_nan() {
            best = index;
        }
    }
    best as u32
}

/// The natural logarithm of a token's probability: its logit less ln Σ exp(logits).
pub fn log_probability(logits: &[f32], token: u32) -> f64 {
    let logit = logits
        .get(token as usize)
        .copied()
        .map_or(f64::NEG_INFINITY, f64::from);
    logit - log_sum_exp(logits)
}

/// ln Σ exp(logits)
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    if most == f64::NEG_INFINITY {
        return most;
    }
    let sum: f64 = logits
        .iter()
        .map(|&logit| (f64::from(logit) - most).exp())
        .sum();
    most + sum.ln()
}

/// The most likely tokens and the logarithms of their probabilities, most likely first; as many
/// as `out` has room for.
pub fn most_likely(logits: &[f32], out: &mut [(u32, f64)]) {
    let sum = log_sum_exp(logits);
    let mut len = 0;
    for (token, &logit) in logits.iter().enumerate() {
        let found = f64::from(logit) - sum;
        let place = out[..len].partition_point(|&(_, other)| other >= found);
        if place < out.len() {
            len = (len + 1).min(out.len());
            out[place..len].rotate_right(1);
            out[place] = (token as u32, found);
        }
    }
}
