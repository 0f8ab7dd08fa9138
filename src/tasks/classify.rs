//! Labels for whole texts: those that a model was trained for, or any, through a model that knows what
//! follows from what.

use super::BATCH_TOKENS;
use super::labels::{ScoreFunction, labels, softmax};
use super::run::{TaskRunner, TokenInput, width_of};
use super::similar::descending;
use super::texts::{Truncation, max_length, pair, single};
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::graph::RowSpace;
use crate::model::Model;
use crate::setters::setters;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The output that holds a number for each class.
const OUTPUT: &str = "logits";

/// How texts are classified, where it is not to be as the model's files say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassifyOptions {
    /// What becomes of logits, instead of what `problem_type` and the number of labels say.
    pub function_to_apply: Option<ScoreFunction>,
    /// The most tokens of a text: what is beyond is cut off.
    pub max_length: Option<usize>,
    /// Tokens that are run at a time.
    pub batch_tokens: Option<usize>,
}

setters! {
    ClassifyOptions {
        function_to_apply: impl Into<Option<ScoreFunction>>,
        max_length: impl Into<Option<usize>>,
        batch_tokens: impl Into<Option<usize>>,
    }
}

/// A label, and how well it fits.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LabelScore {
    /// The label.
    pub label: String,
    /// How well it fits.
    pub score: f32,
}

/// A model that knows labels: transformers' `text-classification`.
///
/// ```
/// use rillm::tasks::{Classifier, ClassifyOptions};
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("tests/data/tasks/classify", ModelOptions::default())?;
/// let mut classifier = Classifier::new(&model, ClassifyOptions::default())?;
/// assert_eq!(classifier.labels(), ["contradiction", "neutral", "entailment"]);
/// let found = &classifier.classify(&["a good film"])?[0];
/// assert!(found[0].score >= found[1].score);
/// let sum: f32 = found.iter().map(|one| one.score).sum();
/// assert!((sum - 1.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Classifier {
    runner: TaskRunner,
    labels: Vec<String>,
    function: ScoreFunction,
    max_length: usize,
    truncated: usize,
}

impl Classifier {
    /// A model with a logit of each text for each label.
    ///
    /// # Errors
    /// A model with other outputs, or without a tokenizer.
    pub fn new(model: &Model, options: ClassifyOptions) -> Result<Classifier, LoadError> {
        model.tokenizer()?;
        let count = width_of(model, OUTPUT, RowSpace::Sequence)?;
        let budget = options.batch_tokens.unwrap_or(BATCH_TOKENS);
        let most = options.max_length.unwrap_or(usize::MAX);
        Ok(Classifier {
            runner: TaskRunner::new(model, budget, OUTPUT, RowSpace::Sequence)?,
            labels: labels(model, count)?,
            function: match options.function_to_apply {
                Some(function) => function,
                None => ScoreFunction::of(model, count)?,
            },
            max_length: most.min(max_length(model)),
            truncated: 0,
        })
    }

    /// All labels of each text, the best first.
    ///
    /// # Errors
    /// Whatever [`Session::encode`](crate::Session::encode) refuses.
    pub fn classify<T: AsRef<str>>(
        &mut self,
        texts: &[T],
    ) -> Result<Vec<Vec<LabelScore>>, RunError> {
        let model = self.runner.model().clone();
        let mut inputs: Vec<TokenInput> = Vec::with_capacity(texts.len());
        for text in texts {
            let (input, is_cut) = single(&model, text.as_ref(), self.max_length)?;
            self.truncated += usize::from(is_cut);
            inputs.push(input);
        }
        self.scored(&inputs)
    }

    /// All labels of each pair of texts, the best first: of models that say what a second text is to
    /// a first (the pipeline's `text_pair`).
    ///
    /// # Errors
    /// As [`Classifier::classify`].
    pub fn classify_pairs<T: AsRef<str>>(
        &mut self,
        pairs: &[(T, T)],
    ) -> Result<Vec<Vec<LabelScore>>, RunError> {
        let model = self.runner.model().clone();
        let mut inputs: Vec<TokenInput> = Vec::with_capacity(pairs.len());
        for (text, other) in pairs {
            let (text, other) = (text.as_ref(), other.as_ref());
            let most = self.max_length;
            let (input, is_cut) = match other.is_empty() {
                // As the pipeline takes it.
                true => single(&model, text, most)?,
                false => pair(&model, text, other, most, Truncation::LongestFirst)?,
            };
            self.truncated += usize::from(is_cut);
            inputs.push(input);
        }
        self.scored(&inputs)
    }

    /// All labels of each input, the best first.
    fn scored(&mut self, inputs: &[TokenInput]) -> Result<Vec<Vec<LabelScore>>, RunError> {
        let scored = self.logits(inputs)?.into_iter().map(|mut logits| {
            self.function.apply(&mut logits);
            let labels = self.labels.iter().cloned().zip(logits);
            sorted(labels.map(|(label, score)| LabelScore { label, score }))
        });
        Ok(scored.collect())
    }

    /// Its labels, by their numbers.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The most tokens of a text, those around it among them.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// How many texts were longer than that, and cut, so far.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// Counts the texts classified so far, for whoever shows progress.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.runner.done()
    }

    fn logits(&mut self, inputs: &[TokenInput]) -> Result<Vec<Vec<f32>>, RunError> {
        let mut logits = vec![Vec::new(); inputs.len()];
        self.runner.run(inputs, &mut |output| {
            if output.name == OUTPUT {
                logits[output.input] = output.values.to_vec();
            }
        })?;
        Ok(logits)
    }
}

/// What stands before and behind the one place that Python's `format` fills.
fn hypothesis(template: &str) -> Option<(String, String)> {
    let mut parts = vec![String::new()];
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let part = parts.last_mut()?;
        part.push_str(&rest[..at]);
        let two = rest.get(at..at + 2)?;
        match two {
            "{{" | "}}" => part.push_str(&two[1..]),
            "{}" => parts.push(String::new()),
            _ => return None,
        }
        rest = &rest[at + 2..];
    }
    parts.last_mut()?.push_str(rest);
    let [before, after] = <[String; 2]>::try_from(parts).ok()?;
    Some((before, after))
}

fn sorted(labels: impl Iterator<Item = LabelScore>) -> Vec<LabelScore> {
    let mut labels: Vec<LabelScore> = labels.collect();
    labels.sort_by(|a, b| descending(a.score, b.score));
    labels
}

/// How labels that a model was not trained for are put to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZeroShotOptions {
    /// What is said of a text that a label fits, which stands where `{}` does.
    pub hypothesis_template: String,
    /// Whether several labels may fit: then each is judged by itself.
    pub multi_label: bool,
    /// The most tokens of a text and what is said of it: of the text the rest is cut off.
    pub max_length: Option<usize>,
    /// Tokens that are run at a time.
    pub batch_tokens: Option<usize>,
}

impl Default for ZeroShotOptions {
    fn default() -> ZeroShotOptions {
        ZeroShotOptions {
            hypothesis_template: "This example is {}.".to_string(),
            multi_label: false,
            max_length: None,
            batch_tokens: None,
        }
    }
}

setters! {
    ZeroShotOptions {
        hypothesis_template: impl Into<String>,
        multi_label: bool,
        max_length: impl Into<Option<usize>>,
        batch_tokens: impl Into<Option<usize>>,
    }
}

/// A model that knows what follows from a text: transformers' `zero-shot-classification`.
///
/// ```
/// use rillm::tasks::{ZeroShotClassifier, ZeroShotOptions};
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("tests/data/tasks/classify", ModelOptions::default())?;
/// let mut classifier = ZeroShotClassifier::new(&model, ZeroShotOptions::default())?;
/// let found = classifier.classify(&["the king went to Paris"], &["sport", "politics"])?;
/// let sum: f32 = found[0].iter().map(|one| one.score).sum();
/// assert!((sum - 1.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ZeroShotClassifier {
    classifier: Classifier,
    /// What stands before a label and behind it.
    template: (String, String),
    multi_label: bool,
    entailment: usize,
}

impl ZeroShotClassifier {
    /// A model of which one label says that something follows: its name begins with `entail`.
    ///
    /// # Errors
    /// A model without such a label, or with other outputs; a template without `{}`.
    pub fn new(model: &Model, options: ZeroShotOptions) -> Result<ZeroShotClassifier, LoadError> {
        let limits = ClassifyOptions::default()
            .max_length(options.max_length)
            .batch_tokens(options.batch_tokens);
        let classifier = Classifier::new(model, limits)?;
        let unfit = |what: String| LoadError::new(LoadErrorKind::Unsupported, what);
        let entails = |label: &String| label.to_lowercase().starts_with("entail");
        let entailment = classifier.labels.iter().position(entails).ok_or_else(|| {
            unfit(format!(
                "labels of one's own need a model that was trained on what follows from what: none of \
                 its labels ({}) begins with entail",
                classifier.labels.join(", ")
            ))
        })?;
        let template = hypothesis(&options.hypothesis_template).ok_or_else(|| {
            unfit(format!(
                "hypothesis_template is {:?}, expected one {{}} in it where the label stands, and other \
                 braces twice",
                options.hypothesis_template
            ))
        })?;
        Ok(ZeroShotClassifier {
            classifier,
            template,
            multi_label: options.multi_label,
            entailment,
        })
    }

    /// These labels of each text, the best first.
    ///
    /// # Errors
    /// As [`Classifier::classify`].
    pub fn classify<T: AsRef<str>, L: AsRef<str>>(
        &mut self,
        texts: &[T],
        candidate_labels: &[L],
    ) -> Result<Vec<Vec<LabelScore>>, RunError> {
        if candidate_labels.is_empty() {
            return Err(RunError::Input("there are no labels".to_string()));
        }
        let model = self.classifier.runner.model().clone();
        let most = self.classifier.max_length;
        let mut inputs = Vec::with_capacity(texts.len() * candidate_labels.len());
        for text in texts {
            for label in candidate_labels {
                let (before, after) = &self.template;
                let said = [before, label.as_ref(), after].concat();
                let (input, is_cut) =
                    pair(&model, text.as_ref(), &said, most, Truncation::OnlyFirst)?;
                self.classifier.truncated += usize::from(is_cut);
                inputs.push(input);
            }
        }
        let logits = self.classifier.logits(&inputs)?;
        let texts = logits.chunks(candidate_labels.len()).map(|logits| {
            let scores = self.scores(logits);
            let labels = candidate_labels.iter().zip(scores);
            sorted(labels.map(|(label, score)| LabelScore {
                label: label.as_ref().to_string(),
                score,
            }))
        });
        Ok(texts.collect())
    }

    /// The most tokens of a text with what is said of it.
    pub fn max_length(&self) -> usize {
        self.classifier.max_length
    }

    /// How many pairs of text and label were longer than that, and cut, so far.
    pub fn truncated(&self) -> usize {
        self.classifier.truncated
    }

    /// Counts the pairs of text and label judged so far, for whoever shows progress.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.classifier.progress()
    }

    fn scores(&self, logits: &[Vec<f32>]) -> Vec<f32> {
        let entailed = logits.iter().map(|logits| logits[self.entailment]);
        if !self.multi_label && logits.len() > 1 {
            let mut scores: Vec<f32> = entailed.collect();
            softmax(&mut scores);
            return scores;
        }
        let contradicted = logits.iter().map(|logits| match self.entailment {
            0 => logits[logits.len() - 1],
            _ => logits[0],
        });
        let pairs = contradicted.zip(entailed);
        let scores = pairs.map(|(contradicted, entailed)| {
            let mut both = [contradicted, entailed];
            softmax(&mut both);
            both[1]
        });
        scores.collect()
    }
}
