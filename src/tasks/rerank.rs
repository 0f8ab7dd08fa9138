//! How well texts answer a query, by a model that reads both at once: an encoder or a decoder that scores
//! pairs, or a decoder that is asked.

use super::BATCH_TOKENS;
use super::judge::{Judge, is_asked};
use super::labels::pair_function;
use super::run::{TaskRunner, TokenInput, width_of};
use super::settings::{default_prompt, transformer_settings};
use super::similar::{SearchHit, best};
use super::texts::{Truncation, input as input_error, max_length, pair};
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::graph::{ReadAt, RowSpace};
use crate::kernels::Pointwise;
use crate::model::Model;
use crate::setters::setters;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The output that is a pair's score.
const OUTPUT: &str = "logits";

/// How pairs are scored, where it is not to be as the model's files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RerankOptions {
    /// What is put before each query, or what a model that is asked in words is told that queries are
    /// for, instead of what the files say.
    pub prompt: Option<String>,
    /// Whether scores are the model's logits themselves.
    pub raw_scores: bool,
    /// The most tokens of a pair: of the longer text the rest is cut off.
    pub max_length: Option<usize>,
    /// Tokens that are run at a time.
    pub batch_tokens: Option<usize>,
}

setters! {
    RerankOptions {
        prompt: impl Into<Option<String>>,
        raw_scores: bool,
        max_length: impl Into<Option<usize>>,
        batch_tokens: impl Into<Option<usize>>,
    }
}

/// A cross-encoder: sentence-transformers' `CrossEncoder`.
///
/// ```
/// use rillm::tasks::{RerankOptions, Reranker};
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("tests/data/tasks/rerank", ModelOptions::default())?;
/// let mut reranker = Reranker::new(&model, RerankOptions::default())?;
/// let texts = ["the king of Paris", "a small river", "Mary lives in London"];
/// let ranked = reranker.rank("who is the queen?", &texts)?;
/// assert_eq!(ranked.len(), 3);
/// assert!(ranked[0].score >= ranked[1].score && ranked[1].score >= ranked[2].score);
/// println!("{}", texts[ranked[0].corpus_id]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reranker {
    runner: TaskRunner,
    function: Pointwise,
    /// Before each query.
    prompt: String,
    judge: Option<Judge>,
    max_length: usize,
    truncated: usize,
}

impl Reranker {
    /// A model with one logit for each pair of texts, or one that is asked in words, as
    /// Qwen3-Reranker is.
    ///
    /// # Errors
    /// A model with other outputs, without a tokenizer, or with a function of scores that is not
    /// known.
    pub fn new(model: &Model, options: RerankOptions) -> Result<Reranker, LoadError> {
        model.tokenizer()?;
        let space = match model.read_at() {
            None if model.decodes() && !model.encodes() => RowSpace::Selected,
            _ => RowSpace::Sequence,
        };
        let labels = width_of(model, OUTPUT, space)?;
        let judge = match is_asked(model, labels) {
            true => Some(Judge::of(model, labels, options.prompt.as_deref())?),
            false => None,
        };
        if labels != 1 && judge.is_none() {
            let what = format!(
                "a reranker gives one logit for each pair of texts, this model gives {labels}: \
                 does it classify?"
            );
            return Err(LoadError::new(LoadErrorKind::Unsupported, what));
        }
        let budget = options.batch_tokens.unwrap_or(BATCH_TOKENS);
        let said = transformer_settings(model)?;
        let said = said.map_or(Ok(None), |said| said.count("max_seq_length", 1))?;
        let most = options.max_length.or(said).unwrap_or(usize::MAX);
        // What a model is asked in words has a place for it.
        let prompt = match (&judge, options.prompt) {
            (Some(_), _) => String::new(),
            (None, Some(prompt)) => prompt,
            (None, None) => default_prompt(model)?.unwrap_or_default(),
        };
        Ok(Reranker {
            runner: TaskRunner::new(model, budget, OUTPUT, space)?
                .read_at(judge.as_ref().map(|_| ReadAt::End)),
            judge,
            function: match options.raw_scores {
                true => Pointwise::Identity,
                false => pair_function(model)?,
            },
            prompt,
            max_length: most.min(max_length(model)),
            truncated: 0,
        })
    }

    /// The score of each pair.
    ///
    /// # Errors
    /// Whatever [`Session::encode`](crate::Session::encode) refuses.
    pub fn predict<T: AsRef<str>>(&mut self, pairs: &[(T, T)]) -> Result<Vec<f32>, RunError> {
        let model = self.runner.model().clone();
        let mut inputs: Vec<TokenInput> = Vec::with_capacity(pairs.len());
        for (query, text) in pairs {
            let (query, text) = (query.as_ref(), text.as_ref());
            let most = self.max_length;
            let (input, is_cut) = match &self.judge {
                None => {
                    let query = [self.prompt.as_str(), query].concat();
                    pair(&model, &query, text, most, Truncation::LongestFirst)?
                }
                Some(judge) => {
                    let tokenizer = model.tokenizer().map_err(input_error)?;
                    judge.tokens(tokenizer, (query, text), most)?
                }
            };
            self.truncated += usize::from(is_cut);
            inputs.push(input);
        }
        let mut scores = vec![0.0; pairs.len()];
        let judge = self.judge.as_ref();
        self.runner.run(&inputs, &mut |output| {
            if output.name == OUTPUT {
                let first = output.values.first().copied().unwrap_or(0.0);
                scores[output.input] = judge.map_or(first, |judge| judge.score(output.values));
            }
        })?;
        (model.kernels().pointwise)(self.function, &mut scores);
        Ok(scores)
    }

    /// All documents by how well they answer the query, the best first.
    ///
    /// # Errors
    /// As [`Reranker::predict`].
    pub fn rank<T: AsRef<str>>(
        &mut self,
        query: &str,
        documents: &[T],
    ) -> Result<Vec<SearchHit>, RunError> {
        let pairs: Vec<(&str, &str)> = documents
            .iter()
            .map(|document| (query, document.as_ref()))
            .collect();
        let scores = self.predict(&pairs)?;
        Ok(best(scores.into_iter(), usize::MAX))
    }

    /// The most tokens of a pair, those around the texts among them.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// How many pairs were longer than that, and cut, so far.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// Counts the pairs scored so far, for whoever shows progress.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.runner.done()
    }
}
