//! What newer references write and know (`tools/tasks/newer.py`).

use super::embed::assert_vectors;
use super::tag::tagged;
use super::{assert_near, copy_into, folder, open, texts};
use crate::support::folder::TempFolder;
use rillm::tasks::{
    AggregationStrategy, Classifier, ClassifyOptions, EmbedOptions, Embedder, RerankOptions,
    Reranker, TagOptions, ZeroShotClassifier, ZeroShotOptions,
};
use serde_json::Value;
use std::fs;

fn expected() -> Value {
    let text = fs::read(folder("newer.json")).expect("what was expected");
    serde_json::from_slice(&text).expect("JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().expect("a list")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().expect("a text")
}

/// A copy of a model's folder with a case's files in it.
fn written(name: &str, case: &Value) -> TempFolder {
    let copy = TempFolder::new("newer");
    copy_into(&folder(name), &copy);
    for (file, content) in case["files"].as_object().expect("files") {
        let path = copy.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        match content.as_str() {
            Some(other) => fs::copy(folder(other), path).map(|_| ()),
            None => fs::write(path, content.to_string()),
        }
        .expect("a file");
    }
    copy
}

#[test]
fn vectors_go_through_what_the_files_say() {
    let expected = expected();
    let texts = texts(&expected, "texts");
    for case in list(&expected, "embed") {
        let name = text(case, "name");
        let model = rillm::Model::open(&*written("embed", case), super::options());
        let mut embedder = Embedder::new(&model.unwrap(), EmbedOptions::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = embedder.encode(&texts).unwrap();
        assert_eq!(embedder.dimensions(), found[0].len(), "{name}");
        assert_vectors(&found, &case["vectors"], name);
    }
}

/// As sentence-transformers saved models before its version 1.
#[test]
fn a_model_in_a_folder_of_its_own_is_found() {
    let expected = super::expected("embed");
    let texts = texts(&expected, "texts");
    let around = TempFolder::new("apart");
    copy_into(&folder("embed"), &around);
    let model = around.join("0_Transformer");
    fs::create_dir(&model).unwrap();
    for name in [
        "config.json",
        "model.safetensors",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        fs::rename(around.join(name), model.join(name)).unwrap();
    }
    let modules = fs::read_to_string(around.join("modules.json")).unwrap();
    let modules = modules.replacen("\"path\": \"\"", "\"path\": \"0_Transformer\"", 1);
    fs::write(around.join("modules.json"), modules).unwrap();
    let apart = TempFolder::new("apart");
    let file = apart.join("model.gguf");
    super::written(&around, "f32", &file);
    for path in [&*around, &file] {
        let options = super::options().headless(true);
        let model = rillm::Model::open(path, options).unwrap_or_else(|error| panic!("{error}"));
        let mut embedder = Embedder::new(&model, EmbedOptions::default()).unwrap();
        assert_eq!((embedder.dimensions(), embedder.max_seq_length()), (20, 24));
        let found = embedder.encode(&texts).unwrap();
        assert_vectors(&found, &expected["plain"], &path.display().to_string());
    }
}

#[test]
fn pairs_are_scored_as_the_files_say() {
    let expected = expected();
    let texts = texts(&expected, "texts");
    let pairs = texts
        .iter()
        .map(|text| ("Where is the queen?", text.as_str()));
    let pairs: Vec<(&str, &str)> = pairs.collect();
    for case in list(&expected, "rerank") {
        let model = open(&written("rerank", case));
        let mut reranker = Reranker::new(&model, RerankOptions::default()).unwrap();
        let found = reranker.predict(&pairs).unwrap();
        assert_eq!(found.len(), list(case, "scores").len());
        for (found, expected) in found.iter().zip(list(case, "scores")) {
            assert_near(*found, expected, text(case, "name"));
        }
    }
}

#[test]
fn labels_of_pairs_are_the_pipeline_s() {
    let expected = expected();
    let (texts, expected) = (texts(&expected, "texts"), &expected["classify"]);
    let others = super::texts(expected, "others");
    let pairs: Vec<(&String, &String)> = texts.iter().zip(&others).collect();
    let model = open(&folder("classify"));
    let mut classifier = Classifier::new(&model, ClassifyOptions::default()).unwrap();
    let found = classifier.classify_pairs(&pairs).unwrap();
    for (found, expected) in found.iter().zip(list(expected, "pairs")) {
        let expected = expected.as_array().expect("labels");
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.label, text(expected, "label"));
            assert_near(found.score, &expected["score"], "pair");
        }
    }
    let options = ZeroShotOptions::default().hypothesis_template(text(expected, "template"));
    let mut classifier = ZeroShotClassifier::new(&model, options).unwrap();
    let candidates = super::texts(expected, "candidates");
    let texts = [&texts[0], &texts[2], &texts[3]];
    let found = classifier.classify(&texts, &candidates).unwrap();
    for (found, expected) in found.iter().zip(list(expected, "zero-shot")) {
        let labels: Vec<&str> = found.iter().map(|one| one.label.as_str()).collect();
        assert_eq!(labels, super::texts(expected, "labels"));
        for (found, expected) in found.iter().zip(list(expected, "scores")) {
            assert_near(found.score, expected, "template");
        }
    }
    for template in ["{} and {}", "about", "{label}", "{", "} {}", "{}é{"] {
        let options = ZeroShotOptions::default().hypothesis_template(template);
        let error = ZeroShotClassifier::new(&model, options).unwrap_err();
        assert!(error.to_string().contains("hypothesis_template"), "{error}");
    }
}

/// What of a word does not depend on how its parts were put together: the pipeline decodes each by
/// itself, which loses spaces, and breaks letters of several bytes.
fn comparable(word: &str) -> Option<String> {
    let bare = word.chars().filter(|c| !c.is_whitespace()).collect();
    Some(bare).filter(|_| !word.contains('\u{fffd}'))
}

#[test]
fn entities_of_bytes_and_of_pieces_are_the_pipeline_s() {
    let expected = expected();
    let texts = texts(&expected, "tagged");
    for case in list(&expected, "tag") {
        let model = open(&folder(text(case, "name")));
        for strategy in AggregationStrategy::ALL {
            let what = format!("{} {strategy}", text(case, "name"));
            let options = TagOptions::default().aggregation_strategy(strategy);
            let found = tagged(&model, &texts, options);
            let both = found.iter().zip(list(case, strategy.name())).zip(&texts);
            for ((found, expected), whole) in both {
                let expected = expected.as_array().expect("entities");
                assert_eq!(found.len(), expected.len(), "{what}: {whole:?}");
                for (found, expected) in found.iter().zip(expected) {
                    let byte = |key| super::tag::byte(whole, &expected[key]);
                    assert_eq!(found.entity, text(expected, "entity"), "{what}: {whole:?}");
                    let place = (byte("start"), byte("end"));
                    assert_eq!((found.start, found.end), place, "{what}: {found:?}");
                    assert_near(found.score, &expected["score"], &what);
                    let word = text(expected, "word");
                    if let Some(word) = comparable(word) {
                        assert_eq!(comparable(&found.word), Some(word), "{what}: {whole:?}");
                    }
                }
            }
        }
    }
}
