//! An independent checker: judges a finished plan by how the executor will walk it (stage by
//! stage, tile by tile, node by node) and proves that every read finds what was written for it.
//! The executor's unsafe code rests on this.
//!
//! It shares no decision with the planner: lifetimes, layouts and conflicts are worked out anew. What
//! a span, a stage and a phase are is one definition for both.

use super::{ALIGN, Order, PHASE_STEPS, Phase, Plan, Span, Stage};
use crate::graph::op::Reach;
use crate::graph::{Activation, Node, RowSpace, Value};
use std::ops::Range;

/// `Err` says which rule is broken and where.
pub fn check(plan: &Plan) -> Result<(), String> {
    check_cover(plan)?;
    let liveness = Liveness::of(plan)?;
    check_layout(plan, &liveness)?;
    check_reads(plan, &liveness)?;
    check_lives(plan, &liveness)?;
    plan.stages
        .iter()
        .flat_map(|stage| &stage.phases)
        .try_for_each(|phase| match phase.order {
            Order::Apart => check_phase(plan, phase.nodes.clone()),
            Order::RowByRow => check_rows(plan, phase.nodes.clone()),
        })
}

/// Stages cover the nodes and phases cover their stage, in order and without gaps.
fn check_cover(plan: &Plan) -> Result<(), String> {
    let mut next = 0;
    for stage in &plan.stages {
        let mut inner = stage.nodes.start;
        for phase in &stage.phases {
            let Phase { nodes, .. } = phase;
            if nodes.start != inner || nodes.end <= inner || phase.claimed() > PHASE_STEPS {
                return Err(format!("phase {nodes:?} does not follow node {inner}"));
            }
            inner = nodes.end;
        }
        if stage.tile == 0 {
            return Err(format!("stage {:?} takes no rows at a time", stage.nodes));
        }
        if stage.nodes.start != next || inner != stage.nodes.end {
            return Err(format!(
                "stage {:?} does not follow node {next}",
                stage.nodes
            ));
        }
        next = stage.nodes.end;
    }
    if next == plan.graph.nodes.len() {
        Ok(())
    } else {
        Err("not every node is in a stage".into())
    }
}

/// A node and the stage it is in; ordered as they run, but for the repetition of tiles.
type When = (usize, usize);

/// When each value that owns bytes is made and read.
struct Liveness {
    /// By value: when it is made. Slices are made with their root.
    made: Vec<Option<When>>,
    /// By value: when it, or a slice of it, is read.
    reads: Vec<Vec<When>>,
}

impl Liveness {
    fn of(plan: &Plan) -> Result<Liveness, String> {
        let graph = &plan.graph;
        let mut liveness = Liveness {
            made: vec![None; graph.values.len()],
            reads: vec![Vec::new(); graph.values.len()],
        };
        for (at, stage) in plan.stages.iter().enumerate() {
            for index in stage.nodes.clone() {
                let node = &graph.nodes[index];
                if node.out.is_some() != node.op.facts().result {
                    return Err(format!(
                        "{} yields what it does not make",
                        name(plan, index)
                    ));
                }
                for input in reads(node) {
                    let root = graph.root(input).0.0 as usize;
                    if liveness.made[root].is_none() {
                        return Err(format!(
                            "{} reads {input:?} before it is made",
                            name(plan, index)
                        ));
                    }
                    liveness.reads[root].push((at, index));
                }
                let Some(out) = writes(node) else { continue };
                let made = &mut liveness.made[out.0 as usize];
                if graph.info(out).base.is_some() || made.replace((at, index)).is_some() {
                    return Err(format!("{} makes {out:?} a second time", name(plan, index)));
                }
            }
        }
        Ok(liveness)
    }
}

/// Values whose bytes a node reads. A view touches nothing.
fn reads(node: &Node) -> Vec<Value> {
    match node.op.reach() {
        Reach::View => Vec::new(),
        Reach::OwnRow | Reach::Columns | Reach::AllRows | Reach::PickedRow => node.op.inputs(),
    }
}

/// The value whose bytes a node writes.
fn writes(node: &Node) -> Option<Value> {
    node.out.filter(|_| !node.op.reach().is_view())
}

fn name(plan: &Plan, node: usize) -> String {
    format!("node {node} ({})", plan.graph.nodes[node].op.name())
}

/// Every value's rows lie within the bytes that it, or the root it is a slice of, owns.
fn check_layout(plan: &Plan, liveness: &Liveness) -> Result<(), String> {
    let graph = &plan.graph;
    for index in 0..graph.values.len() {
        let value = Value(index as u32);
        let (root, column) = graph.root(value);
        let Some((stage, _)) = liveness.made[root.0 as usize] else {
            continue; // nobody makes it, and nobody reads it
        };
        let Some(span) = plan.spans[root.0 as usize] else {
            return Err(format!("{root:?} has no memory"));
        };
        let (info, whole) = (graph.info(root), graph.info(value));
        let end = span.start.checked_add(span.len);
        if span.start % ALIGN != 0 || end.is_none_or(|end| end > plan.arena_len) {
            return Err(format!("{root:?} lies outside the arena or is not aligned"));
        }
        let place = plan.place(value);
        let rows = match (plan.place(root).whole, info.space) {
            (false, _) => plan.stages[stage].tile,
            (true, RowSpace::Sequence) => plan.capacity.sequences,
            (true, _) => plan.capacity.rows,
        };
        let row = info.form.row_len(info.width);
        if row.is_none_or(|row| row > place.stride)
            || !place.stride.is_multiple_of(size_of::<f32>())
            || place.stride != plan.place(root).stride
            || place
                .stride
                .checked_mul(rows)
                .is_none_or(|len| len > span.len)
        {
            return Err(format!("{value:?} is longer than its span"));
        }
        let sliced = value != root;
        let inside = column
            .checked_add(whole.width)
            .is_some_and(|end| end <= info.width);
        let floats = info.form == Activation::F32 && whole.form == Activation::F32;
        if sliced && !(inside && floats && whole.space == info.space)
            || place.offset != span.start + 4 * column
            || place.whole != plan.place(root).whole
        {
            return Err(format!("{value:?} is not where its root {root:?} is"));
        }
    }
    Ok(())
}

/// Each node finds the rows that it reads: those of its tile, or all of an earlier stage.
fn check_reads(plan: &Plan, liveness: &Liveness) -> Result<(), String> {
    for (at, stage) in plan.stages.iter().enumerate() {
        for index in stage.nodes.clone() {
            let reach = plan.graph.nodes[index].op.reach();
            let out = writes(&plan.graph.nodes[index]);
            if out.is_some_and(|out| plan.graph.info(out).space != stage.space) {
                return Err(format!(
                    "{} is in a stage over other rows",
                    name(plan, index)
                ));
            }
            let writes_to = |node: usize| {
                node != index && writes_state(&plan.graph.nodes[node], &plan.graph.nodes[index])
            };
            // Another tile of this stage would write to it later, or has not yet.
            if reach.wants_all_rows() && stage.nodes.clone().any(writes_to) {
                return Err(format!(
                    "{} reads state before all rows have written to it",
                    name(plan, index)
                ));
            }
            for input in reads(&plan.graph.nodes[index]) {
                let root = plan.graph.root(input).0;
                let here = liveness.made[root.0 as usize].is_some_and(|(made, _)| made == at);
                if !here && !plan.place(input).whole {
                    return Err(format!(
                        "{input:?} crosses into stage {at} but is not whole"
                    ));
                }
                if here && reach.is_across() {
                    return Err(format!("{} needs all rows of {input:?}", name(plan, index)));
                }
                if !reach.picks_rows() && plan.graph.info(input).space != stage.space {
                    return Err(format!(
                        "{} reads other rows of {input:?}",
                        name(plan, index)
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Nobody writes a value's bytes between its making and its last reading.
fn check_lives(plan: &Plan, liveness: &Liveness) -> Result<(), String> {
    let owners = || {
        let spans = plan.spans.iter().zip(&liveness.made).enumerate();
        spans.filter_map(|(value, (span, made))| Some((Value(value as u32), (*span)?, (*made)?)))
    };
    for (value, span, made) in owners() {
        let neighbours = owners().filter(|&(other, held, _)| other != value && held.overlaps(span));
        for (other, _, written) in neighbours {
            if !survives(plan, liveness, (value, made), (other, written)) {
                return Err(format!(
                    "{} writes {other:?} over {value:?} at {span:?}",
                    name(plan, written.1)
                ));
            }
        }
    }
    Ok(())
}

/// Whether all readers of `value` find it although `other`, in overlapping bytes, is written.
fn survives(
    plan: &Plan,
    liveness: &Liveness,
    (value, made): (Value, When),
    (other, written): (Value, When),
) -> bool {
    let readers = &liveness.reads[value.0 as usize];
    let Some(&last) = readers.last() else {
        return true; // nobody reads it
    };
    if !plan.place(value).whole {
        // It lives within one tile. Another tile's writes come before its making or after its
        // last reading, another stage's in any case.
        return written.0 != made.0
            || written.1 < made.1
            || written.1 > last.1
            || written.1 == last.1 && in_place(plan, value, other, last.1);
    }
    // All its rows live from its stage's first tile to the last tile of the last stage that
    // reads it.
    let stage: &Stage = match written.0 {
        at if at < made.0 || at > last.0 => return true,
        at if at == last.0 && at != made.0 => &plan.stages[at],
        _ => return false,
    };
    // In that last stage a row may give way to the same row of another value once every reader
    // of the tile has passed, if none of them looks at other rows.
    let row_by_row = stage
        .nodes
        .clone()
        .filter(|node| readers.contains(&(written.0, *node)))
        .all(|node| !plan.graph.nodes[node].op.reach().is_across());
    let passed = written.1 > last.1 || written.1 == last.1 && in_place(plan, value, other, last.1);
    row_by_row && passed && plan.place(value) == plan.place(other)
}

/// Whether `node` may write `out` where it reads `value`: each element from its own alone.
fn in_place(plan: &Plan, value: Value, out: Value, node: usize) -> bool {
    let op = &plan.graph.nodes[node].op;
    op.inputs()
        .into_iter()
        .filter(|&input| plan.graph.root(input).0 == value)
        .all(|input| op.may_overwrite(input) && plan.place(input) == plan.place(out))
}

/// In a phase that rows pass one by one, no node looks at other rows, and bytes that two nodes
/// share, one of them writing, are each row's own: then a row finds what it would find if every
/// node had been finished before the next.
fn check_rows(plan: &Plan, phase: Range<usize>) -> Result<(), String> {
    let nodes = &plan.graph.nodes;
    let root = |value: Value| plan.graph.root(value).0;
    let span = |value: Value| plan.spans[value.0 as usize];
    for b in phase.clone() {
        match nodes[b].op.reach() {
            Reach::View | Reach::OwnRow if nodes[b].op.states().is_empty() => {}
            Reach::View | Reach::OwnRow | Reach::Columns | Reach::AllRows | Reach::PickedRow => {
                return Err(format!("{} cannot go row by row", name(plan, b)));
            }
        }
        for a in phase.start..b {
            let clash = |writer: usize, other: usize| {
                let Some(written) = writes(&nodes[writer]).map(root) else {
                    return false;
                };
                let touched = reads(&nodes[other])
                    .into_iter()
                    .chain(writes(&nodes[other]));
                touched
                    .map(root)
                    .any(|value| match (span(written), span(value)) {
                        (Some(x), Some(y)) => {
                            x.overlaps(y) && plan.place(written) != plan.place(value)
                        }
                        _ => false,
                    })
            };
            if clash(a, b) || clash(b, a) {
                return Err(format!("rows at nodes {a} and {b} disturb each other"));
            }
        }
    }
    Ok(())
}

/// Whether a node writes to a piece of state that another one touches.
fn writes_state(writer: &Node, other: &Node) -> bool {
    let touched = other.op.states();
    let mut states = writer.op.states().into_iter();
    states.any(|(state, access)| {
        access.is_write() && touched.iter().any(|&(other, _)| other == state)
    })
}

/// Inside a phase no node touches bytes or state that another one writes.
fn check_phase(plan: &Plan, phase: Range<usize>) -> Result<(), String> {
    let nodes = &plan.graph.nodes;
    let bytes = |value: Value| plan.spans[plan.graph.root(value).0.0 as usize];
    let touched = |node: &Node| -> Vec<Span> {
        let values = reads(node).into_iter().chain(writes(node));
        values.filter_map(bytes).collect()
    };
    for b in phase.clone() {
        for a in phase.start..b {
            let disturbs = |writer: usize, other: usize| {
                let written = writes(&nodes[writer]).and_then(bytes);
                let in_bytes = written
                    .is_some_and(|span| touched(&nodes[other]).iter().any(|&t| t.overlaps(span)));
                in_bytes || writes_state(&nodes[writer], &nodes[other])
            };
            if disturbs(a, b) || disturbs(b, a) {
                return Err(format!("nodes {a} and {b} conflict without a barrier"));
            }
        }
    }
    Ok(())
}
