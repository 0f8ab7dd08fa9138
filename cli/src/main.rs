//! One file per subcommand. Results go to stdout, chatter to stderr; an error is one line and
//! an exit code.

#![forbid(unsafe_code)]

mod advise;
mod against;
mod answer;
mod arguments;
mod bench;
mod chat;
mod classify;
mod compare;
mod completions;
#[cfg(feature = "demo")]
mod demo;
mod embed;
mod error;
mod eval;
mod experts;
mod fill_mask;
mod generation;
mod habits;
mod history;
mod input;
mod inspect;
mod interrupt;
mod kernels;
mod line;
mod llama_cpp;
mod machine;
mod memory;
mod output;
mod overrides;
mod perplexity;
mod picture;
mod plan;
mod process;
mod profile;
mod progress;
mod prompt_cache;
mod quantize;
mod rerank;
mod roofline;
mod run;
mod sampling;
mod similar;
mod synth;
mod tag;
mod terminal;
mod texts;
mod tokenize;
mod translate;
mod tune;
mod usage;
mod writing;

use arguments::{
    BatchArguments, EndlessArguments, KvCacheArguments, ModelArguments, PrecisionArguments,
    TextArguments, ThreadArguments, context,
};
use clap::{Parser, Subcommand};
use error::CliError;
use input::{text, whole_text};
use output::{bytes, threads, warn};
use std::io;
use std::process::ExitCode;

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
    Run(Box<run::Arguments>),
    /// Talk with a model, through its own template
    Chat(Box<chat::Arguments>),
    /// Show the tokens of a text
    Tokenize(tokenize::Arguments),
    /// Show the text of token ids
    Detokenize(tokenize::Back),
    /// Show which experts a text uses, and how caches of them would do
    Experts(experts::Arguments),
    /// Measure how well a model foresees a text
    Perplexity(perplexity::Arguments),
    /// Turn texts into vectors, as sentence-transformers does
    Embed(embed::Arguments),
    /// Find the texts that are nearest to a query, by their vectors
    Similar(similar::Arguments),
    /// Order texts by how well they answer a query
    Rerank(rerank::Arguments),
    /// Label texts, with a model's labels or your own
    Classify(classify::Arguments),
    /// Find names, places and the like in texts
    Tag(tag::Arguments),
    /// Find what may stand where a text has a mask
    FillMask(fill_mask::Arguments),
    /// Find the answer to a question in a text
    Answer(answer::Arguments),
    /// Translate texts, with an encoder–decoder model
    Translate(translate::Translate),
    /// Summarize texts, with an encoder–decoder model
    Summarize(translate::Summarize),
    /// Run token ids as transformers' forward does and write the outputs as safetensors
    Eval(eval::Arguments),
    /// Show what a model's files say and what memory it would take
    Inspect(inspect::Arguments),
    /// Say what memory a model will take, from its files' headers or its configuration alone
    Plan(plan::Arguments),
    /// Say which kind of model to take, how large and in what type, for what you have
    Advise(advise::Arguments),
    /// Measure prompt processing and generation in tokens per second
    Bench(bench::Arguments),
    /// Find how this CPU reads weights fastest
    Tune(tune::Arguments),
    /// Measure several models' speed and memory as their context grows
    Compare(compare::Arguments),
    /// Write a model's file anew with smaller weights
    Quantize(quantize::Arguments),
    /// Write a model of a known shape with random weights, to measure on
    Synth(synth::Arguments),
    /// Print a script that completes this command line in a shell
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    process::run(command)
}

/// Runs the command and says how it went.
fn command() -> ExitCode {
    let line = habits::with_command(std::env::args_os().collect());
    let translated = line.and_then(|line| llama_cpp::translated(line.into_iter()));
    let (line, without_effect) = match translated {
        Ok(translated) => translated,
        Err(error) => return failed(&error),
    };
    let cli = match Cli::try_parse_from(&line) {
        Ok(cli) => cli,
        Err(error) => match usage::explained(&error, &line) {
            Some(error) => return failed(&error),
            None => return ended(error.print().map_err(CliError::Output)),
        },
    };
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
        Some(Command::Experts(arguments)) => experts::experts(&arguments),
        Some(Command::Perplexity(arguments)) => perplexity::perplexity(&arguments),
        Some(Command::Embed(arguments)) => embed::embed(&arguments),
        Some(Command::Similar(arguments)) => similar::similar(&arguments),
        Some(Command::Rerank(arguments)) => rerank::rerank(&arguments),
        Some(Command::Classify(arguments)) => classify::classify(&arguments),
        Some(Command::Tag(arguments)) => tag::tag(&arguments),
        Some(Command::FillMask(arguments)) => fill_mask::fill_mask(&arguments),
        Some(Command::Answer(arguments)) => answer::answer(&arguments),
        Some(Command::Translate(arguments)) => translate::translate(&arguments),
        Some(Command::Summarize(arguments)) => translate::summarize(&arguments),
        Some(Command::Eval(arguments)) => eval::eval(&arguments),
        Some(Command::Inspect(arguments)) => inspect::inspect(&arguments),
        Some(Command::Plan(arguments)) => plan::plan(&arguments),
        Some(Command::Advise(arguments)) => advise::advise(&arguments),
        Some(Command::Bench(arguments)) => bench::bench(&arguments),
        Some(Command::Tune(arguments)) => tune::tune(&arguments),
        Some(Command::Compare(arguments)) => compare::compare(&arguments),
        Some(Command::Quantize(arguments)) => quantize::quantize(&arguments),
        Some(Command::Synth(arguments)) => synth::synth(&arguments),
        Some(Command::Completions(arguments)) => completions::completions(&arguments),
    };
    ended(result)
}

fn ended(result: Result<(), CliError>) -> ExitCode {
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
    terminal::say(&format!("rillm: {error}"));
    ExitCode::from(if matches!(error, CliError::Usage(_)) {
        2
    } else {
        1
    })
}
