//! Classes: their names, and what their logits become.

use super::modules::{activation, sigmoid};
use crate::error::{LoadError, LoadErrorKind};
use crate::model::Model;
use rillm_formats::manifest::Array;
use std::fmt;
use std::str::FromStr;

/// What becomes of a text's logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScoreFunction {
    /// Each by itself becomes a probability: labels that do not exclude each other.
    Sigmoid,
    /// Together they become probabilities: labels of which one is right.
    Softmax,
    /// They stay as they are.
    None,
}

impl ScoreFunction {
    /// What transformers' pipeline applies to so many labels of a model.
    pub(super) fn of(model: &Model, labels: usize) -> ScoreFunction {
        match model.manifest().metadata.str("problem_type") {
            Some("regression") => ScoreFunction::None,
            Some("multi_label_classification") => ScoreFunction::Sigmoid,
            _ if labels == 1 => ScoreFunction::Sigmoid,
            _ => ScoreFunction::Softmax,
        }
    }

    pub(super) fn apply(self, logits: &mut [f32]) {
        match self {
            ScoreFunction::Sigmoid => logits.iter_mut().for_each(|x| *x = sigmoid(*x)),
            ScoreFunction::Softmax => softmax(logits),
            ScoreFunction::None => {}
        }
    }
}

/// A name that no function of scores has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScoreFunction(String);

impl fmt::Display for UnknownScoreFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no function {:?}, expected sigmoid, softmax or none",
            self.0
        )
    }
}

impl std::error::Error for UnknownScoreFunction {}

impl FromStr for ScoreFunction {
    type Err = UnknownScoreFunction;

    fn from_str(name: &str) -> Result<ScoreFunction, UnknownScoreFunction> {
        match name {
            "sigmoid" => Ok(ScoreFunction::Sigmoid),
            "softmax" => Ok(ScoreFunction::Softmax),
            "none" => Ok(ScoreFunction::None),
            _ => Err(UnknownScoreFunction(name.to_string())),
        }
    }
}

/// exp(xᵢ − max) / Σ exp(x − max)
pub(super) fn softmax(values: &mut [f32]) {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |x: f32| f64::from(x - largest).exp();
    let sum: f64 = values.iter().map(|x| exp(*x)).sum();
    for value in values {
        *value = (exp(*value) / sum) as f32;
    }
}

/// `id2label` of so many classes, as far as the files say.
pub(super) fn labels(model: &Model, count: usize) -> Vec<String> {
    let metadata = &model.manifest().metadata;
    let key = format!("{}.classifier.output_labels", model.manifest().architecture);
    let in_gguf = metadata.array(&key).and_then(Array::strings);
    let label = |id: usize| {
        let said = metadata.str(&format!("id2label.{id}")).map(str::to_string);
        let bytes = || in_gguf.and_then(|labels| labels.get(id));
        said.or_else(|| bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
            .unwrap_or_else(|| format!("LABEL_{id}"))
    };
    (0..count).map(label).collect()
}

/// What sentence-transformers applies to the logit of a pair.
pub(super) fn pair_function(model: &Model) -> Result<fn(f32) -> f32, LoadError> {
    let keys = [
        "sentence_transformers.activation_fn",
        "sbert_ce_default_activation_function",
    ];
    let metadata = &model.manifest().metadata;
    let said = keys.iter().find_map(|key| Some((key, metadata.str(key)?)));
    match said {
        None => Ok(sigmoid),
        Some((key, class)) => activation(class).ok_or_else(|| {
            let what = format!("config.json: {key} {class:?} is not known");
            LoadError::new(LoadErrorKind::Unsupported, what)
        }),
    }
}
