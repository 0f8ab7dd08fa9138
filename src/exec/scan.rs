//! Convolutions and scans of state-space layers: chunks are channels, of one head where there
//! are heads, and each takes a sequence's rows in order. Functions of one number on their way in
//! and out are taken while those are in the nearest cache.

use super::recurrent::{fetch, fetch_next, kind, state_mut};
use super::{Run, Tile, step};
use crate::graph::{Op, SCAN_CHANNELS, StateKind, Value};
use crate::kernels::{Conv1d, Pointwise, SCAN_LANES, SCAN_ROWS, Scan, Strided};
use crate::plan::ALIGN;
use std::ops::Range;

/// Channels that a worker claims at a time.
pub(super) const CHANNEL_CHUNK: usize = SCAN_CHANNELS;
const _: () = assert!(CHANNEL_CHUNK.is_multiple_of(SCAN_LANES));

/// The same of a convolution of a single row, which is soon done with so few.
const ROW_CHUNK: usize = 4 * CHANNEL_CHUNK;

fn conv_chunk(tile: &Tile) -> usize {
    match tile.range.len() {
        1 => ROW_CHUNK,
        _ => CHANNEL_CHUNK,
    }
}

/// Chunks of a convolution or a scan.
pub fn chunks(run: &Run<'_>, node: usize, tile: &Tile) -> usize {
    match kind(run, node) {
        StateKind::Conv { channels, .. } => channels.div_ceil(conv_chunk(tile)),
        StateKind::Scan { channels, .. } | StateKind::Means { channels } => {
            channels.div_ceil(CHANNEL_CHUNK)
        }
        StateKind::Heads {
            heads, channels, ..
        } => heads * (channels / heads).div_ceil(CHANNEL_CHUNK),
        _ => 0,
    }
}

/// One chunk of channels through the convolution.
pub fn conv(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    let Op::Conv {
        x, weight, bias, ..
    } = &run.plan.graph.nodes[node].op
    else {
        return;
    };
    let StateKind::Conv { channels, width } = kind(run, node) else {
        return;
    };
    let part = step::range(chunk, conv_chunk(tile), channels);
    let weight = &run.weights.vector(*weight)[part.start * width..part.end * width];
    let bias = bias.map(|bias| &run.weights.vector(bias)[part.clone()]);
    let held = part.start * (width - 1)..part.end * (width - 1);
    each_run(run, tile, |rows, next| {
        fetch(run, *x, tile, (next, part.clone()));
        write(run, tile, (out, rows.clone(), part.clone()), |out| {
            // SAFETY: these channels of state are this chunk's.
            let state = unsafe { state_mut(run, node, rows.start, held.clone()) };
            if tile.range.len() == 1 {
                fetch_next(state);
                fetch_next(weight);
            }
            (run.kernels.conv1d)(Conv1d {
                state,
                weight,
                bias,
                input: strided(run, *x, tile, (rows.clone(), part.clone())),
                out: &mut *out,
                channels: part.len(),
                width,
            });
            (run.kernels.pointwise)(Pointwise::Silu, out);
        });
    });
}

/// One chunk of channels through the selective scan.
pub fn scan(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    let Op::Scan {
        x,
        dt,
        b,
        c,
        z,
        softplus,
        a,
        d,
        ..
    } = &run.plan.graph.nodes[node].op
    else {
        return;
    };
    // In Mamba-2 channels of a head share their step and decay, and heads of a group B and C.
    let (heads, channels, states, shared) = match kind(run, node) {
        StateKind::Scan { channels, states } => (1, channels, states, false),
        StateKind::Heads {
            heads,
            channels,
            states,
        } => (heads, channels, states, true),
        _ => return,
    };
    let (a, d) = (run.weights.vector(*a), run.weights.vector(*d));
    let head_dim = channels / heads;
    let parts = head_dim.div_ceil(CHANNEL_CHUNK);
    let (head, first) = (chunk / parts, chunk / parts * head_dim);
    let part = step::range(chunk % parts, CHANNEL_CHUNK, head_dim);
    let part = first + part.start..first + part.end;
    let held = part.start * states..part.end * states;
    let deferred = match shared {
        true => channels * states + chunk..channels * states + chunk + 1,
        false => 0..0,
    };
    let (kernel, a, d, steps) = if shared {
        (
            run.kernels.head_scan,
            &a[head..=head],
            &d[head..=head],
            head..head + 1,
        )
    } else {
        (
            run.kernels.scan,
            &a[held.clone()],
            &d[part.clone()],
            part.clone(),
        )
    };
    let groups = run.plan.graph.info(*b).width / states;
    let group = head * groups / heads;
    let selected = group * states..(group + 1) * states;
    each_run(run, tile, |rows, next| {
        for (value, columns) in [(*x, &part), (*dt, &steps), (*z, &part)] {
            fetch(run, value, tile, (next.clone(), columns.clone()));
        }
        write(run, tile, (out, rows.clone(), part.clone()), |out| {
            let of = |value, columns: &Range<usize>| {
                strided(run, value, tile, (rows.clone(), columns.clone()))
            };
            // SAFETY: these channels of state are this chunk's, and so is what they owe.
            let (state, deferred) = unsafe {
                (
                    state_mut(run, node, rows.start, held.clone()),
                    state_mut(run, node, rows.start, deferred.clone()),
                )
            };
            if tile.range.len() == 1 && !shared {
                fetch_next(state);
                fetch_next(a);
            }
            let mut scan = |dt: Strided<'_>| {
                kernel(Scan {
                    state,
                    deferred,
                    a,
                    b: of(*b, &selected),
                    c: of(*c, &selected),
                    d,
                    dt,
                    x: of(*x, &part),
                    out: &mut *out,
                    channels: part.len(),
                    states,
                });
            };
            let dt = of(*dt, &steps);
            match softplus {
                true => applied(run, Pointwise::Softplus, (dt, steps.len()), |values| {
                    scan(Strided {
                        values,
                        stride: steps.len(),
                    });
                }),
                false => scan(dt),
            }
            let z = (of(*z, &part), part.len());
            applied(run, Pointwise::Silu, z, |gate| {
                out.iter_mut()
                    .zip(gate)
                    .for_each(|(out, gate)| *out *= gate);
            });
        });
    });
}

/// Floats on the stack, from a cache line's start on.
#[repr(align(64))]
struct Lined<const N: usize>([f32; N]);
const _: () = assert!(align_of::<Lined<1>>() == ALIGN);

/// Calls `run_rows` for the tile's rows in order, those of one sequence at a time, and no more than a
/// kernel takes; and says which come next.
pub(super) fn each_run(
    run: &Run<'_>,
    tile: &Tile,
    mut run_rows: impl FnMut(Range<usize>, Range<usize>),
) {
    let mut start = tile.range.start;
    while start < tile.range.end {
        let facts = &run.rows.facts[start];
        let group = run.rows.groups[facts.group as usize];
        let end = tile.range.end.min(group.first + group.len);
        let end = end.min(start + SCAN_ROWS);
        run_rows(start..end, end..tile.range.end.min(end + SCAN_ROWS));
        start = end;
    }
}

/// A function of columns of some rows, side by side.
fn applied(
    run: &Run<'_>,
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
    (run.kernels.pointwise)(function, values);
    then(values);
}

/// Lets `fill` compute `[rows][columns]` and puts it into a value. A single row is computed
/// where it belongs.
pub(super) fn write(
    run: &Run<'_>,
    tile: &Tile,
    (out, rows, columns): (Value, Range<usize>, Range<usize>),
    fill: impl FnOnce(&mut [f32]),
) {
    if rows.len() == 1 {
        // SAFETY: these columns are this chunk's.
        return fill(unsafe { run.row_mut(out, tile, rows.start, columns) });
    }
    fetch(run, out, tile, (rows.clone(), columns.clone()));
    let mut computed = Lined([0.0; SCAN_ROWS * CHANNEL_CHUNK]);
    let computed = &mut computed.0[..rows.len() * columns.len()];
    fill(computed);
    for (row, computed) in rows.zip(computed.chunks_exact(columns.len())) {
        // SAFETY: these columns are this chunk's.
        unsafe { run.row_mut(out, tile, row, columns.clone()) }.copy_from_slice(computed);
    }
}

/// Columns of some rows of a float value.
pub(super) fn strided<'a>(
    run: &'a Run<'_>,
    value: Value,
    tile: &Tile,
    (rows, columns): (Range<usize>, Range<usize>),
) -> Strided<'a> {
    let stride = run.plan.place(value).stride / size_of::<f32>();
    let len = (rows.len() - 1) * stride + columns.len();
    debug_assert!(columns.end <= run.plan.graph.info(value).width);
    // SAFETY: as in `Run::row`, of which these are neighbouring ones: from a column of the
    // first row to a column of the last, what lies between belongs to the same root value,
    // which nobody writes during this phase.
    let values = unsafe {
        let start = run.row_ptr(value, tile, rows.start).cast::<f32>();
        std::slice::from_raw_parts(start.add(columns.start), len)
    };
    Strided { values, stride }
}
