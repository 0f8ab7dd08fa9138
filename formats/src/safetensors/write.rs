//! Writing safetensors: the header as bytes, then the tensors' data back to back.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::header;
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::limits;
use crate::manifest::{DType, Shape};

pub use crate::manifest::TensorSpec;

/// The file's beginning up to its data, which are the tensors' bytes in the given order without
/// padding. The header is padded to a multiple of 8 so that numbers in it are aligned.
///
/// # Errors
/// A name that is empty, reserved, too long or there twice, a type that safetensors lacks, more
/// than 8 extents, sizes that overflow.
pub fn header(tensors: &[TensorSpec]) -> Result<Vec<u8>, FormatError> {
    let mut names = BTreeSet::new();
    let mut text = String::from("{");
    let mut start = 0u64;
    for (index, tensor) in tensors.iter().enumerate() {
        let name = Quoted(&tensor.name);
        let refuse = |kind, what| {
            Err(FormatError::new(
                kind,
                None,
                format!("tensor {name} {what}"),
            ))
        };
        let Some(dtype) = tensor.dtype.safetensors_name() else {
            return refuse(
                ErrorKind::Unsupported,
                format!("has type {}, which safetensors lacks", tensor.dtype.name()),
            );
        };
        if !names.insert(tensor.name.as_str()) {
            return refuse(ErrorKind::Duplicate, String::from("appears twice"));
        }
        let len = tensor.name.len() as u64;
        if len > limits::TENSOR_NAME_LEN || len == 0 || tensor.name == "__metadata__" {
            return refuse(ErrorKind::Value, String::from("cannot be called so"));
        }
        if tensor.shape.0.len() > limits::SAFETENSORS_DIMENSIONS {
            let limit = limits::SAFETENSORS_DIMENSIONS;
            return refuse(ErrorKind::Limit, format!("has more than {limit} extents"));
        }
        let end = header::elements(&tensor.shape.0)
            .and_then(|elements| elements.checked_mul(tensor.dtype.block_len()))
            .and_then(|len| start.checked_add(len));
        let Some(end) = end else {
            return refuse(ErrorKind::Value, String::from("takes more than 2^64 bytes"));
        };
        if index > 0 {
            text.push(',');
        }
        push_string(&mut text, &tensor.name);
        let shape = &tensor.shape.0;
        text.push_str(&format!(
            ":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"
        ));
        start = end;
    }
    text.push('}');
    while text.len() % 8 != 0 {
        text.push(' ');
    }
    let len = text.len() as u64;
    if len > limits::SAFETENSORS_HEADER_LEN {
        return Err(FormatError::new(
            ErrorKind::Limit,
            None,
            format!("the header would take {len} bytes: write several files"),
        ));
    }
    let mut bytes = Vec::with_capacity(text.len().saturating_add(8));
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    Ok(bytes)
}

/// A whole file of float32 tensors: name, extents (outermost first) and values.
///
/// # Errors
/// As [`header`], and values of another number than the extents say.
pub fn floats(tensors: &[(&str, &[u64], &[f32])]) -> Result<Vec<u8>, FormatError> {
    let mut specs = Vec::with_capacity(tensors.len());
    for (name, shape, values) in tensors {
        if header::elements(shape) != Some(values.len() as u64) {
            return Err(FormatError::new(
                ErrorKind::Value,
                None,
                format!(
                    "tensor {} {shape:?} was given {} values",
                    Quoted(name),
                    values.len()
                ),
            ));
        }
        specs.push(TensorSpec {
            name: String::from(*name),
            dtype: DType::F32,
            shape: Shape(shape.to_vec()),
        });
    }
    let mut bytes = header(&specs)?;
    for value in tensors.iter().flat_map(|(_, _, values)| *values) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    Ok(bytes)
}

fn push_string(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() && c.is_ascii() => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
