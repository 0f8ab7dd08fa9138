//! What a file says about itself, typed: key–value pairs.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;

use crate::error::FormatError;
use crate::reserve;

/// Key–value pairs, typed as in GGUF.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(pub BTreeMap<String, MetadataValue>);

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum MetadataValue {
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

/// What stands under a key of a configuration in place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    /// `null`.
    Null,
    /// An object without entries.
    Object,
}

impl MetadataValue {
    /// What the value is, as errors call it.
    pub fn type_name(&self) -> &'static str {
        match self {
            MetadataValue::U8(_) => "a u8",
            MetadataValue::I8(_) => "an i8",
            MetadataValue::U16(_) => "a u16",
            MetadataValue::I16(_) => "an i16",
            MetadataValue::U32(_) => "a u32",
            MetadataValue::I32(_) => "an i32",
            MetadataValue::U64(_) => "a u64",
            MetadataValue::I64(_) => "an i64",
            MetadataValue::F32(_) => "an f32",
            MetadataValue::F64(_) => "an f64",
            MetadataValue::Bool(_) => "a truth value",
            MetadataValue::String(_) => "a string",
            MetadataValue::Array(_) => "an array",
        }
    }
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
    Array(NestedArrays),
}

impl Array {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(v) => v.len(),
            Array::I8(v) => v.len(),
            Array::U16(v) => v.len(),
            Array::I16(v) => v.len(),
            Array::U32(v) => v.len(),
            Array::I32(v) => v.len(),
            Array::U64(v) => v.len(),
            Array::I64(v) => v.len(),
            Array::F32(v) => v.len(),
            Array::F64(v) => v.len(),
            Array::Bool(v) => v.len(),
            Array::String(v) => v.len(),
            Array::Array(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index` as an unsigned number, if it is a whole one and not negative.
    pub fn u64(&self, index: usize) -> Option<u64> {
        match self {
            Array::U8(v) => v.get(index).map(|v| u64::from(*v)),
            Array::U16(v) => v.get(index).map(|v| u64::from(*v)),
            Array::U32(v) => v.get(index).map(|v| u64::from(*v)),
            Array::U64(v) => v.get(index).copied(),
            Array::I8(v) => u64::try_from(*v.get(index)?).ok(),
            Array::I16(v) => u64::try_from(*v.get(index)?).ok(),
            Array::I32(v) => u64::try_from(*v.get(index)?).ok(),
            Array::I64(v) => u64::try_from(*v.get(index)?).ok(),
            _ => None,
        }
    }

    /// The element at `index` as a float, whatever number it is stored as.
    pub fn f64(&self, index: usize) -> Option<f64> {
        match self {
            Array::F32(v) => v.get(index).map(|v| f64::from(*v)),
            Array::F64(v) => v.get(index).copied(),
            Array::I8(v) => v.get(index).map(|v| f64::from(*v)),
            Array::I16(v) => v.get(index).map(|v| f64::from(*v)),
            Array::I32(v) => v.get(index).map(|v| f64::from(*v)),
            Array::I64(v) => v.get(index).map(|v| *v as f64),
            _ => self.u64(index).map(|v| v as f64),
        }
    }

    /// The strings, if it is an array of strings.
    pub fn strings(&self) -> Option<&Strings> {
        match self {
            Array::String(v) => Some(v),
            _ => None,
        }
    }
}

/// Arrays in an array, which no key that is read has: checked, counted, and kept as the file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NestedArrays {
    pub(crate) count: usize,
    /// Of each array the type of its elements, their number and themselves, as in GGUF.
    pub(crate) bytes: Vec<u8>,
}

impl NestedArrays {
    /// How many arrays there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The arrays as GGUF writes them, one behind the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Many strings in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    text: Vec<u8>,
    ends: Vec<u64>,
}

impl Strings {
    /// Room for `count` strings of `text_len` bytes together.
    pub(crate) fn with_room(
        count: usize,
        text_len: usize,
        what: &dyn Display,
    ) -> Result<Strings, FormatError> {
        Ok(Strings {
            text: reserve::list(text_len, what)?,
            ends: reserve::list(count, what)?,
        })
    }

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
        let end = usize::try_from(*self.ends.get(index)?).ok()?;
        let start = match index.checked_sub(1) {
            Some(before) => usize::try_from(*self.ends.get(before)?).ok()?,
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
    pub fn value(&self, key: &str) -> Option<&MetadataValue> {
        self.0.get(key)
    }

    /// An unsigned number of any stored integer width, if it is not negative.
    pub fn u64(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            MetadataValue::U8(v) => Some(u64::from(*v)),
            MetadataValue::U16(v) => Some(u64::from(*v)),
            MetadataValue::U32(v) => Some(u64::from(*v)),
            MetadataValue::U64(v) => Some(*v),
            MetadataValue::I8(v) => u64::try_from(*v).ok(),
            MetadataValue::I16(v) => u64::try_from(*v).ok(),
            MetadataValue::I32(v) => u64::try_from(*v).ok(),
            MetadataValue::I64(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// A number as a float, whatever it is stored as.
    pub fn f64(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            MetadataValue::F32(v) => Some(f64::from(*v)),
            MetadataValue::F64(v) => Some(*v),
            MetadataValue::I8(v) => Some(f64::from(*v)),
            MetadataValue::I16(v) => Some(f64::from(*v)),
            MetadataValue::I32(v) => Some(f64::from(*v)),
            MetadataValue::I64(v) => Some(*v as f64),
            _ => self.u64(key).map(|v| v as f64),
        }
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            MetadataValue::Bool(v) => Some(*v),
            _ => None,
        }
    }

    /// A string.
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            MetadataValue::String(v) => Some(v),
            _ => None,
        }
    }

    /// An array.
    pub fn array(&self, key: &str) -> Option<&Array> {
        match self.value(key)? {
            MetadataValue::Array(v) => Some(v),
            _ => None,
        }
    }
}
