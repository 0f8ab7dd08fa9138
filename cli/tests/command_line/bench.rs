//! `rillm bench`: the tests asked for, in every form.

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::text::DEMO;
use crate::{failure, path, rillm, text};
use serde_json::Value;

fn bench(model: &str, more: &[&str]) -> String {
    let folder = Fixture::load(model).folder();
    let output = rillm(&[&["bench", path(&folder), "-r", "2"], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Two depths of two prompts, one generation and both together.
const MANY: &[&str] = &[
    "-p", "8,3", "-n", "4", "--pg", "5,2", "-d", "0,6", "-b", "4",
];

const NAMES: [&str; 8] = [
    "pp8",
    "pp3",
    "tg4",
    "pp5+tg2",
    "pp8 @ d6",
    "pp3 @ d6",
    "tg4 @ d6",
    "pp5+tg2 @ d6",
];

#[test]
fn every_combination_is_measured() {
    // One that rewinds and one that goes back to a checkpoint.
    for model in ["llama_mqa", "mamba"] {
        let shown = bench(model, &[MANY, &["--json"]].concat());
        let lines: Vec<Value> = shown
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let names: Vec<&str> = lines
            .iter()
            .map(|line| line["test"].as_str().unwrap())
            .collect();
        assert_eq!(names, NAMES, "{model}");
        for line in &lines {
            let number = |key: &str| line[key].as_f64().unwrap();
            let (least, mean, most) = (number("min"), number("tokens_per_second"), number("max"));
            assert!(0.0 < least && least <= mean && mean <= most, "{line}");
            // Of two values, the deviation is their distance by √2.
            let deviation = (most - least) / f64::sqrt(2.0);
            assert!((number("stddev") - deviation).abs() < 1e-6 * most, "{line}");
            assert_eq!(line["repetitions"], 2);
        }
        assert_eq!(lines[7]["n_prompt"], 5);
        assert_eq!(lines[7]["n_gen"], 2);
        assert_eq!(lines[7]["n_depth"], 6);
    }
}

/// What encoders read is measured in texts; what comes after a source, behind its length.
#[test]
fn encoders_are_measured_by_their_texts() {
    let names = |model: &str, more: &[&str]| -> Vec<String> {
        let shown = bench(model, &[more, &["--json", "--no-warmup"]].concat());
        let name = |line: &str| -> String {
            let line: Value = serde_json::from_str(line).expect("JSON");
            assert!(line["tokens_per_second"].as_f64().unwrap() > 0.0, "{line}");
            assert!(line["share"].as_f64().unwrap() > 0.0, "{line}");
            line["test"].as_str().unwrap().to_string()
        };
        shown.lines().map(name).collect()
    };
    // It generates nothing, so that depths change nothing either.
    let texts = ["-p", "8,3", "--texts", "1,4", "-d", "0,5"];
    assert_eq!(
        names("bert", &texts),
        ["enc8", "enc8 x 4", "enc3", "enc3 x 4"]
    );
    let both = [
        "-p", "6", "-n", "3", "--pg", "5,2", "-d", "0,4", "--texts", "2",
    ];
    assert_eq!(
        names("t5_gated", &both),
        ["enc6 x 2", "tg3 x 2 @ d6", "enc5+tg2 x 2", "tg3 x 2 @ d4"]
    );
    let folder = Fixture::load("bert").folder();
    let nothing = rillm(&["bench", path(&folder), "-p", "0"]);
    failure(&nothing, 2, &["BERT generates nothing", "-p above 0"]);
    let usual = rillm(&["bench", path(&folder)]);
    failure(
        &usual,
        2,
        &["texts of at most", "enc512 is longer: give -p up to"],
    );
}

#[test]
fn every_form_has_every_test() {
    let small = ["-p", "4", "-n", "2", "--no-warmup"];
    let all: Vec<Value> =
        serde_json::from_str(&bench("llama_mqa", &[&small[..], &["-o", "json"]].concat()))
            .expect("a JSON list");
    assert_eq!(all.len(), 2);
    assert_eq!(all[1]["test"], "tg2");
    for key in [
        "read_gb_per_second",
        "int8_gop_per_second",
        "f32_gflop_per_second",
    ] {
        assert!(all[0]["roofline"][key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert!(all[1]["share"].as_f64().unwrap() > 0.0);

    let shown = bench("llama_mqa", &[&small[..], &["-o", "csv"]].concat());
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(lines[0].starts_with("model,architecture,"), "{shown}");
    assert!(lines[1].contains("\"llama\"") && lines[1].contains("\"pp4\""));

    let shown = bench("llama_mqa", &[&small[..], &["--no-roofline"]].concat());
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 4, "{shown}");
    assert!(lines[1].starts_with("| :--") && lines[3].contains(" ± "));
    let width = lines[0].chars().count();
    assert!(
        lines.iter().all(|line| line.chars().count() == width),
        "{shown}"
    );
}

#[test]
fn a_prompt_of_one_token_is_bound_by_memory_as_a_generated_one_is() {
    let shown = bench("llama_mqa", &["-p", "1", "-n", "1", "--json"]);
    let limits = shown.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["limit"].as_f64().expect("a number")
    });
    let limits: Vec<f64> = limits.collect();
    // The KV cache of the one is not counted for the other.
    assert!(limits[0] < 2.0 * limits[1], "{limits:?}");
}

/// More than the model was trained for is measured, and said once.
#[test]
fn a_context_that_was_not_trained_for_is_told() {
    let base = ["bench", DEMO, "--no-roofline", "--no-warmup", "-r", "1"];
    let more = ["-p", "4", "-n", "2", "-d", "600,0"];
    let output = rillm(&[&base[..], &more].concat());
    let warned = text(&output.stderr);
    assert!(output.status.success(), "{warned}");
    assert_eq!(
        warned.matches("context 604 is more than the").count(),
        1,
        "{warned}"
    );
}

#[test]
fn what_cannot_be_measured_is_a_wrong_command_line() {
    for more in [
        &["--pg", "5"][..],
        &["--pg", "0,5"],
        &["--pg", "5,4194305"],
        &["-p", "1,x"],
        &["-b", "0"],
        &["-o", "xml"],
        &["--json", "-o", "md"],
    ] {
        let arguments = [&["bench", "x.gguf"], more].concat();
        failure(&rillm(&arguments), 2, &[]);
    }
}

#[test]
fn a_profile_names_steps_and_layers_and_a_trace_is_json() {
    let folder = TempFolder::new("trace");
    let trace = folder.join("trace.json");
    let model = Fixture::load("llama_mqa").folder();
    let arguments = [
        "bench",
        path(&model),
        "-p",
        "5",
        "-n",
        "3",
        "-r",
        "1",
        "--profile",
        "--trace",
        path(&trace),
    ];
    let output = rillm(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stderr);
    for what in [
        "pp5, prefill",
        "tg3, decode",
        "matmul attn_q",
        "waiting at barriers",
    ] {
        assert!(shown.contains(what), "{what}: {shown}");
    }
    let trace: Value = serde_json::from_slice(&std::fs::read(&trace).unwrap()).expect("JSON");
    let events = trace["traceEvents"].as_array().unwrap();
    let steps = events.iter().filter(|event| event["ph"] == "X");
    assert!(steps.clone().any(|event| event["args"]["layer"] == 1));
    assert!(steps.clone().all(|event| event["dur"].as_f64().is_some()));
}

#[test]
fn a_profile_says_how_fast_experts_are() {
    let model = Fixture::load("mixtral").folder();
    let more = ["-p", "9", "-n", "2", "-r", "1", "--profile"];
    let output = rillm(&[&["bench", path(&model)], &more[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stderr);
    let lines = shown.lines().filter(|line| line.contains("expert"));
    let lines: Vec<&str> = lines.filter(|line| line.contains("ffn_")).collect();
    // Time, its share, GB/s, GOP/s, the step's name and its weights': of both plans.
    assert!(lines.len() >= 4, "{shown}");
    for line in lines {
        assert_eq!(line.split_whitespace().count(), 6, "{line}");
    }
}

#[test]
fn kernels_need_no_model_and_stand_alone() {
    failure(&rillm(&["bench", "x.gguf", "--kernels"]), 2, &["--kernels"]);
}

/// A machine has a node at least. Where the system lets nobody choose, as in a container, that is said.
#[test]
fn threads_and_memory_are_placed_or_it_is_said_why_not() {
    let folder = Fixture::load("llama_mqa").folder();
    // The last as llama.cpp has them.
    for place in ["local", "interleave", "isolate", "distribute", "numactl"] {
        let numa = ["bench", path(&folder), "-p", "4", "-n", "0", "-r", "1"];
        let output = rillm(&[&numa[..], &["--numa", place]].concat());
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{place}: {errors}");
        let refused = errors.contains("--numa is without effect, the system refuses: ");
        assert_eq!(errors.contains("warning"), refused, "{place}: {errors}");
    }
    let output = rillm(&["bench", path(&folder), "--numa", "everywhere"]);
    assert_eq!(output.status.code(), Some(2));
}
