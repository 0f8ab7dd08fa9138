//! Walks a plan: every worker passes every step once, claiming chunks of it.
//!
//! Chunk boundaries are constants, so results never depend on the number of threads.

mod attention;
mod experts;
mod linear_attention;
mod profile;
mod recurrent;
mod rows;
mod rwkv;
mod scan;
mod segments;
mod step;

pub(crate) use attention::LONGEST_HEAD;
pub use profile::{Event, Profile};
pub use rows::{Batch, Row};

use crate::arena::Arena;
use crate::graph::{RowSpace, Value};
use crate::kernels::Kernels;
use crate::plan::{Order, Phase, Plan, Stage};
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
    pub rows: &'a Batch,
    /// Where times are noted, and under which plan's number.
    pub profile: Option<(&'a Profile, usize)>,
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

/// Every worker's way through the plan. What only one worker can do, the last to arrive at a
/// barrier does on the way (with one row, all small steps): each worker sees from the plan alone
/// which phases those are.
fn walk(run: &Run<'_>, worker: &Worker<'_>, sink: &Mutex<&mut Sink<'_>>) {
    let mut clock = run
        .profile
        .map(|(profile, plan)| profile.clock(plan, worker.index));
    let mut walk = Walk {
        run,
        stage: 0,
        start: 0,
        phase: 0,
    };
    while let Some((phase, tile)) = walk.here() {
        let mut claimed = 0;
        if !single(run, phase, &tile) {
            share(run, worker, (phase, &tile), sink, &mut clock);
            claimed = phase.claimed();
            walk.step();
        }
        let mut alone = walk;
        walk.pass_singles();
        let since = clock.as_ref().map(|clock| clock.now());
        let mut busy = 0;
        let go_on = worker.barrier(claimed, || {
            while !alone.is_at(&walk)
                && let Some((phase, tile)) = alone.here()
            {
                for node in phase.nodes.clone() {
                    let since = clock.as_ref().map(|clock| clock.now());
                    for chunk in 0..step::chunks(run, node, &tile) {
                        step::run(run, node, &tile, chunk, sink);
                    }
                    if let (Some(clock), Some(since)) = (&mut clock, since) {
                        busy += clock.worked(node, since);
                    }
                }
                alone.step();
            }
        });
        if let (Some(clock), Some(since)) = (&mut clock, since) {
            clock.waited(phase.nodes.start, since, busy);
        }
        if !go_on {
            return;
        }
    }
}

/// Claims chunks of a phase until there are none.
fn share(
    run: &Run<'_>,
    worker: &Worker<'_>,
    (phase, tile): (&Phase, &Tile),
    sink: &Mutex<&mut Sink<'_>>,
    clock: &mut Option<profile::Clock<'_>>,
) {
    let timed = |node: usize, clock: &mut Option<profile::Clock<'_>>, work: &mut dyn FnMut()| {
        let since = clock.as_ref().map(|clock| clock.now());
        work();
        if let (Some(clock), Some(since)) = (clock, since) {
            clock.worked(node, since);
        }
    };
    match phase.order {
        Order::Apart => {
            for (counter, node) in phase.nodes.clone().enumerate() {
                let chunks = step::chunks(run, node, tile);
                timed(node, clock, &mut || {
                    while let Some(chunk) = worker.claim(counter, chunks) {
                        step::run(run, node, tile, chunk, sink);
                    }
                });
            }
        }
        Order::RowByRow => {
            while let Some(chunk) = worker.claim(0, step::row_chunks(tile)) {
                for node in phase.nodes.clone() {
                    if step::chunks(run, node, tile) > 0 {
                        timed(node, clock, &mut || {
                            step::run(run, node, tile, chunk, sink);
                        });
                    }
                }
            }
        }
    }
}

/// Whether a phase is one chunk, so that a second worker would find nothing to do.
fn single(run: &Run<'_>, phase: &Phase, tile: &Tile) -> bool {
    match phase.order {
        Order::RowByRow => step::row_chunks(tile) <= 1,
        Order::Apart => {
            let chunks = phase
                .nodes
                .clone()
                .map(|node| step::chunks(run, node, tile));
            chunks.sum::<usize>() <= 1
        }
    }
}

/// A place in a run: a phase of a tile of a stage.
#[derive(Clone, Copy)]
struct Walk<'a> {
    run: &'a Run<'a>,
    stage: usize,
    start: usize,
    phase: usize,
}

impl<'a> Walk<'a> {
    /// The phase that is next and its tile; `None` at the end.
    fn here(&mut self) -> Option<(&'a Phase, Tile)> {
        loop {
            let stage = self.run.plan.stages.get(self.stage)?;
            let rows = rows_in(self.run, stage);
            if self.start >= rows {
                (self.stage, self.start, self.phase) = (self.stage + 1, 0, 0);
                continue;
            }
            let end = rows.min(self.start + stage.tile);
            match stage.phases.get(self.phase) {
                Some(phase) => {
                    let range = self.start..end;
                    return Some((phase, Tile { range }));
                }
                None => (self.start, self.phase) = (end, 0),
            }
        }
    }

    fn step(&mut self) {
        self.phase += 1;
    }

    /// Goes on to the next phase that workers share.
    fn pass_singles(&mut self) {
        while let Some((phase, tile)) = self.here()
            && single(self.run, phase, &tile)
        {
            self.step();
        }
    }

    /// Whether two ways have come equally far; `other` stands before a phase or at the end.
    fn is_at(&mut self, other: &Walk<'_>) -> bool {
        self.here();
        (self.stage, self.start, self.phase) == (other.stage, other.start, other.phase)
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
