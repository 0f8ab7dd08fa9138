//! `rillm translate` and `rillm summarize`: a text for each text.

use super::memory::MemoryArguments;
use super::progress::Progress;
use super::similar::float;
use super::terminal::Out;
use super::texts::TaskTexts;
use super::writing::{DrawArguments, RuleArguments};
use super::{CliError, ModelArguments, warn};
use clap::Args;
use rillm::tasks::{OutputText, TextToText};
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Args, Debug)]
pub struct Translate {
    #[command(flatten)]
    model: ModelArguments,
    /// The language of the texts, as the model calls it: de, de_DE, deu_Latn [default: the model's]
    #[arg(long, value_name = "LANGUAGE", visible_alias = "src-lang")]
    from: Option<String>,
    /// The language to translate into [default: the model's]
    #[arg(long, value_name = "LANGUAGE", visible_alias = "tgt-lang")]
    to: Option<String>,
    #[command(flatten)]
    texts: TaskTexts,
    #[command(flatten)]
    writing: WritingArguments,
}

#[derive(Args, Debug)]
pub struct Summarize {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    texts: TaskTexts,
    #[command(flatten)]
    writing: WritingArguments,
}

/// How texts are written; what is not given is as `generation_config.json` says.
#[derive(Args, Debug)]
struct WritingArguments {
    /// Most tokens of a text [default: the model's]
    #[arg(short = 'n', long, visible_alias = "max-new-tokens", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    predict: Option<u32>,
    /// Put this before each text, as some models want it [default: the model's]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// A line of JSON for each text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rules: RuleArguments,
    #[command(flatten)]
    draws: DrawArguments,
    #[command(flatten)]
    memory: MemoryArguments,
}

pub fn translate(arguments: &Translate) -> Result<(), CliError> {
    let texts = arguments.texts.read(&arguments.model)?;
    let model = arguments.model.open()?;
    let (from, to) = (arguments.from.as_deref(), arguments.to.as_deref());
    let writing = &arguments.writing;
    writing.memory.task(model, texts.len(), |model| {
        TextToText::translator(model, from, to)
            .map_err(CliError::from)
            .and_then(|writer| writing.write(writer, &texts, "translation_text"))
            .map_err(|error| arguments.model.blame(error))
    })
}

pub fn summarize(arguments: &Summarize) -> Result<(), CliError> {
    let words = arguments.texts.words(&arguments.model)?;
    let words = words.into_iter().map(str::to_string).collect();
    let texts = arguments.texts.with_whole_files(words, "texts")?;
    let model = arguments.model.open()?;
    let writing = &arguments.writing;
    writing.memory.task(model, texts.len(), |model| {
        TextToText::summarizer(model)
            .map_err(CliError::from)
            .and_then(|writer| writing.write(writer, &texts, "summary_text"))
            .map_err(|error| arguments.model.blame(error))
    })
}

impl WritingArguments {
    fn write(&self, mut writer: TextToText, texts: &[String], name: &str) -> Result<(), CliError> {
        let config = self.rules.over(writer.config().clone());
        let mut config = self.draws.over(config);
        if let Some(most) = self.predict {
            config.max_new_tokens = Some(most as usize);
        }
        self.rules.name_ineffective(&config);
        writer.set_config(config);
        writer.set_seed(self.draws.seed);
        if let Some(prefix) = &self.prefix {
            writer.set_prefix(prefix);
        }
        let done = Arc::new(AtomicU64::new(0));
        let many = texts.len() > 1;
        let mut progress = many
            .then(|| Progress::watch(Arc::clone(&done), texts.len() as u64, "writing", "texts"));
        let mut out = Out::new();
        let mut truncated = 0;
        for text in texts {
            // A line without a text stays one.
            let written = match text.trim().is_empty() {
                true => Vec::new(),
                false => writer.write_several(text)?,
            };
            done.fetch_add(1, Ordering::Relaxed);
            truncated += usize::from(written.iter().any(|written| written.truncated));
            for written in &written {
                self.show(&mut out, name, written)?;
            }
            if written.is_empty() {
                match self.json {
                    true => writeln!(out, "{}", json!({ name: "" }))?,
                    false => writeln!(out)?,
                }
            }
            out.flush()?;
        }
        progress.take();
        if truncated > 0 {
            warn(&format!(
                "{truncated} of {} texts are longer than the model takes, and were cut",
                texts.len()
            ));
        }
        Ok(())
    }

    fn show(&self, out: &mut Out, name: &str, written: &OutputText) -> Result<(), CliError> {
        if !self.json {
            writeln!(out, "{}", written.text.trim())?;
            return Ok(());
        }
        let line = json!({
            name: written.text,
            "tokens": written.tokens,
            "source_tokens": written.source_tokens,
            "score": written.score.map_or(json!(null), float),
        });
        writeln!(out, "{line}")?;
        Ok(())
    }
}
