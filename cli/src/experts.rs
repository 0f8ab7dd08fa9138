//! `rillm experts`: which experts a text uses, and what a cache would make of it.

mod picture;

use super::memory::MemoryArguments;
use super::progress::Progress;
use super::terminal::{Out, say};
use super::{BatchArguments, CliError, ModelArguments, TextArguments, context, output};
use clap::Args;
use rillm::formats::tokenizer::EncodeOptions;
use rillm::internals::ModelParts;
use rillm::internals::SessionParts;
use rillm::internals::residency::{ExpertTrace, Replayed};
use rillm::{Model, RunError, SessionOptions};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(mut_arg("words", |words| words.help("The text")))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    text: TextArguments,
    /// Tokens of the text that count, its first ones [default: the model's context, at most 4096]
    #[arg(short, long, value_name = "N")]
    ctx_size: Option<usize>,
    #[command(flatten)]
    batch: BatchArguments,
    #[command(flatten)]
    memory: MemoryArguments,
    /// Write an object of JSON, with how often each expert was chosen
    #[arg(long)]
    json: bool,
    /// Draw how often each expert of each layer was chosen
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Sizes of caches, in parts of all experts.
const SIZES: [f64; 8] = [0.03, 0.06, 0.12, 0.25, 0.4, 0.5, 0.75, 0.9];

pub fn experts(arguments: &Arguments) -> Result<(), CliError> {
    let text = match arguments.text.given(&arguments.model)? {
        Some(text) => text,
        None => {
            let file = arguments.text.file();
            super::text(None, file, "text", TextArguments::WAYS)?
        }
    };
    arguments.svg.as_deref().map_or(Ok(()), output::check)?;
    let model = arguments.model.open()?;
    let trace = trace(arguments, &model, &text).map_err(|error| arguments.model.blame(error))?;
    if let Some(path) = &arguments.svg {
        let title = format!("{}: {} tokens", model.title(), trace.tokens);
        output::replace(path, |file| {
            file.write_all(picture::svg(&trace, &title).as_bytes())
        })?;
    }
    let replays = replays(&trace);
    let mut out = Out::new();
    match arguments.json {
        true => writeln!(out, "{}", object(&trace, &replays))?,
        false => table(&mut out, &trace, &replays)?,
    }
    Ok(())
}

fn trace(arguments: &Arguments, model: &Model, text: &str) -> Result<ExpertTrace, CliError> {
    if !model.decodes() || model.parameters().experts.is_none() {
        let what = format!(
            "{} has no experts, or does not go on with a text",
            model.title()
        );
        return Err(RunError::Input(what).into());
    }
    let options = EncodeOptions::default().add_special(true);
    let ids = model.tokenizer()?.encode(text, options)?;
    let most = context(arguments.ctx_size, model);
    if ids.len() > most {
        say(&format!("the first {most} of {} tokens count", ids.len()));
    }
    let ids = &ids[..ids.len().min(most)];
    if ids.is_empty() {
        return Err(CliError::Usage("text is empty".to_string()));
    }
    let options = SessionOptions::new()
        .context(ids.len())
        .source(ids.len())
        .batch(arguments.batch.rows().min(ids.len()));
    let mut session = arguments.memory.session(model, options)?;
    session.begin_trace();
    let shown = Progress::watch(session.progress(), ids.len() as u64, "reading", "tokens");
    session.prefill(0, ids)?;
    drop(shown);
    arguments.memory.finish(model, ids.len());
    let none = || RunError::Input(format!("{} has no experts", model.title()));
    Ok(session.end_trace().ok_or_else(none)?)
}

/// What policies make of a cache of one size.
struct Replay {
    places: usize,
    rates: Vec<(&'static str, f64)>,
}

fn replays(trace: &ExpertTrace) -> Vec<Replay> {
    let all = trace.experts * trace.layers.len();
    let sizes = SIZES
        .iter()
        .map(|size| (size * all as f64).round().max(1.0) as usize);
    let replay = |places| Replay {
        places,
        rates: Replayed::all()
            .map(|policy| (policy.name(), trace.hit_rate(policy, places)))
            .collect(),
    };
    sizes.map(replay).collect()
}

fn table(out: &mut impl Write, trace: &ExpertTrace, replays: &[Replay]) -> io::Result<()> {
    writeln!(
        out,
        "{} tokens, {} layers of {} experts; a token asks for {}, of which the one before asked for \
         {:.1}%\n",
        trace.tokens,
        trace.layers.len(),
        trace.experts,
        trace.demand(),
        100.0 * trace.repeated()
    )?;
    writeln!(out, "layer  used  {:<31}  effective", "most used")?;
    for (layer, counts) in trace.layers.iter().zip(&trace.counts()) {
        let all: usize = counts.iter().sum();
        let used = counts.iter().filter(|count| **count > 0).count();
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by_key(|&expert| std::cmp::Reverse(counts[expert]));
        let top = order.iter().take(used.min(3)).map(|&expert| {
            format!(
                "{expert} {:.1}%",
                100.0 * counts[expert] as f64 / all.max(1) as f64
            )
        });
        let top: Vec<String> = top.collect();
        writeln!(
            out,
            "{layer:>5}  {used:>4}  {:<31}  {:>9.1}",
            top.join(", "),
            effective(counts)
        )?;
    }
    write!(
        out,
        "\neffective: so many experts, all used alike, would be as hard to foresee\n\n\
         hits of a cache of whole experts\n  places  of a token's demand"
    )?;
    for (name, _) in replays.first().map_or(&[][..], |replay| &replay.rates) {
        write!(out, "  {name:>9}")?;
    }
    for replay in replays {
        let demand = replay.places as f64 / trace.demand().max(1) as f64;
        write!(out, "\n  {:>6}  {demand:>19.2}", replay.places)?;
        for (_, rate) in &replay.rates {
            write!(out, "  {:>8.1}%", 100.0 * rate)?;
        }
    }
    writeln!(out)
}

/// How many experts would be as evenly used: the exponential of the entropy.
fn effective(counts: &[usize]) -> f64 {
    let all: usize = counts.iter().sum();
    let shares = counts.iter().filter(|count| **count > 0);
    let shares = shares.map(|count| *count as f64 / all as f64);
    shares.map(|share| -share * share.ln()).sum::<f64>().exp()
}

fn object(trace: &ExpertTrace, replays: &[Replay]) -> serde_json::Value {
    let replays = replays.iter().map(|replay| {
        let rates = replay
            .rates
            .iter()
            .map(|(name, rate)| (name.to_string(), json!(rate)));
        let rates: serde_json::Map<String, serde_json::Value> = rates.collect();
        json!({ "places": replay.places, "hit_rates": rates })
    });
    json!({
        "tokens": trace.tokens,
        "layers": trace.layers.len(),
        "layer_numbers": trace.layers,
        "experts": trace.experts,
        "demand": trace.demand(),
        "repeated": trace.repeated(),
        "counts": trace.counts(),
        "caches": replays.collect::<Vec<_>>(),
    })
}
