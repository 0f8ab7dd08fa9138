//! Many inputs through one model, as many at a time as a budget of tokens holds.

use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::eval::emits;
use crate::exec::{Output, Row};
use crate::graph::{ReadAt, Role, RowSpace};
use crate::model::Model;
use crate::session::{Session, SessionOptions};
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most inputs of one run.
const SEQUENCES: usize = 256;

/// A text, or a pair of them, as the model takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenInput {
    pub(super) ids: Vec<u32>,
    /// Token types; none for zeros.
    pub(super) types: Vec<u32>,
}

/// One row of an output, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskOutput<'a> {
    /// transformers' name.
    pub(super) name: &'static str,
    /// Index of the input.
    pub(super) input: usize,
    /// Which of its tokens.
    pub(super) token: usize,
    pub(super) values: &'a [f32],
}

/// A model and the working memory in which its inputs are run.
#[derive(Debug)]
pub(super) struct TaskRunner {
    model: Model,
    /// As large as what has been run so far wanted it.
    session: Option<Session>,
    batch_tokens: usize,
    /// Where the only row that is wanted of a text is, if the model does not say it.
    read_at: Option<ReadAt>,
    done: Arc<AtomicU64>,
}

impl TaskRunner {
    /// A model that has this output.
    pub(super) fn new(
        model: &Model,
        batch_tokens: usize,
        output: &'static str,
        space: RowSpace,
    ) -> Result<TaskRunner, LoadError> {
        width_of(model, output, space)?;
        Ok(TaskRunner {
            model: model.clone(),
            session: None,
            batch_tokens: batch_tokens.clamp(1, SessionOptions::MOST),
            read_at: None,
            done: Arc::default(),
        })
    }

    /// The same, of whose texts only this row is wanted.
    pub(super) fn read_at(self, read_at: Option<ReadAt>) -> TaskRunner {
        TaskRunner { read_at, ..self }
    }

    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    /// Counts the inputs that have been run.
    pub(super) fn done(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.done)
    }

    /// Runs the inputs, in an order of its own; rows of one input come in theirs.
    pub(super) fn run(
        &mut self,
        inputs: &[TokenInput],
        sink: &mut (dyn FnMut(TaskOutput<'_>) + Send),
    ) -> Result<(), RunError> {
        if let Some(empty) = inputs.iter().position(|input| input.ids.is_empty()) {
            return Err(RunError::Input(format!("text {empty} has no tokens")));
        }
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        // Equal ones in their order: the first run is the largest, and reserves what all need.
        order.sort_by_key(|index| Reverse(inputs[*index].ids.len()));
        let mut rows = Vec::new();
        let mut places: Vec<(usize, usize)> = Vec::new();
        let mut rest = &order[..];
        let longest = order.first().map_or(0, |&first| inputs[first].ids.len());
        let (context, most) = self.room(longest);
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(inputs, rest, (self.batch_tokens, most)));
            rest = after;
            rows.clear();
            places.clear();
            for (sequence, &input) in (0..).zip(batch) {
                let TokenInput { ids, types } = &inputs[input];
                for (token, &id) in ids.iter().enumerate() {
                    rows.push(Row {
                        token: id,
                        position: token as u64,
                        sequence,
                        emit: true,
                        token_type: types.get(token).copied().unwrap_or(0),
                        ..Row::default()
                    });
                    places.push((input, token));
                }
            }
            let encodes = self.model.encodes();
            let wanted = self.read_at;
            let session = self.session(rows.len(), (context, most), batch.len())?;
            let mut read = vec![None; batch.len()];
            for ((sequence, place), &input) in (0..).zip(&mut read).zip(batch) {
                let ids = &inputs[input].ids;
                *place = match wanted.map(|at| at.place(ids)) {
                    Some(Ok(place)) => Some(place),
                    _ => session.place_of(ids, sequence)?,
                };
            }
            for (row, (_, token)) in rows.iter_mut().zip(&places) {
                row.emit = read[row.sequence as usize].is_none_or(|place| place == *token);
            }
            let mut forward = |output: Output<'_>| {
                let (input, token) = places[output.row];
                // An encoder hands over all of its rows.
                if output.space == RowSpace::Source && !rows[output.row].emit {
                    return;
                }
                sink(TaskOutput {
                    name: output.name,
                    input,
                    token,
                    values: output.values,
                });
            };
            if encodes {
                session.encode(&rows, &mut forward)?;
            }
            let read_again = session.decoder_rows(&rows)?;
            if let Some(read) = read_again.as_ref().or((!encodes).then_some(&rows)) {
                session.feed(read, &mut forward)?;
                for sequence in 0..batch.len() {
                    session.reset(sequence as u32)?;
                }
            }
            self.done.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Positions of each sequence of a session, and the most sequences of a run.
    fn room(&self, longest: usize) -> (usize, usize) {
        let context = longest.next_power_of_two().min(SessionOptions::MOST);
        if !self.reserves_all() || !self.model.decodes() {
            return (context, SEQUENCES);
        }
        // The longer they are, the fewer: all sessions' KV caches are of one size.
        let held = self.session.as_ref();
        let held = held.map_or(0, |session| session.options().context);
        let context = context.max(held);
        (context, (self.batch_tokens / context).max(1))
    }

    /// Whether a session takes at once what others would later: what of the weights stays in a bounded
    /// memory is decided by the first one.
    fn reserves_all(&self) -> bool {
        self.model.memory().is_some()
    }

    /// A session that holds so many rows of so many sequences, of this many positions each.
    fn session(
        &mut self,
        rows: usize,
        (context, most): (usize, usize),
        sequences: usize,
    ) -> Result<&mut Session, RunError> {
        let fits = |session: &&mut Session| {
            let options = session.options();
            options.source >= rows && options.context >= context && options.sequences >= sequences
        };
        if self.session.as_mut().filter(fits).is_none() {
            let all = self.batch_tokens.max(rows);
            // What grows grows by much, so that texts that come one by one do not reserve each time.
            let (source, sequences) = match self.reserves_all() {
                true => (all, most),
                false => (
                    rows.next_power_of_two().min(all),
                    sequences.next_power_of_two(),
                ),
            };
            let options = SessionOptions {
                context,
                sequences,
                source,
                checkpoints: 0,
                ..SessionOptions::default()
            };
            // The old one's memory is given back before the new one's is asked for.
            self.session = None;
            self.session = Some(Session::new(&self.model, options)?);
        }
        match &mut self.session {
            Some(session) => Ok(session),
            // It was just made.
            None => Err(RunError::Panicked),
        }
    }
}

/// How many of the inputs, of which the first is the longest, are run together.
fn batch_len(inputs: &[TokenInput], order: &[usize], (budget, sequences): (usize, usize)) -> usize {
    let mut tokens = 0;
    let fits = |index: &&usize| {
        tokens += inputs[**index].ids.len();
        tokens <= budget
    };
    order.iter().take(sequences).take_while(fits).count().max(1)
}

/// The width of an output that a task wants.
///
/// # Errors
/// The model has other outputs.
pub(super) fn width_of(
    model: &Model,
    output: &'static str,
    space: RowSpace,
) -> Result<usize, LoadError> {
    let graphs = [Role::Encode, Role::Decode]
        .into_iter()
        .filter_map(|role| model.graph(role));
    let reads_one = model.read_at().is_some();
    let is_alone = (model.encodes() != model.decodes()) || model.second_reading().is_some();
    let mut outputs = Vec::new();
    let all = graphs.flat_map(|graph| emits(graph).map(|emit| (emit.name, graph.info(emit.x))));
    for (name, info) in all {
        let (found, width) = (info.space, info.width);
        // Of a decoder the rows asked for are those of all positions.
        let fits = match (space, reads_one) {
            (RowSpace::Sequence, true) => found != RowSpace::Sequence,
            (RowSpace::Source, true) => false,
            (RowSpace::Source, false) => found != RowSpace::Sequence,
            _ => found == space,
        };
        if name == output && fits && is_alone {
            return Ok(width);
        }
        outputs.push(match found {
            RowSpace::Sequence => format!("{name} for each text"),
            _ => format!("{name} for each token"),
        });
    }
    let wanted = match space {
        RowSpace::Sequence => format!("{output} for each text"),
        _ => format!("{output} for each token"),
    };
    let what = format!(
        "this task needs a model that gives {wanted}, {} gives {}",
        model.title(),
        outputs.join(", ")
    );
    Err(LoadError::new(LoadErrorKind::Unsupported, what))
}
