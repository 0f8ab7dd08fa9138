//! Options that several subcommands share: which model, with what memory, on how many threads.

#[cfg(feature = "demo")]
use super::demo;
use super::progress::Progress;
use super::terminal::say;
use super::{CliError, habits, overrides, tune, warn};
use clap::{ArgAction, Args};
use rillm::formats::manifest::{DType, TensorInfo};
use rillm::formats::tokenizer::Tokenizer;
use rillm::internals::ModelParts;
use rillm::internals::platform::{Numa, place};
use rillm::internals::weights::Files;
use rillm::{KvType, LoadError, Model, ModelOptions, Precision, RunError, SessionOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What may stand in place of a model's path.
pub const MODEL_OPTIONS: &[&str] = if cfg!(feature = "demo") {
    &["model_option", "demo"]
} else {
    &["model_option"]
};

/// Which model, and how it is opened.
#[derive(Args, Clone, Debug)]
pub struct ModelArguments {
    /// GGUF file (of a split one: the first) or Hugging Face folder
    #[arg(value_name = "MODEL", required_unless_present_any = MODEL_OPTIONS)]
    model: Option<PathBuf>,
    /// The same, as an option
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    model_option: Option<PathBuf>,
    /// Instead of a file: one of the models compiled in
    #[cfg(feature = "demo")]
    #[arg(long, value_name = "NAME", conflicts_with = "model_option")]
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

/// A text, which may be given in several ways.
#[derive(Args, Clone, Debug)]
pub struct TextArguments {
    /// The text
    #[arg(value_name = "TEXT", conflicts_with_all = ["prompt", "files"])]
    words: Vec<String>,
    /// The same, as an option
    #[arg(
        short,
        long,
        value_name = "TEXT",
        conflicts_with = "files",
        allow_hyphen_values = true
    )]
    prompt: Option<String>,
    /// A file with the text (- for standard input)
    // The last of two would silently stand for both.
    #[arg(short, long = "file", value_name = "FILE", action = ArgAction::Append)]
    files: Vec<PathBuf>,
}

impl TextArguments {
    /// What to do where there is none.
    pub const WAYS: &str = "TEXT behind MODEL or -f FILE, or pipe a text in";

    /// What stands on the command line itself.
    pub fn given(&self, model: &ModelArguments) -> Result<Option<String>, CliError> {
        let words = model.text(&self.words)?;
        if self.files.len() > 1 {
            let what = "-f is given twice, and one text is read at a time";
            return Err(CliError::Usage(what.to_string()));
        }
        match (words, self.prompt.is_some() || !self.files.is_empty()) {
            // With the model as an option, its first word looks like one.
            (Some(words), true) => Err(CliError::Usage(format!(
                "the text is given twice: by an option, and as {words:?}"
            ))),
            (Some(words), false) => Ok(Some(words)),
            (None, _) => Ok(self.prompt.clone()),
        }
    }

    /// The file that holds it.
    pub fn file(&self) -> Option<&Path> {
        self.files.first().map(PathBuf::as_path)
    }
}

/// How the KV cache is kept.
#[derive(Args, Clone, Copy, Debug)]
pub struct KvCacheArguments {
    /// Type of the KV cache, its keys and values: f32, f16 or q8_0
    #[arg(long = "kv-type", visible_aliases = ["cache-type-k", "ctk"], value_name = "TYPE", default_value_t = KvType::F16)]
    pub kv_type: KvType,
    /// The same for values alone, which are kept in the type of keys
    #[arg(long = "cache-type-v", alias = "ctv", value_name = "TYPE", hide = true)]
    values: Option<KvType>,
}

impl KvCacheArguments {
    pub fn kv_type(self) -> Result<KvType, CliError> {
        match self.values {
            Some(values) if values != self.kv_type => Err(CliError::Usage(format!(
                "keys and values are kept in one type, not in {} and {values}",
                self.kv_type
            ))),
            _ => Ok(self.kv_type),
        }
    }
}

/// How floats of 16 bits are multiplied.
#[derive(Args, Clone, Copy, Debug)]
pub struct PrecisionArguments {
    /// How F16 and BF16 weights are multiplied: reference, in float32, or native, as the CPU
    /// multiplies numbers of 16 bits, which is faster and less exact [default: reference]
    #[arg(long, value_name = "PRECISION")]
    precision: Option<Precision>,
}

impl PrecisionArguments {
    /// Says which one a model has, where one was asked for.
    fn say(self, model: &Model) {
        let Some(asked) = self.precision else {
            return;
        };
        let used = model.precision();
        let is_half = |info: &TensorInfo| matches!(info.dtype, DType::F16 | DType::BF16);
        let mut tensors = model.manifest().tensors.values();
        let why = match (asked == used, tensors.any(is_half)) {
            (true, _) => String::new(),
            (false, true) => format!(
                ", which {asked} is as well: with {} this CPU multiplies no numbers of 16 bits faster",
                model.isa()
            ),
            (false, false) => format!(", which {asked} is as well: no weights are F16 or BF16"),
        };
        say(&format!("rillm: precision {used}{why}"));
    }
}

/// What happens when the context is full.
#[derive(Args, Clone, Copy, Debug)]
pub struct EndlessArguments {
    /// When the context is full, drop the eighth of the KV cache behind its first tokens and go on
    #[arg(long, visible_alias = "context-shift")]
    pub endless: bool,
    /// With --endless: how many of the first tokens are never forgotten, -1 for the whole prompt
    #[arg(long, value_name = "N", default_value_t = 4, requires = "endless", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=i64::from(u32::MAX)))]
    pub keep: i64,
}

impl EndlessArguments {
    /// What to keep, for a prompt of so many tokens.
    pub fn keep(self, prompt: usize) -> Option<usize> {
        let keep = usize::try_from(self.keep).unwrap_or(prompt);
        self.endless.then_some(keep)
    }
}

/// How much of a prompt is computed at a time.
#[derive(Args, Clone, Copy, Debug)]
pub struct BatchArguments {
    /// Rows of a prompt at a time: fewer take less memory, and longer [default: 512]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch_size: Option<u32>,
    /// The same, and counts before it
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    ubatch_size: Option<u32>,
}

impl BatchArguments {
    pub fn rows(self) -> usize {
        let usual = SessionOptions::default().batch;
        match (self.ubatch_size, self.batch_size) {
            (Some(rows), _) => rows as usize,
            // More than the usual rows at a time are not faster.
            (None, Some(rows)) => (rows as usize).min(usual),
            (None, None) => usual,
        }
    }
}

#[derive(Args, Clone, Debug, Default)]
pub struct ThreadArguments {
    /// Threads [default: the fast physical cores this process may use, where sharing pays]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// On a machine of several memory nodes: stay on one of them, or take memory from all in turn
    #[arg(long, value_name = "WHERE", value_enum)]
    numa: Option<NumaChoice>,
}

/// Where threads and memory are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum NumaChoice {
    /// On the node on which the process begins
    #[value(alias = "isolate")]
    Local,
    /// Pages on all nodes in turn, files' as far as nobody has read them yet
    #[value(alias = "distribute")]
    Interleave,
    /// As the process was begun
    #[value(hide = true)]
    Numactl,
}

impl ThreadArguments {
    pub fn model_options(&self) -> Result<ModelOptions, CliError> {
        let isa = rillm::internals::knobs::isa().map_err(CliError::Isa)?;
        self.place();
        Ok(ModelOptions::default()
            .isa(isa)
            .tuning(tune::from_environment(isa)?)
            .threads(self.threads.map(usize::from)))
    }
}

impl ThreadArguments {
    /// Places this thread, which begins all others, and their memory.
    /// Where the system lets nobody choose, as in most containers, results come all the same.
    fn place(&self) {
        let numa = match self.numa {
            Some(NumaChoice::Local) => Numa::Local,
            Some(NumaChoice::Interleave) => Numa::Interleave,
            Some(NumaChoice::Numactl) | None => return,
        };
        if let Err(error) = place(numa) {
            warn(&format!(
                "--numa is without effect, the system refuses: {error}"
            ));
        }
    }
}

impl ModelArguments {
    pub fn path(&self) -> &Path {
        #[cfg(feature = "demo")]
        if let Some(demo) = self.demo {
            return Path::new(demo.name());
        }
        let given = self.model_option.as_deref().or(self.model.as_deref());
        given.unwrap_or(Path::new(""))
    }

    /// The same options with another model.
    pub fn with_path(&self, path: &Path) -> ModelArguments {
        ModelArguments {
            model: Some(path.to_path_buf()),
            model_option: None,
            #[cfg(feature = "demo")]
            demo: None,
            ..self.clone()
        }
    }

    /// What stands where a model's path does, if an option names the model.
    fn first_word(&self) -> Option<&Path> {
        #[cfg(feature = "demo")]
        let is_demo = self.demo.is_some();
        #[cfg(not(feature = "demo"))]
        let is_demo = false;
        let by_option = is_demo || self.model_option.is_some();
        self.model.as_deref().filter(|_| by_option)
    }

    /// The words behind the model, whether that is the first of them or named by an option.
    pub fn words<'a>(&'a self, rest: &'a [String]) -> Result<Vec<&'a str>, CliError> {
        let first = self.first_word().map(|word| {
            let what = || CliError::Usage(format!("{} is not UTF-8", word.display()));
            word.to_str().ok_or_else(what)
        });
        let rest = rest.iter().map(|word| Ok(word.as_str()));
        first.into_iter().chain(rest).collect()
    }

    /// The text that those words are, if there are any.
    pub fn text(&self, rest: &[String]) -> Result<Option<String>, CliError> {
        let words = self.words(rest)?;
        Ok((!words.is_empty()).then(|| words.join(" ")))
    }

    pub fn files(&self) -> Result<Files, LoadError> {
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

    /// Opens it for a command that takes no words besides.
    pub fn open_alone(&self) -> Result<Model, CliError> {
        self.alone()?;
        self.open()
    }

    /// The same, to multiply at a precision.
    pub fn open_alone_at(&self, precision: PrecisionArguments) -> Result<Model, CliError> {
        self.alone()?;
        self.open_at(precision)
    }

    fn alone(&self) -> Result<(), CliError> {
        match self.first_word() {
            None => Ok(()),
            Some(word) => Err(CliError::Usage(format!(
                "the model is named twice: by an option, and as {}",
                word.display()
            ))),
        }
    }

    pub fn open(&self) -> Result<Model, CliError> {
        self.open_with(self.options.model_options()?)
    }

    /// Opens it to multiply at a precision, and says which it is if one was asked for.
    pub fn open_at(&self, precision: PrecisionArguments) -> Result<Model, CliError> {
        let options = self.options.model_options()?;
        let asked = precision.precision.unwrap_or_default();
        let model = self.open_with(options.precision(asked))?;
        precision.say(&model);
        Ok(model)
    }

    /// The encoder of a model alone, whatever head it was trained with.
    pub fn open_headless(&self) -> Result<Model, CliError> {
        self.open_with(self.options.model_options()?.headless(true))
    }

    fn open_with(&self, options: ModelOptions) -> Result<Model, CliError> {
        let model = self.files().and_then(|mut files| {
            self.overrides.apply(&mut files.manifest);
            Model::from_files(files, options)
        });
        let model = model.map_err(|error| habits::explained(error, self.path()))?;
        model.notes().iter().for_each(|note| warn(note));
        Ok(model)
    }

    /// What of its files bears on text.
    fn texts(&self) -> Result<Files, LoadError> {
        #[cfg(feature = "demo")]
        if let Some(demo) = self.demo {
            return demo.files();
        }
        rillm::internals::weights::open_texts(self.path())
    }

    /// The tokenizer alone: of what holds a vocabulary and no weights, or those of a model that
    /// cannot be run, as well.
    pub fn tokenizer(&self) -> Result<Tokenizer, CliError> {
        let tokenizer = self.texts().and_then(|mut files| {
            self.overrides.apply(&mut files.manifest);
            files.notes.iter().for_each(|note| warn(note));
            files.tokenizer()
        });
        Ok(tokenizer.map_err(|error| habits::explained(error, self.path()))?)
    }

    /// The same error, naming the model's file where it does not name one.
    pub fn blame(&self, error: CliError) -> CliError {
        match error {
            CliError::Load(error) => CliError::Load(error.at(self.path())),
            CliError::Run(error @ RunError::Input(_)) => {
                CliError::File(self.path().to_path_buf(), error.to_string())
            }
            other => other,
        }
    }
}

/// Positions to reserve: those asked for (0 for all that the model was trained for), or as many
/// as it was trained for, up to the default.
pub fn context(asked: Option<usize>, model: &Model) -> usize {
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
