//! A session's plans, and what they and its state take.

use super::{Session, SessionOptions, segments};
use crate::error::RunError;
use crate::exec::{LONGEST_HEAD, cut};
use crate::graph::{Graph, Matrix, Op, Role, Wiring};
use crate::model::Model;
use crate::plan::{Capacity, Plan};
use crate::residency::Residency;
use crate::state::{StateCapacity, StateLayout};
use crate::weights::MatrixForm;

/// Figures of a session's memory, from the same arithmetic that reserves it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// Bytes of activations.
    pub arena: usize,
    /// Bytes of state reserved.
    pub state: usize,
    /// Bytes of state that a sequence holds whatever its length.
    pub state_fixed: usize,
    /// Bytes of state for each 1,024 positions of a sequence.
    pub state_per_1k: usize,
    /// Bytes reserved for each kind of state; what is left of `state` fills lines of the cache.
    pub states: Vec<StateFigures>,
    /// Steps of each plan.
    pub plans: Vec<PlanFigures>,
}

/// What all pieces of state of a kind take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateFigures {
    /// The kind: `KV cache`.
    pub name: &'static str,
    /// How many there are: one for each layer that has any, mostly.
    pub pieces: usize,
    /// Bytes reserved.
    pub bytes: usize,
}

/// Figures of one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanFigures {
    /// What the plan is for.
    pub name: &'static str,
    /// Rows it holds.
    pub rows: usize,
    /// Steps.
    pub steps: usize,
    /// Barriers.
    pub barriers: usize,
    /// Bytes of activations.
    pub arena: usize,
}

/// The plans of a session.
#[derive(Debug)]
pub(super) struct Plans {
    /// Decoding, one row.
    pub(super) single: Option<Plan>,
    /// Decoding, a batch.
    pub(super) batch: Option<Plan>,
    /// Encoding.
    pub(super) encode: Option<Plan>,
    /// Working out the session's tables.
    pub(super) table: Option<Plan>,
    /// Compressing a sequence's segment memory.
    pub(super) compress: Option<Plan>,
    /// Projecting the rows of a sequence's segment memory.
    pub(super) reproject: Option<Plan>,
}

impl Plans {
    pub(super) fn new(
        (wiring, form): (&Wiring, &dyn Fn(Matrix) -> MatrixForm),
        held: Option<&Residency>,
        options: SessionOptions,
    ) -> Result<Plans, RunError> {
        let plan = |graph: &Graph, rows: usize| {
            let sequences = match graph.role {
                // Each is whole and stands once in a run.
                Role::Encode => rows.min(options.sequences),
                // Interleaved rows may change sequence at every row.
                Role::Decode => rows,
                Role::Table | Role::Compress | Role::Reproject => 1,
            };
            let capacity = Capacity { rows, sequences };
            let activation = |matrix| form(matrix).kernel.activation;
            let mut plan = Plan::new(graph, capacity, &activation)?;
            if let Some(held) = held {
                cut(&mut plan, held);
            }
            Ok::<_, RunError>(plan)
        };
        let decode = wiring.graph(Role::Decode);
        let encode = wiring.graph(Role::Encode);
        let (table, compress) = (wiring.graph(Role::Table), wiring.graph(Role::Compress));
        let reproject = wiring.graph(Role::Reproject);
        Ok(Plans {
            single: decode.map(|graph| plan(graph, 1)).transpose()?,
            batch: decode.map(|graph| plan(graph, options.batch)).transpose()?,
            encode: encode
                .map(|graph| plan(graph, options.source))
                .transpose()?,
            table: table
                .map(|graph| plan(graph, segments::table_rows(wiring)))
                .transpose()?,
            compress: compress
                .map(|graph| plan(graph, segments::compressed_rows(wiring)))
                .transpose()?,
            reproject: reproject
                .map(|graph| plan(graph, segments::kept_rows(wiring)))
                .transpose()?,
        })
    }

    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, &Plan)> {
        let named = [
            ("decode", &self.single),
            ("prefill", &self.batch),
            ("encode", &self.encode),
            ("table", &self.table),
            ("compress", &self.compress),
            ("reproject", &self.reproject),
        ];
        named
            .into_iter()
            .filter_map(|(name, plan)| Some((name, plan.as_ref()?)))
    }

    pub(super) fn arena_len(&self) -> usize {
        self.named()
            .map(|(_, plan)| plan.arena_len)
            .max()
            .unwrap_or(0)
    }
}

impl Session {
    /// What a session of these options would reserve, without reserving it.
    ///
    /// ```
    /// use rillm::{KvType, Model, ModelOptions, Session, SessionOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
    /// let options = SessionOptions::default().context(2048);
    /// let floats = Session::memory_plan(&model, options)?;
    /// let blocks = Session::memory_plan(&model, options.kv_type(KvType::Q8_0))?;
    /// assert!(blocks.state_per_1k < floats.state_per_1k / 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Sizes that overflow.
    pub fn memory_plan(model: &Model, options: SessionOptions) -> Result<MemoryPlan, RunError> {
        memory_plan(
            model.wiring(),
            &|matrix| model.weights().matrix(matrix).form(),
            model.residency().get(),
            options,
        )
    }
}

/// What a session of a model that is wired and stored so would reserve.
pub(crate) fn memory_plan(
    wiring: &Wiring,
    form: &dyn Fn(Matrix) -> MatrixForm,
    held: Option<&Residency>,
    options: SessionOptions,
) -> Result<MemoryPlan, RunError> {
    let (options, capacity) = options.checked()?;
    let layout = state_layout(wiring, capacity)?;
    let plans = Plans::new((wiring, form), held, options)?;
    let figures = plans.named().map(|(name, plan)| PlanFigures {
        name,
        rows: plan.capacity.rows,
        steps: plan.graph.nodes.len(),
        barriers: plan.barriers(),
        arena: plan.arena_len,
    });
    Ok(MemoryPlan {
        arena: plans.arena_len(),
        state: layout.len(),
        state_fixed: layout.fixed_len(),
        state_per_1k: layout.kv_cache_len(1024),
        states: state_figures(&layout),
        plans: figures.collect(),
    })
}

/// Bytes by kind of state, largest first.
fn state_figures(layout: &StateLayout) -> Vec<StateFigures> {
    let mut figures: Vec<StateFigures> = Vec::new();
    for (name, bytes) in layout.pieces() {
        match figures.iter_mut().find(|of_kind| of_kind.name == name) {
            Some(of_kind) => {
                of_kind.pieces += 1;
                of_kind.bytes += bytes;
            }
            None => figures.push(StateFigures {
                name,
                pieces: 1,
                bytes,
            }),
        }
    }
    figures.sort_by_key(|of_kind| std::cmp::Reverse(of_kind.bytes));
    figures
}

/// The plans that a session of these options would walk, by name.
///
/// # Errors
/// As [`Session::memory_plan`].
pub fn plans(
    model: &Model,
    options: SessionOptions,
) -> Result<Vec<(&'static str, Plan)>, RunError> {
    let form = |matrix| model.weights().matrix(matrix).form();
    let held = model.residency().get();
    let plans = Plans::new((model.wiring(), &form), held, options.checked()?.0)?;
    Ok(plans
        .named()
        .map(|(name, plan)| (name, plan.clone()))
        .collect())
}

pub(super) fn state_layout(
    wiring: &Wiring,
    capacity: StateCapacity,
) -> Result<StateLayout, RunError> {
    let graphs = [Role::Decode, Role::Encode].into_iter();
    let nodes = graphs
        .flat_map(|role| wiring.graph(role))
        .flat_map(|graph| &graph.nodes);
    let heads = nodes.filter_map(|node| match &node.op {
        Op::SoftmaxAttention(step) => Some(step.attention.head_dim),
        Op::DisentangledAttention(step) => Some(step.attention.head_dim),
        _ => None,
    });
    let longest = heads.max().unwrap_or(0);
    if longest > LONGEST_HEAD {
        let what = format!(
            "attention with heads of {longest} elements is not supported, only up to {LONGEST_HEAD}"
        );
        return Err(RunError::Input(what));
    }
    let layout = StateLayout::new(&wiring.states, capacity);
    layout.ok_or(RunError::OutOfMemory { bytes: usize::MAX })
}
