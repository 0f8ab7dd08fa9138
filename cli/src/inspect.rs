//! `rillm inspect`.

use super::terminal::{Out, one_line};
use super::{CliError, KvCacheArguments, ModelArguments, bytes, context, output, picture, threads};
use clap::Args;
use rillm::formats::manifest::{Array, MetadataValue, TensorInfo};
use rillm::internals::ModelParts;
use rillm::internals::model::Parameters;
use rillm::{MemoryPlan, Model, Session, SessionOptions};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    kv_type: KvCacheArguments,
    /// Positions to plan for; 0 for all that the model has [default: the model's, at most 4096]
    #[arg(short, long, value_name = "N")]
    ctx_size: Option<usize>,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// Draw the graph, the memory plan and the state as SVG, which browsers show; - writes
    /// it, and nothing else, to standard output
    #[arg(long, value_name = "FILE")]
    graph: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub fn inspect(arguments: &Arguments) -> Result<(), CliError> {
    if let Some(path) = &arguments.graph
        && !path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("svg"))
        && path.as_os_str() != "-"
    {
        let what = format!(
            "--graph {}: expected a name that ends in .svg",
            path.display()
        );
        return Err(CliError::Usage(what));
    }
    let model = arguments.model.open_alone()?;
    let defaults = SessionOptions::default();
    let trained = model.context().unwrap_or(defaults.context);
    let context = context(arguments.ctx_size, &model);
    let options = SessionOptions::new()
        .context(context)
        .source(context.min(trained).min(SessionOptions::MOST))
        .kv_type(arguments.kv_type.kv_type()?);
    let plan = Session::memory_plan(&model, options)?;
    if let Some(path) = &arguments.graph {
        let drawing = picture::draw(&model, options)?;
        if path.as_os_str() == "-" {
            Out::new().write_all(drawing.as_bytes())?;
            return Ok(());
        }
        output::replace(path, |file| file.write_all(drawing.as_bytes()))?;
    }
    if arguments.json {
        as_json(&model, &plan, options)
    } else {
        as_text(&model, &plan, options, arguments.tensors)
    }
}

fn as_text(
    model: &Model,
    plan: &MemoryPlan,
    options: SessionOptions,
    every_tensor: bool,
) -> Result<(), CliError> {
    let mut out = Out::new();
    let manifest = model.manifest();
    let title = model.title();
    writeln!(
        out,
        "architecture  {} ({title}, {})",
        one_line(&manifest.architecture),
        model.architecture().family.name()
    )?;
    let parameters = model.parameters();
    writeln!(
        out,
        "parameters    {}{}",
        large(parameters.all),
        experts(&parameters)
    )?;
    writeln!(out, "kernels       {}, {}", model.isa(), threads(model))?;
    match model.tokenizer() {
        Ok(tokenizer) => writeln!(
            out,
            "tokenizer     {}, {} tokens",
            tokenizer.kind().name(),
            tokenizer.vocabulary_len()
        )?,
        Err(error) => writeln!(out, "tokenizer     {}", one_line(&error.to_string()))?,
    }

    writeln!(out, "\nmetadata")?;
    for (key, value) in &manifest.metadata.0 {
        writeln!(out, "  {} = {}", one_line(key), show(value))?;
    }

    writeln!(out, "\ntensors")?;
    if every_tensor {
        let shape = |info: &TensorInfo| format!("{:?}", info.shape.0);
        let tensors = manifest.tensors.iter();
        let (name_width, shape_width) =
            tensors.fold((0, 0), |(name_width, shape_width), tensor| {
                let (name, info) = tensor;
                (
                    name_width.max(one_line(name).chars().count()),
                    shape_width.max(shape(info).len()),
                )
            });
        for (name, info) in &manifest.tensors {
            writeln!(
                out,
                "  {:name_width$}  {:shape_width$}  {:6} {:>10}",
                one_line(name),
                shape(info),
                info.dtype.name(),
                bytes(len(info))
            )?;
        }
    }
    for (dtype, (count, len)) in by_type(model) {
        writeln!(out, "  {count} of type {dtype}, {}", bytes(len))?;
    }

    let SessionOptions {
        context,
        batch,
        source,
        checkpoints,
        ..
    } = options;
    writeln!(
        out,
        "\nmemory for a context of {context}, batches of {batch}{}",
        match model.encodes() {
            true => format!(", sources of {source}"),
            false => String::new(),
        }
    )?;
    let weights: u64 = manifest.tensors.values().map(len).sum();
    writeln!(out, "  weights, mapped        {}", bytes(weights))?;
    writeln!(
        out,
        "  vectors as floats      {}",
        bytes(model.weights().vectors_len() as u64)
    )?;
    writeln!(out, "  arena                  {}", bytes(plan.arena as u64))?;
    writeln!(
        out,
        "  state, reserved        {}{}",
        bytes(plan.state as u64),
        match (plan.state_fixed, checkpoints) {
            (0, _) | (_, 0) => String::new(),
            (_, 1) => ", with a copy to go back to".to_string(),
            (_, count) => format!(", with {count} copies to go back to"),
        }
    )?;
    writeln!(
        out,
        "  state, any length      {}",
        bytes(plan.state_fixed as u64)
    )?;
    writeln!(
        out,
        "  state per 1K tokens    {}",
        bytes(plan.state_per_1k as u64)
    )?;
    for figures in &plan.plans {
        writeln!(
            out,
            "  plan {:<8} {} rows, {} steps, {} barriers, arena {}",
            figures.name,
            figures.rows,
            figures.steps,
            figures.barriers,
            bytes(figures.arena as u64)
        )?;
    }
    Ok(())
}

fn as_json(model: &Model, plan: &MemoryPlan, options: SessionOptions) -> Result<(), CliError> {
    let manifest = model.manifest();
    let metadata: Map<String, serde_json::Value> = manifest
        .metadata
        .0
        .iter()
        .map(|(key, value)| (key.clone(), to_json(value)))
        .collect();
    let tensors: Vec<serde_json::Value> = manifest
        .tensors
        .iter()
        .map(|(name, info)| {
            json!({
                "name": name, "type": info.dtype.name(), "shape": info.shape.0,
                "file": info.file, "offset": info.range.start, "bytes": len(info),
            })
        })
        .collect();
    let plans: Vec<serde_json::Value> = plan
        .plans
        .iter()
        .map(|figures| {
            json!({
                "name": figures.name, "rows": figures.rows, "steps": figures.steps,
                "barriers": figures.barriers, "arena_bytes": figures.arena,
            })
        })
        .collect();
    let tokenizer = match model.tokenizer() {
        Ok(tokenizer) => json!({
            "kind": tokenizer.kind().name(),
            "tokens": tokenizer.vocabulary_len(),
        }),
        Err(error) => json!({ "error": error.to_string() }),
    };
    let all = json!({
        "tokenizer": tokenizer,
        "architecture": manifest.architecture,
        "family": model.architecture().family.name(),
        "parameters": model.parameters().all,
        "active_parameters": model.parameters().active,
        "experts": model.parameters().experts.map(|experts| json!({
            "count": experts.count, "used": experts.used, "layers": experts.layers,
        })),
        "isa": model.isa().name(),
        "threads": model.threads(),
        "metadata": metadata,
        "tensors": tensors,
        "memory": {
            "context": options.context,
            "batch": options.batch,
            "source": options.source,
            "weights_bytes": manifest.tensors.values().map(len).sum::<u64>(),
            "vectors_bytes": model.weights().vectors_len(),
            "arena_bytes": plan.arena,
            "state_bytes": plan.state,
            "state_fixed_bytes": plan.state_fixed,
            "state_per_1k_bytes": plan.state_per_1k,
            "plans": plans,
        },
    });
    writeln!(Out::new(), "{all}")?;
    Ok(())
}

/// How many of the parameters a token meets, where there are experts.
fn experts(parameters: &Parameters) -> String {
    let Some(experts) = parameters.experts else {
        return String::new();
    };
    format!(
        ", {} active: {} of {} experts in {}",
        large(parameters.active),
        experts.used,
        experts.count,
        match experts.layers {
            1 => "one layer".to_string(),
            layers => format!("{layers} layers"),
        }
    )
}

/// A large number in three digits, as people speak of models.
pub fn large(number: u64) -> String {
    let (unit, name) = match number {
        1_000_000_000.. => (1e9, "B"),
        1_000_000.. => (1e6, "M"),
        1_000.. => (1e3, "K"),
        _ => return number.to_string(),
    };
    let number = number as f64 / unit;
    let digits = if number < 10.0 {
        2
    } else {
        usize::from(number < 100.0)
    };
    format!("{number:.digits$}{name}")
}

fn len(info: &TensorInfo) -> u64 {
    info.range.end - info.range.start
}

fn by_type(model: &Model) -> BTreeMap<&'static str, (usize, u64)> {
    let mut types = BTreeMap::new();
    for info in model.manifest().tensors.values() {
        let (count, sum) = types.entry(info.dtype.name()).or_insert((0, 0));
        *count += 1;
        *sum += len(info);
    }
    types
}

/// A value in one short line.
fn show(value: &MetadataValue) -> String {
    match value {
        MetadataValue::Array(array) if array.len() > SHORT => format!("[{} values]", array.len()),
        other => {
            let text = match to_json(other) {
                serde_json::Value::String(text) => format!("{text:?}"),
                other => other.to_string(),
            };
            match text.char_indices().nth(100) {
                Some((cut, _)) => format!("{}…", &text[..cut]),
                None => text,
            }
        }
    }
}

/// Lists up to this long are shown whole.
const SHORT: usize = 8;

fn element(array: &Array, at: usize) -> serde_json::Value {
    match array {
        Array::Bool(values) => json!(values[at]),
        Array::String(values) => match values.get(at) {
            Some(text) => json!(String::from_utf8_lossy(text)),
            None => serde_json::Value::Null,
        },
        other => match (other.u64(at), other.f64(at)) {
            (Some(whole), _) => json!(whole),
            (None, number) => json!(number),
        },
    }
}

fn to_json(value: &MetadataValue) -> serde_json::Value {
    match value {
        MetadataValue::U8(v) => json!(v),
        MetadataValue::I8(v) => json!(v),
        MetadataValue::U16(v) => json!(v),
        MetadataValue::I16(v) => json!(v),
        MetadataValue::U32(v) => json!(v),
        MetadataValue::I32(v) => json!(v),
        MetadataValue::U64(v) => json!(v),
        MetadataValue::I64(v) => json!(v),
        MetadataValue::F32(v) => json!(v),
        MetadataValue::F64(v) => json!(v),
        MetadataValue::Bool(v) => json!(v),
        MetadataValue::String(v) => json!(v),
        // Vocabularies are not what anybody inspects: their length is.
        MetadataValue::Array(array) if array.len() > SHORT => json!({ "values": array.len() }),
        MetadataValue::Array(array) => (0..array.len()).map(|at| element(array, at)).collect(),
    }
}
