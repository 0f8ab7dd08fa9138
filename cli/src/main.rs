//! One file per subcommand. Results go to stdout, chatter to stderr; an error is one line and
//! an exit code.

#![forbid(unsafe_code)]

mod bench;
mod chat;
mod compare;
mod completions;
#[cfg(feature = "demo")]
mod demo;
mod eval;
mod inspect;
mod interrupt;
mod kernels;
mod line;
mod llama_cpp;
mod output;
mod overrides;
mod perplexity;
mod picture;
mod profile;
mod progress;
mod prompt_cache;
mod quantize;
mod roofline;
mod run;
mod sampling;
mod synth;
mod tokenize;

use clap::{Args, Parser, Subcommand};
use progress::Progress;
use rillm::formats::tokenizer::Tokenizer;
use rillm::internals::state::KvType;
use rillm::internals::weights::Files;
use rillm::session::SessionOptions;
use rillm::{LoadError, Model, ModelOptions, RunError};
use std::fmt;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Language models on plain CPUs
///
/// Without a command, the embedded demonstration model tells a story.
#[derive(Debug, Parser)]
// Of an option that is given several times the last counts, unless several are asked for.
#[command(name = "rillm", version, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Continue a text (or, with an encoder–decoder model, answer it)
    Run(run::Arguments),
    /// Talk with a model, through its own template
    Chat(chat::Arguments),
    /// Show the tokens of a text
    Tokenize(tokenize::Arguments),
    /// Show the text of token ids
    Detokenize(tokenize::Back),
    /// Measure how well a model foresees a text
    Perplexity(perplexity::Arguments),
    /// Run token ids as transformers' forward does and write the outputs as safetensors
    Eval(eval::Arguments),
    /// Show what a model's files say and what memory it would take
    Inspect(inspect::Arguments),
    /// Measure prompt processing and generation in tokens per second
    Bench(bench::Arguments),
    /// Measure several models' speed and memory as their context grows
    Compare(compare::Arguments),
    /// Write a model's file anew with smaller weights
    Quantize(quantize::Arguments),
    /// Write a model of a known shape with random weights, to measure on
    Synth(synth::Arguments),
    /// Print a script that completes this command line in a shell
    Completions(completions::Arguments),
}

/// What may stand in place of a model's path.
const MODEL_OPTIONS: &[&str] = if cfg!(feature = "demo") {
    &["model_option", "demo"]
} else {
    &["model_option"]
};

/// Which model, and how it is opened.
#[derive(Args, Clone, Debug)]
struct ModelArguments {
    /// GGUF file (of a split one: the first) or Hugging Face folder
    #[arg(value_name = "MODEL", required_unless_present_any = MODEL_OPTIONS)]
    model: Option<PathBuf>,
    /// The same, as an option
    #[arg(
        short = 'm',
        long = "model",
        value_name = "MODEL",
        conflicts_with = "model"
    )]
    model_option: Option<PathBuf>,
    /// Instead of a file: one of the models compiled in
    #[cfg(feature = "demo")]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["model", "model_option"])]
    demo: Option<demo::Demo>,
    /// Copy the model into memory instead of mapping its file: slower to start, not shared with
    /// other processes, and often faster to run, as memory comes in larger pages than cached files
    #[arg(long)]
    no_mmap: bool,
    #[command(flatten)]
    options: ThreadArguments,
    #[command(flatten)]
    overrides: overrides::OverrideArguments,
}

/// How a conversation's past is kept.
#[derive(Args, Clone, Copy, Debug)]
struct KvCacheArguments {
    /// Type of keys and values of the past: f32, f16 or q8_0
    #[arg(long = "kv-type", visible_aliases = ["cache-type-k", "ctk"], value_name = "TYPE", default_value_t = KvType::F16)]
    kv_type: KvType,
    /// The same for values alone, which are kept in the type of keys
    #[arg(long = "cache-type-v", alias = "ctv", value_name = "TYPE", hide = true)]
    values: Option<KvType>,
}

impl KvCacheArguments {
    fn kv_type(self) -> Result<KvType, CliError> {
        match self.values {
            Some(values) if values != self.kv_type => Err(CliError::Usage(format!(
                "keys and values are kept in one type, not in {} and {values}",
                self.kv_type
            ))),
            _ => Ok(self.kv_type),
        }
    }
}

/// What happens when the context is full.
#[derive(Args, Clone, Copy, Debug)]
struct EndlessArguments {
    /// When the context is full, forget the eighth of it behind its first tokens and go on
    #[arg(long, visible_alias = "context-shift")]
    endless: bool,
    /// With --endless: how many of the first tokens are never forgotten, -1 for the whole prompt
    #[arg(long, value_name = "N", default_value_t = 4, requires = "endless", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=i64::from(u32::MAX)))]
    keep: i64,
}

impl EndlessArguments {
    /// What to keep, for a prompt of so many tokens.
    fn keep(self, prompt: usize) -> Option<usize> {
        let keep = usize::try_from(self.keep).unwrap_or(prompt);
        self.endless.then_some(keep)
    }
}

/// How much of a prompt is computed at a time.
#[derive(Args, Clone, Copy, Debug)]
struct BatchArguments {
    /// Rows of a prompt at a time: fewer take less memory, and longer [default: 512]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch_size: Option<u32>,
    /// The same, and counts before it
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    ubatch_size: Option<u32>,
}

impl BatchArguments {
    fn rows(self) -> usize {
        let usual = SessionOptions::default().batch;
        match (self.ubatch_size, self.batch_size) {
            (Some(rows), _) => rows as usize,
            // More than the usual rows at a time are not faster.
            (None, Some(rows)) => (rows as usize).min(usual),
            (None, None) => usual,
        }
    }
}

#[derive(Args, Clone, Debug)]
struct ThreadArguments {
    /// Threads [default: the physical cores this process may use, where sharing pays]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

/// Why a command failed.
#[derive(Debug)]
enum CliError {
    Load(LoadError),
    Run(RunError),
    Isa(rillm::internals::kernels::IsaError),
    /// A file of the user's, and what is wrong with it.
    File(PathBuf, String),
    Usage(String),
    Output(io::Error),
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Load(error) => error.fmt(f),
            CliError::Run(error) => error.fmt(f),
            CliError::Isa(error) => write!(f, "{}: {error}", rillm::internals::knobs::ISA),
            CliError::File(path, what) => write!(f, "{}: {what}", path.display()),
            CliError::Usage(what) => f.write_str(what),
            CliError::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> CliError {
        CliError::Load(error)
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> CliError {
        CliError::Run(error)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        CliError::Output(error)
    }
}

/// Runs the command and says how it went.
fn main() -> ExitCode {
    let (line, without_effect) = match llama_cpp::translated(std::env::args_os()) {
        Ok(translated) => translated,
        Err(error) => return failed(&error),
    };
    let cli = Cli::parse_from(line);
    if !without_effect.is_empty() {
        warn(&format!(
            "without effect here: {}",
            without_effect.join(", ")
        ));
    }
    let result = match cli.command {
        None => run::demo(),
        Some(Command::Run(arguments)) => run::run(&arguments),
        Some(Command::Chat(arguments)) => chat::chat(&arguments),
        Some(Command::Tokenize(arguments)) => tokenize::tokenize(&arguments),
        Some(Command::Detokenize(arguments)) => tokenize::detokenize(&arguments),
        Some(Command::Perplexity(arguments)) => perplexity::perplexity(&arguments),
        Some(Command::Eval(arguments)) => eval::eval(&arguments),
        Some(Command::Inspect(arguments)) => inspect::inspect(&arguments),
        Some(Command::Bench(arguments)) => bench::bench(&arguments),
        Some(Command::Compare(arguments)) => compare::compare(&arguments),
        Some(Command::Quantize(arguments)) => quantize::quantize(&arguments),
        Some(Command::Synth(arguments)) => synth::synth(&arguments),
        Some(Command::Completions(arguments)) => completions::completions(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &CliError) -> ExitCode {
    // If stderr is gone as well there is nobody left to tell.
    let _ = writeln!(io::stderr(), "rillm: {error}");
    ExitCode::from(if matches!(error, CliError::Usage(_)) {
        2
    } else {
        1
    })
}

impl ThreadArguments {
    fn model_options(&self) -> Result<ModelOptions, CliError> {
        let isa = rillm::internals::knobs::isa().map_err(CliError::Isa)?;
        Ok(ModelOptions {
            isa,
            threads: self.threads.map(usize::from),
        })
    }
}

impl ModelArguments {
    fn path(&self) -> &Path {
        #[cfg(feature = "demo")]
        if let Some(demo) = self.demo {
            return Path::new(demo.name());
        }
        let given = self.model.as_deref().or(self.model_option.as_deref());
        given.unwrap_or(Path::new(""))
    }

    fn files(&self) -> Result<Files, LoadError> {
        #[cfg(feature = "demo")]
        if let Some(demo) = self.demo {
            return demo.files();
        }
        let mut files = rillm::internals::weights::open(self.path())?;
        if self.no_mmap {
            let total = files
                .sources
                .iter()
                .map(|source| source.bytes().len() as u64);
            let done = Arc::new(AtomicU64::new(0));
            let _shown = Progress::watch(Arc::clone(&done), total.sum(), "copying", "bytes");
            let threads = self.options.threads.map(usize::from);
            let threads = threads.unwrap_or_else(rillm::internals::platform::default_threads);
            files.copy(threads, &done)?;
        }
        Ok(files)
    }

    fn open(&self) -> Result<Model, CliError> {
        let options = self.options.model_options()?;
        let model = self.files().and_then(|mut files| {
            self.overrides.apply(&mut files.manifest.metadata);
            Model::from_files(files, options)
        });
        Ok(model.map_err(|error| error.at(self.path()))?)
    }

    /// The tokenizer alone: of a file that holds a vocabulary and no weights, or those of a model
    /// that cannot be run, as well.
    fn tokenizer(&self) -> Result<Tokenizer, CliError> {
        let tokenizer = self.files().and_then(|mut files| {
            self.overrides.apply(&mut files.manifest.metadata);
            files.tokenizer()
        });
        Ok(tokenizer.map_err(|error| error.at(self.path()))?)
    }

    /// The same error, naming the model's file where it does not name one.
    fn blame(&self, error: CliError) -> CliError {
        match error {
            CliError::Load(error) => CliError::Load(error.at(self.path())),
            CliError::Run(error @ RunError::Input(_)) => {
                CliError::File(self.path().to_path_buf(), error.to_string())
            }
            other => other,
        }
    }
}

/// "1 thread", "2 threads".
fn threads(model: &Model) -> String {
    match model.pool().threads() {
        1 => "1 thread".to_string(),
        count => format!("{count} threads"),
    }
}

/// Says on stderr what may not be meant, and goes on.
fn warn(what: &str) {
    // A closed stderr is no failure.
    let _ = writeln!(io::stderr(), "rillm: warning: {what}");
}

/// Positions to reserve: those asked for (0 for all that the model was trained for), or as many
/// as it was trained for, up to the default.
fn context(asked: Option<usize>, model: &Model) -> usize {
    let usual = SessionOptions::default().context;
    match (asked, model.context()) {
        (Some(0), trained) => trained.unwrap_or(usual),
        (Some(asked), Some(trained)) => {
            if asked > trained {
                warn(&format!(
                    "context {asked} is more than the {trained} the model was trained for"
                ));
            }
            asked
        }
        (Some(asked), None) => asked,
        (None, trained) => trained.map_or(usual, |trained| trained.min(usual)),
    }
}

/// The text given on the command line, in a file, or piped in; without the newline that ends a
/// file.
fn text(
    given: Option<&str>,
    file: Option<&Path>,
    what: &str,
    option: &str,
) -> Result<String, CliError> {
    match given {
        Some(text) => Ok(text.to_string()),
        None => whole_text(None, file, what, option).map(without_last_newline),
    }
}

/// The same with every byte of a file.
fn whole_text(
    given: Option<&str>,
    file: Option<&Path>,
    what: &str,
    option: &str,
) -> Result<String, CliError> {
    let stdin = |path: &Path| {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        read.map_err(|error| CliError::File(path.to_path_buf(), error.to_string()))?;
        Ok(text)
    };
    match (given, file) {
        (Some(text), _) => Ok(text.to_string()),
        (None, Some(path)) if path.as_os_str() == "-" => stdin(path),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| CliError::File(path.to_path_buf(), error.to_string())),
        (None, None) if io::stdin().is_terminal() => {
            let what = format!("no {what}: give {option} or -f FILE, or pipe a text in");
            Err(CliError::Usage(what))
        }
        (None, None) => stdin(Path::new("standard input")),
    }
}

/// Editors and `echo` end a text with a newline that its author did not mean.
fn without_last_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// Bytes as people read them.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = None;
    for name in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = Some(name);
    }
    match unit {
        None => format!("{count} B"),
        Some(unit) if value < 10.0 => format!("{value:.2} {unit}"),
        Some(unit) => format!("{value:.1} {unit}"),
    }
}
