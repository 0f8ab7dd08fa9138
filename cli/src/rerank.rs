//! `rillm rerank`: which texts answer a query best, by a model that reads both at once.

use super::against::{self, AgainstArguments};
use super::embed::{LengthArguments, warn_truncated};
use super::memory::MemoryArguments;
use super::progress::Progress;
use super::similar::{HitArguments, query_and_texts};
use super::texts::TaskTexts;
use super::{CliError, ModelArguments};
use clap::Args;
use rillm::Model;
use rillm::tasks::{RerankOptions, Reranker};

#[derive(Args, Debug)]
#[command(override_usage = "rillm rerank [OPTIONS] <MODEL> <QUERY> [TEXT]...")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    texts: TaskTexts,
    /// What is put before the query, or what a model that is asked in words, as Qwen3-Reranker is, is
    /// told that queries are for [default: as the model's files say]
    #[arg(
        long,
        visible_alias = "instruction",
        value_name = "TEXT",
        allow_hyphen_values = true
    )]
    prompt: Option<String>,
    /// Show the model's logits themselves
    #[arg(long)]
    raw_scores: bool,
    #[command(flatten)]
    length: LengthArguments,
    #[command(flatten)]
    hits: HitArguments,
    #[command(flatten)]
    against: AgainstArguments,
    #[command(flatten)]
    memory: MemoryArguments,
}

pub fn rerank(arguments: &Arguments) -> Result<(), CliError> {
    let (query, texts) = query_and_texts(&arguments.model, &arguments.texts)?;
    let model = arguments.model.open()?;
    let work = |model: &Model| rank(arguments, model, &query, &texts);
    arguments.memory.task(model, texts.len(), work)
}

fn rank(
    arguments: &Arguments,
    model: &Model,
    query: &str,
    texts: &[String],
) -> Result<(), CliError> {
    let options = RerankOptions::default()
        .prompt(arguments.prompt.clone())
        .raw_scores(arguments.raw_scores)
        .max_length(arguments.length.most())
        .batch_tokens(arguments.length.batch_tokens as usize);
    let blame = |error: CliError| arguments.model.blame(error);
    if arguments.against.against.is_some() {
        against::name_ineffective(&[
            ("--top-k", arguments.hits.is_cut()),
            ("--raw-scores", arguments.raw_scores),
        ]);
    }
    let mut reranker =
        Reranker::new(model, options.clone()).map_err(|error| blame(error.into()))?;
    let progress = Progress::watch(
        reranker.progress(),
        texts.len() as u64,
        "reranking",
        "texts",
    );
    let ranked = reranker
        .rank(query, texts)
        .map_err(|error| blame(error.into()))?;
    drop(progress);
    warn_truncated(reranker.truncated(), texts.len(), reranker.max_length());
    if let Some(other) = &arguments.against.against {
        let there = arguments.model.with_path(other);
        let blame = |error: CliError| there.blame(error);
        let model = there.open()?;
        let mut other = Reranker::new(&model, options).map_err(|error| blame(error.into()))?;
        let others = other
            .rank(query, texts)
            .map_err(|error| blame(error.into()))?;
        return against::ranks(&ranked, &others).write(arguments.hits.json);
    }
    arguments.hits.write(&ranked, texts)
}
