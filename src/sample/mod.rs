//! From logits to a token.
//!
//! Stages narrow the candidates one after the other, in llama.cpp's order unless another is
//! asked for; what is left is drawn from. Everything a sampler needs is reserved once.

mod candidates;
mod dry;
mod history;

use candidates::Candidates;
use dry::Dry;
use history::History;
use std::fmt;
use std::str::FromStr;

/// How a token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleOptions {
    /// Makes the choices repeatable.
    pub seed: u64,
    /// The order of the stages; one that is left out does nothing.
    pub stages: Vec<Stage>,
    /// Stages that drop candidates leave at least so many; 0 counts as 1.
    pub min_keep: usize,
    /// Divides the logits, 0 to 1000; 0 takes the most likely token.
    pub temperature: f32,
    /// Lets the temperature vary by as much up and down, with the entropy of the candidates;
    /// 0 to 1000, 0 does nothing.
    pub dynamic_temperature: f32,
    /// How that goes with the entropy: 1 is linearly.
    pub dynamic_temperature_exponent: f32,
    /// Keeps so many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most likely tokens whose probabilities reach this sum, 0 to 1
    /// (Holtzman et al. 2020); 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens with at least this share of the highest probability, 0 to 1
    /// (Nguyen et al. 2024); 0 keeps all.
    pub min_p: f32,
    /// Keeps the tokens whose surprise is nearest to the expected one until their
    /// probabilities reach this sum, 0 to 1 (Meister et al. 2022); 1 keeps all.
    pub typical_p: f32,
    /// Keeps tokens whose logits are within so many standard deviations of the highest
    /// (Tang et al. 2024); 0 or less keeps all.
    pub top_n_sigma: f32,
    /// How often all tokens above the threshold but the least likely one are dropped, 0 to 1.
    pub xtc_probability: f32,
    /// That threshold, a probability; above 0.5 it does nothing.
    pub xtc_threshold: f32,
    /// How many of the last tokens penalties look at; `usize::MAX` for all.
    pub penalty_last_n: usize,
    /// Divides the positive and multiplies the negative logits of such tokens
    /// (Keskar et al. 2019); 1 does nothing.
    pub repeat_penalty: f32,
    /// Is taken off the logits of such tokens; 0 does nothing.
    pub presence_penalty: f32,
    /// Is taken off the logits of such tokens for each time they occur; 0 does nothing.
    pub frequency_penalty: f32,
    /// Penalises going on with what was written before.
    pub dry: DryOptions,
    /// Aims at a surprise instead of dropping candidates: the stages but temperature are left
    /// out.
    pub mirostat: Option<Mirostat>,
    /// Is added to the logits of these tokens; −∞ forbids one.
    pub logit_bias: Vec<(u32, f32)>,
}

/// "Don't repeat yourself": a token that would lengthen a repetition of n tokens is penalised
/// by multiplier · base^(n − allowed length).
#[derive(Clone, Debug, PartialEq)]
pub struct DryOptions {
    /// 0 does nothing.
    pub multiplier: f32,
    /// At least 1.
    pub base: f32,
    /// Repetitions shorter than this go free.
    pub allowed_length: usize,
    /// How many of the last tokens it looks at; `usize::MAX` for all.
    pub last_n: usize,
    /// Repetitions do not reach over these.
    pub breakers: Vec<Vec<u32>>,
}

/// Mirostat 2 (Basu et al. 2021).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mirostat {
    /// The surprise to aim at, in bits.
    pub tau: f32,
    /// How fast it is approached, 0 to 1.
    pub eta: f32,
}

impl Default for Mirostat {
    fn default() -> Mirostat {
        Mirostat { tau: 5.0, eta: 0.1 }
    }
}

impl Default for DryOptions {
    fn default() -> DryOptions {
        DryOptions {
            multiplier: 0.0,
            base: 1.75,
            allowed_length: 2,
            last_n: 64,
            breakers: Vec::new(),
        }
    }
}

impl Default for SampleOptions {
    fn default() -> SampleOptions {
        SampleOptions {
            seed: 0,
            stages: Stage::ORDER.to_vec(),
            min_keep: 0,
            temperature: 0.8,
            dynamic_temperature: 0.0,
            dynamic_temperature_exponent: 1.0,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            top_n_sigma: -1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            penalty_last_n: 64,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            dry: DryOptions::default(),
            mirostat: None,
            logit_bias: Vec::new(),
        }
    }
}

/// A number out of range.
#[derive(Clone, Debug, PartialEq)]
pub struct InvalidOption {
    name: &'static str,
    found: f32,
    expected: &'static str,
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {}, expected {}",
            self.name, self.found, self.expected
        )
    }
}

impl std::error::Error for InvalidOption {}

impl SampleOptions {
    /// The most likely token, always.
    pub fn greedy() -> SampleOptions {
        SampleOptions {
            temperature: 0.0,
            ..SampleOptions::default()
        }
    }

    /// The model's probabilities as they are.
    pub fn unchanged(seed: u64) -> SampleOptions {
        SampleOptions {
            seed,
            stages: Vec::new(),
            ..SampleOptions::default()
        }
    }

    /// Whether every number is within its range.
    ///
    /// # Errors
    /// Names the first one that is not.
    pub fn check(&self) -> Result<(), InvalidOption> {
        let within = |name, found: f32, range: std::ops::RangeInclusive<f32>, expected| {
            if range.contains(&found) {
                Ok(())
            } else {
                Err(InvalidOption {
                    name,
                    found,
                    expected,
                })
            }
        };
        let share = "0 to 1";
        let large = "-1000 to 1000";
        within("temperature", self.temperature, 0.0..=1000.0, "0 to 1000")?;
        within(
            "dynamic temperature",
            self.dynamic_temperature,
            0.0..=1000.0,
            "0 to 1000",
        )?;
        within(
            "its exponent",
            self.dynamic_temperature_exponent,
            0.0..=100.0,
            "0 to 100",
        )?;
        within("top-p", self.top_p, 0.0..=1.0, share)?;
        within("min-p", self.min_p, 0.0..=1.0, share)?;
        within("typical-p", self.typical_p, 0.0..=1.0, share)?;
        within("top-n-sigma", self.top_n_sigma, -1000.0..=1000.0, large)?;
        within("xtc probability", self.xtc_probability, 0.0..=1.0, share)?;
        within("xtc threshold", self.xtc_threshold, 0.0..=1.0, share)?;
        within(
            "repeat penalty",
            self.repeat_penalty,
            0.001..=1000.0,
            "0.001 to 1000",
        )?;
        within(
            "presence penalty",
            self.presence_penalty,
            -1000.0..=1000.0,
            large,
        )?;
        within(
            "frequency penalty",
            self.frequency_penalty,
            -1000.0..=1000.0,
            large,
        )?;
        within(
            "dry multiplier",
            self.dry.multiplier,
            0.0..=1000.0,
            "0 to 1000",
        )?;
        within("dry base", self.dry.base, 1.0..=1000.0, "1 to 1000")?;
        if let Some(mirostat) = self.mirostat {
            within("mirostat's tau", mirostat.tau, 0.0..=100.0, "0 to 100")?;
            within("mirostat's eta", mirostat.eta, 0.0..=1.0, share)?;
        }
        for &(_, bias) in &self.logit_bias {
            let range = f32::NEG_INFINITY..=1000.0;
            within("a logit's bias", bias, range, "at most 1000")?;
        }
        Ok(())
    }
}

/// One of the things that happen to candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is an option of the same name
pub enum Stage {
    Penalties,
    Dry,
    TopNSigma,
    TopK,
    TypicalP,
    TopP,
    MinP,
    Xtc,
    Temperature,
}

impl Stage {
    /// Every stage, in llama.cpp's order.
    pub const ORDER: &'static [Stage] = &[
        Stage::Penalties,
        Stage::Dry,
        Stage::TopNSigma,
        Stage::TopK,
        Stage::TypicalP,
        Stage::TopP,
        Stage::MinP,
        Stage::Xtc,
        Stage::Temperature,
    ];

    /// The name users know from llama.cpp's `--samplers`.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Penalties => "penalties",
            Stage::Dry => "dry",
            Stage::TopNSigma => "top_n_sigma",
            Stage::TopK => "top_k",
            Stage::TypicalP => "typ_p",
            Stage::TopP => "top_p",
            Stage::MinP => "min_p",
            Stage::Xtc => "xtc",
            Stage::Temperature => "temperature",
        }
    }
}

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(name: &str) -> Result<Stage, UnknownStage> {
        let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
        let name = match plain(name).as_str() {
            "typical" | "typical_p" => "typ_p".to_string(),
            "temp" => "temperature".to_string(),
            other => other.to_string(),
        };
        let mut stages = Stage::ORDER.iter().copied();
        stages
            .find(|stage| stage.name() == name)
            .ok_or(UnknownStage)
    }
}

/// No stage has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownStage;

impl fmt::Display for UnknownStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such stage; known are ")?;
        for (index, stage) in Stage::ORDER.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, stage.name())?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownStage {}

/// Chooses tokens. Its memory is reserved once.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SampleOptions,
    random: fastrand::Rng,
    candidates: Candidates,
    history: History,
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
            history: History::new(last_n.min(context), vocabulary),
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
        self.history.push(token);
        self.dry.push(token);
    }

    /// Forgets the text, as if penalties had nothing to look back at.
    pub fn forget(&mut self) {
        self.history.clear();
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

    /// The next token; 0 if there are no logits.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let options = &self.options;
        let plain = self.history.is_off() && self.dry.is_off() && options.logit_bias.is_empty();
        let greedy = options.temperature <= 0.0 && options.stages.contains(&Stage::Temperature);
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
                Stage::Penalties if self.history.is_off() => {}
                Stage::Penalties => {
                    candidates.change(|token, logit| {
                        penalised(options, self.history.count(token), logit)
                    });
                }
                Stage::Dry if self.dry.is_off() => {}
                Stage::Dry => {
                    self.dry.measure();
                    candidates.change(|token, logit| logit - self.dry.penalty(token));
                }
                Stage::TopNSigma => candidates.top_n_sigma(options.top_n_sigma),
                Stage::TopK => candidates.top_k(options.top_k, keep),
                Stage::TypicalP => candidates.typical_p(options.typical_p, keep),
                Stage::TopP => candidates.top_p(options.top_p, keep),
                Stage::MinP => candidates.min_p(options.min_p, keep),
                Stage::Xtc => candidates.xtc(
                    (options.xtc_probability, options.xtc_threshold),
                    keep,
                    &mut self.random,
                ),
                Stage::Temperature if options.temperature <= 0.0 => candidates.best_alone(),
                Stage::Temperature if options.dynamic_temperature > 0.0 => {
                    let (middle, range) = (options.temperature, options.dynamic_temperature);
                    candidates.dynamic_temperature(
                        (middle - range).max(0.0)..middle + range,
                        options.dynamic_temperature_exponent,
                    );
                }
                Stage::Temperature => candidates.temperature(options.temperature),
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

#[cfg(test)]
mod tests;
