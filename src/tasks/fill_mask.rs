//! What may stand where a text has a mask.

use super::BATCH_TOKENS;
use super::labels::softmax;
use super::run::{TaskRunner, TokenInput};
use super::similar::best;
use super::texts::{input, max_length, single};
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::graph::RowSpace;
use crate::model::Model;
use crate::setters::setters;
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The output that holds a number for each token of the vocabulary.
const OUTPUT: &str = "logits";

/// How masks are filled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FillMaskOptions {
    /// How many tokens for each mask.
    pub top_k: usize,
    /// The only tokens that may be there, if not all may; of a text that is several the first.
    pub targets: Vec<String>,
    /// The most tokens of a text: what is beyond is cut off.
    pub max_length: Option<usize>,
    /// Tokens that are run at a time.
    pub batch_tokens: Option<usize>,
}

impl Default for FillMaskOptions {
    fn default() -> FillMaskOptions {
        FillMaskOptions {
            top_k: 5,
            targets: Vec::new(),
            max_length: None,
            batch_tokens: None,
        }
    }
}

setters! {
    FillMaskOptions {
        top_k: usize,
        targets: impl Into<Vec<String>>,
        max_length: impl Into<Option<usize>>,
        batch_tokens: impl Into<Option<usize>>,
    }
}

/// A token that may stand where a mask does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FilledMask {
    /// How likely it is.
    pub score: f32,
    /// The token.
    pub token: u32,
    /// Its text.
    pub token_str: String,
    /// The whole text with it.
    pub sequence: String,
}

/// A model that was trained to find what is masked: transformers' `fill-mask`.
///
/// ```
/// use rillm::tasks::{FillMaskOptions, MaskFiller};
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("tests/data/tasks/fill-mask", ModelOptions::default())?;
/// let mut filler = MaskFiller::new(&model, FillMaskOptions::default().top_k(2))?;
/// let found = filler.fill(&["The [MASK] of Paris."])?;
/// let [first, second] = &found[0][0][..] else {
///     panic!("two tokens for the one mask of the one text");
/// };
/// assert!(first.score >= second.score);
/// println!("{}", first.sequence);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MaskFiller {
    runner: TaskRunner,
    options: FillMaskOptions,
    mask: u32,
    targets: Vec<u32>,
    max_length: usize,
    truncated: usize,
}

impl MaskFiller {
    /// A model with a logit of each token for each token of its vocabulary.
    ///
    /// # Errors
    /// A model with other outputs, or whose tokenizer has no mask; a target without a token.
    pub fn new(model: &Model, options: FillMaskOptions) -> Result<MaskFiller, LoadError> {
        let tokenizer = model.tokenizer()?;
        let unfit = |what: String| LoadError::new(LoadErrorKind::Unsupported, what);
        let mask = tokenizer
            .mask()
            .ok_or_else(|| unfit("the tokenizer has no token that masks others".to_string()))?;
        if !model.encodes() {
            let what = format!(
                "{} predicts what comes next, it fills no masks",
                model.title()
            );
            return Err(unfit(what));
        }
        let mut targets = Vec::new();
        for target in &options.targets {
            let known = tokenizer.token(target);
            let id = match known {
                Some(id) => id,
                None => {
                    let ids = tokenizer.encode(target, EncodeOptions::new())?;
                    *ids.first()
                        .ok_or_else(|| unfit(format!("target {target:?} has no tokens")))?
                }
            };
            if !targets.contains(&id) {
                targets.push(id);
            }
        }
        let budget = options.batch_tokens.unwrap_or(BATCH_TOKENS);
        let most = options.max_length.unwrap_or(usize::MAX);
        Ok(MaskFiller {
            runner: TaskRunner::new(model, budget, OUTPUT, RowSpace::Source)?,
            max_length: most.min(max_length(model)),
            options,
            mask,
            targets,
            truncated: 0,
        })
    }

    /// For each text and each of its masks, in their order: the likeliest tokens, the best first.
    ///
    /// # Errors
    /// A text without a mask, and whatever [`Session::encode`](crate::Session::encode) refuses.
    pub fn fill<T: AsRef<str>>(
        &mut self,
        texts: &[T],
    ) -> Result<Vec<Vec<Vec<FilledMask>>>, RunError> {
        let model = self.runner.model().clone();
        let tokenizer = model.tokenizer().map_err(input)?;
        let mut inputs: Vec<TokenInput> = Vec::with_capacity(texts.len());
        for (number, text) in texts.iter().enumerate() {
            let (input, is_cut) = single(&model, text.as_ref(), self.max_length)?;
            self.truncated += usize::from(is_cut);
            if !input.ids.contains(&self.mask) {
                let mask = String::from_utf8_lossy(tokenizer.piece(self.mask).unwrap_or_default());
                let what =
                    format!("text {number} has no {mask}, which stands for what is to be found");
                return Err(RunError::Input(what));
            }
            inputs.push(input);
        }
        let mut found: Vec<Vec<Vec<FilledMask>>> = inputs.iter().map(|_| Vec::new()).collect();
        let (mask, targets, top_k) = (self.mask, &self.targets, self.options.top_k);
        self.runner.run(&inputs, &mut |output| {
            let ids = &inputs[output.input].ids;
            if output.name == OUTPUT && ids[output.token] == mask {
                let likeliest = likeliest(output.values, targets, top_k);
                let filled = likeliest
                    .into_iter()
                    .map(|(token, score)| filled(tokenizer, mask, ids, output.token, token, score));
                found[output.input].push(filled.collect());
            }
        })?;
        Ok(found)
    }

    /// The most tokens of a text, those around it among them.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// How many texts were longer than that, and cut, so far.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// Counts the texts filled so far, for whoever shows progress.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.runner.done()
    }
}

/// The likeliest tokens, of all or of the targets, and their probabilities among all.
fn likeliest(logits: &[f32], targets: &[u32], top_k: usize) -> Vec<(u32, f32)> {
    let mut scores = logits.to_vec();
    softmax(&mut scores);
    let all = 0..scores.len() as u32;
    let tokens: Vec<u32> = match targets.is_empty() {
        true => all.collect(),
        // The model may have fewer tokens than the tokenizer.
        false => targets
            .iter()
            .copied()
            .filter(|id| all.contains(id))
            .collect(),
    };
    let of_tokens = tokens.iter().map(|id| scores[*id as usize]);
    let hits = best(of_tokens, top_k);
    hits.iter()
        .map(|hit| (tokens[hit.corpus_id], hit.score))
        .collect()
}

fn filled(
    tokenizer: &Tokenizer,
    mask: u32,
    ids: &[u32],
    at: usize,
    token: u32,
    score: f32,
) -> FilledMask {
    // Other masks of the text stay to be seen, and so do the tokens around it.
    let masks = ids.iter().filter(|id| **id == mask).count();
    let mut ids = ids.to_vec();
    ids[at] = token;
    let options = DecodeOptions::new().skip_special(masks == 1);
    FilledMask {
        score,
        token,
        token_str: tokenizer.decode_text(&[token], DecodeOptions::new()),
        sequence: tokenizer.decode_text(&ids, options),
    }
}
