//! `rillm translate` and `rillm summarize`: a text for each text.

use super::progress::Progress;
use super::similar::float;
use super::terminal::Out;
use super::texts::TaskTexts;
use super::{CliError, ModelArguments, warn};
use clap::Args;
use rillm::generate::EarlyStopping;
use rillm::tasks::TextToText;
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
    /// Beams of beam search; 1 takes the most likely token each time [default: the model's]
    #[arg(long, alias = "num-beams", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    beams: Option<u16>,
    /// Most tokens of a text [default: the model's]
    #[arg(short = 'n', long, alias = "max-new-tokens", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    predict: Option<u32>,
    /// Fewest tokens of a text [default: the model's]
    #[arg(long, alias = "min-new-tokens", value_name = "N")]
    min_predict: Option<u32>,
    /// Divide a text's score by its length to this power: more makes longer texts [default: the
    /// model's]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    length_penalty: Option<f32>,
    /// Let no run of N tokens come twice; 0 for any [default: the model's]
    #[arg(long, value_name = "N")]
    no_repeat_ngram_size: Option<u32>,
    /// Stop when as many texts as beams are finished
    #[arg(long)]
    early_stopping: bool,
    /// Put this before each text, as some models want it [default: the model's]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// A line of JSON for each text
    #[arg(long)]
    json: bool,
}

pub fn translate(arguments: &Translate) -> Result<(), CliError> {
    let texts = arguments.texts.read(&arguments.model)?;
    let model = arguments.model.open()?;
    let (from, to) = (arguments.from.as_deref(), arguments.to.as_deref());
    TextToText::translator(&model, from, to)
        .map_err(CliError::from)
        .and_then(|writer| arguments.writing.write(writer, &texts, "translation_text"))
        .map_err(|error| arguments.model.blame(error))
}

pub fn summarize(arguments: &Summarize) -> Result<(), CliError> {
    let words = arguments.texts.words(&arguments.model)?;
    let words = words.into_iter().map(str::to_string).collect();
    let texts = arguments.texts.with_whole_files(words, "texts")?;
    let model = arguments.model.open()?;
    TextToText::summarizer(&model)
        .map_err(CliError::from)
        .and_then(|writer| arguments.writing.write(writer, &texts, "summary_text"))
        .map_err(|error| arguments.model.blame(error))
}

impl WritingArguments {
    fn write(&self, mut writer: TextToText, texts: &[String], name: &str) -> Result<(), CliError> {
        let mut config = writer.config().clone();
        if let Some(beams) = self.beams {
            config.num_beams = usize::from(beams);
            config.num_return_sequences = 1;
        }
        let count = |given: Option<u32>, or: usize| given.map_or(or, |given| given as usize);
        if let Some(most) = self.predict {
            config.max_new_tokens = Some(most as usize);
        }
        config.min_new_tokens = count(self.min_predict, config.min_new_tokens);
        config.length_penalty = self.length_penalty.unwrap_or(config.length_penalty);
        config.no_repeat_ngram_size = count(self.no_repeat_ngram_size, config.no_repeat_ngram_size);
        if self.early_stopping {
            config.early_stopping = EarlyStopping::Always;
        }
        writer.set_config(config);
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
                true => None,
                false => Some(writer.write(text)?),
            };
            done.fetch_add(1, Ordering::Relaxed);
            truncated += usize::from(written.as_ref().is_some_and(|written| written.truncated));
            let text = written.as_ref().map_or("", |written| &written.text);
            if self.json {
                let mut line = json!({ name: text });
                if let Some(written) = &written {
                    line["tokens"] = json!(written.tokens);
                    line["source_tokens"] = json!(written.source_tokens);
                    line["score"] = written.score.map_or(json!(null), float);
                }
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{}", text.trim())?;
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
}
