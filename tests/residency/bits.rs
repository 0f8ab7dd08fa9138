//! Results are the same bits whatever is in memory.

use rillm::internals::eval::Cut;
use rillm::{Blueprint, Model, ModelOptions, RunError, Session};
use std::collections::BTreeSet;
use std::path::Path;

use super::{hold, least, options};
use crate::support::fixture::{Fixture, Weight};
use crate::support::folder::TempFolder;
use crate::support::setup::{evaluate, forced, same_answers};
use crate::support::to_gguf::Gguf;

/// Experts stored in all ways there are, and layers of all kinds: shared ones, two graphs, stages
/// walked tile by tile, recurrent ones.
const MODELS: [&str; 22] = [
    "mixtral",
    "olmoe",
    "qwen2_moe",
    "qwen3_moe_sparse",
    "deepseek_v2_lite",
    "gpt_oss",
    "granite_moe_shared",
    "dbrx",
    "llama4",
    "nomic_bert_moe",
    "switch",
    "jamba",
    "exaone4",
    "modernbert",
    "llama_tied",
    "gpt2",
    "t5",
    "albert_groups",
    "bart",
    "longformer",
    "mamba2",
    "transfo_xl_segments",
];

fn open(path: &Path, threads: usize) -> Model {
    let options = ModelOptions::default().isa(forced()).threads(threads);
    Model::open(path, options).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every case of a fixture within the least budget, some in between and one that holds all.
pub(super) fn all_budgets(fixture: &Fixture, path: &Path) {
    let name = &fixture.name;
    let mapped = open(path, 1);
    let from = least(&mapped);
    let refused = Session::new(&mapped, options().memory(Some(from - 1)));
    assert!(refused.is_err(), "{name}: one byte less than the least");
    let planned =
        Blueprint::open(path, ModelOptions::default().isa(forced())).expect("a blueprint");
    match planned.placement(options().memory(Some(from - 1))) {
        Err(RunError::OverBudget { least, .. }) => assert_eq!(least, from, "{name}"),
        other => panic!("{name}: {other:?}"),
    }
    hold(&mapped, u64::MAX);
    let whole = mapped.placement().expect("a placement");
    assert!(whole.is_whole(), "{name}: {whole:?}");
    let plan = Session::memory_plan(&mapped, options()).expect("a plan");
    let to = whole.held() + (plan.arena + plan.state) as u64;
    assert!(from <= to, "{name}: {from} bytes at least, {to} for all");

    let mapped = open(path, 1);
    let cuts: &[Cut] = match mapped.decodes() {
        true => &[Cut::Whole, Cut::Batch(1)],
        false => &[Cut::Whole],
    };
    let expected = |case: usize, cut: Cut| evaluate(name, &mapped, &fixture.cases[case].input, cut);
    let middle = from + (to - from) / 2;
    let budgets = [(from, 2), (middle, 1), (from, 1), (to, 1)];
    // Of kinds that others stand for, two.
    let few = if MODELS.contains(&name.as_str()) {
        4
    } else {
        2
    };
    for (budget, threads) in budgets.into_iter().take(few) {
        let label = format!("{name} in {budget} of {from} to {to} bytes, {threads} threads");
        let held = open(path, threads);
        hold(&held, budget);
        let placement = held.placement().expect("a placement");
        let own = (plan.arena + plan.state) as u64;
        assert!(placement.held() + own <= budget, "{label}: {placement:?}");
        let bounded = options().memory(Some(budget));
        let foreseen = planned.placement(bounded).expect("a placement");
        assert_eq!(foreseen.as_ref(), Some(placement), "{label}");
        for (index, case) in fixture.cases.iter().enumerate() {
            for &cut in cuts {
                let label = format!("{label}: {}, {cut:?}", case.name);
                let found = evaluate(&label, &held, &case.input, cut);
                same_answers(&label, &found, &expected(index, cut));
            }
        }
        let traffic = held.traffic().expect("figures");
        let moves = !placement.is_whole();
        assert_eq!(traffic.bytes > 0, moves, "{label}: {traffic:?}");
        assert!(traffic.hits <= traffic.experts, "{label}: {traffic:?}");
    }
}

/// Those above, all that have experts, and one of every other class.
fn of_every_class() -> Vec<Fixture> {
    let mut classes = BTreeSet::new();
    let fixtures = Fixture::all().into_iter().map(|name| Fixture::load(&name));
    let wanted = fixtures.filter(|fixture| {
        let new = classes.insert(fixture.config()["model_type"].to_string());
        let parts = ["expert", "moe"];
        let of_experts = |weight: &Weight| parts.iter().any(|part| weight.name.contains(part));
        new || MODELS.contains(&fixture.name.as_str()) || fixture.weights().iter().any(of_experts)
    });
    wanted.collect()
}

#[test]
fn folders_within_any_budget_compute_the_same_bits() {
    let fixtures = of_every_class();
    assert!(fixtures.len() > 100, "{} models", fixtures.len());
    for fixture in &fixtures {
        all_budgets(fixture, &fixture.folder());
    }
}

#[test]
fn gguf_files_within_any_budget_compute_the_same_bits() {
    for name in MODELS {
        let fixture = Fixture::load(name);
        let folder = TempFolder::new("budget");
        let path = folder.join("model.gguf");
        std::fs::write(&path, Gguf::of(&fixture).bytes()).expect("a file");
        all_budgets(&fixture, &path);
    }
}
