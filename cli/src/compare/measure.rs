//! Measuring a model at every length.

use super::{Arguments, MeasuredAs, Point, ReaderRates, Series};
use crate::memory::MemoryArguments;
use crate::terminal::one_line;
use crate::{CliError, perplexity};
use rillm::internals::platform::resident;
use rillm::{Model, Row, RunError, Session, SessionOptions};
use std::time::{Duration, Instant};

/// Rows fed at a time on the way to a depth.
const BATCH: usize = 512;

/// Tokens that an encoder's text has at most, of those that know no limit.
const LONGEST_TEXT: usize = 1 << 16;

pub fn measure(
    arguments: &Arguments,
    name: &str,
    model: &Model,
    (lengths, text): (&[usize], Option<&str>),
) -> Result<Series, CliError> {
    let bounded = MemoryArguments::of(arguments.memory).within_called(model, Some(name));
    let model = &bounded.model;
    let measured = match model.encodes() {
        true => MeasuredAs::Encodes,
        false => MeasuredAs::Decodes,
    };
    let tensors = model.manifest().tensors.values();
    let mut series = Series {
        name: one_line(name).into_owned(),
        measured,
        weights: tensors.map(|info| info.range.end - info.range.start).sum(),
        perplexity: None,
        points: Vec::new(),
        failure: None,
    };
    let points = &mut series.points;
    let reached = match measured {
        MeasuredAs::Decodes => decoder(arguments, name, model, lengths, points),
        MeasuredAs::Encodes => encoder(arguments, name, model, lengths, points),
    };
    let failure = reached.err().map(|error| bounded.explain(error));
    series.failure = failure.map(|error| error.to_string());
    if let Some(placement) = model.placement() {
        series.weights = placement.held();
    }
    if let Some(text) = text.filter(|_| measured == MeasuredAs::Decodes) {
        let found = perplexity::of_text(model, text, arguments.kv_type.kv_type()?);
        series.perplexity = Some(found.map_err(|error| one_line(&error.to_string()).into_owned()));
    }
    Ok(series)
}

/// A row of a text that means nothing.
fn row(model: &Model, source: bool, position: usize) -> Row {
    let limits = model.limits();
    let vocabulary = match source {
        true => limits.source_vocabulary,
        false => limits.vocabulary,
    };
    Row {
        token: ((position as u64).wrapping_mul(2_654_435_761) % vocabulary.max(1)) as u32,
        position: position as u64,
        ..Row::default()
    }
}

fn decoder(
    arguments: &Arguments,
    name: &str,
    model: &Model,
    lengths: &[usize],
    points: &mut Vec<Point>,
) -> Result<(), CliError> {
    let most = lengths.last().copied().unwrap_or(1);
    let timed = most.min(arguments.n_gen as usize);
    let options = SessionOptions::default()
        .context(most + timed)
        .batch(BATCH)
        .checkpoints(0)
        .kv_type(arguments.kv_type.kv_type()?);
    let plan = Session::memory_plan(model, options)?;
    let mut session = Session::new(model, options)?;
    steps(
        (name, arguments),
        lengths,
        model,
        &mut session,
        |length, rate, first| {
            let held = plan.state_fixed + plan.state_per_1k * length / 1024;
            points.push(Point {
                context: length,
                rate,
                first,
                reader: None,
                arena: plan.arena as u64,
                state: held as u64,
                resident: resident(),
            });
        },
    )
}

/// Feeds a session from length to length, and hands on each with the tokens per second there, and the
/// seconds from a prompt so long to its first token.
fn steps(
    (name, arguments): (&str, &Arguments),
    lengths: &[usize],
    model: &Model,
    session: &mut Session,
    mut reached: impl FnMut(usize, f64, f64),
) -> Result<(), CliError> {
    let begin = Instant::now();
    let budget = Duration::from_secs(arguments.budget);
    let mut read = 0;
    // Of what was read in batches, as a prompt is.
    let (mut rows_read, mut reading) = (0, Duration::ZERO);
    for &length in lengths {
        // Everything before is really read: a KV cache of a depth that was never fed would be
        // cheaper to make, and to look at.
        while read < length {
            if begin.elapsed() > budget {
                let what = format!(
                    "{read} of {length} tokens were read within {} s, --budget gives it longer",
                    arguments.budget
                );
                if Some(&length) == lengths.first() {
                    return Err(RunError::Input(what).into());
                }
                crate::warn(&format!("{name}: {what}"));
                return Ok(());
            }
            let end = length.min(read + BATCH);
            let rows: Vec<Row> = (read..end).map(|at| row(model, false, at)).collect();
            let start = Instant::now();
            session.feed(&rows, &mut |_| {})?;
            reading += start.elapsed();
            rows_read += rows.len();
            read = end;
        }
        // Not beyond the next length, which is twice this one.
        let timed = length.min(arguments.n_gen as usize);
        let mut times = Vec::with_capacity(timed);
        for _ in 0..timed {
            let emitted = Row {
                emit: true,
                ..row(model, false, read)
            };
            let start = Instant::now();
            session.feed(&[emitted], &mut |_| {})?;
            times.push(start.elapsed());
            read += 1;
        }
        times.sort_unstable();
        let token = times[times.len() / 2].as_secs_f64().max(1e-9);
        let prompt = reading.as_secs_f64() * length as f64 / rows_read.max(1) as f64;
        reached(length, 1.0 / token, prompt + token);
    }
    Ok(())
}

/// Above so many seconds one turn is enough: what comes with the first is a part of little.
const LONG: f64 = 5.0;

/// Texts of each length, as long as the model reads any, and what is written after them.
fn encoder(
    arguments: &Arguments,
    name: &str,
    model: &Model,
    lengths: &[usize],
    points: &mut Vec<Point>,
) -> Result<(), CliError> {
    let positions = usize::try_from(model.limits().source_positions).unwrap_or(LONGEST_TEXT);
    let most = positions.min(LONGEST_TEXT);
    let longest = lengths.iter().filter(|length| **length <= most).max();
    if let (Some(_), Some(&longest)) = (arguments.memory, longest) {
        // What of the weights stays is decided once, and must leave room for the longest.
        Session::new(model, of_text(arguments, longest)?)?;
    }
    let begin = Instant::now();
    let mut last = Duration::ZERO;
    for &length in lengths.iter().filter(|length| **length <= most) {
        // Twice the length takes twice the time at least.
        if begin.elapsed() + 2 * last > Duration::from_secs(arguments.budget) && !points.is_empty()
        {
            let what = format!("texts of {length} tokens are left out, --budget gives it longer");
            crate::warn(&format!("{name}: {what}"));
            break;
        }
        let started = Instant::now();
        points.push(text(arguments, model, length)?);
        last = started.elapsed();
    }
    match points.is_empty() {
        false => Ok(()),
        true => {
            let what = format!("it reads {most} tokens at most: --min-context begins above");
            Err(RunError::Input(what).into())
        }
    }
}

/// What a text of one length, and what is written after it, ask for.
fn of_text(arguments: &Arguments, length: usize) -> Result<SessionOptions, CliError> {
    Ok(SessionOptions::default()
        .context((arguments.n_gen as usize).max(64))
        .source(length)
        .checkpoints(0)
        .kv_type(arguments.kv_type.kv_type()?))
}

/// A text of one length.
fn text(arguments: &Arguments, model: &Model, length: usize) -> Result<Point, CliError> {
    let tokens = arguments.n_gen as usize;
    let options = of_text(arguments, length)?;
    let plan = Session::memory_plan(model, options)?;
    let mut session = Session::new(model, options)?;
    let rows: Vec<Row> = (0..length).map(|at| row(model, true, at)).collect();
    let (mut read, mut written) = (f64::INFINITY, None);
    // The first touches pages and wakes threads.
    for turn in 0..3 {
        let start = Instant::now();
        session.encode(&rows, &mut |_| {})?;
        let time = start.elapsed().as_secs_f64().max(1e-9);
        if turn > 0 || time > LONG {
            read = read.min(time);
        }
        if model.decodes() {
            written = Some(token(model, &mut session, tokens)?);
        }
        if time > LONG {
            break;
        }
    }
    Ok(Point {
        context: length,
        rate: length as f64 / read,
        first: read + written.unwrap_or(0.0),
        reader: Some(ReaderRates {
            texts: 1.0 / read,
            written: written.map(|token| 1.0 / token),
        }),
        arena: plan.arena as u64,
        state: plan.state as u64,
        resident: resident(),
    })
}

/// Seconds of a token that is written after a text: the median of some.
fn token(model: &Model, session: &mut Session, tokens: usize) -> Result<f64, CliError> {
    let mut times = Vec::with_capacity(tokens);
    for at in 0..tokens {
        let emitted = Row {
            emit: true,
            ..row(model, false, at)
        };
        let start = Instant::now();
        session.feed(&[emitted], &mut |_| {})?;
        times.push(start.elapsed().as_secs_f64().max(1e-9));
    }
    times.sort_by(f64::total_cmp);
    Ok(times.get(tokens / 2).copied().unwrap_or(f64::INFINITY))
}
