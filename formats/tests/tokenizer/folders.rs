//! Folders with SentencePiece models whose pieces have ids of their class's own, against what
//! transformers makes of them (`tools/tokenizers/folders.py`).

use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Tokenizer};
use serde_json::Value;
use std::collections::HashMap;

const FOLDERS: &[u8] = include_bytes!("../data/tokenizer/folders.json");

/// Files by name; those that are no text stand apart, in hexadecimal digits.
fn contents(folder: &Value, models: &Value) -> HashMap<String, Vec<u8>> {
    let files = folder["files"].as_object().expect("files");
    let content = |(name, text): (&String, &Value)| {
        let text = text.as_str().expect("text");
        let bytes = match models[text].as_str() {
            Some(text) => (0..text.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("digits"))
                .collect(),
            None => text.as_bytes().to_vec(),
        };
        (name.clone(), bytes)
    };
    files.iter().map(content).collect()
}

fn files(contents: &HashMap<String, Vec<u8>>) -> HfFiles<'_> {
    let file = |name: &str| contents.get(name).map(Vec::as_slice);
    let models = [
        "tokenizer.model",
        "spiece.model",
        "sentencepiece.bpe.model",
        "spm.model",
    ];
    HfFiles {
        tokenizer_model: models.iter().find_map(|name| file(name)),
        source_spm: file("source.spm"),
        target_vocab_json: file("target_vocab.json"),
        vocab_json: file("vocab.json"),
        tokenizer_config: file("tokenizer_config.json"),
        config: file("config.json"),
        ..HfFiles::default()
    }
}

fn ids(list: &Value) -> Vec<u32> {
    serde_json::from_value(list.clone()).expect("ids")
}

#[test]
fn pieces_have_the_ids_that_their_class_says() {
    let all: Value = serde_json::from_slice(FOLDERS).expect("json");
    let texts = all["texts"].as_array().expect("texts");
    let masked = all["masked"].as_array().expect("texts");
    let options = EncodeOptions::new().add_special(true);
    for (name, folder) in all["folders"].as_object().expect("folders") {
        let contents = contents(folder, &all["models"]);
        let tokenizer = Tokenizer::from_hf(files(&contents));
        let tokenizer = tokenizer.unwrap_or_else(|error| panic!("{name}: {error}"));
        let tokenizer = tokenizer.expect("a vocabulary");
        let written = tokenizer.to_gguf();
        let again = Tokenizer::from_gguf(&written.metadata).expect("valid");
        let again = again.expect("a vocabulary");
        for (tokenizer, place) in [(&tokenizer, "folder"), (&again, "GGUF")] {
            for (text, expected) in texts.iter().zip(folder["ids"].as_array().expect("lists")) {
                let text = text.as_str().expect("text");
                let found = tokenizer.encode(text, options).expect("within bounds");
                assert_eq!(found, ids(expected), "{name}, {place}: {text:?}");
            }
            let mask = tokenizer.mask().and_then(|mask| tokenizer.piece(mask));
            let mask = mask.map(|mask| String::from_utf8_lossy(mask).into_owned());
            for (text, expected) in masked
                .iter()
                .zip(folder["masked"].as_array().expect("lists"))
            {
                let mask = mask.as_deref().expect("a mask");
                let text = text.as_str().expect("text").replace('?', mask);
                let found = tokenizer.encode(&text, options).expect("within bounds");
                assert_eq!(found, ids(expected), "{name}, {place}: {text:?}");
            }
            let shown = folder["shown"].as_array().expect("texts");
            for (written, shown) in folder["written"]
                .as_array()
                .expect("lists")
                .iter()
                .zip(shown)
            {
                let skips = DecodeOptions::new().skip_special(true);
                let found = tokenizer.decode_text(&ids(written), skips);
                // The reference takes white space from both ends.
                let shown = shown.as_str().expect("text");
                assert_eq!(found.trim(), shown, "{name}, {place}: {written}");
            }
        }
    }
}
