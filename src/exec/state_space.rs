//! Convolutions and scans of state-space layers: chunks are channels, of one head where there are
//! heads. Functions of one number on their way in and out are taken while those are in the nearest
//! cache.

use super::channels::{CHANNEL_CHUNK, Lined, each_run, fetch, fetch_next, strided, write};
use super::run::{Handles, Step, StepContext, range};
use crate::graph::op::{self, Conv};
use crate::graph::{ConvState, ScanState};
use crate::kernels::{Conv1d, Pointwise, SCAN_ROWS, Scan, Strided};
use std::ops::Range;

/// Channels of a convolution of a single row, which is soon done with so few.
const ROW_CHUNK: usize = 4 * CHANNEL_CHUNK;

fn conv_chunk(cx: &StepContext<'_>) -> usize {
    match cx.tile.len() {
        1 => ROW_CHUNK,
        _ => CHANNEL_CHUNK,
    }
}

impl Step for Conv {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        self.state.kind().channels.div_ceil(conv_chunk(cx))
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let ConvState { channels, width } = state.kind();
        let part = range(chunk, conv_chunk(cx), channels);
        let weight = &cx.weights.vector(self.weight)[part.start * width..part.end * width];
        let bias = self.bias.map(|bias| &cx.weights.vector(bias)[part.clone()]);
        let held = part.start * (width - 1)..part.end * (width - 1);
        each_run(cx, |rows, next| {
            fetch(cx, self.x, (next, part.clone()));
            write(cx, (rows.clone(), part.clone()), |out| {
                let sequence = cx.rows.facts[rows.start].row.sequence;
                // SAFETY: these channels of state are this chunk's.
                let state = unsafe { state.floats_mut(sequence, held.clone()) };
                if cx.tile.len() == 1 {
                    fetch_next(state);
                    fetch_next(weight);
                }
                (cx.kernels.conv1d)(Conv1d {
                    state,
                    weight,
                    bias,
                    input: strided(cx, self.x, (rows.clone(), part.clone())),
                    out: &mut *out,
                    channels: part.len(),
                    width,
                });
                if let Some(function) = self.function {
                    (cx.kernels.pointwise)(function, out);
                }
            });
        });
    }
}

/// Chunks of a head.
fn parts(head_dim: usize) -> usize {
    head_dim.div_ceil(CHANNEL_CHUNK)
}

impl Step for op::SelectiveScan {
    fn chunks(&self, _: &StepContext<'_>) -> usize {
        let ScanState {
            channels, heads, ..
        } = self.state.kind();
        let heads = heads.unwrap_or(1);
        heads * parts(channels / heads)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let ScanState {
            channels,
            states,
            heads,
        } = state.kind();
        // In Mamba-2 channels of a head share their step and decay, and heads of a group B and C.
        let (heads, shared) = (heads.unwrap_or(1), heads.is_some());
        let (a, d) = (cx.weights.vector(self.a), cx.weights.vector(self.d));
        let head_dim = channels / heads;
        let parts = parts(head_dim);
        let (head, first) = (chunk / parts, chunk / parts * head_dim);
        let part = range(chunk % parts, CHANNEL_CHUNK, head_dim);
        let part = first + part.start..first + part.end;
        let held = part.start * states..part.end * states;
        let deferred = match shared {
            true => channels * states + chunk..channels * states + chunk + 1,
            false => 0..0,
        };
        let (kernel, a, d, steps) = if shared {
            (
                cx.kernels.head_scan,
                &a[head..=head],
                &d[head..=head],
                head..head + 1,
            )
        } else {
            (
                cx.kernels.scan,
                &a[held.clone()],
                &d[part.clone()],
                part.clone(),
            )
        };
        let groups = cx.width(self.b) / states;
        let group = head * groups / heads;
        let selected = group * states..(group + 1) * states;
        each_run(cx, |rows, next| {
            for (value, columns) in [(self.x, &part), (self.dt, &steps), (self.z, &part)] {
                fetch(cx, value, (next.clone(), columns.clone()));
            }
            write(cx, (rows.clone(), part.clone()), |out| {
                let of = |value, columns: &Range<usize>| {
                    strided(cx, value, (rows.clone(), columns.clone()))
                };
                let sequence = cx.rows.facts[rows.start].row.sequence;
                // SAFETY: these channels of state are this chunk's, and so is their deferred decay.
                let (state, deferred) = unsafe {
                    (
                        state.floats_mut(sequence, held.clone()),
                        state.floats_mut(sequence, deferred.clone()),
                    )
                };
                if cx.tile.len() == 1 && !shared {
                    fetch_next(state);
                    fetch_next(a);
                }
                let mut scan = |dt: Strided<'_>| {
                    kernel(Scan {
                        state,
                        deferred,
                        a,
                        b: of(self.b, &selected),
                        c: of(self.c, &selected),
                        d,
                        dt,
                        x: of(self.x, &part),
                        out: &mut *out,
                        channels: part.len(),
                        states,
                    });
                };
                let dt = of(self.dt, &steps);
                match self.softplus {
                    true => applied(cx, Pointwise::Softplus, (dt, steps.len()), |values| {
                        scan(Strided {
                            values,
                            stride: steps.len(),
                        });
                    }),
                    false => scan(dt),
                }
                let z = (of(self.z, &part), part.len());
                applied(cx, Pointwise::Silu, z, |gate| {
                    out.iter_mut()
                        .zip(gate)
                        .for_each(|(out, gate)| *out *= gate);
                });
            });
        });
    }
}

/// A function of columns of some rows, side by side.
fn applied(
    cx: &StepContext<'_>,
    function: Pointwise,
    (of, columns): (Strided<'_>, usize),
    then: impl FnOnce(&[f32]),
) {
    let rows = of.values.chunks(of.stride.max(1));
    let (mut one, mut many);
    let values = match rows.len() {
        1 => {
            one = Lined([0.0; CHANNEL_CHUNK]);
            &mut one.0[..columns]
        }
        count => {
            many = Lined([0.0; SCAN_ROWS * CHANNEL_CHUNK]);
            &mut many.0[..count * columns]
        }
    };
    for (into, row) in values.chunks_exact_mut(columns).zip(rows) {
        into.copy_from_slice(&row[..columns]);
    }
    (cx.kernels.pointwise)(function, values);
    then(values);
}
