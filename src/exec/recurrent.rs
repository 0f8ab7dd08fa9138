//! Steps whose rows depend on the rows before them: chunks are channels or heads, and each
//! takes its rows in order.

use super::{Run, Tile};
use crate::graph::{Op, StateKind, Value};
use crate::kernels::{Conv1d, LinearAttend, Scan};
use std::ops::Range;

/// Channels that a worker claims at a time.
const CHANNEL_CHUNK: usize = 64;

/// Chunks of `channels` channels.
pub fn channel_chunks(channels: usize) -> usize {
    channels.div_ceil(CHANNEL_CHUNK)
}

/// Chunks of a convolution whose filter has `len` taps in all.
pub fn conv_chunks(run: &Run<'_>, node: usize, len: usize) -> usize {
    channel_chunks(len / width_of(run, node))
}

fn width_of(run: &Run<'_>, node: usize) -> usize {
    match kind(run, node) {
        StateKind::Conv { width, .. } => width,
        _ => 1,
    }
}

fn kind(run: &Run<'_>, node: usize) -> StateKind {
    let state = run.plan.graph.nodes[node].op.state();
    run.state
        .layout()
        .kind(state.map_or(0, |(state, _)| state.0 as usize))
}

/// Floats `range` of a piece of recurrent state of the row's sequence.
///
/// # Safety
///
/// `range` lies inside the piece and belongs to this chunk alone.
#[allow(clippy::mut_from_ref)] // exclusiveness comes from chunks of channels, not from a borrow
unsafe fn state_mut<'a>(
    run: &'a Run<'_>,
    node: usize,
    row: usize,
    range: Range<usize>,
) -> &'a mut [f32] {
    let state = run.plan.graph.nodes[node].op.state();
    let id = state.map_or(0, |(state, _)| state.0 as usize);
    let base = run
        .state
        .recurrent_ptr(id, run.rows.facts[row].row.sequence);
    // SAFETY: the caller vouches for range and exclusiveness.
    unsafe { std::slice::from_raw_parts_mut(base.add(range.start), range.len()) }
}

/// One chunk of channels through the convolution.
pub fn conv(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    let Op::Conv {
        x, weight, bias, ..
    } = &run.plan.graph.nodes[node].op
    else {
        return;
    };
    let width = width_of(run, node);
    let channels = super::step::range(chunk, CHANNEL_CHUNK, weight.len / width);
    let weight = &run.weights.vector(*weight)[channels.start * width..channels.end * width];
    let bias = bias.map(|bias| &run.weights.vector(bias)[channels.clone()]);
    let held = channels.start * (width - 1)..channels.end * (width - 1);
    for row in tile.range.clone() {
        // SAFETY: these channels of state and output are this chunk's.
        let (state, out) = unsafe {
            (
                state_mut(run, node, row, held.clone()),
                run.row_mut(out, tile, row, channels.clone()),
            )
        };
        let input = &run.row(*x, tile, row)[channels.clone()];
        (run.kernels.conv1d)(Conv1d {
            state,
            weight,
            bias,
            input,
            out,
            width,
        });
    }
}

/// One chunk of channels through the selective scan.
pub fn scan(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    let Op::Scan {
        x, dt, b, c, a, d, ..
    } = &run.plan.graph.nodes[node].op
    else {
        return;
    };
    let channels = super::step::range(chunk, CHANNEL_CHUNK, d.len);
    let states = a.len / d.len;
    let held = channels.start * states..channels.end * states;
    let (a, d) = (
        &run.weights.vector(*a)[held.clone()],
        &run.weights.vector(*d)[channels.clone()],
    );
    for row in tile.range.clone() {
        // SAFETY: these channels of state and output are this chunk's.
        let (state, out) = unsafe {
            (
                state_mut(run, node, row, held.clone()),
                run.row_mut(out, tile, row, channels.clone()),
            )
        };
        (run.kernels.scan)(Scan {
            state,
            a,
            b: run.row(*b, tile, row),
            c: run.row(*c, tile, row),
            d,
            dt: &run.row(*dt, tile, row)[channels.clone()],
            x: &run.row(*x, tile, row)[channels.clone()],
            out,
        });
    }
}

/// One head of linear attention.
pub fn linear_attention(run: &Run<'_>, node: usize, tile: &Tile, head: usize, out: Value) {
    let Op::LinearAttention { q, k, v, eps, .. } = &run.plan.graph.nodes[node].op else {
        return;
    };
    let StateKind::Outer {
        key_dim, value_dim, ..
    } = kind(run, node)
    else {
        return;
    };
    let held = head * key_dim * (value_dim + 1)..(head + 1) * key_dim * (value_dim + 1);
    let (keys, values) = (
        head * key_dim..(head + 1) * key_dim,
        head * value_dim..(head + 1) * value_dim,
    );
    for row in tile.range.clone() {
        // SAFETY: this head's state and output are this chunk's.
        let (state, out) = unsafe {
            (
                state_mut(run, node, row, held.clone()),
                run.row_mut(out, tile, row, values.clone()),
            )
        };
        let (state, normalizer) = state.split_at_mut(key_dim * value_dim);
        (run.kernels.linear_attend)(LinearAttend {
            state,
            normalizer,
            query: &run.row(*q, tile, row)[keys.clone()],
            key: &run.row(*k, tile, row)[keys.clone()],
            value: &run.row(*v, tile, row)[values.clone()],
            epsilon: *eps,
            out,
        });
    }
}
