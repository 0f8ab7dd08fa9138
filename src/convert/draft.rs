//! A model as a GGUF file would have it.

use super::hugging_face;
use crate::error::LoadError;
use crate::graph::View;
use crate::models::WrittenRows;
use crate::quant;
use crate::weights::{Files, ModuleFiles, Source, Stored, TokenizerFiles, open};
use rillm_formats::manifest::{Container, DType, Manifest, Metadata, TensorInfo};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Keys and tensors to write.
#[derive(Debug)]
pub struct Draft {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<DraftTensor>,
    notes: Vec<String>,
    files: Option<Files>,
}

/// A tensor to write, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct DraftTensor {
    pub name: String,
    /// As it is to be written.
    pub shape: Vec<u64>,
    pub dtype: DType,
    pub from: TensorSource,
}

/// Where a tensor's values are.
#[derive(Clone, Debug)]
pub(crate) enum TensorSource {
    /// In one stored tensor, as it is.
    Stored(TensorInfo),
    /// In stored tensors, each a part of the whole, to be seen in another way.
    Seen {
        parts: Vec<Stored>,
        view: View,
        rows: WrittenRows,
        factors: Vec<(usize, f32)>,
    },
    /// In no file.
    Made(Arc<dyn ValueSource>),
}

/// Values that no file holds, each known by its place.
pub trait ValueSource: Debug + Send + Sync {
    /// Those from `first` on.
    fn fill(&self, first: usize, out: &mut [f32]);
    /// After how many they begin anew, if they do.
    fn period(&self) -> Option<usize>;
}

impl ValueSource for Vec<f32> {
    fn fill(&self, first: usize, out: &mut [f32]) {
        let from = self.iter().skip(first);
        out.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }

    fn period(&self) -> Option<usize> {
        None
    }
}

impl Draft {
    /// What a GGUF file or a Hugging Face folder holds, the folder as a converter would write it.
    ///
    /// # Errors
    /// Files that cannot be read, an architecture that is not known, or a folder that is none of it.
    pub fn open(path: impl AsRef<Path>) -> Result<Draft, LoadError> {
        Draft::of_files(open(path.as_ref())?)
    }

    /// What these files hold: a GGUF file as it is, a Hugging Face folder as a converter would
    /// write it.
    ///
    /// # Errors
    /// An architecture that is not known, or a folder that is none of it.
    pub(crate) fn of_files(files: Files) -> Result<Draft, LoadError> {
        if files.manifest.container == Container::HuggingFace {
            let (metadata, tensors, notes) = hugging_face::converted(&files)?;
            return Ok(Draft {
                metadata,
                tensors,
                notes,
                files: Some(files),
            });
        }
        let mut stored: Vec<_> = files.manifest.tensors.iter().collect();
        stored.sort_by_key(|(_, info)| (info.file, info.range.start));
        let tensors = stored.into_iter().map(|(name, info)| DraftTensor {
            name: name.clone(),
            shape: info.shape.0.clone(),
            dtype: info.dtype,
            from: TensorSource::Stored(info.clone()),
        });
        Ok(Draft {
            metadata: files.manifest.metadata.clone(),
            tensors: tensors.collect(),
            notes: Vec::new(),
            files: Some(files),
        })
    }

    /// What comes from no file.
    pub(crate) fn made(metadata: Metadata, tensors: Vec<DraftTensor>) -> Draft {
        Draft {
            metadata,
            tensors,
            notes: Vec::new(),
            files: None,
        }
    }

    /// What a folder becomes whose configuration alone is there: each tensor's values, by its number,
    /// its name and its columns, are made.
    pub(crate) fn drawn(
        manifest: Manifest,
        values: impl Fn(u64, &str, usize) -> Arc<dyn ValueSource>,
    ) -> Result<Draft, LoadError> {
        let files = Files {
            manifest,
            sources: Vec::new(),
            tokenizer: TokenizerFiles::default(),
            modules: ModuleFiles::default(),
            path: PathBuf::new(),
            notes: Vec::new(),
        };
        let (metadata, mut tensors, _) = hugging_face::converted(&files)?;
        for (number, tensor) in (0..).zip(&mut tensors) {
            let columns = tensor.shape.last().copied().unwrap_or(1) as usize;
            tensor.from = TensorSource::Made(values(number, &tensor.name, columns));
            tensor.dtype = DType::F32;
        }
        Ok(Draft::made(metadata, tensors))
    }

    /// Rows of a tensor.
    pub(crate) fn rows_of(&self, name: &str) -> Option<u64> {
        let tensor = self.tensors.iter().find(|tensor| tensor.name == name)?;
        tensor.shape.first().copied()
    }

    /// The keys of the file.
    pub(crate) fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// What of a folder could not be brought along, and what that means.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A tensor's bytes as they are to be written, if they are stored so.
    pub(crate) fn stored(&self, tensor: &DraftTensor) -> Option<&[u8]> {
        match &tensor.from {
            TensorSource::Stored(info) => Some(self.bytes(info)),
            _ => None,
        }
    }

    /// After how many rows a tensor begins anew, if it does.
    pub(crate) fn period(&self, tensor: &DraftTensor) -> Option<usize> {
        let columns = tensor.shape.last().copied().unwrap_or(1).max(1) as usize;
        let TensorSource::Made(values) = &tensor.from else {
            return None;
        };
        let period = values.period().filter(|period| *period > 0)?;
        period.is_multiple_of(columns).then_some(period / columns)
    }

    /// Whole rows from `first` on, in floats.
    pub(crate) fn read(&self, tensor: &DraftTensor, first: usize, out: &mut [f32]) {
        let columns = tensor.shape.last().copied().unwrap_or(1).max(1) as usize;
        match &tensor.from {
            TensorSource::Stored(info) => self.rows(info, columns, first, out),
            TensorSource::Made(values) => values.fill(first * columns, out),
            TensorSource::Seen {
                parts,
                view: _,
                rows: WrittenRows::HeadsTurned { stride },
                ..
            } => self.heads_turned(parts, tensor, (first, *stride), out),
            TensorSource::Seen {
                parts,
                view,
                rows,
                factors,
            } => {
                let all: u64 = tensor.shape.iter().product();
                // Vectors go with the rows of their matrices.
                let of_experts = tensor.name.ends_with("_exps.bias");
                let row = if tensor.shape.len() == 1 || of_experts {
                    1
                } else {
                    columns
                };
                let count = (all as usize / row).max(1);
                let of_part = parts
                    .first()
                    .map_or(0, |part| part.shape().iter().product::<u64>());
                let in_part = (of_part as usize / row).max(1);
                let width = match tensor.shape[..] {
                    [.., width, _] => rows.of_stored(width as usize),
                    _ => in_part,
                };
                for (index, out) in out.chunks_exact_mut(row).enumerate() {
                    let stored = rows.stored(first * columns / row + index, count);
                    let part = &parts[(stored / in_part).min(parts.len() - 1)];
                    match (part, view) {
                        (Stored::Typed(part), View::Transposed) => {
                            self.column(part, stored % in_part, width, out);
                        }
                        (Stored::Typed(part), _) => self.rows(part, row, stored % in_part, out),
                        (Stored::Scaled(part), View::Transposed) => {
                            let rows = out.len();
                            let place = |row| column_place(stored % in_part, width, row, rows);
                            for (row, out) in out.chunks_exact_mut(1).enumerate() {
                                part.values(self.sources(), place(row), out);
                            }
                        }
                        (Stored::Scaled(part), _) => {
                            part.values(self.sources(), stored % in_part * row, out);
                        }
                    }
                    seen(*view, out);
                    rows.arrange(out);
                    let factor = factor_of(factors, first * columns / row + index);
                    out.iter_mut().for_each(|value| *value *= factor);
                }
            }
        }
    }

    /// Rows from `first` on that are columns of heads, whose rows begin every `stride` stored rows.
    fn heads_turned(
        &self,
        parts: &[Stored],
        tensor: &DraftTensor,
        (first, stride): (usize, usize),
        out: &mut [f32],
    ) {
        let ([_, columns, rows], [part]) = (&tensor.shape[..], parts) else {
            return;
        };
        let (columns, rows) = (*columns as usize, *rows as usize);
        for (row, out) in (first..).zip(out.chunks_exact_mut(rows)) {
            let place = |index| (row / columns * stride + index) * columns + row % columns;
            for (index, out) in out.chunks_exact_mut(1).enumerate() {
                match part {
                    Stored::Typed(info) => self.element(info, place(index), out),
                    Stored::Scaled(scaled) => scaled.values(self.sources(), place(index), out),
                }
            }
        }
    }

    /// Element `index` of a tensor whose elements stand by themselves.
    fn element(&self, info: &TensorInfo, index: usize, out: &mut [f32]) {
        let size = info.dtype.block_len() as usize;
        if let Some(decode) = quant::decode(info.dtype) {
            decode(&self.bytes(info)[index * size..(index + 1) * size], out);
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
        let rows = out.len();
        for (row, out) in out.chunks_exact_mut(1).enumerate() {
            self.element(info, column_place(index, columns, row, rows), out);
        }
    }

    fn sources(&self) -> &[Source] {
        self.files.as_ref().map_or(&[], |files| &files.sources)
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

/// The first number of a stored tensor of floats.
pub(super) fn first_number(files: &Files, part: &Stored) -> Option<f32> {
    let Stored::Typed(info) = part else {
        return None;
    };
    let size = info.dtype.block_len() as usize;
    let start = info.range.start as usize;
    let bytes = files.sources.get(info.file as usize)?.bytes();
    let mut number = [0.0];
    quant::decode(info.dtype)?(bytes.get(start..start + size)?, &mut number);
    Some(number[0])
}

/// What a row is multiplied by.
fn factor_of(factors: &[(usize, f32)], row: usize) -> f32 {
    let mut before = 0;
    for (rows, factor) in factors {
        before = rows.saturating_add(before);
        if row < before {
            return *factor;
        }
    }
    1.0
}

/// Where row `row` of column `index` stands in a stack of matrices of `rows` and `columns`, whose
/// columns are counted through.
fn column_place(index: usize, columns: usize, row: usize, rows: usize) -> usize {
    index / columns * columns * rows + index % columns + row * columns
}

fn seen(view: View, values: &mut [f32]) {
    match view {
        View::Plain | View::Transposed | View::HeadsTransposed | View::HeadsJoined => {}
        View::NegativeExp => values.iter_mut().for_each(|value| *value = -value.exp()),
        View::PlusOne => values.iter_mut().for_each(|value| *value += 1.0),
        View::OneMinus => values.iter_mut().for_each(|value| *value = 1.0 - *value),
    }
}
