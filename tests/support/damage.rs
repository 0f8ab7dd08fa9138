//! Damages the schedule of a plan: its checker refuses it, or it computes what the plan did. Uses
//! nothing but the library, so that the fuzz target shares it.

use rillm::internals::ModelParts;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use rillm::internals::arena::Arena;
use rillm::internals::exec::{Batch, Row, Run, execute};
use rillm::internals::plan::{Order, Phase, Plan, Span, check};
use rillm::internals::pool::{Crew, Outcome};
use rillm::internals::session::plans;
use rillm::internals::state::{State, StateCapacity, StateLayout};
use rillm::{KvType, Model, RowSpace, SessionOptions};

const OPTIONS: SessionOptions = SessionOptions::new()
    .context(8)
    .sequences(1)
    .batch(4)
    .source(4)
    .checkpoints(0)
    .kv_type(KvType::F32);

/// Longer activation buffers than small models need are not reserved.
const LONGEST: usize = 1 << 20;

/// A model and its plans.
pub struct Planned {
    model: Model,
    plans: Vec<(&'static str, Plan)>,
}

impl Planned {
    pub fn new(model: Model) -> Planned {
        let plans = plans(&model, OPTIONS).expect("plans");
        Planned { model, plans }
    }
}

/// A byte for the plan, then a change for each three bytes: what, where and how far. Panics if there
/// is a defect; returns whether the checker took it.
pub fn damage(Planned { model, plans }: &Planned, bytes: &[u8]) -> bool {
    let Some((&which, changes)) = bytes.split_first() else {
        return false;
    };
    let (name, plan) = &plans[usize::from(which) % plans.len()];
    let mut damaged = plan.clone();
    for &[what, at, by] in changes.as_chunks().0 {
        change(&mut damaged, what, usize::from(at), by);
    }
    if check(&damaged).is_err() {
        return false;
    }
    let rows = plan.capacity.rows.min(3);
    let holds = damaged.capacity.rows >= rows && damaged.capacity.sequences >= 1;
    // What sessions prepare first, tables and an encoder's output, is left to them.
    let runs = matches!(*name, "decode" | "prefill" | "encode") && plans.len() <= 2;
    if runs && holds && damaged.arena_len <= LONGEST {
        let [before, after] = [plan, &damaged].map(|plan| outputs(model, plan, name, rows));
        assert_eq!(before, after, "{name}: the checker took another plan");
    }
    true
}

/// What a plan makes of a few rows, bit by bit.
fn outputs(model: &Model, plan: &Plan, name: &str, count: usize) -> Vec<(&'static str, Vec<u32>)> {
    let SessionOptions {
        context,
        sequences,
        batch,
        source,
        checkpoints,
        kv_type,
        ..
    } = OPTIONS;
    let capacity = StateCapacity {
        context,
        sequences,
        batch,
        source,
        checkpoints,
        kv_type,
    };
    let layout = StateLayout::new(model.states(), capacity).expect("a layout");
    let mut state = State::new(layout).expect("a state");
    let mut rows = Batch::with_capacity(count, 1).expect("rows");
    rows.clear(0, count as u64);
    for at in 0..count {
        let row = Row {
            token: at as u32,
            position: at as u64,
            emit: true,
            ..Row::default()
        };
        match name {
            "encode" => rows.push_source(row),
            _ => rows.push_step(row, &mut state).expect("room"),
        }
    }
    let arena = Arena::new(plan.arena_len).expect("an arena");
    let run = Run {
        plan,
        weights: model.weights(),
        residency: &OnceLock::new(),
        kernels: model.kernels(),
        arena: &arena,
        state: &state,
        rows: &rows,
        recorder: None,
        profile: None,
    };
    let mut found = Vec::new();
    let outcome = execute(
        &run,
        (model.pool(), Crew::Caller),
        &AtomicBool::new(false),
        &mut |output| {
            let bits = output.values.iter().map(|value| value.to_bits()).collect();
            found.push((output.name, bits));
        },
    );
    assert_eq!(outcome, Outcome::Finished);
    found
}

/// One change: of where values lie, of how nodes are cut, of how many rows there are. The nodes and
/// their order are the graph's, and stay.
fn change(plan: &mut Plan, what: u8, at: usize, by: u8) {
    let far = match by {
        0..=31 => usize::from(by),
        32..=63 => usize::from(by - 32) * 64,
        64..=127 => usize::from(by - 64).wrapping_neg(),
        128..=191 => (usize::from(by - 128) * 64).wrapping_neg(),
        _ => (usize::MAX / 2) << (by % 4),
    };
    let moved = |number: &mut usize| *number = number.wrapping_add(far);
    let (values, stages) = (plan.spans.len(), plan.stages.len());
    let other = usize::from(by) % values;
    let at_value = at % values;
    let stage = at % stages;
    match what % 18 {
        0 => plan.spans[at_value]
            .iter_mut()
            .for_each(|span| moved(&mut span.start)),
        1 => plan.spans[at_value]
            .iter_mut()
            .for_each(|span| moved(&mut span.len)),
        2 => plan.spans[at_value] = plan.spans[other],
        3 => moved(&mut plan.places[at_value].offset),
        4 => moved(&mut plan.places[at_value].stride),
        5 => plan.places[at_value].whole ^= true,
        // A value moves as a whole to where another one lies.
        6 => {
            let start = plan.spans[other].map_or(0, |span| span.start);
            if let Some(Span { start: held, .. }) = &mut plan.spans[at_value] {
                let far = start.wrapping_sub(*held);
                *held = start;
                let made = plan.graph.nodes.iter().filter_map(|node| node.out);
                for value in made.filter(|&value| plan.graph.root(value).0.index() == at_value) {
                    let offset = &mut plan.places[value.index()].offset;
                    *offset = offset.wrapping_add(far);
                }
            }
        }
        7 => moved(&mut plan.stages[stage].tile),
        8 => moved(&mut plan.stages[stage].nodes.end),
        9 => moved(&mut plan.arena_len),
        10 => moved(&mut plan.capacity.rows),
        11 => moved(&mut plan.capacity.sequences),
        12 => {
            plan.stages[stage].space = match by % 4 {
                0 => RowSpace::Step,
                1 => RowSpace::Source,
                2 => RowSpace::Sequence,
                _ => RowSpace::Selected,
            };
        }
        13 => plan.stages.swap(stage, usize::from(by) % stages),
        14 if stage + 1 < stages => {
            let next = plan.stages.remove(stage + 1);
            plan.stages[stage].nodes.end = next.nodes.end;
            plan.stages[stage].phases.extend(next.phases);
        }
        15..=17 => {
            let phases = &mut plan.stages[stage].phases;
            phase(phases, what % 3, usize::from(by));
        }
        _ => {}
    }
}

/// A phase taken into the one before, cut in two, or walked in the other order.
fn phase(phases: &mut Vec<Phase>, what: u8, by: usize) {
    let at = by % phases.len().max(1);
    let next = at + 1;
    match what {
        0 if next < phases.len() => {
            phases[at].nodes.end = phases[next].nodes.end;
            phases.remove(next);
        }
        1 if at < phases.len() => {
            let Phase { nodes, order } = phases[at].clone();
            let middle = nodes.start + nodes.len() / 2;
            phases[at].nodes.end = middle;
            let nodes = middle..nodes.end;
            phases.insert(next, Phase { nodes, order });
        }
        2 if at < phases.len() => {
            phases[at].order = match phases[at].order {
                Order::Apart => Order::RowByRow,
                Order::RowByRow => Order::Apart,
            };
        }
        _ => {}
    }
}
