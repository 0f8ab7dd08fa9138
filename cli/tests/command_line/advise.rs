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
            &["--task", "understand", "--languages", "one", "-c", "4096"],
            "sparse encoder",
        ),
        (&["--task", "transform", "--tasks", "one"], "T5"),
        (
            &["--task", "transform", "--tasks", "one", "-c", "16384"],
            "long encoder-decoder",
        ),
        (&["--task", "transform", "--tasks", "several"], "Flan-T5"),
    ] {
        let found = advice(&folder, 16, arguments);
        assert_eq!(found["path"]["leaf"], leaf, "{arguments:?}");
        let all = found["candidates"].as_array().expect("candidates");
        assert!(all.len() > 1, "{arguments:?}");
        assert_eq!(all[0]["standing"], "fits", "{arguments:?}");
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
    assert_eq!(standing(&disk), "from disk");
}

/// One of these, by a number that is drawn.
fn one_of<'a>(random: &mut fastrand::Rng, all: &[&'a str]) -> &'a str {
    random.choice(all).expect("some")
}

/// What a user may ask for, drawn.
fn wishes(random: &mut fastrand::Rng) -> Vec<&'static str> {
    let task = one_of(random, &["generate", "understand", "transform"]);
    let count = one_of(random, &["one", "several"]);
    let mut asked = match task {
        "understand" => vec!["--task", task, "--languages", count],
        "transform" => vec!["--task", task, "--tasks", count],
        _ => vec!["--task", task],
    };
    for (option, values) in [
        (
            "-c",
            &["1", "512", "4096", "16384", "100000", "16777216"][..],
        ),
        ("--memory", &["1M", "100M", "3G", "100G"]),
        ("--room", &["much", "little"]),
        ("--streams", &["1", "8", "4096"]),
        ("--speed", &["0.1", "50", "5000"]),
        ("--kv-type", &["f32", "q8_0"]),
    ] {
        if random.u8(0..3) == 0 {
            asked.extend([option, one_of(random, values)]);
        }
    }
    for flag in ["--fastest", "--disk"] {
        if random.u8(0..3) == 0 {
            asked.push(flag);
        }
    }
    asked
}

/// Whatever is asked for: what is recommended fits, writes if it is to write, is no faster than the bus,
/// and a reason is given.
#[test]
fn no_wish_leads_to_nonsense() {
    let folder = TempFolder::new("advise-wishes");
    let mut random = fastrand::Rng::with_seed(23);
    for _ in 0..12 {
        let asked = wishes(&mut random);
        let gigabytes = [2, 8, 64][random.usize(0..3)];
        let found = advice(&folder, gigabytes, &asked);
        let label = format!("{gigabytes} GB, {asked:?}");
        let memory = found["asked"]["memory_bytes"].as_u64().unwrap();
        let streams = found["asked"]["streams"].as_f64().unwrap();
        for one in found["candidates"].as_array().unwrap() {
            let number = |key: &str| {
                one[key]
                    .as_f64()
                    .unwrap_or_else(|| panic!("{label}: {key}"))
            };
            let fits = match one["standing"].as_str().unwrap() {
                "does not fit" => one["held_bytes"].as_u64() > Some(memory),
                _ => one["held_bytes"].as_u64() <= Some(memory),
            };
            assert!(fits, "{label}: {one}");
            let writes = one["generated_tokens_per_second"].as_f64();
            assert_eq!(writes.is_some(), asked[1] != "understand", "{label}: {one}");
            // Half of what it meets: a table of tokens is not read whole.
            let share = number("active_parameters") / number("parameters");
            let each = 0.5 * share * number("weights_bytes");
            let bus = streams * 40e9 / each;
            assert!(
                writes.is_none_or(|rate| 0.0 < rate && rate < bus),
                "{label}: {one}"
            );
        }
        let said = found["recommendation"].as_str().unwrap();
        let named = format!("Take {}", best(&found)["model"].as_str().unwrap());
        let takes =
            ["fits", "from disk", "slow"].contains(&best(&found)["standing"].as_str().unwrap());
        assert_eq!(said.starts_with(&named), takes, "{label}: {said}");
        assert!(
            takes || said.starts_with("Nothing of this kind"),
            "{label}: {said}"
        );
    }
}

#[test]
fn what_cannot_be_had_is_said_with_the_way_out() {
    let folder = TempFolder::new("advise-way-out");
    let said = |arguments: &[&str]| {
        let found = advice(&folder, 8, arguments);
        found["recommendation"].as_str().unwrap().to_owned()
    };
    let several = ["--task", "understand", "--languages", "several"];
    let long = said(&[&several[..], &["-c", "4096"]].concat());
    assert!(long.contains("cut them into parts, of 512"), "{long}");
    // Whoever says no length has none in mind.
    assert!(
        said(&several).starts_with("Take xlm-r"),
        "{}",
        said(&several)
    );
    let streams = said(&[
        "--task",
        "generate",
        "--streams",
        "4096",
        "--kv-type",
        "q8_0",
    ]);
    assert!(
        streams.contains("fewer streams") && !streams.contains("--kv-type"),
        "{streams}"
    );
    assert!(streams.contains("The least takes"), "{streams}");
    // Of what is too slow, what comes nearest.
    let slow = advice(&folder, 8, &["--task", "generate", "--speed", "100000"]);
    let rates = slow["candidates"].as_array().unwrap().iter();
    let slow_ones = rates.filter(|one| one["standing"] == "slow");
    let rate = |one: &Value| one["generated_tokens_per_second"].as_f64().unwrap();
    let rates: Vec<f64> = slow_ones.map(rate).collect();
    assert!(
        rates.len() > 2 && rates.is_sorted_by(|a, b| a >= b),
        "{rates:?}"
    );
}

/// Layers that do not stay and experts that are not there come as fast as the disk gives them.
#[test]
fn a_disk_bounds_what_memory_does_not_hold() {
    let folder = TempFolder::new("advise-disk");
    let of = |model: &str, memory: &str, disk: Option<f64>| {
        let file = machine(&folder, 8);
        let mut facts: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        facts["disk_gb_per_second"] = json!(disk);
        fs::write(&file, facts.to_string()).expect("a file");
        let asked = [
            "advise",
            model,
            "--json",
            "--machine",
            path(&file),
            "--memory",
            memory,
        ];
        let output = rillm(&[&asked[..], &["--disk", "--speed", "0.001", "-c", "512"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        found["candidates"][0].clone()
    };
    let rate = |one: &Value| one["generated_tokens_per_second"].as_f64().unwrap();
    for (model, memory) in [("olmoe-like", "1G"), ("llama-3.2-1b", "500M")] {
        let [slow, fast] = [0.5, 1.0].map(|disk| of(model, memory, Some(disk)));
        let unknown = of(model, memory, None);
        assert_eq!(slow["standing"], "from disk", "{model}: {slow}");
        let missing = slow["disk"]["bytes_per_token"].as_f64().unwrap();
        assert!(missing > 0.0 && missing < slow["weights_bytes"].as_f64().unwrap());
        // No more than the disk gives, and not much less of so slow a one.
        let bound = 0.5e9 / missing;
        assert!(
            rate(&slow) < 1.001 * bound && rate(&slow) > 0.7 * bound,
            "{model}: {slow}"
        );
        assert!(rate(&fast) > 1.5 * rate(&slow), "{model}");
        // A text that keeps to experts in memory waits for none.
        let most = slow["disk"]["generated_tokens_per_second_at_most"].as_f64();
        assert_eq!(
            most.is_some_and(|most| most > 2.0 * rate(&slow)),
            model == "olmoe-like"
        );
        // How fast an unknown one is nobody says.
        assert_eq!(
            (&slow["disk"]["is_timed"], &unknown["disk"]["is_timed"]),
            (&true.into(), &false.into())
        );
        assert!(rate(&unknown) > rate(&fast), "{model}");
        // Of all in memory nothing is read.
        let whole = of(model, "6G", Some(0.5));
        assert_eq!(
            (&whole["standing"], &whole["disk"]),
            (&"fits".into(), &Value::Null)
        );
    }
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
    }
    // Questions that were answered.
    let answered = |drawing: &str| drawing.matches("stroke-width=\"2.5\"").count();
    assert_eq!((answered(&one), answered(&other)), (3, 2));
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
    let measured = call(&["--remeasure"]);
    assert_eq!(measured["disk_gb_per_second"], Value::Null);
    // A disk is measured where it is asked for, and kept with the rest.
    let with_disk = call(&["--disk"]);
    assert!(
        with_disk["disk_gb_per_second"]
            .as_f64()
            .is_some_and(|rate| rate > 0.0)
    );
    assert_eq!(call(&[]), with_disk);
    let left = fs::read_dir(folder.join("rillm"))
        .expect("a folder")
        .count();
    assert_eq!(left, 1, "what was written to measure is gone");
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
