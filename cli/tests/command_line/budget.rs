//! `--memory`: what a process takes is what it was given, or it says what it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use crate::support::folder::TempFolder;
use crate::{command, failure, path, rillm, text};

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
    let what = failure(&refused, 1, &["the least that works is"]);
    let least = what
        .split("the least that works is ")
        .nth(1)
        .expect("a number");
    let least: u64 = least
        .split(':')
        .next()
        .and_then(|least| least.parse().ok())
        .expect("bytes");
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
    let table = rillm(&["experts", file, "some words of a text"]);
    assert!(text(&table.stdout).contains("hits of a cache of whole experts"));
    let dense = folder.join("dense.gguf");
    rillm(&["synth", "tiny-llama", path(&dense), "-q", "q8_0"]);
    failure(
        &rillm(&["experts", path(&dense), "words"]),
        1,
        &["has no experts"],
    );
}
