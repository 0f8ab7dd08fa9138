//! `rillm compare`: how speed and memory of several models change with the length of what they
//! have read.

mod plot;

use super::quantize::save;
use super::{CliError, HistoryArguments, ThreadArguments, bytes};
use clap::Args;
use rillm::quantize::synthetic::SHAPES;
use rillm::quantize::{Mix, Options, Plan};
use rillm::session::{SessionOptions, memory_plan};
use rillm::{Model, Row, RunError, Session};
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
    /// The first length; each further one is twice as long
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    min_context: u32,
    /// The last length
    #[arg(short = 'c', long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    max_context: u32,
    /// Tokens timed at each length; their median counts
    #[arg(short = 'n', long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    n_gen: u32,
    /// Seconds for each model: lengths that would take it longer are left out
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    budget: u64,
    #[command(flatten)]
    history: HistoryArguments,
    #[command(flatten)]
    threads: ThreadArguments,
    /// Write all figures to this file
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
}

impl Series {
    fn at(&self, context: usize) -> Option<&Point> {
        self.points.iter().find(|point| point.context == context)
    }

    /// Bytes that a model must hold at a length.
    fn memory(&self, point: &Point) -> u64 {
        self.weights + self.arena + point.state
    }
}

pub fn compare(arguments: &Arguments) -> Result<(), CliError> {
    let mut lengths = vec![arguments.min_context as usize];
    while let Some(&last) = lengths.last()
        && last * 2 <= arguments.max_context as usize
    {
        lengths.push(last * 2);
    }
    let options = arguments.threads.model_options()?;
    let mut all = Vec::new();
    match &arguments.synthetic {
        Some(size) => {
            let size = size.to_ascii_lowercase();
            let shapes: Vec<_> = SHAPES
                .iter()
                .filter(|shape| shape.name.contains(&size))
                .collect();
            if shapes.is_empty() {
                let what = format!("there is no shape of size {size:?}, see rillm synth --help");
                return Err(CliError::Usage(what));
            }
            for shape in shapes {
                let drawn = Drawn::new(shape.name);
                let input = shape.input(0);
                let plan = Plan::new(&input, &Options::new(arguments.mix))?;
                save(
                    &input,
                    &plan,
                    &drawn.0,
                    arguments.threads.threads,
                    "drawing",
                )?;
                let model = Model::open(&drawn.0, options)?;
                all.push(measure(arguments, shape.name, &model, &lengths)?);
            }
        }
        None if arguments.models.is_empty() => {
            #[cfg(feature = "demo")]
            for demo in super::demo::Demo::ALL {
                let model = demo.open(options)?;
                all.push(measure(arguments, demo.name(), &model, &lengths)?);
            }
            #[cfg(not(feature = "demo"))]
            return Err(CliError::Usage(
                "built without the demonstration models, name some (see --help)".to_string(),
            ));
        }
        None => {
            for path in &arguments.models {
                let name = path.file_stem().unwrap_or(path.as_os_str());
                let model = Model::open(path, options)?;
                all.push(measure(
                    arguments,
                    &name.to_string_lossy(),
                    &model,
                    &lengths,
                )?);
            }
        }
    }
    table(&mut io::stdout().lock(), &all, &lengths)?;
    if let Some(path) = &arguments.json {
        write(path, &format!("{:#}\n", as_json(&all)))?;
    }
    if let Some(path) = &arguments.svg {
        write(path, &plot::svg(&all))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(path, text)
        .map_err(|error| CliError::File(path.to_path_buf(), error.to_string()))
}

/// A drawn model's file, which goes with it.
struct Drawn(PathBuf);

impl Drawn {
    fn new(name: &str) -> Drawn {
        let name = format!("rillm-compare-{}-{name}.gguf", std::process::id());
        Drawn(std::env::temp_dir().join(name))
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        // What is left over in the system's temporary folder harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn measure(
    arguments: &Arguments,
    name: &str,
    model: &Model,
    lengths: &[usize],
) -> Result<Series, CliError> {
    let timed = arguments.n_gen as usize;
    let most = lengths.last().copied().unwrap_or(1);
    let options = SessionOptions {
        context: most + timed,
        batch: BATCH,
        checkpoints: 0,
        history: arguments.history.history()?,
        ..SessionOptions::default()
    };
    let plan = memory_plan(model, options)?;
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
        name: name.to_string(),
        weights: tensors.map(|info| info.range.end - info.range.start).sum(),
        arena: plan.arena as u64,
        points: Vec::new(),
    };
    let begin = Instant::now();
    let budget = Duration::from_secs(arguments.budget);
    let mut read = 0;
    'lengths: for &length in lengths {
        // Everything before is really read: a history of a depth that was never fed would be
        // cheaper to make, and to look at.
        while read < length {
            if begin.elapsed() > budget {
                super::warn(&format!(
                    "{name} reached {read} of {length} tokens within {} s, --budget gives it longer",
                    arguments.budget
                ));
                break 'lengths;
            }
            let end = length.min(read + BATCH);
            let rows: Vec<Row> = (read..end).map(|at| row(at, false)).collect();
            session.feed(&rows, &mut |_| {})?;
            read = end;
        }
        let mut times = Vec::with_capacity(timed);
        for _ in 0..timed {
            let start = Instant::now();
            session.feed(&[row(read, true)], &mut |_| {})?;
            times.push(start.elapsed());
            read += 1;
        }
        times.sort_unstable();
        let held = plan.state_fixed + plan.state_per_1k * length / 1024;
        series.points.push(Point {
            context: length,
            rate: 1.0 / times[times.len() / 2].as_secs_f64().max(1e-9),
            state: held as u64,
            resident: rillm::platform::resident(),
        });
    }
    if series.points.is_empty() {
        let what = format!("{name} reached no length within {} s", arguments.budget);
        return Err(RunError::Input(what).into());
    }
    Ok(series)
}

/// 65536 is 64K.
fn short(context: usize) -> String {
    match context % 1024 {
        0 => format!("{}K", context / 1024),
        _ => context.to_string(),
    }
}

fn table(out: &mut impl Write, all: &[Series], lengths: &[usize]) -> io::Result<()> {
    writeln!(
        out,
        "| model | context | t/s | weights | KV or state | arena | resident | speed | memory |"
    )?;
    writeln!(out, "|:--|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    let first = all.first();
    for series in all {
        for point in &series.points {
            let beside = first.and_then(|first| Some((first, first.at(point.context)?)));
            let ratio = |of: &dyn Fn(&Series, &Point) -> f64| match beside {
                Some((first, at)) => format!("{:.2}", of(series, point) / of(first, at)),
                None => "–".to_string(),
            };
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
                ratio(&|_, point| point.rate),
                ratio(&|series, point| series.memory(point) as f64),
            )?;
        }
    }
    writeln!(
        out,
        "\nSpeed and memory (weights, state and arena) beside {} at the same length.",
        first.map_or("the first", |first| &first.name)
    )?;
    let quoted: Vec<String> = QUOTED
        .iter()
        .map(|(name, rate, memory)| {
            let (_, first_rate, first_memory) = QUOTED[0];
            format!(
                "{name} {rate} t/s in {memory} GB ({:.2}, {:.2})",
                rate / first_rate,
                memory / first_memory
            )
        })
        .collect();
    let reached = match lengths.contains(&QUOTED_AT) {
        true => "",
        false => ", a length not measured here",
    };
    writeln!(
        out,
        "Quoted for models of one size on a GPU at {}{reached}: {}.",
        short(QUOTED_AT),
        quoted.join(", ")
    )
}

fn as_json(all: &[Series]) -> Value {
    let models: Vec<Value> = all
        .iter()
        .map(|series| {
            let points = series.points.iter().map(|point| {
                json!({
                    "context": point.context,
                    "tokens_per_second": point.rate,
                    "state_bytes": point.state,
                    "resident_bytes": point.resident,
                })
            });
            json!({
                "model": series.name,
                "weights_bytes": series.weights,
                "arena_bytes": series.arena,
                "points": points.collect::<Vec<_>>(),
            })
        })
        .collect();
    let quoted: Vec<Value> = QUOTED
        .iter()
        .map(|(name, rate, memory)| {
            json!({ "family": name, "tokens_per_second": rate, "gigabytes": memory })
        })
        .collect();
    json!({ "models": models, "quoted": { "context": QUOTED_AT, "figures": quoted } })
}
