//! GGUF's typed values. Arrays are reserved exactly: their count is first held against the bytes
//! that are left.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::vec::Vec;
use core::fmt::Display;

use byteorder::{ByteOrder, LittleEndian};

use crate::cursor::Cursor;
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::limits;
use crate::manifest::{Array, MetadataValue, NestedArrays, Strings};
use crate::reserve;

/// Bytes of the shortest pair: key length, a letter, value type, one byte.
pub(super) const MIN_PAIR_LEN: u64 = 8 + 1 + 4 + 1;

/// Bytes of an empty array: element type and count.
const MIN_ARRAY_LEN: u64 = 4 + 8;

/// Bytes of an empty string: its length.
const MIN_STRING_LEN: u64 = 8;

/// GGUF's numbers for the types of values.
pub(super) mod id {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

/// Reads the type and value of `key`.
pub(super) fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<MetadataValue, FormatError> {
    let what = format_args!("the value of key {}", Quoted(key));
    let at = cursor.offset();
    let kind = cursor.u32(&format_args!("the type of key {}", Quoted(key)))?;
    Ok(match kind {
        id::U8 => MetadataValue::U8(cursor.u8(&what)?),
        id::I8 => MetadataValue::I8(cursor.u8(&what)?.cast_signed()),
        id::U16 => MetadataValue::U16(cursor.u16(&what)?),
        id::I16 => MetadataValue::I16(cursor.u16(&what)?.cast_signed()),
        id::U32 => MetadataValue::U32(cursor.u32(&what)?),
        id::I32 => MetadataValue::I32(cursor.u32(&what)?.cast_signed()),
        id::F32 => MetadataValue::F32(f32::from_bits(cursor.u32(&what)?)),
        id::BOOL => {
            let at = cursor.offset();
            let byte = cursor.u8(&what)?;
            MetadataValue::Bool(truth(byte).ok_or_else(|| not_a_bool(at, key, byte))?)
        }
        id::STRING => MetadataValue::String(cursor.text(limits::STRING_LEN, &what)?.to_owned()),
        id::ARRAY => MetadataValue::Array(read_array(cursor, key)?),
        id::U64 => MetadataValue::U64(cursor.u64(&what)?),
        id::I64 => MetadataValue::I64(cursor.u64(&what)?.cast_signed()),
        id::F64 => MetadataValue::F64(f64::from_bits(cursor.u64(&what)?)),
        _ => return Err(unknown_type(at, key, kind)),
    })
}

/// The type of an array's elements, and how many there are.
fn read_array_header(cursor: &mut Cursor<'_>, key: &str) -> Result<(u32, u64), FormatError> {
    let at = cursor.offset();
    let what = format_args!("the array of key {}", Quoted(key));
    let kind = cursor.u32(&what)?;
    let count = cursor.u64(&what)?;
    if count > limits::ARRAY_ELEMENTS {
        return Err(FormatError::new(
            ErrorKind::Limit,
            Some(at),
            format!(
                "the array of key {} claims {count} elements, at most {} are accepted",
                Quoted(key),
                limits::ARRAY_ELEMENTS
            ),
        ));
    }
    Ok((kind, count))
}

fn read_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array, FormatError> {
    let at = cursor.offset();
    let (kind, count) = read_array_header(cursor, key)?;
    let what = format_args!("the array of key {}", Quoted(key));
    let mut fixed = |width: u64| {
        cursor.expect_room(count, width, &what)?;
        cursor.take(count.saturating_mul(width), &what)
    };
    Ok(match kind {
        id::U8 => Array::U8(reserve::collected(fixed(1)?.iter().copied(), &what)?),
        id::I8 => Array::I8(reserve::collected(
            fixed(1)?.iter().map(|byte| byte.cast_signed()),
            &what,
        )?),
        id::U16 => Array::U16(elements(fixed(2)?, LittleEndian::read_u16, &what)?),
        id::I16 => Array::I16(elements(fixed(2)?, LittleEndian::read_i16, &what)?),
        id::U32 => Array::U32(elements(fixed(4)?, LittleEndian::read_u32, &what)?),
        id::I32 => Array::I32(elements(fixed(4)?, LittleEndian::read_i32, &what)?),
        id::F32 => Array::F32(elements(fixed(4)?, LittleEndian::read_f32, &what)?),
        id::BOOL => {
            let bytes = fixed(1)?;
            let start = cursor.offset().saturating_sub(count);
            let wrong = bytes.iter().zip(start..).find(|(byte, _)| **byte > 1);
            if let Some((byte, at)) = wrong {
                return Err(not_a_bool(at, key, *byte));
            }
            Array::Bool(reserve::collected(
                bytes.iter().map(|byte| *byte == 1),
                &what,
            )?)
        }
        id::U64 => Array::U64(elements(fixed(8)?, LittleEndian::read_u64, &what)?),
        id::I64 => Array::I64(elements(fixed(8)?, LittleEndian::read_i64, &what)?),
        id::F64 => Array::F64(elements(fixed(8)?, LittleEndian::read_f64, &what)?),
        id::STRING => Array::String(read_strings(cursor, key, count)?),
        id::ARRAY => {
            let bytes = cursor.passed(|cursor| skip_arrays(cursor, key, count, 2))?;
            Array::Array(NestedArrays {
                // They have been passed, so there are not more than bytes.
                count: usize::try_from(count).unwrap_or(0),
                bytes: reserve::collected(bytes.iter().copied(), &what)?,
            })
        }
        _ => return Err(unknown_type(at, key, kind)),
    })
}

/// Checks arrays in arrays, which are `depth` deep, and passes them over.
fn skip_arrays(
    cursor: &mut Cursor<'_>,
    key: &str,
    count: u64,
    depth: u32,
) -> Result<(), FormatError> {
    let what = format_args!("the array of key {}", Quoted(key));
    cursor.expect_room(count, MIN_ARRAY_LEN, &what)?;
    if depth > limits::ARRAY_DEPTH {
        let (key, most) = (Quoted(key), limits::ARRAY_DEPTH);
        let what = format!("key {key} nests arrays deeper than {most}");
        return Err(FormatError::new(
            ErrorKind::Limit,
            Some(cursor.offset()),
            what,
        ));
    }
    for _ in 0..count {
        let mut ahead = cursor.clone();
        match read_array_header(&mut ahead, key)? {
            (id::ARRAY, count) => {
                *cursor = ahead;
                skip_arrays(cursor, key, count, depth + 1)?;
            }
            // One at a time these are as large as the file at most.
            _ => drop(read_array(cursor, key)?),
        }
    }
    Ok(())
}

fn elements<T>(
    bytes: &[u8],
    element: fn(&[u8]) -> T,
    what: &dyn Display,
) -> Result<Vec<T>, FormatError> {
    reserve::collected(bytes.chunks_exact(size_of::<T>()).map(element), what)
}

/// Two passes: the first finds every string's end, so that the second can reserve exactly.
fn read_strings(cursor: &mut Cursor<'_>, key: &str, count: u64) -> Result<Strings, FormatError> {
    let what = format_args!("the strings of key {}", Quoted(key));
    cursor.expect_room(count, MIN_STRING_LEN, &what)?;
    let mut ahead = cursor.clone();
    let mut text_len = 0;
    for index in 0..count {
        text_len += read_string(&mut ahead, key, index)?.len();
    }
    // The room check has shown that the count is below the slice's length.
    let mut strings = Strings::with_room(usize::try_from(count).unwrap_or(0), text_len, &what)?;
    for index in 0..count {
        strings.push(read_string(cursor, key, index)?);
    }
    Ok(strings)
}

fn read_string<'a>(
    cursor: &mut Cursor<'a>,
    key: &str,
    index: u64,
) -> Result<&'a [u8], FormatError> {
    cursor.string(
        limits::STRING_LEN,
        &format_args!("string {index} of key {}", Quoted(key)),
    )
}

fn truth(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn not_a_bool(at: u64, key: &str, byte: u8) -> FormatError {
    FormatError::new(
        ErrorKind::Value,
        Some(at),
        format!(
            "key {} holds {byte} as a truth value, expected 0 or 1",
            Quoted(key)
        ),
    )
}

fn unknown_type(at: u64, key: &str, kind: u32) -> FormatError {
    FormatError::new(
        ErrorKind::Type,
        Some(at),
        format!(
            "key {} has value type {kind}, types 0 to 12 are known",
            Quoted(key)
        ),
    )
}
