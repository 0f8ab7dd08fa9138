//! Labels against transformers' pipelines.

use super::{assert_near, expected, folder, open, texts, with_keys};
use rillm::tasks::{
    Classifier, ClassifyOptions, LabelScore, ScoreFunction, ZeroShotClassifier, ZeroShotOptions,
};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

use crate::support::fixture::Fixture;

fn assert_labels(found: &[Vec<LabelScore>], expected: &Value, what: &str) {
    let expected = expected.as_array().expect("a list");
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let expected = expected.as_array().expect("labels");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.label, expected["label"].as_str().unwrap(), "{what}");
            assert_near(found.score, &expected["score"], what);
        }
    }
}

#[test]
fn labels_are_the_pipeline_s() {
    let expected = expected("classify");
    let texts = texts(&expected, "texts");
    let model = open(&folder("classify"));
    let labels = |options: ClassifyOptions| {
        let mut classifier = Classifier::new(&model, options).unwrap();
        classifier.classify(&texts).unwrap()
    };
    let plain = labels(ClassifyOptions::default());
    assert_labels(&plain, &expected["all"], "all");
    assert_labels(&plain, &expected["top"], "top");
    for name in ["sigmoid", "softmax", "none"] {
        let function: ScoreFunction = name.parse().unwrap();
        let found = labels(ClassifyOptions::default().function_to_apply(function));
        assert_labels(&found, &expected[name], name);
    }
    for kind in [
        "multi_label_classification",
        "regression",
        "single_label_classification",
    ] {
        let copy = with_keys("classify", "config.json", json!({ "problem_type": kind }));
        let mut said = Classifier::new(&open(&copy), ClassifyOptions::default()).unwrap();
        assert_labels(&said.classify(&texts).unwrap(), &expected[kind], kind);
    }
    let none = with_keys(
        "classify",
        "config.json",
        json!({ "id2label": null, "label2id": null }),
    );
    let none = Classifier::new(&open(&none), ClassifyOptions::default()).unwrap();
    assert_eq!(none.labels(), ["LABEL_0", "LABEL_1", "LABEL_2"]);
}

fn assert_zero_shot(found: &[Vec<LabelScore>], expected: &Value, what: &str) {
    let expected = expected.as_array().expect("a list");
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let labels = expected["labels"].as_array().expect("labels");
        assert_eq!(found.len(), labels.len(), "{what}");
        for (index, found) in found.iter().enumerate() {
            assert_eq!(found.label, labels[index].as_str().unwrap(), "{what}");
            assert_near(found.score, &expected["scores"][index], what);
        }
    }
}

#[test]
fn labels_of_one_s_own_are_the_pipeline_s() {
    let file = expected("embed");
    let expected = expected("classify");
    let candidates = texts(&expected, "candidates");
    let mut texts = texts(&file, "texts");
    texts.retain(|text| !text.is_empty());
    let model = open(&folder("classify"));
    let found = |options: ZeroShotOptions, candidates: &[String]| {
        let mut classifier = ZeroShotClassifier::new(&model, options).unwrap();
        classifier.classify(&texts, candidates).unwrap()
    };
    let plain = || ZeroShotOptions::default();
    assert_zero_shot(
        &found(plain(), &candidates),
        &expected["zero-shot"],
        "plain",
    );
    assert_zero_shot(
        &found(plain().multi_label(true), &candidates),
        &expected["multi-label"],
        "multi-label",
    );
    assert_zero_shot(
        &found(plain(), &candidates[..1]),
        &expected["one label"],
        "one label",
    );
    let template = expected["template"].as_str().unwrap();
    assert_zero_shot(
        &found(plain().hypothesis_template(template), &candidates),
        &expected["templated"],
        "template",
    );
}

/// BART's decoder reads a text once more, and says at its end what follows.
#[test]
fn an_encoder_decoder_judges_texts() {
    let expected = expected("judge");
    let (texts, candidates) = (texts(&expected, "texts"), texts(&expected, "candidates"));
    let model = open(&folder("judge"));
    let mut classifier = Classifier::new(&model, ClassifyOptions::default()).unwrap();
    let found = classifier.classify(&texts).unwrap();
    assert_labels(&found, &expected["all"], "all");
    for (multi_label, name) in [(false, "zero-shot"), (true, "multi-label")] {
        let options = ZeroShotOptions::default().multi_label(multi_label);
        let mut classifier = ZeroShotClassifier::new(&model, options).unwrap();
        let found = classifier.classify(&texts, &candidates).unwrap();
        assert_zero_shot(&found, &expected[name], name);
    }
}

#[test]
fn what_cannot_be_asked_is_named() {
    let none = with_keys(
        "classify",
        "config.json",
        json!({ "id2label": { "0": "a", "1": "b", "2": "c" } }),
    );
    let error = ZeroShotClassifier::new(&open(&none), ZeroShotOptions::default()).unwrap_err();
    assert!(error.to_string().contains("a, b, c"), "{error}");
    let model = open(&folder("classify"));
    let template = ZeroShotOptions::default().hypothesis_template("about sport");
    let error = ZeroShotClassifier::new(&model, template).unwrap_err();
    assert!(error.to_string().contains("{}"), "{error}");
    let error = Classifier::new(&open(&folder("embed")), ClassifyOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("logits for each text"),
        "{error}"
    );
}

/// XLNet ends a text with its separator and the token for its class, which has a type of its own.
#[test]
fn a_class_that_stands_last_has_a_type_of_its_own() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/xlnet.json");
    let expected: Value = serde_json::from_slice(&fs::read(data).unwrap()).unwrap();
    let fixture = Fixture::load(expected["fixture"].as_str().unwrap());
    let folder = fixture.folder();
    let tokenizer = expected["tokenizer"].to_string();
    fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    let texts = texts(&expected, "texts");
    let mut classifier = Classifier::new(&open(&folder), ClassifyOptions::default()).unwrap();
    let found = classifier.classify(&texts).unwrap();
    assert_labels(&found, &expected["labels"], "alone");

    let mut config = fixture.config();
    config["id2label"] = expected["id2label"].clone();
    config["label2id"] = Value::Null;
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let template = expected["template"].as_str().unwrap();
    let options = ZeroShotOptions::default().hypothesis_template(template);
    let mut judge = ZeroShotClassifier::new(&open(&folder), options).unwrap();
    let candidates = super::texts(&expected, "candidates");
    let found = judge.classify(&texts, &candidates).unwrap();
    assert_zero_shot(&found, &expected["zero_shot"], "in pairs");
}
