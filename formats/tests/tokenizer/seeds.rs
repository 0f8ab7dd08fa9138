//! Replays the fuzzers' seeds and whatever they have found.

use rillm_formats::gguf;
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Tokenizer};
use std::path::{Path, PathBuf};

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    ["seeds", "regressions"]
        .into_iter()
        .filter_map(|kind| std::fs::read_dir(fuzz.join(kind).join(target)).ok())
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.clone(), std::fs::read(path).expect("a file")))
        .collect()
}

fn walk(tokenizer: &Tokenizer, bytes: &[u8]) {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]);
    for parse_special in [false, true] {
        let options = EncodeOptions::default()
            .add_special(true)
            .parse_special(parse_special);
        // A file whose parts make the text grow without bound is told so.
        let Ok(ids) = tokenizer.encode(&text, options) else {
            continue;
        };
        tokenizer.decode_text(&ids, DecodeOptions::default());
    }
}

#[test]
fn tokenizer_json() {
    let inputs = inputs("tokenizer_json");
    assert!(!inputs.is_empty());
    for (_, bytes) in inputs {
        let files = HfFiles {
            tokenizer_json: Some(&bytes),
            ..HfFiles::default()
        };
        if let Ok(Some(tokenizer)) = Tokenizer::from_hf(files) {
            walk(&tokenizer, &bytes);
        }
    }
}

#[test]
fn tokenizer_rwkv() {
    let inputs = inputs("tokenizer_rwkv");
    assert!(!inputs.is_empty());
    for (path, bytes) in inputs {
        let files = HfFiles {
            rwkv_vocabulary: Some(&bytes),
            ..HfFiles::default()
        };
        match Tokenizer::from_hf(files) {
            Ok(tokenizer) => {
                let tokenizer = tokenizer.expect("a vocabulary");
                walk(&tokenizer, &bytes);
                let gguf = tokenizer.to_gguf().metadata;
                let again = Tokenizer::from_gguf(&gguf).expect("just written");
                let again = again.expect("a vocabulary");
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]);
                let ids = |of: &Tokenizer| {
                    of.encode(&text, EncodeOptions::default())
                        .expect("within bounds")
                };
                assert_eq!(ids(&tokenizer), ids(&again), "{}", path.display());
            }
            Err(error) => {
                let is_seed = path.components().any(|part| part.as_os_str() == "seeds");
                assert!(!is_seed, "{}: {error}", path.display());
            }
        }
    }
}

#[test]
fn tokenizer_model() {
    let inputs = inputs("tokenizer_model");
    assert!(!inputs.is_empty());
    for (_, bytes) in inputs {
        let files = HfFiles {
            tokenizer_model: Some(&bytes),
            ..HfFiles::default()
        };
        if let Ok(Some(tokenizer)) = Tokenizer::from_hf(files) {
            walk(&tokenizer, &bytes);
        }
    }
}

#[test]
fn tokenizer_gguf() {
    let inputs = inputs("tokenizer_gguf");
    assert!(!inputs.is_empty());
    let mut built = 0;
    for (_, bytes) in inputs {
        let Ok(file) = gguf::parse(&bytes, 0) else {
            continue;
        };
        if let Ok(Some(tokenizer)) = Tokenizer::from_gguf(&file.metadata) {
            built += 1;
            walk(&tokenizer, &bytes);
        }
    }
    assert!(built > 0, "no seed is a working vocabulary");
}

#[test]
fn tokenizer_text() {
    let files = HfFiles {
        tokenizer_json: Some(include_bytes!("../data/tokenizer/llama3.tokenizer.json")),
        ..HfFiles::default()
    };
    let tokenizer = Tokenizer::from_hf(files).expect("valid").expect("there");
    for (path, bytes) in inputs("tokenizer_text") {
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        let ids = tokenizer
            .encode(text, EncodeOptions::default())
            .expect("within bounds");
        let back = tokenizer.decode(&ids, DecodeOptions::default());
        assert_eq!(back, bytes, "{}", path.display());
    }
}
