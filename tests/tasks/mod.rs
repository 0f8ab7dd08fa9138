//! Tasks against transformers' pipelines and sentence-transformers (`tools/tasks/make.py`).

mod answer;
mod batches;
mod classify;
mod decoders;
mod embed;
mod fill_mask;
mod gguf;
mod malformed;
mod newer;
mod rerank;
mod similar;
mod tag;
mod text_to_text;
mod trained;

use crate::support::folder::TempFolder;
use crate::support::setup::forced;
use rillm::quantize::{Draft, QuantizeOptions, QuantizePlan, write};
use rillm::{Model, ModelOptions};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

/// What two ways of adding up float32 may differ by, for values around 1: the references' own noise
/// is 1e-6 to 5e-5.
const TOLERANCE: f64 = 1e-4;

/// Where a task's model lies.
fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/data/tasks").join(name)
}

fn expected(name: &str) -> Value {
    let text = fs::read(folder(name).join("expected.json")).expect("what was expected");
    serde_json::from_slice(&text).expect("JSON")
}

fn options() -> ModelOptions {
    ModelOptions::default().isa(forced()).threads(2)
}

fn open(path: &Path) -> Model {
    Model::open(path, options().headless(path.ends_with("embed")))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A copy of a model's folder, of which one file is another.
fn changed(name: &str, file: &str, content: &str) -> TempFolder {
    let copy = TempFolder::new("tasks");
    copy_into(&folder(name), &copy);
    let path = copy.join(file);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
    copy
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            fs::create_dir(&target).expect("a new folder");
            copy_into(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// A folder's GGUF file in this type.
fn written(from: &Path, mix: &str, to: &Path) {
    let draft = Draft::open(from).unwrap_or_else(|error| panic!("{error}"));
    let options = QuantizeOptions::new(mix.parse().expect("a type"));
    let plan = QuantizePlan::new(&draft, &options).unwrap_or_else(|error| panic!("{error}"));
    write(&draft, &plan, to, 1, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("{error}"));
}

/// A file of a model's folder, with some of its keys set anew.
fn with_keys(name: &str, file: &str, keys: Value) -> TempFolder {
    let text = fs::read(folder(name).join(file)).expect("a file");
    let mut config: Value = serde_json::from_slice(&text).expect("JSON");
    for (key, value) in keys.as_object().expect("keys") {
        config[key] = value.clone();
    }
    changed(name, file, &config.to_string())
}

fn texts(expected: &Value, key: &str) -> Vec<String> {
    let list = expected[key].as_array().expect("a list of texts");
    let texts = list.iter().map(|text| text.as_str().expect("a text"));
    texts.map(str::to_string).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().expect("a list of numbers");
    list.iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn assert_near(found: f32, expected: &Value, what: &str) {
    let expected = expected.as_f64().expect("a number");
    let error = (f64::from(found) - expected).abs();
    let bound = TOLERANCE * expected.abs().max(1.0);
    assert!(error <= bound, "{what}: {found}, expected {expected}");
}
