//! `rillm compare`: every model at every length, as table, JSON and picture.

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::{failure, path, rillm, text};
use serde_json::Value;

#[test]
fn every_model_is_measured_at_every_length() {
    let folder = TempFolder::new("compare");
    let (json, svg) = (folder.join("out.json"), folder.join("out.svg"));
    let models = ["llama_mqa", "mamba"].map(|name| Fixture::load(name).folder());
    let output = rillm(&[
        "compare",
        path(&models[0]),
        path(&models[1]),
        "--min-context",
        "8",
        "-c",
        "40",
        "-n",
        "2",
        "--json",
        path(&json),
        "--svg",
        path(&svg),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert_eq!(
        shown.lines().filter(|line| line.starts_with("| ")).count(),
        1 + 2 * 3,
        "{shown}"
    );
    assert!(shown.contains("Quoted"), "{shown}");
    let json: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).expect("JSON");
    let state = |model: usize, point: usize| {
        json["models"][model]["points"][point]["state_bytes"]
            .as_u64()
            .unwrap()
    };
    // Keys and values grow, recurrent state does not.
    assert!(state(0, 0) < state(0, 2));
    assert_eq!(state(1, 0), state(1, 2));
    let svg = std::fs::read_to_string(&svg).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 4);
}

#[test]
fn a_size_that_no_shape_has_is_a_wrong_command_line() {
    failure(&rillm(&["compare", "--synthetic", "3T"]), 2, &["3t"]);
}
