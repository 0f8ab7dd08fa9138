//! From a graph to an executable plan: explicit steps, memory spans, barriers.
//!
//! A plan is made for a largest number of rows. Its steps are grouped into *stages* (all rows
//! of one [`RowSpace`], tile by tile) and inside a stage into *phases*, between which workers
//! meet at a barrier. Values used inside one stage only take a tile's memory; those that cross
//! stages hold every row.

// What treats operations, or kinds of state, one by one names them all.
#![deny(clippy::wildcard_enum_match_arm)]

mod check;
mod lower;
mod spans;

pub use check::check;

use crate::graph::op::{Reach, Work};
use crate::graph::state::{Access, StateId};
use crate::graph::{Activation, Graph, Matrix, Node, Role, RowSpace, Value, ValueInfo};
use std::fmt;
use std::ops::Range;

/// Rows in a tile of an encoding plan: enough that packing a panel of weights costs little beside its
/// products (with 64 it was a third of float products' time), few enough that a feed-forward layer's
/// inner values stay small.
const ENCODE_TILE: usize = 256;

/// Selected rows computed at a time: logits are wide, and often only one row's are asked for.
const SELECTED_TILE: usize = 16;

/// Most steps between two barriers that workers share one by one: each needs a claim counter.
pub const PHASE_STEPS: usize = 32;

/// Alignment of every span, a cache line.
pub const ALIGN: usize = 64;

/// Rows a multiple of this apart share so few sets of a cache that a line more pays.
const CROWDED: usize = 16 * ALIGN;

/// How many rows a plan must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Rows of one run.
    pub rows: usize,
    /// Sequences of one run.
    pub sequences: usize,
}

/// Where a value lives in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the arena's start to the first element of row 0.
    pub offset: usize,
    /// Bytes from row to row.
    pub stride: usize,
    /// Whether every row of the run has its place, or only those of the current tile.
    pub whole: bool,
}

/// Bytes that a value owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
}

impl Span {
    /// Whether two spans share a byte.
    pub fn overlaps(self, other: Span) -> bool {
        self.start < other.start + other.len && other.start < self.start + self.len
    }
}

/// Steps that run over the same rows, tile by tile.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Whose rows.
    pub space: RowSpace,
    /// Rows at a time.
    pub tile: usize,
    /// Nodes of the graph, in order.
    pub nodes: Range<usize>,
    /// The same nodes, cut where workers must meet.
    pub phases: Vec<Phase>,
}

/// Nodes between two barriers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Which, in order.
    pub nodes: Range<usize>,
    /// How workers share them.
    pub order: Order,
}

/// How workers share the nodes of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Node by node: none touches what another writes.
    Apart,
    /// Some rows through all nodes at a time: none looks at other rows than those it writes, so
    /// a row passes from one to the next without waiting for its neighbours, and in the nearest
    /// cache.
    RowByRow,
}

impl Phase {
    /// Steps whose chunks are claimed one by one.
    pub fn claimed(&self) -> usize {
        match self.order {
            Order::Apart => self.nodes.len(),
            Order::RowByRow => 1,
        }
    }
}

/// An executable plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The lowered graph: its nodes are the steps.
    pub graph: Graph,
    /// Where each value lives.
    pub places: Vec<Place>,
    /// Bytes of each value that owns memory.
    pub spans: Vec<Option<Span>>,
    /// Stages in order.
    pub stages: Vec<Stage>,
    /// Bytes of the arena.
    pub arena_len: usize,
    /// Weights multiplied for each row.
    pub row_work: usize,
    /// What it can hold.
    pub capacity: Capacity,
    /// Whether [`Plan::cut`] has been asked.
    pub is_cut: bool,
}

/// Why a plan could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// A size does not fit the address space.
    TooLarge {
        /// Operation whose result is too large.
        step: &'static str,
        /// Rows planned for.
        rows: usize,
    },
    /// The checker found two live values in the same bytes, or a read before its write: a
    /// defect of the planner, never of the input.
    Unsound(String),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::TooLarge { step, rows } => write!(
                f,
                "memory of step {step} for {rows} rows exceeds the address space, use a smaller batch"
            ),
            PlanError::Unsound(what) => write!(f, "internal error: plan is unsound: {what}"),
        }
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// Plans `graph` for `capacity`; `activation` says in which form a matrix wants its inputs.
    pub fn new(
        graph: &Graph,
        capacity: Capacity,
        activation: &dyn Fn(Matrix) -> Activation,
    ) -> Result<Plan, PlanError> {
        let graph = lower::lower(graph, activation);
        let mut stages = stages(&graph, capacity);
        let uses = Uses::of(&graph, &stages);
        let spans = spans::assign(&graph, &stages, &uses, capacity)?;
        let mut places = Vec::with_capacity(graph.values.len());
        for index in 0..graph.values.len() {
            let (root, column) = graph.root(Value(index as u32));
            let info = graph.info(root);
            let start = spans[root.0 as usize].map_or(0, |span| span.start);
            places.push(Place {
                offset: start + 4 * column,
                stride: stride(info).unwrap_or(0),
                whole: uses.crosses(root),
            });
        }
        for stage in &mut stages {
            stage.phases = phases(&graph, &spans, &places, stage.nodes.clone());
        }
        let arena_len = spans
            .iter()
            .flatten()
            .map(|span| span.start + span.len)
            .max();
        let arena_len = arena_len.unwrap_or(0);
        let row_work = graph.nodes.iter().map(|node| row_work(&graph, node)).sum();
        let plan = Plan {
            graph,
            places,
            spans,
            stages,
            arena_len,
            row_work,
            capacity,
            is_cut: false,
        };
        check(&plan).map_err(PlanError::Unsound)?;
        Ok(plan)
    }

    /// Cuts phases so that no two nodes share one that are to be `apart`.
    pub fn cut(&mut self, apart: &dyn Fn(&Node, &Node) -> bool) {
        self.is_cut = true;
        let nodes = &self.graph.nodes;
        // A slice computes nothing: it stands wherever it is met.
        let computes = |index: &usize| nodes[*index].op.reach() != Reach::View;
        for stage in &mut self.stages {
            let mut phases: Vec<Phase> = Vec::new();
            for phase in &stage.phases {
                let mut first = phase.nodes.start;
                for index in phase.nodes.clone().filter(computes) {
                    let mut before = (first..index).filter(computes);
                    if before.any(|earlier| apart(&nodes[earlier], &nodes[index])) {
                        phases.push(Phase {
                            nodes: first..index,
                            order: phase.order,
                        });
                        first = index;
                    }
                }
                phases.push(Phase {
                    nodes: first..phase.nodes.end,
                    order: phase.order,
                });
            }
            stage.phases = phases;
        }
    }

    /// Barriers in one pass over one tile.
    pub fn barriers(&self) -> usize {
        self.stages.iter().map(|stage| stage.phases.len()).sum()
    }

    /// Where a value lives.
    pub fn place(&self, value: Value) -> Place {
        self.places[value.0 as usize]
    }
}

/// Bytes from one row of a value to the next, whole floats. Where rows are whole multiples of many cache lines,
/// one more keeps a column of them from meeting in a few sets of the nearest caches.
fn stride(info: ValueInfo) -> Option<usize> {
    let len = info.form.row_len(info.width)?;
    let len = len.checked_next_multiple_of(size_of::<f32>())?;
    match len.is_multiple_of(CROWDED) {
        true => len.checked_add(ALIGN),
        false => Some(len),
    }
}

/// What a node multiplies for one row.
fn row_work(graph: &Graph, node: &Node) -> usize {
    match node.op.facts().work {
        Work::Elements => 0,
        Work::Product(weight) => weight.stack * weight.rows * weight.columns,
        Work::Experts { experts, route } => {
            graph.info(route).width / 2 * experts.rows * experts.columns
        }
        // Two products for each element of the state, or more.
        Work::State(floats) => 2 * floats,
    }
}

/// The rows that a node computes.
fn space_of(graph: &Graph, node: &Node) -> RowSpace {
    match (node.out, node.op.inputs().first()) {
        (Some(out), _) => graph.info(out).space,
        (None, Some(&input)) => graph.info(input).space,
        (None, None) => graph.role.rows(),
    }
}

fn stages(graph: &Graph, capacity: Capacity) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let space = space_of(graph, node);
        let open = stages.last_mut().filter(|stage| stage.space == space);
        match open {
            Some(stage) if !node.op.reach().wants_all_rows() => stage.nodes.end = index + 1,
            _ => stages.push(Stage {
                space,
                tile: match (space, graph.role) {
                    (RowSpace::Selected, _) => capacity.rows.min(SELECTED_TILE),
                    (RowSpace::Sequence, _) => capacity.sequences,
                    (_, Role::Decode) => capacity.rows,
                    (_, Role::Encode | Role::Table | Role::Compress | Role::Reproject) => {
                        capacity.rows.min(ENCODE_TILE)
                    }
                },
                nodes: index..index + 1,
                phases: Vec::new(),
            }),
        }
    }
    stages
}

/// Where each value (slices count for their roots) is made and last read, by stage and node.
struct Uses {
    /// Per root value: (stage, node) that makes it.
    made: Vec<Option<(usize, usize)>>,
    /// Per root value: (stage, node) of the last read.
    last: Vec<Option<(usize, usize)>>,
    /// Per root value: whether a step reads rows other than its own.
    across: Vec<bool>,
}

impl Uses {
    fn of(graph: &Graph, stages: &[Stage]) -> Uses {
        let values = graph.values.len();
        let mut uses = Uses {
            made: vec![None; values],
            last: vec![None; values],
            across: vec![false; values],
        };
        for (stage_index, stage) in stages.iter().enumerate() {
            for index in stage.nodes.clone() {
                let node = &graph.nodes[index];
                let across = node.op.reach().is_across();
                for input in node.op.inputs() {
                    let root = graph.root(input).0.0 as usize;
                    uses.last[root] = Some((stage_index, index));
                    uses.across[root] |= across;
                }
                if let Some(out) = node.out.filter(|&out| graph.root(out).0 == out) {
                    uses.made[out.0 as usize] = Some((stage_index, index));
                }
            }
        }
        uses
    }

    /// Whether a root value outlives the stage that makes it.
    fn crosses(&self, root: Value) -> bool {
        let index = root.0 as usize;
        match (self.made[index], self.last[index]) {
            (Some((made, _)), Some((last, _))) => made != last,
            _ => false,
        }
    }
}

/// Cuts nodes into phases.
fn phases(
    graph: &Graph,
    spans: &[Option<Span>],
    places: &[Place],
    nodes: Range<usize>,
) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for index in nodes {
        let view = |index: usize| graph.nodes[index].op.reach().is_view();
        let order = match graph.nodes[index].op.reach() {
            Reach::OwnRow => Order::RowByRow,
            Reach::View | Reach::Columns | Reach::AllRows | Reach::PickedRow => Order::Apart,
        };
        // Nothing but slices: such a phase takes the order of what joins it.
        if let Some(phase) = phases.last_mut()
            && phase.nodes.clone().all(view)
            && !view(index)
        {
            phase.order = order;
        }
        let joins = |phase: &Phase| {
            // A slice computes nothing: it stands wherever it is met.
            if view(index) {
                return phase.order == Order::RowByRow || phase.nodes.len() < PHASE_STEPS;
            }
            let mut earlier = phase.nodes.clone();
            match (phase.order, order) {
                (Order::RowByRow, Order::Apart) => false,
                (Order::RowByRow, Order::RowByRow) => {
                    earlier.all(|earlier| follows(graph, spans, places, earlier, index))
                }
                (Order::Apart, _) => {
                    phase.nodes.len() < PHASE_STEPS
                        && !earlier.any(|earlier| conflicts(graph, spans, earlier, index))
                }
            }
        };
        match phases.last_mut() {
            Some(phase) if joins(phase) => phase.nodes.end = index + 1,
            _ => phases.push(Phase {
                nodes: index..index + 1,
                order,
            }),
        }
    }
    phases
}

/// What a node touches of the arena: bytes that it reads, bytes that it writes.
#[derive(Default)]
struct Touched {
    read: Vec<Value>,
    written: Option<Value>,
}

impl Touched {
    /// By a node: root values. A view computes nothing and touches nothing.
    fn by(graph: &Graph, node: &Node) -> Touched {
        if node.op.reach().is_view() {
            return Touched::default();
        }
        let root = |value| graph.root(value).0;
        Touched {
            read: node.op.inputs().into_iter().map(root).collect(),
            written: node.out.map(root),
        }
    }

    fn all(&self) -> impl Iterator<Item = Value> {
        self.read.iter().copied().chain(self.written)
    }
}

/// Whether two nodes meet in bytes that one of them writes and `sharing` does not allow.
fn meet(
    spans: &[Option<Span>],
    [a, b]: [&Touched; 2],
    sharing: impl Fn(Value, Value) -> bool,
) -> bool {
    let hits = |written: Option<Value>, others: &Touched| {
        written.is_some_and(|x| {
            others
                .all()
                .any(|y| match (spans[x.index()], spans[y.index()]) {
                    (Some(a), Some(b)) => a.overlaps(b) && !sharing(x, y),
                    _ => false,
                })
        })
    };
    hits(a.written, b) || hits(b.written, a)
}

/// Whether two nodes touch a piece of state that one of them writes.
fn share_state(a: &[(StateId, Access)], b: &[(StateId, Access)]) -> bool {
    a.iter().any(|(x, x_access)| {
        b.iter()
            .any(|(y, y_access)| x == y && (x_access.is_write() || y_access.is_write()))
    })
}

/// Whether `b` may take a row that `a` is done with while `a` is at other rows: what they share
/// lies, row by row, in the same bytes.
fn follows(graph: &Graph, spans: &[Option<Span>], places: &[Place], a: usize, b: usize) -> bool {
    let nodes = [a, b].map(|index| &graph.nodes[index]);
    let [touched_a, touched_b] = nodes.map(|node| Touched::by(graph, node));
    let same = |x: Value, y: Value| places[x.index()] == places[y.index()];
    let [states_a, states_b] = nodes.map(|node| node.op.states());
    !meet(spans, [&touched_a, &touched_b], same) && !share_state(&states_a, &states_b)
}

/// Whether two nodes may not run at the same time.
fn conflicts(graph: &Graph, spans: &[Option<Span>], a: usize, b: usize) -> bool {
    let nodes = [a, b].map(|index| &graph.nodes[index]);
    let [touched_a, touched_b] = nodes.map(|node| Touched::by(graph, node));
    let [states_a, states_b] = nodes.map(|node| node.op.states());
    meet(spans, [&touched_a, &touched_b], |_, _| false) || share_state(&states_a, &states_b)
}
