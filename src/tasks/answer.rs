//! Answers that stand in a text.

use super::BATCH_TOKENS;
use super::labels::softmax;
use super::run::{TaskRunner, TokenInput, width_of};
use super::similar::descending;
use super::texts::{TextWindow, max_length, question_windows};
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::graph::RowSpace;
use crate::model::Model;
use crate::setters::setters;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The outputs that say where an answer begins and ends.
const OUTPUTS: [&str; 2] = ["start_logits", "end_logits"];

/// Most tokens of a question and a part of the context, where nobody says.
const MAX_SEQ_LEN: usize = 384;

/// Tokens that parts of a context have in common, where nobody says.
const DOC_STRIDE: usize = 128;

/// What the logits of tokens that cannot be in an answer are taken for.
const MASKED: f32 = -10000.0;

/// How answers are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnswerOptions {
    /// How many answers.
    pub top_k: usize,
    /// Tokens that parts of a long context have in common.
    pub doc_stride: Option<usize>,
    /// Most tokens of an answer.
    pub max_answer_len: usize,
    /// Most tokens of the question and a part of the context.
    pub max_seq_len: Option<usize>,
    /// Whether there may be no answer: that is one without text.
    pub handle_impossible_answer: bool,
    /// Whether answers consist of whole words.
    pub align_to_words: bool,
    /// Tokens that are run at a time.
    pub batch_tokens: Option<usize>,
}

impl Default for AnswerOptions {
    fn default() -> AnswerOptions {
        AnswerOptions {
            top_k: 1,
            doc_stride: None,
            max_answer_len: 15,
            max_seq_len: None,
            handle_impossible_answer: false,
            align_to_words: true,
            batch_tokens: None,
        }
    }
}

setters! {
    AnswerOptions {
        top_k: usize,
        doc_stride: impl Into<Option<usize>>,
        max_answer_len: usize,
        max_seq_len: impl Into<Option<usize>>,
        handle_impossible_answer: bool,
        align_to_words: bool,
        batch_tokens: impl Into<Option<usize>>,
    }
}

/// A stretch of a context that may be the answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// How likely it is; of one that was found in several places, how likely those are together.
    pub score: f32,
    /// Its first byte in the context.
    pub start: usize,
    /// The byte behind its last.
    pub end: usize,
    /// Its text.
    pub answer: String,
}

/// A model that finds answers in texts: transformers' `question-answering`.
///
/// ```
/// use rillm::tasks::{AnswerOptions, QuestionAnswerer};
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("tests/data/tasks/answer", ModelOptions::default())?;
/// let mut answerer = QuestionAnswerer::new(&model, AnswerOptions::default())?;
/// let context = "Mary went to London, and John lives in Paris.";
/// let answers = answerer.answer("Who lives in Paris?", context)?;
/// let best = &answers[0];
/// assert_eq!(best.answer, context[best.start..best.end]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct QuestionAnswerer {
    runner: TaskRunner,
    options: AnswerOptions,
    max_seq_len: usize,
    doc_stride: usize,
}

/// Where an answer may begin and end among a window's tokens.
#[derive(Clone, Copy, Debug)]
struct AnswerSpan {
    start: usize,
    end: usize,
    score: f32,
}

impl QuestionAnswerer {
    /// A model with a logit of each token for each end of an answer.
    ///
    /// # Errors
    /// A model with other outputs, or without a tokenizer; a stride as long as what it joins.
    pub fn new(model: &Model, options: AnswerOptions) -> Result<QuestionAnswerer, LoadError> {
        model.tokenizer()?;
        for output in OUTPUTS {
            width_of(model, output, RowSpace::Source)?;
        }
        let most = max_length(model);
        let max_seq_len = options.max_seq_len.unwrap_or(MAX_SEQ_LEN).min(most);
        let doc_stride = options
            .doc_stride
            .unwrap_or(DOC_STRIDE.min(max_seq_len / 2));
        if doc_stride > max_seq_len {
            let what =
                format!("doc_stride is {doc_stride}, expected at most max_seq_len, {max_seq_len}");
            return Err(LoadError::new(LoadErrorKind::Unsupported, what));
        }
        let budget = options.batch_tokens.unwrap_or(BATCH_TOKENS);
        Ok(QuestionAnswerer {
            runner: TaskRunner::new(model, budget, OUTPUTS[0], RowSpace::Source)?,
            options,
            max_seq_len,
            doc_stride,
        })
    }

    /// The likeliest answers, the best first; none where nothing may be one.
    ///
    /// # Errors
    /// A question that leaves no room for a context, and whatever
    /// [`Session::encode`](crate::Session::encode) refuses.
    pub fn answer(&mut self, question: &str, context: &str) -> Result<Vec<Answer>, RunError> {
        let model = self.runner.model().clone();
        let windows =
            question_windows(&model, question, context, self.max_seq_len, self.doc_stride)?;
        let inputs: Vec<TokenInput> = windows.iter().map(|one| one.input.clone()).collect();
        let masked = |window: &TextWindow| vec![MASKED; window.places.len()];
        let mut starts: Vec<Vec<f32>> = windows.iter().map(masked).collect();
        let mut ends = starts.clone();
        self.runner.run(&inputs, &mut |output| {
            let place = windows[output.input].places[output.token];
            // The first token stands for there being no answer.
            if place.is_none() && output.token > 0 {
                return;
            }
            let value = output.values.first().copied().unwrap_or(MASKED);
            if output.name == OUTPUTS[0] {
                starts[output.input][output.token] = value;
            } else if output.name == OUTPUTS[1] {
                ends[output.input][output.token] = value;
            }
        })?;
        let mut answers: Vec<Answer> = Vec::new();
        let mut no_answer = 1e6_f32;
        let both = starts.iter_mut().zip(&mut ends);
        for (window, (starts, ends)) in windows.iter().zip(both) {
            softmax(starts);
            softmax(ends);
            no_answer = no_answer.min(starts[0] * ends[0]);
            (starts[0], ends[0]) = (0.0, 0.0);
            for span in self.spans(starts, ends) {
                self.add(&mut answers, window, context, span);
            }
        }
        if self.options.handle_impossible_answer {
            answers.push(Answer {
                score: no_answer,
                start: 0,
                end: 0,
                answer: String::new(),
            });
        }
        answers.sort_by(|a, b| descending(a.score, b.score));
        answers.truncate(self.options.top_k);
        Ok(answers)
    }

    /// Counts the parts of contexts read so far, for whoever shows progress.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.runner.done()
    }

    /// The likeliest spans of a window: more than are asked for, as words may join them.
    fn spans(&self, starts: &[f32], ends: &[f32]) -> Vec<AnswerSpan> {
        let wanted = match self.options.align_to_words {
            true => self.options.top_k.saturating_mul(2).saturating_add(10),
            false => self.options.top_k,
        };
        let mut spans: Vec<AnswerSpan> = Vec::new();
        for (start, first) in starts.iter().enumerate().filter(|(_, score)| **score > 0.0) {
            let last = starts
                .len()
                .min(start.saturating_add(self.options.max_answer_len));
            for (offset, last) in ends[start..last].iter().enumerate() {
                let score = first * last;
                if score > 0.0 {
                    spans.push(AnswerSpan {
                        start,
                        end: start + offset,
                        score,
                    });
                }
            }
            // What is far from the best is dropped now and then, or a long context would hold all.
            if spans.len() > wanted.saturating_mul(4).max(4096) {
                spans.sort_by(|a, b| descending(a.score, b.score));
                spans.truncate(wanted);
            }
        }
        spans.sort_by(|a, b| descending(a.score, b.score));
        spans.truncate(wanted);
        spans
    }

    fn add(&self, answers: &mut Vec<Answer>, window: &TextWindow, context: &str, span: AnswerSpan) {
        let (Some(first), Some(last)) = (window.places[span.start], window.places[span.end]) else {
            return;
        };
        let (mut start, mut end) = (first.start, last.end);
        if self.options.align_to_words {
            let places = || window.places.iter().flatten();
            let of_first = places().find(|place| place.word == first.word);
            let of_last = places().rev().find(|place| place.word == last.word);
            start = of_first.map_or(start, |place| place.start);
            end = of_last.map_or(end, |place| place.end);
        }
        let text = context.get(start..end).unwrap_or_default();
        let same = |answer: &&mut Answer| answer.answer.to_lowercase() == text.to_lowercase();
        match answers.iter_mut().find(same) {
            Some(answer) => answer.score += span.score,
            None => answers.push(Answer {
                score: span.score,
                start,
                end,
                answer: text.to_string(),
            }),
        }
    }
}
