//! Beam search, as transformers' `generate` does it: the same continuations, scores and end.

use super::config::{EarlyStopping, GenerationConfig};
use super::processors::{LogitsProcessors, log_softmax};
use super::{BEAM_WORST, begin_rows, feed_rows};
use crate::error::RunError;
use crate::exec::Row;
use crate::reserve::list;
use crate::session::Session;
use std::ops::ControlFlow;

/// A text that beam search found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hypothesis {
    /// Its tokens, without those that it began from and without its end.
    pub tokens: Vec<u32>,
    /// Σ log p / lengthᵖ, the end counted.
    pub score: f32,
    /// Whether the model ended it; else it is as long as it may become.
    pub ended: bool,
}

/// A token that one of the beams may go on with.
#[derive(Clone, Copy, Debug)]
struct Continuation {
    score: f32,
    beam: usize,
    token: u32,
    /// Whether the text ends with it.
    stops: bool,
}

/// A text with what it began from, running or finished.
#[derive(Clone, Debug, Default)]
struct Beam {
    tokens: Vec<u32>,
    score: f32,
    finished: bool,
}

impl Beam {
    /// Becomes a copy of another, within its own memory.
    fn become_copy(&mut self, other: &Beam) {
        self.tokens.clear();
        self.tokens.extend_from_slice(&other.tokens);
        self.score = other.score;
        self.finished = other.finished;
    }
}

/// Sequences that a session needs for so many beams: those that run, and those that take their
/// places after a step.
pub const fn beam_sequences(beams: usize) -> usize {
    2 * beams
}

/// The best texts behind `prompt`, best first, as many as `config.num_return_sequences`. The session
/// has [`beam_sequences`] of `config.num_beams` sequences, and all that they hold is forgotten; an
/// encoder–decoder model encodes the prompt once. `step` is called after each token.
///
/// ```
/// use rillm::generate::{GenerationConfig, beam_search, beam_sequences};
/// use rillm::{Model, ModelOptions, Session, SessionOptions};
/// use std::ops::ControlFlow::Continue;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
/// let tokenizer = model.tokenizer()?;
/// let config = GenerationConfig::of(&model)?.num_beams(4usize).max_new_tokens(12);
/// let sequences = SessionOptions::default().context(64).sequences(beam_sequences(4));
/// let mut session = Session::new(&model, sequences)?;
/// let prompt = tokenizer.encode("Once upon a time", Default::default())?;
/// let ends = tokenizer.end_tokens();
/// let best = beam_search(&mut session, &prompt, &config, ends, &mut || Continue(()))?;
/// println!("{}", tokenizer.decode_text(&best[0].tokens, Default::default()));
/// # assert_eq!((best.len(), best[0].tokens.len()), (1, 12));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// An empty prompt, options that contradict each other or name tokens that there are not, no length, fewer sequences than needed,
/// [`RunError::Aborted`] where `step` says so, whatever [`Session::feed`] refuses.
pub fn beam_search(
    session: &mut Session,
    prompt: &[u32],
    config: &GenerationConfig,
    end_tokens: &[u32],
    step: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Vec<Hypothesis>, RunError> {
    let beams = config.num_beams;
    check(session, config)?;
    for sequence in 0..beam_sequences(beams) as u32 {
        session.reset(sequence)?;
    }
    let (rows, beginning) = begin_rows(session, prompt, 0, config.decoder_start_token_id)?;
    let most = config.longest(beginning.len());
    let room = room(session, beginning.len());
    let Some(most) = most.or(room).map(|most| most.min(room.unwrap_or(most))) else {
        let what = "max_new_tokens is not set and the model has no context, give one of them";
        return Err(RunError::Input(what.to_owned()));
    };
    let longest = beginning.len() + most;
    let mut search = BeamSearch::new(session, config, end_tokens, (&beginning, longest))?;
    let mut processors =
        LogitsProcessors::new(config, end_tokens, prompt, (beginning.len(), longest))?;
    if most == 0 {
        return Ok(Vec::new());
    }
    search.step(&rows, &mut processors)?;
    while search.goes_on() {
        if step().is_break() {
            return Err(RunError::Aborted);
        }
        let rows = search.next_rows(rows.len() - 1)?;
        search.step(&rows, &mut processors)?;
    }
    Ok(search.best(config.num_return_sequences, beginning.len()))
}

fn check(session: &Session, config: &GenerationConfig) -> Result<(), RunError> {
    let beams = config.num_beams;
    let (sequences, needed) = (session.options().sequences, beam_sequences(beams));
    let what = if beams == 0 {
        "num_beams is 0, expected at least 1".to_owned()
    } else if config.do_sample {
        "do_sample is set, beam search takes the most likely tokens: unset one of them".to_owned()
    } else if config.num_return_sequences > beams {
        let asked = config.num_return_sequences;
        format!("num_return_sequences is {asked}, expected at most num_beams, {beams}")
    } else if sequences < needed {
        format!("the session has {sequences} sequences, {beams} beams need {needed}")
    } else {
        return config.check(session.model());
    };
    Err(RunError::Input(what))
}

/// Tokens that fit into the context behind so many; `None` for any number.
fn room(session: &Session, held: usize) -> Option<usize> {
    let positions = session.model().limits().positions;
    let positions = usize::try_from(positions)
        .ok()
        .filter(|_| positions < 1 << 32);
    let context = session.has_kv_cache().then(|| session.options().context);
    let most = context.into_iter().chain(positions).min()?;
    // The last token is written and not fed.
    Some((most + 1).saturating_sub(held))
}

struct BeamSearch<'a> {
    session: &'a mut Session,
    config: &'a GenerationConfig,
    end_tokens: &'a [u32],
    longest: usize,
    beginning: usize,
    running: Vec<Beam>,
    finished: Vec<Beam>,
    /// The beams of the next step, while it is made.
    spare: Vec<Beam>,
    continuations: Vec<Continuation>,
    /// Places of a sorted list, with what they are sorted by.
    order: Vec<(f32, usize)>,
    /// The first sequence of those that run; the others are the rest.
    first_sequence: usize,
    /// Scores of one beam's tokens.
    scores: Vec<f32>,
    logits: Vec<f32>,
    improves: bool,
    exhausted: bool,
}

impl<'a> BeamSearch<'a> {
    fn new(
        session: &'a mut Session,
        config: &'a GenerationConfig,
        end_tokens: &'a [u32],
        (beginning, longest): (&[u32], usize),
    ) -> Result<BeamSearch<'a>, RunError> {
        let beams = config.num_beams;
        let kept = 2.max(1 + end_tokens.len()) * beams;
        let vocabulary = session.model().limits().vocabulary.min(1 << 32) as usize;
        let beam = |score| -> Result<Beam, RunError> {
            let mut tokens = list(longest)?;
            tokens.extend_from_slice(beginning);
            Ok(Beam {
                tokens,
                score,
                finished: false,
            })
        };
        let all = |best: f32| -> Result<Vec<Beam>, RunError> {
            let mut all = list(beams)?;
            for index in 0..beams {
                // What all beams know at first counts once.
                all.push(beam(if index == 0 { best } else { BEAM_WORST })?);
            }
            Ok(all)
        };
        Ok(BeamSearch {
            running: all(0.0)?,
            finished: all(BEAM_WORST)?,
            spare: all(0.0)?,
            continuations: list(kept + 1)?,
            order: list(kept + beams)?,
            first_sequence: 0,
            scores: crate::reserve::filled(0.0, vocabulary)?,
            logits: crate::reserve::filled(0.0, vocabulary * beams)?,
            improves: true,
            exhausted: false,
            beginning: beginning.len(),
            session,
            config,
            end_tokens,
            longest,
        })
    }

    /// The tokens that were chosen last, one of each beam.
    fn next_rows(&self, first_position: usize) -> Result<Vec<Row>, RunError> {
        let mut rows = list(self.running.len())?;
        for (index, beam) in self.running.iter().enumerate() {
            let written = beam.tokens.len() - self.beginning;
            rows.push(Row {
                token: beam.tokens[beam.tokens.len() - 1],
                position: (first_position + written) as u64,
                sequence: (self.first_sequence + index) as u32,
                emit: true,
                ..Row::default()
            });
        }
        Ok(rows)
    }

    /// Feeds rows and chooses how the beams go on.
    fn step(
        &mut self,
        rows: &[Row],
        processors: &mut LogitsProcessors<'_>,
    ) -> Result<(), RunError> {
        let outputs = feed_rows(self.session, rows, &mut self.logits, self.scores.len())?;
        self.choose(outputs, processors);
        self.finish();
        self.go_on(outputs)
    }

    /// The best continuations of all beams. At first there is one output, and all beams have it.
    fn choose(&mut self, outputs: usize, processors: &mut LogitsProcessors<'_>) {
        let vocabulary = self.scores.len();
        let kept = self.continuations.capacity() - 1;
        self.continuations.clear();
        for (index, beam) in self.running.iter().enumerate() {
            let output = index.min(outputs - 1) * vocabulary;
            let logits = &self.logits[output..output + vocabulary];
            self.scores.copy_from_slice(logits);
            log_softmax(&mut self.scores);
            processors.apply(&beam.tokens, &mut self.scores);
            for (token, &score) in self.scores.iter().enumerate() {
                let score = score + beam.score;
                let last = self.continuations.last();
                if self.continuations.len() == kept && last.is_some_and(|last| last.score >= score)
                {
                    continue;
                }
                let better = |other: &Continuation| other.score >= score;
                let place = self.continuations.partition_point(better);
                let token = token as u32;
                let is_full = beam.tokens.len() + 1 >= self.longest;
                let continuation = Continuation {
                    score,
                    beam: index,
                    token,
                    stops: is_full || self.end_tokens.contains(&token),
                };
                self.continuations.insert(place, continuation);
                self.continuations.truncate(kept);
            }
        }
        self.exhausted = self
            .continuations
            .iter()
            .all(|continuation| continuation.stops);
    }

    /// Keeps the best of the texts that are finished and of those that now are.
    fn finish(&mut self) {
        let beams = self.config.num_beams;
        let written = self.running[0].tokens.len() + 1 - self.beginning;
        let all_finished = self.finished.iter().all(|beam| beam.finished);
        let is_full = all_finished && self.config.early_stopping == EarlyStopping::Always;
        self.order.clear();
        let held = self.finished.iter().map(|beam| beam.score);
        self.order.extend(held.zip(0..));
        for (index, continuation) in self.continuations.iter().enumerate() {
            let mut score = continuation.score / length_factor(written, self.config.length_penalty);
            for hopeless in [
                is_full,
                !self.improves,
                !(continuation.stops && index < beams),
            ] {
                if hopeless {
                    score += BEAM_WORST;
                }
            }
            self.order.push((score, beams + index));
        }
        sort(&mut self.order);
        for (place, &(score, from)) in self.spare.iter_mut().zip(&self.order) {
            match from.checked_sub(beams) {
                None => place.become_copy(&self.finished[from]),
                Some(index) => {
                    let continuation = self.continuations[index];
                    place.become_copy(&self.running[continuation.beam]);
                    place.tokens.push(continuation.token);
                    place.finished = continuation.stops && index < beams;
                }
            }
            place.score = score;
        }
        std::mem::swap(&mut self.finished, &mut self.spare);
    }

    /// The best beams that are not finished take the places of those that ran, with their sequences.
    fn go_on(&mut self, outputs: usize) -> Result<(), RunError> {
        let beams = self.config.num_beams;
        self.order.clear();
        for (index, continuation) in self.continuations.iter().enumerate() {
            let stopped = if continuation.stops { BEAM_WORST } else { 0.0 };
            self.order.push((continuation.score + stopped, index));
        }
        sort(&mut self.order);
        let next_sequence = beams - self.first_sequence;
        for index in 0..beams {
            let (score, from) = self.order[index.min(self.order.len() - 1)];
            let continuation = self.continuations[from];
            let place = &mut self.spare[index];
            place.become_copy(&self.running[continuation.beam]);
            place.tokens.push(continuation.token);
            place.score = score;
            place.finished = false;
            let parent = self.first_sequence + continuation.beam.min(outputs - 1);
            self.session
                .fork(parent as u32, (next_sequence + index) as u32)?;
        }
        std::mem::swap(&mut self.running, &mut self.spare);
        self.first_sequence = next_sequence;
        let len = self.running[0].tokens.len();
        let length = match self.config.early_stopping {
            EarlyStopping::Never if self.config.length_penalty > 0.0 => self.longest,
            _ => len,
        };
        let factor = length_factor(length - self.beginning, self.config.length_penalty);
        let hope = self.running[0].score / factor;
        let worst = self.finished.iter().map(|beam| beam.score);
        let worst = worst.fold(f32::INFINITY, f32::min);
        let beaten = |beam: &Beam| match beam.finished {
            true => hope > worst,
            false => hope > BEAM_WORST,
        };
        self.improves &= self.finished.iter().any(beaten);
        Ok(())
    }

    fn goes_on(&self) -> bool {
        let all_finished = self.finished.iter().all(|beam| beam.finished);
        let is_done = all_finished && self.config.early_stopping == EarlyStopping::Always;
        self.improves && !is_done && !self.exhausted
    }

    fn best(mut self, count: usize, beginning: usize) -> Vec<Hypothesis> {
        self.finished.truncate(count);
        let hypothesis = |beam: Beam| {
            let mut tokens = beam.tokens;
            let ended = tokens
                .last()
                .is_some_and(|last| tokens.len() > beginning && self.end_tokens.contains(last));
            if ended {
                tokens.pop();
            }
            tokens.drain(..beginning);
            Hypothesis {
                tokens,
                score: beam.score,
                ended,
            }
        };
        self.finished.into_iter().map(hypothesis).collect()
    }
}

/// lengthᵖ
fn length_factor(length: usize, penalty: f32) -> f32 {
    (length as f64).powf(f64::from(penalty)) as f32
}

/// Largest first; of equals the earlier.
fn sort(order: &mut [(f32, usize)]) {
    order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
}
