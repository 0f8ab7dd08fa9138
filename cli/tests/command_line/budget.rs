//! `--memory`: what a process takes is what it was given, or it says what it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use crate::support::folder::TempFolder;
use crate::support::translation;
use crate::{command, failure, path, rillm, tasks, text};

/// Thirty layers of about two MB, and embeddings of about 16 MB.
fn model(folder: &TempFolder) -> String {
    let file = folder.join("model.gguf");
    let made = rillm(&["synth", "smollm-135m", path(&file), "-q", "q4_0"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    path(&file).to_owned()
}

const MIB: u64 = 1 << 20;

fn arguments<'a>(model: &'a str, memory: &'a str) -> Vec<&'a str> {
    let mut all = vec!["run", model, "-p", "a text", "-n", "6", "--temp", "0"];
    all.extend(["-c", "64", "--stats", "--json", "--memory", memory]);
    all
}

/// The most that a process has had in memory, as long as it lives.
fn watched(mut child: Child) -> (u64, Output) {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(peak.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(1));
    }
    (most, child.wait_with_output().expect("its output"))
}

fn start(arguments: &[&str]) -> Child {
    let mut command = command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("rillm runs")
}

/// What was written, without the figures of time and memory.
fn words(output: &Output) -> Vec<String> {
    let lines = text(&output.stdout).lines();
    let values = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    values
        .filter_map(|value| value["text"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_process_takes_no_more_than_it_is_given_and_writes_the_same() {
    let folder = TempFolder::new("cli-budget");
    let model = model(&folder);
    let refused = rillm(&arguments(&model, "1M"));
    let least = least(&refused);
    let (_, whole) = watched(start(&arguments(&model, "1G")));
    let expected = words(&whole);
    assert!(!expected.is_empty(), "{}", text(&whole.stderr));
    // What the program itself takes is measured anew, and may be some pages more.
    for budget in [least + MIB, least + 16 * MIB, least + 40 * MIB] {
        let memory = budget.to_string();
        let (most, output) = watched(start(&arguments(&model, &memory)));
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(words(&output), expected, "{said}");
        assert!(said.contains("weights read: "), "{said}");
        assert!(
            most > 0 && most <= budget + budget * 3 / 100,
            "{most} of {budget} bytes: {said}"
        );
    }
    // Unless a context is asked for, there is one for what the text can reach.
    let memory = (least + MIB).to_string();
    let short = rillm(&[
        "run", &model, "-p", "a text", "-n", "6", "--memory", &memory,
    ]);
    assert!(short.status.success(), "{}", text(&short.stderr));
}

/// A control group of the first version, which root may make; of the second, where it is delegated.
fn group(name: &str, budget: u64) -> Option<PathBuf> {
    let kinds = [
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ];
    kinds.into_iter().find_map(|(root, limit)| {
        let group = Path::new(root).join(name);
        fs::create_dir(&group).ok()?;
        match fs::write(group.join(limit), budget.to_string()) {
            Ok(()) => Some(group),
            Err(_) => {
                let _ = fs::remove_dir(&group);
                None
            }
        }
    })
}

#[test]
fn a_control_group_of_the_budget_kills_nothing() {
    let folder = TempFolder::new("cli-group");
    let model = model(&folder);
    let budget = 64 * MIB;
    let name = format!("rillm-test-{}", std::process::id());
    let Some(group) = group(&name, budget) else {
        eprintln!("skipped: this machine lets nobody make a control group for memory");
        return;
    };
    let script = "echo $$ > \"$0\" && exec \"$@\"";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, path(&group.join("cgroup.procs"))]);
    shell
        .arg(env!("CARGO_BIN_EXE_rillm"))
        .args(arguments(&model, "64M"));
    let output = shell.output().expect("a shell");
    let _ = fs::remove_dir(&group);
    assert!(
        output.status.success(),
        "{:?}: {}",
        output.status,
        text(&output.stderr)
    );
    assert!(!words(&output).is_empty());
}

#[test]
fn experts_shows_what_a_text_uses() {
    let folder = TempFolder::new("cli-experts");
    let (file, picture) = (folder.join("model.gguf"), folder.join("map.svg"));
    let made = rillm(&["synth", "tiny-olmoe", path(&file), "-q", "q8_0"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let (file, picture) = (path(&file), path(&picture));
    let found = rillm(&[
        "experts",
        file,
        "some words of a text",
        "--json",
        "--svg",
        picture,
    ]);
    assert!(found.status.success(), "{}", text(&found.stderr));
    let found: serde_json::Value = serde_json::from_str(text(&found.stdout)).expect("JSON");
    let count = |value: &serde_json::Value| value.as_u64().expect("a number");
    let [tokens, layers, demand] = ["tokens", "layers", "demand"].map(|key| count(&found[key]));
    assert_eq!((layers, demand), (2, 8));
    let counts = found["counts"].as_array().expect("layers").iter();
    let counts = counts.flat_map(|layer| layer.as_array().expect("experts"));
    assert_eq!(counts.map(count).sum::<u64>(), tokens * demand);
    let map = fs::read_to_string(picture).expect("a picture");
    assert_eq!(map.matches("<title>").count(), 32);
    let texts = [file, file].map(|file| ["-f", file]).concat();
    let twice = rillm(&[&["experts", file], &texts[..]].concat());
    failure(&twice, 2, &["-f is given twice"]);
    let table = rillm(&["experts", file, "some words of a text"]);
    assert!(text(&table.stdout).contains("hits of a cache of whole experts"));
    // Layers are called what the model's tensors are, of which the first has no experts.
    let latent = folder.join("latent.gguf");
    rillm(&["synth", "tiny-deepseek2", path(&latent), "-q", "q8_0"]);
    let found = rillm(&["experts", path(&latent), "words", "--json"]);
    let found: serde_json::Value = serde_json::from_str(text(&found.stdout)).expect("JSON");
    assert_eq!(found["layers"], 1);
    assert_eq!(found["layer_numbers"], serde_json::json!([1]));
    let dense = folder.join("dense.gguf");
    rillm(&["synth", "tiny-llama", path(&dense), "-q", "q8_0"]);
    failure(
        &rillm(&["experts", path(&dense), "words"]),
        1,
        &["has no experts"],
    );
}

/// Bytes that a refusal says are the least.
fn least(output: &Output) -> u64 {
    let what = failure(output, 1, &["the least that works is"]);
    let after = what.split("the least that works is ").nth(1);
    let least = after.and_then(|rest| rest.split(':').next());
    least.and_then(|least| least.parse().ok()).expect("bytes")
}

#[test]
fn every_command_that_runs_a_model_keeps_the_budget_or_says_the_least() {
    let folder = TempFolder::new("cli-tasks-budget");
    let (file, moe) = (folder.join("text"), folder.join("moe.gguf"));
    fs::write(
        &file,
        "the king went to London and the queen did not\n".repeat(8),
    )
    .expect("a text");
    let made = rillm(&["synth", "tiny-olmoe", path(&moe), "-q", "q8_0"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let (file, moe) = (path(&file), path(&moe));
    let tasks = |name: &str| path(&tasks::model(name)).to_owned();
    let [embed, classify, rerank] = ["embed", "classify", "rerank"].map(tasks);
    let [tag, fill, answer] = ["tag", "fill-mask", "answer"].map(tasks);
    let translate = translation::folder(&translation::cases()[0]);
    let commands: [&[&str]; 11] = [
        &["embed", &embed, "-f", file],
        &["embed", &tasks("embed_last"), "-f", file],
        &["similar", &embed, "a king", "-f", file],
        &["classify", &classify, "-f", file],
        &["rerank", &rerank, "who is king?", "-f", file],
        &["tag", &tag, "-f", file],
        &["fill-mask", &fill, "the [MASK] went to London"],
        &["answer", &answer, "who went?", "the king went to London"],
        &["translate", path(&translate), "-f", file, "--to", "fr_XX"],
        &["perplexity", moe, "-f", file, "-c", "16"],
        &["experts", moe, "-f", file],
    ];
    let with = |command: &[&str], memory: u64| {
        let memory = memory.to_string();
        rillm(&[command, &["--memory", &memory]].concat())
    };
    for command in commands {
        let expected = rillm(command);
        assert!(
            expected.status.success(),
            "{command:?}: {}",
            text(&expected.stderr)
        );
        let least = least(&with(command, 1));
        let found = with(command, least + MIB);
        let said = text(&found.stderr);
        assert!(found.status.success(), "{command:?}: {said}");
        assert_eq!(text(&found.stdout), text(&expected.stdout), "{command:?}");
        assert!(said.contains("weights in memory: "), "{command:?}: {said}");
        assert!(said.contains("activations "), "{command:?}: {said}");
        let both = together(
            &folder,
            &[command, &["--memory", &(least + MIB).to_string()]].concat(),
        );
        let answer = text(&expected.stdout).trim();
        let [told, answered] = ["weights in memory: ", answer].map(|what| both.find(what));
        let in_order = answer.is_empty() || told < answered;
        assert!(told.is_some() && in_order, "{command:?}: {both}");
    }
}

/// What a command writes to either stream, in the order in which it does.
fn together(folder: &TempFolder, arguments: &[&str]) -> String {
    let path = folder.join("both");
    let file = fs::File::create(&path).expect("a file");
    let mut command = command(arguments);
    command.stdout(file.try_clone().expect("the same file"));
    command.stderr(file);
    assert!(command.status().expect("rillm runs").success());
    fs::read_to_string(&path).expect("what was written")
}

#[test]
fn models_are_compared_within_a_budget() {
    let folder = TempFolder::new("cli-compare-budget");
    let model = model(&folder);
    let json = folder.join("figures.json");
    let compared = |more: &[&str]| {
        let all = [
            "compare",
            &model,
            "-c",
            "32",
            "-n",
            "2",
            "--json",
            path(&json),
        ];
        rillm(&[&all[..], more].concat())
    };
    let weights = || {
        let figures: serde_json::Value =
            serde_json::from_slice(&fs::read(&json).expect("figures")).expect("JSON");
        figures["models"][0]["weights_bytes"]
            .as_u64()
            .expect("bytes")
    };
    let whole = compared(&[]);
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let all = weights();
    let refused = compared(&["--memory", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    let least = text(&refused.stderr)
        .split("the least that works is ")
        .nth(1);
    let least = least.and_then(|rest| rest.split(':').next()?.parse::<u64>().ok());
    let least = least.expect("bytes");
    let held = compared(&["--memory", &(least + MIB).to_string()]);
    let said = text(&held.stderr);
    assert!(held.status.success(), "{said}");
    // Of several models each by its name.
    let begins = |line: &str| line.contains(" within ") && !line.starts_with("within");
    assert!(said.lines().any(begins), "{said}");
    assert!(said.contains("read anew by each run: "), "{said}");
    assert!(weights() < all, "{} of {all}", weights());
}

#[test]
fn eval_within_a_budget_writes_the_same_bytes() {
    let folder = TempFolder::new("cli-eval-budget");
    let [input, whole, held] = ["input", "whole", "held"].map(|name| folder.join(name));
    fs::write(
        &input,
        r#"{"input_ids": [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]}"#,
    )
    .expect("an input");
    let model = tasks::model("embed");
    let eval = |output: &Path, more: &[&str]| {
        let all = [
            "eval",
            path(&model),
            "--input",
            path(&input),
            "--output",
            path(output),
        ];
        rillm(&[&all[..], more].concat())
    };
    assert!(eval(&whole, &[]).status.success());
    let least = least(&eval(&held, &["--memory", "1"]));
    assert!(!held.exists(), "half a file");
    let found = eval(&held, &["--memory", &(least + MIB).to_string()]);
    assert!(found.status.success(), "{}", text(&found.stderr));
    assert_eq!(
        fs::read(&whole).expect("outputs"),
        fs::read(&held).expect("outputs")
    );
}
