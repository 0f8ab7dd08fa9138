//! What samplers leave and choose.

use rillm::generate::GenerationConfig;
use rillm::internals::{Dry, SamplerParts};
use rillm::sample::*;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Options that differ from others in some fields.
macro_rules! with {
    ($base:expr; $($field:ident: $value:expr),* $(,)?) => {{
        let mut options = $base;
        $(options.$field = $value;)*
        options
    }};
}

/// Logits of these probabilities, or of numbers in their ratio.
fn logits(shares: &[f32]) -> Vec<f32> {
    shares.iter().map(|share| share.ln()).collect()
}

fn unchanged() -> SampleOptions {
    SampleOptions::unchanged(1)
}

fn only(stage: SampleStage) -> SampleOptions {
    with!(unchanged(); stages: vec![stage])
}

/// What the stages leave, in the vocabulary's order.
fn left(sampler: &mut Sampler, logits: &[f32]) -> Vec<(u32, f32)> {
    let mut left = sampler.narrowed(logits);
    left.sort_unstable_by_key(|(token, _)| *token);
    left
}

fn tokens(options: &SampleOptions, shares: &[f32]) -> Vec<u32> {
    let mut sampler = Sampler::new(options.clone(), shares.len(), 100);
    let left = left(&mut sampler, &logits(shares));
    left.iter().map(|(token, _)| *token).collect()
}

fn near(found: &[(u32, f32)], expected: &[(u32, f32)]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        let same = found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-5;
        assert!(same, "{found:?} is not {expected:?}");
    }
}

fn counts(options: SampleOptions, logits: &[f32], draws: usize) -> Vec<usize> {
    let mut sampler = Sampler::new(options, logits.len(), 100);
    let mut counts = vec![0; logits.len()];
    for _ in 0..draws {
        counts[sampler.sample(logits) as usize] += 1;
    }
    counts
}

/// `tools/generation/warpers.py`
#[test]
fn a_configuration_leaves_what_the_reference_leaves() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/warpers.json");
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let floats = |value: &Value| -> Vec<f32> {
        let list = value.as_array().expect("a list").iter();
        list.map(|x| x.as_f64().expect("a number") as f32).collect()
    };
    for case in cases {
        let set = &case["settings"];
        let float = |key: &str, usual: f32| set[key].as_f64().map_or(usual, |x| x as f32);
        let usual = GenerationConfig::default();
        let config = GenerationConfig::default()
            .do_sample(true)
            .temperature(float("temperature", usual.temperature))
            .top_k(set["top_k"].as_u64().map_or(usual.top_k, |k| k as usize))
            .top_p(float("top_p", usual.top_p))
            .min_p(float("min_p", usual.min_p))
            .typical_p(float("typical_p", usual.typical_p));
        let scores = floats(&case["scores"]);
        let mut sampler = Sampler::new(config.sampling(1), scores.len(), 1);
        let found = left(&mut sampler, &scores);
        let tokens = floats(&case["tokens"]).into_iter().map(|id| id as u32);
        let expected: Vec<(u32, f32)> = tokens.zip(floats(&case["shares"])).collect();
        near(&found, &expected);
    }
}

#[test]
fn zero_temperature_is_greedy_and_ties_go_to_the_first() {
    let greedy = SampleOptions::greedy();
    let logits = [1.0, 3.0, 3.0, -1.0];
    assert_eq!(counts(greedy.clone(), &logits, 10), [0, 10, 0, 0]);
    // The long way round, with something to penalise.
    let penalised = with!(greedy; repeat_penalty: 1.5);
    assert_eq!(counts(penalised.clone(), &logits, 10), [0, 10, 0, 0]);
    let mut sampler = Sampler::new(penalised, 4, 100);
    sampler.accept(1);
    assert_eq!(sampler.sample(&logits), 2);
}

/// A temperature by which logits cannot be divided leaves the most likely tokens alone.
#[test]
fn temperatures_near_zero_are_greedy() {
    for logits in [
        [1.0, 30.0, 29.0, -1.0],
        [-9.0, -1.0, -2.0, -3.0],
        [-1.0, 0.0, f32::NEG_INFINITY, -0.5],
    ] {
        for temperature in [1e-9, 1e-38, 1e-45] {
            let options = with!(only(SampleStage::Temperature); temperature: temperature);
            assert_eq!(counts(options, &logits, 20), [0, 20, 0, 0], "{temperature}");
        }
    }
}

/// The most likely token of those that other stages leave, which need not be the first of all.
#[test]
fn zero_temperature_comes_after_the_stages_before_it() {
    // As in the tests of these stages: XTC leaves the last and the second.
    let options = SampleOptions::greedy();
    let xtc = with!(options.clone(); xtc_probability: 1.0, xtc_threshold: 0.15, min_keep: 0);
    assert_eq!(
        counts(xtc.clone(), &logits(&[0.4, 0.1, 0.3, 0.2]), 10),
        [0, 0, 0, 10]
    );
    let typical = with!(options; typical_p: 0.2);
    assert_eq!(
        counts(typical, &logits(&[0.5, 0.25, 0.125, 0.125]), 10),
        [0, 10, 0, 0]
    );
    // Behind it they find one token alone.
    let stages = vec![SampleStage::Temperature, SampleStage::Xtc];
    let behind = with!(xtc; stages: stages);
    assert_eq!(
        counts(behind, &logits(&[0.4, 0.1, 0.3, 0.2]), 10),
        [10, 0, 0, 0]
    );
}

#[test]
fn frequencies_follow_the_softmax() {
    let counts = counts(unchanged(), &logits(&[1.0, 2.0, 5.0]), 40_000);
    for (count, share) in counts.iter().zip([1.0, 2.0, 5.0]) {
        let expected = 40_000.0 * share / 8.0;
        // six standard deviations of a binomial count
        assert!(
            (*count as f64 - expected).abs() < 6.0 * f64::sqrt(expected),
            "{counts:?}"
        );
    }
}

#[test]
fn a_seed_repeats_itself() {
    let options = with!(SampleOptions::default(); seed: 5);
    let logits = logits(&[0.2, 0.3, 0.1, 0.4]);
    let mut sampler = Sampler::new(options, 4, 100);
    let mut draw = |_| sampler.sample(&logits);
    let first: Vec<u32> = (0..50).map(&mut draw).collect();
    sampler.reset();
    let again: Vec<u32> = (0..50).map(|_| sampler.sample(&logits)).collect();
    assert_eq!(first, again);
    assert!(first.iter().any(|token| *token != first[0]));
}

#[test]
fn top_k_keeps_as_many() {
    let shares = [0.1, 0.4, 0.2, 0.3];
    let top = |top_k, min_keep| with!(only(SampleStage::TopK); top_k: top_k, min_keep: min_keep);
    assert_eq!(tokens(&top(2, 0), &shares), [1, 3]);
    assert_eq!(tokens(&top(1, 3), &shares), [1, 2, 3]);
    assert_eq!(tokens(&top(0, 0), &shares), [0, 1, 2, 3]);
    assert_eq!(tokens(&top(9, 0), &shares), [0, 1, 2, 3]);
    assert_eq!(tokens(&top(2, 0), &[0.25; 4]), [0, 1]);
}

#[test]
fn top_p_cuts_the_tail_but_keeps_the_first() {
    let shares = [0.625, 0.125, 0.25];
    let top = |top_p| with!(only(SampleStage::TopP); top_p: top_p);
    assert_eq!(tokens(&top(0.7), &shares), [0, 2]);
    assert_eq!(tokens(&top(0.6), &shares), [0]);
    assert_eq!(tokens(&top(0.0), &shares), [0]);
    assert_eq!(tokens(&top(0.88), &shares), [0, 1, 2]);
    assert_eq!(tokens(&top(1.0), &shares), [0, 1, 2]);
}

#[test]
fn min_p_is_a_share_of_the_highest() {
    let shares = [0.5, 0.2, 0.24, 0.06];
    let least = |min_p, min_keep| with!(only(SampleStage::MinP); min_p: min_p, min_keep: min_keep);
    assert_eq!(tokens(&least(0.45, 0), &shares), [0, 2]);
    assert_eq!(tokens(&least(0.39, 0), &shares), [0, 1, 2]);
    assert_eq!(tokens(&least(0.99, 2), &shares), [0, 2]);
    assert_eq!(tokens(&least(0.0, 0), &shares), [0, 1, 2, 3]);
}

#[test]
fn typical_p_goes_by_the_distance_from_the_entropy() {
    // Entropy 1.2206 nats; surprises 0.6931, 1.3863, 2.0794, 2.0794: distances 0.527, 0.166,
    // 0.859, 0.859. So the second comes first, then the first one.
    let shares = [0.5, 0.25, 0.125, 0.125];
    let typical = |typical_p| with!(only(SampleStage::TypicalP); typical_p: typical_p);
    assert_eq!(tokens(&typical(0.2), &shares), [1]);
    assert_eq!(tokens(&typical(0.25), &shares), [0, 1]);
    assert_eq!(tokens(&typical(0.8), &shares), [0, 1, 2]);
    assert_eq!(tokens(&typical(1.0), &shares), [0, 1, 2, 3]);
}

#[test]
fn top_n_sigma_counts_deviations_of_logits() {
    // Mean 2.5, deviation √((1.5² + 0.5²) / 2) = 1.118.
    let options = |n| with!(only(SampleStage::TopNSigma); top_n_sigma: n);
    let of = |n: f32| {
        let mut sampler = Sampler::new(options(n), 5, 100);
        let logits = [1.0, 2.0, 3.0, 4.0, f32::NEG_INFINITY];
        left(&mut sampler, &logits).len()
    };
    assert_eq!(of(0.5), 1);
    assert_eq!(of(1.0), 2);
    assert_eq!(of(2.0), 3);
    assert_eq!(of(3.0), 4);
    assert_eq!(of(-1.0), 5);
}

#[test]
fn xtc_drops_all_above_the_threshold_but_the_last() {
    let shares = [0.4, 0.1, 0.3, 0.2];
    let options = |probability, threshold, min_keep| with!(only(SampleStage::Xtc); xtc_probability: probability, xtc_threshold: threshold, min_keep: min_keep);
    assert_eq!(tokens(&options(1.0, 0.15, 0), &shares), [1, 3]);
    assert_eq!(tokens(&options(1.0, 0.25, 0), &shares), [1, 2, 3]);
    assert_eq!(tokens(&options(1.0, 0.35, 0), &shares), [0, 1, 2, 3]);
    assert_eq!(tokens(&options(1.0, 0.15, 3), &shares), [0, 1, 2, 3]);
    assert_eq!(tokens(&options(0.0, 0.15, 0), &shares), [0, 1, 2, 3]);
    // Now and then.
    let mut sampler = Sampler::new(options(0.3, 0.15, 0), 4, 100);
    let logits = logits(&shares);
    let dropped = (0..2000).filter(|_| left(&mut sampler, &logits).len() == 2);
    let dropped = dropped.count() as f64;
    assert!(
        (dropped - 600.0).abs() < 6.0 * f64::sqrt(2000.0 * 0.3 * 0.7),
        "{dropped}"
    );
}

#[test]
fn temperature_is_a_power_of_probabilities() {
    let options = with!(only(SampleStage::Temperature); temperature: 0.5);
    let mut sampler = Sampler::new(options, 2, 100);
    // Squares: 0.36 and 0.16 of 0.52.
    near(
        &left(&mut sampler, &logits(&[0.6, 0.4])),
        &[(0, 0.36 / 0.52), (1, 0.16 / 0.52)],
    );
}

#[test]
fn dynamic_temperature_follows_the_entropy() {
    let options = |exponent| with!(only(SampleStage::Temperature); temperature: 1.0, dynamic_temperature: 0.5, dynamic_temperature_exponent: exponent);
    // As even as can be: the highest temperature, which changes nothing here.
    let mut sampler = Sampler::new(options(1.0), 2, 100);
    near(
        &left(&mut sampler, &logits(&[0.5, 0.5])),
        &[(0, 0.5), (1, 0.5)],
    );
    // Entropy of 3 : 1 is 0.811278 bits of 1. T = 0.5 + 0.811278, and 3^(1/T) : 1.
    let ratio = |temperature: f64| {
        let share = 3f64.powf(1.0 / temperature);
        (share / (share + 1.0)) as f32
    };
    let found = left(&mut sampler, &logits(&[0.75, 0.25]));
    near(
        &found,
        &[(0, ratio(1.311_278)), (1, 1.0 - ratio(1.311_278))],
    );
    let mut sampler = Sampler::new(options(2.0), 2, 100);
    let found = left(&mut sampler, &logits(&[0.75, 0.25]));
    let squared = 0.5 + 0.811_278f64.powi(2);
    near(&found, &[(0, ratio(squared)), (1, 1.0 - ratio(squared))]);
}

#[test]
fn penalties_look_at_the_last_tokens() {
    let options = with!(only(SampleStage::Penalties); repeat_penalty: 2.0, presence_penalty: 0.25, frequency_penalty: 0.5, penalty_last_n: 3);
    let mut sampler = Sampler::new(options, 4, 100);
    for token in [3, 0, 1, 1] {
        sampler.accept(token);
    }
    // Token 3 is out of sight. 0: 2/2 − 0.5 − 0.25; 1: −2·2 − 2·0.5 − 0.25.
    let expected = [0.25, -5.25, 1.0, 1.0];
    let sum: f32 = expected.iter().map(|logit: &f32| logit.exp()).sum();
    let shares: Vec<_> = (0..4)
        .map(|i| (i as u32, expected[i].exp() / sum))
        .collect();
    near(&left(&mut sampler, &[2.0, -2.0, 1.0, 1.0]), &shares);
    sampler.reset();
    let shares: Vec<_> = (0..4).map(|i| (i, 0.25)).collect();
    near(&left(&mut sampler, &[1.0; 4]), &shares);
}

/// What is taken off each of `vocabulary` tokens after `text`.
fn dry(options: DryOptions, text: &[u32], vocabulary: usize) -> Vec<f32> {
    let mut dry = Dry::new(&options, vocabulary, 1000);
    for &token in text {
        dry.push(token);
    }
    dry.measure();
    (0..vocabulary as u32)
        .map(|token| dry.penalty(token))
        .collect()
}

#[test]
fn dry_penalises_what_goes_on_with_a_repetition() {
    let options = with!(DryOptions::default(); multiplier: 1.0, base: 2.0);
    let (a, b, c, y) = (0, 1, 2, 3);
    // After "a b c c b c y a b c": c would make "a b c c" out of three; y follows "b c" (two);
    // b follows "c" alone, which is less than is allowed.
    let text = [a, b, c, c, b, c, y, a, b, c];
    assert_eq!(dry(options.clone(), &text, 4), [0.0, 0.0, 2.0, 1.0]);
    // A breaker inside the repetition cuts it: "c" alone is left.
    let broken = with!(options.clone(); breakers: vec![vec![b]]);
    assert_eq!(dry(broken, &text, 4), [0.0; 4]);
    // A breaker of two tokens cuts after its last.
    let broken = with!(options.clone(); breakers: vec![vec![y, a]]);
    assert_eq!(dry(broken, &text, 4), [0.0, 0.0, 1.0, 1.0]);
    // What would be a breaker itself goes free.
    let broken = with!(options.clone(); breakers: vec![vec![y]]);
    assert_eq!(dry(broken, &text, 4), [0.0, 0.0, 2.0, 0.0]);
    // Out of sight, out of mind.
    let short = with!(options.clone(); last_n: 5);
    assert_eq!(dry(short, &text, 4), [0.0; 4]);
    // Very long repetitions do not overflow.
    let long: Vec<u32> = std::iter::repeat_n(a, 900).collect();
    let endless = with!(options; last_n: usize::MAX);
    assert_eq!(dry(endless, &long, 2), [f32::MAX, 0.0]);
}

#[test]
fn dry_finds_what_comparing_everything_finds() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..300 {
        let text: Vec<u32> = (0..random.usize(0..40)).map(|_| random.u32(0..3)).collect();
        let options = with!(DryOptions::default(); multiplier: 1.0, base: 2.0, allowed_length: 1 + random.usize(0..3));
        let mut expected = vec![0.0f32; 3];
        for next in 1..text.len() {
            let same = |length: &usize| text[next - length..next] == text[text.len() - length..];
            let length = (1..=next).filter(same).max().unwrap_or(0);
            if length >= options.allowed_length {
                let penalty = 2f32.powi((length - options.allowed_length) as i32);
                let token = text[next] as usize;
                expected[token] = expected[token].max(penalty);
            }
        }
        assert_eq!(dry(options.clone(), &text, 3), expected, "{text:?}");
    }
}

#[test]
fn mirostat_keeps_surprise_near_its_aim() {
    let options = with!(unchanged(); temperature: 1.0, mirostat: Some(with!(Mirostat::default(); tau: 3.0, eta: 0.1)));
    // 2^10 tokens, Zipf's law.
    let shares: Vec<f32> = (1..=1024).map(|rank| 1.0 / rank as f32).collect();
    let logits = logits(&shares);
    let mut sampler = Sampler::new(options, 1024, 100);
    let draws: Vec<u32> = (0..3000).map(|_| sampler.sample(&logits)).collect();
    // The bound settles where what is drawn surprises, among what is left, by three bits.
    let largest = draws[1000..].iter().max().expect("draws");
    assert!((15..300).contains(largest), "{largest}");
    let entropy = |left: usize| -> f64 {
        let sum: f64 = shares[..left].iter().map(|&s| f64::from(s)).sum();
        let terms = shares[..left].iter().map(|&s| f64::from(s) / sum);
        terms.map(|p| -p * p.log2()).sum()
    };
    // The number of tokens whose entropy is three bits.
    let settled = (1..1024).find(|&left| entropy(left) >= 3.0).expect("some");
    let mean = draws[1000..]
        .iter()
        .map(|&d| f64::from(d) + 1.0)
        .sum::<f64>()
        / 2000.0;
    let sum: f64 = shares[..settled].iter().map(|&s| f64::from(s)).sum();
    // Σ rank · (1/rank) / Σ 1/rank
    let expected = settled as f64 / sum;
    assert!((mean / expected - 1.0).abs() < 0.25, "{mean}, {expected}");
}

#[test]
fn mirostat_moves_its_bound_by_what_surprised() {
    let options = with!(unchanged(); temperature: 1.0, mirostat: Some(with!(Mirostat::default(); tau: 1.25, eta: 0.5)));
    let mut sampler = Sampler::new(options.clone(), 4, 100);
    assert_eq!(sampler.mirostat_bound(), 2.5, "twice the aim");
    // Surprises of 1, 2 and 3 bits: the first two are left, in shares of 2/3 and 1/3.
    let token = sampler.sample(&logits(&[0.5, 0.25, 0.125, 0.125]));
    let surprise = match token {
        0 => 1.5f32.log2(),
        1 => 3f32.log2(),
        other => panic!("{other} surprises more than the bound"),
    };
    let expected = 2.5 - 0.5 * (surprise - 1.25);
    assert!(
        (sampler.mirostat_bound() - expected).abs() < 1e-5,
        "{}",
        sampler.mirostat_bound()
    );
    // Without a temperature even a near tie is no choice; the bound moves on as with certainty.
    let greedy = with!(options; temperature: 0.0);
    let mut sampler = Sampler::new(greedy, 3, 100);
    for draw in 1..=50 {
        assert_eq!(sampler.sample(&[1.0, 1.000_001, 0.0]), 1);
        assert_eq!(sampler.mirostat_bound(), 2.5 + 0.625 * draw as f32);
    }
}

#[test]
fn stages_leave_as_many_as_asked() {
    let shares = [0.5, 0.25, 0.125, 0.0625, 0.0625];
    let least = |stage, min_keep| with!(only(stage); min_keep: min_keep, top_k: 1, top_p: 0.1, min_p: 0.9, typical_p: 0.1);
    for stage in [SampleStage::TopK, SampleStage::TopP, SampleStage::MinP] {
        for keep in 0..=5usize {
            let expected: Vec<u32> = (0..keep.max(1) as u32).collect();
            assert_eq!(tokens(&least(stage, keep), &shares), expected, "{stage:?}");
        }
    }
    // The entropy is 1.875 bits; surprises of 1, 2, 3 and twice 4 are 0.875, 0.125, 1.125 and
    // 2.125 away from it.
    for (keep, expected) in [
        (0, vec![1]),
        (1, vec![1]),
        (2, vec![0, 1]),
        (3, vec![0, 1, 2]),
        (4, vec![0, 1, 2, 3]),
        (5, vec![0, 1, 2, 3, 4]),
    ] {
        assert_eq!(
            tokens(&least(SampleStage::TypicalP, keep), &shares),
            expected
        );
    }
}

#[test]
fn the_usual_chain_narrows_step_by_step() {
    // Penalties first: the third token's logit ln 16 is halved, its share falls from 16 to 4;
    // then the four most likely, of a sum of 15; 0.8 of that are the first two (8 + 4 = 12) and
    // min-p's half of the highest keeps both; a temperature of 0.5 squares: 64 to 16.
    let shares = [8.0, 2.0, 16.0, 1.0, 0.5, 0.25];
    let options = with!(unchanged(); stages: SampleStage::ORDER.to_vec(), repeat_penalty: 2.0, top_k: 4, top_p: 0.79, min_p: 0.49, temperature: 0.5);
    let mut sampler = Sampler::new(options, 6, 100);
    sampler.accept(2);
    near(&left(&mut sampler, &logits(&shares)), &[(0, 0.8), (2, 0.2)]);
}

#[test]
fn one_candidate_and_impossible_ones_pass_every_stage() {
    let every = with!(unchanged(); stages: SampleStage::ORDER.to_vec(), typical_p: 0.5, top_n_sigma: 1.0, xtc_probability: 1.0, xtc_threshold: 0.1, dynamic_temperature: 0.3);
    let mut sampler = Sampler::new(every.clone(), 1, 100);
    assert_eq!(left(&mut sampler, &[-3.0]), [(0, 1.0)]);
    let never = f32::NEG_INFINITY;
    assert_eq!(
        counts(every, &[never, 2.0, never, never], 20),
        [0, 20, 0, 0]
    );
}

#[test]
fn biases_are_added_and_can_forbid() {
    let options =
        with!(unchanged(); logit_bias: vec![(0, f32::NEG_INFINITY), (2, 50.0), (99, 1.0)]);
    assert_eq!(counts(options, &[9.0, 1.0, 0.0], 100), [0, 0, 100]);
}

#[test]
fn probabilities_and_the_most_likely() {
    let logits = [1.0, 3.0, 2.0, 3.0];
    let sum = (1f64.exp() + 2.0 * 3f64.exp() + 2f64.exp()).ln();
    assert!((log_probability(&logits, 2) - (2.0 - sum)).abs() < 1e-12);
    assert_eq!(log_probability(&logits, 9), f64::NEG_INFINITY);
    let mut out = [(0, 0.0); 3];
    most_likely(&logits, &mut out);
    let tokens = out.map(|(token, _)| token);
    assert_eq!(tokens, [1, 3, 2]);
    assert!((out[0].1 - (3.0 - sum)).abs() < 1e-12);
}

#[test]
fn options_out_of_range_are_named() {
    assert_eq!(SampleOptions::default().check(), Ok(()));
    let wrong = with!(SampleOptions::default(); top_p: 1.5);
    let error = wrong.check().expect_err("too large").to_string();
    assert_eq!(error, "top-p is 1.5, expected 0 to 1");
    let wrong = with!(SampleOptions::default(); temperature: f32::NAN);
    assert!(wrong.check().is_err());
}

#[test]
fn stages_go_by_their_names() {
    for stage in SampleStage::ORDER {
        assert_eq!(stage.name().parse(), Ok(*stage));
    }
    assert_eq!("typical".parse(), Ok(SampleStage::TypicalP));
    assert_eq!("top-k".parse(), Ok(SampleStage::TopK));
    assert_eq!("grammar".parse::<SampleStage>(), Err(UnknownSampleStage));
}

#[test]
fn damaged_logits_give_some_token() {
    let everything = with!(SampleOptions::default(); typical_p: 0.9, top_n_sigma: 1.0, xtc_probability: 0.5, repeat_penalty: 1.1, dynamic_temperature: 0.5);
    let mirostat = with!(SampleOptions::default(); mirostat: Some(Mirostat::default()));
    let options = [
        SampleOptions::default(),
        SampleOptions::greedy(),
        everything,
        mirostat,
    ];
    for options in options {
        for logits in [
            &[f32::NAN; 3][..],
            &[f32::NEG_INFINITY; 3],
            &[f32::INFINITY, 1.0],
            &[f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY],
            &[f32::NAN, 1.0, f32::NEG_INFINITY],
            &[],
        ] {
            let mut sampler = Sampler::new(options.clone(), logits.len(), 100);
            for _ in 0..20 {
                let token = sampler.sample(logits);
                assert!((token as usize) < logits.len().max(1));
                sampler.accept(token);
            }
        }
    }
}
