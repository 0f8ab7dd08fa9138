//! `rillm eval`.

use super::input::{file_bytes, without_mark};
use super::interrupt::{self, Unfinished};
use super::memory::MemoryArguments;
use super::progress::Progress;
use super::{CliError, ModelArguments, output};
use clap::{Args, ValueEnum};
use rillm::Model;
use rillm::formats::manifest::{DType, Shape};
use rillm::formats::safetensors::write::{TensorSpec, header};
use rillm::internals::eval::{Cut, EvalInput, EvalRow, OutputShape};
use rillm::internals::weights::weight_files;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// JSON with transformers' names: input_ids, attention_mask, token_type_ids, position_ids,
    /// global_attention_mask, decoder_input_ids, decoder_attention_mask; and segment_lengths,
    /// random_attention
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the outputs go, as float32 safetensors; zeros at masked positions
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Feed one position at a time
    #[arg(long, conflicts_with = "batch")]
    step: bool,
    /// Feed this many positions at a time: segments, for models with a segment memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Which blocks BigBird's rows see beside their own: those of evaluation, or random ones as in
    /// training
    #[arg(long, value_name = "PLAN", value_enum, default_value_t = BlockPlan::Eval)]
    bigbird_plan: BlockPlan,
    #[command(flatten)]
    memory: MemoryArguments,
}

/// Bytes of an input, of which every number takes many times its own while they are read.
const INPUT: u64 = 64 << 20;

/// Which blocks stand in for random ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BlockPlan {
    Eval,
    Random,
}

pub fn eval(arguments: &Arguments) -> Result<(), CliError> {
    let json = without_mark(file_bytes(&arguments.input, INPUT)?);
    let input =
        EvalInput::parse(&json).map_err(|error| file_error(&arguments.input, error.to_string()))?;
    let input = match arguments.bigbird_plan {
        BlockPlan::Eval => input,
        BlockPlan::Random => input.with_random_attention(),
    };
    let path = &arguments.output;
    if let Some(read) = [&arguments.input, arguments.model.path()]
        .into_iter()
        .find(|read| is_read(read, path))
    {
        let what = format!("is read as {}, choose another --output", read.display());
        return Err(file_error(path, what));
    }
    interrupt::tidy();
    let model = arguments.model.open_alone()?;
    let work = |model: &Model| evaluate(arguments, model, &input);
    arguments.memory.task(model, 1, work)
}

fn evaluate(arguments: &Arguments, model: &Model, input: &EvalInput) -> Result<(), CliError> {
    let path = &arguments.output;
    let cut = match (arguments.step, arguments.batch) {
        (true, _) => Cut::Batch(1),
        (false, Some(batch)) => Cut::Batch(batch as usize),
        (false, None) => Cut::Whole,
    };
    let outputs = input.outputs(model);
    // Beside the output until it is whole: the output may be a file that the model is mapped
    // from, and half a file must not pass for one.
    let mut new = output::begin(path)?;
    let _unfinished = new
        .partial()
        .map(|path| Unfinished::new(path.to_path_buf()));
    let mut file = OutputFile::begin(new.file(), &outputs)
        .map_err(|error| file_error(path, error.to_string()))?;
    let written = Arc::new(AtomicU64::new(0));
    let rows = outputs
        .iter()
        .map(|output| output.shape.iter().take(2).product::<u64>());
    let progress = Progress::watch(Arc::clone(&written), rows.sum(), "eval", "rows");
    let mut failure = None;
    let mut write = |row: EvalRow<'_>| {
        written.fetch_add(1, Ordering::Relaxed);
        if failure.is_none() {
            failure = file.write(&row).err();
        }
    };
    let run = input.run(model, cut, &mut write);
    drop(progress);
    run?;
    let written = failure.map_or(Ok(()), Err).and_then(|()| new.finish());
    written.map_err(|error| file_error(path, error.to_string()))
}

fn file_error(path: &Path, what: String) -> CliError {
    CliError::File(path.to_path_buf(), what)
}

/// Whether both paths lead to one file, or the second to one of a folder that is read: to any but tensors
/// that are none of its weights, as an earlier run leaves them.
fn is_read(read: &Path, written: &Path) -> bool {
    let (Ok(read), Ok(written)) = (read.canonicalize(), written.canonicalize()) else {
        return false;
    };
    let weights = weight_files(&read);
    let mut weights = weights.iter().filter_map(|path| path.canonicalize().ok());
    if weights.any(|path| path == written) {
        return true;
    }
    let is_left_over = written.parent() == Some(&read)
        && written
            .extension()
            .is_some_and(|kind| kind == "safetensors");
    written.is_file() && written.starts_with(read) && !is_left_over
}

/// A safetensors file of zeros that is filled row by row: no output is ever held in memory.
struct OutputFile<'a> {
    file: &'a mut File,
    /// First byte of each tensor.
    starts: Vec<u64>,
    buffer: Vec<u8>,
}

impl<'a> OutputFile<'a> {
    fn begin(file: &'a mut File, outputs: &[OutputShape]) -> std::io::Result<OutputFile<'a>> {
        let specs: Vec<TensorSpec> = outputs
            .iter()
            .map(|output| TensorSpec {
                name: output.name.to_string(),
                dtype: DType::F32,
                shape: Shape(output.shape.clone()),
            })
            .collect();
        let header = header(&specs).map_err(|error| std::io::Error::other(error.to_string()))?;
        let mut end = header.len() as u64;
        let mut starts = Vec::new();
        for output in outputs {
            starts.push(end);
            end += 4 * output.shape.iter().product::<u64>();
        }
        file.write_all(&header)?;
        file.set_len(end)?;
        Ok(OutputFile {
            file,
            starts,
            buffer: Vec::new(),
        })
    }

    fn write(&mut self, row: &EvalRow<'_>) -> std::io::Result<()> {
        self.buffer.clear();
        self.buffer
            .extend(row.values.iter().flat_map(|value| value.to_le_bytes()));
        let start = self.starts[row.output] + 4 * row.start as u64;
        self.file.seek(SeekFrom::Start(start))?;
        self.file.write_all(&self.buffer)
    }
}
