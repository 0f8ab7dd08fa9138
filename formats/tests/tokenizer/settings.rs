//! Folders whose small files change what their `tokenizer.json` says, against what transformers
//! makes of them (`tools/tokenizers/settings.py`).

use rillm_formats::tokenizer::{EncodeOptions, HfFiles, Tokenizer};
use serde_json::{Value, json};

const FOLDERS: &[u8] = include_bytes!("../data/tokenizer/settings.json");

#[test]
fn the_class_and_the_small_files_decide() {
    let all: Value = serde_json::from_slice(FOLDERS).expect("json");
    let texts = all["texts"].as_array().expect("texts");
    let options = EncodeOptions::new().parse_special(true).add_special(true);
    let mut wrong = Vec::new();
    for (name, folder) in all["folders"].as_object().expect("folders") {
        let file = |name: &str| folder["files"][name].as_str().map(str::as_bytes);
        let key = folder["files"]["tokenizer.json"].as_str().expect("a key");
        let json = all["tokenizers"][key].to_string();
        let files = HfFiles {
            tokenizer_json: Some(json.as_bytes()),
            tokenizer_config: file("tokenizer_config.json"),
            special_tokens_map: file("special_tokens_map.json"),
            added_tokens: file("added_tokens.json"),
            config: file("config.json"),
            ..HfFiles::default()
        };
        let tokenizer = Tokenizer::from_hf(files).unwrap_or_else(|error| panic!("{name}: {error}"));
        let tokenizer = tokenizer.expect("a vocabulary");
        let mut written = tokenizer.to_gguf();
        if !written.is_exact {
            written.add_tokenizer_json(&files.tokenizer_json().expect("known").expect("there"));
        }
        let again = Tokenizer::from_gguf(&written.metadata);
        let again = again.unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = again.expect("a vocabulary");
        for (text, expected) in texts.iter().zip(folder["ids"].as_array().expect("lists")) {
            let text = text.as_str().expect("text");
            let expected: Vec<u32> = serde_json::from_value(expected.clone()).expect("ids");
            for (tokenizer, place) in [(&tokenizer, "folder"), (&again, "GGUF")] {
                let found = tokenizer.encode(text, options).expect("within bounds");
                if found != expected {
                    wrong.push(format!("{name}, {place}: {text:?} {found:?} {expected:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tokens that are added under what the model makes, and in front of others, whose order GGUF does not have:
/// the ids are those of Hugging Face's tokenizers 0.22.
#[test]
fn a_file_matches_added_tokens_as_its_folder_does() {
    let added = |id: u32, content: &str, normalized: bool, special: bool| {
        json!({"id": id, "content": content, "normalized": normalized, "special": special,
            "single_word": false, "lstrip": false, "rstrip": false})
    };
    let begin = added(5, "<|a|>", false, true);
    let lists = [
        json!([added(4, "Ġt", false, false)]),
        json!([begin, added(6, "<|a|>b", true, false)]),
    ];
    let cases: [(&str, [&[u32]; 2]); 3] = [
        ("a t b", [&[0, 4, 2, 1], &[0, 4, 2, 1]]),
        ("aĠtb", [&[0, 4, 1], &[0, 3, 1]]),
        ("<|a|>b", [&[0, 1], &[5, 1]]),
    ];
    for (place, list) in lists.iter().enumerate() {
        let json = json!({
            "added_tokens": list,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
            "model": {"type": "BPE", "merges": ["Ġ t"],
                "vocab": {"a": 0, "b": 1, "Ġ": 2, "t": 3, "Ġt": 4}},
        });
        let json = json.to_string();
        let files = HfFiles {
            tokenizer_json: Some(json.as_bytes()),
            ..HfFiles::default()
        };
        let folder = Tokenizer::from_hf(files).expect("valid").expect("there");
        let mut written = folder.to_gguf();
        assert!(!written.is_exact && !written.losses.is_empty());
        written.add_tokenizer_json(json.as_bytes());
        let file = Tokenizer::from_gguf(&written.metadata).expect("what we write, we open");
        let file = file.expect("a vocabulary");
        let options = EncodeOptions::new().parse_special(true);
        for (text, expected) in &cases {
            for tokenizer in [&folder, &file] {
                let found = tokenizer.encode(text, options).expect("within bounds");
                assert_eq!(found, expected[place], "{text}");
            }
        }
    }
}
