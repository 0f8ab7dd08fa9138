//! `rillm run`, and `rillm` alone.

use super::progress::Progress;
use super::prompt_cache;
use super::{CliError, ModelArguments, context, threads};
use clap::Args;
use rillm::formats::tokenizer::{DecodeOptions, Encode, Position, Tokenizer};
use rillm::generate::{Generated, Stop, generate};
use rillm::graph::Role;
use rillm::sample::{SampleOptions, Sampler};
use rillm::session::{Session, SessionOptions};
use rillm::{Model, RunError};
use std::io::{self, IsTerminal, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The text to continue
    #[arg(
        short,
        long,
        value_name = "TEXT",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    prompt: Option<String>,
    /// A file with the text to continue (- for standard input)
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Most tokens to write; -1 goes on until the model ends or the context is full
    #[arg(short = 'n', long, alias = "n-predict", value_name = "N", default_value_t = -1, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    predict: i64,
    /// Randomness; 0 always takes the most likely token
    #[arg(long = "temp", allow_negative_numbers = true, value_name = "T", default_value_t = SampleOptions::default().temperature, value_parser = temperature)]
    temperature: f32,
    /// Keep the most likely tokens that reach this probability together
    #[arg(long, value_name = "P", default_value_t = SampleOptions::default().top_p, value_parser = probability)]
    top_p: f32,
    /// Makes the choices repeatable [default: a new one each time]
    #[arg(short, long)]
    seed: Option<u64>,
    /// Positions to reserve; 0 for all that the model has [default: the model's, at most 4096]
    #[arg(short, long, value_name = "N")]
    ctx_size: Option<usize>,
    /// Let the names of control tokens in the prompt become those tokens
    #[arg(long)]
    special: bool,
    /// Keep the model's state after the prompt in this file, and begin from it next time: only
    /// what the new prompt does not share with the old one is computed
    #[arg(long, value_name = "FILE")]
    prompt_cache: Option<PathBuf>,
    /// Use the prompt cache, but leave its file as it is
    #[arg(long, requires = "prompt_cache")]
    prompt_cache_ro: bool,
    /// Write only what the model adds
    #[arg(long)]
    no_display_prompt: bool,
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1000.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1000".to_string()),
    }
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".to_string()),
    }
}

pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let prompt = read_prompt(arguments)?;
    let model = arguments.model.open()?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let sample = SampleOptions {
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        seed,
    };
    let job = Job {
        prompt: &prompt,
        special: arguments.special,
        echo: !arguments.no_display_prompt,
        limit: usize::try_from(arguments.predict).ok(),
        context: arguments.ctx_size,
        sample,
        cache: arguments.prompt_cache.as_deref(),
        keep_cache: arguments.prompt_cache_ro,
    };
    job.run(&model)
        .map_err(|error| arguments.model.blame(error))
}

/// `rillm` alone: the embedded model tells a story.
#[cfg(feature = "demo")]
pub fn demo() -> Result<(), CliError> {
    static DEMO: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo.gguf"));
    let options = super::ThreadArguments { threads: None }.model_options()?;
    let model = Model::from_source(rillm::weights::Source::Static(DEMO), options)?;
    let job = Job {
        prompt: "One day, Lily found a tiny bean seed",
        special: false,
        echo: true,
        limit: None,
        context: None,
        sample: SampleOptions {
            temperature: 0.6,
            top_p: 0.95,
            seed: fastrand::u64(..),
        },
        cache: None,
        keep_cache: false,
    };
    job.run(&model)
}

#[cfg(not(feature = "demo"))]
pub fn demo() -> Result<(), CliError> {
    let what = "built without the demonstration model, try: rillm run MODEL -p TEXT (see --help)";
    Err(CliError::Usage(what.to_string()))
}

fn read_prompt(arguments: &Arguments) -> Result<String, CliError> {
    let stdin = |path: PathBuf| {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        read.map_err(|error| CliError::File(path, error.to_string()))?;
        Ok(without_last_newline(text))
    };
    match (&arguments.prompt, &arguments.file) {
        (Some(prompt), _) => Ok(prompt.clone()),
        (None, Some(path)) if path.as_os_str() == "-" => stdin(path.clone()),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map(without_last_newline)
            .map_err(|error| CliError::File(path.clone(), error.to_string())),
        (None, None) if io::stdin().is_terminal() => {
            let what = "no prompt: give -p TEXT or -f FILE, or pipe a text in";
            Err(CliError::Usage(what.to_string()))
        }
        (None, None) => stdin(PathBuf::from("standard input")),
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

/// One text to continue.
struct Job<'a> {
    prompt: &'a str,
    special: bool,
    echo: bool,
    limit: Option<usize>,
    context: Option<usize>,
    sample: SampleOptions,
    cache: Option<&'a Path>,
    keep_cache: bool,
}

impl Job<'_> {
    fn run(&self, model: &Model) -> Result<(), CliError> {
        if model.graph(Role::Decode).is_none() {
            let title = model.architecture().title;
            let what = format!("{title} encodes texts, it does not write them: see rillm eval");
            return Err(RunError::Input(what).into());
        }
        let tokenizer = model.tokenizer()?;
        let options = Encode {
            add_special: true,
            parse_special: self.special,
        };
        let ids = tokenizer.encode(self.prompt, options);
        check_vocabulary(model, tokenizer)?;
        if ids.is_empty() {
            return Err(CliError::Usage(
                "prompt is empty, give some text".to_string(),
            ));
        }
        let context = context(self.context, model);
        if ids.len() > context {
            let what = format!(
                "prompt has {} tokens, the context {context}: raise it with -c",
                ids.len()
            );
            return Err(RunError::Input(what).into());
        }
        let defaults = SessionOptions::default();
        let options = SessionOptions {
            context,
            batch: defaults.batch.min(ids.len()),
            source: ids.len(),
            checkpoints: 0,
            ..defaults
        };
        let mut session = Session::new(model, options)?;
        let mut sampler = Sampler::new(self.sample, tokenizer.vocabulary_len());

        let translates = model.graph(Role::Encode).is_some();
        if self.cache.is_some() && translates {
            let what = "--prompt-cache is for models that continue a text, this one encodes it";
            return Err(CliError::Usage(what.to_string()));
        }
        let mut out = io::stdout().lock();
        if self.echo && !translates {
            out.write_all(self.prompt.as_bytes())?;
            out.flush()?;
        }
        let position = if translates {
            Position::Start
        } else {
            Position::Continued
        };
        let mut decoder = tokenizer.decoder(DecodeOptions {
            skip_special: true,
            position,
        });
        let mut text = String::new();
        let mut failure = None;
        let mut progress = Some(Progress::watch(
            session.progress(),
            ids.len() as u64,
            "prompt",
            "tokens",
        ));
        let mut token = |id| {
            progress = None;
            text.clear();
            decoder.push(id, &mut text);
            match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let (reused, left) = match self.cache {
            Some(path) => {
                let reused = prompt_cache::advance(&mut session, &ids, path, self.keep_cache)?;
                (Some(reused), &ids[ids.len() - 1..])
            }
            None => (None, &ids[..]),
        };
        let ends = tokenizer.end_tokens();
        let done = generate(
            &mut session,
            left,
            ends,
            &mut sampler,
            self.limit,
            &mut token,
        );
        drop(progress);
        if let Some(error) = failure {
            return Err(error.into());
        }
        text.clear();
        decoder.finish(&mut text);
        writeln!(out, "{text}")?;
        drop(out);
        figures(model, &done?);
        if let Some(reused) = reused {
            let line = format!("{reused} of {} prompt tokens from the cache", ids.len());
            let _ = writeln!(io::stderr(), "{line}");
        }
        Ok(())
    }
}

/// A tokenizer with more tokens than the model could ask for rows that do not exist.
fn check_vocabulary(model: &Model, tokenizer: &Tokenizer) -> Result<(), CliError> {
    let (tokens, rows) = (tokenizer.vocabulary_len() as u64, model.limits().vocabulary);
    if tokens <= rows {
        return Ok(());
    }
    let what = format!("tokenizer has {tokens} tokens, the model's embedding {rows} rows");
    Err(RunError::Input(what).into())
}

fn figures(model: &Model, done: &Generated) {
    let rate = |tokens: usize, seconds: f64| tokens as f64 / seconds.max(1e-9);
    let stop = match done.stop {
        Stop::End => "end of text",
        Stop::Length => "length reached",
        Stop::Context => "context full",
        Stop::Caller => "stopped",
    };
    // The first token's time belongs to the prompt.
    let generated = done.tokens.saturating_sub(1);
    let line = format!(
        "prompt {} tokens, {:.1} tokens/s; generated {} tokens, {:.1} tokens/s; {}; {}, {}",
        done.prompt,
        rate(done.prompt, done.prompt_time.as_secs_f64()),
        done.tokens,
        rate(generated, done.time.as_secs_f64()),
        stop,
        threads(model),
        model.kernels().isa,
    );
    // Figures are a courtesy: a closed stderr is no failure.
    let _ = writeln!(io::stderr(), "{line}");
}
