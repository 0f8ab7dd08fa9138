//! How `generate` would choose tokens, and the texts that beam search finds, which are shown when they are
//! found.

use super::{Job, Limit};
use crate::CliError;
use crate::interrupt::Interrupt;
use crate::sampling::SampleArguments;
use crate::terminal::{Out, say};
use rillm::formats::tokenizer::{DecodeOptions, Position, Tokenizer};
use rillm::generate::{GenerationConfig, beam_search};
use rillm::{Model, Session};
use serde_json::json;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Instant;

/// Tokens of a text where neither the model nor the user says how long it may become, as
/// transformers has it.
const USUAL_TOKENS: usize = 20;

impl Job<'_> {
    /// What changes tokens' scores by what the model's files and the options say. Beams and lengths are
    /// those that are asked for, but of models that write texts for texts.
    pub(super) fn config(&self, model: &Model) -> Result<Option<GenerationConfig>, CliError> {
        let Some(rules) = self.rules else {
            return Ok(None);
        };
        let mut said = GenerationConfig::of(model)?;
        if let Some(name) = rules.beginning().filter(|_| !model.encodes()) {
            let what = format!(
                "{name} is for models that write a text for a text: this one goes on from its prompt"
            );
            return Err(CliError::Usage(what));
        }
        if rules.are_silent() {
            return Ok(said.token_by_token(model));
        }
        said.num_beams = 1;
        said.num_return_sequences = 1;
        said.do_sample = false;
        let mut config = rules.over(said);
        if let Limit::Asked(Some(most)) = self.limit {
            config.max_new_tokens = Some(most);
        }
        config.check(model)?;
        rules.name_ineffective(&config);
        if config.num_beams == 1 && config.num_return_sequences > 1 {
            let what = "--num-return-sequences is for texts that --num-beams finds: run draws one";
            return Err(CliError::Usage(what.to_string()));
        }
        Ok(Some(config))
    }

    /// Refuses what speaks of texts that come token by token.
    pub(super) fn check_beams(&self) -> Result<(), CliError> {
        let asked = [
            ("--prompt-cache", self.cache.is_some()),
            ("--endless", self.endless.endless),
            ("--reverse-prompt", !self.stop.is_empty()),
            ("--logprobs", self.logprobs.is_some()),
            (
                "--profile",
                self.profile.is_some_and(super::ProfileArguments::wanted),
            ),
        ];
        match asked.into_iter().find(|&(_, asked)| asked) {
            None if matches!(self.limit, Limit::Asked(Some(0))) => {
                let what = "--num-beams finds texts of at least one token: -n 0 asks for none";
                Err(CliError::Usage(what.to_string()))
            }
            None => self.sample.map_or(Ok(()), SampleArguments::check_beams),
            Some((name, _)) => Err(CliError::Usage(format!(
                "{name} is for texts that come token by token: with --num-beams they are there when \
                 they are found"
            ))),
        }
    }

    /// Writes the texts that go on from `ids`.
    pub(super) fn search(
        &self,
        session: &mut Session,
        tokenizer: &Tokenizer,
        ids: &[u32],
        mut config: GenerationConfig,
    ) -> Result<(), CliError> {
        let model: &Model = &session.model().clone();
        let translates = model.encodes();
        let begun = if translates { 1 } else { ids.len() };
        match self.limit {
            Limit::Asked(Some(most)) => config.max_new_tokens = Some(most),
            Limit::Asked(None) | Limit::Usual if config.longest(begun).is_none() => {
                config.max_new_tokens = Some(USUAL_TOKENS);
            }
            Limit::Asked(None) | Limit::Usual => {}
        }
        let interrupt = Interrupt::default();
        interrupt.watch();
        interrupt.begin();
        let started = Instant::now();
        let found =
            beam_search(
                session,
                ids,
                &config,
                tokenizer.end_tokens(),
                &mut || match interrupt.pressed() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                },
            );
        interrupt.obey();
        let found = found?;
        let seconds = started.elapsed().as_secs_f64();
        let position = match translates {
            true => Position::Start,
            false => Position::Continued,
        };
        let options = DecodeOptions::default()
            .skip_special(true)
            .position(position);
        let mut out = Out::new();
        for text in &found {
            let written = tokenizer.decode_text(&text.tokens, options);
            if self.json {
                let line = json!({
                    "text": written,
                    "score": text.score,
                    "prompt_tokens": ids.len(),
                    "tokens": text.tokens.len(),
                });
                writeln!(out, "{line}")?;
            } else if self.echo && !translates {
                writeln!(out, "{}{written}", self.prompt)?;
            } else {
                writeln!(out, "{written}")?;
            }
        }
        out.flush()?;
        say(&format!(
            "prompt tokens {}, texts {}, beams {}: {seconds:.2} s",
            ids.len(),
            found.len(),
            config.num_beams
        ));
        interrupt.obey();
        Ok(())
    }
}
