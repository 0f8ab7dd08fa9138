//! Parts of `tokenizer.json` where its readers could differ: small files, and what `tokenizers` 0.23
//! makes of each text.

use rillm_formats::tokenizer::{EncodeOptions, HfFiles, Tokenizer};
use serde_json::{Value, json};

/// A file of these parts whose model knows the words `x` and `y`.
fn words(parts: &Value, text: &str) -> Vec<u32> {
    let vocabulary = json!({"<unk>": 0, "x": 1, "y": 2});
    let model = json!({"type": "WordLevel", "unk_token": "<unk>", "vocab": vocabulary});
    encoded(parts, model, text)
}

/// What becomes of a text before its words are looked for: the model has all bytes, and no others.
fn normalized(normalizer: &Value, text: &str) -> Vec<u8> {
    let bytes = (0u32..256).map(|byte| (format!("<0x{byte:02X}>"), json!(byte)));
    let vocabulary = Value::Object(bytes.collect());
    let model = json!({"type": "BPE", "byte_fallback": true, "vocab": vocabulary, "merges": []});
    let ids = encoded(&json!({ "normalizer": normalizer }), model, text);
    ids.into_iter().map(|id| id as u8).collect()
}

fn encoded(parts: &Value, model: Value, text: &str) -> Vec<u32> {
    let mut file = parts.clone();
    file["model"] = model;
    let file = file.to_string().into_bytes();
    let files = HfFiles {
        tokenizer_json: Some(&file),
        ..HfFiles::default()
    };
    let tokenizer = Tokenizer::from_hf(files).expect("valid").expect("there");
    let options = EncodeOptions::default().parse_special(true);
    tokenizer.encode(text, options).expect("within bounds")
}

fn added(id: u32, content: &str, flags: &str) -> Value {
    let has = |flag: char| flags.contains(flag);
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": has('l'), "rstrip": has('r'),
        "normalized": has('n'), "special": has('s'),
    })
}

#[test]
fn white_space_that_a_token_took_is_no_token_that_takes_it_too() {
    let ids = |tokens: &[Value], text: &str| words(&json!({ "added_tokens": tokens }), text);
    let line = [added(3, "\n", "lr")];
    assert_eq!(ids(&line, "\n\n\n"), [3]);
    assert_eq!(ids(&line, "x\n\nx"), [1, 3, 1]);
    let space = [added(3, " ", "lr")];
    assert_eq!(ids(&space, "   x  "), [3, 1, 3]);
    assert_eq!(ids(&[added(3, "  ", "lr")], "     x"), [3, 1]);
    assert_eq!(ids(&[added(3, "\n", "l"), added(4, "L", "r")], "L\n"), [4]);
    // Those that do not look to their left are found in it all the same.
    let plain = [added(3, "\n", ""), added(4, "L", "r")];
    assert_eq!(ids(&plain, "L\n\nx"), [4, 3, 3, 1]);
    assert_eq!(ids(&plain, "L \n  x"), [4, 3, 0]);
    let right = [added(3, "\n", "r"), added(4, "L", "r")];
    assert_eq!(ids(&right, "L\n\nx"), [4, 3, 3, 1]);
}

#[test]
fn of_tokens_that_normalization_makes_the_same_the_first_special_one_counts() {
    let ids = |tokens: [Value; 2]| {
        let normalizer = json!({"type": "Lowercase"});
        let parts = json!({"added_tokens": tokens, "normalizer": normalizer});
        words(&parts, "Foo foo FOO")
    };
    let first = [3, 0, 3, 0, 3];
    assert_eq!(ids([added(3, "Foo", "n"), added(4, "foo", "n")]), first);
    assert_eq!(ids([added(3, "foo", "n"), added(4, "Foo", "n")]), first);
    assert_eq!(ids([added(3, "foo", "ns"), added(4, "Foo", "n")]), first);
    let second = [4, 0, 4, 0, 4];
    assert_eq!(ids([added(3, "Foo", "n"), added(4, "foo", "ns")]), second);
}

#[test]
fn bert_keeps_what_unicode_has_not_assigned() {
    let cleaned = |text: &str| {
        let parts = json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": false,
            "strip_accents": false, "lowercase": false,
        });
        String::from_utf8(normalized(&parts, text)).expect("text")
    };
    for kept in ["a\u{378}b", "\u{fdd0}", "\u{2065}", "\u{10ffff}b"] {
        assert_eq!(cleaned(kept), kept);
    }
    for dropped in [
        "\u{1}",
        "\u{ad}",
        "\u{200b}",
        "\u{e000}",
        "\u{f0000}",
        "\u{10fffd}",
    ] {
        assert_eq!(cleaned(&["a", dropped, "b"].concat()), "ab", "{dropped:?}");
    }
}

#[test]
fn nothing_is_also_at_the_end_of_a_text() {
    let dashed = |text: &str| {
        let parts = json!({"type": "Replace", "pattern": {"String": ""}, "content": "-"});
        String::from_utf8(normalized(&parts, text)).expect("text")
    };
    assert_eq!(dashed("ab"), "-a-b-");
    assert_eq!(dashed("é"), "-é-");
    assert_eq!(dashed(""), "");
}

#[test]
fn a_class_may_begin_with_its_bracket() {
    let lengths = |regex: &str| {
        let split = json!({
            "type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false,
        });
        words(&json!({ "pre_tokenizer": split }), "x]ab]]^-c").len()
    };
    // ["x", "]", "a", "b", "]", "]", "^-c"] and so on.
    assert_eq!(lengths("[]a]"), 7);
    assert_eq!(lengths("[^]a]"), 7);
    assert_eq!(lengths("[]]"), 6);
    assert_eq!(lengths("[]-a]"), 8);
}
