//! What a class takes for granted where its configuration does not say it: the folder computes what
//! transformers does (tests/data/defaults.json, by tools/fixtures/defaults.py), and so does the file
//! that it becomes, whose readers take other things for granted.

use crate::support::evaluate::{evaluate, open};
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::rewrite::{options, run};
use rillm::Model;
use rillm::internals::draft;
use rillm::internals::eval::Cut;
use rillm::internals::weights;
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;

/// Of the logits' RMS, as everywhere; a text of four thousand tokens lets more of it come together.
const TOLERANCE: f64 = 2e-4;

#[test]
fn folders_and_files_take_for_granted_what_transformers_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/defaults.json");
    let cases = fs::read(path).expect("tests/data/defaults.json");
    let cases: Vec<Json> = serde_json::from_slice(&cases).expect("a list");
    assert!(cases.len() > 10, "only {}", cases.len());
    let files = TempFolder::new("defaults");
    for case in cases {
        let fixture = Fixture::load(case["fixture"].as_str().expect("a name"));
        let mut config = fixture.config();
        let keys = config.as_object_mut().expect("an object");
        for key in case["without"].as_array().expect("keys") {
            keys.remove(key.as_str().expect("a key"));
        }
        for (key, value) in case["said"].as_object().expect("keys") {
            keys.insert(key.clone(), value.clone());
        }
        let vocabulary = config["vocab_size"].as_u64().expect("a count") - 3;
        let length = case["length"].as_u64().expect("a count");
        let ids: Vec<u64> = (0..length).map(|i| 3 + 7919 * i % vocabulary).collect();
        let expected: Vec<f64> =
            serde_json::from_value(case["logits"].clone()).expect("logits of the last token");
        let label = format!("{}: {} {}", case["fixture"], case["without"], case["said"]);

        let folder = fixture.folder_with(&config, Vec::new());
        let path = files.join("file.gguf");
        let input = draft(weights::open(&folder).expect("a folder")).expect("an input");
        run(&input, &options("f32"), &path, 1).unwrap_or_else(|error| panic!("{label}: {error}"));
        for (what, path) in [("folder", folder.as_ref()), ("file", path.as_path())] {
            let model = open(path).unwrap_or_else(|error| panic!("{label}: {what}: {error}"));
            let found = last_logits(&model, &ids);
            let error = difference(&expected, &found);
            assert!(error < TOLERANCE, "{label}: {what} differs by {error:.1e}");
        }
    }
}

fn last_logits(model: &Model, ids: &[u64]) -> Vec<f32> {
    let outputs = evaluate(model, &json!({"input_ids": [ids]}), Cut::Whole).expect("outputs");
    let logits = &outputs["logits"];
    let width = *logits.shape.last().expect("extents");
    logits.values[logits.values.len() - width..].to_vec()
}

/// The largest difference, over the RMS of what is expected.
fn difference(expected: &[f64], found: &[f32]) -> f64 {
    assert_eq!(expected.len(), found.len());
    let square: f64 = expected.iter().map(|value| value * value).sum();
    let rms = (square / expected.len() as f64).sqrt();
    let pairs = expected.iter().zip(found);
    pairs.fold(0.0, |worst, (a, b)| {
        f64::max(worst, (a - f64::from(*b)).abs() / rms)
    })
}
