//! `rillm classify`: labels for texts, those of the model or the user's own.

use super::against::{self, AgainstArguments};
use super::embed::{LengthArguments, warn_truncated};
use super::memory::MemoryArguments;
use super::progress::Progress;
use super::similar::{float, one_line};
use super::terminal::Out;
use super::texts::TaskTexts;
use super::{CliError, ModelArguments};
use clap::Args;
use rillm::tasks::{
    Classifier, ClassifyOptions, LabelScore, ScoreFunction, ZeroShotClassifier, ZeroShotOptions,
};
use rillm::{Model, RunError};
use serde_json::{Value, json};
use std::io::Write;

/// Texts that are classified at a time, so that what is done is seen.
const TEXTS: usize = 4096;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    texts: TaskTexts,
    /// A second text, for a model that says what it is to the first: once for all texts, or as often as
    /// there are texts
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "labels",
        allow_hyphen_values = true
    )]
    text_pair: Vec<String>,
    /// How many labels of each text are shown [default: 1, or all with --labels]
    #[arg(short = 'k', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// What becomes of the model's logits: sigmoid, softmax or none [default: as problem_type says]
    #[arg(long, value_name = "NAME", conflicts_with = "labels")]
    function_to_apply: Option<ScoreFunction>,
    /// Labels of your own, separated by commas, for a model that knows what follows from what (NLI)
    #[arg(
        long,
        visible_alias = "candidate-labels",
        value_name = "LABELS",
        value_delimiter = ','
    )]
    labels: Vec<String>,
    /// With --labels: what is said of a text that a label fits
    #[arg(
        long,
        value_name = "TEXT",
        requires = "labels",
        default_value = "This example is {}."
    )]
    hypothesis_template: String,
    /// With --labels: several may fit, each is judged by itself
    #[arg(long, requires = "labels")]
    multi_label: bool,
    /// A line of JSON for each text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    length: LengthArguments,
    #[command(flatten)]
    against: AgainstArguments,
    #[command(flatten)]
    memory: MemoryArguments,
}

pub fn classify(arguments: &Arguments) -> Result<(), CliError> {
    let texts = arguments.texts.read(&arguments.model)?;
    let (others, all) = (arguments.text_pair.len(), texts.len());
    if others > 1 && others != all {
        let what = format!("{others} texts by --text-pair, expected one, or one for each of {all}");
        return Err(CliError::Usage(what));
    }
    let model = arguments.model.open()?;
    let labels: Vec<&str> = arguments.labels.iter().map(|label| label.trim()).collect();
    let labels: Vec<&str> = labels
        .into_iter()
        .filter(|label| !label.is_empty())
        .collect();
    if let Some(other) = &arguments.against.against {
        against::name_ineffective(&[("--top-k", arguments.top_k.is_some())]);
        let there = arguments.model.with_path(other);
        let all = |model: &Model, blamed: &ModelArguments| {
            all_scores(arguments, model, &texts, &labels).map_err(|error| blamed.blame(error))
        };
        let a = all(&model, &arguments.model)?;
        let b = all(&there.open()?, &there)?;
        return against::labels(&a, &b).write(arguments.json);
    }
    let work = |model: &Model| {
        let result = match labels.is_empty() {
            true => by_the_model(arguments, model, &texts),
            false => by_labels(arguments, model, &texts, &labels),
        };
        result.map_err(|error| arguments.model.blame(error))
    };
    arguments.memory.task(model, texts.len(), work)
}

/// All labels of all texts.
fn all_scores(
    arguments: &Arguments,
    model: &Model,
    texts: &[String],
    labels: &[&str],
) -> Result<Vec<Vec<LabelScore>>, CliError> {
    Ok(match labels.is_empty() {
        true => {
            let mut classifier = Classifier::new(model, arguments.of_the_model())?;
            arguments.classified(&mut classifier, texts, 0)?
        }
        false => ZeroShotClassifier::new(model, arguments.of_labels())?.classify(texts, labels)?,
    })
}

impl Arguments {
    fn of_the_model(&self) -> ClassifyOptions {
        ClassifyOptions::default()
            .function_to_apply(self.function_to_apply)
            .max_length(self.length.most())
            .batch_tokens(self.length.batch_tokens as usize)
    }

    /// The labels of some of the texts, which begin with this one, or of their pairs.
    fn classified(
        &self,
        classifier: &mut Classifier,
        texts: &[String],
        first: usize,
    ) -> Result<Vec<Vec<LabelScore>>, RunError> {
        let others = match &self.text_pair[..] {
            [] => return classifier.classify(texts),
            [only] => vec![only; texts.len()],
            all => all.iter().skip(first).collect(),
        };
        let pairs: Vec<(&String, &String)> = texts.iter().zip(others).collect();
        classifier.classify_pairs(&pairs)
    }

    fn of_labels(&self) -> ZeroShotOptions {
        ZeroShotOptions::default()
            .hypothesis_template(self.hypothesis_template.as_str())
            .multi_label(self.multi_label)
            .max_length(self.length.most())
            .batch_tokens(self.length.batch_tokens as usize)
    }
}

fn by_the_model(arguments: &Arguments, model: &Model, texts: &[String]) -> Result<(), CliError> {
    let mut classifier = Classifier::new(model, arguments.of_the_model())?;
    let all = texts.len() as u64;
    let progress = Progress::watch(classifier.progress(), all, "classifying", "texts");
    let mut out = Out::new();
    for (chunk, texts) in texts.chunks(TEXTS).enumerate() {
        let found = arguments.classified(&mut classifier, texts, chunk * TEXTS)?;
        for (text, found) in texts.iter().zip(found) {
            let found = &found[..found.len().min(arguments.top_k.unwrap_or(1) as usize)];
            let labels = found.iter();
            let labels = labels.map(|one| json!({"label": one.label, "score": float(one.score)}));
            write(arguments, &mut out, text, found, labels.collect())?;
        }
    }
    out.flush()?;
    drop(progress);
    warn_truncated(classifier.truncated(), texts.len(), classifier.max_length());
    Ok(())
}

fn by_labels(
    arguments: &Arguments,
    model: &Model,
    texts: &[String],
    labels: &[&str],
) -> Result<(), CliError> {
    let mut classifier = ZeroShotClassifier::new(model, arguments.of_labels())?;
    let all = (texts.len() * labels.len()) as u64;
    let progress = Progress::watch(classifier.progress(), all, "classifying", "pairs");
    let mut out = Out::new();
    let at_a_time = (TEXTS / labels.len()).max(1);
    for texts in texts.chunks(at_a_time) {
        for (text, found) in texts.iter().zip(classifier.classify(texts, labels)?) {
            let shown = arguments.top_k.map_or(usize::MAX, |top_k| top_k as usize);
            let found = &found[..found.len().min(shown)];
            let labels: Vec<&str> = found.iter().map(|one| one.label.as_str()).collect();
            let scores: Vec<Value> = found.iter().map(|one| float(one.score)).collect();
            let json = json!({"sequence": text, "labels": labels, "scores": scores});
            write(arguments, &mut out, text, found, json)?;
        }
    }
    out.flush()?;
    drop(progress);
    let pairs = texts.len() * labels.len();
    warn_truncated(classifier.truncated(), pairs, classifier.max_length());
    Ok(())
}

/// Labels and scores, and the text behind them.
fn write(
    arguments: &Arguments,
    out: &mut Out,
    text: &str,
    found: &[LabelScore],
    json: Value,
) -> Result<(), CliError> {
    match arguments.json {
        true => writeln!(out, "{json}")?,
        false => {
            let labels = found.iter();
            let labels = labels.map(|one| format!("{} {:.4}", one.label, one.score));
            let labels: Vec<String> = labels.collect();
            writeln!(out, "{}  {}", labels.join(", "), one_line(text))?;
        }
    }
    Ok(())
}
