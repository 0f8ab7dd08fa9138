//! How far another model agrees with this one on the user's own texts: what quantizing costs.

use super::embed::EmbedArguments;
use super::output::warn;
use super::progress::Progress;
use super::similar::float;
use super::terminal::Out;
use super::{CliError, ModelArguments};
use clap::Args;
use rillm::tasks::{LabelScore, SearchHit, Similarity, rank_correlation};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Texts of which every pair is compared.
const PAIRED: usize = 1000;

/// Which other model.
#[derive(Args, Clone, Debug)]
pub struct AgainstArguments {
    /// Print instead how far another model agrees: what quantizing costs, if one is the other's
    /// quantized form
    #[arg(long, value_name = "MODEL", conflicts_with = "memory")]
    pub against: Option<PathBuf>,
}

/// Lines of what is compared: a name, a text for people, and the same as JSON.
pub struct Comparison(Vec<(&'static str, String, Value)>);

impl Comparison {
    pub fn write(&self, json: bool) -> Result<(), CliError> {
        let mut out = Out::new();
        if json {
            let all = self.0.iter();
            let object: serde_json::Map<String, Value> = all
                .map(|(name, _, value)| (name.replace(' ', "_"), value.clone()))
                .collect();
            writeln!(out, "{}", Value::Object(object))?;
        } else {
            for (name, text, _) in &self.0 {
                writeln!(out, "{name:<18} {text}")?;
            }
        }
        Ok(out.flush()?)
    }

    fn correlation(&mut self, of: &str, a: &[f32], b: &[f32]) {
        let (text, value) = match rank_correlation(a, b) {
            Some(correlation) => (
                format!("{correlation:.4} ({of})"),
                float(correlation as f32),
            ),
            None => ("none, there is no order".to_string(), Value::Null),
        };
        self.0.push(("rank correlation", text, value));
    }

    fn count(&mut self, name: &'static str, same: usize, all: usize) {
        let share = 100.0 * same as f64 / all.max(1) as f64;
        let text = format!("{same} of {all} ({share:.1}%)");
        self.0
            .push((name, text, json!(same as f64 / all.max(1) as f64)));
    }

    fn texts(count: usize) -> Comparison {
        Comparison(vec![("texts", count.to_string(), json!(count))])
    }
}

/// Names options that say how scores are shown, where how far they agree is shown instead.
pub fn name_ineffective(options: &[(&str, bool)]) {
    for (name, _) in options.iter().filter(|(_, is_given)| *is_given) {
        warn(&format!("{name} does nothing with --against"));
    }
}

/// Vectors of two models.
pub fn vectors(
    arguments: &EmbedArguments,
    model: &ModelArguments,
    other: &Path,
    texts: &[String],
) -> Result<Comparison, CliError> {
    let embed = |model: &ModelArguments| {
        let mut embedder = arguments.open(model)?;
        let all = texts.len() as u64;
        let _shown = Progress::watch(embedder.progress(), all, "embedding", "texts");
        let vectors = embedder.encode(texts);
        vectors.map_err(|error| model.blame(error.into()))
    };
    let (a, b) = (embed(model)?, embed(&model.with_path(other))?);
    if let (Some(a), Some(b)) = (a.first(), b.first())
        && a.len() != b.len()
    {
        let what = format!(
            "its vectors have {} dimensions, the other's {}",
            b.len(),
            a.len()
        );
        return Err(CliError::File(other.to_path_buf(), what));
    }
    let mut found = Comparison::texts(texts.len());
    let cosines: Vec<f32> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| Similarity::Cosine.of(a, b))
        .collect();
    let mean = cosines.iter().copied().map(f64::from).sum::<f64>() / cosines.len().max(1) as f64;
    let least = cosines.iter().copied().enumerate();
    let least = least.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 1.0));
    let text = format!("mean {mean:.6}, least {:.6} (text {})", least.1, least.0);
    let value = json!({"mean": float(mean as f32), "least": float(least.1), "text": least.0});
    found.0.push(("cosine", text, value));
    let paired = |vectors: &[Vec<f32>]| -> Vec<Vec<f32>> {
        let some = &vectors[..vectors.len().min(PAIRED)];
        let row = |a: &Vec<f32>| some.iter().map(|b| Similarity::Cosine.of(a, b)).collect();
        some.iter().map(row).collect()
    };
    let (a, b) = (paired(&a), paired(&b));
    let above = |rows: &[Vec<f32>]| -> Vec<f32> {
        let rows = rows.iter().enumerate();
        rows.flat_map(|(index, row)| row[index + 1..].to_vec())
            .collect()
    };
    found.correlation("similarities of all pairs of texts", &above(&a), &above(&b));
    if a.len() > 1 {
        let nearest = |index: usize, row: &[f32]| {
            let others = row.iter().enumerate().filter(|(other, _)| *other != index);
            others
                .max_by(|a, b| a.1.total_cmp(b.1))
                .map(|(other, _)| other)
        };
        let rows = a.iter().zip(&b).enumerate();
        let same = rows.filter(|(index, (a, b))| nearest(*index, a) == nearest(*index, b));
        found.count("nearest text", same.count(), a.len());
    }
    Ok(found)
}

/// Labels of two models, the best of each text first.
pub fn labels(a: &[Vec<LabelScore>], b: &[Vec<LabelScore>]) -> Comparison {
    let mut found = Comparison::texts(a.len());
    let best = |found: &[LabelScore]| found.first().map(|one| one.label.clone());
    let pairs = || a.iter().zip(b);
    let same = pairs().filter(|(a, b)| best(a) == best(b)).count();
    found.count("label agreement", same, a.len());
    let moved = pairs().flat_map(|(a, b)| {
        a.iter().filter_map(|one| {
            let other = b.iter().find(|other| other.label == one.label)?;
            Some((one.score - other.score).abs())
        })
    });
    let moved: Vec<f32> = moved.collect();
    let mean = moved.iter().copied().map(f64::from).sum::<f64>() / moved.len().max(1) as f64;
    let most = moved.iter().copied().fold(0.0, f32::max);
    let text = format!("moved by {mean:.6} on average, by {most:.6} at most");
    let value = json!({"mean": float(mean as f32), "most": float(most)});
    found.0.push(("scores", text, value));
    found
}

/// Scores that two models give the same texts for a query.
pub fn ranks(a: &[SearchHit], b: &[SearchHit]) -> Comparison {
    let mut found = Comparison::texts(a.len());
    let scores = |hits: &[SearchHit]| -> Vec<f32> {
        let mut hits = hits.to_vec();
        hits.sort_by_key(|hit| hit.corpus_id);
        hits.iter().map(|hit| hit.score).collect()
    };
    found.correlation("scores of the texts", &scores(a), &scores(b));
    let best = |hits: &[SearchHit]| hits.first().map(|hit| hit.corpus_id);
    let is_same = best(a) == best(b);
    let text = if is_same { "the same" } else { "another" };
    found
        .0
        .push(("best text", text.to_string(), json!(is_same)));
    found
}
