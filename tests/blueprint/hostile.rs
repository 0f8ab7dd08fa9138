//! No configuration crashes, hangs or swells who plans it: nothing is there that bears its numbers out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rillm::{Blueprint, SessionOptions};
use serde_json::{Value, json};

use crate::support::evaluate::{options, runnable};

const SMALL: SessionOptions = SessionOptions::new().context(8).batch(4).source(4);

/// Far above what any of them takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn numbers(config: &Value) -> Vec<String> {
    let entries = config.as_object().unwrap().iter();
    let whole = entries.filter(|(_, value)| value.as_u64().is_some());
    whole.map(|(key, _)| key.clone()).collect()
}

#[test]
fn no_number_of_a_configuration_does_harm() {
    let mut seen = BTreeSet::new();
    for fixture in runnable() {
        let config = fixture.config();
        // One of each kind: the others have the same numbers.
        if !seen.insert(config["model_type"].to_string()) {
            continue;
        }
        for key in numbers(&config) {
            for number in [json!(0), json!(1 << 20)] {
                let mut hostile = config.clone();
                hostile[&key] = number.clone();
                let label = format!("{}: {key} of {number}", fixture.name);
                let begin = Instant::now();
                match Blueprint::from_config(hostile.to_string().as_bytes(), options()) {
                    Ok(planned) => drop(planned.memory_plan(SMALL)),
                    Err(error) => assert!(!error.to_string().contains('\n'), "{label}"),
                }
                assert!(begin.elapsed() < PATIENCE, "{label}");
            }
        }
    }
}
