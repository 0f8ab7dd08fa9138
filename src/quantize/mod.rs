//! A model's file written anew with smaller weights.
//!
//! [`Draft`] is a model as GGUF would have it, wherever it comes from; [`QuantizePlan`] says what each
//! tensor becomes, so that sizes are known before anything is done; [`write`](write()) does it, a
//! few rows at a time: files of any size need little memory.
//!
//! ```
//! use rillm::quantize::{Draft, QuantizeOptions, QuantizePlan, write};
//! use std::sync::atomic::AtomicU64;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let draft = Draft::open("assets/encoder.gguf")?;
//! let options = QuantizeOptions::new("q8_0".parse()?);
//! let plan = QuantizePlan::new(&draft, &options)?;
//! println!("{} weights in {} bytes", plan.elements(), plan.file_len());
//!
//! # let folder = std::env::temp_dir().join(format!("rillm-quantize-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("small.gguf");
//! // What it has done so far, for whoever shows progress.
//! let done = AtomicU64::new(0);
//! let qualities = write(&draft, &plan, &path, 2, &done)?;
//! assert_eq!(qualities.len(), plan.tensors.len());
//! assert_eq!(std::fs::metadata(&path)?.len(), plan.file_len());
//! # std::fs::remove_dir_all(folder)?;
//! # Ok(())
//! # }
//! ```

mod mix;

pub use crate::convert::Draft;
pub use mix::{MIXES, Mix, UnknownMix};

use crate::convert::DraftTensor;
use crate::error::LoadError;
use crate::quant;
use crate::replace::Replacement;
use crate::reserve::{OutOfMemory, filled};
use crate::setters::setters;
use mix::Choice;
use rillm_formats::gguf::write::{FileLayout, TensorSpec, layout};
use rillm_formats::manifest::{DType, Metadata, MetadataValue, Shape};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How a file is to be written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QuantizeOptions {
    /// The types of tensors.
    pub mix: Mix,
    /// All quantized tensors in the mix's base type, with no exceptions for those that matter.
    pub pure: bool,
    /// Leaves `output.weight` as it is.
    pub keep_output: bool,
    /// The type of `output.weight`, whatever the mix says.
    pub output: Option<DType>,
    /// The type of `token_embd.weight`, whatever the mix says.
    pub embedding: Option<DType>,
    /// Types of tensors whose names contain a text, whatever else is said; the first one counts.
    pub tensors: Vec<(String, DType)>,
    /// Takes weights that are quantized already, and loses more than from the original.
    pub requantize: bool,
}

setters! {
    QuantizeOptions {
        pure: bool,
        keep_output: bool,
        output: impl Into<Option<DType>>,
        embedding: impl Into<Option<DType>>,
        tensors: impl Into<Vec<(String, DType)>>,
        requantize: bool,
    }
}

impl QuantizeOptions {
    /// A mix as it is.
    pub fn new(mix: Mix) -> QuantizeOptions {
        QuantizeOptions {
            mix,
            pure: false,
            keep_output: false,
            output: None,
            embedding: None,
            tensors: Vec::new(),
            requantize: false,
        }
    }
}

/// Why a file could not be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The input is at fault.
    Load(LoadError),
    /// A tensor that cannot become what it is to become, and why.
    Tensor(String, String),
    /// A file or folder, and what happened to it.
    Io(PathBuf, io::Error),
}

impl fmt::Display for QuantizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuantizeError::Load(error) => error.fmt(f),
            QuantizeError::Tensor(name, what) => write!(f, "tensor {name}: {what}"),
            QuantizeError::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for QuantizeError {}

impl From<LoadError> for QuantizeError {
    fn from(error: LoadError) -> QuantizeError {
        QuantizeError::Load(error)
    }
}

/// What becomes of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Planned {
    /// Its canonical name.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// What it is stored as.
    pub from: DType,
    /// What it will be stored as.
    pub to: DType,
    /// What it would have been, had its rows been whole blocks of that.
    pub wanted: Option<DType>,
}

impl Planned {
    /// How many weights there are.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct QuantizePlan {
    /// Every tensor, in the order of the file.
    pub tensors: Vec<Planned>,
    layout: FileLayout,
}

impl QuantizePlan {
    /// Chooses a type for each tensor and lays out the file.
    ///
    /// # Errors
    /// Quantized weights that are not to be quantized again, and what GGUF cannot hold.
    pub fn new(input: &Draft, options: &QuantizeOptions) -> Result<QuantizePlan, QuantizeError> {
        let names = input.tensors.iter().map(|tensor| tensor.name.as_str());
        let choice = Choice::new(options.mix, &input.metadata, names);
        let tensors = input.tensors.iter();
        let planned = tensors.map(|tensor| planned(tensor, options, &choice));
        let tensors = planned.collect::<Result<Vec<_>, _>>()?;
        let specs: Vec<TensorSpec> = tensors
            .iter()
            .map(|tensor| TensorSpec {
                name: tensor.name.clone(),
                dtype: tensor.to,
                shape: Shape(tensor.shape.clone()),
            })
            .collect();
        let layout = layout(&described(&input.metadata, options.mix), &specs).map_err(|error| {
            LoadError::new(crate::error::LoadErrorKind::Format, error.to_string())
        })?;
        Ok(QuantizePlan { tensors, layout })
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> u64 {
        self.layout.file_len
    }

    /// All weights there are.
    pub fn elements(&self) -> u64 {
        self.tensors.iter().map(Planned::elements).sum()
    }

    /// Bytes of the tensor at `index`.
    pub fn tensor_len(&self, index: usize) -> u64 {
        let range = &self.layout.ranges[index];
        range.end - range.start
    }
}

/// The keys of the result.
fn described(metadata: &Metadata, mix: Mix) -> Metadata {
    let mut metadata = metadata.clone();
    // A split file becomes one.
    metadata.0.retain(|key, _| !key.starts_with("split."));
    if mix.base.is_some() {
        let file_type = MetadataValue::U32(mix.file_type);
        metadata.0.insert("general.file_type".into(), file_type);
        let version = MetadataValue::U32(2);
        metadata
            .0
            .insert("general.quantization_version".into(), version);
    }
    metadata
}

fn planned(
    tensor: &DraftTensor,
    options: &QuantizeOptions,
    choice: &Choice,
) -> Result<Planned, QuantizeError> {
    let mut to = (tensor.dtype, None);
    let named = |(text, _): &&(String, DType)| tensor.name.contains(text.as_str());
    let asked = match tensor.name.as_str() {
        "output.weight" => options.output,
        "token_embd.weight" => options.embedding,
        _ => None,
    };
    let asked = options
        .tensors
        .iter()
        .find(named)
        .map(|(_, dtype)| *dtype)
        .or(asked);
    let kept = options.keep_output && tensor.name == "output.weight";
    if let Some(base) = options.mix.base {
        let matrix = choice.is_quantized(&tensor.name, &tensor.shape);
        if let Some(asked) = asked.filter(|_| tensor.shape.len() > 1) {
            to = (asked, None);
        } else if matrix && !kept {
            to = if options.pure
                && tensor
                    .shape
                    .last()
                    .is_some_and(|n| n % base.block_elements() == 0)
            {
                (base, None)
            } else {
                choice.of(&tensor.name, &tensor.shape)
            };
        } else if base == DType::F32 {
            to = (DType::F32, None);
        } else if !matrix && tensor.dtype != DType::F32 && quant::decode(tensor.dtype).is_some() {
            // Vectors are computed with in floats anyway, and cost nothing.
            to = (DType::F32, None);
        }
    }
    let quantized = |dtype: DType| dtype.block_elements() > 1;
    let refuse = |what: String| Err(QuantizeError::Tensor(tensor.name.clone(), what));
    if to.0 != tensor.dtype && quantized(tensor.dtype) && quantized(to.0) && !options.requantize {
        return refuse(format!(
            "is {} already; start from the original weights, or say --allow-requantize and lose \
             more than they would",
            tensor.dtype.name()
        ));
    }
    if to.0 != tensor.dtype
        && (quant::decode(tensor.dtype).is_none() || quant::encode(to.0).is_none())
    {
        return refuse(format!(
            "{} cannot become {}",
            tensor.dtype.name(),
            to.0.name()
        ));
    }
    Ok(Planned {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        from: tensor.dtype,
        to: to.0,
        wanted: to.1,
    })
}

/// How well a tensor came out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Quality {
    /// Σ (weight − decoded weight)²
    pub error: f64,
    /// Σ weight²
    pub power: f64,
    /// The largest difference.
    pub worst: f64,
}

impl Quality {
    /// Root of the mean squared error over the root of the mean squared weight; zero for zeros.
    pub fn relative(&self) -> f64 {
        if self.power > 0.0 {
            (self.error / self.power).sqrt()
        } else {
            0.0
        }
    }

    /// Of two sets of weights together.
    pub fn and(self, other: Quality) -> Quality {
        Quality {
            error: self.error + other.error,
            power: self.power + other.power,
            worst: self.worst.max(other.worst),
        }
    }
}

/// Weights worked on at a time.
const BATCH: usize = 1 << 21;

/// Writes the file; `done` counts weights. It appears under its name when it is complete.
///
/// # Errors
/// Weights that are not finite, and files that cannot be written.
pub fn write(
    input: &Draft,
    plan: &QuantizePlan,
    to: &Path,
    threads: usize,
    done: &AtomicU64,
) -> Result<Vec<Quality>, QuantizeError> {
    let failed = |error: io::Error| QuantizeError::Io(to.to_path_buf(), error);
    let mut new = Replacement::of_file(to).map_err(failed)?;
    let file = BufWriter::new(new.file());
    let qualities = write_to(input, plan, file, threads, done, &failed)?;
    new.finish().map_err(failed)?;
    Ok(qualities)
}

fn write_to(
    input: &Draft,
    plan: &QuantizePlan,
    mut file: BufWriter<&mut File>,
    threads: usize,
    done: &AtomicU64,
    failed: &impl Fn(io::Error) -> QuantizeError,
) -> Result<Vec<Quality>, QuantizeError> {
    file.write_all(&plan.layout.header).map_err(failed)?;
    let mut qualities = Vec::with_capacity(plan.tensors.len());
    for (index, (tensor, planned)) in input.tensors.iter().zip(&plan.tensors).enumerate() {
        let mut quality = Quality::default();
        if let Some(bytes) = input.stored(tensor).filter(|_| planned.from == planned.to) {
            check_finite(tensor, bytes)?;
            file.write_all(bytes).map_err(failed)?;
            done.fetch_add(planned.elements(), Ordering::Relaxed);
        } else {
            quality = recode(input, tensor, planned.to, threads, done, |bytes| {
                file.write_all(bytes).map_err(failed)
            })?;
        }
        qualities.push(quality);
        let padding = plan.layout.padding(index) as usize;
        file.write_all(&vec![0; padding]).map_err(failed)?;
    }
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)?;
    Ok(qualities)
}

/// Refuses a tensor that is copied and holds what is no number, or whose blocks do.
fn check_finite(tensor: &DraftTensor, bytes: &[u8]) -> Result<(), QuantizeError> {
    let all_are = match (tensor.dtype, quant::decode(tensor.dtype)) {
        (DType::F32, _) => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .all(|value| f32::from_le_bytes(*value).is_finite()),
        (_, Some(decode)) => {
            let block_len = tensor.dtype.block_len() as usize;
            let weights = tensor.dtype.block_elements() as usize;
            let mut values = vec![0.0; BLOCKS * weights];
            bytes.chunks(BLOCKS * block_len.max(1)).all(|blocks| {
                let count = blocks.len() / block_len.max(1) * weights;
                let values = &mut values[..count];
                decode(blocks, values);
                values.iter().all(|value| value.is_finite())
            })
        }
        (_, None) => true,
    };
    match all_are {
        true => Ok(()),
        false => Err(QuantizeError::Tensor(
            tensor.name.clone(),
            NOT_FINITE.to_string(),
        )),
    }
}

const NOT_FINITE: &str = "has weights that are not finite numbers";

/// Blocks that are decoded at a time to be looked at.
const BLOCKS: usize = 1 << 8;

/// Why a share of a tensor could not be encoded.
enum Unfit {
    NotFinite,
    /// A weight that the type cannot hold.
    TooLarge(f32),
}

/// Decodes a tensor and encodes it again, batch by batch.
fn recode(
    input: &Draft,
    tensor: &DraftTensor,
    to: DType,
    threads: usize,
    done: &AtomicU64,
    mut write: impl FnMut(&[u8]) -> Result<(), QuantizeError>,
) -> Result<Quality, QuantizeError> {
    let columns = tensor.shape.last().copied().unwrap_or(1).max(1) as usize;
    let rows = (tensor.shape.iter().product::<u64>() / columns as u64) as usize;
    let refuse = |what: &str| QuantizeError::Tensor(tensor.name.clone(), what.to_string());
    let (Some(encode), Some(decode), Some(row_len)) = (
        quant::encode(to),
        quant::decode(to),
        to.row_len(columns as u64),
    ) else {
        return Err(refuse(
            "its rows are not whole blocks of the type it is to have",
        ));
    };
    let row_len = row_len as usize;
    let batch = (BATCH / columns).clamp(1, rows.max(1));
    let reserved = |error: OutOfMemory| QuantizeError::Load(error.into());
    let mut values = filled(0.0, batch * columns).map_err(reserved)?;
    let mut again = filled(0.0, batch * columns).map_err(reserved)?;
    let mut bytes = filled(0, batch * row_len).map_err(reserved)?;
    let mut quality = Quality::default();
    for first in (0..rows).step_by(batch) {
        let count = batch.min(rows - first);
        let share = count.div_ceil(threads.max(1));
        let work = |first: usize, values: &mut [f32], bytes: &mut [u8], again: &mut [f32]| {
            input.read(tensor, first, values);
            if values.iter().any(|value| !value.is_finite()) {
                return Err(Unfit::NotFinite);
            }
            encode(values, bytes);
            decode(bytes, again);
            if again.iter().any(|value| !value.is_finite()) {
                // A scale that is too large spoils its whole block: the largest weight made it so.
                let pairs = values.iter().zip(&*again);
                let spoiled = pairs.filter(|(_, again)| !again.is_finite());
                let largest = spoiled.map(|(value, _)| *value);
                let largest = largest.max_by(|a, b| a.abs().total_cmp(&b.abs()));
                return Err(Unfit::TooLarge(largest.unwrap_or_default()));
            }
            let pairs = values.iter().zip(&*again);
            let quality = pairs.fold(Quality::default(), |quality, (&value, &again)| {
                let (value, error) = (f64::from(value), f64::from(value) - f64::from(again));
                quality.and(Quality {
                    error: error * error,
                    power: value * value,
                    worst: error.abs(),
                })
            });
            done.fetch_add(values.len() as u64, Ordering::Relaxed);
            Ok(quality)
        };
        let shares = values[..count * columns]
            .chunks_mut(share * columns)
            .zip(bytes[..count * row_len].chunks_mut(share * row_len))
            .zip(again[..count * columns].chunks_mut(share * columns));
        let results = Mutex::new(Vec::new());
        let shares = Mutex::new(shares.enumerate());
        let worker = || {
            let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some((index, ((values, bytes), again))) = next() {
                let result = work(first + index * share, values, bytes, again);
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                results.push((index, result));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..count.div_ceil(share) {
                // With as many as the system grants; this thread takes what is left.
                let _ = std::thread::Builder::new().spawn_scoped(scope, worker);
            }
            worker();
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Sums come out the same however the shares were taken.
        results.sort_unstable_by_key(|(index, _)| *index);
        for (_, result) in results {
            let share = result.map_err(|unfit| match unfit {
                Unfit::NotFinite => refuse(NOT_FINITE),
                Unfit::TooLarge(weight) => refuse(&format!(
                    "has the weight {weight:e}, which {} cannot hold; say --tensor-type {}={}",
                    to.name(),
                    tensor.name,
                    if to == DType::BF16 { "f32" } else { "bf16" }
                )),
            })?;
            quality = quality.and(share);
        }
        write(&bytes[..count * row_len])?;
    }
    Ok(quality)
}
