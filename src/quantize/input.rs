//! A model as a GGUF file would have it.

use crate::error::{LoadError, LoadErrorKind};
use crate::quant;
use crate::weights::Files;
use rillm_formats::manifest::{Container, DType, Metadata, TensorInfo};

/// Keys and tensors to write.
#[derive(Debug)]
pub struct Input {
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<Tensor>,
    files: Files,
}

/// A tensor to write, and where it is stored.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub name: String,
    pub shape: Vec<u64>,
    pub dtype: DType,
    stored: TensorInfo,
}

impl Input {
    /// What these files hold.
    ///
    /// # Errors
    /// Folders are not read yet.
    pub fn new(files: Files) -> Result<Input, LoadError> {
        if files.manifest.container != Container::Gguf {
            let what = "only GGUF files can be quantized";
            return Err(LoadError::new(LoadErrorKind::Unsupported, what).at(&files.path));
        }
        let mut stored: Vec<_> = files.manifest.tensors.iter().collect();
        stored.sort_by_key(|(_, info)| (info.file, info.range.start));
        let tensors = stored.into_iter().map(|(name, info)| Tensor {
            name: name.clone(),
            shape: info.shape.0.clone(),
            dtype: info.dtype,
            stored: info.clone(),
        });
        Ok(Input {
            metadata: files.manifest.metadata.clone(),
            tensors: tensors.collect(),
            files,
        })
    }

    /// A tensor's bytes as they are to be written, if they are stored so.
    pub(super) fn stored(&self, tensor: &Tensor) -> Option<&[u8]> {
        Some(self.bytes(&tensor.stored))
    }

    /// Whole rows from `first` on, in floats.
    pub(super) fn read(&self, tensor: &Tensor, first: usize, out: &mut [f32]) {
        let columns = tensor.shape.last().copied().unwrap_or(1);
        let (Some(row), Some(decode)) =
            (tensor.dtype.row_len(columns), quant::decode(tensor.dtype))
        else {
            return;
        };
        let (row, rows) = (row as usize, out.len() / columns.max(1) as usize);
        let bytes = self.bytes(&tensor.stored);
        decode(&bytes[first * row..(first + rows) * row], out);
    }

    fn bytes(&self, info: &TensorInfo) -> &[u8] {
        // The formats crate has checked the range against the file.
        let source = self.files.sources[info.file as usize].bytes();
        &source[info.range.start as usize..info.range.end as usize]
    }
}
