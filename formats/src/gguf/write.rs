//! Writing GGUF version 3: a header made in memory, then the tensors' data, streamed by the
//! caller with the padding the layout names.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use super::tensors::{align, byte_len};
use super::value::id;
use super::{MAGIC, alignment};
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::limits;
use crate::manifest::{Array, Metadata, MetadataValue};

pub use crate::manifest::TensorSpec;

/// Where everything goes. A writer puts out `header`, then for each tensor its bytes and
/// [`FileLayout::padding`]; so files of any size need no more memory than the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLayout {
    /// The file up to its data, padding included.
    pub header: Vec<u8>,
    /// Each tensor's byte range in the file, in the given order.
    pub ranges: Vec<Range<u64>>,
    /// Bytes of the whole file. The last tensor is padded as well.
    pub file_len: u64,
}

impl FileLayout {
    /// Zero bytes that follow the tensor at `index`.
    pub fn padding(&self, index: usize) -> u64 {
        let end = self.ranges.get(index).map_or(0, |range| range.end);
        let next = index.checked_add(1).and_then(|next| self.ranges.get(next));
        let next = next.map_or(self.file_len, |range| range.start);
        next.saturating_sub(end)
    }
}

/// Lays out a file with these keys and tensors. The alignment is the metadata's
/// `general.alignment`, 32 without it.
///
/// # Errors
/// Whatever [`super::parse`] would refuse in the result: names empty, too long or there twice,
/// too many extents, an extent of zero, rows that are not whole blocks, a bad alignment, arrays
/// nested too deep.
pub fn layout(metadata: &Metadata, tensors: &[TensorSpec]) -> Result<FileLayout, FormatError> {
    let alignment = alignment(metadata)?;
    let mut header = Vec::new();
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&3u32.to_le_bytes());
    push_count(&mut header, tensors.len(), limits::TENSORS, "tensors")?;
    push_count(&mut header, metadata.0.len(), limits::KEYS, "keys")?;
    for (key, value) in &metadata.0 {
        push_name(&mut header, key, limits::KEY_LEN, "key")?;
        push_value(&mut header, key, value)?;
    }
    let mut names = BTreeSet::new();
    let mut ranges = Vec::with_capacity(tensors.len());
    let mut end = 0u64;
    for tensor in tensors {
        if !names.insert(tensor.name.as_str()) {
            return Err(refuse(&tensor.name, ErrorKind::Duplicate, "appears twice"));
        }
        let start = end;
        let len = push_tensor(&mut header, tensor, start)?;
        end = start
            .checked_add(len)
            .and_then(|end| align(end, alignment))
            .ok_or_else(|| refuse(&tensor.name, ErrorKind::Range, "ends beyond 2^64"))?;
        ranges.push(start..start.saturating_add(len));
    }
    let beyond = || {
        FormatError::new(
            ErrorKind::Range,
            None,
            String::from("the file exceeds 2^64"),
        )
    };
    let data_offset = align(header.len() as u64, alignment).ok_or_else(beyond)?;
    let file_len = data_offset.checked_add(end).ok_or_else(beyond)?;
    header.resize(usize::try_from(data_offset).map_err(|_| beyond())?, 0);
    for range in &mut ranges {
        // Below `file_len`, which did not overflow.
        *range = range.start.saturating_add(data_offset)..range.end.saturating_add(data_offset);
    }
    Ok(FileLayout {
        header,
        ranges,
        file_len,
    })
}

/// A whole file in memory: keys, and tensors with their bytes.
///
/// ```
/// use rillm_formats::gguf::{self, write::{TensorSpec, to_bytes}};
/// use rillm_formats::manifest::{DType, Metadata, MetadataValue, Shape};
///
/// let name = MetadataValue::String("llama".into());
/// let metadata = Metadata([("general.architecture".to_owned(), name)].into());
/// let spec = TensorSpec {
///     name: "output_norm.weight".to_owned(),
///     dtype: DType::F32,
///     shape: Shape(vec![2]),
/// };
/// let values = [1.0f32, 2.0].map(f32::to_le_bytes);
/// let file = to_bytes(&metadata, &[(spec, values.as_flattened())])?;
/// assert_eq!(gguf::merge(vec![gguf::parse(&file, 0)?])?.tensors.len(), 1);
/// # Ok::<(), rillm_formats::FormatError>(())
/// ```
///
/// # Errors
/// As [`layout`], and bytes of another length than type and shape say.
pub fn to_bytes(
    metadata: &Metadata,
    tensors: &[(TensorSpec, &[u8])],
) -> Result<Vec<u8>, FormatError> {
    let specs: Vec<TensorSpec> = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    let layout = layout(metadata, &specs)?;
    let mut bytes = layout.header.clone();
    for (index, ((spec, data), range)) in tensors.iter().zip(&layout.ranges).enumerate() {
        let len = range.end.saturating_sub(range.start);
        if data.len() as u64 != len {
            return Err(refuse(
                &spec.name,
                ErrorKind::Range,
                &format!("takes {len} bytes, {} were given", data.len()),
            ));
        }
        bytes.extend_from_slice(data);
        let padding = usize::try_from(layout.padding(index)).unwrap_or(0);
        bytes.resize(bytes.len().saturating_add(padding), 0);
    }
    Ok(bytes)
}

fn refuse(tensor: &str, kind: ErrorKind, what: &str) -> FormatError {
    FormatError::new(kind, None, format!("tensor {} {what}", Quoted(tensor)))
}

fn push_count(
    header: &mut Vec<u8>,
    count: usize,
    limit: u64,
    what: &str,
) -> Result<(), FormatError> {
    if count as u64 > limit {
        return Err(FormatError::new(
            ErrorKind::Limit,
            None,
            format!("{count} {what}, at most {limit} are accepted"),
        ));
    }
    header.extend_from_slice(&(count as u64).to_le_bytes());
    Ok(())
}

fn push_name(header: &mut Vec<u8>, name: &str, limit: u64, what: &str) -> Result<(), FormatError> {
    let len = name.len() as u64;
    if len == 0 || len > limit {
        return Err(FormatError::new(
            ErrorKind::Limit,
            None,
            format!(
                "{what} {} has {len} bytes, expected 1 to {limit}",
                Quoted(name)
            ),
        ));
    }
    push_string(header, name.as_bytes());
    Ok(())
}

fn push_string(header: &mut Vec<u8>, text: &[u8]) {
    header.extend_from_slice(&(text.len() as u64).to_le_bytes());
    header.extend_from_slice(text);
}

/// Appends one tensor's description; gives the bytes its data take.
fn push_tensor(header: &mut Vec<u8>, tensor: &TensorSpec, offset: u64) -> Result<u64, FormatError> {
    push_name(header, &tensor.name, limits::TENSOR_NAME_LEN, "tensor")?;
    let shape = &tensor.shape.0;
    let dimensions = u32::try_from(shape.len())
        .ok()
        .filter(|_| shape.len() <= limits::GGUF_DIMENSIONS)
        .ok_or_else(|| refuse(&tensor.name, ErrorKind::Limit, "has more than 4 dimensions"))?;
    let len = byte_len(tensor.dtype, &tensor.shape)
        .map_err(|why| refuse(&tensor.name, ErrorKind::Value, &why))?;
    header.extend_from_slice(&dimensions.to_le_bytes());
    // The contiguous extent goes first.
    for extent in shape.iter().rev() {
        header.extend_from_slice(&extent.to_le_bytes());
    }
    header.extend_from_slice(&tensor.dtype.id().to_le_bytes());
    header.extend_from_slice(&offset.to_le_bytes());
    Ok(len)
}

fn push_value(header: &mut Vec<u8>, key: &str, value: &MetadataValue) -> Result<(), FormatError> {
    let mut scalar = |kind: u32, bytes: &[u8]| {
        header.extend_from_slice(&kind.to_le_bytes());
        header.extend_from_slice(bytes);
    };
    match value {
        MetadataValue::U8(v) => scalar(id::U8, &v.to_le_bytes()),
        MetadataValue::I8(v) => scalar(id::I8, &v.to_le_bytes()),
        MetadataValue::U16(v) => scalar(id::U16, &v.to_le_bytes()),
        MetadataValue::I16(v) => scalar(id::I16, &v.to_le_bytes()),
        MetadataValue::U32(v) => scalar(id::U32, &v.to_le_bytes()),
        MetadataValue::I32(v) => scalar(id::I32, &v.to_le_bytes()),
        MetadataValue::U64(v) => scalar(id::U64, &v.to_le_bytes()),
        MetadataValue::I64(v) => scalar(id::I64, &v.to_le_bytes()),
        MetadataValue::F32(v) => scalar(id::F32, &v.to_le_bytes()),
        MetadataValue::F64(v) => scalar(id::F64, &v.to_le_bytes()),
        MetadataValue::Bool(v) => scalar(id::BOOL, &[u8::from(*v)]),
        MetadataValue::String(v) => {
            scalar(id::STRING, &[]);
            push_string(header, v.as_bytes());
        }
        MetadataValue::Array(array) => {
            scalar(id::ARRAY, &[]);
            push_array(header, key, array)?;
        }
    }
    Ok(())
}

fn push_array(header: &mut Vec<u8>, key: &str, array: &Array) -> Result<(), FormatError> {
    if array.len() as u64 > limits::ARRAY_ELEMENTS {
        let (key, len) = (Quoted(key), array.len());
        let what = format!("key {key} has an array of {len} elements");
        return Err(FormatError::new(ErrorKind::Limit, None, what));
    }
    let mut start = |kind: u32| {
        header.extend_from_slice(&kind.to_le_bytes());
        header.extend_from_slice(&(array.len() as u64).to_le_bytes());
    };
    macro_rules! numbers {
        ($kind:expr, $values:expr) => {{
            start($kind);
            for value in $values {
                header.extend_from_slice(&value.to_le_bytes());
            }
        }};
    }
    match array {
        Array::U8(values) => numbers!(id::U8, values),
        Array::I8(values) => numbers!(id::I8, values),
        Array::U16(values) => numbers!(id::U16, values),
        Array::I16(values) => numbers!(id::I16, values),
        Array::U32(values) => numbers!(id::U32, values),
        Array::I32(values) => numbers!(id::I32, values),
        Array::U64(values) => numbers!(id::U64, values),
        Array::I64(values) => numbers!(id::I64, values),
        Array::F32(values) => numbers!(id::F32, values),
        Array::F64(values) => numbers!(id::F64, values),
        Array::Bool(values) => {
            start(id::BOOL);
            header.extend(values.iter().map(|value| u8::from(*value)));
        }
        Array::String(values) => {
            start(id::STRING);
            for text in values.iter() {
                push_string(header, text);
            }
        }
        Array::Array(arrays) => {
            start(id::ARRAY);
            header.extend_from_slice(arrays.bytes());
        }
    }
    Ok(())
}
