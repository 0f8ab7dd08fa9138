//! Every fixture's plans, and every kind of damage to them.

use rillm::internals::ModelParts;
use rillm::internals::graph::{Activation, Graph, Matrix, Op, Role, Value};
use rillm::internals::plan::{Capacity, Order, Plan, Span, check};
use rillm::{Model, Session, SessionOptions};
use rillm_formats::manifest::{DType, MetadataValue};

use crate::support::evaluate::{open_bytes, runnable};
use crate::support::fixture::Fixture;
use crate::support::to_gguf::Gguf;
use crate::support::wide_llama;

const CAPACITIES: [usize; 4] = [1, 7, 64, 200];

pub fn models() -> Vec<(String, Model)> {
    let mut models: Vec<(String, Model)> = runnable()
        .iter()
        .map(|fixture| {
            let model = open_bytes(Gguf::of(fixture).bytes()).unwrap();
            (fixture.name.clone(), model)
        })
        .collect();
    for dtype in [DType::Q8_0, DType::Q4_K] {
        let model = open_bytes(wide_llama::gguf().bytes_as(dtype)).unwrap();
        models.push((format!("wide in {}", dtype.name()), model));
    }
    let mut rounded = Gguf::of(&Fixture::load("llama"));
    let key = rounded.key("input_bits");
    rounded.metadata.0.insert(key, MetadataValue::U32(8));
    let model = open_bytes(rounded.bytes()).unwrap();
    models.push(("rounded to int8".to_string(), model));
    models
}

fn graphs(model: &Model) -> impl Iterator<Item = &Graph> {
    [Role::Encode, Role::Decode]
        .into_iter()
        .filter_map(|role| model.graph(role))
}

pub fn plan(model: &Model, graph: &Graph, rows: usize) -> Plan {
    let capacity = Capacity {
        rows,
        sequences: rows.min(3),
    };
    let activation =
        |matrix: Matrix| -> Activation { model.weights().matrix(matrix).kernel.activation };
    Plan::new(graph, capacity, &activation).unwrap()
}

#[test]
fn every_plan_is_sound_at_every_capacity() {
    for (name, model) in models() {
        for graph in graphs(&model) {
            for rows in CAPACITIES {
                let plan = plan(&model, graph, rows);
                assert_eq!(check(&plan), Ok(()), "{name} {rows}");
                let spans = plan.spans.iter().flatten();
                assert!(spans.clone().all(|span| span.start % 64 == 0), "{name}");
                assert_eq!(
                    spans.map(|span| span.start + span.len).max(),
                    Some(plan.arena_len)
                );
            }
        }
    }
}

/// Damages a plan at `index`; `None` if there is nothing to damage there.
type Damage = fn(&Plan, usize) -> Option<Plan>;

fn owned(plan: &Plan) -> Vec<usize> {
    (0..plan.spans.len())
        .filter(|&value| plan.spans[value].is_some())
        .collect()
}

/// Two values of different lengths change places: the longer no longer fits.
fn swap(plan: &Plan, index: usize) -> Option<Plan> {
    let owned = owned(plan);
    let (a, b) = (owned[index % owned.len()], owned[(index + 1) % owned.len()]);
    let len = |value: usize| plan.spans[value].map(|span: Span| span.len);
    if len(a) == len(b) {
        return None;
    }
    let mut damaged = plan.clone();
    damaged.spans.swap(a, b);
    Some(damaged)
}

/// The arena ends before its last value does.
fn shrink(plan: &Plan, _: usize) -> Option<Plan> {
    let mut damaged = plan.clone();
    damaged.arena_len = plan.arena_len.checked_sub(1)?;
    Some(damaged)
}

/// Two phases of a stage become one: a barrier is gone.
fn merge(plan: &Plan, index: usize) -> Option<Plan> {
    let mut damaged = plan.clone();
    let count = damaged.stages.len();
    let phases = &mut damaged.stages[index % count].phases;
    let second = index / count;
    if second + 1 >= phases.len() {
        return None;
    }
    phases[second].nodes.end = phases[second + 1].nodes.end;
    phases.remove(second + 1);
    Some(damaged)
}

/// Rows pass one by one through a node that looks at other rows, or at state of its own.
fn hurry(plan: &Plan, index: usize) -> Option<Plan> {
    let mut damaged = plan.clone();
    let phases = damaged
        .stages
        .iter_mut()
        .flat_map(|stage| &mut stage.phases);
    let phase = phases
        .filter(|phase| phase.order == Order::Apart)
        .nth(index)?;
    let works = |node: usize| !matches!(plan.graph.nodes[node].op, Op::Slice { .. });
    if !phase.nodes.clone().any(works) {
        return None;
    }
    phase.order = Order::RowByRow;
    Some(damaged)
}

/// A value's bytes end before its rows do.
fn shorten(plan: &Plan, index: usize) -> Option<Plan> {
    let owned = owned(plan);
    let value = *owned.get(index)?;
    let place = plan.places[value];
    let mut damaged = plan.clone();
    let span = damaged.spans[value].as_mut()?;
    // Below one row, whatever its padding.
    span.len = place.stride - 1;
    Some(damaged)
}

/// A value that outlives its stage keeps only a tile.
fn drop_whole(plan: &Plan, index: usize) -> Option<Plan> {
    let mut damaged = plan.clone();
    let place = damaged.places.get_mut(index)?;
    if !place.whole {
        return None;
    }
    place.whole = false;
    Some(damaged)
}

/// A value lies where another one, read after it is written, lies.
fn overlay(plan: &Plan, index: usize) -> Option<Plan> {
    let nodes = &plan.graph.nodes;
    let node = &nodes[index % nodes.len()];
    let out = plan.graph.root(node.out?).0;
    // An operation that may not work in place is made to.
    let input = node
        .op
        .inputs()
        .into_iter()
        .map(|input| plan.graph.root(input).0)
        .find(|&input| input != out && !node.op.may_overwrite(input))?;
    let (out, input) = (value_index(plan, out), value_index(plan, input));
    let mut damaged = plan.clone();
    let (from, span) = (plan.spans[input]?, damaged.spans[out].as_mut()?);
    span.start = from.start;
    span.len = span.len.min(plan.arena_len - from.start);
    Some(damaged)
}

/// The values, which are numbered as they are made.
fn values(plan: &Plan) -> impl Iterator<Item = Value> {
    plan.graph.nodes.iter().filter_map(|node| node.out)
}

fn value_index(plan: &Plan, value: Value) -> usize {
    values(plan)
        .position(|out| out == value)
        .expect("a value that is made")
}

/// A value that all rows of a stage fill lies where that stage keeps a tile's values: the next
/// tile would write over its rows, however long the tile's values have been dead.
fn bury(plan: &Plan, index: usize) -> Option<Plan> {
    let values: Vec<Value> = values(plan).collect();
    let made = |value: usize| {
        let node = (plan.graph.nodes.iter()).position(|node| node.out == Some(values[value]))?;
        let stage = (plan.stages.iter()).position(|stage| stage.nodes.contains(&node))?;
        Some((stage, node))
    };
    let mut crossing = (0..plan.places.len())
        .filter(|&value| plan.places[value].whole && plan.spans[value].is_some());
    let value = crossing.nth(index)?;
    let (stage, node) = made(value)?;
    if plan.stages[stage].tile >= plan.capacity.rows {
        return None;
    }
    let inner = owned(plan).into_iter().find(|&inner| {
        let earlier = made(inner).is_some_and(|(at, by)| at == stage && by + 2 < node);
        !plan.places[inner].whole && earlier
    })?;
    // Behind everything else, so that only these two meet.
    let mut damaged = plan.clone();
    let start = plan.arena_len;
    let (len, inner_len) = (plan.spans[value]?.len, plan.spans[inner]?.len);
    move_to(&mut damaged, value, start);
    move_to(&mut damaged, inner, start);
    damaged.arena_len = start + len.max(inner_len);
    Some(damaged)
}

/// Gives a value and its slices another place.
fn move_to(plan: &mut Plan, value: usize, start: usize) {
    let Some(span) = plan.spans[value].as_mut() else {
        return;
    };
    let from = std::mem::replace(&mut span.start, start);
    let values: Vec<Value> = values(plan).collect();
    for (index, &slice) in values.iter().enumerate() {
        if plan.graph.root(slice).0 == values[value] {
            plan.places[index].offset = plan.places[index].offset - from + start;
        }
    }
}

/// A value's rows start elsewhere than its bytes do.
fn displace(plan: &Plan, index: usize) -> Option<Plan> {
    let mut damaged = plan.clone();
    damaged.places.get_mut(index)?.offset += 64;
    Some(damaged)
}

/// Rows lie closer together than they are long.
fn squeeze(plan: &Plan, index: usize) -> Option<Plan> {
    let mut damaged = plan.clone();
    let place = damaged.places.get_mut(index)?;
    let (root, _) = plan.graph.root(values(plan).nth(index)?);
    let info = plan.graph.info(root);
    place.stride = info.form.row_len(info.width)?.checked_sub(4)?;
    Some(damaged)
}

/// A node is in no stage.
fn forget(plan: &Plan, index: usize) -> Option<Plan> {
    let mut damaged = plan.clone();
    let count = damaged.stages.len();
    let nodes = &mut damaged.stages[index % count].nodes;
    nodes.end = nodes.end.checked_sub(1).filter(|&end| end > nodes.start)?;
    Some(damaged)
}

/// A value is not aligned.
fn misalign(plan: &Plan, index: usize) -> Option<Plan> {
    let value = *owned(plan).get(index)?;
    let mut damaged = plan.clone();
    damaged.spans[value].as_mut()?.start += 4;
    damaged.arena_len += 4;
    Some(damaged)
}

#[test]
fn every_damage_is_found() {
    let damages: [(&str, Damage); 12] = [
        ("swap", swap),
        ("shrink", shrink),
        ("merge", merge),
        ("hurry", hurry),
        ("shorten", shorten),
        ("drop_whole", drop_whole),
        ("overlay", overlay),
        ("forget", forget),
        ("misalign", misalign),
        ("bury", bury),
        ("displace", displace),
        ("squeeze", squeeze),
    ];
    for (damage, apply) in damages {
        let mut found = 0;
        for name in [
            "gpt2",
            "bert_sequence",
            "t5",
            "mamba",
            "mixtral",
            "linear_transformer",
            "llama",
        ] {
            let model = open_bytes(Gguf::of(&Fixture::load(name)).bytes()).unwrap();
            for graph in graphs(&model) {
                let sound = plan(&model, graph, 300);
                for index in 0..sound.graph.nodes.len() {
                    if let Some(damaged) = apply(&sound, index) {
                        assert!(check(&damaged).is_err(), "{name}: {damage} {index} passes");
                        found += 1;
                    }
                }
            }
        }
        assert!(found >= 7, "{damage} was tried {found} times");
    }
}

#[test]
fn the_arena_of_a_causal_model_does_not_grow_with_context() {
    for (name, model) in models() {
        if model.encodes() {
            continue;
        }
        let arena = |context| {
            let options = SessionOptions::default().context(context);
            Session::memory_plan(&model, options).unwrap().arena
        };
        assert!(arena(64) > 0, "{name}");
        assert_eq!(arena(64), arena(1 << 20), "{name}");
    }
}

#[test]
fn the_arena_of_an_encoder_grows_with_its_source_alone() {
    let model = open_bytes(Gguf::of(&Fixture::load("bert")).bytes()).unwrap();
    let arena = |source, batch| {
        let options = SessionOptions::default().source(source).batch(batch);
        Session::memory_plan(&model, options).unwrap().arena
    };
    assert!(arena(64, 8) < arena(512, 8));
    assert_eq!(arena(64, 8), arena(64, 4096));
}
