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
mod write;

pub use crate::convert::Draft;
pub use mix::{MIXES, Mix, UnknownMix};
pub use write::{Quality, write};

use crate::convert::DraftTensor;
use crate::error::{LoadError, OneLine};
use crate::quant;
use crate::setters::setters;
use mix::Choice;
use rillm_formats::gguf::write::{FileLayout, TensorSpec, layout};
use rillm_formats::manifest::{DType, Metadata, MetadataValue, Shape};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

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
            QuantizeError::Tensor(name, what) => {
                write!(f, "tensor {}: {}", OneLine(name), OneLine(what))
            }
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
    metadata: Metadata,
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
        let metadata = described(&input.metadata, options.mix);
        let layout = layout(&metadata, &specs).map_err(|error| {
            LoadError::new(crate::error::LoadErrorKind::Format, error.to_string())
        })?;
        Ok(QuantizePlan {
            tensors,
            layout,
            metadata,
        })
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
        let range = self.range(index);
        range.end - range.start
    }

    /// Where the tensor at `index` will lie.
    pub(crate) fn range(&self, index: usize) -> Range<u64> {
        self.layout.ranges[index].clone()
    }

    /// The keys of the file.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
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
