//! `rillm synth`: models of known shapes with random weights, to measure on.

use super::quantize::save;
use super::terminal::{Out, one_line};
use super::{CliError, bytes, output};
use clap::Args;
use rillm::internals::synthetic::{RandomModel, UnknownShape, shapes};
use rillm::quantize::{Mix, QuantizeOptions, QuantizePlan};
use std::io::Write;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = known())]
pub struct Arguments {
    /// Shape of the model, one of those below
    #[arg(value_name = "SHAPE", value_parser = shape)]
    shape: RandomModel,
    /// GGUF file to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Type of the weights, as for quantize
    #[arg(short = 'q', long = "type", value_name = "TYPE", default_value = "q4_k_m", value_parser = super::quantize::mix)]
    mix: Mix,
    /// Positions that it reaches at least, where its shape has fewer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    positions: Option<u32>,
    /// Another seed, other weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads [default: the physical cores this process may use]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Replace OUT if it exists
    #[arg(short, long)]
    force: bool,
}

fn shape(name: &str) -> Result<RandomModel, String> {
    name.parse()
        .map_err(|error: UnknownShape| error.to_string())
}

/// What `--help` says of shapes.
fn known() -> String {
    let lines = shapes().map(|shape| format!("  {:<14} {}\n", shape.name, shape.about));
    let lines: String = lines.collect();
    format!(
        "Shapes:\n{lines}\nAs large and as fast as the real ones, and any text is tokens to them; what they \
         write means nothing."
    )
}

pub fn synth(arguments: &Arguments) -> Result<(), CliError> {
    output::check_model(&arguments.output, arguments.force)?;
    let shape = arguments
        .shape
        .reaching(arguments.positions.unwrap_or(0).into());
    let input = shape.draft(arguments.seed)?;
    let plan = QuantizePlan::new(&input, &QuantizeOptions::new(arguments.mix))?;
    save(
        &input,
        &plan,
        &arguments.output,
        arguments.threads,
        "drawing",
    )?;
    let mut out = Out::new();
    writeln!(
        out,
        "{}: {} weights, {}",
        one_line(&arguments.output.to_string_lossy()),
        plan.elements(),
        bytes(plan.file_len())
    )?;
    Ok(())
}
