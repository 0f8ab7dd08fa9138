//! The softmax of clusters.

use rillm::internals::exec::adaptive_softmax;

#[test]
fn probabilities_of_all_tokens_add_up_to_one() {
    let (head, clusters) = ([0.3, -2.0, 88.0], [87.5, -100.0]);
    let tails: [&[f32]; 2] = [&[1.0, 2.0], &[-3.0, 0.0, 5.0]];
    let mut out = [0.0; 8];
    adaptive_softmax(&head, &clusters, tails.into_iter(), &mut out);
    let sum: f64 = out.iter().map(|x| f64::from(*x).exp()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    assert!(out.iter().all(|x| x.is_finite()));
    // p(cluster 0) · p(first of it)
    let cluster = 1.0 / (1.0 + 0.5f64.exp());
    let expected = (cluster / (1.0 + 1f64.exp())).ln();
    assert!((f64::from(out[3]) - expected).abs() < 1e-5);
}
