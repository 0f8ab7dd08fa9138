//! Random combinations of the parts of `tokenizer.json` against the reference, which
//! `tools/tokenizers/combinations.py` asked.

use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Tokenizer};
use serde_json::{Value, json};

const COMBINATIONS: &[u8] = include_bytes!("../data/tokenizer/combinations.json");

/// A `tokenizer.json`, and what the reference makes of each text: ids as plain text, with control
/// tokens, with the template around, and the second as text.
struct Combination {
    file: Vec<u8>,
    expected: Vec<(String, [Value; 4])>,
}

impl Combination {
    fn tokenizer(&self) -> Tokenizer {
        let files = HfFiles {
            tokenizer_json: Some(&self.file),
            ..HfFiles::default()
        };
        let found = Tokenizer::from_hf(files);
        let found = found.unwrap_or_else(|error| panic!("{error}: {}", self.shown()));
        found.expect("there")
    }

    fn shown(&self) -> String {
        let mut file: Value = serde_json::from_slice(&self.file).expect("json");
        file["model"]["vocab"] = Value::Null;
        file["model"]["merges"] = Value::Null;
        file.to_string()
    }
}

fn combinations() -> Vec<Combination> {
    let file: Value = serde_json::from_slice(COMBINATIONS).expect("json");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let combinations = list(&file["combinations"])
        .into_iter()
        .map(|mut combination| {
            let mut parts = combination.as_object_mut().expect("an object").clone();
            let mut take = |key: &str| parts.remove(key).expect(key);
            let mut model = file["models"][take("model").as_str().expect("a name")].clone();
            for (key, value) in take("options").as_object().expect("options") {
                model[key] = value.clone();
            }
            let texts = list(&take("texts"));
            let texts = texts.iter().map(|index| {
                let text = &file["texts"][index.as_u64().expect("an index") as usize];
                text.as_str().expect("text").to_string()
            });
            let expected = list(&take("expected"));
            let expected = expected.iter().map(|each| {
                let each: [Value; 4] = list(each).try_into().expect("four");
                each
            });
            let expected = texts.zip(expected).collect();
            parts.insert("model".to_string(), model);
            Combination {
                file: Value::Object(parts).to_string().into_bytes(),
                expected,
            }
        });
    combinations.collect()
}

fn encoded(tokenizer: &Tokenizer, text: &str) -> [Value; 3] {
    let plain = EncodeOptions::default();
    let special = plain.parse_special(true);
    [plain, special, special.add_special(true)].map(|options| {
        let ids = tokenizer.encode(text, options);
        json!(ids.expect("within bounds"))
    })
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("ids")
}

#[test]
fn every_combination_is_as_the_reference_has_it() {
    let combinations = combinations();
    assert!(combinations.len() >= 80);
    for combination in &combinations {
        let tokenizer = combination.tokenizer();
        for (text, expected) in &combination.expected {
            let found = encoded(&tokenizer, text);
            let pairs = found.iter().zip(expected);
            for (found, expected) in pairs.filter(|(_, expected)| !expected.is_null()) {
                assert_eq!(found, expected, "{text:?}: {}", combination.shown());
            }
            if let Some(back) = expected[3].as_str() {
                let found = tokenizer.decode_text(&ids(&expected[1]), DecodeOptions::default());
                assert_eq!(found, back, "{text:?} back: {}", combination.shown());
            }
        }
    }
}

/// Whatever GGUF's own keys can say: the file that is written tokenizes as what it was made of.
#[test]
fn through_gguf_they_stay_what_they_are() {
    for combination in combinations() {
        let tokenizer = combination.tokenizer();
        let mut written = tokenizer.to_gguf();
        if !written.is_exact {
            written.add_tokenizer_json(&combination.file);
        }
        let again = Tokenizer::from_gguf(&written.metadata);
        let again = again.unwrap_or_else(|error| panic!("{error}: {}", combination.shown()));
        let again = again.expect("a vocabulary");
        // Where nothing names them, GGUF has those of the template.
        for (again, before) in [
            (again.bos(), tokenizer.bos()),
            (again.eos(), tokenizer.eos()),
        ] {
            assert!(
                before.is_none() || again == before,
                "{}",
                combination.shown()
            );
        }
        assert_eq!(again.mask(), tokenizer.mask(), "{}", combination.shown());
        assert_eq!(again.end_tokens(), tokenizer.end_tokens());
        for (text, expected) in &combination.expected {
            let found = encoded(&again, text);
            assert_eq!(
                found,
                encoded(&tokenizer, text),
                "{text:?}: {}",
                combination.shown()
            );
            let body = ids(&expected[1]);
            let shown = |tokenizer: &Tokenizer| tokenizer.decode(&body, DecodeOptions::default());
            assert_eq!(
                shown(&again),
                shown(&tokenizer),
                "{text:?}: {}",
                combination.shown()
            );
        }
    }
}

/// Token by token it is the same text, and what is shown so far never changes.
#[test]
fn decoders_stream() {
    for combination in combinations() {
        let tokenizer = combination.tokenizer();
        for (_, expected) in &combination.expected {
            let body = ids(&expected[1]);
            let options = DecodeOptions::default();
            let whole = tokenizer.decode_text(&body, options);
            let mut decoder = tokenizer.decoder(options);
            let mut text = String::new();
            for &id in &body {
                decoder.push(id, &mut text);
                assert!(whole.starts_with(&text), "{whole:?} {text:?}");
            }
            decoder.finish(&mut text);
            assert_eq!(text, whole);
        }
    }
}
