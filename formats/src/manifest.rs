//! What a model file says, checked: metadata and where each tensor's bytes lie.
//!
//! Every container (GGUF, safetensors, a Hugging Face folder) becomes a
//! [`Manifest`]; from there on nobody asks where the model came from.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

pub use crate::dtype::DType;
pub use crate::metadata::{Array, Blank, Metadata, MetadataValue, NestedArrays, Strings};

/// A tensor's extents, outermost first (a matrix is `[rows, columns]`, a row is contiguous).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Shape(pub Vec<u64>);

impl Shape {
    /// Number of elements, or `None` on overflow. A scalar (no extents) has one.
    pub fn elements(&self) -> Option<u64> {
        self.0
            .iter()
            .try_fold(1u64, |product, &extent| product.checked_mul(extent))
    }

    /// The innermost extent (a scalar's is one).
    pub fn columns(&self) -> u64 {
        self.0.last().copied().unwrap_or(1)
    }
}

/// Where one tensor's bytes lie. The range has been checked against the file's length and
/// against `dtype` and `shape`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// How elements are stored.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Shape,
    /// Which of the model's files holds it (shards and splits count from zero).
    pub file: u32,
    /// Byte range in that file.
    pub range: Range<u64>,
}

/// A tensor in an element type that no kernel reads. Its range lies within the file; where the
/// type's width is known, it has been checked against the shape as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignTensor {
    /// What the file calls the type.
    pub dtype: String,
    /// Extents, outermost first.
    pub shape: Shape,
    /// Which of the model's files holds it.
    pub file: u32,
    /// Byte range in that file.
    pub range: Range<u64>,
}

/// A tensor to write.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Unique within the file.
    pub name: String,
    /// How elements are stored; safetensors lacks quantized types.
    pub dtype: DType,
    /// Extents, outermost first; GGUF has none of zero.
    pub shape: Shape,
}

/// What has names, as a map whose nodes are full; of a name that comes twice, both.
pub(crate) fn by_name<T>(
    mut list: Vec<(String, T)>,
) -> Result<BTreeMap<String, T>, (String, [T; 2])> {
    list.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    let mut pairs = list.iter().zip(list.iter().skip(1));
    if let Some(at) = pairs.position(|(left, right)| left.0 == right.0) {
        let mut both = list.drain(at..).take(2);
        if let (Some((name, first)), Some((_, second))) = (both.next(), both.next()) {
            return Err((name, [first, second]));
        }
    }
    Ok(list.into_iter().collect())
}

/// Which kind of container the model came in: decides the names its tensors and
/// hyperparameters have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// GGUF: names are canonical already.
    Gguf,
    /// A Hugging Face folder: names go through the architecture's table.
    HuggingFace,
}

/// A model as its files describe it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// `general.architecture` or `model_type`.
    pub architecture: String,
    /// Where names come from.
    pub container: Container,
    /// Hyperparameters and everything else the file says about itself.
    pub metadata: Metadata,
    /// Keys of a `config.json` that are there without a value.
    pub blanks: BTreeMap<String, Blank>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// Tensors that are there in an element type no kernel reads: harmless until one of them is
    /// asked for. Only safetensors files have any.
    pub unsupported: BTreeMap<String, ForeignTensor>,
    /// Tensors that an index promises and its shard lacks, with the shard's name: harmless until
    /// one of them is asked for.
    pub lacking: BTreeMap<String, String>,
}
