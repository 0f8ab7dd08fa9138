//! What every step stands on: what a run reads, the rows of a tile, and what a step is.
//!
//! A step sees a [`StepContext`], which holds everything of a run but its state; of that it is
//! handed the pieces that its operation declares.

use super::profile::Profile;
use super::rows::Batch;
use crate::arena::Arena;
use crate::graph::op::{Operation, Reach};
use crate::graph::{Matrix, RowSpace, Value, ValueInfo};
use crate::kernels::Kernels;
use crate::plan::Plan;
use crate::residency::{Recorder, Residency};
use crate::state::{Open, State};
use crate::weights::Weights;
use std::ops::Range;
use std::sync::OnceLock;

/// One row of a model's output, on its way to the caller.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Output<'a> {
    /// transformers' name: `logits`, `last_hidden_state` …
    pub name: &'static str,
    /// Whether there is one per row (`Step`, `Source`, `Selected`) or one per sequence.
    pub space: RowSpace,
    /// For an output per row: its index in the feed. For one per sequence: the index of the
    /// sequence's first row in the feed.
    pub row: usize,
    /// The values.
    pub values: &'a [f32],
}

/// Takes outputs as they appear. It runs on one of the pool's workers, so it must not run the
/// same model in turn: that would wait for itself.
pub type Sink<'a> = dyn FnMut(Output<'_>) + Send + 'a;

/// Everything a run reads.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The steps.
    pub plan: &'a Plan,
    /// The model's parameters.
    pub weights: &'a Weights,
    /// Which of them are in memory, where that is bounded.
    pub residency: &'a OnceLock<Residency>,
    /// The arithmetic.
    pub kernels: &'static Kernels,
    /// Activations, at least `plan.arena_len` bytes.
    pub arena: &'a Arena,
    /// The sequences' memory.
    pub state: &'a State,
    /// What enters.
    pub rows: &'a Batch,
    /// Where it is noted which experts rows choose.
    pub recorder: Option<&'a Recorder>,
    /// Where times are noted, and under which plan's number.
    pub profile: Option<(&'a Profile, usize)>,
}

/// Rows `range` of the run's rows in `space`, at hand as the tile of one stage.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Which rows.
    pub range: Range<usize>,
}

impl Tile {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Rows of chunk `chunk`, where a chunk is `size` of them.
    pub fn chunk(&self, chunk: usize, size: usize) -> Range<usize> {
        let rows = range(chunk, size, self.len());
        self.range.start + rows.start..self.range.start + rows.end
    }
}

/// Chunk `chunk` of `0..len`.
pub fn range(chunk: usize, size: usize, len: usize) -> Range<usize> {
    let start = chunk * size;
    start..len.min(start + size)
}

/// Rows that a worker claims at a time of a step that computes each by itself.
pub(super) const ROW_CHUNK: usize = 4;

/// Into how many chunks of rows a tile falls.
pub fn row_chunks(tile: &Tile) -> usize {
    tile.len().div_ceil(ROW_CHUNK)
}

/// Takes outputs from whichever worker has them.
pub type Emitter<'a> = dyn Fn(Output<'_>) + Sync + 'a;

/// One tile of a node, as its step sees it.
#[derive(Clone, Copy)]
pub struct StepContext<'a> {
    run: &'a Run<'a>,
    emitter: &'a Emitter<'a>,
    out: Option<Value>,
    /// The rows.
    pub tile: &'a Tile,
    /// The model's parameters.
    pub weights: &'a Weights,
    /// The arithmetic.
    pub kernels: &'static Kernels,
    /// The run's rows.
    pub rows: &'a Batch,
}

impl<'a> StepContext<'a> {
    /// Node `node` of the run's plan.
    pub fn new(
        run: &'a Run<'a>,
        node: usize,
        tile: &'a Tile,
        emitter: &'a Emitter<'a>,
    ) -> StepContext<'a> {
        StepContext {
            run,
            emitter,
            out: run.plan.graph.nodes[node].out,
            tile,
            weights: run.weights,
            kernels: run.kernels,
            rows: run.rows,
        }
    }

    /// The value that the node makes.
    pub fn out(&self) -> Value {
        self.out
            .expect("the plan's checker has compared nodes with what their operations say")
    }

    /// Whether an expert takes part in this wave of the phase.
    pub fn is_open(&self, experts: Matrix, expert: usize) -> bool {
        let held = self.run.residency.get();
        held.is_none_or(|held| held.is_open(experts, expert))
    }

    /// Facts of a value.
    pub fn info(&self, value: Value) -> ValueInfo {
        self.run.plan.graph.info(value)
    }

    /// Elements of a row of a value.
    pub fn width(&self, value: Value) -> usize {
        self.info(value).width
    }

    /// Bytes from one row of a value to the next.
    pub fn stride(&self, value: Value) -> usize {
        self.run.plan.place(value).stride
    }

    /// Hands an output over.
    pub fn emit(&self, output: Output<'_>) {
        (self.emitter)(output);
    }

    /// The rows of chunk `chunk` of a step that is cut into [`row_chunks`].
    pub fn rows_of(&self, chunk: usize) -> Range<usize> {
        self.tile.chunk(chunk, ROW_CHUNK)
    }

    /// Address of row `row` (an index into the run's rows of the value's space).
    pub fn row_ptr(&self, value: Value, row: usize) -> *mut u8 {
        let place = self.run.plan.place(value);
        let index = if place.whole {
            row
        } else {
            row - self.tile.range.start
        };
        // SAFETY: the plan gave the value `rows × stride` bytes of the arena from `offset` on,
        // for as many rows as its capacity or its stage's tile, and the checker found that they
        // fit; `execute` has seen that the run is within the capacity.
        unsafe {
            self.run
                .arena
                .as_ptr()
                .add(place.offset + index * place.stride)
        }
    }

    /// Row `row` of a float value.
    pub fn row(&self, value: Value, row: usize) -> &'a [f32] {
        // SAFETY: see `row_ptr`; spans and float offsets are multiples of four. The plan's
        // checker certifies that nobody writes these bytes during this phase.
        unsafe { std::slice::from_raw_parts(self.row_ptr(value, row).cast(), self.width(value)) }
    }

    /// Columns of row `row` of a float value, for writing.
    ///
    /// # Safety
    ///
    /// No other chunk of this phase touches these columns of this row, and this one holds no
    /// other reference to them.
    #[allow(clippy::mut_from_ref)] // exclusiveness comes from the plan, not from a borrow
    pub unsafe fn row_mut(&self, value: Value, row: usize, columns: Range<usize>) -> &'a mut [f32] {
        debug_assert!(columns.end <= self.width(value));
        // SAFETY: see `row_ptr`; the caller vouches for exclusiveness.
        unsafe {
            let start = self.row_ptr(value, row).cast::<f32>().add(columns.start);
            std::slice::from_raw_parts_mut(start, columns.len())
        }
    }

    /// Whether row `row` of a value lies where the result's row does.
    pub fn is_in_place(&self, value: Value, row: usize) -> bool {
        std::ptr::eq(self.row_ptr(value, row), self.row_ptr(self.out(), row))
    }

    /// Puts row `row` of a value into `out`, which is the result's, unless it lies there.
    pub fn copy_row(&self, value: Value, row: usize, out: &mut [f32]) {
        if !self.is_in_place(value, row) {
            out.copy_from_slice(self.row(value, row));
        }
    }
}

/// Handles of the state that an operation declares.
pub type Handles<'a, S> = <<S as Operation>::States as Open>::Handles<'a>;

/// How an operation is computed. Neither the number of chunks nor what they hold may depend on the
/// number of threads.
pub trait Step: Operation<States: Open> {
    /// Into how many chunks it falls for a tile.
    fn chunks(&self, cx: &StepContext<'_>) -> usize;

    /// Computes one of them: finds the rows, calls a kernel.
    fn run(&self, cx: &StepContext<'_>, states: Handles<'_, Self>, chunk: usize);
}

/// How an operation is computed that takes each row by itself: all such steps fall into the same
/// chunks, so that rows can pass from one to the next.
pub trait RowStep: Operation<States = ()> {
    /// Computes row `row` of the result, in whose bytes operands may lie that it may overwrite.
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]);
}

impl<S: RowStep> Step for S {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let width = cx.width(cx.out());
        for row in cx.rows_of(chunk) {
            // SAFETY: this row is this chunk's. Operands that lie in the same bytes are read
            // through the result.
            let out = unsafe { cx.row_mut(cx.out(), row, 0..width) };
            self.row(cx, row, out);
        }
    }
}

/// Into how many chunks a step falls for a tile.
pub fn chunks<S: Step>(step: &S, cx: &StepContext<'_>) -> usize {
    let chunks = step.chunks(cx);
    // What rows pass through one by one is cut alike.
    debug_assert!(step.facts().reach != Reach::OwnRow || chunks == row_chunks(cx.tile));
    chunks
}

/// Computes chunk `chunk` of a step, which gets hold of the state that its operation declares.
pub fn compute<S: Step>(step: &S, cx: &StepContext<'_>, chunk: usize) {
    step.run(cx, step.states().open(cx.run.state), chunk);
}
