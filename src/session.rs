//! One conversation with a model: its sequences, their memory and its plans.

mod endless;
mod memory;
mod options;
mod plans;
mod profile;
mod second_reading;
mod segments;
mod snapshot;
mod snapshot_file;
mod sparse;

pub(crate) use memory::over_budget;
pub use options::SessionOptions;
pub(crate) use plans::memory_plan;
pub use plans::{MemoryPlan, PlanFigures, StateFigures, plans};
pub use profile::{PlanReport, Report, StepReport};
pub(crate) use segments::counts_together;
pub use snapshot::SnapshotError;

use crate::arena::Arena;
use crate::error::RunError;
use crate::exec::{
    Batch, Columns, Output, Profile, Row, Run, Sink, crew_for, execute, first_fault, is_sound,
};
use crate::graph::Role;
use crate::model::Model;
use crate::plan::Plan;
use crate::pool::{Crew, Outcome};
use crate::reserve::{filled, list};
use crate::residency::Recorder;
use crate::state::State;
use plans::{Plans, state_layout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// A model's working memory: its sequences, their KV cache and recurrent states, and the
/// activations of a run. One thread uses it at a time.
///
/// Logits of the token that follows a text:
///
/// ```
/// use rillm::sample::argmax;
/// use rillm::{Model, ModelOptions, Row, Session, SessionOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
/// let tokenizer = model.tokenizer()?;
/// let mut session = Session::new(&model, SessionOptions::default().context(64))?;
/// let tokens = tokenizer.encode("Once upon a", Default::default())?;
/// let last = tokens.len() - 1;
/// let rows: Vec<Row> = tokens.iter().enumerate().map(|(at, &token)| {
///     Row { token, position: at as u64, emit: at == last, ..Row::default() }
/// }).collect();
/// let mut next = 0;
/// session.feed(&rows, &mut |output| next = argmax(output.values))?;
/// assert_eq!(tokenizer.decode_text(&[next], Default::default()), " time");
/// # Ok(())
/// # }
/// ```
///
/// Sentence embeddings: an encoder's rows, averaged. Two texts are two sequences of one call; the
/// ids are those of the model's tokenizer.
///
/// ```
/// use rillm::{Model, ModelOptions, Row, Session, SessionOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("assets/encoder.gguf", ModelOptions::default())?;
/// let mut session = Session::new(&model, SessionOptions::default().sequences(2))?;
/// let texts: [&[u32]; 2] = [&[2, 17, 40, 3], &[2, 40, 9, 61, 8, 3]];
/// let rows: Vec<Row> = texts.iter().zip(0..).flat_map(|(ids, sequence)| {
///     ids.iter().zip(0..).map(move |(&token, position)| {
///         Row { token, position, sequence, ..Row::default() }
///     })
/// }).collect();
/// let mut embeddings = vec![vec![0.0; 33]; 2];
/// session.encode(&rows, &mut |output| {
///     if output.name == "last_hidden_state" {
///         let sequence = rows[output.row].sequence as usize;
///         let count = texts[sequence].len() as f32;
///         for (sum, value) in embeddings[sequence].iter_mut().zip(output.values) {
///             *sum += value / count;
///         }
///     }
/// })?;
/// let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
/// let [a, b] = [&embeddings[0], &embeddings[1]];
/// let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
/// assert!((-1.0..=1.0).contains(&cosine) && cosine != 0.0);
/// # Ok(())
/// # }
/// ```
///
/// A prompt that several texts share is computed once: forks share its KV cache until one of them
/// writes, and a snapshot brings it back in another session, or another process.
///
/// ```
/// use rillm::{Model, ModelOptions, Session, SessionOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
/// let options = SessionOptions::default().context(64).sequences(2);
/// let mut session = Session::new(&model, options)?;
/// let prompt = model.tokenizer()?.encode("Once upon a time", Default::default())?;
/// session.prefill(0, &prompt)?;
/// session.fork(0, 1)?;
/// session.prefill(1, &[5, 6])?;
/// assert_eq!((session.len(0)?, session.len(1)?), (prompt.len(), prompt.len() + 2));
///
/// let mut bytes = Vec::new();
/// session.snapshot(0, &prompt, &mut bytes)?;
/// let mut other = Session::new(&model, SessionOptions::default().context(128))?;
/// assert_eq!(other.restore(0, &mut bytes.as_slice())?, prompt);
/// assert_eq!(other.len(0)?, prompt.len());
/// # Ok(())
/// # }
/// ```
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
    profile: Option<profile::ProfileInProgress>,
    recorder: Option<Recorder>,
}

impl Session {
    /// Reserves a session's memory.
    ///
    /// # Errors
    /// Options of zero, sizes that overflow, memory that the system refuses.
    pub fn new(model: &Model, options: SessionOptions) -> Result<Session, RunError> {
        let (options, capacity) = options.checked()?;
        if let Some(budget) = options.memory.or(model.memory()) {
            memory::hold(model, options, budget)?;
        }
        let wiring = model.wiring();
        let form = |matrix| model.weights().matrix(matrix).form();
        let plans = Plans::new((wiring, &form), model.residency().get(), options)?;
        let rows = match (model.graph(Role::Decode), model.graph(Role::Encode)) {
            (Some(_), Some(_)) => options.batch.max(options.source),
            (None, Some(_)) => options.source,
            _ => options.batch,
        };
        let rows = [
            rows,
            segments::table_rows(wiring),
            segments::compressed_rows(wiring),
            segments::kept_rows(wiring),
        ];
        let rows = rows.into_iter().max().unwrap_or(0);
        let mut session = Session {
            arena: Arena::new(plans.arena_len())?,
            state: State::new(state_layout(wiring, capacity)?)?,
            rows: Batch::with_capacity(rows, options.sequences)?,
            counts: filled(0, options.sequences)?,
            abort: Arc::default(),
            progress: Arc::default(),
            profile: None,
            recorder: None,
            model: model.clone(),
            options,
            plans,
        };
        if options.random_attention {
            session.rows.random_blocks = Some(sparse::random_blocks(model)?);
        }
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

    /// Has this flag end its calls instead, which outlives the session.
    pub(crate) fn set_abort_flag(&mut self, flag: Arc<AtomicBool>) {
        self.abort = flag;
    }

    /// Bytes that are reserved for activations and for state.
    pub(crate) fn reserved(&self) -> (usize, usize) {
        (self.arena.len(), self.state.reserved())
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
        let limits = self.model.limits();
        self.check_rows(rows, (limits.vocabulary, limits.positions))?;
        self.check_together(rows.len())?;
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

    /// Extends a sequence by tokens that follow what it holds, without asking for outputs: what
    /// stands before the token from which generation goes on. Positions count the sequence's rows;
    /// a sequence that was fed with gaps in its positions is extended by [`Session::feed`].
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn prefill(&mut self, sequence: u32, tokens: &[u32]) -> Result<(), RunError> {
        let held = self.len(sequence)? as u64;
        let rows = tokens.iter().zip(held..).map(|(&token, position)| Row {
            token,
            position,
            sequence,
            ..Row::default()
        });
        // One feed, however long: where frequencies depend on a feed's length, its cut counts.
        let mut fed = list(tokens.len())?;
        fed.extend(rows);
        self.feed(&fed, &mut |_| {})
    }

    /// Encodes whole inputs: all rows of a sequence stand together. Per-row outputs of every
    /// row go to `sink`, `emit` or not. For an encoder–decoder model this begins the sequences anew:
    /// their sources are replaced and what was decoded is forgotten.
    ///
    /// # Errors
    /// As [`Session::feed`]. Sequences whose source an abort left incomplete have none.
    pub fn encode(&mut self, rows: &[Row], sink: &mut Sink<'_>) -> Result<(), RunError> {
        self.encode_padded(rows, None, sink)
    }

    /// The same for rows that stand in these columns of a padded input, which go up within a
    /// sequence: sparse attention goes by columns, not by rows.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn encode_padded(
        &mut self,
        rows: &[Row],
        columns: Option<Columns<'_>>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunError> {
        if self.plans.encode.is_none() {
            return Err(RunError::Input(format!(
                "{} has no encoder",
                self.model.architecture().title
            )));
        }
        let limits = self.model.limits();
        self.check_rows(rows, (limits.source_vocabulary, limits.source_positions))?;
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
            self.push_sources(rows, start..end, columns)?;
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

    /// Makes sequence `to` a copy of `from`, sharing its KV cache until one of them writes.
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

    /// Shortens a sequence to the longest length of at most `most` that it can be shortened to, and
    /// returns it: that of the last checkpoint before, where states are recurrent. A text that
    /// shares its first tokens with what a sequence holds is read on from there.
    ///
    /// # Errors
    /// No such sequence.
    pub fn rewind_within(&mut self, sequence: u32, most: usize) -> Result<usize, RunError> {
        Ok(self.state.rewind_within(sequence, most)?)
    }

    /// Saves a sequence's recurrent state as [`Session::checkpoint`] does, and forgets the
    /// sequence's shortest checkpoint for it if all that are reserved are in use.
    ///
    /// # Errors
    /// Other sequences have all reserved checkpoints.
    pub fn checkpoint_newest(&mut self, sequence: u32) -> Result<(), RunError> {
        self.state.make_room_for_checkpoint(sequence);
        self.checkpoint(sequence)
    }

    /// Saves a sequence's recurrent state, so that it can be rewound to its present length.
    ///
    /// ```
    /// use rillm::{Model, ModelOptions, Session, SessionOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
    /// let mut session = Session::new(&model, SessionOptions::default().checkpoints(1))?;
    /// session.prefill(0, &[1, 403, 407])?;
    /// session.checkpoint(0)?;
    /// session.prefill(0, &[261, 285])?;
    /// // Back to before what was read last, and on another way.
    /// session.rewind(0, 3)?;
    /// session.prefill(0, &[378])?;
    /// assert_eq!(session.len(0)?, 4);
    /// # Ok(())
    /// # }
    /// ```
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
            residency: self.model.residency(),
            kernels: self.model.kernels(),
            arena: &self.arena,
            state: &self.state,
            rows: &self.rows,
            recorder: self.recorder.as_ref(),
            profile: self.profile.as_ref().map(|running| {
                let mut named = self.plans.named();
                let number = named.position(|(_, found)| std::ptr::eq(found, plan));
                (&running.profile, number.unwrap_or(0))
            }),
        };
        let start = run.profile.map(|_| Instant::now());
        let mut unsound = None;
        let mut forward = |output: Output<'_>| match is_sound(output.values) {
            true => sink(output),
            false => unsound = unsound.or(Some(output.name)),
        };
        let crew = match self.model.threads_asked() {
            true => Crew::All,
            false => crew_for(plan, self.rows.facts.len()),
        };
        let outcome = execute(&run, (self.model.pool(), crew), &self.abort, &mut forward);
        if let (Some(running), Some((_, plan)), Some(start)) = (&self.profile, run.profile, start) {
            running.ran(plan, self.rows.facts.len(), start.elapsed());
        }
        match outcome {
            Outcome::Finished => match unsound {
                None => Ok(()),
                Some(output) => Err(RunError::NotFinite {
                    output,
                    fault: self.fault(&run),
                }),
            },
            Outcome::Aborted => Err(match self.model.take_fault() {
                Some(fault) => RunError::Weights(fault),
                None => {
                    self.abort.store(false, Ordering::Relaxed);
                    RunError::Aborted
                }
            }),
            Outcome::Panicked => Err(RunError::Panicked),
        }
    }

    /// What is first at fault in a run with an output that is not finite.
    fn fault(&self, run: &Run<'_>) -> String {
        let Some(node) = first_fault(run, self.model.pool()) else {
            return "no step of it alone is at fault, the state that it began from may be"
                .to_string();
        };
        let op = &run.plan.graph.nodes[node].op;
        let step = op.name();
        match (self.model.tensor_of(op), self.model.has_finite_tensor(op)) {
            (Some(tensor), false) => format!("tensor {tensor} holds a value that is not finite"),
            (Some(tensor), true) => format!("first in step {step} of {tensor}"),
            (None, _) => format!("first in step {step} (number {node})"),
        }
    }

    fn check_rows(
        &self,
        rows: &[Row],
        (vocabulary, positions): (u64, u64),
    ) -> Result<(), RunError> {
        let limits = self.model.limits();
        let may_be_global = self.model.global_rows().is_some();
        for (index, row) in rows.iter().enumerate() {
            if row.global == Some(true) && !may_be_global {
                let title = self.model.architecture().title;
                let what = format!("row {index} is global, but {title} has no global attention");
                return Err(RunError::Input(what));
            }
            let facts = [
                ("token", u64::from(row.token), vocabulary),
                ("position", row.position, positions),
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
