//! Files of sentence-transformers that are not as they should be: one line says what is wrong.

use super::{changed, folder, open, options, with_keys};
use rillm::Model;
use rillm::tasks::{Classifier, ClassifyOptions, EmbedOptions, Embedder, RerankOptions, Reranker};
use serde_json::json;

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
        ("modules.json", "[5]", "module 0 is 5"),
        (
            "modules.json",
            r#"[{"path": 5, "type": "x.Transformer"}]"#,
            "modules.json: path is 5",
        ),
        (
            "modules.json",
            r#"[{"path": "1_Pooling", "type": "x.Pooling"}]"#,
            "expected a Transformer",
        ),
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
            "1_Pooling/config.json",
            r#"{"pooling_mode_mean_tokens": "x"}"#,
            "1_Pooling/config.json: pooling_mode_mean_tokens is \"x\"",
        ),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode": 5}"#,
            "pooling_mode is 5",
        ),
        ("1_Pooling/config.json", r#"{"foo": 1}"#, "\"foo\""),
        (
            "1_Pooling/config.json",
            r#"{"word_embedding_dimension": -1}"#,
            "word_embedding_dimension is -1",
        ),
        (
            "1_Pooling/config.json",
            r#"{"word_embedding_dimension": 33}"#,
            "gives 32 values",
        ),
        (
            "1_Pooling/config.json",
            r#"{"include_prompt": "x"}"#,
            "include_prompt is \"x\"",
        ),
        (
            "1_Pooling/config.json",
            r#"{"include_prompt": true, "include_prompt": false}"#,
            "\"include_prompt\" appears twice",
        ),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode": ["mean", 5]}"#,
            "pooling_mode is [\"mean\",5], expected a text or a list",
        ),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode": []}"#,
            "no way of pooling",
        ),
        (
            "2_Dense/config.json",
            r#"{"in_features": 32, "out_features": 20, "module_input_name": "token_embeddings"}"#,
            "module_input_name is \"token_embeddings\"",
        ),
        (
            "2_Dense/config.json",
            r#"{"in_features": 32, "out_features": 20, "use_residual": true}"#,
            "tensor residual.weight is missing",
        ),
        (
            "3_Normalize/config.json",
            r#"{"module_output_name": "x"}"#,
            "3_Normalize/config.json: module_output_name is \"x\"",
        ),
        (
            "sentence_bert_config.json",
            r#"{"transformer_task": "fill-mask"}"#,
            "transformer_task is \"fill-mask\"",
        ),
        (
            "sentence_bert_config.json",
            r#"{"processing_kwargs": {"text": {"max_length": 8}}}"#,
            "processing_kwargs",
        ),
        (
            "sentence_bert_config.json",
            r#"{"query_length": 8}"#,
            "query_length is 8",
        ),
        (
            "config_sentence_transformers.json",
            r#"{"truncate_dim": 0}"#,
            "truncate_dim is 0",
        ),
        (
            "config_sentence_transformers.json",
            r#"{"truncate_dim": 21}"#,
            "config_sentence_transformers.json: truncate_dim is 21, expected 1 to 20",
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
            r#"{"in_features": 32, "out_features": 20, "activation_function": 5}"#,
            "activation_function is 5",
        ),
        (
            "2_Dense/config.json",
            r#"{"in_features": 32, "out_features": 20, "bias": 5}"#,
            "bias is 5",
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
            "sentence_bert_config.json: max_seq_length is \"x\"",
        ),
        (
            "sentence_bert_config.json",
            r#"{"do_lower_case": "x"}"#,
            "do_lower_case is \"x\"",
        ),
        (
            "config_sentence_transformers.json",
            r#"{"prompts": {"query": 1}}"#,
            "query",
        ),
        (
            "config_sentence_transformers.json",
            r#"{"prompts": []}"#,
            "prompts is []",
        ),
        (
            "config_sentence_transformers.json",
            r#"{"default_prompt_name": 5}"#,
            "default_prompt_name is 5",
        ),
        (
            "config_sentence_transformers.json",
            r#"{"similarity_fn_name": 5}"#,
            "similarity_fn_name is 5",
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

#[test]
fn dimensions_that_there_are_not_cannot_be_kept() {
    let model = open(&folder("embed"));
    for kept in [0, 21] {
        let short = EmbedOptions::default().truncate_dim(kept);
        let error = Embedder::new(&model, short).unwrap_err().to_string();
        assert_eq!(error, format!("truncate_dim is {kept}, expected 1 to 20"));
    }
}

#[test]
fn what_becomes_of_logits_is_known_or_refused() {
    for (keys, says) in [
        (
            json!({"problem_type": "ranking"}),
            "problem_type \"ranking\"",
        ),
        (json!({"problem_type": 5}), "problem_type is "),
        (
            json!({"id2label": {"0": 5, "1": "b", "2": "c"}}),
            "id2label.0 is ",
        ),
    ] {
        let copy = with_keys("classify", "config.json", keys);
        let error = Classifier::new(&open(&copy), ClassifyOptions::default());
        let error = error.expect_err("malformed").to_string();
        assert!(error.contains(says), "{error}");
    }
    for key in [
        "sentence_transformers",
        "sbert_ce_default_activation_function",
    ] {
        let function = match key {
            "sentence_transformers" => json!({"activation_fn": 5}),
            _ => json!(5),
        };
        let copy = with_keys("rerank", "config.json", json!({ key: function }));
        let error = Reranker::new(&open(&copy), RerankOptions::default());
        let error = error.expect_err("malformed").to_string();
        assert!(error.contains(key) && error.contains("a text"), "{error}");
    }
}
