//! `rillm compare`: every model at every length, as table, JSON and picture.

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::{command, failure, path, rillm, text};
use serde_json::Value;
use std::process::Stdio;

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
    // What is quoted is of lengths that these are far from.
    assert!(!shown.contains("Quoted"), "{shown}");
    let json: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).expect("JSON");
    let state = |model: usize, point: usize| {
        json["models"][model]["points"][point]["state_bytes"]
            .as_u64()
            .unwrap()
    };
    // Keys and values grow, recurrent state does not.
    assert!(state(0, 0) < state(0, 2));
    assert_eq!(state(1, 0), state(1, 2));
    // Beside the first model, which is beside itself one.
    let ratio = |model: usize, which: &str| json["models"][model]["points"][1][which].as_f64();
    assert_eq!(ratio(0, "speed_ratio"), Some(1.0));
    assert!(ratio(1, "memory_ratio").is_some_and(|ratio| ratio > 0.0 && ratio != 1.0));
    let svg = std::fs::read_to_string(&svg).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 4);
    assert!(!svg.contains("Quoted"), "{svg}");
}

/// Encoders read texts, encoder–decoders write after them as well; shapes are drawn for lengths that those
/// of their name do not reach.
#[test]
fn readers_are_compared_over_length() {
    let folder = TempFolder::new("compare-readers");
    let page = folder.join("page.md");
    let models = ["t5", "bert"].map(|name| Fixture::load(name).folder());
    let asked = ["--min-context", "4", "-c", "16", "-n", "2", "--json", "-"];
    let output = rillm(&[&["compare", path(&models[0]), path(&models[1])], &asked[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (model, writes) in [(0, true), (1, false)] {
        for point in json["models"][model]["points"].as_array().expect("points") {
            let number = |key: &str| point[key].as_f64();
            let texts = number("texts_per_second").unwrap();
            let read = number("tokens_per_second").unwrap();
            assert!((texts * number("context").unwrap() / read - 1.0).abs() < 1e-6);
            assert_eq!(number("written_tokens_per_second").is_some(), writes);
        }
    }
    let asked = [
        "--min-context",
        "1024",
        "-c",
        "2048",
        "-n",
        "1",
        "-q",
        "q8_0",
    ];
    let shape = ["compare", "bert-tiny", "--report", path(&page)];
    let output = rillm(&[&shape[..], &asked[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("| texts/s | writes t/s |"), "{shown}");
    let page = std::fs::read_to_string(&page).expect("a page");
    assert!(page.contains(">texts per second<") && page.contains("| bert-tiny | 2K |"));
}

#[test]
fn a_size_that_no_shape_has_is_a_wrong_command_line() {
    for size in ["3T", "", "70m", "m"] {
        let shown = size.to_ascii_lowercase();
        let says = [shown.as_str(), "370m", "tiny"];
        failure(&rillm(&["compare", "--synthetic", size]), 2, &says);
    }
}

#[test]
fn figures_that_are_quoted_stand_beside_lengths_like_theirs() {
    let model = Fixture::load("mamba").folder();
    let folder = TempFolder::new("compare-quoted");
    let svg = folder.join("out.svg");
    let length = ["--min-context", "16384", "-c", "16384", "-n", "1"];
    let files = ["--json", "-", "--svg", path(&svg)];
    let output = rillm(&[&["compare", path(&model)], &length[..], &files[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    // Standard output is JSON alone.
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["models"][0]["points"][0]["context"], 16384);
    assert!(text(&output.stderr).contains("on a GPU at 16K, not measured here"));
    let svg = std::fs::read_to_string(&svg).expect("a picture");
    assert!(svg.contains("Mamba 380 t/s in 8 GB (3.17, 0.33)"), "{svg}");
}

#[test]
fn files_that_cannot_be_made_are_named_before_anything_is_measured() {
    let model = Fixture::load("llama_mqa").folder();
    for option in ["--json", "--svg"] {
        let arguments = ["compare", path(&model), option, "/no/such/folder/x"];
        failure(&rillm(&arguments), 1, &["/no/such/folder/x"]);
    }
    let bench = ["bench", path(&model), "--trace", "/no/such/folder/x"];
    failure(&rillm(&bench), 1, &["/no/such/folder/x"]);
    let svg = ["compare", path(&model), "--svg", "-"];
    failure(&rillm(&svg), 2, &["--svg"]);
}

/// What is timed at one length never reaches into the next, and the last one has room.
#[test]
fn the_lengths_are_those_asked_for() {
    let model = Fixture::load("llama_mqa").folder();
    let contexts = |arguments: &[&str]| -> Vec<String> {
        let output = rillm(&[&["compare", path(&model)], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines = text(&output.stdout).lines();
        let rows = lines.filter(|line| line.starts_with("| ")).skip(1);
        let cell = |row: &str| row.split(" | ").nth(1).map(str::to_string);
        rows.filter_map(cell).collect()
    };
    assert_eq!(contexts(&["-c", "64"]), ["64"]);
    let short = ["--min-context", "1", "-c", "8", "-n", "100"];
    assert_eq!(contexts(&short), ["1", "2", "4", "8"]);
    failure(
        &rillm(&["compare", path(&model), "--min-context", "9", "-c", "8"]),
        2,
        &["--min-context 9", "-c 8"],
    );
}

/// One that cannot be run is said so in its place; the others have theirs, and so has the picture
/// when nobody reads the table.
#[test]
fn a_model_that_fails_costs_no_other_its_figures() {
    let folder = TempFolder::new("compare-failing");
    let svg = folder.join("out.svg");
    let model = Fixture::load("mamba").folder();
    let arguments = [
        "compare",
        path(&model),
        "/no/such/model.gguf",
        path(&model),
        "-c",
        "16",
        "-n",
        "2",
        "--svg",
        path(&svg),
    ];
    let output = rillm(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("1 of 3 models failed"), "{said}");
    let shown = text(&output.stdout);
    assert_eq!(shown.matches(" | 16 | ").count(), 2, "{shown}");
    assert_eq!(shown.matches("| model | failed: ").count(), 1, "{shown}");
    std::fs::remove_file(&svg).expect("a picture");
    let mut child = command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("rillm runs");
    drop(child.stdout.take());
    child.wait().expect("it ends");
    let picture = std::fs::read_to_string(&svg).expect("a picture");
    assert_eq!(picture.matches("<polyline").count(), 4);
}

/// Without a figure nothing is explained; the table says what failed.
#[test]
fn models_that_all_fail_leave_a_table_of_failures() {
    let output = rillm(&["compare", "/no/such/model.gguf", "-c", "16"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert_eq!(shown.lines().count(), 3, "{shown}");
    assert!(shown.contains("| model | failed: "), "{shown}");
}

/// One page with all that a reader asks: what each does, on what, by which command, and the picture.
#[test]
fn a_report_holds_everything() {
    let folder = TempFolder::new("compare-report");
    let (page, prose) = (folder.join("page.md"), folder.join("prose.txt"));
    std::fs::write(&prose, "Once upon a time there was a bear. ".repeat(30)).expect("a file");
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");
    let encoder = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/encoder.gguf");
    let models = ["compare", demo, encoder, "--min-context", "8", "-c", "32"];
    let asked = [
        "-n",
        "2",
        "-f",
        path(&prose),
        "--report",
        path(&page),
        "--json",
        "-",
    ];
    let output = rillm(&[&models[..], &asked[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let [decoder, reader] = [0, 1].map(|model| &json["models"][model]);
    assert_eq!(
        (&decoder["encodes"], &reader["encodes"]),
        (&false.into(), &true.into())
    );
    assert!(
        decoder["perplexity"]
            .as_f64()
            .is_some_and(|found| found > 1.0)
    );
    assert_eq!(reader["perplexity"], Value::Null);
    for point in reader["points"].as_array().expect("points") {
        let [rate, first] =
            ["tokens_per_second", "first_token_seconds"].map(|key| point[key].as_f64());
        let tokens = rate.unwrap() * first.unwrap();
        assert!((tokens - point["context"].as_f64().unwrap()).abs() < 1e-3);
    }
    let page = std::fs::read_to_string(&page).expect("a page");
    for part in [
        "# Models side by side",
        "- CPU: ",
        "--min-context 8",
        "| demo | 8 |",
        "| perplexity |",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.trim_end().ends_with("</svg>") && page.contains("<polyline"));
}
