//! Vectors against sentence-transformers'.

use super::{TOLERANCE, changed, expected, folder, numbers, open, options, texts};
use rillm::Model;
use rillm::tasks::{EmbedOptions, Embedder, Pooling};
use serde_json::{Value, json};
use std::path::Path;

fn embedder(model: &Model, asked: EmbedOptions) -> Embedder {
    Embedder::new(model, asked).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn assert_vectors(found: &[Vec<f32>], expected: &Value, what: &str) {
    let expected: Vec<Vec<f64>> = expected
        .as_array()
        .expect("vectors")
        .iter()
        .map(numbers)
        .collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}: text {index}");
        let square: f64 = expected.iter().map(|x| x * x).sum();
        let scale = (square / expected.len() as f64).sqrt();
        for (found, expected) in found.iter().zip(expected) {
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error <= TOLERANCE * scale,
                "{what}: text {index}: {found}, expected {expected}, scale {scale}"
            );
        }
    }
}

#[test]
fn vectors_are_sentence_transformers() {
    let expected = expected("embed");
    let texts = texts(&expected, "texts");
    let model = open(&folder("embed"));
    let mut plain = embedder(&model, EmbedOptions::default());
    assert_eq!((plain.dimensions(), plain.max_seq_length()), (20, 24));
    assert_vectors(&plain.encode(&texts).unwrap(), &expected["plain"], "plain");
    assert_eq!(plain.truncated(), 2);
    let query = plain.encode_query(&texts).unwrap();
    assert_vectors(&query, &expected["query"], "query");
    let document = plain.encode_document(&texts).unwrap();
    assert_vectors(&document, &expected["document"], "document");
    let named = EmbedOptions::default().prompt_name("query".to_string());
    let named = embedder(&model, named).encode(&texts).unwrap();
    assert_eq!(named, query);
    let prompt = EmbedOptions::default().prompt("is ".to_string());
    let prompt = embedder(&model, prompt).encode(&texts).unwrap();
    assert_vectors(&prompt, &expected["prompt"], "prompt");
    let short = EmbedOptions::default()
        .truncate_dim(7)
        .normalize_embeddings(true);
    let mut short = embedder(&model, short);
    assert_eq!(short.dimensions(), 7);
    assert_vectors(
        &short.encode(&texts).unwrap(),
        &expected["truncate_dim"],
        "truncate_dim",
    );
}

#[test]
fn every_way_of_pooling_is_sentence_transformers() {
    let expected = expected("embed");
    let texts = texts(&expected, "texts");
    let modules: Value =
        serde_json::from_slice(&std::fs::read(folder("embed").join("modules.json")).unwrap())
            .unwrap();
    let modules = json!([modules[0], modules[1]]).to_string();
    for (name, expected) in expected["poolings"].as_object().expect("ways of pooling") {
        let copy = changed("embed", "modules.json", &modules);
        let mut config = json!({ "word_embedding_dimension": 32 });
        for pooling in Pooling::ALL {
            let key = match pooling {
                Pooling::Cls => "pooling_mode_cls_token",
                Pooling::LastToken => "pooling_mode_lasttoken",
                Pooling::MeanSqrtLen => "pooling_mode_mean_sqrt_len_tokens",
                other => &format!("pooling_mode_{}_tokens", other.name()),
            };
            let asked = match name.as_str() {
                "cls and mean" => matches!(pooling, Pooling::Cls | Pooling::Mean),
                name => name.split(' ').next() == Some(pooling.name()),
            };
            config[key] = json!(asked);
        }
        config["include_prompt"] = json!(!name.ends_with("without prompt"));
        std::fs::write(copy.join("1_Pooling/config.json"), config.to_string()).unwrap();
        let model = open_copy(&copy);
        let found = embedder(&model, EmbedOptions::default()).encode_query(&texts);
        assert_vectors(&found.unwrap(), expected, name);
    }
}

fn open_copy(path: &Path) -> Model {
    Model::open(path, options()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_model_that_was_trained_to_fill_masks_embeds_as_well() {
    let path = folder("fill-mask");
    let with_head = open_copy(&path);
    let error = Embedder::new(&with_head, EmbedOptions::default()).unwrap_err();
    assert!(error.to_string().contains("last_hidden_state"), "{error}");
    let model = Model::open(&path, options().headless(true)).unwrap();
    let vectors = embedder(&model, EmbedOptions::default()).encode(&["the king"]);
    assert_eq!(vectors.unwrap()[0].len(), 32);
}
