//! Products with matrices, rows of tables, and the rounding that products ask for.

use super::run::{RowStep, Step, StepContext, range, row_chunks};
use crate::graph::op::{self, Embed, Index, QuantizeActivation, Wanted};
use crate::graph::{HeadSide, Matrix, Value};
use crate::kernels::MatMul;
use crate::weights::Weight;
use std::ops::Range;

/// Weight rows that a worker claims at a time.
const MATRIX_CHUNK: usize = 64;

/// Inputs that are few: these wait for a large matrix's rows, of which a chunk has as many as the CPU
/// likes ([`Tuning::chunk`](crate::Tuning)).
const FEW: usize = 32;

/// Rows of a matrix that is large: chunks enough for all workers.
const LARGE: usize = 2048;

impl RowStep for Embed {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let facts = &cx.rows.facts[row].row;
        let index = match self.index {
            Index::Token => facts.token as usize,
            Index::TokenOrFirst if facts.token as usize >= self.table.rows => 0,
            Index::TokenOrFirst => facts.token as usize,
            Index::Position => facts.position as usize,
            Index::PositionPast(padding) if facts.token == padding => padding as usize,
            Index::PositionPast(padding) => facts.position as usize + padding as usize + 1,
            Index::TokenType => facts.token_type as usize,
            Index::TokenFrom(first) => match facts.token.checked_sub(first) {
                Some(index) if (index as usize) < self.table.rows => index as usize,
                _ => return out.fill(0.0),
            },
        };
        cx.weights.decode_row(self.table, index, out);
    }
}

/// Weight rows of a chunk of a product. No result depends on how they are cut.
fn matrix_chunk(cx: &StepContext<'_>, matrix: Matrix) -> usize {
    match (cx.tile.len(), matrix.rows) {
        (..=FEW, LARGE..) => cx.weights.matrix(matrix).kernel.tuning.chunk.max(1),
        _ => MATRIX_CHUNK,
    }
}

/// Whether any row of the tile is wanted.
fn any_wanted(cx: &StepContext<'_>, wanted: Wanted) -> bool {
    let all = cx.rows;
    let rows = || all.facts[cx.tile.range.clone()].iter();
    match wanted {
        Wanted::All => true,
        Wanted::Global => rows().any(|facts| facts.is_global),
        Wanted::BesideGlobal => rows().any(|facts| all.groups[facts.group as usize].globals > 0),
    }
}

impl Step for op::DenseMatMul {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        if !any_wanted(cx, self.wanted) {
            return 0;
        }
        self.weight.rows.div_ceil(matrix_chunk(cx, self.weight))
    }

    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let size = matrix_chunk(cx, self.weight);
        let rows = range(chunk, size, self.weight.rows);
        product(cx, self.x, cx.weights.matrix(self.weight), rows.clone());
        if let Some(bias) = self.bias {
            let bias = &cx.weights.vector(bias)[rows.clone()];
            for row in cx.tile.range.clone() {
                // SAFETY: these columns are this chunk's.
                let out = unsafe { cx.row_mut(cx.out(), row, rows.clone()) };
                (cx.kernels.axpy)(1.0, bias, out);
            }
        }
    }
}

fn product(cx: &StepContext<'_>, x: Value, weight: &Weight, rows: Range<usize>) {
    let (out, first) = (cx.out(), cx.tile.range.start);
    let product = MatMul {
        weights: std::ptr::null(),
        weight_stride: weight.stride,
        weight_rows: 0,
        columns: weight.columns,
        inputs: cx.row_ptr(x, first),
        input_stride: cx.stride(x),
        inputs_len: cx.tile.len(),
        out: cx.row_ptr(out, first).cast(),
        out_stride: cx.stride(out) / size_of::<f32>(),
        picks: std::ptr::null(),
        tuning: weight.kernel.tuning,
    };
    for (part, weights) in cx.weights.runs(weight, rows) {
        // SAFETY: `runs` yields valid rows of this weight; the inputs are as many rows of this
        // width as the tile has; these columns of `out` are this chunk's.
        unsafe {
            let out = product.out.add(part.start);
            (weight.kernel.run)(&MatMul {
                weights,
                weight_rows: part.len(),
                out,
                ..product
            });
        }
    }
}

/// Rows whose results are summed up together while a matrix is decoded once for all of them.
const DECODED_ROWS: usize = 16;

/// Columns of the longest row that is decoded in passing.
pub(crate) const LONGEST_DECODED: usize = super::LONGEST_HEAD;

impl Step for op::HeadMatMul {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        let parts = match self.side {
            HeadSide::Columns => self.weights.rows.div_ceil(MATRIX_CHUNK),
            HeadSide::Rows => cx.tile.len().div_ceil(DECODED_ROWS),
        };
        self.weights.stack * parts
    }

    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let heads = self.weights.stack;
        let (head, part) = (chunk % heads, chunk / heads);
        match self.side {
            HeadSide::Columns => {
                let rows = range(part, MATRIX_CHUNK, self.weights.rows);
                head_product(cx, (self.x, self.weights), head, rows);
            }
            HeadSide::Rows => {
                let rows = cx.tile.chunk(part, DECODED_ROWS);
                weighted_rows(cx, (self.x, self.weights), head, rows);
            }
        }
    }
}

/// x Wᵀ of one head, for some rows of its matrix.
fn head_product(
    cx: &StepContext<'_>,
    (x, weights): (Value, Matrix),
    head: usize,
    rows: Range<usize>,
) {
    let weight = cx.weights.matrix(weights);
    let (out, first) = (cx.out(), cx.tile.range.start);
    let head_len = cx.info(x).form.row_len(weight.columns).unwrap_or(0);
    let before = head * weights.rows;
    for (part, stored) in cx
        .weights
        .runs(weight, before + rows.start..before + rows.end)
    {
        // SAFETY: `runs` yields valid rows of this weight; the inputs are this head's part of as
        // many rows as the tile has; these columns of `out` are this chunk's.
        unsafe {
            (weight.kernel.run)(&MatMul {
                weights: stored,
                weight_stride: weight.stride,
                weight_rows: part.len(),
                columns: weight.columns,
                inputs: cx.row_ptr(x, first).add(head * head_len),
                input_stride: cx.stride(x),
                inputs_len: cx.tile.len(),
                out: cx.row_ptr(out, first).cast::<f32>().add(part.start),
                out_stride: cx.stride(out) / size_of::<f32>(),
                picks: std::ptr::null(),
                tuning: weight.kernel.tuning,
            });
        }
    }
}

/// x W of one head: its rows, weighted and summed up in order.
fn weighted_rows(
    cx: &StepContext<'_>,
    (x, weights): (Value, Matrix),
    head: usize,
    rows: Range<usize>,
) {
    let mut decoded = [0.0; LONGEST_DECODED];
    let decoded = &mut decoded[..weights.columns];
    let columns = head * weights.columns..(head + 1) * weights.columns;
    // SAFETY: these rows' columns of this head are this chunk's.
    let out = |row| unsafe { cx.row_mut(cx.out(), row, columns.clone()) };
    for row in rows.clone() {
        out(row).fill(0.0);
    }
    for index in head * weights.rows..(head + 1) * weights.rows {
        cx.weights.decode_row(weights, index, decoded);
        for row in rows.clone() {
            (cx.kernels.axpy)(cx.row(x, row)[index], decoded, out(row));
        }
    }
}

impl Step for QuantizeActivation {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let Some(quantize) = cx.kernels.quantize(self.to) else {
            return;
        };
        let info = cx.info(cx.out());
        let len = info.form.row_len(info.width).unwrap_or(0);
        for row in cx.rows_of(chunk) {
            let out = cx.row_ptr(cx.out(), row);
            // SAFETY: the row has `len` bytes (see `row_ptr`) and is this chunk's.
            let out = unsafe { std::slice::from_raw_parts_mut(out, len) };
            quantize(cx.row(self.x, row), out);
        }
    }
}
