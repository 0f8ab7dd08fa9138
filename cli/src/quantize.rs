//! `rillm quantize`: a model's file with smaller weights.

use super::habits;
use super::interrupt::Unfinished;
use super::progress::Progress;
use super::terminal::{Out, is_too_narrow};
use super::{CliError, bytes, output, warn};
use clap::Args;
use rillm::formats::manifest::DType;
use rillm::internals::replace::partial_name;
use rillm::quantize::{
    Draft, MIXES, Mix, Quality, QuantizeError, QuantizeOptions, QuantizePlan, write,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

#[derive(Args, Debug)]
#[command(after_help = types())]
pub struct Arguments {
    /// GGUF file (of a split one: the first) or Hugging Face folder
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// GGUF file to write
    #[arg(value_name = "OUT", required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// Type of the weights, one of those below
    #[arg(value_name = "TYPE", value_parser = mix)]
    mix: Option<Mix>,
    /// The same, as an option
    #[arg(short = 'q', long = "type", value_name = "TYPE", conflicts_with = "mix", value_parser = mix)]
    mix_option: Option<Mix>,
    /// Threads [default: the physical cores this process may use]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// The same as the last word, where llama-quantize has it
    #[arg(value_name = "THREADS", hide = true, conflicts_with = "threads", value_parser = clap::value_parser!(u16).range(1..=256))]
    last_word: Option<u16>,
    /// Replace OUT if it exists
    #[arg(short, long)]
    force: bool,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
    /// One type for all quantized tensors, none better for those that matter more
    #[arg(long)]
    pure: bool,
    /// Leave output.weight as it is
    #[arg(long)]
    leave_output_tensor: bool,
    /// Type of output.weight
    #[arg(long, value_name = "TYPE", value_parser = dtype)]
    output_tensor_type: Option<DType>,
    /// Type of token_embd.weight
    #[arg(long, value_name = "TYPE", value_parser = dtype)]
    token_embedding_type: Option<DType>,
    /// Type of the tensors whose names contain NAME; may be given several times
    #[arg(long, value_name = "NAME=TYPE", value_parser = named_type)]
    tensor_type: Vec<(String, DType)>,
    /// Quantize weights that are quantized already
    #[arg(long)]
    allow_requantize: bool,
    /// Write what was done to stdout as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn mix(name: &str) -> Result<Mix, String> {
    // llama-quantize knows them by the numbers that they have in files, too.
    let number = name.parse::<u32>().ok();
    let mut numbered = MIXES
        .iter()
        .rev()
        .filter(|mix| number == Some(mix.file_type));
    if let Some(mix) = numbered.next() {
        return Ok(*mix);
    }
    name.parse()
        .map_err(|error: rillm::quantize::UnknownMix| error.to_string())
}

fn dtype(name: &str) -> Result<DType, String> {
    let known = DType::ALL.iter().copied();
    let mut known = known.filter(|&dtype| rillm::internals::quant::encode(dtype).is_some());
    let found = known
        .clone()
        .find(|dtype| dtype.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let first = known.next().map_or("", |dtype| dtype.name());
        let names = known.fold(first.to_string(), |all, dtype| all + ", " + dtype.name());
        format!("there is no such type; known are {names}")
    })
}

fn named_type(text: &str) -> Result<(String, DType), String> {
    let (name, of) = text
        .rsplit_once('=')
        .ok_or("expected NAME=TYPE, as in ffn_down=q6_k")?;
    if name.is_empty() {
        return Err("expected a part of a tensor's name before the =".into());
    }
    Ok((name.to_string(), dtype(of)?))
}

/// What `--help` says of types.
fn types() -> String {
    let lines = MIXES
        .iter()
        .map(|mix| format!("  {:<10} {}\n", mix.name, mix.about));
    let lines: String = lines.collect();
    format!(
        "Types:\n{lines}\nTypes ending in _S, _M and _L are mixes: tensors that matter more get \
         more bits.\nRows that a type's blocks do not divide get the nearest type whose blocks do."
    )
}

impl From<QuantizeError> for CliError {
    fn from(error: QuantizeError) -> CliError {
        match error {
            QuantizeError::Load(error) => CliError::Load(error),
            QuantizeError::Io(path, error) => CliError::File(path, error.to_string()),
            error => CliError::Usage(error.to_string()),
        }
    }
}

/// The type that is asked for. Other programs name the file by themselves if only a type is given.
fn chosen_mix(arguments: &Arguments) -> Result<Mix, CliError> {
    if let Some(mix) = arguments.mix.or(arguments.mix_option) {
        return Ok(mix);
    }
    let input = &arguments.input;
    let given = arguments.output.as_deref().and_then(Path::to_str);
    let what = match given.and_then(|name| Some((name, name.parse::<Mix>().ok()?))) {
        Some((name, mix)) => {
            let stem = input.file_stem().unwrap_or_default().to_string_lossy();
            let file = input.with_file_name(format!("{stem}-{}.gguf", mix.name));
            format!(
                "give the file to write: rillm quantize {} {} {name}",
                input.display(),
                file.display()
            )
        }
        None => "give a TYPE, as in q4_k_m: rillm quantize --help lists them".to_string(),
    };
    Err(CliError::Usage(what))
}

/// Reads, plans, writes, and says how it came out.
pub fn quantize(arguments: &Arguments) -> Result<(), CliError> {
    let mix = chosen_mix(arguments)?;
    let input = Draft::open(&arguments.input)
        .map_err(|error| habits::explained(error, &arguments.input))?;
    let options = QuantizeOptions::new(mix)
        .pure(arguments.pure)
        .keep_output(arguments.leave_output_tensor)
        .output(arguments.output_tensor_type)
        .embedding(arguments.token_embedding_type)
        .tensors(arguments.tensor_type.clone())
        .requantize(arguments.allow_requantize);
    let plan = QuantizePlan::new(&input, &options).map_err(|error| match error {
        QuantizeError::Tensor(..) => CliError::File(arguments.input.clone(), error.to_string()),
        error => error.into(),
    })?;
    let to = arguments.output.as_ref().filter(|_| !arguments.dry_run);
    if let Some(to) = to {
        refuse_to_lose(arguments, to)?;
    }
    input.notes().iter().for_each(|note| warn(note));
    fallbacks(&plan);
    for (name, _) in &arguments.tensor_type {
        if !plan.tensors.iter().any(|tensor| tensor.name.contains(name)) {
            warn(&format!("--tensor-type: no tensor's name contains {name}"));
        }
    }
    let qualities = match to {
        Some(to) => {
            let threads = arguments.threads.or(arguments.last_word);
            let qualities = save(&input, &plan, to, threads, "quantizing");
            Some(qualities.map_err(|error| match error {
                QuantizeError::Tensor(..) => {
                    CliError::File(arguments.input.clone(), error.to_string())
                }
                error => error.into(),
            })?)
        }
        None => None,
    };
    let mut stdout = Out::new();
    if arguments.json {
        writeln!(stdout, "{}", as_json(&plan, qualities.as_deref()))?;
    } else {
        table(&mut stdout, &plan, qualities.as_deref())?;
    }
    Ok(())
}

/// Writes the file, showing how far it is.
pub(super) fn save(
    input: &Draft,
    plan: &QuantizePlan,
    to: &Path,
    threads: Option<u16>,
    what: &'static str,
) -> Result<Vec<Quality>, QuantizeError> {
    let _partial = Unfinished::new(partial_name(to));
    let threads = threads.map(usize::from);
    let threads = threads.unwrap_or_else(rillm::internals::platform::default_threads);
    let done = Arc::new(AtomicU64::new(0));
    let _bar = Progress::watch(Arc::clone(&done), plan.elements(), what, "weights");
    write(input, plan, to, threads, &done)
}

/// An existing file is replaced on request alone, and never the one that is read.
fn refuse_to_lose(arguments: &Arguments, to: &Path) -> Result<(), CliError> {
    let same = match (arguments.input.canonicalize(), to.canonicalize()) {
        (Ok(from), Ok(to)) => from == to,
        _ => false,
    };
    if same {
        let what = "is the file to read, write another one".to_string();
        return Err(CliError::File(to.to_path_buf(), what));
    }
    output::check_model(to, arguments.force)
}

fn fallbacks(plan: &QuantizePlan) {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for tensor in &plan.tensors {
        if let Some(wanted) = tensor.wanted {
            *counts.entry((wanted.name(), tensor.to.name())).or_default() += 1;
        }
    }
    for ((wanted, got), count) in counts {
        let tensors = if count == 1 {
            "tensor has"
        } else {
            "tensors have"
        };
        warn(&format!(
            "{count} {tensors} rows that are not whole blocks of {wanted}, and become {got}"
        ));
    }
}

/// What one type of the result amounts to.
#[derive(Default)]
struct TypeFigures {
    tensors: usize,
    weights: u64,
    bytes: u64,
    quality: Quality,
    recoded: bool,
}

fn groups(plan: &QuantizePlan, qualities: Option<&[Quality]>) -> BTreeMap<DType, TypeFigures> {
    let mut groups: BTreeMap<DType, TypeFigures> = BTreeMap::new();
    for (index, tensor) in plan.tensors.iter().enumerate() {
        let group = groups.entry(tensor.to).or_default();
        group.tensors += 1;
        group.weights += tensor.elements();
        group.bytes += plan.tensor_len(index);
        if let Some(qualities) = qualities {
            group.quality = group.quality.and(qualities[index]);
        }
        group.recoded |= tensor.from != tensor.to;
    }
    groups
}

/// A line for each type of the result.
fn table(
    out: &mut impl Write,
    plan: &QuantizePlan,
    qualities: Option<&[Quality]>,
) -> io::Result<()> {
    /// Columns of a line.
    const WIDTH: usize = 58;
    let narrow = is_too_narrow(WIDTH);
    let counts = |tensors: &dyn Display, weights: &dyn Display| match narrow {
        true => String::new(),
        false => format!("{tensors:>7} {weights:>10} "),
    };
    let (tensors, weights) = ("tensors", "weights");
    writeln!(
        out,
        "{:<8} {}{:>12} {:>6}  error",
        "type",
        counts(&tensors, &weights),
        "size",
        "bits"
    )?;
    for (dtype, group) in groups(plan, qualities) {
        let error = match qualities {
            Some(_) if group.recoded => format!("{:.4}%", 100.0 * group.quality.relative()),
            Some(_) => "none".to_string(),
            None => String::new(),
        };
        writeln!(
            out,
            "{:<8} {}{:>12} {:>6.3}  {error}",
            dtype.name(),
            counts(&group.tensors, &group.weights),
            bytes(group.bytes),
            bits(group.bytes, group.weights),
        )?;
    }
    writeln!(
        out,
        "{:<8} {}{:>12} {:>6.3}",
        "file",
        counts(&plan.tensors.len(), &plan.elements()),
        bytes(plan.file_len()),
        bits(plan.file_len(), plan.elements()),
    )
}

fn bits(bytes: u64, weights: u64) -> f64 {
    8.0 * bytes as f64 / weights.max(1) as f64
}

fn as_json(plan: &QuantizePlan, qualities: Option<&[Quality]>) -> serde_json::Value {
    let tensors = plan.tensors.iter().enumerate().map(|(index, tensor)| {
        let mut line = json!({
            "name": tensor.name,
            "shape": tensor.shape,
            "from": tensor.from.name(),
            "to": tensor.to.name(),
            "bytes": plan.tensor_len(index),
        });
        if let Some(wanted) = tensor.wanted {
            line["wanted"] = json!(wanted.name());
        }
        if let Some(qualities) = qualities {
            let quality = qualities[index];
            let count = tensor.elements().max(1) as f64;
            line["rmse"] = json!((quality.error / count).sqrt());
            line["relative_rmse"] = json!(quality.relative());
            line["largest_error"] = json!(quality.worst);
        }
        line
    });
    json!({
        "bytes": plan.file_len(),
        "weights": plan.elements(),
        "bits_per_weight": bits(plan.file_len(), plan.elements()),
        "tensors": tensors.collect::<Vec<_>>(),
    })
}
