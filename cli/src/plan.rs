//! `rillm plan`: what a model will take of memory, before its weights are there.

use super::arguments::{BatchArguments, ThreadArguments};
use super::habits::explained;
use super::inspect::large;
use super::memory::{foreseen_program, lines, placement_json, size, with_program};
use super::terminal::{Out, one_line};
use super::{CliError, KvCacheArguments, bytes, warn};
use clap::Args;
use rillm::internals::BlueprintParts;
use rillm::internals::synthetic::RandomModel;
use rillm::quantize::{Mix, QuantizeError};
use rillm::{
    Blueprint, Fitting, LayerWeights, MemoryPlan, Placement, Presumed, SessionOptions,
    WeightFigures,
};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Arguments {
    /// GGUF file (its header, or that of a split one's first part, is enough), Hugging Face folder or
    /// its config.json, or a shape that synth knows
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Positions of each sequence; 0 for all that the model has [default: the model's, at most 4096]
    #[arg(short, long, value_name = "N")]
    ctx_size: Option<usize>,
    #[command(flatten)]
    kv_type: KvCacheArguments,
    #[command(flatten)]
    batch: BatchArguments,
    /// Sequences at a time
    #[arg(long, visible_alias = "parallel", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    sequences: u32,
    /// Tokens of the longest text that an encoder reads [default: the context, at most the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    source: Option<u32>,
    /// Plan what quantize would make of it, in this type
    #[arg(short = 'q', long = "type", value_name = "TYPE", value_parser = super::quantize::mix)]
    mix: Option<Mix>,
    /// Say what fits into so much memory: the longest context, and the best type at the context asked for
    #[arg(long, value_name = "BYTES", value_parser = size)]
    fit: Option<u64>,
    /// Say what a run within so many bytes (run --memory) keeps of the weights, and what it reads anew
    #[arg(long, value_name = "BYTES", value_parser = size)]
    memory: Option<u64>,
    /// List every layer
    #[arg(long)]
    layers: bool,
    #[command(flatten)]
    threads: ThreadArguments,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// A model by its path, or of a shape by its name.
pub fn blueprint(
    model: &Path,
    mix: Option<Mix>,
    threads: &ThreadArguments,
) -> Result<Blueprint, CliError> {
    let options = threads.model_options()?;
    let shape = model.to_str().filter(|_| !model.exists());
    if let Some(shape) = shape.and_then(|name| name.parse::<RandomModel>().ok()) {
        let usual = || "q4_k_m".parse().map_err(|_| unknown(model));
        let mix = mix.map_or_else(usual, Ok)?;
        return Blueprint::from_shape(&shape, mix, options).map_err(|error| failed(model, error));
    }
    let planned = Blueprint::open(model, options).map_err(|error| explained(error, model))?;
    if let Some(mix) = mix {
        // What is only quantized may be of a type that nothing is computed with.
        let quantized = planned.quantized(mix);
        return quantized.map_err(|error| failed(model, error));
    }
    if let Some((form, mix)) = planned.published_as() {
        warn(&format!(
            "{}: weights are {form}, which is converted before it runs: planned is what rillm quantize \
             makes of them in {}",
            model.display(),
            mix.name
        ));
    }
    Ok(planned)
}

fn unknown(model: &Path) -> CliError {
    CliError::File(model.to_path_buf(), "there is no such type".to_string())
}

fn failed(model: &Path, error: QuantizeError) -> CliError {
    match error {
        QuantizeError::Load(error) => CliError::Load(error.at(model)),
        other => CliError::File(model.to_path_buf(), other.to_string()),
    }
}

pub fn plan(arguments: &Arguments) -> Result<(), CliError> {
    let planned = blueprint(&arguments.model, arguments.mix, &arguments.threads)?;
    planned.notes().iter().for_each(|note| warn(note));
    let options = session(arguments, &planned)?;
    let plan = planned.memory_plan(options)?;
    let fit = match arguments.fit {
        Some(memory) => Some(fit(arguments, &planned, options, memory)?),
        None => None,
    };
    let within = match arguments.memory {
        Some(budget) => Some(within(&planned, options, budget)?),
        None => None,
    };
    let answers = (fit.as_ref(), within.as_ref());
    match arguments.json {
        true => as_json(arguments, &planned, options, &plan, answers),
        false => as_text(arguments, &planned, options, &plan, answers),
    }
}

/// What a run within a bound keeps.
struct Within {
    budget: u64,
    program: u64,
    placement: Placement,
}

fn within(planned: &Blueprint, options: SessionOptions, budget: u64) -> Result<Within, CliError> {
    let program = foreseen_program(planned.limits().vocabulary);
    let options = options.memory(Some(budget.saturating_sub(program)));
    let placement = planned.placement(options);
    let placement = placement.map_err(|error| with_program(error, budget, program))?;
    Ok(Within {
        budget,
        program,
        // There is a bound.
        placement: placement.unwrap_or_default(),
    })
}

fn session(arguments: &Arguments, planned: &Blueprint) -> Result<SessionOptions, CliError> {
    let usual = SessionOptions::default();
    let trained = planned.context();
    let context = match (arguments.ctx_size, trained) {
        (Some(0), trained) => trained.unwrap_or(usual.context),
        (Some(asked), _) => asked,
        (None, trained) => trained.map_or(usual.context, |trained| trained.min(usual.context)),
    };
    if let Some(trained) = trained.filter(|trained| *trained < context) {
        warn(&format!(
            "context {context} is more than the {trained} the model was trained for"
        ));
    }
    let source = context.min(trained.unwrap_or(usual.source));
    Ok(usual
        .context(context)
        .sequences(arguments.sequences as usize)
        .batch(arguments.batch.rows())
        .source(arguments.source.map_or(source, |rows| rows as usize))
        .kv_type(arguments.kv_type.kv_type()?))
}

/// What fits into so much memory.
struct Fit {
    memory: u64,
    longest: Fitting,
    /// A mix, its bytes of weights and of all.
    best: Option<(Mix, u64, u64)>,
    /// Why no mix was looked for.
    without: Option<String>,
}

fn fit(
    arguments: &Arguments,
    planned: &Blueprint,
    options: SessionOptions,
    memory: u64,
) -> Result<Fit, CliError> {
    let mut fit = Fit {
        memory,
        longest: planned.longest_context(options, memory)?,
        best: None,
        without: None,
    };
    if arguments.mix.is_none() {
        match planned.best_mix(options, memory) {
            Ok(best) => {
                fit.best = best.map(|best| (best.mix, best.blueprint.weights().mapped, best.total));
            }
            Err(error) => fit.without = Some(error.to_string()),
        }
    }
    Ok(fit)
}

/// Bytes of weights, vectors, arena and state.
pub fn total(weights: &WeightFigures, plan: &MemoryPlan) -> u64 {
    weights.mapped + weights.vectors + (plan.arena + plan.state) as u64
}

/// Bytes that will be in memory once a text has filled the context, about.
struct Resident {
    /// If all experts are met, and all of what is only looked up comes into memory: systems that map
    /// large pages bring whole tables in.
    most: u64,
    /// Without any of them.
    least: u64,
    /// Of both, the program's own.
    program: u64,
}

fn resident(planned: &Blueprint, plan: &MemoryPlan) -> Resident {
    let weights = planned.weights();
    let program = foreseen_program(planned.limits().vocabulary);
    let most = total(&weights, plan).saturating_add(program);
    Resident {
        most,
        least: most.saturating_sub(weights.looked_up + weights.experts),
        program,
    }
}

/// What of a plan was not read, but presumed.
pub fn presumption(presumed: &Presumed) -> Option<String> {
    if presumed.is_nothing() {
        return None;
    }
    let dtype = presumed.dtype.map_or("", |dtype| dtype.name());
    Some(match (presumed.tensors, presumed.shapes) {
        (0, shapes) => format!(
            "an estimate: the index names {shapes} tensors and does not say that they are {dtype}"
        ),
        (tensors, _) => format!(
            "an estimate: no file names {tensors} of the tensors, which are taken to be there, and to \
             be {dtype}"
        ),
    })
}

fn as_text(
    arguments: &Arguments,
    planned: &Blueprint,
    options: SessionOptions,
    plan: &MemoryPlan,
    (fit, within): (Option<&Fit>, Option<&Within>),
) -> Result<(), CliError> {
    let mut out = Out::new();
    let weights = planned.weights();
    writeln!(
        out,
        "{} ({}), {} parameters",
        planned.title(),
        planned.family().name(),
        large(planned.parameters().all)
    )?;
    writeln!(out, "{}\n", asked(planned, options))?;
    let mut line = |name: &str, count: u64, note: &str| {
        let space = if note.is_empty() { "" } else { "  " };
        writeln!(out, "{name:<28} {:>10}{space}{note}", bytes(count))
    };
    line("weights, mapped", weights.mapped, "")?;
    for of_type in &weights.types {
        let note = match of_type.tensors {
            1 => "1 tensor".to_string(),
            count => format!("{count} tensors"),
        };
        line(&format!("  {}", of_type.dtype.name()), of_type.bytes, &note)?;
    }
    if weights.experts > 0 {
        line(
            "  of experts",
            weights.experts,
            "of which a token reads some",
        )?;
    }
    if weights.looked_up > 0 {
        line(
            "  looked up",
            weights.looked_up,
            "of which a text's tokens read rows",
        )?;
    }
    if arguments.layers {
        for layer in &weights.layers {
            line(
                &format!("  {}", layer_name(planned, layer)),
                layer.bytes,
                "",
            )?;
        }
    }
    line("vectors as floats", weights.vectors, "")?;
    line("state", plan.state as u64, "")?;
    for of_kind in &plan.states {
        let note = match of_kind.pieces {
            1 => String::new(),
            count => format!("in {count} layers"),
        };
        line(&format!("  {}", of_kind.name), of_kind.bytes as u64, &note)?;
    }
    line("arena", plan.arena as u64, "")?;
    line("total", total(&weights, plan), "")?;
    let resident = resident(planned, plan);
    let program = format!("with {} of the program", bytes(resident.program));
    let least = match resident.least < resident.most {
        true => format!(", {} before tables and experts", bytes(resident.least)),
        false => String::new(),
    };
    line(
        "resident, about",
        resident.most,
        &format!("{program}{least}"),
    )?;
    if let Some(what) = presumption(planned.presumed()) {
        writeln!(out, "\n{what}")?;
    }
    if let Some(fit) = fit {
        writeln!(out, "\ninto {}:", bytes(fit.memory))?;
        writeln!(out, "  {}", longest(planned, fit.longest))?;
        if let Some((mix, weights, total)) = &fit.best {
            writeln!(
                out,
                "  at that context the best type is {}: {} of weights, {} in all",
                mix.name,
                bytes(*weights),
                bytes(*total)
            )?;
        } else if let Some(without) = &fit.without {
            writeln!(out, "  no type was looked for: {}", one_line(without))?;
        } else if arguments.mix.is_none() {
            writeln!(out, "  no type is small enough at that context")?;
        }
    }
    if let Some(within) = within {
        writeln!(out, "\nwithin {}:", bytes(within.budget))?;
        writeln!(out, "  program, about {}", bytes(within.program))?;
        for line in lines(&within.placement) {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

fn asked(planned: &Blueprint, options: SessionOptions) -> String {
    let sequences = match options.sequences {
        1 => "1 sequence".to_string(),
        count => format!("{count} sequences"),
    };
    let source = match planned.encodes() {
        true => format!(", texts of {}", options.source),
        false => String::new(),
    };
    match planned.decodes() {
        true => format!(
            "for {sequences} of {} positions, batches of {}{source}, KV cache in {}",
            options.context, options.batch, options.kv_type
        ),
        false => format!("for {sequences}{source} tokens"),
    }
}

fn layer_name(planned: &Blueprint, layer: &LayerWeights) -> String {
    let both = planned.encodes() && planned.decodes();
    let half = match layer.of_encoder {
        true => "encoder's ",
        false if both && layer.layer.is_some() => "decoder's ",
        false => "",
    };
    match layer.layer {
        Some(number) => format!("{half}layer {number}"),
        None => format!("{half}no layer"),
    }
}

fn longest(planned: &Blueprint, fitting: Fitting) -> String {
    let what = match planned.decodes() {
        true => "context",
        false => "text",
    };
    match fitting {
        Fitting::Positions(positions) => format!("the longest {what} has {positions} positions"),
        Fitting::Trained(positions) => {
            format!("all {positions} positions that the model was trained for fit")
        }
        Fitting::AnyLength => "any length fits: its state does not grow".to_string(),
        _ => format!("no {what} fits"),
    }
}

fn as_json(
    arguments: &Arguments,
    planned: &Blueprint,
    options: SessionOptions,
    plan: &MemoryPlan,
    (fit, within): (Option<&Fit>, Option<&Within>),
) -> Result<(), CliError> {
    let weights = planned.weights();
    let types = weights.types.iter().map(|of_type| {
        json!({ "type": of_type.dtype.name(), "tensors": of_type.tensors, "bytes": of_type.bytes })
    });
    let layers = weights.layers.iter().map(
        |layer| json!({ "layer": layer.layer, "encoder": layer.of_encoder, "bytes": layer.bytes }),
    );
    let states = plan.states.iter().map(
        |of_kind| json!({ "kind": of_kind.name, "pieces": of_kind.pieces, "bytes": of_kind.bytes }),
    );
    let plans = plan.plans.iter().map(|figures| {
        json!({ "name": figures.name, "rows": figures.rows, "arena_bytes": figures.arena })
    });
    let presumed = planned.presumed();
    let resident = resident(planned, plan);
    let all = json!({
        "model": arguments.model.to_string_lossy(),
        "title": planned.title(),
        "family": planned.family().name(),
        "parameters": planned.parameters().all,
        "active_parameters": planned.parameters().active,
        "estimate": !presumed.is_nothing(),
        "presumed": {
            "tensors": presumed.tensors,
            "shapes": presumed.shapes,
            "type": presumed.dtype.map(|dtype| dtype.name()),
        },
        "published": planned.published_as().map(|(form, mix)| json!({ "form": form, "type": mix.name })),
        "asked": {
            "context": options.context,
            "sequences": options.sequences,
            "batch": options.batch,
            "source": options.source,
            "kv_type": options.kv_type.name(),
        },
        "weights": {
            "mapped_bytes": weights.mapped,
            "looked_up_bytes": weights.looked_up,
            "experts_bytes": weights.experts,
            "vectors_bytes": weights.vectors,
            "types": types.collect::<Vec<_>>(),
            "layers": layers.collect::<Vec<_>>(),
        },
        "state": {
            "bytes": plan.state,
            "fixed_bytes": plan.state_fixed,
            "per_1k_bytes": plan.state_per_1k,
            "kinds": states.collect::<Vec<_>>(),
        },
        "arena": { "bytes": plan.arena, "plans": plans.collect::<Vec<_>>() },
        "total_bytes": total(&weights, plan),
        "resident": {
            "bytes": resident.most,
            "least_bytes": resident.least,
            "program_bytes": resident.program,
        },
        "fit": fit.map(fit_json),
        "within": within.map(|within| {
            let mut all = placement_json(&within.placement);
            all["memory_bytes"] = json!(within.budget);
            all["program_bytes"] = json!(within.program);
            all
        }),
    });
    writeln!(Out::new(), "{all}")?;
    Ok(())
}

fn fit_json(fit: &Fit) -> Value {
    let (positions, any) = match fit.longest {
        Fitting::Positions(positions) | Fitting::Trained(positions) => (Some(positions), false),
        Fitting::AnyLength => (None, true),
        _ => (Some(0), false),
    };
    json!({
        "memory_bytes": fit.memory,
        "context": positions,
        "any_length": any,
        "type": fit.best.as_ref().map(|(mix, ..)| mix.name),
        "weights_bytes": fit.best.as_ref().map(|(_, weights, _)| weights),
        "total_bytes": fit.best.as_ref().map(|(.., total)| total),
    })
}
