//! safetensors: a little-endian length, a JSON header, data. Read as strictly as its reference
//! does: the tensors cover the data exactly, without holes or overlaps.

mod header;
mod index;
pub mod write;

pub use index::{ShardIndex, merge};

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::cursor::Cursor;
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::limits;
use crate::manifest::{DType, ForeignTensor, Shape, TensorInfo};
use header::Entry;

/// One safetensors file's header, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Safetensors {
    /// The free texts under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// Tensors in the header's order; ranges count from the file's start.
    pub tensors: Vec<(String, TensorInfo)>,
    /// Tensors of element types that no kernel reads: attention masks in `BOOL`, buffers in `U8`,
    /// small floats. Harmless until a model asks for one.
    pub unsupported: Vec<(String, ForeignTensor)>,
    /// Where tensor data begins.
    pub data_offset: u64,
}

/// Reads a whole safetensors file; `file` becomes each tensor's [`TensorInfo::file`].
///
/// ```
/// use rillm_formats::safetensors;
///
/// let header = br#"{"bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
/// let mut file = (header.len() as u64).to_le_bytes().to_vec();
/// file.extend(header);
/// file.extend([0.5f32, -1.0].map(f32::to_le_bytes).as_flattened());
///
/// let parsed = safetensors::parse(&file, 0)?;
/// let (name, tensor) = &parsed.tensors[0];
/// assert_eq!((name.as_str(), &tensor.shape.0[..]), ("bias", &[2][..]));
/// assert_eq!(tensor.range.end, file.len() as u64);
/// # Ok::<(), rillm_formats::FormatError>(())
/// ```
///
/// # Errors
/// Every malformation: a header longer than the file or 100 MB, what is not JSON of the right
/// form, names twice, ranges that disagree with type and shape or leave holes, overlap, or do not
/// end where the file ends.
pub fn parse(bytes: &[u8], file: u32) -> Result<Safetensors, FormatError> {
    parse_header(bytes, Some(bytes.len() as u64), file)
}

/// [`parse`] for callers that do not map the file: `bytes` is its beginning, `file_len` the
/// length of the whole, if it is known: without it data ends where the last tensor does.
///
/// # Errors
/// As [`parse`]; `ErrorKind::Truncated` if the header does not end within `bytes`.
pub fn parse_header(
    bytes: &[u8],
    file_len: Option<u64>,
    file: u32,
) -> Result<Safetensors, FormatError> {
    let mut cursor = Cursor::new(bytes);
    let len = cursor.u64(&"the length of the safetensors header")?;
    if len > limits::SAFETENSORS_HEADER_LEN {
        return Err(FormatError::new(
            ErrorKind::Limit,
            Some(0),
            format!(
                "not a safetensors file, or a hostile one: its header claims {len} bytes, at most \
                 {} are accepted",
                limits::SAFETENSORS_HEADER_LEN
            ),
        ));
    }
    let start = cursor.offset();
    let text = cursor.take(len, &"the safetensors header")?;
    if text.first() != Some(&b'{') {
        return Err(FormatError::new(
            ErrorKind::Foreign,
            Some(start),
            format!(
                "not a safetensors file: expected the header to begin with \"{{\", found \"{}\"",
                text.get(..1).unwrap_or_default().escape_ascii()
            ),
        ));
    }
    let (entries, metadata) = header::read(text, start)?;
    let data_offset = cursor.offset();
    let last = entries.iter().map(|entry| entry.range.end).max();
    let data_len = match file_len {
        Some(len) => len.saturating_sub(data_offset),
        None => last.unwrap_or(0),
    };
    expect_coverage(&entries, data_len)?;

    let mut unsupported = Vec::new();
    // In place: of many entries two lists would be felt.
    let tensors = entries.into_iter().filter_map(|entry| {
        if let Err(error) = entry.expect_len() {
            return Some(Err(error));
        }
        // In the file, for coverage has been proved.
        let place = |offset: u64| data_offset.saturating_add(offset);
        let range = place(entry.range.start)..place(entry.range.end);
        let shape = Shape(entry.shape);
        match entry.dtype {
            Ok(dtype) => {
                let info = TensorInfo {
                    dtype,
                    shape,
                    file,
                    range,
                };
                Some(Ok((entry.name, info)))
            }
            Err(dtype) => {
                let foreign = ForeignTensor {
                    dtype,
                    shape,
                    file,
                    range,
                };
                unsupported.push((entry.name, foreign));
                None
            }
        }
    });
    Ok(Safetensors {
        metadata,
        tensors: tensors.collect::<Result<_, FormatError>>()?,
        unsupported,
        data_offset,
    })
}

/// Names twice, holes, overlaps, bytes left over or missing.
fn expect_coverage(entries: &[Entry], data_len: u64) -> Result<(), FormatError> {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for (first, second) in order.iter().zip(order.iter().skip(1)) {
        if first.name == second.name {
            return Err(FormatError::new(
                ErrorKind::Duplicate,
                None,
                format!("tensor {} appears twice", Quoted(&first.name)),
            ));
        }
    }
    order.sort_unstable_by_key(|entry| (entry.range.start, entry.range.end));
    let mut covered = 0;
    for entry in order {
        let Range { start, end } = entry.range;
        let refuse = |what| {
            let name = Quoted(&entry.name);
            let what = format!("tensor {name} has data_offsets [{start}, {end}], {what}");
            Err(FormatError::new(ErrorKind::Range, None, what))
        };
        if end < start {
            return refuse(String::from("which are reversed"));
        }
        if start < covered {
            return refuse(format!("overlapping the tensor that ends at {covered}"));
        }
        if start > covered {
            return refuse(format!("leaving a hole after {covered}"));
        }
        if end > data_len {
            return refuse(format!(
                "the file has only {data_len} bytes of data: it is cut short or damaged"
            ));
        }
        covered = end;
    }
    if covered != data_len {
        return Err(FormatError::new(
            ErrorKind::Range,
            None,
            format!("the tensors cover {covered} bytes of data, the file has {data_len}"),
        ));
    }
    Ok(())
}

impl DType {
    /// The type safetensors calls so, if it is one that is read.
    pub fn from_safetensors(name: &str) -> Option<DType> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(dtype, _)| *dtype)
    }

    /// What safetensors calls the type, if it has it.
    pub fn safetensors_name(self) -> Option<&'static str> {
        let found = NAMES.iter().find(|(dtype, _)| *dtype == self);
        found.map(|(_, name)| *name)
    }
}

const NAMES: &[(DType, &str)] = &[
    (DType::F64, "F64"),
    (DType::F32, "F32"),
    (DType::F16, "F16"),
    (DType::BF16, "BF16"),
    (DType::I64, "I64"),
    (DType::I32, "I32"),
    (DType::I16, "I16"),
    (DType::I8, "I8"),
];
