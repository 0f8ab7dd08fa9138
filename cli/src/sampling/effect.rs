//! Options of which another says that they do nothing: that is said, so that nobody waits for what does
//! not come, and the line goes on. What would change the scores of beams, and cannot, is refused.

use super::{SampleArguments, letter_of};
use crate::CliError;
use crate::output::warn;
use rillm::sample::SampleStage;

/// Options that say how another one works, and those of which one must be there.
const NEEDED: &[(&str, &[&str])] = &[
    ("--xtc-threshold", &["--xtc-probability"]),
    (
        "--repeat-last-n",
        &[
            "--repeat-penalty",
            "--presence-penalty",
            "--frequency-penalty",
        ],
    ),
    ("--dry-base", &["--dry-multiplier"]),
    ("--dry-allowed-length", &["--dry-multiplier"]),
    ("--dry-penalty-last-n", &["--dry-multiplier"]),
    ("--dry-sequence-breaker", &["--dry-multiplier"]),
    ("--dynatemp-exp", &["--dynatemp-range"]),
    ("--mirostat-ent", &["--mirostat"]),
    ("--mirostat-lr", &["--mirostat"]),
];

impl SampleArguments {
    /// The options that are given, and of those of a stage its name.
    fn given(&self) -> Vec<(&'static str, Option<SampleStage>)> {
        use SampleStage::*;
        let all = [
            ("--temp", Some(Temperature), self.temperature.is_some()),
            ("--seed", None, self.seed.is_some()),
            ("--top-k", Some(TopK), self.top_k.is_some()),
            ("--top-p", Some(TopP), self.top_p.is_some()),
            ("--min-p", Some(MinP), self.min_p.is_some()),
            ("--typical", Some(TypicalP), self.typical_p.is_some()),
            ("--top-nsigma", Some(TopNSigma), self.top_n_sigma.is_some()),
            (
                "--xtc-probability",
                Some(Xtc),
                self.xtc_probability.is_some(),
            ),
            ("--xtc-threshold", Some(Xtc), self.xtc_threshold.is_some()),
            (
                "--repeat-last-n",
                Some(Penalties),
                self.repeat_last_n.is_some(),
            ),
            (
                "--repeat-penalty",
                Some(Penalties),
                self.repeat_penalty.is_some(),
            ),
            (
                "--presence-penalty",
                Some(Penalties),
                self.presence_penalty.is_some(),
            ),
            (
                "--frequency-penalty",
                Some(Penalties),
                self.frequency_penalty.is_some(),
            ),
            ("--dry-multiplier", Some(Dry), self.dry_multiplier.is_some()),
            ("--dry-base", Some(Dry), self.dry_base.is_some()),
            (
                "--dry-allowed-length",
                Some(Dry),
                self.dry_allowed_length.is_some(),
            ),
            (
                "--dry-penalty-last-n",
                Some(Dry),
                self.dry_penalty_last_n.is_some(),
            ),
            (
                "--dry-sequence-breaker",
                Some(Dry),
                !self.dry_sequence_breaker.is_empty(),
            ),
            (
                "--dynatemp-range",
                Some(Temperature),
                self.dynatemp_range.is_some(),
            ),
            (
                "--dynatemp-exp",
                Some(Temperature),
                self.dynatemp_exp.is_some(),
            ),
            ("--mirostat", None, self.mirostat.is_some()),
            ("--mirostat-ent", None, self.mirostat_tau.is_some()),
            ("--mirostat-lr", None, self.mirostat_eta.is_some()),
            ("--logit-bias", None, !self.logit_bias.is_empty()),
            ("--samplers", None, self.samplers.is_some()),
            ("--sampler-seq", None, self.sampler_seq.is_some()),
            ("--min-keep", None, self.min_keep.is_some()),
            ("--ignore-eos", None, self.ignore_eos),
        ];
        let given = all.into_iter().filter(|(.., is_given)| *is_given);
        given.map(|(name, stage, _)| (name, stage)).collect()
    }

    /// Names what says how tokens are drawn, which beams do not do.
    ///
    /// # Errors
    /// An option changes tokens' scores, which beams do not hear of.
    pub fn check_beams(&self) -> Result<(), CliError> {
        use SampleStage::{Dry, Penalties};
        for (name, stage) in self.given() {
            let scores = matches!(stage, Some(Penalties | Dry))
                || ["--logit-bias", "--ignore-eos"].contains(&name);
            if scores {
                return Err(CliError::Usage(format!(
                    "{name} is for tokens that are chosen one by one, which --num-beams does not: leave \
                     out one of them (--repetition-penalty and --suppress-tokens are for both)"
                )));
            }
            warn(&format!(
                "{name} does nothing with --num-beams, which draws no tokens"
            ));
        }
        Ok(())
    }

    /// What does nothing beside the others, a sentence for each.
    pub(super) fn without_effect(&self) -> Vec<String> {
        let given = self.given();
        let is_there = |name: &str| given.iter().any(|(other, _)| *other == name);
        let lacking = NEEDED.iter().filter(|(name, needed)| {
            is_there(name) && !needed.iter().any(|needed| is_there(needed))
        });
        let sentence = |(name, needed): &(&str, &[&str])| {
            format!("{name} does nothing without {}", needed.join(" or "))
        };
        let mut found: Vec<String> = lacking.map(sentence).collect();
        let is_greedy = self
            .temperature
            .is_some_and(|temperature| temperature <= 0.0);
        let spreads = self.dynatemp_range.is_some_and(|range| range > 0.0);
        let mixes = self.mirostat == Some(true);
        for (name, is_given) in [("--mirostat 2", mixes), ("--dynatemp-range", spreads)] {
            if is_greedy && is_given {
                found.push(format!(
                    "{name} does nothing with --temp 0, which takes the most likely token"
                ));
            }
        }
        if mixes {
            found.extend(replaced(&given));
            return found;
        }
        let (order, stages) = match (&self.samplers, &self.sampler_seq) {
            (Some(stages), _) => ("--samplers", stages),
            (None, Some(stages)) => ("--sampler-seq", stages),
            (None, None) => return found,
        };
        for (name, stage) in &given {
            if let Some(stage) = stage.filter(|stage| !stages.0.contains(stage)) {
                let (stage, letter) = (stage.name(), letter_of(stage));
                found.push(format!(
                    "{name} does nothing, since {order} lacks {stage} ({letter})"
                ));
            }
        }
        found
    }
}

/// What Mirostat stands for among the options.
fn replaced<'a>(
    given: &'a [(&'static str, Option<SampleStage>)],
) -> impl Iterator<Item = String> + 'a {
    const OTHERS: [&str; 5] = [
        "--samplers",
        "--sampler-seq",
        "--min-keep",
        "--dynatemp-range",
        "--dynatemp-exp",
    ];
    let replaced = given.iter().filter(|(name, stage)| {
        OTHERS.contains(name) || stage.is_some_and(|stage| stage != SampleStage::Temperature)
    });
    replaced.map(|(name, _)| {
        format!("{name} does nothing with --mirostat 2, which stands for all of them but --temp")
    })
}
