//! Steps whose rows depend on the rows before them: chunks are heads, and each takes its rows in
//! order.

use super::{Run, Tile};
use crate::graph::{Op, StateKind, Value};
use crate::kernels::LinearAttend;
use std::ops::Range;

/// What the state of a step is.
pub(super) fn kind(run: &Run<'_>, node: usize) -> StateKind {
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
pub(super) unsafe fn state_mut<'a>(
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
