//! What steps whose rows depend on the rows before them keep.

use super::{Run, Tile};
use crate::graph::{StateKind, Value};
use crate::kernels;
use crate::plan::ALIGN;
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

/// Brings columns of some rows of a float value nearer: rows lie too far apart for the CPU to
/// foresee the next, and another worker may have written them.
pub(super) fn fetch(
    run: &Run<'_>,
    value: Value,
    tile: &Tile,
    (rows, columns): (Range<usize>, Range<usize>),
) {
    for row in rows {
        let row = run.row_ptr(value, tile, row).cast::<f32>();
        fetch_floats(row.wrapping_add(columns.start), columns.len());
    }
}

/// Brings what follows `these` nearer, as much again: the next chunk, which will be this worker's.
pub(super) fn fetch_next(these: &[f32]) {
    fetch_floats(these.as_ptr().wrapping_add(these.len()), these.len());
}

fn fetch_floats(from: *const f32, len: usize) {
    for line in (0..len).step_by(ALIGN / size_of::<f32>()) {
        // SAFETY: a hint, which any address may be given to.
        unsafe { kernels::fetch(from.wrapping_add(line).cast()) };
    }
}
