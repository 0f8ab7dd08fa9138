//! Every kind of operation, in plans that are damaged where it stands: the checker must refuse
//! them, and for the reason that the damage is.

use rillm::internals::ModelParts;
use rillm::internals::graph::op::{
    LinearRead, LinearWrite, Reach, SegmentEvict, SegmentRead, SegmentWriteCompressed,
    SinusoidalPositions,
};
use rillm::internals::graph::state::{Access, StateId};
use rillm::internals::graph::{Graph, Node, Op, Role, SinusoidFrequencies, Value, ValueInfo};
use rillm::internals::plan::{Order, PHASE_STEPS, Phase, Plan, Span, check};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::plans::{models, plan};

/// What is done to a plan at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    /// The barrier is gone between it and the step that writes what it reads, state or operand.
    Barrier,
    /// A second step of its kind writes to its state at the same time.
    Rival,
    /// Its rows pass one by one.
    Hurry,
    /// Its stage begins before all rows of its operands exist.
    Early,
    /// Its result lies where an operand lies, or, if it has none, another result where its own
    /// does before that is read.
    Overwrite,
}

use Harm::*;

/// What of each operation must have been tried. Said here by hand: the operations' facts are what
/// is tested.
const CASES: &[(&str, &[Harm])] = &[
    ("embed", &[Overwrite]),
    ("matmul", &[Barrier, Hurry, Overwrite]),
    ("head_matmul", &[Barrier, Hurry, Overwrite]),
    ("norm", &[Barrier, Overwrite]),
    ("add", &[Barrier, Overwrite]),
    ("mul", &[Barrier, Overwrite]),
    ("scale", &[Barrier, Overwrite]),
    ("round_to_int8", &[Barrier, Overwrite]),
    ("scale_by_position", &[Barrier, Overwrite]),
    ("xielu", &[Barrier, Overwrite]),
    ("match_magnitude", &[Barrier, Overwrite]),
    ("above_deviations", &[Barrier, Overwrite]),
    ("clamp", &[Barrier, Overwrite]),
    ("apply", &[Barrier, Overwrite]),
    ("weigh", &[Barrier, Overwrite]),
    ("add_vector", &[Barrier, Overwrite]),
    ("scale_heads", &[Barrier, Overwrite]),
    ("join_heads", &[Barrier, Overwrite]),
    ("lerp", &[Barrier, Overwrite]),
    ("bonus", &[Overwrite]),
    ("slice", &[Overwrite]),
    ("sinusoidal_positions", &[Overwrite]),
    ("attention", &[Barrier, Hurry, Early, Overwrite]),
    ("disentangled_attention", &[Hurry, Early, Overwrite]),
    // Its operand is of no stage right before its own, or it would be early there.
    ("column_window", &[Hurry, Overwrite]),
    ("store_cross", &[Barrier, Rival, Hurry]),
    ("conv", &[Barrier, Rival, Hurry, Overwrite]),
    ("step_size", &[Overwrite]),
    ("scan", &[Barrier, Rival, Hurry, Overwrite]),
    ("token_shift", &[Barrier, Rival, Hurry, Overwrite]),
    ("wkv", &[Barrier, Rival, Hurry, Overwrite]),
    ("linear_attention", &[Barrier, Rival, Hurry, Overwrite]),
    ("linear_write", &[Barrier, Rival, Hurry]),
    ("linear_read", &[Hurry, Early, Overwrite]),
    ("softmax", &[Barrier, Overwrite]),
    ("limit_groups", &[Overwrite]),
    ("route", &[Barrier, Overwrite]),
    ("limit_capacity", &[Hurry, Early, Overwrite]),
    ("expert_inputs", &[Overwrite]),
    ("expert_matmul", &[Barrier, Hurry, Overwrite]),
    ("expert_sum", &[Barrier, Overwrite]),
    ("store_table", &[Barrier, Rival, Hurry]),
    ("segment_write", &[Barrier, Rival, Hurry]),
    ("segment_write_hidden", &[Rival, Hurry]),
    ("segment_attention", &[Barrier, Hurry, Overwrite]),
    // That their state may not be written at the same time: see below.
    ("segment_evict", &[Barrier, Hurry, Overwrite]),
    ("segment_write_compressed", &[Barrier, Rival, Hurry]),
    ("segment_read", &[Hurry, Overwrite]),
    ("segment_write_reprojected", &[Barrier, Rival, Hurry]),
    ("select", &[Hurry, Early, Overwrite]),
    ("mean_rows", &[Hurry, Early, Overwrite]),
    ("block_sums", &[Hurry, Early, Overwrite]),
    ("adaptive_softmax", &[Barrier, Overwrite]),
    ("emit", &[Barrier, Hurry]),
    ("quantize", &[Barrier, Overwrite]),
    ("rope_table", &[Overwrite]),
    ("rotate", &[Barrier, Overwrite]),
    ("store_kv", &[Barrier, Rival, Hurry]),
];

/// What state each operation declares, in the ways that it may; all others declare none. Said here
/// by hand as well: a step can only reach what its operation declares, and the checker asks for
/// barriers by it.
const STATES: &[(&str, &[&[Access]])] = {
    const NONE: &[Access] = &[];
    const READ: &[Access] = &[Access::Read];
    const WRITE: &[Access] = &[Access::Write];
    &[
        // This run's keys alone; a KV cache, or an encoder's.
        ("attention", &[NONE, READ]),
        // A table of keys for distances, of queries for them, or both.
        ("disentangled_attention", &[READ, &[Access::Read; 2]]),
        ("store_cross", &[WRITE]),
        ("conv", &[WRITE]),
        ("scan", &[WRITE]),
        ("token_shift", &[WRITE]),
        ("wkv", &[WRITE]),
        ("linear_attention", &[WRITE]),
        ("linear_write", &[WRITE]),
        ("linear_read", &[READ]),
        ("store_table", &[WRITE]),
        ("segment_write", &[WRITE]),
        ("segment_write_hidden", &[WRITE]),
        // Learned distances; the session's table of them; and of rows before the first.
        (
            "segment_attention",
            &[READ, &[Access::Read; 2], &[Access::Read; 3]],
        ),
        ("segment_evict", &[READ]),
        ("segment_write_compressed", &[WRITE]),
        ("segment_read", &[READ]),
        ("segment_write_reprojected", &[WRITE]),
        ("store_kv", &[WRITE]),
    ]
};

impl Harm {
    /// A damaged plan and how what the checker says of it begins; `None` if this cannot be done there.
    fn apply(self, plan: &Plan, node: usize) -> Option<(Plan, String)> {
        let conflict = |a, b| format!("nodes {a} and {b} conflict without a barrier");
        match self {
            Barrier => {
                let (damaged, writer) = barrier(plan, node)?;
                Some((damaged, conflict(writer, node)))
            }
            Rival => Some((rival(plan, node)?, conflict(node, node + 1))),
            Hurry => {
                let name = op(plan, node).name();
                let said = format!("node {node} ({name}) cannot go row by row");
                Some((hurry(plan, node)?, said))
            }
            Early => early(plan, node),
            Overwrite => overwrite(plan, node),
        }
    }
}

fn op(plan: &Plan, node: usize) -> &Op {
    &plan.graph.nodes[node].op
}

fn root(plan: &Plan, value: Value) -> Value {
    plan.graph.root(value).0
}

/// The stage and phase of a node.
fn place(plan: &Plan, node: usize) -> (usize, usize) {
    let holds = |phase: &Phase| phase.nodes.contains(&node);
    let stages = plan.stages.iter().enumerate();
    let mut found =
        stages.filter_map(|(at, stage)| Some((at, stage.phases.iter().position(holds)?)));
    found.next().expect("every node is in a phase")
}

/// Whether `writer` makes what `node` reads, an operand or state.
fn feeds(plan: &Plan, writer: usize, node: usize) -> bool {
    let written = |states: Vec<(StateId, Access)>| {
        let written = states.into_iter();
        let written = written.filter(|(_, access)| *access == Access::Write);
        written.map(|(state, _)| state).collect::<Vec<_>>()
    };
    let states = op(plan, node).states();
    let by_state = written(op(plan, writer).states());
    let made = plan.graph.nodes[writer].out;
    let reads = |made| {
        op(plan, node)
            .inputs()
            .iter()
            .any(|&x| root(plan, x) == made)
    };
    states.iter().any(|(state, _)| by_state.contains(state)) || made.is_some_and(reads)
}

/// The plan with a phase of these nodes alone, between what is left of the phases they are taken from.
fn with_phase(plan: &Plan, stage: usize, nodes: Range<usize>, order: Order) -> Plan {
    let mut damaged = plan.clone();
    let phases = &mut damaged.stages[stage].phases;
    let (mut before, mut after) = (phases.clone(), phases.clone());
    for phase in &mut before {
        phase.nodes.end = phase.nodes.end.min(nodes.start);
    }
    for phase in &mut after {
        phase.nodes.start = phase.nodes.start.max(nodes.end);
    }
    before.push(Phase { nodes, order });
    before.append(&mut after);
    before.retain(|phase| !phase.nodes.is_empty());
    *phases = before;
    damaged
}

/// A phase from the writer to the node, if all between them get on with each other: what is refused
/// is then these two and no neighbours.
fn barrier(plan: &Plan, node: usize) -> Option<(Plan, usize)> {
    if op(plan, node).reach() == Reach::View {
        return None;
    }
    let (stage, phase) = place(plan, node);
    let start = plan.stages[stage].nodes.start;
    let before = start..plan.stages[stage].phases[phase].nodes.start;
    let mut writers = before
        .rev()
        .take_while(|writer| node + 1 - writer <= PHASE_STEPS)
        .filter(|&writer| op(plan, writer).reach() != Reach::View && feeds(plan, writer, node));
    writers.find_map(|writer| {
        let sound = with_phase(plan, stage, writer..node, Order::Apart);
        let damaged = with_phase(plan, stage, writer..node + 1, Order::Apart);
        check(&sound).is_ok().then_some((damaged, writer))
    })
}

/// Appends the same operation, with a result of its own behind all others, right after the node
/// and in its phase.
fn rival(plan: &Plan, node: usize) -> Option<Plan> {
    let writes = |&(_, access): &(StateId, Access)| access == Access::Write;
    if !op(plan, node).states().iter().any(writes) {
        return None;
    }
    let (stage, phase) = place(plan, node);
    if plan.stages[stage].phases[phase].nodes.len() == PHASE_STEPS {
        return None;
    }
    let mut damaged = plan.clone();
    let op = op(plan, node).clone();
    match plan.graph.nodes[node].out {
        Some(out) => {
            damaged.graph.push(op, plan.graph.info(out));
            let mut place = plan.place(out);
            let len = plan.spans[out.index()]?.len;
            place.offset = plan.arena_len;
            damaged.places.push(place);
            damaged.spans.push(Some(Span {
                start: plan.arena_len,
                len,
            }));
            damaged.arena_len += len;
        }
        None => damaged.graph.push_effect(op),
    }
    let twin = damaged.graph.nodes.pop()?;
    damaged.graph.nodes.insert(node + 1, twin);
    for stage in &mut damaged.stages {
        let ranges = stage.phases.iter_mut().map(|phase| &mut phase.nodes);
        for nodes in ranges.chain([&mut stage.nodes]) {
            nodes.start += usize::from(nodes.start > node);
            nodes.end += usize::from(nodes.end > node);
        }
    }
    Some(damaged)
}

/// A phase of its own, row by row.
fn hurry(plan: &Plan, node: usize) -> Option<Plan> {
    if matches!(op(plan, node).reach(), Reach::View | Reach::OwnRow) {
        return None;
    }
    let (stage, _) = place(plan, node);
    Some(with_phase(plan, stage, node..node + 1, Order::RowByRow))
}

/// Moves the first node of a stage to the end of the stage before it.
fn early(plan: &Plan, node: usize) -> Option<(Plan, String)> {
    let (stage, _) = place(plan, node);
    if !op(plan, node).reach().is_across() || plan.stages[stage].nodes.start != node {
        return None;
    }
    let mut damaged = plan.clone();
    let [.., first, second] = &mut damaged.stages[..=stage] else {
        return None;
    };
    let nodes = node..node + 1;
    first.nodes.end = nodes.end;
    first.phases.push(Phase {
        nodes: nodes.clone(),
        order: Order::Apart,
    });
    // Tiles that both have room for, or the checker has another reason.
    first.tile = first.tile.min(second.tile);
    second.nodes.start = nodes.end;
    second.phases[0].nodes.start = nodes.end;
    second.phases.retain(|phase| !phase.nodes.is_empty());
    let (space, before) = (first.space, first.nodes.clone());
    if second.nodes.is_empty() {
        damaged.stages.remove(stage);
    }
    // Rows of another space, state that is not whole yet, or an operand that is not.
    let name = format!("node {node} ({})", op(plan, node).name());
    let of_another = |out: Value| plan.graph.info(out).space != space;
    let writes_state = |&writer: &usize| {
        let states = op(plan, writer).states().into_iter();
        let mut written = states.filter(|(_, access)| access.is_write());
        written.any(|(state, _)| {
            op(plan, node)
                .states()
                .iter()
                .any(|(read, _)| *read == state)
        })
    };
    let made_there = |value: &Value| {
        let made = |&writer: &usize| plan.graph.nodes[writer].out == Some(root(plan, *value));
        before
            .clone()
            .filter(|writer| *writer != node)
            .any(|writer| made(&writer))
    };
    let said = if plan.graph.nodes[node].out.is_some_and(of_another) {
        format!("{name} is in a stage over other rows")
    } else if op(plan, node).reach().wants_all_rows()
        && before
            .clone()
            .filter(|writer| *writer != node)
            .any(|writer| writes_state(&writer))
    {
        format!("{name} reads state before all rows have written to it")
    } else {
        let operand = op(plan, node).inputs().into_iter().find(made_there)?;
        format!("{name} needs all rows of {operand:?}")
    };
    Some((damaged, said))
}

/// Lays two values across each other, behind all others.
fn overwrite(plan: &Plan, node: usize) -> Option<(Plan, String)> {
    let made = plan.graph.nodes[node].out?;
    let operands = op(plan, node).inputs();
    let readers = || (node + 1..plan.graph.nodes.len()).filter(|&reader| feeds(plan, node, reader));
    let (over, by) = match (op(plan, node).reach(), operands.first()) {
        // What reads a view reads its operand.
        (Reach::View, _) => {
            let reads = |reader: &usize| op(plan, *reader).inputs().contains(&made);
            let readers = (node + 1..plan.graph.nodes.len()).filter(reads);
            let mut outs = readers.filter_map(|reader| plan.graph.nodes[reader].out);
            (root(plan, made), outs.find(|&out| root(plan, out) == out)?)
        }
        (Reach::OwnRow | Reach::Columns | Reach::AllRows | Reach::PickedRow, Some(&operand)) => {
            (root(plan, operand), made)
        }
        (Reach::OwnRow | Reach::Columns | Reach::AllRows | Reach::PickedRow, None) => {
            let mut outs = readers().filter_map(|reader| plan.graph.nodes[reader].out);
            (made, outs.find(|&out| root(plan, out) == out)?)
        }
    };
    if over == by {
        return None;
    }
    let mut damaged = plan.clone();
    // A line further: where operations work in place, each element lies where it is read.
    for (value, start) in [(over, plan.arena_len), (by, plan.arena_len + 64)] {
        let span = damaged.spans[value.index()].as_mut()?;
        let from = std::mem::replace(&mut span.start, start);
        damaged.arena_len = damaged.arena_len.max(start + span.len);
        for (index, slice) in values(plan).enumerate() {
            if root(plan, slice) == value {
                damaged.places[index].offset = plan.places[index].offset - from + start;
            }
        }
    }
    let meet = damaged.spans[over.index()]?.overlaps(damaged.spans[by.index()]?);
    let writer = |value| {
        let made = |node: &Node| node.out == Some(value) && !node.op.reach().is_view();
        plan.graph.nodes.iter().position(made)
    };
    let name = |node: usize| format!("node {node} ({})", op(plan, node).name());
    let said = format!("{} writes {by:?} over {over:?}", name(writer(by)?));
    meet.then_some((damaged, said))
}

/// The values, which are numbered as they are made.
fn values(plan: &Plan) -> impl Iterator<Item = Value> {
    plan.graph.nodes.iter().filter_map(|node| node.out)
}

#[test]
fn every_operation_has_its_cases() {
    let cases: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    let names: BTreeSet<&str> = Op::NAMES.iter().copied().collect();
    assert_eq!(names.len(), Op::NAMES.len(), "a name twice");
    assert_eq!(cases.iter().copied().collect::<BTreeSet<_>>(), names);
}

#[test]
fn every_operation_declares_its_states() {
    let mut met: BTreeSet<(&str, usize)> = BTreeSet::new();
    for (name, model) in models() {
        for graph in ROLES.iter().filter_map(|&role| model.graph(role)) {
            let sound = plan(&model, graph, 70);
            assert_eq!(check(&sound), Ok(()), "{name}");
            for node in &sound.graph.nodes {
                let kind = node.op.name();
                let declared: Vec<Access> = node.op.states().iter().map(|(_, how)| *how).collect();
                let ways = STATES.iter().find(|(name, _)| *name == kind);
                let ways = ways.map_or(&[&[] as &[Access]] as &[&[Access]], |(_, ways)| ways);
                let way = ways.iter().position(|way| *way == declared);
                let way = way.unwrap_or_else(|| panic!("{name}: {kind} declares {declared:?}"));
                met.insert((kind, way));
            }
        }
    }
    for (kind, ways) in STATES {
        for way in 0..ways.len() {
            assert!(
                met.contains(&(kind, way)),
                "{kind}: {:?} was never met",
                ways[way]
            );
        }
    }
}

/// Which operands' bytes a result may take over, by their number; of all others none. Said here by
/// hand as well: kernels that compute each element of that operand's own alone, or (`rotate`,
/// `softmax`) a pair or a row where it stands.
const IN_PLACE: &[(&str, &[usize])] = &[
    ("add", &[0, 1]),
    ("apply", &[0]),
    ("clamp", &[0]),
    ("mul", &[0, 1]),
    ("rotate", &[0]),
    ("scale", &[0]),
    ("scale_by_position", &[0]),
    ("softmax", &[0]),
    ("weigh", &[0]),
    ("xielu", &[0]),
];

#[test]
fn results_take_over_what_they_may() {
    let mut met: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (_, model) in models() {
        for graph in ROLES.iter().filter_map(|&role| model.graph(role)) {
            for node in &plan(&model, graph, 70).graph.nodes {
                let operands = node.op.inputs();
                let taken = (0..operands.len()).filter(|&at| node.op.may_overwrite(operands[at]));
                met.entry(node.op.name()).or_default().extend(taken);
            }
        }
    }
    met.retain(|_, taken| !taken.is_empty());
    let listed = IN_PLACE
        .iter()
        .map(|(name, taken)| (*name, taken.iter().copied().collect()));
    assert_eq!(met, listed.collect::<BTreeMap<_, _>>());
}

/// Every kind of graph.
const ROLES: [Role; 5] = [
    Role::Decode,
    Role::Encode,
    Role::Table,
    Role::Compress,
    Role::Reproject,
];

#[test]
fn every_harm_to_every_operation_is_refused() {
    let mut tried: BTreeMap<(&str, Harm), usize> = BTreeMap::new();
    for (name, model) in models() {
        for graph in ROLES.iter().filter_map(|&role| model.graph(role)) {
            let sound = plan(&model, graph, 70);
            // Of each kind the first few: layers are alike.
            let mut seen: BTreeMap<(&str, Harm), usize> = BTreeMap::new();
            for node in 0..sound.graph.nodes.len() {
                let kind = op(&sound, node).name();
                for harm in [Barrier, Rival, Hurry, Early, Overwrite] {
                    let count = seen.entry((kind, harm)).or_default();
                    if *count == 4 {
                        continue;
                    }
                    let Some((damaged, refusal)) = harm.apply(&sound, node) else {
                        continue;
                    };
                    *count += 1;
                    *tried.entry((kind, harm)).or_default() += 1;
                    let said = check(&damaged)
                        .expect_err(&format!("{name}: {harm:?} at node {node} ({kind}) passes"));
                    assert!(
                        said.starts_with(&refusal),
                        "{name}: {harm:?} at node {node} ({kind}): {said}, not {refusal}"
                    );
                }
            }
        }
    }
    let tried: BTreeSet<(&str, Harm)> = tried.into_keys().collect();
    let cases = CASES
        .iter()
        .flat_map(|(kind, harms)| harms.iter().map(|harm| (*kind, *harm)));
    let cases: BTreeSet<(&str, Harm)> = cases.collect();
    let never: Vec<_> = cases.difference(&tried).collect();
    let unlisted: Vec<_> = tried.difference(&cases).collect();
    assert!(
        never.is_empty() && unlisted.is_empty(),
        "never tried: {never:?}; not listed: {unlisted:?}"
    );
}

/// What is evicted from a segment memory, or read to be projected anew, is not written at the same
/// time: alone because of the state, for all else that these steps touch lies apart.
#[test]
fn what_reads_a_segment_memory_meets_no_writer() {
    let (_, model) = models()
        .into_iter()
        .find(|(name, _)| name == "compressive_transformer")
        .unwrap();
    let nodes = &model.graph(Role::Compress).unwrap().nodes;
    let hidden = nodes.iter().find_map(|node| match &node.op {
        Op::SegmentEvict(evict) => Some((node.out.unwrap(), evict.state)),
        _ => None,
    });
    let (out, state) = hidden.unwrap();
    let info = model.graph(Role::Compress).unwrap().info(out);
    let readers: [fn(&mut Graph, ValueInfo, _); 2] = [
        |graph, info, state| {
            graph.push(SegmentEvict { layer: 0, state }, info);
        },
        |graph, info, state| {
            graph.push(SegmentRead { layer: 0, state }, info);
        },
    ];
    for read in readers {
        let mut graph = Graph::new(Role::Compress);
        let x = graph.push(SegmentRead { layer: 0, state }, info);
        read(&mut graph, info, state);
        graph.push_effect(SegmentWriteCompressed { x, layer: 0, state });
        let mut plan = plan(&model, &graph, 70);
        assert_eq!(plan.graph.nodes.len(), 3);
        let phases = |cut: usize| {
            [0..cut, cut..3].map(|nodes| Phase {
                nodes,
                order: Order::Apart,
            })
        };
        plan.stages[0].phases = phases(2).to_vec();
        assert_eq!(check(&plan), Ok(()));
        plan.stages[0].phases = phases(1).to_vec();
        let said = check(&plan).unwrap_err();
        assert!(said.contains("nodes 1 and 2 conflict"), "{said}");
    }
}

/// A state that all rows write is read in a later stage, even by what has its operand from an
/// earlier one.
#[test]
fn what_reads_a_state_of_all_rows_waits_for_its_writers() {
    let (_, model) = models()
        .into_iter()
        .find(|(name, _)| name == "linear_transformer_bidirectional")
        .unwrap();
    let encode = model.graph(Role::Encode).unwrap();
    let reads = encode.nodes.iter().filter_map(|node| match &node.op {
        Op::LinearRead(read) => Some((read.clone(), node.out.unwrap())),
        _ => None,
    });
    let reads: Vec<(LinearRead, Value)> = reads.collect();
    let [(first, out), (second, _), ..] = &reads[..] else {
        panic!("two layers");
    };
    let info = encode.info(*out);
    let frequencies = SinusoidFrequencies::Usual {
        pairs: info.width / 2,
    };
    let mut graph = Graph::new(Role::Encode);
    let positions = SinusoidalPositions {
        frequencies,
        first: 0,
        absent: None,
    };
    let q = graph.push(positions, info);
    graph.push(
        LinearRead {
            q,
            ..second.clone()
        },
        info,
    );
    let LinearRead {
        attention, state, ..
    } = first.clone();
    graph.push_effect(LinearWrite {
        k: q,
        v: q,
        attention,
        state,
    });
    graph.push(LinearRead { q, ..first.clone() }, info);
    let mut plan = plan(&model, &graph, 70);
    let stages: Vec<_> = plan
        .stages
        .iter()
        .map(|stage| stage.nodes.clone())
        .collect();
    assert_eq!(stages, [0..1, 1..3, 3..4]);
    let last = plan.stages.remove(2);
    plan.stages[1].nodes.end = last.nodes.end;
    plan.stages[1].phases.extend(last.phases);
    let said = check(&plan).unwrap_err();
    assert!(said.contains("before all rows have written"), "{said}");
}
