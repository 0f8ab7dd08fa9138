//! Walks a plan: every worker passes every step once, claiming chunks of it.
//!
//! Chunk boundaries are constants, so results never depend on the number of threads.

// What treats operations, or kinds of state, one by one names them all.
#![deny(clippy::wildcard_enum_match_arm)]

mod attention;
mod block_sums;
mod channels;
mod elementwise;
mod experts;
mod fetch;
mod linear_attention;
mod output;
mod product;
mod profile;
mod random_blocks;
mod rope;
mod rows;
mod run;
mod segment_attention;
mod segments;
mod state_space;
mod step;
mod walk;
mod wkv;

pub(crate) use attention::LONGEST_HEAD;
pub use experts::{limit_groups, route};
pub(crate) use fetch::cut;
pub use linear_attention::{ADDED, DecayedRow, Held, grow};
pub use output::adaptive_softmax;
pub use profile::{Event, Profile};
pub use random_blocks::RandomBlocks;
pub use rows::{Batch, Columns, Row, Stand};
pub use run::{Output, Run, Sink};

use crate::graph::Activation;
use crate::plan::{Order, Phase, Plan};
use crate::pool::{Crew, Outcome, Pool, Worker};
use crate::residency::Residency;
use run::{Emitter, StepContext, Tile, row_chunks};
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use walk::{Walk, single};

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
    let emitter = |output: Output<'_>| {
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink(output);
    };
    let setup = run.kernels.thread_setup;
    pool.run(crew, abort, setup, &|worker| walk(run, worker, &emitter))
}

/// Whether none is NaN or above all numbers. Minus infinity is the logarithm of what cannot be.
pub fn is_sound(values: &[f32]) -> bool {
    // Without a way out of the loop, so that it takes many at a time.
    !values.iter().fold(false, |bad, value| {
        bad | value.is_nan() | (*value == f32::INFINITY)
    })
}

/// The first node whose result is not finite, found by walking a run once more, step by step and by
/// one worker. State is written again: what recurs has taken its rows twice then.
pub fn first_fault(run: &Run<'_>, pool: &Pool) -> Option<usize> {
    let first = Mutex::new(None);
    let setup = run.kernels.thread_setup;
    pool.run(Crew::Caller, &AtomicBool::new(false), setup, &|_| {
        let found = fault(run);
        *first.lock().unwrap_or_else(PoisonError::into_inner) = found;
    });
    first.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn fault(run: &Run<'_>) -> Option<usize> {
    let never = AtomicBool::new(false);
    let mut walk = Walk::new(run);
    while let Some((phase, tile)) = walk.here() {
        if !fetch::enter(run, walk, &never) {
            return None;
        }
        let unsound = |node: usize, rows: Range<usize>| {
            let cx = StepContext::new(run, node, &tile, &|_| {});
            let value = run.plan.graph.nodes[node].out?;
            let is_float = cx.info(value).form == Activation::F32;
            // Not where nothing was computed: a view, or rows that nobody wants.
            let is_made = step::chunks(&run.plan.graph.nodes[node].op, &cx) > 0;
            let mut rows = rows.filter(|_| is_float && is_made);
            rows.any(|row| !cx.row(value, row).iter().all(|value| value.is_finite()))
                .then_some(node)
        };
        let compute = |node: usize, chunk: Option<usize>| {
            let op = &run.plan.graph.nodes[node].op;
            let cx = StepContext::new(run, node, &tile, &|_| {});
            let chunks = step::chunks(op, &cx);
            for chunk in chunk.map_or(0..chunks, |chunk| chunk..chunks.min(chunk + 1)) {
                step::compute(op, &cx, chunk);
            }
        };
        let found = match phase.order {
            Order::Apart => phase.nodes.clone().find_map(|node| {
                compute(node, None);
                unsound(node, tile.range.clone())
            }),
            Order::RowByRow => (0..row_chunks(&tile)).find_map(|chunk| {
                phase.nodes.clone().find_map(|node| {
                    compute(node, Some(chunk));
                    unsound(node, tile.chunk(chunk, run::ROW_CHUNK))
                })
            }),
        };
        if found.is_some() {
            return found;
        }
        walk.step();
    }
    None
}

/// Every worker's way through the plan. What only one worker can do, the last to arrive at a
/// barrier does on the way (with one row, all small steps): each worker sees from the plan alone
/// which phases those are.
fn walk(run: &Run<'_>, worker: &Worker<'_>, emitter: &Emitter<'_>) {
    let mut clock = run
        .profile
        .map(|(profile, plan)| profile.clock(plan, worker.index));
    let mut walk = Walk::new(run);
    let moving = fetch::moving(run);
    let again = || moving.is_some_and(Residency::again);
    let next_wave = || moving.is_none_or(|held| held.go_on(run.weights, worker.abort));
    if moving.is_some() && !worker.barrier(0, || fetch::enter(run, walk, worker.abort)) {
        return;
    }
    while let Some((phase, tile)) = walk.here() {
        let mut claimed = 0;
        if !single(run, phase, &tile) {
            share(run, worker, (phase, &tile), emitter, &mut clock);
            claimed = phase.claimed();
            if again() {
                match worker.barrier(claimed, next_wave) {
                    true => continue,
                    false => return,
                }
            }
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
                if !fetch::enter(run, alone, worker.abort) {
                    return false;
                }
                loop {
                    for node in phase.nodes.clone() {
                        let since = clock.as_ref().map(|clock| clock.now());
                        let op = &run.plan.graph.nodes[node].op;
                        let cx = StepContext::new(run, node, &tile, emitter);
                        for chunk in 0..step::chunks(op, &cx) {
                            step::compute(op, &cx, chunk);
                        }
                        if let (Some(clock), Some(since)) = (&mut clock, since) {
                            busy += clock.worked(node, since);
                        }
                    }
                    if !again() {
                        break;
                    }
                    if !next_wave() {
                        return false;
                    }
                }
                alone.step();
            }
            fetch::enter(run, walk, worker.abort)
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
    emitter: &Emitter<'_>,
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
                let op = &run.plan.graph.nodes[node].op;
                let cx = StepContext::new(run, node, tile, emitter);
                let chunks = step::chunks(op, &cx);
                timed(node, clock, &mut || {
                    while let Some(chunk) = worker.claim(counter, chunks) {
                        step::compute(op, &cx, chunk);
                    }
                });
            }
        }
        Order::RowByRow => {
            while let Some(chunk) = worker.claim(0, row_chunks(tile)) {
                for node in phase.nodes.clone() {
                    let op = &run.plan.graph.nodes[node].op;
                    let cx = StepContext::new(run, node, tile, emitter);
                    if step::chunks(op, &cx) > 0 {
                        timed(node, clock, &mut || step::compute(op, &cx, chunk));
                    }
                }
            }
        }
    }
}
