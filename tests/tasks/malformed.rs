//! Files of sentence-transformers that are not as they should be: one line says what is wrong.

use super::{changed, folder, open, options};
use rillm::Model;
use rillm::tasks::{EmbedOptions, Embedder};

fn error(file: &str, content: &str) -> String {
    let copy = changed("embed", file, content);
    let model = Model::open(&copy, options()).unwrap_or_else(|error| panic!("{error}"));
    let error = Embedder::new(&model, EmbedOptions::default());
    let error = error.expect_err("malformed").to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn files_that_make_no_sense_are_named() {
    let module = |path: &str, kind: &str| {
        format!(
            r#"[{{"idx": 0, "path": "", "type": "x.Transformer"}}, {{"idx": 1, "path": "{path}", "type": "x.{kind}"}}]"#
        )
    };
    for (file, content, says) in [
        ("modules.json", "[", "modules.json: "),
        ("modules.json", "{}", "a list of modules"),
        ("modules.json", "[]", "no module Pooling"),
        (
            "modules.json",
            &module("1_Pooling", "WordWeights"),
            "WordWeights",
        ),
        (
            "modules.json",
            &module("../1_Pooling", "Pooling"),
            "there is no ../1_Pooling/config.json",
        ),
        (
            "modules.json",
            &module("/etc", "Pooling"),
            "there is no /etc/config.json",
        ),
        ("modules.json", &module("2_Dense", "Dense"), "Dense"),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode_sum": true}"#,
            "pooling_mode_sum",
        ),
        ("1_Pooling/config.json", r#"{"pooling_mode": "sum"}"#, "sum"),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode_mean_tokens": false}"#,
            "no way of pooling",
        ),
        (
            "2_Dense/config.json",
            r#"{"in_features": 31, "out_features": 20}"#,
            "in_features is 31",
        ),
        (
            "2_Dense/config.json",
            r#"{"in_features": 32, "out_features": 0}"#,
            "out_features",
        ),
        (
            "2_Dense/config.json",
            r#"{"in_features": 32, "out_features": 20, "activation_function": "os.system"}"#,
            "os.system",
        ),
        (
            "2_Dense/config.json",
            r#"{"in_features": 32, "out_features": 18446744073709551615}"#,
            "linear.bias",
        ),
        (
            "2_Dense/model.safetensors",
            "",
            "2_Dense/model.safetensors: ",
        ),
        (
            "sentence_bert_config.json",
            r#"{"max_seq_length": 0}"#,
            "max_seq_length",
        ),
        (
            "sentence_bert_config.json",
            r#"{"max_seq_length": "x"}"#,
            "max_seq_length",
        ),
        (
            "config_sentence_transformers.json",
            r#"{"prompts": {"query": 1}}"#,
            "query",
        ),
        (
            "config_sentence_transformers.json",
            r#"{"default_prompt_name": "x"}"#,
            "default_prompt_name",
        ),
        (
            "config_sentence_transformers.json",
            r#"{"similarity_fn_name": "x"}"#,
            "similarity_fn_name",
        ),
    ] {
        let error = error(file, content);
        assert!(error.contains(says), "{content}: {error}");
    }
}

#[test]
fn a_prompt_that_there_is_not_is_named() {
    let model = open(&folder("embed"));
    let passage = EmbedOptions::default().prompt_name("passage".to_string());
    let error = Embedder::new(&model, passage).unwrap_err().to_string();
    assert!(error.contains("document, query"), "{error}");
}
