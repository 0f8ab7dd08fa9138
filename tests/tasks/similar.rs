//! What is near what.

use rillm::tasks::{Similarity, rank_correlation, semantic_search};

#[test]
fn the_nearest_come_first_and_equals_in_their_order() {
    let corpus = [[0.0, 1.0], [1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [1.0, 1.0]].map(Vec::from);
    let found = |similarity, top_k| -> Vec<usize> {
        let hits = semantic_search(&[3.0, 0.0], &corpus, top_k, similarity);
        hits.iter().map(|hit| hit.corpus_id).collect()
    };
    assert_eq!(found(Similarity::Cosine, 9), [1, 2, 4, 0, 3]);
    assert_eq!(found(Similarity::Dot, 3), [2, 1, 4]);
    assert_eq!(found(Similarity::Euclidean, 2), [2, 1]);
    assert_eq!(found(Similarity::Manhattan, 4), [2, 1, 4, 0]);
    assert!(found(Similarity::Cosine, 0).is_empty());
    // A vector of zeros is like none.
    assert_eq!(Similarity::Cosine.of(&[0.0, 0.0], &[1.0, 2.0]), 0.0);
}

#[test]
fn names_are_sentence_transformers() {
    for similarity in Similarity::ALL {
        assert_eq!(similarity.name().parse(), Ok(similarity));
    }
    let error = "cosines".parse::<Similarity>().unwrap_err().to_string();
    assert!(
        error.contains("cosine, dot, euclidean, manhattan"),
        "{error}"
    );
}

/// The ranks, worked out by hand: 5 2 3.5 3.5 6 1 and 2.5 2.5 5 4 6 1.
#[test]
fn ranks_correlate_as_spearman_says() {
    let found = |a: &[f32], b: &[f32]| rank_correlation(a, b).expect("an order");
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    let (a, b) = (
        [3.0, 1.0, 2.0, 2.0, 5.0, 0.5],
        [1.0, 1.0, 4.0, 2.0, 8.0, 0.0],
    );
    assert!(near(found(&a, &b), 12.5 / 17.0), "{}", found(&a, &b));
    assert!(near(found(&a, &a), 1.0));
    assert_eq!(rank_correlation(&[], &[]), None);
    assert_eq!(rank_correlation(&[1.0], &[2.0]), None);
}
