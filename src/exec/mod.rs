//! Walks a plan: every worker passes every step once, claiming chunks of it.
//!
//! Chunk boundaries are constants, so results never depend on the number of threads.

mod attention;
mod recurrent;
mod rows;
mod scan;
mod step;

pub(crate) use attention::LONGEST_HEAD;
pub use rows::{Row, Rows};

use crate::arena::Arena;
use crate::graph::{RowSpace, Value};
use crate::kernels::Kernels;
use crate::plan::{Plan, Stage};
use crate::pool::{Crew, Outcome, Pool, Worker};
use crate::state::State;
use crate::weights::Weights;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Products between two barriers from which on sharing them pays: about ten microseconds of one
/// core, several times what a calm barrier costs.
const SHARED_WORK: usize = 1 << 16;

/// Who should walk `plan` for `rows` rows, if nobody has asked for a number of threads.
pub fn crew_for(plan: &Plan, rows: usize) -> Crew {
    match plan.row_work.saturating_mul(rows) / plan.barriers().max(1) {
        0..SHARED_WORK => Crew::Caller,
        _ => Crew::All,
    }
}

/// One row of a model's output, on its way to the caller.
#[derive(Clone, Copy, Debug)]
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
    /// The arithmetic.
    pub kernels: &'static Kernels,
    /// Activations, at least `plan.arena_len` bytes.
    pub arena: &'a Arena,
    /// The sequences' memory.
    pub state: &'a State,
    /// What enters.
    pub rows: &'a Rows,
}

/// Runs all stages. The caller holds session memory exclusively.
pub fn execute(
    run: &Run<'_>,
    (pool, crew): (&Pool, Crew),
    abort: &AtomicBool,
    sink: &mut Sink<'_>,
) -> Outcome {
    // What the plan's certificate takes for granted.
    let (rows, capacity) = (run.rows, run.plan.capacity);
    assert!(
        run.arena.len() >= run.plan.arena_len,
        "arena of another plan"
    );
    assert!(
        rows.facts.len() <= capacity.rows && rows.groups.len() <= capacity.sequences,
        "more rows than were planned for"
    );
    let sink = Mutex::new(sink);
    pool.run(crew, abort, &|worker| walk(run, worker, &sink))
}

/// Rows `range` of the run's rows in `space`, at hand as the tile of one stage.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    /// Which rows.
    pub range: Range<usize>,
}

fn walk(run: &Run<'_>, worker: &Worker<'_>, sink: &Mutex<&mut Sink<'_>>) {
    for stage in &run.plan.stages {
        let rows = rows_in(run, stage);
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + stage.tile);
            let tile = Tile { range: start..end };
            for phase in &stage.phases {
                for (counter, node) in phase.clone().enumerate() {
                    let chunks = step::chunks(run, node, &tile);
                    loop {
                        let chunk = worker.claim(counter);
                        if chunk >= chunks {
                            break;
                        }
                        step::run(run, node, &tile, chunk, sink);
                    }
                }
                if !worker.barrier() {
                    return;
                }
            }
            start = end;
        }
    }
}

fn rows_in(run: &Run<'_>, stage: &Stage) -> usize {
    match stage.space {
        RowSpace::Step | RowSpace::Source => run.rows.facts.len(),
        RowSpace::Sequence => run.rows.groups.len(),
        RowSpace::Selected => run.rows.selected.len(),
    }
}

impl Run<'_> {
    /// Address of row `row` (an index into the run's rows of the value's space).
    fn row_ptr(&self, value: Value, tile: &Tile, row: usize) -> *mut u8 {
        let place = self.plan.place(value);
        let index = if place.whole {
            row
        } else {
            row - tile.range.start
        };
        // SAFETY: the plan gave the value `rows × stride` bytes of the arena from `offset` on,
        // for as many rows as its capacity or its stage's tile, and the checker found that they
        // fit; `execute` has seen that the run is within the capacity.
        unsafe { self.arena.as_ptr().add(place.offset + index * place.stride) }
    }

    /// Row `row` of a float value.
    fn row(&self, value: Value, tile: &Tile, row: usize) -> &[f32] {
        let width = self.plan.graph.info(value).width;
        // SAFETY: see `row_ptr`; spans and float offsets are multiples of four. The plan's
        // checker certifies that nobody writes these bytes during this phase.
        unsafe { std::slice::from_raw_parts(self.row_ptr(value, tile, row).cast(), width) }
    }

    /// Columns of row `row` of a float value, for writing.
    ///
    /// # Safety
    ///
    /// No other chunk of this phase touches these columns of this row, and this one holds no
    /// other reference to them.
    #[allow(clippy::mut_from_ref)] // exclusiveness comes from the plan, not from a borrow
    unsafe fn row_mut(
        &self,
        value: Value,
        tile: &Tile,
        row: usize,
        columns: Range<usize>,
    ) -> &mut [f32] {
        debug_assert!(columns.end <= self.plan.graph.info(value).width);
        // SAFETY: see `row_ptr`; the caller vouches for exclusiveness.
        unsafe {
            let start = self
                .row_ptr(value, tile, row)
                .cast::<f32>()
                .add(columns.start);
            std::slice::from_raw_parts_mut(start, columns.len())
        }
    }
}
