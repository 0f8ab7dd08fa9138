//! Classes: their names, and what their logits become.

use super::dense::activation;
use super::settings::ModuleSettings;
use crate::error::{LoadError, LoadErrorKind};
use crate::kernels::Pointwise;
use crate::model::Model;
use rillm_formats::manifest::{Array, MetadataValue};
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
    pub(super) fn of(model: &Model, labels: usize) -> Result<ScoreFunction, LoadError> {
        const KEY: &str = "problem_type";
        match text(model, KEY)? {
            Some("regression") => Ok(ScoreFunction::None),
            Some("multi_label_classification") => Ok(ScoreFunction::Sigmoid),
            None | Some("single_label_classification") if labels == 1 => Ok(ScoreFunction::Sigmoid),
            None | Some("single_label_classification") => Ok(ScoreFunction::Softmax),
            Some(other) => Err(unsupported(format!("{KEY} {other:?} is not known"))),
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

/// 1 / (1 + exp(−x))
fn sigmoid(x: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(x)).exp())) as f32
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
pub(super) fn labels(model: &Model, count: usize) -> Result<Vec<String>, LoadError> {
    let metadata = &model.manifest().metadata;
    let key = format!("{}.classifier.output_labels", model.manifest().architecture);
    let in_gguf = metadata.array(&key).and_then(Array::strings);
    let label = |id: usize| {
        if let Some(said) = text(model, &format!("id2label.{id}"))? {
            return Ok(said.to_string());
        }
        let bytes = in_gguf.and_then(|labels| labels.get(id));
        let label = bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(label.unwrap_or_else(|| format!("LABEL_{id}")))
    };
    (0..count).map(label).collect()
}

/// What sentence-transformers applies to the logit of a pair: as its own files say, or as
/// `config.json` does, where its versions before 6 wrote it.
pub(super) fn pair_function(model: &Model) -> Result<Pointwise, LoadError> {
    let known = |key: &str, class: &str| {
        activation(class).ok_or_else(|| format!("{key} {class:?} is not known"))
    };
    let files = model.module_files();
    if let (Some(_), Some(bytes)) = (&files.modules, &files.settings) {
        const KEY: &str = "activation_fn";
        let settings = ModuleSettings::read(bytes, "config_sentence_transformers.json")?;
        if let Some(class) = settings.text(KEY)? {
            return known(KEY, class).map_err(|what| settings.bad(what));
        }
    }
    let keys = [
        "sentence_transformers.activation_fn",
        "sbert_ce_default_activation_function",
    ];
    for key in keys {
        if let Some(class) = text(model, key)? {
            return known(key, class).map_err(unsupported);
        }
    }
    Ok(Pointwise::Sigmoid)
}

/// A key of the model's configuration that is a text, if it is there.
fn text<'a>(model: &'a Model, key: &str) -> Result<Option<&'a str>, LoadError> {
    match model.manifest().metadata.value(key) {
        None => Ok(None),
        Some(MetadataValue::String(text)) => Ok(Some(text)),
        Some(other) => Err(unsupported(format!(
            "{key} is {}, expected a text",
            other.type_name()
        ))),
    }
}

fn unsupported(what: String) -> LoadError {
    LoadError::new(LoadErrorKind::Unsupported, format!("config.json: {what}"))
}
