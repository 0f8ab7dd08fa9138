//! `rillm compare`: how speed and memory of several models change with the length of what they
//! have read, how long each makes wait for its first token, and how well it foresees a text.

mod markdown;
mod measure;
mod plot;
mod report;

use super::habits;
use super::interrupt::Unfinished;
use super::memory::size;
use super::quantize::save;
use super::terminal::{Out, one_line};
use super::{CliError, KvCacheArguments, ThreadArguments, output, text};
use clap::Args;
use measure::measure;
use report::{as_json, foreseen, table};
use rillm::internals::synthetic::{RandomModel, shapes};
use rillm::quantize::{Mix, QuantizeOptions, QuantizePlan};
use rillm::{Model, ModelOptions, RunError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Models: GGUF files, Hugging Face folders, or shapes that `rillm synth` knows, which are drawn with
    /// positions for the last length [default: the embedded ones]
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Draw random models of this size, one of each family that `rillm synth` knows in it
    #[arg(long, value_name = "SIZE", conflicts_with = "models")]
    synthetic: Option<String>,
    /// Type of the weights of models that are drawn
    #[arg(short = 'q', long = "type", value_name = "TYPE", default_value = "q8_0", value_parser = super::quantize::mix)]
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
    /// Bytes of memory that all may take while a model is measured: weights for which there is no
    /// room are read when they are needed
    #[arg(long, value_name = "BYTES", value_parser = size)]
    memory: Option<u64>,
    /// Write all figures to this file (- for standard output: then the table goes to stderr)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Draw them into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measure how well each foresees this text as well
    #[arg(short = 'f', long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Write all of it into this file as Markdown, with the picture in it, and with what it was measured
    /// on and by what command
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// One model at one length.
#[derive(Clone, Copy, Debug)]
struct Point {
    context: usize,
    /// Tokens per second: of a decoder while it decodes, of an encoder while it reads.
    rate: f64,
    /// Seconds from a prompt so long to the first token, or to what an encoder makes of the text.
    first: f64,
    /// What a model that reads whole texts does besides.
    reader: Option<ReaderRates>,
    /// Bytes of activations.
    arena: u64,
    /// Bytes of KV or recurrent state that hold what was read.
    state: u64,
    /// Bytes of the process that are in memory.
    resident: Option<u64>,
}

/// What a model that reads whole texts does with those of one length.
#[derive(Clone, Copy, Debug)]
struct ReaderRates {
    /// Texts per second.
    texts: f64,
    /// Tokens per second that it writes after one, if it writes.
    written: Option<f64>,
}

/// What a model does at the lengths that it is measured at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MeasuredAs {
    Decodes,
    Encodes,
}

/// One model at every length that it reached.
#[derive(Clone, Debug)]
struct Series {
    name: String,
    measured: MeasuredAs,
    weights: u64,
    /// exp of the mean surprise of a text's tokens, and its standard error, if one was given.
    perplexity: Option<Result<(f64, f64), String>>,
    points: Vec<Point>,
    /// What ended it before the last length.
    failure: Option<String>,
}

impl Series {
    /// A model of which there is nothing to show but why.
    fn failed(name: &str, error: &CliError) -> Series {
        Series {
            name: one_line(name).into_owned(),
            measured: MeasuredAs::Decodes,
            weights: 0,
            perplexity: None,
            points: Vec::new(),
            failure: Some(one_line(&error.to_string()).into_owned()),
        }
    }

    fn at(&self, context: usize) -> Option<&Point> {
        self.points.iter().find(|point| point.context == context)
    }

    /// Bytes that a model must hold at a length.
    fn memory(&self, point: &Point) -> u64 {
        self.weights + point.arena + point.state
    }
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
    let files = [
        json_file,
        arguments.svg.as_deref(),
        arguments.report.as_deref(),
    ];
    for path in files.into_iter().flatten() {
        output::check(path)?;
    }
    let text = match &arguments.text {
        Some(_) => Some(text(None, arguments.text.as_deref(), "text", "-f FILE")?),
        None => None,
    };
    let all = measure_all(arguments, &lengths, text.as_deref())?;
    // A reader of the table may go away before its end: files first.
    if let Some(path) = json_file {
        write(path, &format!("{:#}\n", as_json(&all)))?;
    }
    if let Some(path) = &arguments.svg {
        write(path, &plot::svg(&all))?;
    }
    if let Some(path) = &arguments.report {
        write(path, &markdown::report(&all, &arguments.threads)?)?;
    }
    if json.is_some_and(output::is_stdout) {
        // A closed stderr is no failure.
        let mut out = io::stderr().lock();
        let _ = table(&mut out, &all).and_then(|()| foreseen(&mut out, &all));
        writeln!(Out::new(), "{:#}", as_json(&all))?;
    } else {
        let mut out = Out::new();
        table(&mut out, &all)?;
        foreseen(&mut out, &all)?;
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
fn measure_all(
    arguments: &Arguments,
    lengths: &[usize],
    text: Option<&str>,
) -> Result<Vec<Series>, CliError> {
    let options = arguments.threads.model_options()?;
    let mut all = Vec::new();
    let mut add = |name: &str, model: Result<Model, CliError>| {
        let series = model.and_then(|model| measure(arguments, name, &model, (lengths, text)));
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
                add(shape.name, draw(arguments, *shape, &drawn.path, options));
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
                let shape = path.to_str().filter(|_| !path.exists());
                if let Some(shape) = shape.and_then(|name| name.parse::<RandomModel>().ok()) {
                    let drawn = Drawn::new(shape.name);
                    // For tokens that are timed at the last length as well.
                    let last = arguments.max_context + arguments.n_gen;
                    let shape = shape.reaching(last.into());
                    add(shape.name, draw(arguments, shape, &drawn.path, options));
                    continue;
                }
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
    shape: RandomModel,
    path: &Path,
    options: ModelOptions,
) -> Result<Model, CliError> {
    let input = shape.draft(0)?;
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
