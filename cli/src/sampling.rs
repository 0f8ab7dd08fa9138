//! Options that say how tokens are chosen, named as in llama.cpp.

mod effect;

use super::CliError;
use super::output::warn;
use clap::Args;
use rillm::Model;
use rillm::formats::tokenizer::Tokenizer;
use rillm::generate::{GenerationConfig, breakers};
use rillm::sample::{DryOptions, Mirostat, SampleOptions, SampleStage};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Choice of tokens")]
pub struct SampleArguments {
    /// Randomness; 0 always takes the most likely token [default: 0.8]
    #[arg(long = "temp", alias = "temperature", allow_negative_numbers = true, value_name = "T", value_parser = within(0.0, 1000.0))]
    temperature: Option<f32>,
    /// Makes the choices repeatable; -1 is a new one each time [default: -1]
    #[arg(short, long, allow_negative_numbers = true, value_parser = seed)]
    seed: Option<Seed>,
    /// Keep so many of the most likely tokens; 0 and -1 keep all [default: 40]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    top_k: Option<i64>,
    /// Keep the most likely tokens that reach this probability together; 1 keeps all [default:
    /// 0.95]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = within(0.0, 1.0))]
    top_p: Option<f32>,
    /// Keep tokens with this share of the highest probability; 0 keeps all [default: 0.05]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = within(0.0, 1.0))]
    min_p: Option<f32>,
    /// Keep the tokens that surprise as expected, up to this probability; 1 keeps all
    #[arg(long = "typical", alias = "typical-p", value_name = "P", allow_negative_numbers = true, value_parser = within(0.0, 1.0))]
    typical_p: Option<f32>,
    /// Keep tokens with logits within so many deviations of the highest; -1 keeps all
    #[arg(long = "top-nsigma", alias = "top-n-sigma", value_name = "N", allow_negative_numbers = true, value_parser = within(-1000.0, 1000.0))]
    top_n_sigma: Option<f32>,
    /// How often all tokens above the threshold but the last are dropped; 0 is never
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = within(0.0, 1.0))]
    xtc_probability: Option<f32>,
    /// That threshold [default: 0.1]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = within(0.0, 1.0))]
    xtc_threshold: Option<f32>,
    /// How many of the last tokens penalties look at; -1 for all [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    repeat_last_n: Option<i64>,
    /// Divide the logits of tokens that occurred; 1 does nothing
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = within(0.001, 1000.0))]
    repeat_penalty: Option<f32>,
    /// Take off the logits of tokens that occurred; 0 does nothing
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = within(-1000.0, 1000.0))]
    presence_penalty: Option<f32>,
    /// Take off for each time they occurred; 0 does nothing
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = within(-1000.0, 1000.0))]
    frequency_penalty: Option<f32>,
    /// Penalise tokens that lengthen a repetition ("DRY"); 0 does nothing
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = within(0.0, 1000.0))]
    dry_multiplier: Option<f32>,
    /// How fast that grows with the repetition [default: 1.75]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = within(1.0, 1000.0))]
    dry_base: Option<f32>,
    /// Shorter repetitions go free [default: 2]
    #[arg(long, value_name = "N")]
    dry_allowed_length: Option<usize>,
    /// How many of the last tokens are looked at; -1 for all [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    dry_penalty_last_n: Option<i64>,
    /// A text that repetitions do not reach over; may be given several times, "none" for none
    /// [default: newline, colon, quotation mark and star]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    dry_sequence_breaker: Vec<String>,
    /// Let the temperature vary by as much with the entropy; 0 does nothing
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = within(0.0, 1000.0))]
    dynatemp_range: Option<f32>,
    /// How that goes with the entropy [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = within(0.0, 100.0))]
    dynatemp_exp: Option<f32>,
    /// 2 aims at a surprise instead of dropping tokens; 0 does nothing
    #[arg(long, value_name = "N", value_parser = mirostat)]
    mirostat: Option<bool>,
    /// That surprise, in bits [default: 5]
    #[arg(long = "mirostat-ent", value_name = "X", allow_negative_numbers = true, value_parser = within(0.0, 100.0))]
    mirostat_tau: Option<f32>,
    /// How fast it is approached [default: 0.1]
    #[arg(long = "mirostat-lr", value_name = "X", allow_negative_numbers = true, value_parser = within(0.0, 1.0))]
    mirostat_eta: Option<f32>,
    /// Add to a token's logit, as in 15043+1 or 15043-inf; may be given several times
    #[arg(short = 'l', long, value_name = "TOKEN±X", value_parser = logit_bias)]
    logit_bias: Vec<(u32, f32)>,
    /// The order of the stages, separated by semicolons [default: penalties; dry; top_n_sigma;
    /// top_k; typ_p; top_p; min_p; xtc; temperature]
    #[arg(long, value_name = "NAMES", value_parser = stages)]
    samplers: Option<Stages>,
    /// The same in letters: e penalties, d dry, s top_n_sigma, k top_k, y typ_p, p top_p, m min_p,
    /// x xtc, t temperature
    #[arg(long, alias = "sampling-seq", value_name = "LETTERS", conflicts_with = "samplers", value_parser = letters)]
    sampler_seq: Option<Stages>,
    /// Stages that drop tokens leave at least so many
    #[arg(long, value_name = "N")]
    min_keep: Option<usize>,
    /// Never choose an end-of-generation token
    #[arg(long)]
    pub ignore_eos: bool,
}

/// A number, or a new one each time.
#[derive(Clone, Copy, Debug)]
enum Seed {
    Anew,
    Given(u64),
}

fn seed(text: &str) -> Result<Seed, String> {
    match text {
        "-1" => Ok(Seed::Anew),
        _ => match text.parse() {
            Ok(seed) => Ok(Seed::Given(seed)),
            Err(_) => Err(format!("expected a number from 0 to {}, or -1", u64::MAX)),
        },
    }
}

/// A list, which clap would otherwise take for an option given several times.
#[derive(Clone, Debug)]
struct Stages(Vec<SampleStage>);

fn stages(text: &str) -> Result<Stages, String> {
    let names = text.split([';', ',']).filter(|name| !name.is_empty());
    let stages = names.map(|name| {
        let stage = name.trim().parse::<SampleStage>();
        stage.map_err(|error| format!("{name}: {error}"))
    });
    Ok(Stages(stages.collect::<Result<_, _>>()?))
}

const LETTERS: [(char, SampleStage); 9] = [
    ('e', SampleStage::Penalties),
    ('d', SampleStage::Dry),
    ('s', SampleStage::TopNSigma),
    ('k', SampleStage::TopK),
    ('y', SampleStage::TypicalP),
    ('p', SampleStage::TopP),
    ('m', SampleStage::MinP),
    ('x', SampleStage::Xtc),
    ('t', SampleStage::Temperature),
];

fn letters(text: &str) -> Result<Stages, String> {
    let stage = |letter| {
        let found = LETTERS.iter().find(|(known, _)| *known == letter);
        let known = LETTERS.map(|(letter, _)| letter.to_string()).join(", ");
        let unknown = || format!("{letter:?} is not one of {known}");
        found.map(|(_, stage)| *stage).ok_or_else(unknown)
    };
    Ok(Stages(text.chars().map(stage).collect::<Result<_, _>>()?))
}

/// The letter of a stage.
fn letter_of(stage: SampleStage) -> char {
    let found = LETTERS.iter().find(|(_, known)| *known == stage);
    found.map_or('?', |(letter, _)| *letter)
}

/// Reads a number from `low` to `high`.
fn within(low: f32, high: f32) -> impl Fn(&str) -> Result<f32, String> + Clone {
    move |text| match text.parse::<f32>() {
        Ok(value) if (low..=high).contains(&value) => Ok(value),
        _ => Err(format!("expected a number from {low} to {high}")),
    }
}

/// Whether it is on.
fn mirostat(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Err("mirostat 1 is not supported, mirostat 2 is".to_string()),
        "2" => Ok(true),
        _ => Err("expected 0 or 2".to_string()),
    }
}

fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let wrong = "expected a token's id, a sign and a number, as in 15043+1 or 15043-inf";
    let sign = text.find(['+', '-', '=']).ok_or(wrong)?;
    let (token, bias) = text.split_at(sign);
    let bias = bias.strip_prefix('=').unwrap_or(bias);
    let bias: f32 = bias.parse().map_err(|_| wrong)?;
    Ok((token.trim().parse().map_err(|_| wrong)?, bias))
}

/// What llama.cpp's users have by default.
const BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];

impl SampleArguments {
    /// What the options say, and where they say nothing, what the model's files do; `tokenizer` knows
    /// which tokens break repetitions.
    pub fn options(&self, model: &Model, tokenizer: &Tokenizer) -> Result<SampleOptions, CliError> {
        for what in self.without_effect() {
            warn(&what);
        }
        let said = GenerationConfig::of(model)?;
        let plain = match said.do_sample {
            true => said.sampling(0),
            false => SampleOptions::default(),
        };
        let last_n = |asked: Option<i64>, usual| match asked {
            None => usual,
            Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let dry = DryOptions::default();
        let mut texts: Vec<&str> = self
            .dry_sequence_breaker
            .iter()
            .map(String::as_str)
            .collect();
        match texts.as_slice() {
            [] => texts = BREAKERS.to_vec(),
            ["none"] => texts.clear(),
            _ => {}
        }
        let multiplier = self.dry_multiplier.unwrap_or(dry.multiplier);
        let breakers = if multiplier > 0.0 {
            breakers(tokenizer, &texts)
        } else {
            Vec::new()
        };
        let usual = Mirostat::default();
        let mirostat = Mirostat::default()
            .tau(self.mirostat_tau.unwrap_or(usual.tau))
            .eta(self.mirostat_eta.unwrap_or(usual.eta));
        let options = SampleOptions::default()
            .seed(match self.seed {
                Some(Seed::Given(seed)) => seed,
                Some(Seed::Anew) | None => fastrand::u64(..),
            })
            .stages(
                self.samplers
                    .clone()
                    .or_else(|| self.sampler_seq.clone())
                    .map_or(plain.stages, |stages| stages.0),
            )
            .min_keep(self.min_keep.unwrap_or(plain.min_keep))
            .temperature(self.temperature.unwrap_or(plain.temperature))
            .dynamic_temperature(self.dynatemp_range.unwrap_or(plain.dynamic_temperature))
            .dynamic_temperature_exponent(
                self.dynatemp_exp
                    .unwrap_or(plain.dynamic_temperature_exponent),
            )
            .top_k(match self.top_k {
                None => plain.top_k,
                Some(count) => usize::try_from(count).unwrap_or(0),
            })
            .top_p(self.top_p.unwrap_or(plain.top_p))
            .min_p(self.min_p.unwrap_or(plain.min_p))
            .typical_p(self.typical_p.unwrap_or(plain.typical_p))
            .top_n_sigma(self.top_n_sigma.unwrap_or(plain.top_n_sigma))
            .xtc_probability(self.xtc_probability.unwrap_or(plain.xtc_probability))
            .xtc_threshold(self.xtc_threshold.unwrap_or(plain.xtc_threshold))
            .penalty_last_n(last_n(self.repeat_last_n, plain.penalty_last_n))
            .repeat_penalty(self.repeat_penalty.unwrap_or(plain.repeat_penalty))
            .presence_penalty(self.presence_penalty.unwrap_or(plain.presence_penalty))
            .frequency_penalty(self.frequency_penalty.unwrap_or(plain.frequency_penalty))
            .dry(
                DryOptions::default()
                    .multiplier(multiplier)
                    .base(self.dry_base.unwrap_or(dry.base))
                    .allowed_length(self.dry_allowed_length.unwrap_or(dry.allowed_length))
                    .last_n(last_n(self.dry_penalty_last_n, dry.last_n))
                    .breakers(breakers),
            )
            .mirostat((self.mirostat == Some(true)).then_some(mirostat))
            .logit_bias(self.biases(tokenizer));
        let known = tokenizer.vocabulary_len();
        if let Some((token, _)) = (self.logit_bias.iter()).find(|(id, _)| *id as usize >= known) {
            let what =
                format!("--logit-bias: there is no token {token}, the vocabulary has {known}");
            return Err(CliError::Usage(what));
        }
        match options.check() {
            Ok(()) => Ok(options),
            Err(error) => Err(CliError::Usage(error.to_string())),
        }
    }

    fn biases(&self, tokenizer: &Tokenizer) -> Vec<(u32, f32)> {
        let mut biases = self.logit_bias.clone();
        if self.ignore_eos {
            let tokens = tokenizer.end_tokens().iter();
            biases.extend(tokens.map(|&token| (token, f32::NEG_INFINITY)));
        }
        biases
    }
}
