//! A model as a GGUF file would have it.

use super::hugging_face;
use super::synthetic::Draw;
use crate::error::LoadError;
use crate::graph::View;
use crate::quant;
use crate::weights::Files;
use rillm_formats::manifest::{Container, DType, Metadata, TensorInfo};

/// Keys and tensors to write.
#[derive(Debug)]
pub struct Input {
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<Tensor>,
    notes: Vec<String>,
    files: Option<Files>,
}

/// A tensor to write, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub name: String,
    /// As it is to be written.
    pub shape: Vec<u64>,
    pub dtype: DType,
    pub from: From,
}

/// Where a tensor's values are.
#[derive(Clone, Debug)]
pub(super) enum From {
    /// In one stored tensor, as it is.
    Stored(TensorInfo),
    /// In stored tensors, each a part of the whole, to be seen in another way.
    Seen {
        parts: Vec<TensorInfo>,
        view: View,
        rows: Rows,
    },
    /// Worked out.
    Values(Vec<f32>),
    /// Random.
    Drawn(Draw),
}

/// The order of a tensor's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    AsStored,
    /// Of heads of `dim` rows: the halves' rows by turns.
    Paired {
        dim: usize,
    },
    /// One half of every `2 * rows` rows.
    Half {
        rows: usize,
        second: bool,
    },
    /// Of groups of heads of `dim` rows (queries, then one of keys and one of values): all
    /// queries, all keys, all values.
    QueriesFirst {
        dim: usize,
        queries: usize,
    },
}

impl Rows {
    /// Which stored row of `count` stands at `row`.
    fn stored(self, row: usize, count: usize) -> usize {
        match self {
            Rows::AsStored => row,
            Rows::Paired { dim } => {
                let within = row % dim;
                row - within + within % 2 * (dim / 2) + within / 2
            }
            Rows::Half { rows, second } => {
                row / rows * 2 * rows + usize::from(second) * rows + row % rows
            }
            Rows::QueriesFirst { dim, queries } => {
                let group = (queries + 2) * dim;
                let (groups, block) = (count / group, queries * dim);
                let (row, block, offset) = if row < groups * block {
                    (row, block, 0)
                } else if row < groups * (block + dim) {
                    (row - groups * block, dim, block)
                } else {
                    (row - groups * (block + dim), dim, block + dim)
                };
                row / block * group + offset + row % block
            }
        }
    }
}

impl Input {
    /// What these files hold: a GGUF file as it is, a Hugging Face folder as a converter would
    /// write it.
    ///
    /// # Errors
    /// An architecture that is not known, or a folder that is none of it.
    pub fn new(files: Files) -> Result<Input, LoadError> {
        if files.manifest.container == Container::HuggingFace {
            let (metadata, tensors, notes) = hugging_face::converted(&files)?;
            return Ok(Input {
                metadata,
                tensors,
                notes,
                files: Some(files),
            });
        }
        let mut stored: Vec<_> = files.manifest.tensors.iter().collect();
        stored.sort_by_key(|(_, info)| (info.file, info.range.start));
        let tensors = stored.into_iter().map(|(name, info)| Tensor {
            name: name.clone(),
            shape: info.shape.0.clone(),
            dtype: info.dtype,
            from: From::Stored(info.clone()),
        });
        Ok(Input {
            metadata: files.manifest.metadata.clone(),
            tensors: tensors.collect(),
            notes: Vec::new(),
            files: Some(files),
        })
    }

    /// What comes from no file.
    pub(super) fn made(metadata: Metadata, tensors: Vec<Tensor>) -> Input {
        Input {
            metadata,
            tensors,
            notes: Vec::new(),
            files: None,
        }
    }

    /// What of a folder could not be brought along, and what that means.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A tensor's bytes as they are to be written, if they are stored so.
    pub(super) fn stored(&self, tensor: &Tensor) -> Option<&[u8]> {
        match &tensor.from {
            From::Stored(info) => Some(self.bytes(info)),
            _ => None,
        }
    }

    /// Whole rows from `first` on, in floats.
    pub(super) fn read(&self, tensor: &Tensor, first: usize, out: &mut [f32]) {
        let columns = tensor.shape.last().copied().unwrap_or(1).max(1) as usize;
        match &tensor.from {
            From::Stored(info) => self.rows(info, columns, first, out),
            From::Values(values) => {
                let from = values.iter().skip(first * columns);
                out.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
            From::Drawn(draw) => draw.fill(first * columns, out),
            From::Seen { parts, view, rows } => {
                let all: u64 = tensor.shape.iter().product();
                // Vectors go with the rows of their matrices.
                let row = if tensor.shape.len() == 1 { 1 } else { columns };
                let count = (all as usize / row).max(1);
                let halves = if matches!(rows, Rows::Half { .. }) {
                    2
                } else {
                    1
                };
                let in_part = halves * count / parts.len().max(1);
                let width = match tensor.shape[..] {
                    [.., width, _] => width as usize,
                    _ => in_part,
                };
                for (index, out) in out.chunks_exact_mut(row).enumerate() {
                    let stored = rows.stored(first * columns / row + index, count);
                    let part = &parts[(stored / in_part).min(parts.len() - 1)];
                    match view {
                        View::Transposed => self.column(part, stored % in_part, width, out),
                        _ => self.rows(part, row, stored % in_part, out),
                    }
                    seen(*view, out);
                }
            }
        }
    }

    fn rows(&self, info: &TensorInfo, columns: usize, first: usize, out: &mut [f32]) {
        let (Some(row), Some(decode)) = (
            info.dtype.row_len(columns as u64),
            quant::decode(info.dtype),
        ) else {
            return;
        };
        let (row, rows) = (row as usize, out.len() / columns);
        decode(&self.bytes(info)[first * row..(first + rows) * row], out);
    }

    /// Column `index` of a stack of matrices of `columns`, whose elements stand by themselves.
    fn column(&self, info: &TensorInfo, index: usize, columns: usize, out: &mut [f32]) {
        let (size, bytes) = (info.dtype.block_len() as usize, self.bytes(info));
        let Some(decode) = quant::decode(info.dtype) else {
            return;
        };
        let first = index / columns * columns * out.len() + index % columns;
        for (row, out) in out.chunks_exact_mut(1).enumerate() {
            let at = (first + row * columns) * size;
            decode(&bytes[at..at + size], out);
        }
    }

    fn bytes(&self, info: &TensorInfo) -> &[u8] {
        let Some(files) = &self.files else {
            return &[];
        };
        // The formats crate has checked the range against the file.
        let source = files.sources[info.file as usize].bytes();
        &source[info.range.start as usize..info.range.end as usize]
    }
}

fn seen(view: View, values: &mut [f32]) {
    match view {
        View::Plain | View::Transposed => {}
        View::NegativeExp => values.iter_mut().for_each(|value| *value = -value.exp()),
        View::PlusOne => values.iter_mut().for_each(|value| *value += 1.0),
        View::OneMinus => values.iter_mut().for_each(|value| *value = 1.0 - *value),
    }
}
