//! Tiny translators, each with a tokenizer and a way to be told languages, and what transformers makes of
//! texts with them (`tools/generation/translation.py`).

use super::fixture::Fixture;
use super::folder::TempFolder;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// What is translated.
pub const TEXTS: [&str; 3] = ["w20 w31 w44", "w12 w50 w33 w21 w40 w19 w27", "w55"];

/// The translators, and what they write.
pub fn cases() -> Vec<Value> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let read = folders.find_map(|folder| fs::read(folder.join("tests/data/translation.json")).ok());
    serde_json::from_slice(&read.expect("tests/data/translation.json")).expect("JSON")
}

/// A translator's folder.
pub fn folder(case: &Value) -> TempFolder {
    let folder = Fixture::load(case["fixture"].as_str().expect("a name")).folder();
    let path = folder.join("config.json");
    let mut config: Value =
        serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    for (key, value) in case["config"].as_object().expect("keys") {
        config[key] = value.clone();
    }
    fs::write(&path, config.to_string()).expect("a file");
    fs::write(folder.join("tokenizer.json"), case["tokenizer"].to_string()).expect("a file");
    let special = r#"{"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}"#;
    fs::write(folder.join("tokenizer_config.json"), special).expect("a file");
    folder
}
