//! Vectors and scores of decoders against transformers', with what sentence-transformers and the authors
//! of Qwen3-Reranker do around them.

use super::embed::assert_vectors;
use super::{assert_near, changed, copy_into, expected, folder, open, options, texts};
use crate::support::evaluate::{evaluate, runnable};
use crate::support::folder::TempFolder;
use rillm::Model;
use rillm::internals::eval::Cut;
use rillm::tasks::{EmbedOptions, Embedder, Pooling, RerankOptions, Reranker};
use serde_json::json;
use std::fs;
use std::path::Path;

fn headless(path: &Path) -> Model {
    Model::open(path, options().headless(true)).unwrap_or_else(|error| panic!("{error}"))
}

fn assert_embeds(name: &str, model: &Model) {
    let expected = expected(name);
    let texts = texts(&expected, "texts");
    let mut embedder = Embedder::new(model, EmbedOptions::default()).unwrap();
    let found = embedder.encode(&texts).unwrap();
    assert_vectors(&found, &expected["plain"], "plain");
    let found = embedder.encode_query(&texts).unwrap();
    assert_vectors(&found, &expected["query"], "query");
    let found = embedder.encode_document(&texts).unwrap();
    assert_vectors(&found, &expected["document"], "document");
    // One by one as all at once, to the bit.
    let alone = texts
        .iter()
        .map(|text| embedder.encode_document(&[text]).unwrap().remove(0));
    assert_eq!(alone.collect::<Vec<_>>(), found);
}

#[test]
fn last_tokens_of_a_decoder_are_vectors() {
    assert_embeds("embed_last", &headless(&folder("embed_last")));
}

#[test]
fn means_of_rows_that_see_all_go_through_two_layers() {
    assert_embeds("embed_gemma", &headless(&folder("embed_gemma")));
}

/// What embeds is asked of every decoder, and of all alike.
#[test]
fn every_decoder_gives_its_hidden_states() {
    for fixture in runnable() {
        let config = fixture.config();
        let class = config["architectures"][0].as_str().unwrap_or_default();
        // Encoders of which some are decoders embed as encoders do.
        if !class.ends_with("ForCausalLM") || config["is_decoder"] == true {
            continue;
        }
        let model = headless(&fixture.folder());
        let outputs = evaluate(&model, &json!({"input_ids": [[1, 2]]}), Cut::Whole);
        let outputs = outputs.unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
        let names: Vec<_> = outputs.keys().collect();
        assert_eq!(names, ["last_hidden_state"], "{}", fixture.name);
    }
}

/// A folder's files without those of sentence-transformers.
fn without_modules(name: &str) -> TempFolder {
    let copy = TempFolder::new("tasks");
    copy_into(&folder(name), &copy);
    fs::remove_file(copy.join("modules.json")).unwrap();
    copy
}

#[test]
fn a_decoder_that_says_nothing_of_pooling_asks_for_one() {
    let copy = without_modules("embed_last");
    let model = headless(&copy);
    let error = Embedder::new(&model, EmbedOptions::default()).unwrap_err();
    assert!(error.to_string().contains("choose a pooling"), "{error}");
    let expected = expected("embed_last");
    let texts = texts(&expected, "texts");
    let asked = EmbedOptions::default()
        .pooling(Pooling::LastToken)
        .normalize_embeddings(true);
    let found = Embedder::new(&model, asked).unwrap().encode(&texts);
    assert_vectors(&found.unwrap(), &expected["plain"], "asked");
}

#[test]
fn a_decoder_is_asked_whether_texts_answer() {
    let expected = expected("rerank_asked");
    let query = expected["query"].as_str().unwrap();
    let texts = texts(&expected, "texts");
    let model = open(&folder("rerank_asked"));
    let pairs: Vec<(&str, &str)> = texts.iter().map(|text| (query, text.as_str())).collect();
    let plain = RerankOptions::default();
    let prompt = plain.clone().prompt("Find the queen".to_string());
    let raw = plain.clone().raw_scores(true);
    for (key, options) in [("plain", plain), ("prompt", prompt), ("raw", raw)] {
        let scores = Reranker::new(&model, options)
            .unwrap()
            .predict(&pairs)
            .unwrap();
        let expected = expected[key].as_array().unwrap();
        assert_eq!(scores.len(), expected.len(), "{key}");
        for (score, expected) in scores.iter().zip(expected) {
            assert_near(*score, expected, key);
        }
    }
}

#[test]
fn what_does_not_fit_a_question_is_cut_from_its_document() {
    let model = open(&folder("rerank_asked"));
    let options = RerankOptions::default().max_length(400);
    let mut reranker = Reranker::new(&model, options).unwrap();
    let long = "the ".repeat(200);
    let scores = reranker
        .predict(&[("who", long.as_str()), ("who", "the")])
        .unwrap();
    assert_eq!(reranker.truncated(), 1);
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
}

#[test]
fn a_decoder_that_knows_no_such_question_is_no_reranker() {
    let tokenizer = fs::read_to_string(folder("rerank_asked").join("tokenizer.json")).unwrap();
    let other = tokenizer.replace("<think>", "<other>");
    let copy = changed("rerank_asked", "tokenizer.json", &other);
    let error = Reranker::new(&open(&copy), RerankOptions::default()).unwrap_err();
    assert!(error.to_string().contains("predicts tokens"), "{error}");
}
