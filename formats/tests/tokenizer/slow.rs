//! Folders that have a vocabulary and no `tokenizer.json`, against what transformers makes of them
//! (`tools/tokenizers/slow.py`).

use rillm_formats::tokenizer::{EncodeOptions, HfFiles, Tokenizer};
use serde_json::Value;

const FOLDERS: &[u8] = include_bytes!("../data/tokenizer/slow.json");

fn files(folder: &Value) -> HfFiles<'_> {
    let file = |name: &str| folder["files"][name].as_str().map(str::as_bytes);
    HfFiles {
        vocab_json: file("vocab.json"),
        merges_txt: file("merges.txt"),
        vocab_txt: file("vocab.txt"),
        added_tokens: file("added_tokens.json"),
        tokenizer_config: file("tokenizer_config.json"),
        config: file("config.json"),
        ..HfFiles::default()
    }
}

#[test]
fn a_vocabulary_is_enough_where_its_class_is_known() {
    let all: Value = serde_json::from_slice(FOLDERS).expect("json");
    let texts = all["texts"].as_array().expect("texts");
    let options = EncodeOptions::default()
        .parse_special(true)
        .add_special(true);
    for (name, folder) in all["folders"].as_object().expect("folders") {
        let files = files(folder);
        let tokenizer = Tokenizer::from_hf(files).unwrap_or_else(|error| panic!("{name}: {error}"));
        let tokenizer = tokenizer.expect("a vocabulary");
        let mut written = tokenizer.to_gguf();
        let json = files.tokenizer_json().expect("known").expect("there");
        if !written.is_exact {
            written.add_tokenizer_json(&json);
        }
        let again = Tokenizer::from_gguf(&written.metadata).expect("valid");
        let again = again.expect("a vocabulary");
        let expected = folder["ids"].as_array().expect("lists");
        for (text, expected) in texts.iter().zip(expected) {
            let text = text.as_str().expect("text");
            let expected: Vec<u32> = serde_json::from_value(expected.clone()).expect("ids");
            // A first token that the text has is not doubled here.
            if matches!(expected[..], [first, second, ..] if first == second) {
                continue;
            }
            for tokenizer in [&tokenizer, &again] {
                let found = tokenizer.encode(text, options).expect("within bounds");
                assert_eq!(found, expected, "{name}: {text:?}");
            }
        }
    }
}

#[test]
fn other_classes_are_refused_by_name() {
    let vocabulary = br#"{"a":0}"#;
    let json = HfFiles {
        vocab_json: Some(vocabulary),
        merges_txt: Some(b"#version: 0.2\n"),
        ..HfFiles::default()
    };
    let text = HfFiles {
        vocab_txt: Some(b"a\n"),
        ..HfFiles::default()
    };
    let class = |files| HfFiles {
        tokenizer_config: Some(br#"{"tokenizer_class":"EsmTokenizer"}"#),
        ..files
    };
    let broken = |merges| HfFiles {
        merges_txt: merges,
        tokenizer_config: Some(br#"{"tokenizer_class":"GPT2TokenizerFast"}"#),
        ..json
    };
    for (files, word) in [
        (json, "(none)"),
        (text, "(none)"),
        (class(json), "EsmTokenizer"),
        (class(text), "EsmTokenizer"),
        (broken(None), "merges.txt"),
        (broken(Some(b"a\n")), "merges.txt line 1"),
        (broken(Some(b"a b c\n")), "merges.txt line 1"),
        (broken(Some(b"\xff \xff\n")), "merges.txt is not UTF-8"),
        (broken(Some(b"a \xc2\x85\n")), "merges.txt line 1 has"),
    ] {
        let error = Tokenizer::from_hf(files).expect_err(word).to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{error}");
    }
}

/// Whether they are named by their tokenizer's class or by the model's type.
#[test]
fn classes_with_a_use_of_their_own_for_pieces_are_refused() {
    let model = include_bytes!("../data/tokenizer/spm.model");
    for kind in ["albert", "xlnet", "xglm"] {
        let config = format!(r#"{{"model_type":"{kind}"}}"#);
        let class = match kind {
            "albert" => "AlbertTokenizer",
            "xlnet" => "XLNetTokenizer",
            _ => "XGLMTokenizer",
        };
        let settings = format!(r#"{{"tokenizer_class":"{class}"}}"#);
        let unsaid = HfFiles {
            tokenizer_model: Some(model),
            config: Some(config.as_bytes()),
            ..HfFiles::default()
        };
        let said = HfFiles {
            tokenizer_config: Some(settings.as_bytes()),
            ..unsaid
        };
        for (files, word) in [(unsaid, kind), (said, class)] {
            let error = Tokenizer::from_hf(files).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
