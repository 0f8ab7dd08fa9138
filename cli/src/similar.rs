//! `rillm similar`: which texts are nearest to a query, by their vectors.

use super::embed::{EmbedArguments, warn_truncated};
use super::memory::MemoryArguments;
use super::progress::Progress;
use super::terminal::Out;
use super::texts::TaskTexts;
use super::{CliError, ModelArguments};
use clap::Args;
use rillm::tasks::{Embedder, SearchHit, Similarity, semantic_search};
use serde_json::json;
use std::io::Write;

#[derive(Args, Debug)]
#[command(override_usage = "rillm similar [OPTIONS] <MODEL> <QUERY> [TEXT]...")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    texts: TaskTexts,
    #[command(flatten)]
    embedding: EmbedArguments,
    /// How vectors are compared: cosine, dot, euclidean or manhattan [default: as the model's files
    /// say, or cosine]
    #[arg(long, value_name = "NAME")]
    similarity: Option<Similarity>,
    #[command(flatten)]
    hits: HitArguments,
    #[command(flatten)]
    memory: MemoryArguments,
}

/// How much is shown of what was found.
#[derive(Args, Clone, Copy, Debug)]
pub struct HitArguments {
    /// Show so many, the best [default: all]
    #[arg(short = 'k', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// A line of JSON for each
    #[arg(long)]
    pub json: bool,
}

impl HitArguments {
    /// Whether not all are asked for.
    pub fn is_cut(self) -> bool {
        self.top_k.is_some()
    }

    pub fn top_k(self) -> usize {
        self.top_k.map_or(usize::MAX, |top_k| top_k as usize)
    }

    /// A line for each: how well it fits, and the text.
    pub fn write(self, hits: &[SearchHit], texts: &[String]) -> Result<(), CliError> {
        let mut out = Out::new();
        for hit in hits.iter().take(self.top_k()) {
            let text = &texts[hit.corpus_id];
            match self.json {
                true => {
                    let score = float(hit.score);
                    let line = json!({"corpus_id": hit.corpus_id, "score": score, "text": text});
                    writeln!(out, "{line}")?;
                }
                false => writeln!(out, "{:8.4}  {}", hit.score, one_line(text))?,
            }
        }
        Ok(out.flush()?)
    }
}

/// A score as JSON, with the digits that a float has.
pub fn float(score: f32) -> serde_json::Value {
    serde_json::from_str(&score.to_string()).unwrap_or_default()
}

/// A text in a line of its own.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The query, and the texts that are held against it.
pub fn query_and_texts(
    model: &ModelArguments,
    texts: &TaskTexts,
) -> Result<(String, Vec<String>), CliError> {
    let mut words = texts.words(model)?.into_iter().map(str::to_string);
    let Some(query) = words.next() else {
        let what = "no query: give it behind the model, and texts behind it or by -f FILE";
        return Err(CliError::Usage(what.to_string()));
    };
    let texts = texts.with_files(words.collect(), "texts")?;
    Ok((query, texts))
}

pub fn similar(arguments: &Arguments) -> Result<(), CliError> {
    let (query, texts) = query_and_texts(&arguments.model, &arguments.texts)?;
    let model = arguments.model.open_headless()?;
    arguments.memory.task(model, texts.len() + 1, |model| {
        let embedder = arguments.embedding.over(model);
        let embedder = embedder.map_err(|error| arguments.model.blame(error))?;
        search(arguments, embedder, query, &texts)
    })
}

fn search(
    arguments: &Arguments,
    mut embedder: Embedder,
    query: String,
    texts: &[String],
) -> Result<(), CliError> {
    let all = texts.len() as u64 + 1;
    let progress = Progress::watch(embedder.progress(), all, "embedding", "texts");
    let blame = |error: rillm::RunError| arguments.model.blame(error.into());
    let query = embedder.encode_query(&[query]).map_err(blame)?;
    let corpus = embedder.encode_document(texts).map_err(blame)?;
    drop(progress);
    warn_truncated(
        embedder.truncated(),
        texts.len() + 1,
        embedder.max_seq_length(),
    );
    let similarity = arguments.similarity.unwrap_or(embedder.similarity());
    let hits = semantic_search(&query[0], &corpus, arguments.hits.top_k(), similarity);
    arguments.hits.write(&hits, texts)
}
