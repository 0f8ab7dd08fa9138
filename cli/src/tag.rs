//! `rillm tag`: names, places and whatever else a model knows, in texts.

use super::embed::{LengthArguments, warn_truncated};
use super::memory::MemoryArguments;
use super::progress::Progress;
use super::similar::{float, one_line};
use super::terminal::Out;
use super::texts::TaskTexts;
use super::{CliError, ModelArguments};
use clap::Args;
use rillm::Model;
use rillm::tasks::{AggregationStrategy, Entity, TagOptions, Tagger};
use serde_json::{Value, json};
use std::io::Write;

/// Texts that are tagged at a time.
const TEXTS: usize = 1024;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    texts: TaskTexts,
    /// How tokens become entities: none, simple, first, average or max
    #[arg(long, visible_alias = "strategy", value_name = "NAME", default_value_t = AggregationStrategy::Simple)]
    aggregation_strategy: AggregationStrategy,
    /// Labels that are not shown, separated by commas
    #[arg(
        long,
        value_name = "LABELS",
        value_delimiter = ',',
        default_value = "O"
    )]
    ignore_labels: Vec<String>,
    /// Read long texts in windows that have so many tokens in common, instead of cutting them
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// A line of JSON for each text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    length: LengthArguments,
    #[command(flatten)]
    memory: MemoryArguments,
}

pub fn tag(arguments: &Arguments) -> Result<(), CliError> {
    let texts = arguments.texts.read(&arguments.model)?;
    let model = arguments.model.open()?;
    let work = |model: &Model| tag_all(arguments, model, &texts);
    arguments.memory.task(model, texts.len(), work)
}

fn tag_all(arguments: &Arguments, model: &Model, texts: &[String]) -> Result<(), CliError> {
    let options = TagOptions::default()
        .aggregation_strategy(arguments.aggregation_strategy)
        .ignore_labels(arguments.ignore_labels.clone())
        .stride(arguments.stride)
        .max_length(arguments.length.most())
        .batch_tokens(arguments.length.batch_tokens as usize);
    let blame = |error: CliError| arguments.model.blame(error);
    let mut tagger = Tagger::new(model, options).map_err(|error| blame(error.into()))?;
    let progress = Progress::watch(tagger.progress(), texts.len() as u64, "tagging", "texts");
    let mut out = Out::new();
    for (part, some) in texts.chunks(TEXTS).enumerate() {
        let found = tagger.tag(some).map_err(|error| blame(error.into()))?;
        for (index, (text, entities)) in (part * TEXTS..).zip(some.iter().zip(found)) {
            if arguments.json {
                let entities: Value = entities.iter().map(entity).collect();
                writeln!(out, "{entities}")?;
                continue;
            }
            for entity in entities {
                let own = text.get(entity.start..entity.end).unwrap_or_default();
                let number = match texts.len() {
                    1 => String::new(),
                    _ => format!("{index}: "),
                };
                let (start, end) = (entity.start, entity.end);
                let place = format!("{number}{start}..{end}");
                writeln!(
                    out,
                    "{place:<12} {:<8} {:.4}  {}",
                    entity.entity,
                    entity.score,
                    one_line(own)
                )?;
            }
        }
    }
    out.flush()?;
    drop(progress);
    warn_truncated(tagger.truncated(), texts.len(), tagger.max_length());
    Ok(())
}

/// An entity as the pipeline has it, but that places are bytes.
fn entity(entity: &Entity) -> Value {
    let (start, end) = (entity.start, entity.end);
    match entity.index {
        Some(index) => json!({
            "entity": entity.entity,
            "score": float(entity.score),
            "index": index,
            "word": entity.word,
            "start": start,
            "end": end,
        }),
        None => json!({
            "entity_group": entity.entity,
            "score": float(entity.score),
            "word": entity.word,
            "start": start,
            "end": end,
        }),
    }
}
