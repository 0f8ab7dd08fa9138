//! Scores of pairs against sentence-transformers'.

use super::{assert_near, expected, folder, open, texts, with_keys};
use rillm::tasks::{RerankOptions, Reranker, SearchHit};
use serde_json::{Value, json};

fn assert_ranked(found: &[SearchHit], expected: &Value) {
    let expected = expected.as_array().expect("a list");
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(
            found.corpus_id as u64,
            expected["corpus_id"].as_u64().unwrap()
        );
        assert_near(found.score, &expected["score"], "score");
    }
}

#[test]
fn ranks_are_sentence_transformers() {
    let expected = expected("rerank");
    let (query, texts) = (
        expected["query"].as_str().unwrap(),
        texts(&expected, "texts"),
    );
    let model = open(&folder("rerank"));
    let mut reranker = Reranker::new(&model, RerankOptions::default()).unwrap();
    assert_ranked(&reranker.rank(query, &texts).unwrap(), &expected["ranked"]);
    let mut raw = Reranker::new(&model, RerankOptions::default().raw_scores(true)).unwrap();
    assert_ranked(&raw.rank(query, &texts).unwrap(), &expected["raw"]);
    for config in [
        json!({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}),
        json!({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}),
    ] {
        let copy = with_keys("rerank", "config.json", config);
        let mut said = Reranker::new(&open(&copy), RerankOptions::default()).unwrap();
        assert_ranked(&said.rank(query, &texts).unwrap(), &expected["raw"]);
    }
}

#[test]
fn a_model_of_several_labels_is_no_reranker() {
    let error = Reranker::new(&open(&folder("classify")), RerankOptions::default()).unwrap_err();
    assert!(error.to_string().contains("gives 3"), "{error}");
}
