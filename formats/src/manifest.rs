//! What a model file says, checked: metadata and where each tensor's bytes lie.
//!
//! Every container (GGUF, safetensors, a Hugging Face folder) becomes a
//! [`Manifest`]; from there on nobody asks where the model came from.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

macro_rules! dtypes {
    ($($variant:ident, $id:literal, $name:literal, $block:literal, $bytes:literal;)*) => {
        /// How a tensor's elements are stored, with GGUF's type ids.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[allow(missing_docs, non_camel_case_types)]
        pub enum DType { $($variant,)* }

        impl DType {
            /// Every known type, in the order of its GGUF id.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];

            /// GGUF's number for this type.
            pub const fn id(self) -> u32 { match self { $(DType::$variant => $id,)* } }

            /// The name users know: `Q4_K`, `F16`.
            pub const fn name(self) -> &'static str { match self { $(DType::$variant => $name,)* } }

            /// Elements in one block; a row's length is a multiple of it.
            pub const fn block_elements(self) -> u64 { match self { $(DType::$variant => $block,)* } }

            /// Bytes of one block.
            pub const fn block_len(self) -> u64 { match self { $(DType::$variant => $bytes,)* } }

            /// The type with this GGUF number.
            pub const fn from_id(id: u32) -> Option<DType> {
                match id { $($id => Some(DType::$variant),)* _ => None }
            }
        }
    };
}

dtypes! {
    F32, 0, "F32", 1, 4;
    F16, 1, "F16", 1, 2;
    Q4_0, 2, "Q4_0", 32, 18;
    Q4_1, 3, "Q4_1", 32, 20;
    Q5_0, 6, "Q5_0", 32, 22;
    Q5_1, 7, "Q5_1", 32, 24;
    Q8_0, 8, "Q8_0", 32, 34;
    Q8_1, 9, "Q8_1", 32, 36;
    Q2_K, 10, "Q2_K", 256, 84;
    Q3_K, 11, "Q3_K", 256, 110;
    Q4_K, 12, "Q4_K", 256, 144;
    Q5_K, 13, "Q5_K", 256, 176;
    Q6_K, 14, "Q6_K", 256, 210;
    Q8_K, 15, "Q8_K", 256, 292;
    IQ2_XXS, 16, "IQ2_XXS", 256, 66;
    IQ2_XS, 17, "IQ2_XS", 256, 74;
    IQ3_XXS, 18, "IQ3_XXS", 256, 98;
    IQ1_S, 19, "IQ1_S", 256, 50;
    IQ4_NL, 20, "IQ4_NL", 32, 18;
    IQ3_S, 21, "IQ3_S", 256, 110;
    IQ2_S, 22, "IQ2_S", 256, 82;
    IQ4_XS, 23, "IQ4_XS", 256, 136;
    I8, 24, "I8", 1, 1;
    I16, 25, "I16", 1, 2;
    I32, 26, "I32", 1, 4;
    I64, 27, "I64", 1, 8;
    F64, 28, "F64", 1, 8;
    IQ1_M, 29, "IQ1_M", 256, 56;
    BF16, 30, "BF16", 1, 2;
    TQ1_0, 34, "TQ1_0", 256, 54;
    TQ2_0, 35, "TQ2_0", 256, 66;
    MXFP4, 39, "MXFP4", 32, 17;
    NVFP4, 40, "NVFP4", 64, 36;
    Q1_0, 41, "Q1_0", 128, 18;
    Q2_0, 42, "Q2_0", 64, 18;
}

impl DType {
    /// Bytes of `elements` in a row: `None` if the row is not whole blocks or the size overflows.
    pub fn row_len(self, elements: u64) -> Option<u64> {
        if elements % self.block_elements() != 0 {
            return None;
        }
        (elements / self.block_elements()).checked_mul(self.block_len())
    }
}

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
    /// Tensors by name.
    pub tensors: BTreeMap<String, TensorInfo>,
}

/// Key–value pairs, typed as in GGUF.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(pub BTreeMap<String, Value>);

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Array(Array),
}

/// A homogeneous array, stored flat: a vocabulary of 128,000 strings is one allocation of text.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Strings),
    /// Arrays of arrays.
    Array(Vec<Array>),
}

/// Many strings in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    text: Vec<u8>,
    ends: Vec<u64>,
}

impl Strings {
    /// Appends one string. GGUF vocabularies may hold bytes that are not UTF-8.
    pub fn push(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.ends.push(self.text.len() as u64);
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string at `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// All strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl Metadata {
    /// The value under `key`.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// An unsigned number of any stored integer width, if it is not negative.
    pub fn u64(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::U8(v) => Some(u64::from(*v)),
            Value::U16(v) => Some(u64::from(*v)),
            Value::U32(v) => Some(u64::from(*v)),
            Value::U64(v) => Some(*v),
            Value::I8(v) => u64::try_from(*v).ok(),
            Value::I16(v) => u64::try_from(*v).ok(),
            Value::I32(v) => u64::try_from(*v).ok(),
            Value::I64(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// A number as a float, whatever it is stored as.
    pub fn f64(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            Value::F32(v) => Some(f64::from(*v)),
            Value::F64(v) => Some(*v),
            Value::I8(v) => Some(f64::from(*v)),
            Value::I16(v) => Some(f64::from(*v)),
            Value::I32(v) => Some(f64::from(*v)),
            Value::I64(v) => Some(*v as f64),
            _ => self.u64(key).map(|v| v as f64),
        }
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(v) => Some(*v),
            _ => None,
        }
    }

    /// A string.
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            Value::String(v) => Some(v),
            _ => None,
        }
    }

    /// An array.
    pub fn array(&self, key: &str) -> Option<&Array> {
        match self.value(key)? {
            Value::Array(v) => Some(v),
            _ => None,
        }
    }
}
