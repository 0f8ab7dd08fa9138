//! Random weights and made-up words.

use rillm::internals::convert::ValueSource;
use rillm::internals::synthetic::{Draw, word};

#[test]
fn values_are_those_of_their_places() {
    let draw = Draw {
        seed: 7,
        mean: 0.5,
        deviation: 0.02,
        period: 90_000,
    };
    let mut all = vec![0.0; 100_000];
    draw.fill(0, &mut all);
    let mut part = vec![0.0; 500];
    draw.fill(700, &mut part);
    assert_eq!(part, all[700..1200]);
    assert_eq!(all[..10_000], all[90_000..]);
    assert_ne!(all[..10_000], all[10_000..20_000]);
    let all = &all[..90_000];
    let count = all.len() as f64;
    let mean = all.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let squares: f64 = all.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    // Five standard errors.
    assert!((mean - 0.5).abs() < 5.0 * 0.02 / count.sqrt(), "{mean}");
    assert!(((squares / count).sqrt() - 0.02).abs() < 5.0 * 0.02 / (2.0 * count).sqrt());
}

#[test]
fn words_differ() {
    let words: std::collections::BTreeSet<String> = (0..160_000).map(word).collect();
    assert_eq!(words.len(), 160_000);
}
