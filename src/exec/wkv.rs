//! What RWKV has beside linear attention: the row before, weighted means, and a bonus for the row
//! itself.

use super::channels::{CHANNEL_CHUNK, each_run, fetch, strided, write};
use super::run::{Handles, RowStep, Step, StepContext, range};
use crate::graph::op::{self, Bonus, TokenShift};
use crate::kernels::Wkv;

/// How many rows ahead those are that will be wanted by the time they are near.
const AHEAD: usize = 8;

impl Step for TokenShift {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        cx.width(self.x).div_ceil(CHANNEL_CHUNK)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let (out, width) = (cx.out(), cx.width(self.x));
        let channels = range(chunk, CHANNEL_CHUNK, width);
        for row in cx.tile.range.clone() {
            let ahead = row + AHEAD..(row + AHEAD + 1).min(cx.tile.range.end);
            fetch(cx, self.x, (ahead.clone(), channels.clone()));
            for part in 0..self.mixes.len() {
                let place = part * width + channels.start..part * width + channels.end;
                fetch(cx, out, (ahead.clone(), place));
            }
            let input = &cx.row(self.x, row)[channels.clone()];
            let sequence = cx.rows.facts[row].row.sequence;
            // SAFETY: these channels of the state are this chunk's.
            let before = unsafe { state.floats_mut(sequence, channels.clone()) };
            for (part, mix) in self.mixes.iter().enumerate() {
                let mix = &cx.weights.vector(*mix)[channels.clone()];
                let place = part * width + channels.start..part * width + channels.end;
                // SAFETY: these channels of each part are this chunk's, and no other reference to
                // them is held.
                let out = unsafe { cx.row_mut(out, row, place) };
                let ends = input.iter().zip(before.iter());
                for ((out, (x, before)), mix) in out.iter_mut().zip(ends).zip(mix) {
                    *out = x + (before - x) * mix;
                }
            }
            before.copy_from_slice(input);
        }
    }
}

impl Step for op::WkvMean {
    fn chunks(&self, _: &StepContext<'_>) -> usize {
        self.state.kind().channels.div_ceil(CHANNEL_CHUNK)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let channels = range(chunk, CHANNEL_CHUNK, state.kind().channels);
        let held = channels.start * 3..channels.end * 3;
        let (decay, first) = (
            &cx.weights.vector(self.decay)[channels.clone()],
            &cx.weights.vector(self.first)[channels.clone()],
        );
        each_run(cx, |rows, next| {
            for value in [self.k, self.v] {
                fetch(cx, value, (next.clone(), channels.clone()));
            }
            write(cx, (rows.clone(), channels.clone()), |out| {
                let of = |value| strided(cx, value, (rows.clone(), channels.clone()));
                let sequence = cx.rows.facts[rows.start].row.sequence;
                (cx.kernels.wkv)(Wkv {
                    // SAFETY: these channels of state are this chunk's.
                    state: unsafe { state.floats_mut(sequence, held.clone()) },
                    key: of(self.k),
                    value: of(self.v),
                    decay,
                    first,
                    out,
                });
            });
        });
    }
}

impl RowStep for Bonus {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let dim = self.head_dim;
        let weight = cx.weights.vector(self.weight);
        let heads = |x| <[f32]>::chunks_exact(x, dim);
        let (a, b, v) = (
            cx.row(self.a, row),
            cx.row(self.b, row),
            cx.row(self.v, row),
        );
        let factors = heads(a).zip(heads(b)).zip(heads(weight));
        for ((out, v), ((a, b), weight)) in out.chunks_exact_mut(dim).zip(heads(v)).zip(factors) {
            (cx.kernels.mul)(a, b, out);
            let sum = (cx.kernels.dot)(out, weight);
            out.iter_mut().zip(v).for_each(|(x, v)| *x = sum * v);
        }
    }
}
