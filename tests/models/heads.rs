//! Which matrix makes the logits: the embedding or a head of its own.

use std::fs;

use rillm::error::LoadErrorKind;
use rillm::{LoadError, Model};
use rillm_formats::manifest::{DType, Shape};
use rillm_formats::safetensors::write::{TensorSpec, header};
use serde_json::{Value as Json, json};

use crate::support::evaluate::{all_outputs, check_all, open, open_bytes};
use crate::support::fixture::{Fixture, Weight};
use crate::support::folder::TempFolder;
use crate::support::to_gguf::Gguf;

/// The fixture with another `tie_word_embeddings` (null: none) and other weights.
fn altered(
    fixture: &Fixture,
    tied: Json,
    change: impl Fn(&mut Vec<Weight>),
) -> Result<Model, LoadError> {
    let mut config = fixture.config();
    config["tie_word_embeddings"] = tied;
    let mut weights = fixture.weights();
    change(&mut weights);
    let specs: Vec<TensorSpec> = weights
        .iter()
        .map(|weight| TensorSpec {
            name: weight.name.clone(),
            dtype: DType::F32,
            shape: Shape(weight.shape.clone()),
        })
        .collect();
    let mut bytes = header(&specs).unwrap();
    let values = weights.iter().flat_map(|weight| &weight.values);
    bytes.extend(values.flat_map(|value| value.to_le_bytes()));
    let folder = TempFolder::new("head");
    fs::write(folder.join("model.safetensors"), bytes).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    open(&folder)
}

/// A head that is the embedding with every value doubled.
fn doubled(weights: &mut Vec<Weight>) {
    let embedding = ["wte.weight", "embed_tokens.weight"];
    let found = weights
        .iter()
        .find(|weight| embedding.iter().any(|name| weight.name.ends_with(name)))
        .expect("an embedding");
    let head = Weight {
        name: "lm_head.weight".into(),
        shape: found.shape.clone(),
        values: found.values.iter().map(|value| 2.0 * value).collect(),
    };
    weights.retain(|weight| weight.name != head.name);
    weights.push(head);
}

/// transformers 5 uses a head that differs from the embedding, whatever the configuration says.
#[test]
fn a_head_that_differs_is_used() {
    for name in ["gpt2", "llama_tied"] {
        let fixture = Fixture::load(name);
        let plain = open(&fixture.folder()).unwrap();
        for tied in [json!(null), json!(true), json!(false)] {
            let model = altered(&fixture, tied, doubled).unwrap();
            assert_twice(&fixture, &model, &plain);
        }
    }
}

/// Panics unless each logit of `twice` is double that of `once`.
fn assert_twice(fixture: &Fixture, twice: &Model, once: &Model) {
    let (twice, once) = (all_outputs(fixture, twice), all_outputs(fixture, once));
    for (twice, once) in twice.iter().zip(&once) {
        let (twice, once) = (&twice["logits"].values, &once["logits"].values);
        let same = twice
            .iter()
            .zip(once)
            .all(|(twice, once)| *twice == 2.0 * once);
        assert!(same && twice.len() == once.len(), "{}", fixture.name);
    }
}

#[test]
fn a_class_that_does_not_tie_still_runs_without_a_stored_head() {
    let fixture = Fixture::load("llama_tied");
    check_all(&fixture, &altered(&fixture, json!(null), |_| ()).unwrap());
}

#[test]
fn a_head_that_should_be_stored_is_missed() {
    for name in ["gpt2", "llama_tied"] {
        let fixture = Fixture::load(name);
        let error = altered(&fixture, json!(false), |_| ()).unwrap_err();
        assert_eq!(error.kind(), LoadErrorKind::Tensor, "{error}");
        assert!(error.to_string().contains("lm_head.weight"), "{error}");
    }
    let fixture = Fixture::load("llama");
    let error = altered(&fixture, json!("no"), |_| ()).unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::Hyperparameter, "{error}");
    assert!(error.to_string().contains("tie_word_embeddings"), "{error}");
}

/// GGUF has no key: a head is there if and only if it is another matrix.
#[test]
fn gguf_uses_the_head_that_it_holds() {
    let fixture = Fixture::load("gpt2");
    let mut gguf = Gguf::of(&fixture);
    let mut head = gguf.tensors["token_embd.weight"].clone();
    head.values.iter_mut().for_each(|value| *value *= 2.0);
    gguf.tensors.insert("output.weight".into(), head);
    let model = open_bytes(gguf.bytes()).unwrap();
    let plain = open_bytes(Gguf::of(&fixture).bytes()).unwrap();
    assert_twice(&fixture, &model, &plain);
}
