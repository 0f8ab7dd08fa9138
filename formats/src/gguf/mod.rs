//! GGUF, the container of quantized models: magic, version, counts, key–value pairs, tensor
//! infos, padding, data. Versions 2 and 3 in little-endian order are read.

mod split;
mod tensors;
mod value;
pub mod write;

pub use split::{Split, merge, split_names};

use alloc::borrow::ToOwned;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cursor::{Cursor, Endian};
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::limits;
use crate::manifest::{Metadata, TensorInfo};

/// The key that holds the alignment of tensor data.
pub const ALIGNMENT_KEY: &str = "general.alignment";
/// The key that names the architecture.
pub const ARCHITECTURE_KEY: &str = "general.architecture";
/// The alignment of files that do not say.
pub const DEFAULT_ALIGNMENT: u64 = 32;

const MAGIC: [u8; 4] = *b"GGUF";

/// One GGUF file's header, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf {
    /// 2 or 3; they differ in nothing that is read here.
    pub version: u32,
    /// Bytes to whose multiples tensors are aligned within the data, a power of two.
    pub alignment: u64,
    /// Key–value pairs, as the file has them.
    pub metadata: Metadata,
    /// Tensors in the file's order; names are unique, ranges are in the file and disjoint.
    pub tensors: Vec<(String, TensorInfo)>,
    /// Where tensor data begins. In a file without tensors it may lie past the end.
    pub data_offset: u64,
    /// The file's place among the parts of a split model, if it is one.
    pub split: Option<Split>,
}

/// Reads a whole GGUF file; `file` becomes each tensor's [`TensorInfo::file`].
///
/// Memory stays below [`limits::MEMORY_FACTOR`] times the length.
///
/// # Errors
/// Another format, a version or byte order that is not read, and every malformation: the text
/// names key or tensor, the offset is that of the offending item.
pub fn parse(bytes: &[u8], file: u32) -> Result<Gguf, FormatError> {
    parse_header(bytes, Some(bytes.len() as u64), file)
}

/// [`parse`] for callers that do not map the file: `bytes` is its beginning, `file_len` the
/// length of the whole, if it is known: without it tensors may lie anywhere.
///
/// # Errors
/// As [`parse`]; `ErrorKind::Truncated` if the header does not end within `bytes`.
pub fn parse_header(bytes: &[u8], file_len: Option<u64>, file: u32) -> Result<Gguf, FormatError> {
    let (mut cursor, version) = preamble(bytes)?;
    let counts_at = cursor.offset();
    let tensors = cursor.u64(&"the tensor count")?;
    let keys = cursor.u64(&"the key count")?;
    check_counts(&cursor, counts_at, tensors, keys)?;

    let metadata = read_metadata(&mut cursor, keys)?;
    let alignment = alignment(&metadata)?;
    let split = split::split(&metadata)?;
    let table = tensors::Table {
        count: tensors,
        alignment,
        file,
        file_len,
    };
    let (tensors, data_offset) = table.read(&mut cursor)?;
    Ok(Gguf {
        version,
        alignment,
        metadata,
        tensors,
        data_offset,
        split,
    })
}

/// Magic and version.
fn preamble(bytes: &[u8]) -> Result<(Cursor<'_>, u32), FormatError> {
    let mut cursor = Cursor::new(bytes);
    let magic = cursor.take(4, &"the magic \"GGUF\"")?;
    if magic != MAGIC {
        // Predecessors wrote the magic as a little-endian number, hence backwards.
        let hint = match magic {
            b"lmgg" | b"fmgg" | b"tjgg" | b"algg" => {
                " (a ggml file older than GGUF: convert the original model again)"
            }
            _ => "",
        };
        return Err(FormatError::new(
            ErrorKind::Foreign,
            Some(0),
            format!(
                "not a GGUF file: expected the magic \"GGUF\", found \"{}\"{hint}",
                magic.escape_ascii()
            ),
        ));
    }
    let version = cursor.u32(&"the GGUF version")?;
    let refuse = |what| Err(FormatError::new(ErrorKind::Version, Some(4), what));
    match version {
        2 | 3 => Ok((cursor, version)),
        1 => refuse(
            "GGUF version 1 has 32-bit lengths and is not read (versions 2 and 3 are): \
             convert the original model again with a current converter"
                .to_owned(),
        ),
        // Small numbers in the other byte order.
        _ if version != 0 && version.swap_bytes() <= 0xffff => big_endian(cursor, version),
        _ => refuse(format!(
            "GGUF version {version} is not known, versions 2 and 3 are read"
        )),
    }
}

/// The error for a big-endian file: what it holds, and how to convert it.
fn big_endian(cursor: Cursor<'_>, version: u32) -> Result<(Cursor<'_>, u32), FormatError> {
    let mut cursor = cursor.with_endian(Endian::Big);
    let tensors = cursor.u64(&"the tensor count (big-endian)")?;
    let keys = cursor.u64(&"the key count (big-endian)")?;
    let key = match keys {
        0 => String::new(),
        _ => {
            let key = cursor.text(limits::KEY_LEN, &"the first key (big-endian)")?;
            format!(", first key {}", Quoted(key))
        }
    };
    Err(FormatError::new(
        ErrorKind::Version,
        Some(4),
        format!(
            "big-endian GGUF version {} ({tensors} tensors, {keys} keys{key}): only little-endian \
             files are read, convert it with `gguf-convert-endian FILE little` (Python package gguf)",
            version.swap_bytes()
        ),
    ))
}

/// Holds both counts against the limits and against the bytes left, before anything is reserved.
fn check_counts(cursor: &Cursor<'_>, at: u64, tensors: u64, keys: u64) -> Result<(), FormatError> {
    for (what, count, limit) in [
        ("tensors", tensors, limits::TENSORS),
        ("keys", keys, limits::KEYS),
    ] {
        if count > limit {
            return Err(FormatError::new(
                ErrorKind::Limit,
                Some(at),
                format!("the header claims {count} {what}, at most {limit} are accepted"),
            ));
        }
    }
    cursor.expect_room(keys, value::MIN_PAIR_LEN, &"keys")?;
    cursor.expect_room(tensors, tensors::MIN_INFO_LEN, &"tensor infos")
}

fn read_metadata(cursor: &mut Cursor<'_>, keys: u64) -> Result<Metadata, FormatError> {
    let mut metadata = Metadata::default();
    for index in 0..keys {
        let at = cursor.offset();
        let key = cursor.text(limits::KEY_LEN, &format_args!("key {index}"))?;
        if key.is_empty() {
            return Err(FormatError::new(
                ErrorKind::Value,
                Some(at),
                format!("key {index} is empty"),
            ));
        }
        let value = value::read(cursor, key)?;
        match metadata.0.entry(key.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(_) => {
                return Err(FormatError::new(
                    ErrorKind::Duplicate,
                    Some(at),
                    format!("key {} appears twice", Quoted(key)),
                ));
            }
        }
    }
    Ok(metadata)
}

/// The alignment the metadata asks for; shared with the writer.
fn alignment(metadata: &Metadata) -> Result<u64, FormatError> {
    let Some(value) = metadata.value(ALIGNMENT_KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let Some(alignment) = metadata.u64(ALIGNMENT_KEY) else {
        return Err(unexpected_type(
            ALIGNMENT_KEY,
            value.type_name(),
            "an unsigned integer",
        ));
    };
    if !alignment.is_power_of_two() || alignment > limits::ALIGNMENT {
        return Err(FormatError::new(
            ErrorKind::Value,
            None,
            format!(
                "key \"{ALIGNMENT_KEY}\" is {alignment}, expected a power of two up to {}",
                limits::ALIGNMENT
            ),
        ));
    }
    Ok(alignment)
}

fn unexpected_type(key: &str, found: &str, expected: &str) -> FormatError {
    FormatError::new(
        ErrorKind::Type,
        None,
        format!("key {} is {found}, expected {expected}", Quoted(key)),
    )
}
