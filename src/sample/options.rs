//! What a sampler is asked to do.

use super::SampleStage;
use crate::setters::setters;
use std::fmt;

/// How a token is chosen. What is not said is as in llama.cpp.
///
/// ```
/// use rillm::sample::SampleOptions;
///
/// let options = SampleOptions::default().temperature(0.7).top_p(0.9).seed(7);
/// options.check()?;
/// # Ok::<(), rillm::sample::InvalidOption>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SampleOptions {
    /// Makes the choices repeatable.
    pub seed: u64,
    /// The order of the stages; one that is left out does nothing.
    pub stages: Vec<SampleStage>,
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
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Mirostat {
    /// The surprise to aim at, in bits.
    pub tau: f32,
    /// How fast it is approached, 0 to 1.
    pub eta: f32,
}

setters! {
    SampleOptions {
        seed: u64,
        stages: impl Into<Vec<SampleStage>>,
        min_keep: usize,
        temperature: f32,
        dynamic_temperature: f32,
        dynamic_temperature_exponent: f32,
        top_k: usize,
        top_p: f32,
        min_p: f32,
        typical_p: f32,
        top_n_sigma: f32,
        xtc_probability: f32,
        xtc_threshold: f32,
        penalty_last_n: usize,
        repeat_penalty: f32,
        presence_penalty: f32,
        frequency_penalty: f32,
        dry: DryOptions,
        mirostat: impl Into<Option<Mirostat>>,
        logit_bias: impl Into<Vec<(u32, f32)>>,
    }
}

setters! {
    DryOptions {
        multiplier: f32,
        base: f32,
        allowed_length: usize,
        last_n: usize,
        breakers: impl Into<Vec<Vec<u32>>>,
    }
}

setters! {
    Mirostat {
        tau: f32,
        eta: f32,
    }
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
            stages: SampleStage::ORDER.to_vec(),
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
