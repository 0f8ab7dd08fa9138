//! Tasks within a bounded memory: their sessions grow with texts, and what of the weights stays does not.

use rillm::tasks::{EmbedOptions, Embedder};
use rillm::{Model, ModelOptions, RunError};

use crate::support::setup::forced;

/// An encoder, and a decoder whose sequences have a KV cache.
const MODELS: [&str; 2] = ["embed", "embed_last"];

fn open(name: &str) -> Model {
    let options = ModelOptions::default().isa(forced()).headless(true);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tasks/");
    Model::open(format!("{root}{name}"), options).expect("a model")
}

/// One text alone first, then longer ones, and many.
fn vectors(model: &Model) -> Result<Vec<Vec<f32>>, RunError> {
    let options = EmbedOptions::default().batch_tokens(64);
    let mut embedder = Embedder::new(model, options).expect("an embedder");
    let long = "the king went to London ".repeat(5);
    let mut all = embedder.encode(&["a king"])?;
    all.extend(embedder.encode(&[long.as_str(), "a river", "a small city"])?);
    all.extend(embedder.encode(&["a king"; 40])?);
    Ok(all)
}

#[test]
fn texts_that_grow_stay_within_the_least_budget() {
    for name in MODELS {
        let expected = vectors(&open(name)).expect("vectors");
        let least = match vectors(&open(name).within(1)) {
            Err(RunError::OverBudget { budget: 1, least }) => least,
            other => panic!("{name}: {other:?}"),
        };
        assert!(vectors(&open(name).within(least - 1)).is_err(), "{name}");
        let held = open(name).within(least);
        assert_eq!(vectors(&held).expect("vectors"), expected, "{name}");
        let placement = held.placement().expect("a placement");
        assert!(placement.held() < least, "{name}: {placement:?}");
    }
}
