//! `rillm bench`: llama-bench's terms, token ids that mean nothing.

use super::progress::Progress;
use super::{CliError, HistoryArguments, ModelArguments, threads};
use clap::Args;
use rillm::graph::Role;
use rillm::session::{Session, SessionOptions};
use rillm::state::HistoryType;
use rillm::{Model, Row, RunError};
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    history: HistoryArguments,
    /// Prompt tokens
    #[arg(short = 'p', long, value_name = "N", default_value_t = 512, value_parser = tokens())]
    n_prompt: u32,
    /// Generated tokens
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128, value_parser = tokens())]
    n_gen: u32,
    /// Tokens in the context beforehand
    #[arg(short = 'd', long, value_name = "N", default_value_t = 0, value_parser = tokens())]
    n_depth: u32,
    /// Repetitions; the median is reported
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Every row of a run is made beforehand: some millions of them fit into a small machine.
fn tokens() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(..=1 << 22)
}

pub fn bench(arguments: &Arguments) -> Result<(), CliError> {
    if arguments.n_prompt == 0 && arguments.n_gen == 0 {
        let what = "nothing to measure: give -p or -n above 0";
        return Err(CliError::Usage(what.to_string()));
    }
    let model = arguments.model.open()?;
    if model.graph(Role::Decode).is_none() || model.graph(Role::Encode).is_some() {
        let what = format!(
            "{} is not a decoder, bench measures decoders",
            model.architecture().title
        );
        return Err(RunError::Input(what).into());
    }
    let done = Arc::new(AtomicU64::new(0));
    let runs = 2 * u64::from(arguments.repetitions + 1);
    let progress = Progress::watch(Arc::clone(&done), runs, "bench", "runs");
    let mut results = Vec::new();
    for (test, tokens, batch) in [
        ("pp", arguments.n_prompt, arguments.n_prompt),
        ("tg", arguments.n_gen, 1),
    ] {
        if tokens == 0 {
            continue;
        }
        let mut rates = Vec::new();
        // One more run than is counted: the first touches pages and wakes threads.
        for repetition in 0..=arguments.repetitions {
            let rate = measure(
                &model,
                arguments.history.history,
                arguments.n_depth as usize,
                (tokens as usize, batch as usize),
            )?;
            done.fetch_add(1, Ordering::Relaxed);
            if repetition > 0 {
                rates.push(rate);
            }
        }
        rates.sort_by(f64::total_cmp);
        let name = match arguments.n_depth {
            0 => format!("{test}{tokens}"),
            depth => format!("{test}{tokens} @ d{depth}"),
        };
        results.push((name, rates));
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    let (count, isa) = (model.pool().threads(), model.kernels().isa);
    let threads = threads(&model);
    for (name, rates) in results {
        let (low, high) = (rates[0], rates[rates.len() - 1]);
        let median = f64::midpoint(rates[(rates.len() - 1) / 2], rates[rates.len() / 2]);
        if arguments.json {
            let line = json!({
                "model": arguments.model.path().display().to_string(),
                "test": name, "threads": count, "isa": isa.name(),
                "tokens_per_second": median, "min": low, "max": high, "repetitions": rates.len(),
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(
                out,
                "{name:<16} {median:>10.2} tokens/s  ({low:.2} to {high:.2}), {threads}, {isa}"
            )?;
        }
    }
    Ok(())
}

/// Tokens per second of feeding `tokens` tokens, `batch` at a time, after `depth` others.
fn measure(
    model: &Model,
    history: HistoryType,
    depth: usize,
    (tokens, batch): (usize, usize),
) -> Result<f64, CliError> {
    let context = depth + tokens;
    let batch_rows = SessionOptions::default().batch.min(context);
    let options = SessionOptions {
        context,
        batch: batch_rows,
        history,
        ..SessionOptions::default()
    };
    let mut session = Session::new(model, options)?;
    let vocabulary = model.limits().vocabulary.max(1);
    let rows: Vec<Row> = (0..context as u64)
        .map(|position| Row {
            // Any ids will do, but not all the same one: experts are chosen by them.
            token: (position.wrapping_mul(2_654_435_761) % vocabulary) as u32,
            position,
            emit: position + 1 == context as u64 || (batch == 1 && position >= depth as u64),
            ..Row::default()
        })
        .collect();
    session.feed(&rows[..depth], &mut |_| {})?;
    let start = Instant::now();
    for rows in rows[depth..].chunks(batch) {
        session.feed(rows, &mut |_| {})?;
    }
    Ok(tokens as f64 / start.elapsed().as_secs_f64())
}
