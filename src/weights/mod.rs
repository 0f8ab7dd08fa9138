//! A model's parameters: views into mapped files, never copies of matrices, unless what a model may
//! take of memory is bounded: then each part of a matrix is where [`Weights::place`] has put it.
//!
//! A [`Weight`] is a set of byte ranges with a data type and a closed transform (none,
//! transposed, blocks of rows, parts). Only vectors and small scan parameters become floats.

mod folder;
mod headers;
mod map;
mod modules;
mod names;
mod open;
mod quantized;
mod stamp;
mod stored;
mod tuning;

pub use headers::{ModelHeaders, headers, headers_of_config};
pub use map::{Source, SourceFile};
pub use modules::{DenseTensor, ModuleFiles};
pub use names::{Found, Views};
pub use open::{Files, TokenizerFiles, open, open_source};
pub use stamp::FileStamp;
pub use stored::{Scaled, Stored};

use crate::error::{LoadError, LoadErrorKind};
use crate::graph::op::Work;
use crate::graph::{Matrix, MatrixSpec, RowOrder, Vector, View, Wiring};
use crate::kernels::{Kernels, Layout, MatMulKernel};
use crate::quant;
use crate::reserve::{filled, list};
use rillm_formats::manifest::{DType, TensorInfo};
use std::collections::HashMap;
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

/// How a matrix is stored, and what multiplies by it.
#[derive(Clone, Copy, Debug)]
pub struct MatrixForm {
    /// How elements are stored.
    pub dtype: DType,
    /// How blocks are arranged.
    pub layout: Layout,
    /// The product for this type and layout.
    pub kernel: MatMulKernel,
}

impl MatrixForm {
    /// That of a matrix that the graphs use.
    ///
    /// # Errors
    /// A data type without a kernel.
    pub fn of(spec: &MatrixSpec, found: &Found, kernels: &Kernels) -> Result<Self, LoadError> {
        let parts = typed(&spec.name, found)?;
        let first = *parts.first().ok_or_else(|| missing(&spec.name))?;
        let turned = spec.order == RowOrder::Transposed;
        let dtype = first.dtype;
        let layout = match (found.view == View::Transposed) != turned {
            true => Layout::Transposed,
            false => Layout::Rows,
        };
        let kernel = kernels.matmul(dtype, layout);
        let kernel = kernel.ok_or_else(|| no_kernel(&spec.name, dtype, layout))?;
        Ok(MatrixForm {
            dtype,
            layout,
            kernel,
        })
    }
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
        kernels: &Kernels,
    ) -> Result<Weights, LoadError> {
        let mut weights = Weights {
            sources,
            matrices: Vec::new(),
            vectors: Vec::new(),
        };
        let stacks = expert_stacks(wiring);
        for spec in &wiring.matrices {
            let found = views.find(&spec.name)?;
            let parts = typed(&spec.name, found)?;
            let turned = spec.order == RowOrder::Transposed;
            let MatrixForm {
                dtype,
                layout,
                kernel,
            } = MatrixForm::of(spec, found, kernels)?;
            if parts.iter().any(|part| part.dtype != dtype) {
                let what = format!("tensor {}: its parts differ in type", spec.name);
                return Err(LoadError::new(LoadErrorKind::Unsupported, what));
            }
            // A stored row is as long as a row of the view, or, if transposed, as a column of one of
            // its matrices.
            let column = found.shape.iter().rev().nth(usize::from(!turned)).copied();
            let (row, elements) = (
                match layout {
                    Layout::Rows => spec.columns,
                    Layout::Transposed => column.map_or(1, |column| column as usize).max(1),
                },
                found.shape.iter().product::<u64>() / parts.len() as u64,
            );
            let stride = dtype.row_len(row as u64).ok_or_else(|| {
                let what = format!(
                    "tensor {}: rows of {row} elements are not whole blocks of {}",
                    spec.name,
                    dtype.name()
                );
                LoadError::new(LoadErrorKind::Tensor, what)
            })?;
            let part_rows = (elements / row as u64) as usize;
            let stack = stacks.get(&(weights.matrices.len() as u32));
            let cut = stack.map_or(1, |&stack| {
                let rows = part_rows * parts.len() / stack;
                let each = match layout {
                    Layout::Rows => rows,
                    Layout::Transposed => row,
                };
                match rows > 0 && part_rows.is_multiple_of(rows) && apart(spec, stack, each) {
                    true => part_rows / rows,
                    false => 1,
                }
            });
            let cut_len = part_rows / cut * stride as usize;
            let stored = parts.iter().flat_map(|info| {
                let starts = (0..cut).map(|index| info.range.start as usize + index * cut_len);
                starts.map(|start| weights.part(info.file as usize, start))
            });
            let stored = stored.collect();
            weights.matrices.push(Weight {
                dtype,
                layout,
                kernel,
                stride: stride as usize,
                columns: spec.columns,
                rows: spec.rows,
                stored_columns: row,
                order: spec.order,
                parts: stored,
                part_rows: part_rows / cut,
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
                View::Plain | View::Transposed => {}
                View::NegativeExp => values.iter_mut().for_each(|value| *value = -value.exp()),
                View::PlusOne => values.iter_mut().for_each(|value| *value += 1.0),
                View::OneMinus => values.iter_mut().for_each(|value| *value = 1.0 - *value),
            }
            weights.vectors.push(values);
        }
        Ok(weights)
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
                    RowOrder::All | RowOrder::Transposed => (start, end - start),
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

/// How many experts each stack of them holds, by the matrix's number.
fn expert_stacks(wiring: &Wiring) -> HashMap<u32, usize> {
    let nodes = wiring.graphs.iter().flat_map(|graph| &graph.nodes);
    let stacks = nodes.filter_map(|node| match node.op.facts().work {
        Work::Experts { experts, .. } => Some((experts.id, experts.stack)),
        Work::Elements | Work::Product(_) | Work::State(_) => None,
    });
    stacks.collect()
}

/// Whether the rows of a stack's matrices do not mingle, `stored` of which make up each.
fn apart(spec: &MatrixSpec, stack: usize, stored: usize) -> bool {
    let seen = spec.rows / stack;
    let is_own = |matrix: usize, row: usize| {
        let at = spec
            .order
            .stored(row)
            .and_then(|row| row.checked_div(stored));
        at == Some(matrix)
    };
    match spec.order {
        RowOrder::All => true,
        RowOrder::Blocks { .. } => (0..stack)
            .all(|matrix| is_own(matrix, matrix * seen) && is_own(matrix, (matrix + 1) * seen - 1)),
        RowOrder::Turned { .. } | RowOrder::Transposed | RowOrder::Repeated { .. } => false,
    }
}

/// Parts of a type that is computed with.
fn typed<'a>(name: &str, found: &'a Found) -> Result<Vec<&'a TensorInfo>, LoadError> {
    let typed = found.parts.iter().map(|part| match part {
        Stored::Typed(info) => Ok(info),
        Stored::Scaled(scaled) => {
            let scales = match scaled.has_scales() {
                true => " with scales in another tensor",
                false => "",
            };
            let what = format!(
                "tensor {name} is {}{scales}, which is converted and not computed with: rillm \
                 quantize FOLDER FILE.gguf q8_0 makes a file that runs",
                scaled.name()
            );
            Err(LoadError::new(LoadErrorKind::Unsupported, what))
        }
    });
    typed.collect()
}

fn missing(name: &str) -> LoadError {
    LoadError::new(LoadErrorKind::Tensor, format!("tensor {name} has no data"))
}

fn no_kernel(name: &str, dtype: DType, layout: Layout) -> LoadError {
    let stored = match layout {
        Layout::Rows => "",
        Layout::Transposed => " stored transposed",
    };
    let what = format!(
        "tensor {name} has type {}{stored}, which cannot be computed with",
        dtype.name()
    );
    LoadError::new(LoadErrorKind::Unsupported, what)
}
