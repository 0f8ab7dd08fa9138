//! How texts are run together changes no bit of what comes out.

use super::{expected, folder, open, texts};
use rillm::tasks::{EmbedOptions, Embedder, RerankOptions, Reranker};

#[test]
fn a_batch_of_mixed_lengths_gives_the_bits_of_one_by_one() {
    let mut texts = texts(&expected("embed"), "texts");
    for count in 1..30 {
        texts.push("red and blue ".repeat(count));
    }
    let model = open(&folder("embed"));
    let mut one = Embedder::new(&model, EmbedOptions::default()).unwrap();
    let one_by_one: Vec<Vec<f32>> = texts
        .iter()
        .map(|text| one.encode(&[text]).unwrap().remove(0))
        .collect();
    for batch_tokens in [1, 7, 24, 50, 100, 4096] {
        let options = EmbedOptions::default().batch_tokens(batch_tokens);
        let mut embedder = Embedder::new(&model, options).unwrap();
        let together = embedder.encode(&texts).unwrap();
        assert!(
            bits(&one_by_one) == bits(&together),
            "{batch_tokens} tokens at a time"
        );
        assert_eq!(
            embedder
                .progress()
                .load(std::sync::atomic::Ordering::Relaxed),
            texts.len() as u64
        );
    }
    let model = open(&folder("rerank"));
    let mut reranker = Reranker::new(&model, RerankOptions::default()).unwrap();
    let pairs: Vec<(&str, &str)> = texts
        .iter()
        .map(|text| ("the queen", text.as_str()))
        .collect();
    let together = reranker.predict(&pairs).unwrap();
    for (pair, score) in pairs.iter().zip(together) {
        assert_eq!(
            reranker.predict(&[*pair]).unwrap()[0].to_bits(),
            score.to_bits()
        );
    }
}

fn bits(vectors: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let bits = |vector: &Vec<f32>| vector.iter().map(|x| x.to_bits()).collect();
    vectors.iter().map(bits).collect()
}
