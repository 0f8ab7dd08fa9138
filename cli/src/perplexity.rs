//! `rillm perplexity`: how well a model foresees a text, by llama.cpp's method.
//!
//! The text is cut into chunks of one context; of each, the second half is scored, every token
//! given all of the chunk before it.

use super::line::Line;
use super::memory::MemoryArguments;
use super::progress::{Progress, shares_the_screen};
use super::{
    BatchArguments, CliError, KvCacheArguments, ModelArguments, PrecisionArguments, context, text,
};
use clap::Args;
use rillm::formats::tokenizer::EncodeOptions;
use rillm::sample::log_probability;
use rillm::{KvType, Model, Row, RunError, Session, SessionOptions};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    kv_type: KvCacheArguments,
    #[command(flatten)]
    precision: PrecisionArguments,
    #[command(flatten)]
    batch: BatchArguments,
    /// A file with the text (- for standard input)
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Tokens of a chunk; a shorter text is one chunk [default: 512, or as many as the model was
    /// trained for if those are fewer]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    ctx_size: Option<u32>,
    /// Most chunks to score; 0 or -1 for all
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    chunks: i64,
    /// A line of JSON for each chunk, and one for the whole
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: MemoryArguments,
}

/// Tokens of a chunk where the model knows so many, as in llama.cpp.
const USUAL: usize = 512;

/// Σ and Σ² of negative logarithms of probabilities.
#[derive(Default)]
struct Score {
    count: usize,
    sum: f64,
    squares: f64,
}

impl Score {
    fn add(&mut self, nll: f64) {
        self.count += 1;
        self.sum += nll;
        self.squares += nll * nll;
    }

    /// exp(mean), and its standard error.
    fn perplexity(&self) -> (f64, f64) {
        let count = self.count as f64;
        let mean = self.sum / count;
        let variance = (self.squares / count - mean * mean).max(0.0);
        let error = (variance / (count - 1.0).max(1.0)).sqrt();
        (mean.exp(), mean.exp() * error)
    }
}

pub fn perplexity(arguments: &Arguments) -> Result<(), CliError> {
    let text = text(
        None,
        arguments.file.as_deref(),
        "text",
        "-f FILE, or pipe one in",
    )?;
    let model = arguments.model.open_alone_at(arguments.precision)?;
    measure(arguments, &model, &text).map_err(|error| arguments.model.blame(error))
}

fn measure(arguments: &Arguments, model: &Model, text: &str) -> Result<(), CliError> {
    if !model.decodes() || model.encodes() {
        let title = model.title();
        let what = format!("{title} does not go on with a text: it has no perplexity");
        return Err(RunError::Input(what).into());
    }
    let tokenizer = model.tokenizer()?;
    let options = EncodeOptions::default().add_special(true);
    let mut ids = tokenizer.encode(text, options)?;
    let size = window(arguments, model).min(ids.len());
    if size < 2 {
        return Err(CliError::Usage(
            "text has fewer than two tokens".to_string(),
        ));
    }
    // Each chunk begins as the text does.
    let bos = tokenizer.bos().filter(|bos| ids.first() == Some(bos));
    let all = ids.len() / size;
    let chunks = match usize::try_from(arguments.chunks) {
        Ok(most @ 1..) => most.min(all),
        _ => all,
    };
    let options = SessionOptions::new()
        .context(size)
        .batch(arguments.batch.rows().min(size))
        .kv_type(arguments.kv_type.kv_type()?);
    let mut session = arguments.memory.session(model, options)?;
    let total = (chunks * size) as u64;
    let mut progress = Some(Progress::watch(
        session.progress(),
        total,
        "scoring",
        "tokens",
    ));
    let mut out = Line::stdout();
    let mut score = Score::default();
    for (number, chunk) in ids.chunks_exact_mut(size).take(chunks).enumerate() {
        if let Some(bos) = bos {
            chunk[0] = bos;
        }
        score_chunk(&mut session, chunk, &mut score)?;
        if shares_the_screen() {
            // From now on figures show how far it is, in the line where the bar was.
            progress = None;
        }
        let (perplexity, error) = score.perplexity();
        if arguments.json {
            let line = json!({
                "chunk": number + 1,
                "tokens": score.count,
                "perplexity": perplexity,
                "error": error,
            });
            writeln!(out, "{line}")?;
        } else {
            write!(out, "[{}]{perplexity:.4},", number + 1)?;
        }
        out.flush()?;
    }
    drop(progress);
    let (perplexity, error) = score.perplexity();
    if arguments.json {
        let line = json!({
            "perplexity": perplexity,
            "error": error,
            "tokens": score.count,
            "chunks": chunks,
            "chunk_tokens": size,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(
            out,
            "\nperplexity {perplexity:.4} ± {error:.4} ({} tokens)",
            score.count
        )?;
    }
    arguments.memory.finish(model, chunks * size);
    Ok(())
}

/// The perplexity of a text and its standard error, in chunks of as many tokens as usual.
pub fn of_text(model: &Model, text: &str, kv_type: KvType) -> Result<(f64, f64), CliError> {
    let options = EncodeOptions::default().add_special(true);
    let tokenizer = model.tokenizer()?;
    let mut ids = tokenizer.encode(text, options)?;
    let size = model
        .context()
        .unwrap_or(USUAL)
        .clamp(2, USUAL)
        .min(ids.len());
    if size < 2 {
        let what = "text has fewer than two tokens".to_string();
        return Err(RunError::Input(what).into());
    }
    let bos = tokenizer.bos().filter(|bos| ids.first() == Some(bos));
    let options = SessionOptions::new()
        .context(size)
        .batch(size)
        .kv_type(kv_type);
    let mut session = Session::new(model, options)?;
    let mut score = Score::default();
    for chunk in ids.chunks_exact_mut(size) {
        if let Some(bos) = bos {
            chunk[0] = bos;
        }
        score_chunk(&mut session, chunk, &mut score)?;
    }
    Ok(score.perplexity())
}

/// Tokens of a chunk of a long text.
fn window(arguments: &Arguments, model: &Model) -> usize {
    match arguments.ctx_size {
        Some(asked) => context(Some(asked as usize), model),
        None => model.context().unwrap_or(USUAL).clamp(2, USUAL),
    }
}

fn score_chunk(session: &mut Session, chunk: &[u32], score: &mut Score) -> Result<(), CliError> {
    session.reset(0)?;
    let (first, last) = (chunk.len() / 2, chunk.len() - 1);
    let rows: Vec<Row> = chunk[..last]
        .iter()
        .zip(0..)
        .map(|(&token, position)| Row {
            token,
            position,
            emit: position as usize >= first.min(last - 1),
            ..Row::default()
        })
        .collect();
    session.feed(&rows, &mut |output| {
        score.add(-log_probability(output.values, chunk[output.row + 1]));
    })?;
    Ok(())
}
