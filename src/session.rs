//! One conversation with a model: its sequences, their memory and its plans.

mod endless;
mod profile;
mod segments;
mod snapshot;

pub use profile::{PlanReport, Report, StepReport};

pub use snapshot::SnapshotError;

use crate::arena::Arena;
use crate::error::RunError;
use crate::exec::{Batch, LONGEST_HEAD, Output, Profile, Row, Run, Sink, crew_for, execute};
use crate::graph::{Graph, Op, Role};
use crate::model::Model;
use crate::plan::{Capacity, Plan};
use crate::pool::{Crew, Outcome};
use crate::state::{KvType, State, StateCapacity, StateLayout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// How much a session can hold. Everything is reserved when it is opened and touched only when
/// used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Positions per sequence.
    pub context: usize,
    /// Sequences.
    pub sequences: usize,
    /// Rows that a decoding graph takes at a time.
    pub batch: usize,
    /// Rows of one encoder input.
    pub source: usize,
    /// Checkpoints of recurrent state.
    pub checkpoints: usize,
    /// How keys and values of histories are kept.
    pub kv_type: KvType,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            context: 4096,
            sequences: 1,
            batch: 512,
            source: 512,
            checkpoints: 1,
            kv_type: KvType::F32,
        }
    }
}

/// Figures of a session's memory, from the same arithmetic that reserves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Bytes of activations.
    pub arena: usize,
    /// Bytes of state reserved.
    pub state: usize,
    /// Bytes of state that a sequence holds whatever its length.
    pub state_fixed: usize,
    /// Bytes of state for each 1,024 positions of a sequence.
    pub state_per_1k: usize,
    /// Steps of each plan.
    pub plans: Vec<PlanFigures>,
}

/// Figures of one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
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
struct Plans {
    /// Decoding, one row.
    single: Option<Plan>,
    /// Decoding, a batch.
    batch: Option<Plan>,
    /// Encoding.
    encode: Option<Plan>,
    /// Working out the session's tables.
    table: Option<Plan>,
    /// Compressing a sequence's memories.
    compress: Option<Plan>,
    /// Projecting what a sequence remembers.
    recollect: Option<Plan>,
}

/// A model's working memory. One thread uses it at a time.
#[derive(Debug)]
pub struct Session {
    model: Model,
    options: SessionOptions,
    plans: Plans,
    arena: Arena,
    state: State,
    rows: Batch,
    /// Rows of this feed per sequence, for checking room.
    counts: Vec<usize>,
    abort: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
    profile: Option<profile::Running>,
}

impl Plans {
    fn new(model: &Model, options: SessionOptions) -> Result<Plans, RunError> {
        let plan = |graph: &Graph, rows: usize| {
            let sequences = match graph.role {
                // Each is whole and stands once in a run.
                Role::Encode => rows.min(options.sequences),
                // Interleaved rows may change sequence at every row.
                Role::Decode => rows,
                Role::Table | Role::Compress | Role::Reproject => 1,
            };
            let capacity = Capacity { rows, sequences };
            let activation = |matrix| model.weights().matrix(matrix).kernel.activation;
            Plan::new(graph, capacity, &activation)
        };
        let decode = model.graph(Role::Decode);
        let encode = model.graph(Role::Encode);
        let (table, compress) = (model.graph(Role::Table), model.graph(Role::Compress));
        let recollect = model.graph(Role::Reproject);
        Ok(Plans {
            single: decode.map(|graph| plan(graph, 1)).transpose()?,
            batch: decode.map(|graph| plan(graph, options.batch)).transpose()?,
            encode: encode
                .map(|graph| plan(graph, options.source))
                .transpose()?,
            table: table
                .map(|graph| plan(graph, segments::table_rows(model)))
                .transpose()?,
            compress: compress
                .map(|graph| plan(graph, segments::compressed_rows(model)))
                .transpose()?,
            recollect: recollect
                .map(|graph| plan(graph, segments::remembered_rows(model)))
                .transpose()?,
        })
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &Plan)> {
        let named = [
            ("decode", &self.single),
            ("prefill", &self.batch),
            ("encode", &self.encode),
            ("table", &self.table),
            ("compress", &self.compress),
            ("recollect", &self.recollect),
        ];
        named
            .into_iter()
            .filter_map(|(name, plan)| Some((name, plan.as_ref()?)))
    }

    fn arena_len(&self) -> usize {
        self.named()
            .map(|(_, plan)| plan.arena_len)
            .max()
            .unwrap_or(0)
    }
}

impl SessionOptions {
    /// Most sequences, rows of a batch or a source, and checkpoints.
    pub const MOST: usize = 1 << 20;

    fn checked(self) -> Result<(SessionOptions, StateCapacity), RunError> {
        let SessionOptions {
            context,
            sequences,
            batch,
            source,
            checkpoints,
            kv_type,
        } = self;
        // The planner and the state keep tables of rows and sequences: what is above these
        // bounds is a mistake, and must not cost memory before it is refused.
        for (name, value, least, most) in [
            ("context", context, 1, u32::MAX as usize),
            ("sequences", sequences, 1, Self::MOST),
            ("batch", batch, 1, Self::MOST),
            ("source", source, 1, Self::MOST),
            ("checkpoints", checkpoints, 0, Self::MOST),
        ] {
            if value < least || value > most {
                let what = format!("session option {name} is {value}, expected {least} to {most}");
                return Err(RunError::Input(what));
            }
        }
        Ok((
            self,
            StateCapacity {
                context,
                sequences,
                batch,
                source,
                checkpoints,
                kv_type,
            },
        ))
    }
}

/// What a session of these options would reserve, without reserving it.
///
/// # Errors
/// Sizes that overflow.
pub fn memory_plan(model: &Model, options: SessionOptions) -> Result<MemoryPlan, RunError> {
    let (options, capacity) = options.checked()?;
    let layout = state_layout(model, capacity)?;
    let plans = Plans::new(model, options)?;
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
        state_per_1k: layout.history_len(1024),
        plans: figures.collect(),
    })
}

/// The plans that a session of these options would walk, by name.
///
/// # Errors
/// As [`memory_plan`].
pub fn plans(
    model: &Model,
    options: SessionOptions,
) -> Result<Vec<(&'static str, Plan)>, RunError> {
    let plans = Plans::new(model, options.checked()?.0)?;
    Ok(plans
        .named()
        .map(|(name, plan)| (name, plan.clone()))
        .collect())
}

fn state_layout(model: &Model, capacity: StateCapacity) -> Result<StateLayout, RunError> {
    let graphs = [Role::Decode, Role::Encode].into_iter();
    let nodes = graphs
        .flat_map(|role| model.graph(role))
        .flat_map(|graph| &graph.nodes);
    let heads = nodes.filter_map(|node| match &node.op {
        Op::Attention { attention, .. } => Some(attention.head_dim),
        _ => None,
    });
    let longest = heads.max().unwrap_or(0);
    if longest > LONGEST_HEAD {
        let what = format!(
            "attention with heads of {longest} elements is not supported, only up to {LONGEST_HEAD}"
        );
        return Err(RunError::Input(what));
    }
    let layout = StateLayout::new(model.states(), capacity);
    layout.ok_or(RunError::OutOfMemory { bytes: usize::MAX })
}

impl Session {
    /// Reserves a session's memory.
    ///
    /// # Errors
    /// Options of zero, sizes that overflow, memory that the system refuses.
    pub fn new(model: &Model, options: SessionOptions) -> Result<Session, RunError> {
        let (options, capacity) = options.checked()?;
        let plans = Plans::new(model, options)?;
        let rows = match (model.graph(Role::Decode), model.graph(Role::Encode)) {
            (Some(_), Some(_)) => options.batch.max(options.source),
            (None, Some(_)) => options.source,
            _ => options.batch,
        };
        let rows = [
            rows,
            segments::table_rows(model),
            segments::compressed_rows(model),
            segments::remembered_rows(model),
        ];
        let rows = rows.into_iter().max().unwrap_or(0);
        let mut session = Session {
            arena: Arena::new(plans.arena_len())?,
            state: State::new(state_layout(model, capacity)?)?,
            rows: Batch::with_capacity(rows, options.sequences),
            counts: vec![0; options.sequences],
            abort: Arc::default(),
            progress: Arc::default(),
            profile: None,
            model: model.clone(),
            options,
            plans,
        };
        session.fill_tables()?;
        Ok(session)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The options it was opened with.
    pub fn options(&self) -> SessionOptions {
        self.options
    }

    /// A flag that ends the running call with [`RunError::Aborted`] soon after it is raised,
    /// from any thread. The call that ends so lowers it; raised too late for one call, it ends
    /// the next.
    pub fn abort_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.abort)
    }

    /// Counts the rows taken since the session was opened, for whoever shows progress.
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Positions that a sequence holds.
    ///
    /// # Errors
    /// No such sequence.
    pub fn len(&self, sequence: u32) -> Result<usize, RunError> {
        Ok(self.state.len(sequence)?)
    }

    /// Whether a sequence is empty.
    ///
    /// # Errors
    /// No such sequence.
    pub fn is_empty(&self, sequence: u32) -> Result<bool, RunError> {
        Ok(self.state.is_empty(sequence)?)
    }

    /// Extends sequences by `rows`, batch by batch; the outputs of rows with `emit` go to
    /// `sink`. Zero allocations.
    ///
    /// # Errors
    /// Rows that the model or the context cannot take (nothing has changed then), or an abort.
    pub fn feed(&mut self, rows: &[Row], sink: &mut Sink<'_>) -> Result<(), RunError> {
        if self.plans.batch.is_none() {
            return Err(RunError::Input(format!(
                "{} encodes, it does not predict tokens",
                self.model.architecture().title
            )));
        }
        self.check_rows(rows)?;
        self.counts.fill(0);
        for row in rows {
            self.counts[row.sequence as usize] += 1;
        }
        for (sequence, &count) in self.counts.iter().enumerate() {
            if count > 0 {
                self.state.check_room(sequence as u32, count)?;
                self.state.check_segment(count)?;
            }
        }
        for (sequence, &count) in self.counts.iter().enumerate() {
            if count > 0 {
                self.state.begin_feed(sequence as u32);
            }
        }
        let length = rows
            .iter()
            .map(|row| row.position.saturating_add(1))
            .max()
            .unwrap_or(0);
        let mut start = 0;
        while start < rows.len() {
            let end = self.batch_end(rows, start);
            let batch = &rows[start..end];
            self.rows.clear(start, length);
            start = end;
            for &row in batch {
                self.rows.push_step(row, &mut self.state)?;
            }
            let plan = if batch.len() == 1 {
                &self.plans.single
            } else {
                &self.plans.batch
            };
            let Some(plan) = plan else { return Ok(()) };
            let result = self.run(plan, sink);
            for group in &self.rows.groups {
                match result {
                    Ok(()) => self.state.advance(group.sequence, group.len),
                    Err(_) => self.state.interrupt(group.sequence),
                }
            }
            result?;
            self.end_full_segments()?;
        }
        Ok(())
    }

    /// Encodes whole inputs: all rows of a sequence stand together. Per-row outputs of every
    /// row go to `sink`, `emit` or not. For an encoder–decoder model this begins the sequences anew:
    /// their sources are replaced and what was decoded is forgotten.
    ///
    /// # Errors
    /// As [`Session::feed`]. Sequences whose source an abort left incomplete have none.
    pub fn encode(&mut self, rows: &[Row], sink: &mut Sink<'_>) -> Result<(), RunError> {
        if self.plans.encode.is_none() {
            return Err(RunError::Input(format!(
                "{} has no encoder",
                self.model.architecture().title
            )));
        }
        self.check_rows(rows)?;
        let whole = |index: usize| index == 0 || rows[index - 1].sequence != rows[index].sequence;
        self.counts.fill(0);
        for (index, row) in rows.iter().enumerate() {
            let count = &mut self.counts[row.sequence as usize];
            if whole(index) && *count > 0 {
                let what = format!(
                    "row {index}: the rows of sequence {} stand apart",
                    row.sequence
                );
                return Err(RunError::Input(what));
            }
            *count += 1;
        }
        if self.counts.iter().any(|&count| count > self.options.source) {
            return Err(crate::state::StateError::SourceFull {
                source: self.options.source,
            }
            .into());
        }
        // As many whole sequences at a time as the plan holds.
        let mut start = 0;
        while start < rows.len() {
            let mut end = start;
            while end < rows.len() {
                let count = self.counts[rows[end].sequence as usize];
                if end + count - start > self.options.source {
                    break;
                }
                end += count;
            }
            let length = rows
                .iter()
                .map(|row| row.position.saturating_add(1))
                .max()
                .unwrap_or(0);
            self.rows.clear(start, length);
            for &row in &rows[start..end] {
                self.rows.push_source(row);
            }
            for group in &self.rows.groups {
                // What was decoded belongs to the former source.
                self.state.reset(group.sequence)?;
                self.state.begin_cross(group.sequence, group.len)?;
            }
            let Some(plan) = &self.plans.encode else {
                return Ok(());
            };
            if let Err(error) = self.run(plan, sink) {
                for group in &self.rows.groups {
                    self.state.interrupt_cross(group.sequence);
                }
                return Err(error);
            }
            start = end;
        }
        Ok(())
    }

    /// Forgets a sequence.
    ///
    /// # Errors
    /// No such sequence.
    pub fn reset(&mut self, sequence: u32) -> Result<(), RunError> {
        Ok(self.state.reset(sequence)?)
    }

    /// Makes sequence `to` a copy of `from`, sharing its history until one of them writes.
    ///
    /// # Errors
    /// No such sequence, or one that an abort has spoiled.
    pub fn fork(&mut self, from: u32, to: u32) -> Result<(), RunError> {
        Ok(self.state.fork(from, to)?)
    }

    /// Shortens a sequence to `len` positions.
    ///
    /// # Errors
    /// Recurrent state without a checkpoint at that length; a length ahead of the present one.
    pub fn rewind(&mut self, sequence: u32, len: usize) -> Result<(), RunError> {
        Ok(self.state.rewind(sequence, len)?)
    }

    /// Saves a sequence's recurrent state, so that it can be rewound to its present length.
    ///
    /// # Errors
    /// All reserved checkpoints are in use.
    pub fn checkpoint(&mut self, sequence: u32) -> Result<(), RunError> {
        Ok(self.state.checkpoint(sequence)?)
    }

    /// Frees a sequence's checkpoints.
    ///
    /// # Errors
    /// No such sequence.
    pub fn forget_checkpoints(&mut self, sequence: u32) -> Result<(), RunError> {
        Ok(self.state.forget_checkpoints(sequence)?)
    }

    /// Runs what is counted as progress.
    fn run(&self, plan: &Plan, sink: &mut Sink<'_>) -> Result<(), RunError> {
        self.walk(plan, sink)?;
        let rows = self.rows.facts.len() as u64;
        self.progress.fetch_add(rows, Ordering::Relaxed);
        Ok(())
    }

    fn walk(&self, plan: &Plan, sink: &mut Sink<'_>) -> Result<(), RunError> {
        let run = Run {
            plan,
            weights: self.model.weights(),
            kernels: self.model.kernels(),
            arena: &self.arena,
            state: &self.state,
            rows: &self.rows,
            profile: self.profile.as_ref().map(|running| {
                let mut named = self.plans.named();
                let number = named.position(|(_, found)| std::ptr::eq(found, plan));
                (&running.profile, number.unwrap_or(0))
            }),
        };
        let start = run.profile.map(|_| Instant::now());
        let mut forward = |output: Output<'_>| sink(output);
        let crew = match self.model.threads_asked() {
            true => Crew::All,
            false => crew_for(plan, self.rows.facts.len()),
        };
        let outcome = execute(&run, (self.model.pool(), crew), &self.abort, &mut forward);
        if let (Some(running), Some((_, plan)), Some(start)) = (&self.profile, run.profile, start) {
            running.ran(plan, self.rows.facts.len(), start.elapsed());
        }
        match outcome {
            Outcome::Finished => Ok(()),
            Outcome::Aborted => {
                self.abort.store(false, Ordering::Relaxed);
                Err(RunError::Aborted)
            }
            Outcome::Panicked => Err(RunError::Panicked),
        }
    }

    fn check_rows(&self, rows: &[Row]) -> Result<(), RunError> {
        let limits = self.model.limits();
        for (index, row) in rows.iter().enumerate() {
            let facts = [
                ("token", u64::from(row.token), limits.vocabulary),
                ("position", row.position, limits.positions),
                ("token type", u64::from(row.token_type), limits.token_types),
                (
                    "sequence",
                    u64::from(row.sequence),
                    self.options.sequences as u64,
                ),
            ];
            for (name, value, limit) in facts {
                if value >= limit {
                    let what = format!("row {index}: {name} is {value}, expected below {limit}");
                    return Err(RunError::Input(what));
                }
            }
        }
        Ok(())
    }
}
