//! Parts of values, rows of values, and what leaves a graph.

use super::run::{Output, RowStep, Step, StepContext, row_chunks};
use crate::graph::RowSpace;
use crate::graph::op::{AdaptiveSoftmax, Emit, MeanRows, Select, Slice};

impl Step for Slice {
    fn chunks(&self, _: &StepContext<'_>) -> usize {
        0
    }

    fn run(&self, _: &StepContext<'_>, (): (), _: usize) {}
}

impl Step for Select {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let info = cx.info(cx.out());
        for row in cx.rows_of(chunk) {
            let from = index(cx, info.space, row);
            // SAFETY: this row is this chunk's, and `x` lies elsewhere: other rows of it are read.
            let out = unsafe { cx.row_mut(cx.out(), row, 0..info.width) };
            out.copy_from_slice(cx.row(self.x, from));
        }
    }
}

impl Step for MeanRows {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let info = cx.info(cx.out());
        for row in cx.rows_of(chunk) {
            let group = &cx.rows.groups[row];
            // SAFETY: this row is this chunk's, and `x` lies elsewhere: other rows of it are read.
            let out = unsafe { cx.row_mut(cx.out(), row, 0..info.width) };
            out.fill(0.0);
            for of in group.first..group.first + group.len {
                for (sum, x) in out.iter_mut().zip(cx.row(self.x, of)) {
                    *sum += x;
                }
            }
            let count = group.len.max(1) as f32;
            out.iter_mut().for_each(|sum| *sum /= count);
        }
    }
}

/// The index among the run's rows of row `row` of a value.
fn index(cx: &StepContext<'_>, space: RowSpace, row: usize) -> usize {
    match space {
        RowSpace::Step | RowSpace::Source => row,
        RowSpace::Selected => cx.rows.selected[row] as usize,
        RowSpace::Sequence => cx.rows.groups[row].first,
    }
}

impl Step for Emit {
    /// One worker hands all of a tile's outputs over, in order.
    fn chunks(&self, _: &StepContext<'_>) -> usize {
        1
    }

    fn run(&self, cx: &StepContext<'_>, (): (), _: usize) {
        let space = cx.info(self.x).space;
        for row in cx.tile.range.clone() {
            cx.emit(Output {
                name: self.name,
                space,
                row: cx.rows.first + index(cx, space, row),
                values: cx.row(self.x, row),
            });
        }
    }
}

impl RowStep for AdaptiveSoftmax {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let of = |value| cx.row(value, row);
        let clusters = self.clusters.map_or(&[][..], of);
        let tails = self.tails.iter().copied().map(of);
        adaptive_softmax(of(self.head), clusters, tails, out);
    }
}

/// x − max − ln Σ exp(x − max) over the head's tokens and the clusters; a cluster's tokens the
/// same among themselves, plus the cluster's.
pub fn adaptive_softmax<'a>(
    head: &[f32],
    clusters: &[f32],
    tails: impl Iterator<Item = &'a [f32]>,
    out: &mut [f32],
) {
    let shift = log_sum(head.iter().chain(clusters));
    let (first, mut rest) = out.split_at_mut(head.len());
    for (out, x) in first.iter_mut().zip(head) {
        *out = shifted(*x, shift);
    }
    for (tail, cluster) in tails.zip(clusters) {
        let cluster = shifted(*cluster, shift);
        let shift = log_sum(tail.iter());
        let (part, more) = rest.split_at_mut(tail.len());
        for (out, x) in part.iter_mut().zip(tail) {
            *out = shifted(*x, shift) + cluster;
        }
        rest = more;
    }
}

fn shifted(x: f32, (largest, log): (f32, f32)) -> f32 {
    x - largest - log
}

/// The largest and ln Σ exp(x − largest).
fn log_sum<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> (f32, f32) {
    let largest = values.clone().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = values.map(|x| f64::from((x - largest).exp())).sum();
    (largest, sum.ln() as f32)
}
