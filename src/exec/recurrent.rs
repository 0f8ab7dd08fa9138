//! What steps whose rows depend on the rows before them keep.

use super::Run;
use crate::graph::StateKind;
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
