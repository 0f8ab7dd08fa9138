//! From the operation of a node to its step.

use super::run::{self, StepContext};
use crate::graph::Op;
use crate::graph::op::with_operation;

/// Into how many chunks an operation falls for a tile.
pub fn chunks(op: &Op, cx: &StepContext<'_>) -> usize {
    with_operation!(op, it => run::chunks(it, cx))
}

/// Computes chunk `chunk`.
pub fn compute(op: &Op, cx: &StepContext<'_>, chunk: usize) {
    with_operation!(op, it => run::compute(it, cx, chunk))
}
