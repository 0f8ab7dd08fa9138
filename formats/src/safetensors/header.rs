//! The JSON header, streamed into a list of entries.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::{ErrorKind, FormatError, Quoted};
use crate::json::{self, Context, Text, Unsigned};
use crate::limits;
use crate::manifest::DType;

/// One tensor as the header has it.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    /// The type, or the name of one that is not read.
    pub dtype: Result<DType, String>,
    pub shape: Vec<u64>,
    /// `data_offsets`, which may be reversed.
    pub range: Range<u64>,
}

impl Entry {
    /// Holds the range against type and shape, if the type's width is known.
    pub(super) fn expect_len(&self) -> Result<(), FormatError> {
        let name = Quoted(&self.name);
        let (dtype, width) = match &self.dtype {
            Ok(dtype) => (
                dtype.safetensors_name().unwrap_or_default(),
                dtype.block_len(),
            ),
            Err(dtype) => match width(dtype) {
                Some(width) => (dtype.as_str(), width),
                None => return Ok(()),
            },
        };
        let refuse = |kind, what| {
            let what = format!("tensor {name} of type {dtype} {:?} {what}", self.shape);
            Err(FormatError::new(kind, None, what))
        };
        let len = elements(&self.shape).and_then(|elements| elements.checked_mul(width));
        let Some(len) = len else {
            return refuse(ErrorKind::Value, String::from("takes more than 2^64 bytes"));
        };
        let found = self.range.end.saturating_sub(self.range.start);
        if found != len {
            return refuse(
                ErrorKind::Range,
                format!("takes {len} bytes, its data_offsets hold {found}"),
            );
        }
        Ok(())
    }
}

/// The product, where a zero anywhere makes the whole empty before anything overflows.
pub(super) fn elements(shape: &[u64]) -> Option<u64> {
    match shape.contains(&0) {
        true => Some(0),
        false => shape
            .iter()
            .try_fold(1u64, |product, &extent| product.checked_mul(extent)),
    }
}

/// Bytes of one element of a type that is not read, `None` for types that share bytes or are not known.
fn width(dtype: &str) -> Option<u64> {
    match dtype {
        "BOOL" | "U8" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => Some(1),
        "U16" => Some(2),
        "U32" => Some(4),
        "U64" | "C64" => Some(8),
        _ => None,
    }
}

/// Longest name of a type.
const DTYPE_LEN: u64 = 32;

type HeaderParts = (Vec<Entry>, BTreeMap<String, String>);

/// Reads the header `text`, which lies at `base` in the file.
pub(super) fn read(text: &[u8], base: u64) -> Result<HeaderParts, FormatError> {
    let context = Context::default();
    let visitor = HeaderVisitor { context: &context };
    json::parse(text, base, "safetensors header", &context, visitor)
}

struct HeaderVisitor<'a> {
    context: &'a Context,
}

impl<'de> DeserializeSeed<'de> for HeaderVisitor<'_> {
    type Value = HeaderParts;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<HeaderParts, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = HeaderParts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderParts, A::Error> {
        let context = self.context;
        let mut entries = Vec::new();
        let mut metadata = None;
        let name_seed = || Text {
            context,
            limit: limits::TENSOR_NAME_LEN,
            what: &"a tensor's name",
        };
        while let Some(name) = map.next_key_seed(name_seed())? {
            if name == "__metadata__" {
                let texts = map.next_value_seed(TextsVisitor { context })?;
                if metadata.replace(texts).is_some() {
                    let what = "key \"__metadata__\" appears twice";
                    return Err(context.refuse(ErrorKind::Duplicate, what));
                }
                continue;
            }
            if entries.len() as u64 >= limits::TENSORS {
                let what = format!("more than {} tensors", limits::TENSORS);
                return Err(context.refuse(ErrorKind::Limit, what));
            }
            let visitor = EntryVisitor { context, name };
            entries.push(map.next_value_seed(visitor)?);
        }
        Ok((entries, metadata.unwrap_or_default()))
    }
}

/// `__metadata__`: an object of strings.
struct TextsVisitor<'a> {
    context: &'a Context,
}

impl<'de> DeserializeSeed<'de> for TextsVisitor<'_> {
    type Value = BTreeMap<String, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TextsVisitor<'_> {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key \"__metadata__\" to be an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let context = self.context;
        let mut texts = BTreeMap::new();
        let key_seed = || Text {
            context,
            limit: limits::KEY_LEN,
            what: &"a key of \"__metadata__\"",
        };
        while let Some(key) = map.next_key_seed(key_seed())? {
            if texts.len() as u64 >= limits::KEYS {
                let what = format!("\"__metadata__\" has more than {} keys", limits::KEYS);
                return Err(context.refuse(ErrorKind::Limit, what));
            }
            let text = map.next_value_seed(Text {
                context,
                limit: limits::STRING_LEN,
                what: &format_args!("key {} of \"__metadata__\"", Quoted(&key)),
            })?;
            match texts.entry(key) {
                btree_map::Entry::Vacant(entry) => entry.insert(text),
                btree_map::Entry::Occupied(entry) => {
                    let key = Quoted(entry.key());
                    let what = format!("key {key} of \"__metadata__\" appears twice");
                    return Err(context.refuse(ErrorKind::Duplicate, what));
                }
            };
        }
        Ok(texts)
    }
}

/// One tensor's object.
struct EntryVisitor<'a> {
    context: &'a Context,
    name: String,
}

impl<'de> DeserializeSeed<'de> for EntryVisitor<'_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntryVisitor<'_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tensor {} to be an object with dtype, shape and data_offsets",
            Quoted(&self.name)
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let EntryVisitor { context, name } = self;
        let quoted = Quoted(&name);
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        let field_seed = || Text {
            context,
            limit: limits::KEY_LEN,
            what: &"a tensor's key",
        };
        while let Some(field) = map.next_key_seed(field_seed())? {
            let twice = match field.as_str() {
                "dtype" => {
                    let seed = Text {
                        context,
                        limit: DTYPE_LEN,
                        what: &format_args!("the dtype of tensor {quoted}"),
                    };
                    dtype.replace(map.next_value_seed(seed)?).is_some()
                }
                "shape" => {
                    let seed = NumbersVisitor {
                        context,
                        limit: limits::SAFETENSORS_DIMENSIONS,
                        what: &format_args!("the shape of tensor {quoted}"),
                    };
                    shape.replace(map.next_value_seed(seed)?).is_some()
                }
                "data_offsets" => {
                    let seed = NumbersVisitor {
                        context,
                        limit: 2,
                        what: &format_args!("the data_offsets of tensor {quoted}"),
                    };
                    offsets.replace(map.next_value_seed(seed)?).is_some()
                }
                _ => {
                    let field = Quoted(&field);
                    let what = format!(
                        "tensor {quoted} has the key {field}, expected dtype, shape, data_offsets"
                    );
                    return Err(context.refuse(ErrorKind::Value, what));
                }
            };
            if twice {
                let what = format!("tensor {quoted} has the key {} twice", Quoted(&field));
                return Err(context.refuse(ErrorKind::Duplicate, what));
            }
        }
        let missing = |field| {
            let what = format!("tensor {quoted} has no {field}");
            context.refuse::<A::Error>(ErrorKind::Missing, what)
        };
        let dtype: String = dtype.ok_or_else(|| missing("dtype"))?;
        let mut shape = shape.ok_or_else(|| missing("shape"))?;
        shape.shrink_to_fit();
        let range = match offsets.ok_or_else(|| missing("data_offsets"))?.as_slice() {
            [start, end] => *start..*end,
            _ => return Err(missing("pair of data_offsets")),
        };
        Ok(Entry {
            name,
            dtype: DType::from_safetensors(&dtype).ok_or(dtype),
            shape,
            range,
        })
    }
}

/// An array of at most `limit` whole numbers.
struct NumbersVisitor<'a> {
    context: &'a Context,
    limit: usize,
    what: &'a dyn fmt::Display,
}

impl<'de> DeserializeSeed<'de> for NumbersVisitor<'_> {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for NumbersVisitor<'_> {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be an array of whole numbers", self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = seq.next_element_seed(Unsigned { what: self.what })? {
            if numbers.len() >= self.limit {
                let what = format!("{} has more than {} numbers", self.what, self.limit);
                return Err(self.context.refuse(ErrorKind::Limit, what));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}
