//! How matrices lie in the files, known from what their headers say.

use super::{Found, Stored};
use crate::error::{LoadError, LoadErrorKind};
use crate::graph::op::Work;
use crate::graph::{MatrixSpec, RowOrder, View, Wiring};
use crate::kernels::{Kernels, Layout, MatMulKernel, Precision};
use rillm_formats::manifest::{DType, TensorInfo};
use std::collections::HashMap;
use std::ops::Range;

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
    pub fn of(
        spec: &MatrixSpec,
        found: &Found,
        (kernels, precision): (&Kernels, Precision),
    ) -> Result<Self, LoadError> {
        let parts = typed(&spec.name, found)?;
        let first = *parts.first().ok_or_else(|| missing(&spec.name))?;
        let turned = spec.order == RowOrder::Transposed;
        let dtype = first.dtype;
        let layout = match (found.view == View::Transposed) != turned {
            true => Layout::Transposed,
            false => Layout::Rows,
        };
        let native = match precision {
            Precision::Native => kernels.native(dtype, layout),
            _ => None,
        };
        let kernel = native.or_else(|| kernels.matmul(dtype, layout));
        let kernel = kernel.ok_or_else(|| no_kernel(&spec.name, dtype, layout))?;
        Ok(MatrixForm {
            dtype,
            layout,
            kernel,
        })
    }
}

/// A matrix in the files, of which the bytes need not be there.
#[derive(Clone, Debug)]
pub struct StoredMatrix {
    /// How it is stored.
    pub form: MatrixForm,
    /// Bytes from one stored row to the next.
    pub stride: usize,
    /// Elements of a stored row: where it is transposed, rows of each matrix of a stack.
    pub columns: usize,
    /// Stored rows of each part.
    pub part_rows: usize,
    /// The file of each part, and its first byte there.
    pub starts: Vec<(usize, u64)>,
}

impl StoredMatrix {
    /// Finds a matrix that the graphs use; one of experts, of whom there are `stack`, falls into parts
    /// that are theirs alone, if it can.
    ///
    /// # Errors
    /// A data type without a kernel, parts of several types, rows that are not whole blocks.
    pub fn of(
        spec: &MatrixSpec,
        found: &Found,
        stack: Option<usize>,
        kernels: (&Kernels, Precision),
    ) -> Result<StoredMatrix, LoadError> {
        let parts = typed(&spec.name, found)?;
        let turned = spec.order == RowOrder::Transposed;
        let form = MatrixForm::of(spec, found, kernels)?;
        let MatrixForm { dtype, layout, .. } = form;
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
        let cut = stack.map_or(1, |stack| {
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
        let part_rows = part_rows / cut;
        let part_len = part_rows as u64 * stride;
        let starts = parts.iter().flat_map(|info| {
            let starts = (0..cut as u64).map(|index| info.range.start + index * part_len);
            starts.map(|start| (info.file as usize, start))
        });
        Ok(StoredMatrix {
            starts: starts.collect(),
            form,
            stride: stride as usize,
            columns: row,
            part_rows,
        })
    }

    /// The file and the bytes of each part.
    pub fn parts(&self) -> impl Iterator<Item = (usize, Range<u64>)> {
        let len = (self.part_rows * self.stride) as u64;
        let parts = self.starts.iter();
        parts.map(move |&(file, start)| (file, start..start + len))
    }
}

/// How many experts each stack of them holds, by the matrix's number.
pub fn expert_stacks(wiring: &Wiring) -> HashMap<u32, usize> {
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
        RowOrder::Turned { .. }
        | RowOrder::Transposed
        | RowOrder::Repeated { .. }
        | RowOrder::InverseLengths => false,
    }
}

/// Parts of a type that is computed with.
pub(super) fn typed<'a>(name: &str, found: &'a Found) -> Result<Vec<&'a TensorInfo>, LoadError> {
    let typed = found.parts.iter().map(|part| match part {
        Stored::Typed(info) => Ok(info),
        Stored::Scaled(scaled) => {
            let scales = match scaled.has_scales() {
                true => " with scales in another tensor",
                false => "",
            };
            let what = format!(
                "tensor {name} is {}{scales}, which is converted and not computed with: rillm \
                 quantize FOLDER FILE.gguf {} makes a file that runs",
                scaled.name(),
                scaled.becomes()
            );
            Err(LoadError::new(LoadErrorKind::Unsupported, what))
        }
    });
    typed.collect()
}

pub(super) fn missing(name: &str) -> LoadError {
    LoadError::new(LoadErrorKind::Tensor, format!("tensor {name} has no data"))
}

pub(super) fn no_kernel(name: &str, dtype: DType, layout: Layout) -> LoadError {
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
