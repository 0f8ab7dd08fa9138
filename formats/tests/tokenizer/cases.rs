//! Small vocabularies against what the reference libraries make of nasty strings. Files and
//! expected values are written by `tools/tokenizers/make.py`.

use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Tokenizer};
use serde_json::Value;

const CASES: &[u8] = include_bytes!("../data/tokenizer/cases.json");

fn json(bytes: &[u8]) -> Tokenizer {
    let files = HfFiles {
        tokenizer_json: Some(bytes),
        ..HfFiles::default()
    };
    Tokenizer::from_hf(files).expect("valid").expect("there")
}

fn model(bytes: &[u8]) -> Tokenizer {
    let files = HfFiles {
        tokenizer_model: Some(bytes),
        ..HfFiles::default()
    };
    Tokenizer::from_hf(files).expect("valid").expect("there")
}

fn gpt2() -> Tokenizer {
    json(include_bytes!("../data/tokenizer/gpt2.tokenizer.json"))
}

fn llama3() -> Tokenizer {
    json(include_bytes!("../data/tokenizer/llama3.tokenizer.json"))
}

fn spm() -> Tokenizer {
    json(include_bytes!("../data/tokenizer/spm.tokenizer.json"))
}

fn metaspace() -> Tokenizer {
    json(include_bytes!("../data/tokenizer/metaspace.tokenizer.json"))
}

fn spm_model() -> Tokenizer {
    model(include_bytes!("../data/tokenizer/spm.model"))
}

fn squeezed() -> Tokenizer {
    model(include_bytes!("../data/tokenizer/squeezed.model"))
}

const TEMPLATED: EncodeOptions = EncodeOptions::new().add_special(true).parse_special(true);

struct Case {
    text: String,
    /// Names of control tokens are text.
    plain: Vec<u32>,
    /// Names of control tokens are tokens, with the template around.
    special: Option<Vec<u32>>,
    /// The first ids as text.
    back: String,
}

fn cases(file: &str) -> Vec<Case> {
    let all: Value = serde_json::from_slice(CASES).expect("json");
    let texts = all["texts"].as_array().expect("texts");
    let found = all["cases"][file].as_array().expect(file);
    assert_eq!(texts.len(), found.len());
    let ids = |value: &Value| -> Vec<u32> {
        let ids = value.as_array().expect("ids").iter();
        ids.map(|id| id.as_u64().expect("an id") as u32).collect()
    };
    let texts = texts.iter().zip(found);
    texts
        .map(|(text, case)| Case {
            text: text.as_str().expect("text").into(),
            plain: ids(&case[0]),
            special: (!case[1].is_null()).then(|| ids(&case[1])),
            back: case[2].as_str().expect("text").into(),
        })
        .collect()
}

fn agrees(tokenizer: &Tokenizer, file: &str) {
    for case in cases(file) {
        let Case { text, plain, .. } = &case;
        let found = tokenizer
            .encode(text, EncodeOptions::default())
            .expect("within bounds");
        // The reference's unigram models make control tokens of what users typed.
        if !(file == "unigram.tokenizer.json" && text.contains("</s>")) {
            assert_eq!(&found, plain, "{file}: {text:?}");
        }
        // The reference also takes away leading spaces that a text wrote as ▁. These are exact.
        // Unknown tokens show as their names here, not as a question mark of its own.
        let unknown = case.back.contains('⁇') || found != case.plain;
        if !(file == "squeezed.model" && text.starts_with('▁') || unknown) {
            let back = tokenizer.decode_text(&found, DecodeOptions::default());
            assert_eq!(back, case.back, "{file}: {text:?} back");
        }
        // A text that begins with BOS is where the reference doubles it.
        if let Some(special) = &case.special
            && !text.starts_with("<s>")
        {
            let found = tokenizer.encode(text, TEMPLATED).expect("within bounds");
            assert_eq!(&found, special, "{file}: {text:?} with special tokens");
        }
    }
}

#[test]
fn byte_level_as_gpt2() {
    agrees(&gpt2(), "gpt2.tokenizer.json");
}

#[test]
fn byte_level_as_llama3() {
    agrees(&llama3(), "llama3.tokenizer.json");
}

#[test]
fn sentencepiece_file() {
    agrees(&spm_model(), "spm.model");
}

#[test]
fn sentencepiece_file_that_squeezes_spaces() {
    agrees(&squeezed(), "squeezed.model");
}

#[test]
fn sentencepiece_converted() {
    agrees(&spm(), "spm.tokenizer.json");
}

#[test]
fn sentencepiece_converted_with_metaspace() {
    agrees(&metaspace(), "metaspace.tokenizer.json");
}

#[test]
fn wordpiece_without_case() {
    agrees(
        &json(include_bytes!("../data/tokenizer/wordpiece.tokenizer.json")),
        "wordpiece.tokenizer.json",
    );
}

#[test]
fn wordpiece_with_case() {
    agrees(
        &json(include_bytes!("../data/tokenizer/cased.tokenizer.json")),
        "cased.tokenizer.json",
    );
}

#[test]
fn unigram_file() {
    agrees(
        &model(include_bytes!("../data/tokenizer/unigram.model")),
        "unigram.model",
    );
}

#[test]
fn unigram_converted() {
    agrees(
        &json(include_bytes!("../data/tokenizer/unigram.tokenizer.json")),
        "unigram.tokenizer.json",
    );
}

/// Written into a GGUF file and read again, it gives the same tokens.
#[test]
fn through_gguf_they_are_the_same() {
    let word_piece: &[u8] = include_bytes!("../data/tokenizer/wordpiece.tokenizer.json");
    let cased: &[u8] = include_bytes!("../data/tokenizer/cased.tokenizer.json");
    let unigram: &[u8] = include_bytes!("../data/tokenizer/unigram.model");
    // GGUF has no flags for how a token is matched, and SentencePiece's put a space after each.
    let never: fn(&str) -> bool = |_| false;
    let flags: fn(&str) -> bool = |text| text.contains("<|user|>") || text.contains("[word]");
    let tokens: fn(&str) -> bool = |text| text.contains('<');
    for (name, tokenizer, differs) in [
        ("gpt2", gpt2(), flags),
        ("llama3", llama3(), never),
        ("spm_model", spm_model(), tokens),
        ("squeezed", squeezed(), tokens),
        ("spm", spm(), tokens),
        ("word_piece", json(word_piece), never),
        ("cased", json(cased), never),
        ("unigram", model(unigram), tokens),
    ] {
        let metadata = tokenizer.to_gguf().metadata;
        let again = Tokenizer::from_gguf(&metadata).expect(name).expect(name);
        assert_eq!(again.vocabulary_len(), tokenizer.vocabulary_len(), "{name}");
        assert_eq!(again.end_tokens(), tokenizer.end_tokens(), "{name}");
        let all: Value = serde_json::from_slice(CASES).expect("json");
        for text in all["texts"].as_array().expect("texts") {
            let text = text.as_str().expect("text");
            if differs(text) {
                continue;
            }
            for options in [EncodeOptions::default(), TEMPLATED] {
                let expected = tokenizer.encode(text, options).expect("within bounds");
                assert_eq!(
                    again.encode(text, options).expect("within bounds"),
                    expected,
                    "{name}: {text:?}"
                );
                let decode = DecodeOptions::default();
                assert_eq!(
                    again.decode_text(&expected, decode),
                    tokenizer.decode_text(&expected, decode),
                    "{name}: {text:?} back"
                );
            }
        }
    }
}
