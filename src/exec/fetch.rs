//! What a phase needs of weights that are not all in memory, brought while all workers are at rest.

use super::run::{Run, StepContext, Tile};
use super::step;
use super::walk::Walk;
use crate::graph::op::Work;
use crate::graph::{Matrix, Node, Value};
use crate::plan::{Phase, Plan};
use crate::residency::{Recorder, Residency};
use std::sync::atomic::AtomicBool;

/// Has no phase need two layers, or experts beside anything else: what is brought for one step must
/// not push out what another still needs, and a phase of experts may be walked several times.
pub fn cut(plan: &mut Plan, residency: &Residency) {
    let layer = |node: &Node| product(node).and_then(|matrix| residency.layer(matrix));
    let experts = |node: &Node| experts(node).is_some_and(|(matrix, _)| residency.moves(matrix));
    plan.cut(&|a, b| {
        let layers = layer(a).zip(layer(b));
        experts(a) != experts(b) || layers.is_some_and(|(a, b)| a != b)
    });
}

/// The weights of a run of which some move.
pub(super) fn moving<'a>(run: &Run<'a>) -> Option<&'a Residency> {
    run.residency
        .get()
        .filter(|held| !held.placement().is_whole())
}

/// Brings what the phase needs where a walk stands. `false`: it will not come.
pub(super) fn enter(run: &Run<'_>, mut walk: Walk<'_>, abort: &AtomicBool) -> bool {
    if let (Some(recorder), Some((phase, tile))) = (run.recorder, walk.here()) {
        record(run, recorder, phase, &tile);
    }
    let (Some(held), Some((phase, tile))) = (moving(run), walk.here()) else {
        return true;
    };
    if !run.plan.is_cut {
        held.refuse(
            "weights are held within a budget since another session was opened: open this one anew",
        );
        return false;
    }
    let nodes = &run.plan.graph.nodes;
    let computed = |node: &usize| {
        let cx = StepContext::new(run, *node, &tile, &|_| {});
        step::chunks(&nodes[*node].op, &cx) > 0
    };
    let layer = layer_of(run, held, phase, &computed);
    let brought = layer.is_none_or(|layer| {
        let next = || next_layer(run, held, walk, layer);
        held.bring(run.weights, layer, abort, next)
    });
    brought
        && held.open(run.weights, abort, |ask| {
            for node in phase.nodes.clone().filter(computed) {
                let Some((matrix, route)) = experts(&nodes[node]) else {
                    continue;
                };
                let cx = StepContext::new(run, node, &tile, &|_| {});
                for row in tile.range.clone() {
                    let route = cx.row(route, row);
                    for &expert in &route[route.len() / 2..] {
                        ask(matrix, expert as usize);
                    }
                }
            }
        })
}

/// Notes what the rows of a phase have chosen.
fn record(run: &Run<'_>, recorder: &Recorder, phase: &Phase, tile: &Tile) {
    for node in phase.nodes.clone() {
        let Some((matrix, route)) = experts(&run.plan.graph.nodes[node]) else {
            continue;
        };
        let layer = recorder.layer(matrix.id);
        let cx = StepContext::new(run, node, tile, &|_| {});
        for row in tile.range.clone() {
            let chosen = cx.row(route, row);
            let position = run.rows.facts[row].row.position;
            recorder.note(position, layer, &chosen[chosen.len() / 2..]);
        }
    }
}

/// The layer of which a phase needs matrices.
fn layer_of(
    run: &Run<'_>,
    held: &Residency,
    phase: &Phase,
    computed: &dyn Fn(&usize) -> bool,
) -> Option<u32> {
    phase.nodes.clone().filter(computed).find_map(|node| {
        let matrix = product(&run.plan.graph.nodes[node])?;
        held.layer(matrix)
    })
}

/// The layer that is needed after this one: further on, or at the beginning of a run like this.
fn next_layer<'a>(run: &'a Run<'a>, held: &Residency, from: Walk<'a>, layer: u32) -> Option<u32> {
    let first = |mut walk: Walk<'a>| {
        while let Some((phase, _)) = walk.here() {
            let found = layer_of(run, held, phase, &|_| true).filter(|&found| found != layer);
            if found.is_some() {
                return found;
            }
            walk.step();
        }
        None
    };
    first(from).or_else(|| first(Walk::new(run)))
}

/// The matrix of a product.
fn product(node: &Node) -> Option<Matrix> {
    match node.op.facts().work {
        Work::Product(matrix) => Some(matrix),
        Work::Elements | Work::Experts { .. } | Work::State(_) => None,
    }
}

/// The matrices of experts, and the route that chooses among them.
fn experts(node: &Node) -> Option<(Matrix, Value)> {
    match node.op.facts().work {
        Work::Experts { experts, route } => Some((experts, route)),
        Work::Elements | Work::Product(_) | Work::State(_) => None,
    }
}
