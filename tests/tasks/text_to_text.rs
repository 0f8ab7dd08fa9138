//! Translations against transformers' (`tools/generation/translation.py`).

use super::options;
use crate::support::translation::{TEXTS, cases, folder};
use rillm::tasks::TextToText;
use rillm::{LoadError, Model};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn open(path: &Path) -> Model {
    Model::open(path, options()).unwrap_or_else(|error| panic!("{error}"))
}

fn translator(model: &Model, case: &Value) -> Result<TextToText, LoadError> {
    TextToText::translator(model, case["from"].as_str(), case["to"].as_str())
}

#[test]
fn translations_are_those_of_the_reference() {
    for case in cases() {
        let folder = folder(&case);
        let mut translator = translator(&open(&folder), &case).unwrap_or_else(|e| panic!("{e}"));
        for (text, expected) in TEXTS.iter().zip(case["written"].as_array().expect("texts")) {
            let written = translator.write(text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(
                &written.text,
                expected.as_str().expect("a text"),
                "{}",
                case["fixture"]
            );
            assert!(!written.truncated && written.tokens > 0);
            let searched = translator.config().num_beams > 1;
            assert_eq!(written.score.is_some(), searched);
        }
    }
}

/// The GGUF file of a translator knows its languages and its way to write.
#[test]
fn a_conversion_translates_as_its_folder_does() {
    for case in cases() {
        let folder = folder(&case);
        let path: PathBuf = folder.join("model.gguf");
        super::written(&folder, "f32", &path);
        let [mut from, mut to] = [&*folder, &path].map(|path| {
            let made = translator(&open(path), &case);
            made.unwrap_or_else(|error| panic!("{} {error}", case["fixture"]))
        });
        for text in TEXTS {
            let [from, to] = [&mut from, &mut to].map(|one| one.write(text).expect("a text"));
            assert_eq!(from, to, "{}", case["fixture"]);
        }
    }
}

#[test]
fn a_language_that_is_not_known_is_named() {
    let cases = cases();
    let said = |at: usize, from: Option<&str>, to: Option<&str>| {
        let folder = folder(&cases[at]);
        let made = TextToText::translator(&open(&folder), from, to);
        made.expect_err("an error").to_string()
    };
    let none = said(0, None, Some("xx"));
    assert!(
        none.contains("none of language \"xx\"") && none.contains("de_DE"),
        "{none}"
    );
    let several = said(1, None, Some("srp"));
    assert!(several.contains("several of language \"srp\""), "{several}");
    let source = said(1, Some("klingon"), Some("deu_Latn"));
    assert!(source.contains("klingon"), "{source}");
    let unsaid = said(1, None, None);
    assert!(
        unsaid.contains("say into which") && unsaid.contains("eng_Latn"),
        "{unsaid}"
    );
    let t5 = said(4, Some("en"), Some("ro"));
    let known = "but from en to fr";
    assert!(t5.contains("from en to ro") && t5.contains(known), "{t5}");
    let half = said(4, None, Some("fr"));
    assert!(
        half.contains("does not translate to fr, but from en to fr"),
        "{half}"
    );
    let marian = said(2, None, Some("eng"));
    assert!(marian.contains("deu, fra"), "{marian}");
}

/// Marian's models of two languages, which have no tokens for them.
#[test]
fn a_pair_of_languages_is_the_files() {
    let folder = folder(&cases()[4]);
    let config = folder.join("config.json");
    let mut said: Value =
        serde_json::from_slice(&fs::read(&config).expect("a file")).expect("JSON");
    said.as_object_mut()
        .expect("keys")
        .remove("task_specific_params");
    fs::write(&config, said.to_string()).expect("a file");
    let made = |from, to| {
        let made = TextToText::translator(&open(&folder), from, to);
        made.map(|_| ()).map_err(|error| error.to_string())
    };
    let unknown = made(None, Some("de")).expect_err("nothing is known");
    assert!(
        unknown.contains("do not say that it translates to de: leave that out"),
        "{unknown}"
    );
    assert_eq!(made(None, None), Ok(()));
    let pair = r#"{"source_lang": "en", "target_lang": "de"}"#;
    fs::write(folder.join("tokenizer_config.json"), pair).expect("a file");
    for (from, to) in [
        (Some("en"), Some("de")),
        (None, Some("de")),
        (Some("en"), None),
    ] {
        assert_eq!(made(from, to), Ok(()));
    }
    for (from, to) in [
        (Some("de"), Some("en")),
        (None, Some("fr")),
        (Some("klingon"), None),
    ] {
        let other = made(from, to).expect_err("another pair");
        assert!(other.contains("but from en to de"), "{other}");
    }
}

#[test]
fn only_encoder_decoders_write_texts_for_texts() {
    let model = open(&super::folder("embed"));
    let error = TextToText::summarizer(&model)
        .expect_err("an encoder")
        .to_string();
    assert!(error.contains("does not write texts for texts"), "{error}");
}

#[test]
fn a_source_that_is_too_long_is_cut() {
    let cases = cases();
    let folder = folder(&cases[2]);
    let mut translator = translator(&open(&folder), &cases[2]).expect("a translator");
    let long = "w20 ".repeat(200);
    let written = translator.write(&long).expect("a text");
    assert!(
        written.truncated && written.source_tokens <= 200,
        "{written:?}"
    );
    assert_eq!(translator.write(&long).expect("a text"), written);
    let short = translator.write("w20").expect("a text");
    assert_eq!((short.truncated, short.source_tokens), (false, 3));
}
