//! How experts are chosen and weighed, against transformers' routers.

use rillm::internals::exec::{limit_groups, route};
use rillm::internals::graph::experts::RouterScores;
use rillm::internals::graph::{ExpertGroups, ExpertWeight, GroupScore, Routing};
use rillm::internals::kernels::{Kernels, Pointwise};
use serde_json::Value;

/// Weights of a few: exponentials of our own against torch's, in floats.
const TOLERANCE: f32 = 2e-6;

/// A router as models wire it.
struct Wired {
    scores: RouterScores,
    groups: Option<ExpertGroups>,
    routing: Routing,
}

/// What each class is wired as, by its name in `tools/fixtures/routing.py`.
fn wired(name: &str) -> Wired {
    let groups = |score| ExpertGroups {
        groups: 4,
        used: 2,
        score,
    };
    let share = |added, least| ExpertWeight::Share { added, least };
    let two = GroupScore::TopTwo;
    use ExpertWeight::{Norm, Score, Softmax, SparseMixer};
    let (scores, groups, top_k, weight, scale) = match name {
        "mixtral" | "qwen3_moe" | "granitemoe" | "gpt_oss" => {
            (RouterScores::Logits, None, 3, Softmax, 1.0)
        }
        "olmoe" => (RouterScores::Softmax, None, 3, Score, 1.0),
        "deepseek_v2" => {
            let groups = groups(GroupScore::Largest);
            (RouterScores::Softmax, Some(groups), 3, Score, 2.5)
        }
        "deepseek_v3" | "glm4_moe" => {
            let weight = share(1e-20, 0.0);
            (RouterScores::Sigmoid, Some(groups(two)), 3, weight, 2.5)
        }
        "ernie4_5_moe" => (RouterScores::Softmax, None, 3, share(0.0, 1e-12), 1.0),
        "minimax_m2" => (RouterScores::Sigmoid, None, 3, share(0.0, 0.0), 1.0),
        "lfm2_moe" => (RouterScores::Sigmoid, None, 3, share(1e-6, 0.0), 1.5),
        "phimoe" => (RouterScores::Logits, None, 2, SparseMixer(0.02), 1.0),
        "phimoe_wide" => (RouterScores::Logits, None, 2, SparseMixer(0.8), 1.0),
        "dbrx_1" => (RouterScores::Softmax, None, 3, Norm(1.0), 1.0),
        "dbrx_2" => (RouterScores::Softmax, None, 3, Norm(2.0), 1.0),
        "llama4" => (RouterScores::Sigmoid, None, 3, Score, 1.0),
        other => panic!("{other} is not wired"),
    };
    let routing = Routing {
        top_k,
        weight,
        scale,
    };
    Wired {
        scores,
        groups,
        routing,
    }
}

impl Wired {
    /// Experts and their weights, in the order of their choice.
    fn choose(&self, kernels: &Kernels, logits: &[f32], bias: Option<&[f32]>) -> Vec<(usize, f32)> {
        let mut scores = logits.to_vec();
        match self.scores {
            RouterScores::Logits => {}
            RouterScores::Softmax => (kernels.softmax)(&mut scores),
            RouterScores::Sigmoid => (kernels.pointwise)(Pointwise::Sigmoid, &mut scores),
        }
        let mut choice = scores.clone();
        for (choice, bias) in choice.iter_mut().zip(bias.unwrap_or_default()) {
            *choice += bias;
        }
        if let Some(groups) = self.groups {
            let whole = choice.clone();
            limit_groups(groups, &whole, &mut choice);
        }
        let mut out = vec![0.0; 2 * self.routing.top_k];
        route(kernels, &self.routing, [&scores, &choice], None, &mut out);
        let (weights, experts) = out.split_at(self.routing.top_k);
        let experts = experts.iter().map(|&expert| expert as usize);
        experts.zip(weights.iter().copied()).collect()
    }
}

fn floats(value: &Value) -> Vec<f32> {
    let list = value.as_array().expect("a list");
    list.iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn cases() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/routing.json");
    let text = std::fs::read(path).expect("routing.json");
    serde_json::from_slice(&text).expect("JSON")
}

/// Calls `judge` with what is expected and what is found for each row under `key`.
fn each_row(key: &str, judge: impl Fn(&str, &Value, Vec<(usize, f32)>)) {
    let kernels = Kernels::select(None).expect("kernels");
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let bias = case["bias"].as_array().map(|_| floats(&case["bias"]));
        for row in case[key].as_array().unwrap_or(&Vec::new()) {
            let found = wired(name).choose(kernels, &floats(&row["logits"]), bias.as_deref());
            judge(name, row, found);
        }
    }
}

#[test]
fn routers_choose_and_weigh_as_the_reference() {
    each_row("logits", |name, row, mut found| {
        let experts = floats(&row["experts"]);
        let mut expected: Vec<(usize, f32)> = (experts.iter().map(|&expert| expert as usize))
            .zip(floats(&row["weights"]))
            .collect();
        expected.sort_by_key(|pair| pair.0);
        found.sort_by_key(|pair| pair.0);
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(expected.0, found.0, "{name}: {row}");
            let off = (expected.1 - found.1).abs() / expected.1.abs().max(1.0);
            assert!(off < TOLERANCE, "{name}: {found:?}, {row}");
        }
        assert_eq!(expected.len(), found.len(), "{name}");
    });
}

/// Which of equal logits torch takes it does not promise; here it is the first.
#[test]
fn ties_weigh_as_in_the_reference_and_go_to_the_first() {
    each_row("tied", |name, row, found| {
        let mut expected = floats(&row["weights"]);
        let mut weights: Vec<f32> = found.iter().map(|pair| pair.1).collect();
        expected.sort_by(f32::total_cmp);
        weights.sort_by(f32::total_cmp);
        for (expected, weight) in expected.iter().zip(&weights) {
            let off = (expected - weight).abs();
            assert!(off < TOLERANCE, "{name}: {found:?}, {row}");
        }
        let logits = floats(&row["logits"]);
        for (at, (expert, _)) in found.iter().enumerate() {
            let taken: Vec<usize> = found[..at].iter().map(|pair| pair.0).collect();
            let first = (0..*expert).find(|other| {
                logits[*other].to_bits() == logits[*expert].to_bits() && !taken.contains(other)
            });
            // Of groups that are as good, the first counts, and others may hold the same logit.
            let limited = wired(name).groups.is_some();
            assert!(limited || first.is_none(), "{name}: {found:?}, {row}");
        }
    });
}

/// What is no number is never chosen while there are others, and never leads astray.
#[test]
fn what_is_no_number_is_chosen_last() {
    let kernels = Kernels::select(None).expect("kernels");
    let plain = wired("olmoe");
    let choose = |scores: [f32; 4]| {
        let mut out = [0.0; 6];
        route(kernels, &plain.routing, [&scores, &scores], None, &mut out);
        [out[3], out[4], out[5]]
    };
    assert_eq!(
        choose([f32::NAN, 1.0, 2.0, f32::NEG_INFINITY]),
        [2.0, 1.0, 3.0]
    );
    assert_eq!(choose([f32::NAN; 4]), [0.0; 3]);
}

/// Experts that weigh something by themselves.
#[test]
fn weights_of_experts_are_multiplied_by_their_own() {
    let kernels = Kernels::select(None).expect("kernels");
    let routing = Routing {
        top_k: 2,
        weight: ExpertWeight::Score,
        scale: 2.0,
    };
    let scores = [0.25, 0.5, 1.0];
    let mut out = [0.0; 4];
    route(
        kernels,
        &routing,
        [&scores, &scores],
        Some(&[3.0, 5.0, 7.0]),
        &mut out,
    );
    assert_eq!(out, [14.0, 5.0, 2.0, 1.0]);
}
