//! Times one test, and works out what the machine would allow.

use super::{Arguments, Test};
use crate::CliError;
use crate::profile::Profiles;
use crate::progress::Progress;
use crate::roofline::Roofline;
use rillm::internals::ModelParts;
use rillm::{Model, Row, RunError, Session, SessionOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Tokens per second if weights and KV cache were read as fast as memory is, once for each token
/// that is generated and once for each batch of a prompt, and all products of a prompt were
/// computed at the units' peak: whichever takes longer. A prompt's attention is left out, and so
/// is whatever is small.
pub(super) fn limit(
    arguments: &Arguments,
    model: &Model,
    test: Test,
    roofline: &Roofline,
) -> Result<f64, RunError> {
    let [generating, reading] = [model.cost(), model.reading_cost()];
    let options = SessionOptions::default().kv_type(arguments.kv_type.kv_type);
    let plan = Session::memory_plan(model, options)?;
    let read = match test.encoded {
        true => test.generated / 2,
        false => test.depth + test.prompt + test.generated / 2,
    };
    let kv_cache = (plan.state_fixed + plan.state_per_1k * read / 1024) as f64;
    let token = (generating.bytes as f64 + kv_cache) / roofline.read;
    let bf16 = reading.bf16 as f64 / roofline.bf16.unwrap_or(roofline.f32);
    let floats = reading.float as f64 / roofline.f32 + bf16;
    let row = 2.0 * (reading.int8 as f64 / roofline.int8 + floats);
    let batches = match test.encoded {
        true => usize::from(test.prompt > 0),
        false => test.prompt.div_ceil(arguments.rows() as usize),
    };
    let weights = batches as f64 * reading.bytes as f64 / roofline.read;
    let rows = (test.prompt * test.texts) as f64;
    let seconds = (rows * row).max(weights) + test.generated as f64 * token;
    Ok(test.tokens() as f64 / seconds)
}

/// Tokens per second of each repetition.
pub(super) fn measure(
    arguments: &Arguments,
    model: &Model,
    test: Test,
    profiles: &mut Profiles,
) -> Result<Vec<f64>, CliError> {
    match test.encoded {
        true => measure_encoder(arguments, model, test, profiles),
        false => measure_decoder(arguments, model, test, profiles),
    }
}

fn measure_decoder(
    arguments: &Arguments,
    model: &Model,
    test: Test,
    profiles: &mut Profiles,
) -> Result<Vec<f64>, CliError> {
    let context = test.context();
    let batch = (arguments.rows() as usize).min(context);
    let options = SessionOptions::default()
        .context(context)
        .batch(batch)
        .kv_type(arguments.kv_type.kv_type()?);
    let mut session = arguments.memory.session(model, options)?;
    let prompted = test.depth + test.prompt;
    let rows: Vec<Row> = (0..context)
        .map(|place| Row {
            token: any_id(place, model.limits().vocabulary),
            position: place as u64,
            emit: place + 1 >= prompted.max(test.depth + 1),
            ..Row::default()
        })
        .collect();
    let (before, timed) = rows.split_at(test.depth);
    let (prompt, generated) = timed.split_at(test.prompt);
    let filling = Progress::watch(session.progress(), before.len() as u64, "context", "tokens");
    session.feed(before, &mut |_| {})?;
    drop(filling);
    session.checkpoint(0)?;
    repeat(arguments, test, session, profiles, |session, timer| {
        session.rewind(0, test.depth)?;
        timer.start();
        session.feed(prompt, &mut |_| {})?;
        for row in generated.chunks(1) {
            session.feed(row, &mut |_| {})?;
        }
        Ok(())
    })
}

/// Texts of one length are encoded together, and what is generated for them as well.
fn measure_encoder(
    arguments: &Arguments,
    model: &Model,
    test: Test,
    profiles: &mut Profiles,
) -> Result<Vec<f64>, CliError> {
    let source = test.prompt + test.depth;
    let rows = |places: usize, vocabulary: u64, start: usize| -> Vec<Row> {
        let of_text = |text: usize| {
            (0..places).map(move |place| Row {
                token: any_id(start + text * places + place, vocabulary),
                position: (start + place) as u64,
                sequence: text as u32,
                emit: true,
                ..Row::default()
            })
        };
        (0..test.texts).flat_map(of_text).collect()
    };
    let sources = rows(source, model.limits().source_vocabulary, 0);
    let steps: Vec<Vec<Row>> = (0..test.generated)
        .map(|place| rows(1, model.limits().vocabulary, place))
        .collect();
    let options = SessionOptions::default()
        .context(test.generated.max(source))
        .sequences(test.texts)
        .source(sources.len())
        .kv_type(arguments.kv_type.kv_type()?);
    let session = arguments.memory.session(model, options)?;
    repeat(arguments, test, session, profiles, |session, timer| {
        if test.prompt > 0 {
            timer.start();
        }
        session.encode(&sources, &mut |_| {})?;
        if test.prompt == 0 {
            timer.start();
        }
        for step in &steps {
            session.feed(step, &mut |_| {})?;
        }
        Ok(())
    })
}

/// Any ids will do, but not all the same one: experts are chosen by them.
fn any_id(place: usize, vocabulary: u64) -> u32 {
    ((place as u64).wrapping_mul(2_654_435_761) % vocabulary.max(1)) as u32
}

/// When what counts of a repetition began.
struct Timer(Instant);

impl Timer {
    fn start(&mut self) {
        self.0 = Instant::now();
    }
}

/// Tokens per second of each repetition of what is timed.
fn repeat(
    arguments: &Arguments,
    test: Test,
    mut session: Session,
    profiles: &mut Profiles,
    mut run: impl FnMut(&mut Session, &mut Timer) -> Result<(), RunError>,
) -> Result<Vec<f64>, CliError> {
    let mut rates = Vec::with_capacity(arguments.repetitions as usize);
    // The first run touches pages and wakes threads.
    let warmups = u32::from(!arguments.no_warmup);
    let done = Arc::new(AtomicU64::new(0));
    let runs = warmups + arguments.repetitions;
    let _shown = Progress::watch(Arc::clone(&done), runs.into(), "bench", "runs");
    for index in 0..runs {
        if index == warmups {
            arguments.profile.begin(&mut session);
        }
        let mut timer = Timer(Instant::now());
        run(&mut session, &mut timer)?;
        let rate = test.tokens() as f64 / timer.0.elapsed().as_secs_f64();
        done.fetch_add(1, Ordering::Relaxed);
        if index >= warmups {
            rates.push(rate);
        }
    }
    profiles.end(&test.name(), &mut session);
    Ok(rates)
}
