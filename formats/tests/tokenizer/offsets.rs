//! Where tokens stand, against the tokenizers library (`tools/tokenizers/offsets.py`).

use rillm_formats::tokenizer::{EncodeOptions, HfFiles, Tokenizer};
use serde_json::Value;

const OFFSETS: &[u8] = include_bytes!("../data/tokenizer/offsets.json");

fn tokenizers() -> Vec<(&'static str, &'static [u8])> {
    vec![
        (
            "gpt2",
            include_bytes!("../data/tokenizer/gpt2.tokenizer.json"),
        ),
        (
            "llama3",
            include_bytes!("../data/tokenizer/llama3.tokenizer.json"),
        ),
        (
            "spm",
            include_bytes!("../data/tokenizer/spm.tokenizer.json"),
        ),
        (
            "metaspace",
            include_bytes!("../data/tokenizer/metaspace.tokenizer.json"),
        ),
        (
            "cased",
            include_bytes!("../data/tokenizer/cased.tokenizer.json"),
        ),
        (
            "wordpiece",
            include_bytes!("../data/tokenizer/wordpiece.tokenizer.json"),
        ),
        (
            "unigram",
            include_bytes!("../data/tokenizer/unigram.tokenizer.json"),
        ),
    ]
}

fn open(bytes: &[u8]) -> Tokenizer {
    let files = HfFiles {
        tokenizer_json: Some(bytes),
        ..HfFiles::default()
    };
    Tokenizer::from_hf(files).expect("valid").expect("there")
}

#[test]
fn tokens_stand_where_the_reference_says() {
    let expected: Value = serde_json::from_slice(OFFSETS).expect("json");
    let texts = expected["texts"].as_array().expect("texts");
    let number = |value: &Value| value.as_u64().expect("a number") as usize;
    let mut compared = 0;
    for (name, bytes) in tokenizers() {
        let tokenizer = open(bytes);
        for (text, case) in texts.iter().zip(expected[name].as_array().expect(name)) {
            let text = text.as_str().expect("a text");
            let found = tokenizer.encode_with_offsets(text).expect("within bounds");
            let plain = tokenizer
                .encode(text, EncodeOptions::new())
                .expect("within bounds");
            let ids: Vec<u32> = found.iter().map(|token| token.id).collect();
            assert_eq!(ids, plain, "{name}: {text:?}");
            let expected_ids = case["ids"].as_array().expect("ids");
            let expected_ids: Vec<u32> = expected_ids.iter().map(|id| number(id) as u32).collect();
            // The reference makes control tokens of what users typed.
            if ids != expected_ids {
                continue;
            }
            for (token, span) in found.iter().zip(case["spans"].as_array().expect("spans")) {
                let (start, end) = (number(&span[0]), number(&span[1]));
                // Of several spaces that one sign stands for, either names some.
                if text[start..end].trim().is_empty() {
                    continue;
                }
                let what = format!("{name}: {text:?}: {token:?}");
                // Marks that are composed with a character are left out there, and are of it here.
                let is_mark = |character| ('\u{300}'..='\u{36f}').contains(&character);
                let marks = text.get(end..token.end).unwrap_or_default();
                let end = match marks.chars().all(is_mark) {
                    true => token.end.max(end),
                    false => end,
                };
                assert_eq!((token.start, token.end), (start, end), "{what}");
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

#[test]
fn every_token_lies_in_the_text_and_none_before_the_one_before() {
    for (name, bytes) in tokenizers() {
        let tokenizer = open(bytes);
        for text in [
            "",
            " ",
            "e\u{301}e\u{301}\u{301} x",
            "  a  b ",
            "中文",
            "\u{1f600}\0a\u{fffd}",
        ] {
            let mut last = (0, 0);
            for token in tokenizer.encode_with_offsets(text).expect("within bounds") {
                let what = format!("{name}: {text:?}: {token:?}");
                assert!(text.get(token.start..token.end).is_some(), "{what}");
                assert!((token.start, token.word) >= last, "{what}");
                last = (token.start, token.word);
            }
        }
    }
}
