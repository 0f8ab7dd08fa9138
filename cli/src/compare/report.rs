//! What a comparison comes to: a table, a list where that is too wide, JSON.

use super::{MeasuredAs, Point, Series};
use crate::output::bytes;
use crate::terminal::is_too_narrow;
use serde_json::{Value, json};
use std::io::{self, Write};

/// The figures that people know these families by, of models of one size on a GPU, at 16K
/// tokens: tokens per second and gigabytes.
const QUOTED: [(&str, f64, f64); 3] = [
    ("Transformer", 120.0, 24.0),
    ("Mamba", 380.0, 8.0),
    ("RetNet", 260.0, 10.0),
];

/// Where the quoted figures are from.
pub const QUOTED_AT: usize = 16 << 10;

/// A model's figures beside the first one's at the same length: speed and memory.
fn ratios(all: &[Series], series: &Series, point: &Point) -> Option<(f64, f64)> {
    let first = all.first()?;
    let at = first.at(point.context)?;
    let memory = series.memory(point) as f64 / first.memory(at) as f64;
    Some((point.rate / at.rate, memory))
}

/// 65536 is 64K.
pub fn short(context: usize) -> String {
    match context % 1024 {
        0 => format!("{}K", context / 1024),
        _ => context.to_string(),
    }
}

pub fn table(out: &mut impl Write, all: &[Series]) -> io::Result<()> {
    /// Columns of a line with usual names.
    const WIDTH: usize = 98;
    match is_too_narrow(WIDTH) {
        true => list(out, all),
        false => full_table(out, all),
    }
}

/// The table, however wide.
pub fn full_table(out: &mut impl Write, all: &[Series]) -> io::Result<()> {
    // What those that read whole texts do besides has columns where there are such.
    let reading = reads(all);
    let more = |columns: &'static str| if reading { columns } else { "" };
    writeln!(
        out,
        "| model | context | t/s | {}first | weights | KV or state | arena | resident | speed | memory |",
        more("texts/s | writes t/s | ")
    )?;
    writeln!(
        out,
        "|:--|--:|--:|{}--:|--:|--:|--:|--:|--:|--:|",
        more("--:|--:|")
    )?;
    for series in all {
        for point in &series.points {
            let ratio = |ratio: Option<f64>| match ratio {
                Some(ratio) => format!("{ratio:.2}"),
                None => "–".to_string(),
            };
            let beside = ratios(all, series, point);
            let reader = point.reader;
            let reader = match reading {
                true => format!(
                    "{} | {} | ",
                    reader.map_or("–".to_string(), |it| digits(it.texts)),
                    reader
                        .and_then(|it| it.written)
                        .map_or("–".to_string(), digits)
                ),
                false => String::new(),
            };
            writeln!(
                out,
                "| {} | {} | {:.1} | {reader}{} | {} | {} | {} | {} | {} | {} |",
                series.name,
                short(point.context),
                point.rate,
                seconds(point.first),
                bytes(series.weights),
                bytes(point.state),
                bytes(point.arena),
                point.resident.map_or("–".to_string(), bytes),
                ratio(beside.map(|(speed, _)| speed)),
                ratio(beside.map(|(_, memory)| memory)),
            )?;
        }
        if let Some(failure) = &series.failure {
            writeln!(
                out,
                "| {} | failed: {failure} |{}",
                series.name,
                " |".repeat(if reading { 10 } else { 8 })
            )?;
        }
    }
    // What explains figures, where there are some.
    if all.iter().all(|series| series.points.is_empty()) {
        return Ok(());
    }
    writeln!(
        out,
        "\nSpeed and memory (weights, state and arena) beside {} at the same length; first: from a text so \
         long to the first token{}.",
        all.first().map_or("the first", |first| &first.name),
        match reading {
            true =>
                ", and of encoders to the end of one text; tokens per second of those that read whole texts \
                 are those read",
            false => "",
        }
    )?;
    if !reaches_quoted(all) {
        return Ok(());
    }
    writeln!(
        out,
        "Quoted for models of one size on a GPU at {}, not measured here (speed, memory beside the \
         first): {}.",
        short(QUOTED_AT),
        quoted()
    )
}

/// Whether there are models that read whole texts.
pub fn reads(all: &[Series]) -> bool {
    let mut all = all.iter();
    all.any(|series| series.measured == MeasuredAs::Encodes && !series.points.is_empty())
}

/// A rate in three digits.
fn digits(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate if rate >= 10.0 => format!("{rate:.1}"),
        rate if rate >= 1.0 => format!("{rate:.2}"),
        rate => format!("{rate:.3}"),
    }
}

/// A time in three digits.
fn seconds(time: f64) -> String {
    match time {
        time if time < 1.0 => format!("{:.0} ms", time * 1e3),
        time if time < 100.0 => format!("{time:.1} s"),
        time => format!("{time:.0} s"),
    }
}

/// How well models foresee a text, side by side, where one was given.
pub fn foreseen(out: &mut impl Write, all: &[Series]) -> io::Result<()> {
    if all.iter().all(|series| series.perplexity.is_none()) {
        return Ok(());
    }
    writeln!(out, "\n| model | perplexity | ± |\n|:--|--:|--:|")?;
    for series in all {
        match &series.perplexity {
            Some(Ok((perplexity, error))) => {
                writeln!(out, "| {} | {perplexity:.3} | {error:.3} |", series.name)?;
            }
            Some(Err(why)) => writeln!(out, "| {} | {why} | |", series.name)?,
            None => writeln!(out, "| {} | – | |", series.name)?,
        }
    }
    Ok(())
}

/// What a table says, for a terminal that is too narrow for one.
fn list(out: &mut impl Write, all: &[Series]) -> io::Result<()> {
    for series in all {
        writeln!(out, "{}, weights {}", series.name, bytes(series.weights))?;
        for point in &series.points {
            let memory = bytes(series.memory(point));
            writeln!(
                out,
                "  {}: {:.1} t/s, {memory}",
                short(point.context),
                point.rate
            )?;
        }
        if let Some(failure) = &series.failure {
            writeln!(out, "  failed: {failure}")?;
        }
    }
    Ok(())
}

/// Whether something was measured at lengths that the quoted figures are of.
pub fn reaches_quoted(all: &[Series]) -> bool {
    let mut points = all.iter().flat_map(|series| &series.points);
    points.any(|point| point.context >= QUOTED_AT)
}

/// The quoted figures, with their ratios.
pub fn quoted() -> String {
    let (_, first_rate, first_memory) = QUOTED[0];
    let one = |(name, rate, memory): &(&str, f64, f64)| {
        format!(
            "{name} {rate} t/s in {memory} GB ({:.2}, {:.2})",
            rate / first_rate,
            memory / first_memory
        )
    };
    QUOTED.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub fn as_json(all: &[Series]) -> Value {
    let models: Vec<Value> = all
        .iter()
        .map(|series| {
            let points = series.points.iter().map(|point| {
                let beside = ratios(all, series, point);
                json!({
                    "context": point.context,
                    "tokens_per_second": point.rate,
                    "first_token_seconds": point.first,
                    "texts_per_second": point.reader.map(|reader| reader.texts),
                    "written_tokens_per_second": point.reader.and_then(|reader| reader.written),
                    "arena_bytes": point.arena,
                    "state_bytes": point.state,
                    "memory_bytes": series.memory(point),
                    "resident_bytes": point.resident,
                    "speed_ratio": beside.map(|(speed, _)| speed),
                    "memory_ratio": beside.map(|(_, memory)| memory),
                })
            });
            let perplexity = series.perplexity.as_ref();
            let perplexity = perplexity.and_then(|found| found.as_ref().ok());
            json!({
                "model": series.name,
                "weights_bytes": series.weights,
                "arena_bytes": series.points.iter().map(|point| point.arena).max(),
                "encodes": series.measured == MeasuredAs::Encodes,
                "perplexity": perplexity.map(|(perplexity, _)| perplexity),
                "perplexity_error": perplexity.map(|(_, error)| error),
                "points": points.collect::<Vec<_>>(),
                "failure": series.failure,
            })
        })
        .collect();
    let (_, first_rate, first_memory) = QUOTED[0];
    let quoted: Vec<Value> = QUOTED
        .iter()
        .map(|(name, rate, memory)| {
            json!({
                "family": name,
                "tokens_per_second": rate,
                "gigabytes": memory,
                "speed_ratio": rate / first_rate,
                "memory_ratio": memory / first_memory,
            })
        })
        .collect();
    json!({ "models": models, "quoted": { "context": QUOTED_AT, "figures": quoted } })
}
