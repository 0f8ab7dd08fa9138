//! The tensor table: names unique, sizes computed without overflow, ranges aligned, inside the
//! file and disjoint.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::cursor::Cursor;
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::limits;
use crate::manifest::{DType, Shape, TensorInfo};
use crate::reserve;

/// Bytes of the shortest tensor info: name length, a letter, no extents, type, offset.
pub(super) const MIN_INFO_LEN: u64 = 8 + 1 + 4 + 4 + 8;

/// Types that were once in the standard, by number: what they were and what to do.
const REMOVED: &[(u32, &str)] = &[
    (
        4,
        "Q4_2, removed in 2023; early gpt-oss files carry it for MXFP4",
    ),
    (5, "Q4_3, removed in 2023"),
    (31, "Q4_0_4_4, removed: Q4_0 is repacked when it is loaded"),
    (32, "Q4_0_4_8, removed: Q4_0 is repacked when it is loaded"),
    (33, "Q4_0_8_8, removed: Q4_0 is repacked when it is loaded"),
    (
        36,
        "IQ4_NL_4_4, removed; BitNet's own files carry it for I2_S",
    ),
    (
        37,
        "IQ4_NL_4_8, removed: IQ4_NL is repacked when it is loaded",
    ),
    (
        38,
        "IQ4_NL_8_8, removed: IQ4_NL is repacked when it is loaded",
    ),
];

/// What reading the table needs to know.
pub(super) struct Table {
    /// Tensors announced.
    pub count: u64,
    /// A power of two.
    pub alignment: u64,
    /// Number of this file within the model.
    pub file: u32,
    /// Bytes of the whole file, if they are known.
    pub file_len: Option<u64>,
}

impl Table {
    /// The tensors, and where their data begins.
    pub(super) fn read(
        &self,
        cursor: &mut Cursor<'_>,
    ) -> Result<(Vec<(String, TensorInfo)>, u64), FormatError> {
        cursor.expect_room(self.count, MIN_INFO_LEN, &"tensor infos")?;
        let capacity = usize::try_from(self.count).unwrap_or(0);
        let mut tensors = reserve::list(capacity, &"tensor infos")?;
        let mut entries = reserve::list(capacity, &"tensor infos")?;
        for index in 0..self.count {
            let at = cursor.offset();
            let (name, info) = self.read_info(cursor, index)?;
            entries.push(at);
            tensors.push((name.to_owned(), info));
        }
        let data_offset = align(cursor.offset(), self.alignment).ok_or_else(|| {
            FormatError::new(
                ErrorKind::Range,
                Some(cursor.offset()),
                format!(
                    "tensor data aligned to {} would begin beyond 2^64",
                    self.alignment
                ),
            )
        })?;
        for ((name, info), at) in tensors.iter_mut().zip(&entries) {
            info.range = self.place(name, &info.range, data_offset, *at)?;
        }
        expect_unique(&tensors, &entries)?;
        expect_disjoint(&tensors, &entries)?;
        Ok((tensors, data_offset))
    }

    /// One entry; its range still counts from the start of the data.
    fn read_info<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        index: u64,
    ) -> Result<(&'a str, TensorInfo), FormatError> {
        let at = cursor.offset();
        let refuse = |kind, what| Err(FormatError::new(kind, Some(at), what));

        let name = cursor.text(
            limits::TENSOR_NAME_LEN,
            &format_args!("the name of tensor {index}"),
        )?;
        if name.is_empty() {
            return refuse(
                ErrorKind::Value,
                format!("tensor {index} has an empty name"),
            );
        }
        let quoted = Quoted(name);
        let what = format_args!("the description of tensor {quoted}");
        let dimensions = cursor.u32(&what)?;
        if dimensions as usize > limits::GGUF_DIMENSIONS {
            return refuse(
                ErrorKind::Limit,
                format!(
                    "tensor {quoted} has {dimensions} dimensions, at most {} are possible",
                    limits::GGUF_DIMENSIONS
                ),
            );
        }
        let mut shape = Shape(Vec::with_capacity(dimensions as usize));
        for _ in 0..dimensions {
            shape.0.push(cursor.u64(&what)?);
        }
        // The file has the contiguous extent first.
        shape.0.reverse();
        let id = cursor.u32(&what)?;
        let dtype = match DType::from_id(id) {
            Some(dtype) => dtype,
            None => return refuse(ErrorKind::Unsupported, unknown_dtype(name, id)),
        };
        let len = match byte_len(dtype, &shape) {
            Ok(len) => len,
            Err(why) => {
                return refuse(
                    ErrorKind::Value,
                    format!(
                        "tensor {quoted} of type {} {:?} {why}",
                        dtype.name(),
                        shape.0
                    ),
                );
            }
        };
        let offset = cursor.u64(&what)?;
        if offset & (self.alignment - 1) != 0 {
            return refuse(
                ErrorKind::Range,
                format!(
                    "tensor {quoted} begins at data offset {offset}, expected a multiple of {}",
                    self.alignment
                ),
            );
        }
        let Some(end) = offset.checked_add(len) else {
            return refuse(
                ErrorKind::Range,
                format!("tensor {quoted}: data offset {offset} + {len} bytes exceeds 2^64"),
            );
        };
        let info = TensorInfo {
            dtype,
            shape,
            file: self.file,
            range: offset..end,
        };
        Ok((name, info))
    }

    /// The range within the file.
    fn place(
        &self,
        name: &str,
        range: &Range<u64>,
        data_offset: u64,
        at: u64,
    ) -> Result<Range<u64>, FormatError> {
        let file_len = self.file_len.unwrap_or(u64::MAX);
        let start = range.start.checked_add(data_offset);
        let end = range.end.checked_add(data_offset);
        match (start, end) {
            (Some(start), Some(end)) if end <= file_len => Ok(start..end),
            _ => Err(FormatError::new(
                ErrorKind::Range,
                Some(at),
                format!(
                    "tensor {} lies at {}..{} after the data's start {data_offset}, the file has \
                     only {file_len} bytes: it is cut short or damaged",
                    Quoted(name),
                    range.start,
                    range.end
                ),
            )),
        }
    }
}

/// `offset` rounded up to a multiple of `alignment`, a power of two.
pub(super) fn align(offset: u64, alignment: u64) -> Option<u64> {
    offset.checked_next_multiple_of(alignment)
}

/// Bytes a tensor takes, or what is wrong with its shape.
pub(super) fn byte_len(dtype: DType, shape: &Shape) -> Result<u64, String> {
    if shape.0.contains(&0) {
        return Err("has an extent of zero".to_owned());
    }
    let Some(elements) = shape.elements() else {
        return Err("has more than 2^64 elements".to_owned());
    };
    let columns = shape.columns();
    if !columns.is_multiple_of(dtype.block_elements()) {
        return Err(format!(
            "has rows of {columns} elements, expected a multiple of the block's {}",
            dtype.block_elements()
        ));
    }
    dtype
        .row_len(columns)
        .and_then(|row_len| row_len.checked_mul(elements.checked_div(columns)?))
        .ok_or_else(|| "takes more than 2^64 bytes".to_owned())
}

fn unknown_dtype(name: &str, id: u32) -> String {
    let known = REMOVED.iter().find(|(removed, _)| *removed == id);
    match known {
        Some((_, what)) => format!(
            "tensor {} has type {id} ({what}): quantize the original model again",
            Quoted(name)
        ),
        None => format!(
            "tensor {} has type {id}, which no version of GGUF known here defines",
            Quoted(name)
        ),
    }
}

fn expect_unique(tensors: &[(String, TensorInfo)], entries: &[u64]) -> Result<(), FormatError> {
    let mut names: Vec<(&str, u64)> = tensors
        .iter()
        .zip(entries)
        .map(|((name, _), at)| (name.as_str(), *at))
        .collect();
    names.sort_unstable();
    let twice = names.iter().zip(names.iter().skip(1));
    match twice.into_iter().find(|(a, b)| a.0 == b.0) {
        None => Ok(()),
        Some((_, (name, at))) => Err(FormatError::new(
            ErrorKind::Duplicate,
            Some(*at),
            format!("tensor {} appears twice", Quoted(name)),
        )),
    }
}

fn expect_disjoint(tensors: &[(String, TensorInfo)], entries: &[u64]) -> Result<(), FormatError> {
    let mut order: Vec<(&(String, TensorInfo), u64)> =
        tensors.iter().zip(entries.iter().copied()).collect();
    order.sort_unstable_by_key(|((_, info), at)| (info.range.start, *at));
    let pairs = order.iter().zip(order.iter().skip(1));
    for (((before, first), _), ((name, second), at)) in pairs {
        // No range is empty, so neighbours decide.
        if second.range.start < first.range.end {
            return Err(FormatError::new(
                ErrorKind::Range,
                Some(*at),
                format!(
                    "tensor {} at {}..{} overlaps tensor {} at {}..{}",
                    Quoted(name),
                    second.range.start,
                    second.range.end,
                    Quoted(before),
                    first.range.start,
                    first.range.end
                ),
            ));
        }
    }
    Ok(())
}
