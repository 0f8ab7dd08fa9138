//! Hostile and broken configurations: each is refused in one line that names what is wrong, and
//! nothing ever panics.

use rillm_formats::ErrorKind::{self, *};
use rillm_formats::hf_config;
use rillm_formats::manifest::Metadata;

use crate::support::{CONFIG, expect, walk};

#[track_caller]
fn config_refused(text: &str, kind: ErrorKind, words: &[&str]) {
    let error = hf_config::parse(text.as_bytes()).expect_err("accepted");
    expect(error, kind, words);
    let error = hf_config::parse_generation(text.as_bytes(), &mut Metadata::default());
    // Only the first cares for `model_type`.
    if !text.contains("model_type") {
        assert_eq!(error.expect_err("accepted").kind(), kind);
    }
}

#[test]
fn configurations_that_are_no_object() {
    config_refused("", Truncated, &["config.json"]);
    config_refused("5", Type, &["object"]);
    config_refused("[{}]", Type, &["object"]);
    config_refused("null", Type, &["object"]);
    config_refused("NaN", Type, &["object"]);
    config_refused("{} {}", Syntax, &["trailing", "byte 3"]);
    config_refused("{\n \"a\": 1,\n}", Syntax, &["trailing comma", "byte 11"]);
}

#[test]
fn configurations_nested_into_a_bomb() {
    let objects = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(hf_config::parse(objects(16).as_bytes()).is_ok());
    config_refused(&objects(17), Limit, &["\"a.a.a", "deeper than 16"]);
    config_refused(&objects(100_000), Limit, &["deeper than 16"]);
    let arrays = format!("{{\"a\":{}", "[".repeat(100_000));
    config_refused(&arrays, Limit, &["\"a.0.0", "deeper than 16"]);
}

#[test]
fn numbers_beyond_every_float() {
    config_refused(r#"{"a": 1e999}"#, Syntax, &["number out of range", "byte"]);
    config_refused(r#"{"a": [0.5, -1e400]}"#, Syntax, &["number out of range"]);
    let digits = format!(r#"{{"a": {}}}"#, "9".repeat(1000));
    config_refused(&digits, Syntax, &["number out of range"]);
}

#[test]
fn configuration_keys_twice_or_empty() {
    config_refused(r#"{"a":1,"a":2}"#, Duplicate, &["\"a\"", "twice"]);
    config_refused(r#"{"a.b":1,"a":{"b":2}}"#, Duplicate, &["\"a.b\"", "twice"]);
    config_refused(r#"{"a":{"":1}}"#, Value, &["empty key", "\"a\""]);
}

#[test]
fn configuration_types_confused() {
    config_refused(
        r#"{"model_type":5}"#,
        Type,
        &["model_type", "a u64", "a string"],
    );
    config_refused(
        r#"{"model_type":["llama"]}"#,
        Type,
        &["model_type", "an array"],
    );
}

#[test]
fn paths_that_multiply_the_file() {
    let key = "k".repeat(60_000);
    let leaves: Vec<String> = (0..10_000).map(|leaf| format!("\"{leaf}\":1")).collect();
    let text = format!("{{\"{key}\":{{{}}}}}", leaves.join(","));
    config_refused(
        &text,
        Limit,
        &["\"kkk", "more memory than 32 times the file"],
    );
}

#[test]
fn configurations_truncated_or_flipped() {
    for len in 0..CONFIG.len() {
        assert!(!walk::hf_config(&CONFIG.as_bytes()[..len]), "{len}");
    }
    let mut bytes = CONFIG.as_bytes().to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            walk::hf_config(&bytes);
            bytes[at] ^= 1 << bit;
        }
    }
}
