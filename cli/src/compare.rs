//! `rillm compare`: how speed and memory of several models change with the length of what they
//! have read.

mod plot;

use super::habits;
use super::interrupt::Unfinished;
use super::quantize::save;
use super::terminal::{Out, is_too_narrow, one_line};
use super::{CliError, KvCacheArguments, ThreadArguments, bytes, output};
use clap::Args;
use rillm::internals::synthetic::{RandomModel, shapes};
use rillm::quantize::{Mix, QuantizeOptions, QuantizePlan};
use rillm::{Model, ModelOptions, Row, RunError, Session, SessionOptions};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The figures that people know these families by, of models of one size on a GPU, at 16K
/// tokens: tokens per second and gigabytes.
const QUOTED: [(&str, f64, f64); 3] = [
    ("Transformer", 120.0, 24.0),
    ("Mamba", 380.0, 8.0),
    ("RetNet", 260.0, 10.0),
];

/// Where the quoted figures are from.
const QUOTED_AT: usize = 16 << 10;

/// Rows fed at a time on the way to a depth.
const BATCH: usize = 512;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Models, GGUF files or Hugging Face folders [default: the embedded ones]
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Draw random models of this size, one of each family that `rillm synth` knows in it
    #[arg(long, value_name = "SIZE", conflicts_with = "models")]
    synthetic: Option<String>,
    /// Type of the weights of models that are drawn
    #[arg(short = 'q', long = "type", value_name = "TYPE", default_value = "q8_0", requires = "synthetic", value_parser = super::quantize::mix)]
    mix: Mix,
    /// The first length; each further one is twice as long [default: 1024, or the last length if
    /// that is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    min_context: Option<u32>,
    /// The last length
    #[arg(short = 'c', long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    max_context: u32,
    /// Tokens timed at each length, as far as it is to the next one; their median counts
    #[arg(short = 'n', long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    n_gen: u32,
    /// Seconds for each model: lengths that would take it longer are left out
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    budget: u64,
    #[command(flatten)]
    kv_type: KvCacheArguments,
    #[command(flatten)]
    threads: ThreadArguments,
    /// Write all figures to this file (- for standard output: then the table goes to stderr)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw them into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// One model at one length.
#[derive(Clone, Copy, Debug)]
struct Point {
    context: usize,
    /// Tokens per second while decoding.
    rate: f64,
    /// Bytes of KV or recurrent state that hold what was read.
    state: u64,
    /// Bytes of the process that are in memory.
    resident: Option<u64>,
}

/// One model at every length that it reached.
#[derive(Clone, Debug)]
struct Series {
    name: String,
    weights: u64,
    arena: u64,
    points: Vec<Point>,
    /// What ended it before the last length.
    failure: Option<String>,
}

impl Series {
    /// A model of which there is nothing to show but why.
    fn failed(name: &str, error: &CliError) -> Series {
        Series {
            name: one_line(name).into_owned(),
            weights: 0,
            arena: 0,
            points: Vec::new(),
            failure: Some(one_line(&error.to_string()).into_owned()),
        }
    }

    fn at(&self, context: usize) -> Option<&Point> {
        self.points.iter().find(|point| point.context == context)
    }

    /// Bytes that a model must hold at a length.
    fn memory(&self, point: &Point) -> u64 {
        self.weights + self.arena + point.state
    }
}

/// A model's figures beside the first one's at the same length: speed and memory.
fn ratios(all: &[Series], series: &Series, point: &Point) -> Option<(f64, f64)> {
    let first = all.first()?;
    let at = first.at(point.context)?;
    let memory = series.memory(point) as f64 / first.memory(at) as f64;
    Some((point.rate / at.rate, memory))
}

/// The lengths to measure at.
fn lengths(arguments: &Arguments) -> Result<Vec<usize>, CliError> {
    let last = arguments.max_context;
    let first = arguments.min_context.unwrap_or(last.min(1024));
    if first > last {
        let what = format!("--min-context {first} is above the last length, -c {last}");
        return Err(CliError::Usage(what));
    }
    let doubled = std::iter::successors(Some(first as usize), |length| Some(length * 2));
    Ok(doubled
        .take_while(|&length| length <= last as usize)
        .collect())
}

pub fn compare(arguments: &Arguments) -> Result<(), CliError> {
    let lengths = lengths(arguments)?;
    if arguments.svg.as_deref().is_some_and(output::is_stdout) {
        let what = "--svg is not written to standard output, give the path of a file";
        return Err(CliError::Usage(what.to_string()));
    }
    let json = arguments.json.as_deref();
    let json_file = json.filter(|path| !output::is_stdout(path));
    for path in json_file.iter().copied().chain(arguments.svg.as_deref()) {
        output::check(path)?;
    }
    let all = measure_all(arguments, &lengths)?;
    // A reader of the table may go away before its end: files first.
    if let Some(path) = json_file {
        write(path, &format!("{:#}\n", as_json(&all)))?;
    }
    if let Some(path) = &arguments.svg {
        write(path, &plot::svg(&all))?;
    }
    if json.is_some_and(output::is_stdout) {
        // A closed stderr is no failure.
        let _ = table(&mut io::stderr().lock(), &all);
        writeln!(Out::new(), "{:#}", as_json(&all))?;
    } else {
        table(&mut Out::new(), &all)?;
    }
    let failed = all.iter().filter_map(|series| {
        let failure = series.failure.as_ref()?;
        Some(format!("{}: {failure}", series.name))
    });
    let failed: Vec<String> = failed.collect();
    match failed.first() {
        None => Ok(()),
        Some(first) => {
            let (failed, all) = (failed.len(), all.len());
            let what = format!("{failed} of {all} models failed, the first of them {first}");
            Err(RunError::Input(what).into())
        }
    }
}

/// Every model at every length; one that fails stops no other.
fn measure_all(arguments: &Arguments, lengths: &[usize]) -> Result<Vec<Series>, CliError> {
    let options = arguments.threads.model_options()?;
    let mut all = Vec::new();
    let mut add = |name: &str, model: Result<Model, CliError>| {
        let series = model.and_then(|model| measure(arguments, name, &model, lengths));
        all.push(series.unwrap_or_else(|error| Series::failed(name, &error)));
    };
    match &arguments.synthetic {
        Some(size) => {
            let size = size.to_ascii_lowercase();
            let known: Vec<_> = shapes()
                .filter(|shape| size_of(shape.name) == Some(size.as_str()))
                .collect();
            if known.is_empty() {
                let what = format!("there is no shape of size {size:?}; sizes are {}", sizes());
                return Err(CliError::Usage(what));
            }
            for shape in &known {
                let drawn = Drawn::new(shape.name);
                add(shape.name, draw(arguments, shape, &drawn.path, options));
            }
        }
        None if arguments.models.is_empty() => {
            #[cfg(feature = "demo")]
            for demo in super::demo::Demo::ALL {
                add(demo.name(), demo.open(options).map_err(CliError::from));
            }
            #[cfg(not(feature = "demo"))]
            return Err(CliError::Usage(
                "built without the demonstration models, name some (see --help)".to_string(),
            ));
        }
        None => {
            for path in &arguments.models {
                let name = path.file_stem().unwrap_or(path.as_os_str());
                let model = Model::open(path, options);
                let model = model.map_err(|error| habits::explained(error, path).into());
                add(&name.to_string_lossy(), model);
            }
        }
    }
    Ok(all)
}

/// A random model of this shape, written to a file and opened.
fn draw(
    arguments: &Arguments,
    shape: &RandomModel,
    path: &Path,
    options: ModelOptions,
) -> Result<Model, CliError> {
    let input = shape.draft(0);
    let plan = QuantizePlan::new(&input, &QuantizeOptions::new(arguments.mix))?;
    save(&input, &plan, path, arguments.threads.threads, "drawing")?;
    Ok(Model::open(path, options)?)
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    output::replace(path, |file| file.write_all(text.as_bytes()))
}

/// The size that a shape's name says.
fn size_of(name: &'static str) -> Option<&'static str> {
    match name.split_once('-') {
        Some((tiny @ "tiny", _)) => Some(tiny),
        _ => {
            let size = name.rsplit('-').next()?;
            size.starts_with(|first: char| first.is_ascii_digit())
                .then_some(size)
        }
    }
}

/// The sizes that shapes are named by, each once.
fn sizes() -> String {
    let mut sizes: Vec<&str> = Vec::new();
    for shape in shapes() {
        if let Some(size) = size_of(shape.name)
            && !sizes.contains(&size)
        {
            sizes.push(size);
        }
    }
    sizes.join(", ")
}

/// A drawn model's file, which goes with it.
struct Drawn {
    path: PathBuf,
    _unfinished: Unfinished,
}

impl Drawn {
    fn new(name: &str) -> Drawn {
        let name = format!("rillm-compare-{}-{name}.gguf", std::process::id());
        let path = std::env::temp_dir().join(name);
        Drawn {
            _unfinished: Unfinished::new(path.clone()),
            path,
        }
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        // What is left over in the system's temporary folder harms nobody.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn measure(
    arguments: &Arguments,
    name: &str,
    model: &Model,
    lengths: &[usize],
) -> Result<Series, CliError> {
    let most = lengths.last().copied().unwrap_or(1);
    let timed = most.min(arguments.n_gen as usize);
    let options = SessionOptions::default()
        .context(most + timed)
        .batch(BATCH)
        .checkpoints(0)
        .kv_type(arguments.kv_type.kv_type()?);
    let plan = Session::memory_plan(model, options)?;
    let mut session = Session::new(model, options)?;
    let vocabulary = model.limits().vocabulary.max(1);
    let row = |position: usize, emit: bool| Row {
        token: ((position as u64).wrapping_mul(2_654_435_761) % vocabulary) as u32,
        position: position as u64,
        emit,
        ..Row::default()
    };
    let tensors = model.manifest().tensors.values();
    let mut series = Series {
        name: one_line(name).into_owned(),
        weights: tensors.map(|info| info.range.end - info.range.start).sum(),
        arena: plan.arena as u64,
        points: Vec::new(),
        failure: None,
    };
    series.failure = steps(
        (name, arguments),
        lengths,
        &row,
        &mut session,
        |length, rate| {
            let held = plan.state_fixed + plan.state_per_1k * length / 1024;
            series.points.push(Point {
                context: length,
                rate,
                state: held as u64,
                resident: rillm::internals::platform::resident(),
            });
        },
    )
    .err()
    .map(|error| error.to_string());
    Ok(series)
}

/// Feeds a session from length to length, and hands on each with the tokens per second there.
fn steps(
    (name, arguments): (&str, &Arguments),
    lengths: &[usize],
    row: &dyn Fn(usize, bool) -> Row,
    session: &mut Session,
    mut reached: impl FnMut(usize, f64),
) -> Result<(), CliError> {
    let begin = Instant::now();
    let budget = Duration::from_secs(arguments.budget);
    let mut read = 0;
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
                super::warn(&format!("{name}: {what}"));
                return Ok(());
            }
            let end = length.min(read + BATCH);
            let rows: Vec<Row> = (read..end).map(|at| row(at, false)).collect();
            session.feed(&rows, &mut |_| {})?;
            read = end;
        }
        // Not beyond the next length, which is twice this one.
        let timed = length.min(arguments.n_gen as usize);
        let mut times = Vec::with_capacity(timed);
        for _ in 0..timed {
            let start = Instant::now();
            session.feed(&[row(read, true)], &mut |_| {})?;
            times.push(start.elapsed());
            read += 1;
        }
        times.sort_unstable();
        reached(length, 1.0 / times[times.len() / 2].as_secs_f64().max(1e-9));
    }
    Ok(())
}

/// 65536 is 64K.
fn short(context: usize) -> String {
    match context % 1024 {
        0 => format!("{}K", context / 1024),
        _ => context.to_string(),
    }
}

fn table(out: &mut impl Write, all: &[Series]) -> io::Result<()> {
    /// Columns of a line with usual names.
    const WIDTH: usize = 90;
    if is_too_narrow(WIDTH) {
        return list(out, all);
    }
    writeln!(
        out,
        "| model | context | t/s | weights | KV or state | arena | resident | speed | memory |"
    )?;
    writeln!(out, "|:--|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for series in all {
        for point in &series.points {
            let ratio = |ratio: Option<f64>| match ratio {
                Some(ratio) => format!("{ratio:.2}"),
                None => "–".to_string(),
            };
            let beside = ratios(all, series, point);
            writeln!(
                out,
                "| {} | {} | {:.1} | {} | {} | {} | {} | {} | {} |",
                series.name,
                short(point.context),
                point.rate,
                bytes(series.weights),
                bytes(point.state),
                bytes(series.arena),
                point.resident.map_or("–".to_string(), bytes),
                ratio(beside.map(|(speed, _)| speed)),
                ratio(beside.map(|(_, memory)| memory)),
            )?;
        }
        if let Some(failure) = &series.failure {
            writeln!(out, "| {} | failed: {failure} | | | | | | | |", series.name)?;
        }
    }
    // What explains figures, where there are some.
    if all.iter().all(|series| series.points.is_empty()) {
        return Ok(());
    }
    writeln!(
        out,
        "\nSpeed and memory (weights, state and arena) beside {} at the same length.",
        all.first().map_or("the first", |first| &first.name)
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
fn reaches_quoted(all: &[Series]) -> bool {
    let mut points = all.iter().flat_map(|series| &series.points);
    points.any(|point| point.context >= QUOTED_AT)
}

/// The quoted figures, with their ratios.
fn quoted() -> String {
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

fn as_json(all: &[Series]) -> Value {
    let models: Vec<Value> = all
        .iter()
        .map(|series| {
            let points = series.points.iter().map(|point| {
                let beside = ratios(all, series, point);
                json!({
                    "context": point.context,
                    "tokens_per_second": point.rate,
                    "state_bytes": point.state,
                    "memory_bytes": series.memory(point),
                    "resident_bytes": point.resident,
                    "speed_ratio": beside.map(|(speed, _)| speed),
                    "memory_ratio": beside.map(|(_, memory)| memory),
                })
            });
            json!({
                "model": series.name,
                "weights_bytes": series.weights,
                "arena_bytes": series.arena,
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
