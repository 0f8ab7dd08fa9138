//! An independent checker: walks a finished plan as the executor will and proves that no step
//! overwrites bytes that a later step reads. The executor's unsafe code rests on this.
//!
//! It shares no code with the allocator: who owns which bytes is simulated, stage by stage.

use super::{Plan, Span};
use crate::graph::{Op, Value};

/// `Err` says which values collide.
pub fn check(plan: &Plan) -> Result<(), String> {
    let graph = &plan.graph;
    let root = |value: Value| graph.root(value).0;
    // Values defined so far that still own their bytes.
    let mut owners: Vec<(Value, Span)> = Vec::new();
    let mut next = 0;
    for (stage_index, stage) in plan.stages.iter().enumerate() {
        if stage.nodes.start != next {
            return Err(format!(
                "stage {stage_index} starts at node {}",
                stage.nodes.start
            ));
        }
        next = stage.nodes.end;
        check_phases(plan, stage_index)?;
        for index in stage.nodes.clone() {
            let node = &graph.nodes[index];
            for input in node.op.inputs() {
                let input = root(input);
                if !owners.iter().any(|&(owner, _)| owner == input) {
                    return Err(format!(
                        "node {index} ({}) reads {input:?}, which is gone or not made",
                        node.op.name()
                    ));
                }
                let made_here = made_in(plan, input, stage_index);
                if node.op.needs_all_rows() && made_here {
                    return Err(format!(
                        "node {index} needs all rows of {input:?}, made in its own stage"
                    ));
                }
                if !made_here && !plan.place(input).whole {
                    return Err(format!(
                        "{input:?} crosses into stage {stage_index} but is not whole"
                    ));
                }
            }
            let Some(out) = node.out.filter(|_| !matches!(node.op, Op::Slice { .. })) else {
                continue;
            };
            let Some(span) = plan.spans[out.0 as usize] else {
                return Err(format!("{out:?} has no memory"));
            };
            if span.start % super::ALIGN != 0 || span.start + span.len > plan.arena_len {
                return Err(format!("{out:?} lies outside the arena or is not aligned"));
            }
            let rows = match (plan.place(out).whole, graph.info(out).space) {
                (false, _) => stage.tile,
                (true, crate::graph::RowSpace::Sequence) => plan.capacity.sequences,
                (true, _) => plan.capacity.rows,
            };
            if plan.place(out).stride * rows > span.len {
                return Err(format!("{out:?} is longer than its span"));
            }
            // Who is still needed after this node, or by this very node in another way than
            // element by element?
            for &(owner, held) in owners.iter().filter(|(_, held)| held.overlaps(span)) {
                if needed(plan, owner, stage_index, index, out) {
                    return Err(format!(
                        "node {index} ({}) writes {out:?} over {owner:?} at {held:?}",
                        node.op.name()
                    ));
                }
            }
            owners.retain(|&(_, held)| !held.overlaps(span));
            owners.push((out, span));
        }
    }
    if next == graph.nodes.len() {
        Ok(())
    } else {
        Err("not every node is in a stage".into())
    }
}

/// Whether `owner`'s bytes must survive the write of `out` by node `index`.
fn needed(plan: &Plan, owner: Value, stage: usize, index: usize, out: Value) -> bool {
    let graph = &plan.graph;
    let reads = |node: usize| {
        graph.nodes[node]
            .op
            .inputs()
            .any(|i| graph.root(i).0 == owner)
    };
    // Later nodes read it.
    if (index + 1..graph.nodes.len()).any(reads) {
        return true;
    }
    // This node reads it: fine only element by element, in the same layout.
    let op = &graph.nodes[index].op;
    if reads(index) {
        let element_wise = op
            .inputs()
            .all(|i| graph.root(i).0 != owner || op.may_overwrite(i));
        if !element_wise || plan.place(owner) != plan.place(out) {
            return true;
        }
    }
    // A value that holds all rows is read again by the stage's earlier nodes for the next
    // tile. Row by row that is harmless if this write touches the same rows only.
    if plan.place(owner).whole {
        let earlier = (plan.stages[stage].nodes.start..index).filter(|&node| reads(node));
        for node in earlier {
            let across = graph.nodes[node].op.needs_all_rows()
                || matches!(graph.nodes[node].op, Op::Select { .. });
            if across || plan.place(owner) != plan.place(out) {
                return true;
            }
        }
        // Made by this stage and all rows wanted by nobody later: dead.
    }
    false
}

fn made_in(plan: &Plan, value: Value, stage: usize) -> bool {
    plan.stages[stage]
        .nodes
        .clone()
        .any(|node| plan.graph.nodes[node].out == Some(value))
}

fn check_phases(plan: &Plan, stage: usize) -> Result<(), String> {
    let stage = &plan.stages[stage];
    let mut next = stage.nodes.start;
    for phase in &stage.phases {
        if phase.start != next || phase.len() > super::PHASE_STEPS {
            return Err(format!("phase {phase:?} does not follow node {next}"));
        }
        next = phase.end;
        for b in phase.clone() {
            for a in phase.start..b {
                if super::conflicts(&plan.graph, &plan.spans, a, b) {
                    return Err(format!("nodes {a} and {b} conflict without a barrier"));
                }
            }
        }
    }
    if next == stage.nodes.end {
        Ok(())
    } else {
        Err(format!("phases end at node {next}"))
    }
}
