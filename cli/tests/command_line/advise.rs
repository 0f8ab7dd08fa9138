//! `rillm advise`: every leaf of the tree, on machines small and large.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::folder::TempFolder;
use crate::{command, failure, path, rillm, text};

/// A machine of so many gigabytes, in a file.
fn machine(folder: &TempFolder, gigabytes: u64) -> PathBuf {
    let file = folder.join(format!("{gigabytes}.json"));
    let facts = json!({
        "cpu": "a processor of the tests", "isa": "portable", "threads": 4,
        "memory_bytes": gigabytes << 30,
        "read_gb_per_second": 40, "int8_gop_per_second": 1500, "f32_gflop_per_second": 400,
    });
    fs::write(&file, facts.to_string()).expect("a file");
    file
}

fn advice(folder: &TempFolder, gigabytes: u64, arguments: &[&str]) -> Value {
    let machine = machine(folder, gigabytes);
    let asked = ["advise", "--json", "--machine", path(&machine)];
    let output = rillm(&[&asked[..], arguments].concat());
    let error = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_str(text(&output.stdout)).expect("JSON")
}

fn best(advice: &Value) -> &Value {
    &advice["candidates"][0]
}

#[test]
fn every_leaf_is_reached() {
    let folder = TempFolder::new("advise-leaves");
    for (arguments, leaf) in [
        (&["--task", "generate"][..], "decoder"),
        (&["--task", "generate", "-c", "8192"], "decoder"),
        (
            &["--task", "generate", "-c", "16384", "--room", "much"],
            "sparse attention",
        ),
        (
            &["--task", "generate", "-c", "16384", "--room", "little"],
            "state space or retention",
        ),
        (&["--task", "understand", "--languages", "several"], "XLM-R"),
        (&["--task", "understand", "--languages", "one"], "BERT"),
        (
            &["--task", "understand", "--languages", "one", "-c", "16384"],
            "sparse encoder",
        ),
        (&["--task", "transform", "--tasks", "one"], "T5"),
        (&["--task", "transform", "--tasks", "several"], "Flan-T5"),
    ] {
        let found = advice(&folder, 16, arguments);
        assert_eq!(found["path"]["leaf"], leaf, "{arguments:?}");
        let all = found["candidates"].as_array().expect("candidates");
        assert!(all.len() > 1, "{arguments:?}");
        for candidate in all {
            let bytes = |key: &str| candidate[key].as_u64().unwrap();
            let parts = ["weights_bytes", "state_bytes", "arena_bytes"].map(bytes);
            assert_eq!(bytes("total_bytes"), parts.iter().sum::<u64>());
            assert!(candidate["prompt_tokens_per_second"].as_f64().unwrap() > 0.0);
            let fits = candidate["standing"] != "does not fit";
            assert_eq!(
                fits,
                bytes("total_bytes") <= found["asked"]["memory_bytes"].as_u64().unwrap()
            );
        }
    }
}

/// Whether there is room is what a small decoder's cache says: 64 GB are much, 2 GB are little.
#[test]
fn machines_of_all_sizes_are_advised() {
    let folder = TempFolder::new("advise-machines");
    let mut parameters = Vec::new();
    for gigabytes in [2, 8, 64] {
        let short = advice(&folder, gigabytes, &["--task", "generate", "--speed", "1"]);
        assert_eq!(best(&short)["standing"], "fits", "{gigabytes} GB");
        parameters.push(best(&short)["parameters"].as_u64().unwrap());
        let long = advice(&folder, gigabytes, &["--task", "generate", "-c", "32768"]);
        let leaf = match gigabytes {
            2 => "state space or retention",
            _ => "sparse attention",
        };
        assert_eq!(long["path"]["leaf"], leaf, "{gigabytes} GB");
        assert_eq!(best(&long)["standing"], "fits", "{gigabytes} GB");
    }
    assert!(
        parameters.is_sorted() && parameters[0] < parameters[2],
        "{parameters:?}"
    );
    // Much less than any takes.
    let nothing = advice(&folder, 2, &["--task", "generate", "--memory", "1M"]);
    let said = nothing["recommendation"].as_str().unwrap();
    assert!(said.starts_with("Nothing of this kind fits"), "{said}");
}

#[test]
fn speed_and_streams_count() {
    let folder = TempFolder::new("advise-speed");
    let patient = advice(&folder, 64, &["--task", "generate", "--speed", "0.1"]);
    let hasty = advice(&folder, 64, &["--task", "generate", "--speed", "30"]);
    let parameters = |advice: &Value| best(advice)["parameters"].as_u64().unwrap();
    assert!(parameters(&hasty) < parameters(&patient));
    assert!(
        best(&hasty)["generated_tokens_per_second"]
            .as_f64()
            .unwrap()
            >= 30.0
    );
    let fastest = advice(&folder, 64, &["--task", "generate", "--fastest"]);
    let rates = fastest["candidates"].as_array().unwrap().iter();
    let fit = rates.filter(|candidate| candidate["standing"] == "fits");
    let rates: Vec<f64> = fit
        .map(|it| it["generated_tokens_per_second"].as_f64().unwrap())
        .collect();
    assert!(rates.is_sorted_by(|a, b| a >= b), "{rates:?}");
    // Weights are read once for all streams.
    let one = advice(&folder, 64, &["llama-3.2-1b"]);
    let many = advice(&folder, 64, &["llama-3.2-1b", "--streams", "8"]);
    let rate = |advice: &Value| {
        best(advice)["generated_tokens_per_second"]
            .as_f64()
            .unwrap()
    };
    assert!(rate(&many) > 1.5 * rate(&one) && rate(&many) < 8.0 * rate(&one));
    let state = |advice: &Value| best(advice)["state_bytes"].as_u64().unwrap();
    assert!(state(&many) > 7 * state(&one));
    // Experts that come from a disk need no memory.
    let asked = ["--task", "generate", "--memory", "12G", "--speed", "0.1"];
    let whole = advice(&folder, 64, &asked);
    let disk = advice(&folder, 64, &[&asked[..], &["--disk"]].concat());
    let standing = |advice: &Value| {
        let all = advice["candidates"].as_array().unwrap().iter();
        let found = all
            .clone()
            .find(|it| it["model"] == "mixtral-8x7b")
            .unwrap();
        found["standing"].as_str().unwrap().to_owned()
    };
    assert_eq!(standing(&whole), "does not fit");
    assert_eq!(standing(&disk), "experts from disk");
}

#[test]
fn given_models_are_ranked_and_figures_stand_beside_plans() {
    let folder = TempFolder::new("advise-models");
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");
    let found = advice(&folder, 8, &[demo, "mamba-370m", "--figures"]);
    let all = found["candidates"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(found["path"], Value::Null);
    let quoted = found["quoted"].as_array().unwrap();
    assert_eq!(quoted.len(), 7);
    let bytes = |of: &str, key: &str| {
        let found = quoted.iter().find(|figure| figure["of"] == of).unwrap();
        found[key].as_f64().unwrap() / 1e9
    };
    // 70.6 billion weights of 16 bits, and 80 layers of eight heads of 128 keys and values.
    assert!((bytes("LLaMA 3 70B", "f16_bytes") - (141.1 + 5.4)).abs() < 2.0);
    assert!(bytes("Mixtral 8x22B", "q4_k_m_bytes") > 80.0);
    let plain = machine(&folder, 8);
    let output = rillm(&["advise", demo, "--machine", path(&plain), "--figures"]);
    let said = text(&output.stdout);
    assert!(
        said.contains("LLaMA 3 70B") && said.contains("48 GB"),
        "{said}"
    );
}

#[test]
fn the_tree_is_drawn_with_its_path() {
    let folder = TempFolder::new("advise-svg");
    let file = folder.join("tree.svg");
    let drawn = |arguments: &[&str]| {
        advice(&folder, 8, &[arguments, &["--svg", path(&file)]].concat());
        fs::read_to_string(&file).expect("a drawing")
    };
    let one = drawn(&["--task", "transform", "--tasks", "one"]);
    let other = drawn(&["--task", "generate"]);
    assert_ne!(one, other);
    for drawing in [&one, &other] {
        assert!(drawing.starts_with("<svg") && drawing.trim_end().ends_with("</svg>"));
        for leaf in [
            "decoder",
            "sparse attention",
            "XLM-R",
            "BERT",
            "Flan-T5",
            "T5",
        ] {
            assert!(drawing.contains(&format!(">{leaf}<")), "{leaf}");
        }
        // A path of two questions, and of two.
        assert_eq!(drawing.matches("stroke-width=\"2.5\"").count(), 2);
    }
}

/// What was measured is kept, and counts as long as the machine is the same.
#[test]
fn a_measurement_is_kept() {
    let folder = TempFolder::new("advise-cache");
    let call = |more: &[&str]| {
        let arguments = [
            "advise",
            "tiny-llama",
            "--memory",
            "1G",
            "-t",
            "1",
            "--json",
        ];
        let mut command = command(&[&arguments[..], more].concat());
        let output = command
            .env("XDG_CACHE_HOME", &*folder)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let value: Value = serde_json::from_str(text(&output.stdout)).expect("JSON");
        value["machine"].clone()
    };
    let first = call(&[]);
    let kept = folder.join("rillm").join("machine.json");
    assert!(kept.is_file());
    assert_eq!(call(&[]), first);
    // Of another processor it is not taken.
    let mut other: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    other["cpu"] = json!("another");
    other["read_gb_per_second"] = json!(123_456);
    fs::write(&kept, other.to_string()).unwrap();
    assert_ne!(call(&[])["read_gb_per_second"], 123_456.0);
    fs::write(&kept, "nothing of the kind").unwrap();
    call(&[]);
    call(&["--remeasure"]);
}

#[test]
fn what_is_not_said_and_cannot_be_asked_is_an_error() {
    let folder = TempFolder::new("advise-errors");
    let machine = machine(&folder, 8);
    for (arguments, says) in [
        (&[][..], "--task"),
        (&["--task", "understand"], "--languages"),
        (&["--task", "transform"], "--tasks"),
        (&["--task", "sing"], "sing"),
    ] {
        let output = rillm(&[&["advise", "--machine", path(&machine)], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    // What has no end is not read to it.
    #[cfg(unix)]
    {
        let output = rillm(&["advise", "tiny-llama", "--machine", "/dev/zero"]);
        failure(&output, 1, &["/dev/zero: is longer than"]);
    }
    let broken = folder.join("broken.json");
    for facts in ["", "[]", "{}", r#"{"memory_bytes": -1}"#] {
        fs::write(&broken, facts).unwrap();
        let output = rillm(&["advise", "tiny-llama", "--machine", path(&broken)]);
        assert_eq!(output.status.code(), Some(1), "{facts:?}");
    }
}

#[cfg(unix)]
#[test]
fn people_are_asked() {
    let folder = TempFolder::new("advise-people");
    let machine = machine(&folder, 8);
    let arguments = ["advise", "--machine", path(&machine)];
    let typed = [(">", "what\r"), (">", "3\r"), (">", "sev\r")];
    let seen = crate::terminal::seen(120, &arguments, &folder, &typed);
    let lines = seen.lines().join("\n");
    assert!(lines.contains("What is the model to do?"), "{lines}");
    assert!(lines.contains("a number from 1 to 3, or a word"), "{lines}");
    assert!(lines.contains("transform → several → Flan-T5"), "{lines}");
    assert!(lines.contains("Take flan-t5-"), "{lines}");
}
