//! `rillm bench`: llama-bench's terms, token ids that mean nothing.

use super::profile::{ProfileArguments, Profiles};
use super::progress::Progress;
use super::roofline::Roofline;
use super::terminal::{Out, is_too_narrow, one_line};
use super::{CliError, KvCacheArguments, ModelArguments, context};
use clap::{Args, ValueEnum};
use rillm::{Model, Row, RunError, Session, SessionOptions};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    kv_type: KvCacheArguments,
    /// Prompt tokens; several by commas, 0 for none
    #[arg(short = 'p', long, value_name = "N", default_value = "512", value_delimiter = ',', value_parser = tokens())]
    n_prompt: Vec<u32>,
    /// Generated tokens; several by commas, 0 for none
    #[arg(short = 'n', long, value_name = "N", default_value = "128", value_delimiter = ',', value_parser = tokens())]
    n_gen: Vec<u32>,
    /// A prompt and what is generated after it, timed as one; may be given several times
    #[arg(long, value_name = "PROMPT,GEN", value_parser = pair)]
    pg: Vec<(u32, u32)>,
    /// Tokens in the context beforehand; several by commas
    #[arg(short = 'd', long, value_name = "N", default_value = "0", value_delimiter = ',', value_parser = tokens())]
    n_depth: Vec<u32>,
    /// Rows of a prompt that are fed at a time
    #[arg(short = 'b', long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    batch_size: u32,
    /// The same, and counts before it
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    ubatch_size: Option<u32>,
    /// Repetitions; their mean is reported, and its standard deviation
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Leave out the run before those that count
    #[arg(long)]
    no_warmup: bool,
    /// How results are written
    #[arg(short, long, value_enum, default_value_t = ReportForm::Md)]
    output: ReportForm,
    /// The same as --output jsonl
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Time every kernel of every instruction set on one core instead, without a model: no other
    /// option goes with it, and it writes tables alone
    #[arg(long, exclusive = true)]
    kernels: bool,
    /// Do not measure what the machine could do at best
    #[arg(long)]
    no_roofline: bool,
    #[command(flatten)]
    profile: ProfileArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportForm {
    /// A table
    Md,
    /// A line of comma-separated values for each test, after one of their names
    Csv,
    /// A list of objects
    Json,
    /// An object on a line of its own for each test
    Jsonl,
}

impl Arguments {
    /// Rows of a prompt that are fed at a time.
    fn rows(&self) -> u32 {
        self.ubatch_size.unwrap_or(self.batch_size)
    }
}

/// Every row of a run is made beforehand: some millions of them fit into a small machine.
fn tokens() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(..=1 << 22)
}

fn pair(text: &str) -> Result<(u32, u32), String> {
    let wrong = "expected two numbers from 1 to 4194304, as in 512,128";
    let (prompt, generated) = text.split_once(',').ok_or(wrong)?;
    let count = |text: &str| match text.trim().parse::<u32>() {
        Ok(count) if (1..=1 << 22).contains(&count) => Ok(count),
        _ => Err(wrong.to_string()),
    };
    Ok((count(prompt)?, count(generated)?))
}

/// What is timed: a prompt, generation, or both, after other tokens.
#[derive(Clone, Copy, Debug)]
struct Test {
    prompt: usize,
    generated: usize,
    depth: usize,
}

impl Test {
    /// Positions that it takes.
    fn context(self) -> usize {
        self.depth + self.prompt + self.generated
    }

    /// As llama-bench calls it.
    fn name(self) -> String {
        let what = match (self.prompt, self.generated) {
            (prompt, 0) => format!("pp{prompt}"),
            (0, generated) => format!("tg{generated}"),
            (prompt, generated) => format!("pp{prompt}+tg{generated}"),
        };
        match self.depth {
            0 => what,
            depth => format!("{what} @ d{depth}"),
        }
    }
}

fn tests(arguments: &Arguments) -> Vec<Test> {
    let mut tests = Vec::new();
    for &depth in &arguments.n_depth {
        let prompts = arguments.n_prompt.iter().map(|&count| (count, 0));
        let generations = arguments.n_gen.iter().map(|&count| (0, count));
        let both = arguments.pg.iter().copied();
        for (prompt, generated) in prompts.chain(generations).chain(both) {
            if prompt + generated > 0 {
                tests.push(Test {
                    prompt: prompt as usize,
                    generated: generated as usize,
                    depth: depth as usize,
                });
            }
        }
    }
    tests
}

pub fn bench(arguments: &Arguments) -> Result<(), CliError> {
    if arguments.kernels {
        return super::kernels::kernels();
    }
    let tests = tests(arguments);
    if tests.is_empty() {
        let what = "nothing to measure: give -p, -n or --pg above 0";
        return Err(CliError::Usage(what.to_string()));
    }
    arguments.profile.check()?;
    let model = arguments.model.open_alone()?;
    if !model.decodes() || model.encodes() {
        let what = format!(
            "{} is not a decoder, bench measures decoders",
            model.title()
        );
        return Err(arguments.model.blame(RunError::Input(what).into()));
    }
    // Warns of more than the model was trained for.
    context(tests.iter().map(|test| test.context()).max(), &model);
    // First of all, so that what is measured can be shown at once.
    let roofline = (!arguments.no_roofline).then(|| Roofline::measure(&model));
    let roofline = roofline.transpose()?;
    let mut profiles = Profiles::default();
    let mut results = Results::new(arguments, &model, roofline, &tests);
    let measured = tests.iter().try_for_each(|&test| {
        let rates = measure(arguments, &model, test, &mut profiles)?;
        let limit = roofline.map(|roofline| limit(arguments, &model, test, &roofline));
        let limit = limit.transpose()?;
        Ok(results.add(&Measured { test, rates, limit })?)
    });
    arguments.profile.finish(&profiles)?;
    measured.and_then(|()| Ok(results.end()?))
}

/// What was measured of one test.
struct Measured {
    test: Test,
    rates: Vec<f64>,
    /// Tokens per second that the machine would allow.
    limit: Option<f64>,
}

/// Tokens per second if weights and KV cache were read as fast as memory is, once for each token
/// that is generated and once for each batch of a prompt, and all products of a prompt were
/// computed at the units' peak: whichever takes longer. A prompt's attention is left out, and so
/// is whatever is small.
fn limit(
    arguments: &Arguments,
    model: &Model,
    test: Test,
    roofline: &Roofline,
) -> Result<f64, RunError> {
    let cost = model.cost();
    let options = SessionOptions::default().kv_type(arguments.kv_type.kv_type);
    let plan = Session::memory_plan(model, options)?;
    let read = test.depth + test.prompt + test.generated / 2;
    let kv_cache = (plan.state_fixed + plan.state_per_1k * read / 1024) as f64;
    let token = (cost.bytes as f64 + kv_cache) / roofline.read;
    let row = 2.0 * (cost.int8 as f64 / roofline.int8 + cost.float as f64 / roofline.f32);
    let batches = test.prompt.div_ceil(arguments.rows() as usize);
    let reading = batches as f64 * cost.bytes as f64 / roofline.read;
    let seconds = (test.prompt as f64 * row).max(reading) + test.generated as f64 * token;
    Ok((test.prompt + test.generated) as f64 / seconds)
}

/// Tokens per second of each repetition.
fn measure(
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
    let mut session = Session::new(model, options)?;
    let vocabulary = model.limits().vocabulary.max(1);
    let prompted = test.depth + test.prompt;
    let rows: Vec<Row> = (0..context)
        .map(|place| Row {
            // Any ids will do, but not all the same one: experts are chosen by them.
            token: ((place as u64).wrapping_mul(2_654_435_761) % vocabulary) as u32,
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
    let mut rates = Vec::with_capacity(arguments.repetitions as usize);
    // The first run touches pages and wakes threads.
    let warmups = u32::from(!arguments.no_warmup);
    let done = Arc::new(AtomicU64::new(0));
    let runs = warmups + arguments.repetitions;
    let _shown = Progress::watch(Arc::clone(&done), runs.into(), "bench", "runs");
    for run in 0..runs {
        session.rewind(0, test.depth)?;
        if run == warmups {
            arguments.profile.begin(&mut session);
        }
        let start = Instant::now();
        session.feed(prompt, &mut |_| {})?;
        for row in generated.chunks(1) {
            session.feed(row, &mut |_| {})?;
        }
        let rate = timed.len() as f64 / start.elapsed().as_secs_f64();
        done.fetch_add(1, Ordering::Relaxed);
        if run >= warmups {
            rates.push(rate);
        }
    }
    profiles.end(&test.name(), &mut session);
    Ok(rates)
}

/// Mean and standard deviation of a sample.
fn mean(rates: &[f64]) -> (f64, f64) {
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

/// Names and values of a result, in the order of the columns.
fn fields(
    arguments: &Arguments,
    model: &Model,
    roofline: Option<Roofline>,
    measured: &Measured,
) -> Vec<(&'static str, Value)> {
    let Measured { test, rates, limit } = measured;
    let (mean, deviation) = mean(rates);
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    let mut sorted = rates.clone();
    sorted.sort_by(f64::total_cmp);
    let median = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    vec![
        ("model", json!(arguments.model.path().display().to_string())),
        ("architecture", json!(model.manifest().architecture)),
        ("isa", json!(model.isa().name())),
        ("threads", json!(model.threads())),
        ("batch", json!(arguments.rows())),
        ("kv_type", json!(arguments.kv_type.kv_type.name())),
        ("test", json!(test.name())),
        ("n_prompt", json!(test.prompt)),
        ("n_gen", json!(test.generated)),
        ("n_depth", json!(test.depth)),
        ("repetitions", json!(rates.len())),
        ("tokens_per_second", json!(mean)),
        ("stddev", json!(deviation)),
        ("median", json!(median)),
        ("min", json!(least)),
        ("max", json!(most)),
        ("limit", json!(limit)),
        ("share", json!(limit.map(|limit| mean / limit))),
        ("roofline", json!(roofline.map(|roofline| roofline.json()))),
    ]
}

/// Results as they come in: what is known is shown, whatever becomes of the rest.
struct Results<'a> {
    arguments: &'a Arguments,
    model: &'a Model,
    roofline: Option<Roofline>,
    form: ReportForm,
    /// Of a table's columns.
    widths: [usize; COLUMNS],
    /// How many there were.
    count: usize,
    /// Of a list, which is written as a whole.
    list: Vec<Value>,
}

impl<'a> Results<'a> {
    fn new(
        arguments: &'a Arguments,
        model: &'a Model,
        roofline: Option<Roofline>,
        tests: &[Test],
    ) -> Results<'a> {
        let names = tests.iter().map(|test| test.name().chars().count());
        let mut widths = HEADS.map(|head| head.chars().count());
        let known = [
            model.manifest().architecture.chars().count(),
            model.isa().name().len(),
            model.threads().to_string().len(),
            names.max().unwrap_or(0),
            // Room for figures that are not known yet: 123456.78 ± 12345.67.
            20,
            9,
            5,
        ];
        for (width, known) in widths.iter_mut().zip(known) {
            *width = known.max(*width);
        }
        Results {
            arguments,
            model,
            roofline,
            form: match arguments.json {
                true => ReportForm::Jsonl,
                false => arguments.output,
            },
            widths,
            count: 0,
            list: Vec::new(),
        }
    }

    fn add(&mut self, measured: &Measured) -> io::Result<()> {
        let mut out = Out::new();
        let row = fields(self.arguments, self.model, self.roofline, measured);
        let object = || -> Value {
            let pairs = row.iter();
            Value::Object(pairs.map(|(k, v)| (k.to_string(), v.clone())).collect())
        };
        let first = self.count == 0;
        self.count += 1;
        match self.form {
            ReportForm::Md if is_too_narrow(table_width(&self.widths)) => {
                let [model, isa, threads, test, rate, limit, share] = cells(self.model, measured);
                if first {
                    writeln!(out, "{model}, {isa}, threads: {threads}")?;
                }
                writeln!(out, "{test}: {rate} t/s")?;
                if measured.limit.is_some() {
                    writeln!(out, "  limit {limit}, share {share}")?;
                }
            }
            ReportForm::Md => {
                if first {
                    line(&mut out, &HEADS.map(str::to_string), &self.widths)?;
                    rule(&mut out, &self.widths)?;
                }
                line(&mut out, &cells(self.model, measured), &self.widths)?;
            }
            ReportForm::Csv => {
                if first {
                    let names: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
                    writeln!(out, "{}", names.join(","))?;
                }
                let values: Vec<String> = row.iter().map(|(_, value)| quoted(value)).collect();
                writeln!(out, "{}", values.join(","))?;
            }
            ReportForm::Json => self.list.push(object()),
            ReportForm::Jsonl => writeln!(out, "{}", object())?,
        }
        out.flush()
    }

    fn end(self) -> io::Result<()> {
        let mut out = Out::new();
        match (self.form, self.roofline) {
            (ReportForm::Json, _) => writeln!(out, "{:#}", Value::Array(self.list))?,
            (ReportForm::Md, Some(Roofline { read, int8, f32 })) => writeln!(
                out,
                "\nThis machine with {}, {}: {:.1} GB/s read, {:.0} GOP/s in int8, {:.0} GFLOP/s in \
                 f32; limit is what they would allow.",
                super::threads(self.model),
                self.model.isa(),
                read / 1e9,
                int8 / 1e9,
                f32 / 1e9
            )?,
            _ => {}
        }
        out.flush()
    }
}

/// A value as RFC 4180 writes it: text in quotation marks, those inside doubled.
fn quoted(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        None if value.is_object() => quoted(&Value::String(value.to_string())),
        None => value.to_string(),
    }
}

const COLUMNS: usize = 7;

const HEADS: [&str; COLUMNS] = ["model", "isa", "threads", "test", "t/s", "limit", "share"];

/// A result in a table.
fn cells(model: &Model, measured: &Measured) -> [String; COLUMNS] {
    let (mean, deviation) = mean(&measured.rates);
    let limit = measured.limit;
    [
        one_line(&model.manifest().architecture).into_owned(),
        model.isa().to_string(),
        model.threads().to_string(),
        measured.test.name(),
        format!("{mean:.2} ± {deviation:.2}"),
        limit.map_or("–".to_string(), |limit| format!("{limit:.1}")),
        limit.map_or("–".to_string(), |limit| {
            format!("{:.0}%", 100.0 * mean / limit)
        }),
    ]
}

/// Characters of a table's line.
fn table_width(widths: &[usize; COLUMNS]) -> usize {
    widths.iter().map(|width| width + 3).sum::<usize>() + 1
}

/// Whether a column is of numbers.
fn is_number(column: usize) -> bool {
    matches!(column, 2 | 4..)
}

fn line(
    out: &mut impl Write,
    cells: &[String; COLUMNS],
    widths: &[usize; COLUMNS],
) -> io::Result<()> {
    let cells = cells.iter().zip(widths).enumerate();
    let cells: Vec<String> = cells
        .map(|(column, (cell, &width))| match is_number(column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        })
        .collect();
    writeln!(out, "| {} |", cells.join(" | "))
}

/// What stands between a table's heads and its lines.
fn rule(out: &mut impl Write, widths: &[usize; COLUMNS]) -> io::Result<()> {
    let rules = widths.iter().enumerate().map(|(column, &width)| {
        let dashes = "-".repeat(width.saturating_sub(1));
        match is_number(column) {
            true => format!("{dashes}:"),
            false => format!(":{dashes}"),
        }
    });
    writeln!(out, "| {} |", rules.collect::<Vec<_>>().join(" | "))
}
