//! Hugging Face configurations that are fine, flattened.

mod malformed;

use rillm_formats::hf_config;
use rillm_formats::manifest::{Array, Blank, Metadata, MetadataValue, Strings};

use crate::support::CONFIG;

fn strings(texts: &[&str]) -> MetadataValue {
    let mut strings = Strings::default();
    for text in texts {
        strings.push(text.as_bytes());
    }
    MetadataValue::Array(Array::String(strings))
}

fn sample() -> Vec<(&'static str, MetadataValue)> {
    vec![
        ("architectures", strings(&["LlamaForCausalLM"])),
        ("model_type", MetadataValue::String("llama".into())),
        ("hidden_size", MetadataValue::U64(64)),
        ("rms_norm_eps", MetadataValue::F64(1e-5)),
        ("tie_word_embeddings", MetadataValue::Bool(false)),
        ("offset", MetadataValue::I64(-3)),
        ("layer_types", strings(&["full", "sliding"])),
        (
            "time_step_limit",
            MetadataValue::Array(Array::F64(vec![0.0, f64::INFINITY])),
        ),
        ("mlp_only_layers", MetadataValue::Array(Array::I64(vec![]))),
        ("eos_token_id", MetadataValue::Array(Array::I64(vec![1, 2]))),
        (
            "rope_scaling.rope_type",
            MetadataValue::String("llama3".into()),
        ),
        ("rope_scaling.factor", MetadataValue::F64(8.0)),
        ("rope_scaling.deep.er", MetadataValue::Bool(true)),
        ("mixed.0", MetadataValue::U64(1)),
        ("mixed.2", MetadataValue::String("x".into())),
        ("mixed.3.k", MetadataValue::U64(5)),
        ("mixed.4", MetadataValue::Array(Array::I64(vec![6, 7]))),
    ]
}

#[test]
fn every_kind_of_value_is_flattened() {
    let config = hf_config::parse(CONFIG.as_bytes()).expect("valid");
    assert_eq!(config.model_type.as_deref(), Some("llama"));
    let expected = sample()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    assert_eq!(config.metadata, Metadata(expected.collect()));
}

#[test]
fn generation_settings_come_under_their_own_prefix() {
    let mut config = hf_config::parse(br#"{"eos_token_id": 1}"#).expect("valid");
    assert_eq!(config.model_type, None);
    let generation = br#"{"eos_token_id": [2, 3], "temperature": 0.6}"#;
    hf_config::parse_generation(generation, &mut config.metadata).expect("valid");
    assert_eq!(config.metadata.u64("eos_token_id"), Some(1));
    let ids = config
        .metadata
        .array("generation.eos_token_id")
        .expect("there");
    assert_eq!(
        (ids.u64(0), ids.u64(1), ids.u64(2)),
        (Some(2), Some(3), None)
    );
    assert_eq!(config.metadata.f64("generation.temperature"), Some(0.6));
}

fn parsed(text: &str) -> Metadata {
    let config = hf_config::parse(text.as_bytes());
    config
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .metadata
}

#[test]
fn arrays_find_the_type_that_holds_them() {
    let array = |text: &str| match parsed(&format!("{{\"a\":{text}}}")).0.remove("a") {
        Some(MetadataValue::Array(array)) => array,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(array("[1, -2]"), Array::I64(vec![1, -2]));
    assert_eq!(array("[1, 2.5, 3]"), Array::F64(vec![1.0, 2.5, 3.0]));
    assert_eq!(array("[2.5, 3]"), Array::F64(vec![2.5, 3.0]));
    assert_eq!(
        array("[1, 18446744073709551615]"),
        Array::F64(vec![1.0, 18446744073709551615.0])
    );
    assert_eq!(array("[false, true]"), Array::Bool(vec![false, true]));
    let nested = parsed(r#"{"a": [[1, 2], [], [[true]]], "b": [null, 5], "c": [{"d": {"e": 1}}]}"#);
    let keys: Vec<&str> = nested.0.keys().map(String::as_str).collect();
    assert_eq!(keys, ["a.0", "a.1", "a.2.0", "b.1", "c.0.d.e"]);
}

#[test]
fn large_numbers_become_floats() {
    let metadata = parsed(r#"{"a": 18446744073709551615, "b": 1000000000000000019884624838656}"#);
    assert_eq!(metadata.u64("a"), Some(u64::MAX));
    assert_eq!(metadata.f64("b"), Some(1e30));
}

#[test]
fn numbers_that_only_python_writes() {
    let metadata = parsed(r#"{"a": -Infinity, "b": [NaN, 1], "c": "Infinity, \"NaN", "d": "\\"}"#);
    assert_eq!(metadata.f64("a"), Some(f64::NEG_INFINITY));
    let b = metadata.array("b").expect("there");
    assert!(b.f64(0).expect("there").is_nan());
    assert_eq!(b.f64(1), Some(1.0));
    assert_eq!(metadata.str("c"), Some("Infinity, \"NaN"));
    assert_eq!(metadata.str("d"), Some("\\"));
    for text in [r#"{"a": Infinite}"#, r#"{NaN: 1}"#, r#"{"a": --Infinity}"#] {
        assert!(hf_config::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn numbers_as_transformers_5_writes_them() {
    let metadata = parsed(
        r#"{"a": {"__float__": "-Infinity"}, "b": [0.0, {"__float__": "Infinity"}], "c": {"__float__": "12"}}"#,
    );
    assert_eq!(metadata.f64("a"), Some(f64::NEG_INFINITY));
    let both = Array::F64(vec![0.0, f64::INFINITY]);
    assert_eq!(metadata.value("b"), Some(&MetadataValue::Array(both)));
    assert_eq!(metadata.str("c.__float__"), Some("12"));
    for text in [
        r#"{"a": {"__float__": "NaN", "b": 1}}"#,
        r#"{"a": {"__float__": "NaN", "__float__": "NaN"}}"#,
    ] {
        assert!(hf_config::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn what_is_there_without_a_value_is_told() {
    let text =
        r#"{"a": null, "b": {}, "c": {"d": null, "e": {"f": {}}}, "g": [null, {}], "h": []}"#;
    let config = hf_config::parse(text.as_bytes()).expect("valid");
    let blanks = config
        .blanks
        .iter()
        .map(|(key, blank)| (key.as_str(), *blank));
    let blanks: Vec<(&str, Blank)> = blanks.collect();
    let (null, object) = (Blank::Null, Blank::Object);
    assert_eq!(
        blanks,
        [
            ("a", null),
            ("b", object),
            ("c.d", null),
            ("c.e.f", object),
            ("g.0", null),
            ("g.1", object)
        ]
    );
    let keys: Vec<&String> = config.metadata.0.keys().collect();
    assert_eq!(keys, ["h"]);
    for twice in [
        r#"{"a": null, "a": 1}"#,
        r#"{"a": 1, "a": {}}"#,
        r#"{"a.b": 1, "a": {"b": null}}"#,
    ] {
        assert!(hf_config::parse(twice.as_bytes()).is_err(), "{twice}");
    }
}
