//! A model's parameters: views into mapped files, never copies of matrices, unless what a model may
//! take of memory is bounded: then each part of a matrix is where [`Weights::place`] has put it.
//!
//! A [`Weight`] is a set of byte ranges with a data type and a closed transform (none,
//! transposed, blocks of rows, parts). Only vectors and small scan parameters become floats.

mod elsewhere;
mod folder;
mod headers;
mod map;
mod matrix;
mod modules;
mod names;
mod open;
mod quantized;
mod read_float;
mod regular;
mod stamp;
mod stored;
mod three_values;
mod tuning;

pub use folder::weight_files;
pub use headers::{ModelHeaders, headers, headers_of_config, open_texts};
pub use map::{Source, SourceFile};
pub use matrix::{MatrixForm, StoredMatrix, expert_stacks};
pub(crate) use modules::ModuleTensor;
pub use modules::{DenseTensor, KEYS as MODULE_KEYS, ModuleFiles};
pub use names::{Found, Views};
pub use open::{DEFAULT_TEMPLATE, Files, TokenizerFiles, chat_templates_of, open, open_source};
pub use quantized::published_as;
pub use stamp::FileStamp;
pub use stored::{Scaled, Stored};

use crate::error::LoadError;
use crate::graph::{Matrix, RowOrder, Vector, View, Wiring};
use crate::kernels::{Kernels, Layout, MatMulKernel, Precision};
use crate::quant;
use crate::reserve::{filled, list};
use matrix::{missing, no_kernel, typed};
use rillm_formats::manifest::{DType, TensorInfo};
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Bytes of one part of a matrix: of an expert, or what a file holds in one piece.
#[derive(Debug)]
struct StoredPart {
    file: usize,
    start: usize,
    /// Where they are: in the map, or in memory that [`Weights::place`] was told of.
    address: AtomicPtr<u8>,
}

/// A matrix in the files.
#[derive(Debug)]
pub struct Weight {
    /// How elements are stored.
    pub dtype: DType,
    /// How blocks are arranged.
    pub layout: Layout,
    /// The product for this type and layout.
    pub kernel: MatMulKernel,
    /// Bytes from one stored row to the next.
    pub stride: usize,
    /// Elements of a row, as seen.
    pub columns: usize,
    /// Rows, as seen.
    pub rows: usize,
    /// Elements of a stored row: where it is transposed, rows of each matrix of a stack.
    stored_columns: usize,
    order: RowOrder,
    parts: Vec<StoredPart>,
    /// Stored rows of each part.
    part_rows: usize,
}

impl Weight {
    /// How it is stored.
    pub fn form(&self) -> MatrixForm {
        MatrixForm {
            dtype: self.dtype,
            layout: self.layout,
            kernel: self.kernel,
        }
    }
}

/// All parameters of a model.
#[derive(Debug)]
pub struct Weights {
    sources: Vec<Source>,
    matrices: Vec<Weight>,
    vectors: Vec<Box<[f32]>>,
}

impl Weights {
    /// Finds everything that `wiring` names.
    ///
    /// # Errors
    /// A data type without a kernel, or one that a vector cannot have.
    pub fn resolve(
        wiring: &Wiring,
        views: &Views,
        sources: Vec<Source>,
        kernels: (&Kernels, Precision),
    ) -> Result<Weights, LoadError> {
        let mut weights = Weights {
            sources,
            matrices: Vec::new(),
            vectors: Vec::new(),
        };
        let stacks = expert_stacks(wiring);
        for (id, spec) in (0..).zip(&wiring.matrices) {
            let found = views.find(&spec.name)?;
            let lies = StoredMatrix::of(spec, found, stacks.get(&id).copied(), kernels)?;
            let parts = lies.starts.iter();
            let parts = parts.map(|&(file, start)| weights.part(file, start as usize));
            weights.matrices.push(Weight {
                dtype: lies.form.dtype,
                layout: lies.form.layout,
                kernel: lies.form.kernel,
                stride: lies.stride,
                columns: spec.columns,
                rows: spec.rows,
                stored_columns: lies.columns,
                order: spec.order,
                parts: parts.collect(),
                part_rows: lies.part_rows,
            });
        }
        for spec in &wiring.vectors {
            if let Some(bits) = &spec.constant {
                let mut values = list(bits.len())?;
                values.extend(bits.iter().map(|bits| f32::from_bits(*bits)));
                weights.vectors.push(values.into());
                continue;
            }
            let found = views.find(&spec.name)?;
            let infos = typed(&spec.name, found)?;
            if spec.order == RowOrder::InverseLengths {
                weights.vectors.push(weights.inverse_lengths(spec, &infos)?);
                continue;
            }
            let stored = found.shape.iter().product::<u64>() as usize;
            let mut all = filled(0.0, stored)?;
            let parts = all.chunks_mut((stored / infos.len().max(1)).max(1));
            for (info, part) in infos.iter().zip(parts) {
                let decode = quant::decode(info.dtype);
                let decode =
                    decode.ok_or_else(|| no_kernel(&spec.name, info.dtype, Layout::Rows))?;
                decode(weights.bytes(info), part);
            }
            if found.parts.is_empty() {
                return Err(missing(&spec.name));
            }
            let mut values: Box<[f32]> = match spec.order {
                RowOrder::All | RowOrder::Transposed => all.into(),
                order => {
                    let mut values = list(spec.len)?;
                    let stored = |index| all.get(order.stored(index)?).copied();
                    values.extend((0..spec.len).filter_map(stored));
                    values.into()
                }
            };
            match found.view {
                View::Plain | View::Transposed | View::HeadsTransposed | View::HeadsJoined => {}
                View::NegativeExp => values.iter_mut().for_each(|value| *value = -value.exp()),
                View::PlusOne => values.iter_mut().for_each(|value| *value += 1.0),
                View::OneMinus => values.iter_mut().for_each(|value| *value = 1.0 - *value),
            }
            weights.vectors.push(values);
        }
        Ok(weights)
    }

    /// 1 / ‖row‖ for each row of a matrix, which is read row by row.
    fn inverse_lengths(
        &self,
        spec: &crate::graph::VectorSpec,
        infos: &[&TensorInfo],
    ) -> Result<Box<[f32]>, LoadError> {
        let mut values = list(spec.len)?;
        for info in infos {
            let columns = info.shape.0.last().copied().unwrap_or(1);
            let decode = quant::decode(info.dtype).zip(info.dtype.row_len(columns));
            let (decode, len) =
                decode.ok_or_else(|| no_kernel(&spec.name, info.dtype, Layout::Rows))?;
            let mut row = filled(0.0, columns as usize)?;
            for bytes in self.bytes(info).chunks_exact(len.max(1) as usize) {
                decode(bytes, &mut row);
                let squares = row.iter().map(|&value| f64::from(value).powi(2));
                values.push((1.0 / squares.sum::<f64>().sqrt().max(SHORTEST)) as f32);
            }
        }
        Ok(values.into())
    }

    /// The matrix of a graph.
    pub fn matrix(&self, matrix: Matrix) -> &Weight {
        &self.matrices[matrix.id as usize]
    }

    /// The vector of a graph.
    pub fn vector(&self, vector: Vector) -> &[f32] {
        &self.vectors[vector.id as usize]
    }

    /// The files.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Every matrix, by id.
    pub fn matrices(&self) -> &[Weight] {
        &self.matrices
    }

    /// Bytes that vectors take beside the files.
    pub fn vectors_len(&self) -> usize {
        self.vectors
            .iter()
            .map(|vector| size_of_val(&**vector))
            .sum()
    }

    /// Addresses of `rows`, cut where they are not contiguous in the files. For a transposed
    /// matrix: the address of the first stored row's elements `rows`.
    pub fn runs<'a>(
        &'a self,
        weight: &'a Weight,
        rows: Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, *const u8)> + 'a {
        let first = rows.start;
        let mut next = rows.start;
        std::iter::from_fn(move || {
            if next >= rows.end {
                return None;
            }
            let (start, end) = (next, rows.end);
            let (len, address) = if weight.layout == Layout::Transposed {
                let element = weight.dtype.block_len() as usize;
                // Of a stack, its columns lie in the stored rows of its own matrix.
                let (place, together) = match weight.order {
                    RowOrder::Blocks { block, stride, .. } if block < stride => (
                        weight.order.stored(start).unwrap_or_default(),
                        block - start % block,
                    ),
                    RowOrder::Blocks { .. } => {
                        (weight.order.stored(start).unwrap_or_default(), end - start)
                    }
                    _ => (start, end - start),
                };
                let (matrix, row) = (place / weight.stored_columns, place % weight.stored_columns);
                let stored = matrix * weight.columns;
                let (part, first) = (stored / weight.part_rows, stored % weight.part_rows);
                let first = self.stored(weight, part, first);
                let len = (end - start).min(together).min(weight.stored_columns - row);
                (len, first.wrapping_add(row * element))
            } else {
                let (stored, together) = match weight.order {
                    RowOrder::All | RowOrder::Transposed | RowOrder::InverseLengths => {
                        (start, end - start)
                    }
                    RowOrder::Turned { .. } | RowOrder::Repeated { .. } => {
                        (weight.order.stored(start).unwrap_or_default(), 1)
                    }
                    RowOrder::Blocks { block, .. } => (
                        // The builder has seen that the last one lies within the files.
                        weight.order.stored(start).unwrap_or_default(),
                        block - start % block,
                    ),
                };
                let (part, row) = (stored / weight.part_rows, stored % weight.part_rows);
                let len = (end - start).min(together).min(weight.part_rows - row);
                (len, self.stored(weight, part, row))
            };
            next = start + len;
            Some((start - first..next - first, address))
        })
        .map(move |(range, address)| (range.start + first..range.end + first, address))
    }

    /// Decodes row `index` of a matrix that is not transposed into floats.
    ///
    /// # Panics
    /// If there is no such row: callers check what a user asks for.
    pub fn decode_row(&self, matrix: Matrix, index: usize, out: &mut [f32]) {
        let weight = self.matrix(matrix);
        let rows = matrix.rows * matrix.stack;
        assert!(
            index < rows && weight.layout == Layout::Rows,
            "row {index} of {rows}"
        );
        let found = self.runs(weight, index..index + 1).next();
        if let (Some(decode), Some((_, address))) = (quant::decode(weight.dtype), found) {
            // SAFETY: `runs` yields the address of one whole row of `stride` bytes.
            decode(
                unsafe { std::slice::from_raw_parts(address, weight.stride) },
                out,
            );
        }
    }

    fn stored(&self, weight: &Weight, part: usize, row: usize) -> *const u8 {
        // Who moves a part does so while nobody computes.
        let start = weight.parts[part].address.load(Ordering::Relaxed);
        start.wrapping_add(row * weight.stride).cast_const()
    }

    /// The part of a file that begins there.
    fn part(&self, file: usize, start: usize) -> StoredPart {
        StoredPart {
            file,
            start,
            address: AtomicPtr::new(self.mapped(file, start)),
        }
    }

    fn mapped(&self, file: usize, start: usize) -> *mut u8 {
        // The formats crate has checked the range against the file, which is in memory.
        self.sources[file].bytes()[start..].as_ptr().cast_mut()
    }

    /// The file and the bytes of each part of a matrix.
    pub fn parts(&self, matrix: u32) -> impl Iterator<Item = (usize, Range<u64>)> {
        let weight = &self.matrices[matrix as usize];
        let len = (weight.part_rows * weight.stride) as u64;
        let parts = weight.parts.iter();
        parts.map(move |part| (part.file, part.start as u64..part.start as u64 + len))
    }

    /// From now on a part of a matrix is found at this address; `None` for where the file has it.
    ///
    /// # Safety
    ///
    /// No run is under way that reads the part. There are all its bytes, and they stay as they are
    /// until it is placed anew.
    pub unsafe fn place(&self, (matrix, part): (u32, u32), address: Option<*mut u8>) {
        let part = &self.matrices[matrix as usize].parts[part as usize];
        let address = address.unwrap_or_else(|| self.mapped(part.file, part.start));
        part.address.store(address, Ordering::Relaxed);
    }

    /// Bytes of a stored tensor.
    pub(crate) fn bytes(&self, info: &TensorInfo) -> &[u8] {
        let source = self.sources[info.file as usize].bytes();
        &source[info.range.start as usize..info.range.end as usize]
    }
}

/// What a row's length is taken for at least, as PyTorch's `normalize` does.
const SHORTEST: f64 = 1e-12;
