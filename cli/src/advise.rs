//! `rillm advise`: which kind of model, how large and in what type, for what a user has.

mod draw;
mod estimate;
mod figures;
mod questions;
mod report;
mod tree;

use super::arguments::ThreadArguments;
use super::machine::MachineFacts;
use super::memory::size;
use super::plan::blueprint;
use super::{CliError, KvCacheArguments, output};
use clap::Args;
use estimate::Estimate;
use rillm::internals::BlueprintParts;
use rillm::quantize::Mix;
use rillm::{Blueprint, RunError, SessionOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use tree::{CacheRoom, Count, Length, Needs, Purpose};

/// Tokens per second that people read along with.
const PATIENCE: f64 = 5.0;

/// Types that are recommended, the most precise first: below the last, what is lost is marked.
const TYPES: [&str; 5] = ["q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"];

/// Of the memory at hand, what is left to the system and to other programs.
const LEFT: f64 = 0.1;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Rank these instead of well-known shapes: files, folders, or shapes that synth knows
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// What the model is to do; what is not said is asked where people type
    #[arg(long, value_name = "TASK")]
    task: Option<Purpose>,
    /// Tokens of the longest texts [default: what is usual for the kind of model, 512 to 32768]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    ctx_size: Option<u32>,
    /// Memory to plan for [default: nine tenths of the machine's]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    memory: Option<u64>,
    /// Whether a KV cache may grow with the text [default: whether a small decoder's fits]
    #[arg(long, value_name = "ROOM")]
    room: Option<CacheRoom>,
    /// Languages that are to be understood
    #[arg(long, value_name = "COUNT")]
    languages: Option<Count>,
    /// Tasks for which texts are transformed
    #[arg(long, value_name = "COUNT")]
    tasks: Option<Count>,
    /// Sequences at a time: streams of a server, texts of a batch
    #[arg(long, visible_alias = "parallel", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    streams: u32,
    /// Tokens per second that each stream must reach [default: 5]
    #[arg(long, value_name = "TOKENS", value_parser = rate)]
    speed: Option<f64>,
    /// Order by speed rather than by size
    #[arg(long)]
    fastest: bool,
    /// Weights may come from a disk: those for which there is no room are read when they are needed,
    /// as run --memory does
    #[arg(long)]
    disk: bool,
    #[command(flatten)]
    kv_type: KvCacheArguments,
    #[command(flatten)]
    threads: ThreadArguments,
    /// Advise for the machine that this file describes, in the form of --json's "machine"
    #[arg(long, value_name = "FILE", conflicts_with = "remeasure")]
    machine: Option<PathBuf>,
    /// Measure this machine anew
    #[arg(long)]
    remeasure: bool,
    /// Show figures that people quote beside what is planned for the same shapes
    #[arg(long)]
    figures: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Draw the tree, with the path taken, into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// A model that may be recommended.
struct RankedModel {
    name: String,
    planned: Blueprint,
    /// The type it would be quantized to, if it is to be.
    mix: Option<Mix>,
    estimate: Estimate,
    standing: Standing,
    /// Tokens that it was trained for, if texts are longer.
    reach: Option<usize>,
}

/// How a candidate stands, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Fits,
    FromDisk,
    Slow,
    TooLong,
    DoesNotFit,
}

/// What was decided.
struct Advice {
    machine: MachineFacts,
    memory: u64,
    options: SessionOptions,
    path: Option<tree::TreePath>,
    candidates: Vec<RankedModel>,
}

pub fn advise(arguments: &Arguments) -> Result<(), CliError> {
    let machine = match &arguments.machine {
        Some(path) => MachineFacts::described(path)?,
        None => {
            let options = arguments.threads.model_options()?;
            MachineFacts::here(options, arguments.remeasure, arguments.disk)?
        }
    };
    let memory = match (arguments.memory, machine.memory) {
        (Some(memory), _) => memory,
        (None, Some(all)) => (all as f64 * (1.0 - LEFT)) as u64,
        (None, None) => {
            let what = "how much memory there is cannot be told here: --memory says it";
            return Err(CliError::Usage(what.to_string()));
        }
    };
    let context = arguments.ctx_size.map_or(4096, |tokens| tokens as usize);
    let mut advice = Advice {
        machine,
        memory,
        options: options(arguments, context)?,
        path: None,
        candidates: Vec::new(),
    };
    if arguments.models.is_empty() {
        let mut needs = needs(arguments, &advice)?;
        let path = tree::follow(&mut needs, questions::asker())?;
        if arguments.ctx_size.is_none() {
            advice.options = options(arguments, path.leaf.tokens)?;
        }
        for shape in path.leaf.shapes {
            let found = recommended(arguments, &advice, shape)?;
            advice.candidates.push(found);
        }
        advice.path = Some(path);
    } else {
        for model in &arguments.models {
            let planned = blueprint(model, None, &arguments.threads)?;
            let name = model.to_string_lossy().into_owned();
            let found = candidate(arguments, &advice, name, planned, None)?;
            advice.candidates.push(found);
        }
    }
    let fastest = arguments.fastest;
    advice.candidates.sort_by(|a, b| {
        // Of what is too slow, the fastest is the nearest to what is asked.
        let order = match fastest || a.standing == Standing::Slow {
            true => b.speed().total_cmp(&a.speed()),
            false => (b.planned.parameters().all).cmp(&a.planned.parameters().all),
        };
        a.standing.cmp(&b.standing).then(order)
    });
    if let Some(path) = &arguments.svg {
        let drawing = draw::tree(advice.path.as_ref());
        output::replace(path, |file| file.write_all(drawing.as_bytes()))?;
    }
    match arguments.json {
        true => report::as_json(&advice, arguments.figures),
        false => report::as_text(&advice, arguments.figures),
    }
}

fn options(arguments: &Arguments, context: usize) -> Result<SessionOptions, CliError> {
    Ok(SessionOptions::default()
        .context(context)
        .source(context.min(SessionOptions::MOST))
        .sequences(arguments.streams as usize)
        .kv_type(arguments.kv_type.kv_type()?))
}

/// Tokens per second.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("{text:?} is no number of tokens, expected one such as 5 or 0.5"))
}

/// What options and the machine say of a user's needs.
fn needs(arguments: &Arguments, advice: &Advice) -> Result<Needs, CliError> {
    let tokens = arguments.ctx_size.map(|tokens| tokens as usize);
    let fits = || -> Result<CacheRoom, CliError> {
        let planned = shape("gemma3-4b", "q4_k_m", &arguments.threads)?;
        let total = planned.total(advice.options)?;
        Ok(match total <= advice.memory {
            true => CacheRoom::Much,
            false => CacheRoom::Little,
        })
    };
    let room = match (arguments.room, tokens) {
        (Some(room), _) => Some(room),
        (None, Some(tokens)) if tokens > tree::LONG => Some(fits()?),
        (None, _) => None,
    };
    // Whoever says the task and no length has none in mind.
    let is_short = arguments.task.is_some() && tokens.is_none();
    Ok(Needs {
        task: arguments.task,
        tokens,
        length: is_short.then_some(Length::Short),
        room: room.or(Some(CacheRoom::Much).filter(|_| arguments.task.is_some())),
        languages: arguments.languages,
        tasks: arguments.tasks,
    })
}

fn shape(name: &str, mix: &str, threads: &ThreadArguments) -> Result<Blueprint, CliError> {
    let mix = mix.parse().ok();
    blueprint(Path::new(name), mix, threads)
}

/// A known shape in the most precise type that fits and is fast enough, or in the smallest.
fn recommended(
    arguments: &Arguments,
    advice: &Advice,
    name: &str,
) -> Result<RankedModel, CliError> {
    let of = |mix: &str| -> Result<RankedModel, CliError> {
        let planned = shape(name, mix, &arguments.threads)?;
        candidate(
            arguments,
            advice,
            name.to_string(),
            planned,
            mix.parse().ok(),
        )
    };
    let is_enough =
        |found: &RankedModel| matches!(found.standing, Standing::Fits | Standing::TooLong);
    let [most_precise, between @ .., smallest] = TYPES;
    let found = of(most_precise)?;
    if is_enough(&found) {
        return Ok(found);
    }
    let least = of(smallest)?;
    // What does not fit in the smallest type fits in none.
    if least.standing != Standing::DoesNotFit {
        for mix in between {
            let found = of(mix)?;
            if is_enough(&found) {
                return Ok(found);
            }
        }
    }
    Ok(least)
}

fn candidate(
    arguments: &Arguments,
    advice: &Advice,
    name: String,
    planned: Blueprint,
    mix: Option<Mix>,
) -> Result<RankedModel, CliError> {
    let trained = planned.context();
    let options = match (planned.encodes(), trained) {
        // No text is longer than what it reads.
        (true, Some(trained)) => advice.options.source(advice.options.source.min(trained)),
        _ => advice.options,
    };
    let mut estimate = Estimate::of(&planned, options, &advice.machine)?;
    if arguments.disk && estimate.total() > advice.memory {
        let within = (estimate.clone()).within(&planned, options, &advice.machine, advice.memory);
        estimate = match within {
            Err(RunError::OverBudget { .. }) => estimate,
            within => within?,
        };
    }
    let wanted = arguments.speed.unwrap_or(PATIENCE);
    let each = estimate
        .generation
        .map(|all| all / options.sequences as f64);
    // Whoever does not say how long texts are has none in mind.
    let asked = arguments.ctx_size.map(|tokens| tokens as usize);
    let reach = trained.filter(|trained| asked.is_some_and(|asked| *trained < asked));
    let standing = match () {
        () if estimate.held() > advice.memory => Standing::DoesNotFit,
        () if reach.is_some() => Standing::TooLong,
        () if each.is_some_and(|each| each < wanted) => Standing::Slow,
        () if estimate.disk.is_some() => Standing::FromDisk,
        () => Standing::Fits,
    };
    Ok(RankedModel {
        name,
        planned,
        mix,
        estimate,
        standing,
        reach,
    })
}

impl RankedModel {
    /// What it is ordered by, where speed counts.
    fn speed(&self) -> f64 {
        self.estimate.generation.unwrap_or(self.estimate.prompt)
    }
}
