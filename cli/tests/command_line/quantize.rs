//! `rillm quantize` as a user meets it.

use crate::support::folder::TempFolder;
use std::process::{Command, Output};

fn rillm(arguments: &[&str]) -> Output {
    let rillm = env!("CARGO_BIN_EXE_rillm");
    Command::new(rillm)
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn the_embedded_model_tells_a_story_in_every_type() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");
    let folder = TempFolder::new("story");
    for mix in ["q4_k_m", "Q6_K", "q5_1", "iq4_nl", "mxfp4", "q3_k_l"] {
        let path = folder.join("out.gguf");
        let path = path.to_str().expect("text");
        let done = rillm(&[
            "quantize",
            demo,
            path,
            "-q",
            mix,
            "--allow-requantize",
            "--force",
        ]);
        assert!(done.status.success(), "{mix}: {}", text(&done.stderr));
        let lines: Vec<&str> = text(&done.stdout).lines().collect();
        assert!(lines[0].starts_with("type"), "{lines:?}");
        assert!(lines.last().is_some_and(|line| line.starts_with("file")));
        let story = rillm(&[
            "run",
            path,
            "-p",
            "Once upon a time",
            "-n",
            "20",
            "--temp",
            "0",
        ]);
        assert!(story.status.success(), "{mix}: {}", text(&story.stderr));
        assert!(
            text(&story.stdout).len() > 30,
            "{mix}: {}",
            text(&story.stdout)
        );
    }
}

/// llama-quantize's lines: types by the numbers that they have in files, and threads behind them.
#[test]
fn a_type_has_a_number_and_threads_may_be_the_last_word() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");
    let folder = TempFolder::new("numbers");
    let mut written = Vec::new();
    for (number, words) in [("15", &["2"][..]), ("q4_k_m", &["-t", "1"])] {
        let path = folder.join(format!("{number}.gguf"));
        let file = path.to_str().expect("text");
        let line = ["quantize", demo, file, number];
        let line = [&line[..], words, &["--allow-requantize"]].concat();
        let done = rillm(&line);
        assert!(done.status.success(), "{}", text(&done.stderr));
        written.push(std::fs::read(path).expect("a file"));
    }
    assert!(written[0] == written[1]);
    let both = rillm(&["quantize", demo, "x.gguf", "q8_0", "2", "-t", "2"]);
    assert_eq!(both.status.code(), Some(2), "{}", text(&both.stderr));
}

#[test]
fn nothing_is_lost_by_accident() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");
    let folder = TempFolder::new("accident");
    let path = folder.join("out.gguf");
    let out = path.to_str().expect("text");
    let refused = |arguments: &[&str], why: &str| {
        let done = rillm(arguments);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
        let error = text(&done.stderr);
        assert!(
            error.contains(why) && error.trim_end().lines().count() == 1,
            "{error}"
        );
    };
    refused(
        &["quantize", demo, out, "-q", "q4_0"],
        "say --allow-requantize",
    );
    std::fs::write(&path, "mine").expect("a file");
    let again = ["quantize", demo, out, "-q", "q4_0", "--allow-requantize"];
    refused(&again, "--force replaces it");
    assert_eq!(std::fs::read(&path).expect("a file"), b"mine");
    std::fs::copy(demo, &path).expect("a copy");
    refused(
        &["quantize", out, out, "-q", "copy", "-f"],
        "is the file to read",
    );
    let unknown = rillm(&["quantize", demo, out, "-q", "q9"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("Q4_K_M"));
}

#[test]
fn a_dry_run_says_what_a_run_does() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");
    let folder = TempFolder::new("dry");
    let path = folder.join("out.gguf");
    let out = path.to_str().expect("text");
    let arguments = [
        "quantize",
        demo,
        out,
        "-q",
        "q4_k_m",
        "--allow-requantize",
        "--json",
    ];
    let json = |arguments: &[&str]| -> serde_json::Value {
        let done = rillm(arguments);
        assert!(done.status.success(), "{}", text(&done.stderr));
        serde_json::from_slice(&done.stdout).expect("JSON")
    };
    let dry = json(&[&arguments[..], &["--dry-run"]].concat());
    assert!(!path.exists());
    let done = json(&arguments);
    let len = std::fs::metadata(&path).expect("a file").len();
    assert_eq!(dry["bytes"], len);
    assert_eq!(done["bytes"], len);
    let tensors = done["tensors"].as_array().expect("tensors");
    let planned = dry["tensors"].as_array().expect("tensors");
    assert_eq!(tensors.len(), planned.len());
    for (tensor, planned) in tensors.iter().zip(planned) {
        assert_eq!(tensor["to"], planned["to"]);
        let error = tensor["relative_rmse"].as_f64().expect("an error");
        assert!(error < 0.2, "{tensor}");
    }
}

/// A folder with a vocabulary becomes a file that speaks.
#[test]
fn a_folder_becomes_a_file_with_its_vocabulary_and_template() {
    use crate::support::fixture::Fixture;
    let folder = TempFolder::new("vocabulary");
    let fixture = Fixture::load("llama");
    let from = fixture.folder();
    let tokenizer = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../formats/tests/data/tokenizer/llama3.tokenizer.json"
    );
    std::fs::copy(tokenizer, from.join("tokenizer.json")).expect("a copy");
    let config = r#"{"chat_template":"{{ messages[0].content }}"}"#;
    std::fs::write(from.join("tokenizer_config.json"), config).expect("a file");
    let path = folder.join("out.gguf");
    let (from, out) = (from.to_str().expect("text"), path.to_str().expect("text"));
    let done = rillm(&["quantize", from, out, "-q", "f16"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let ids = |model: &str| {
        let done = rillm(&["tokenize", model, "-p", "The lamp, 365 keepers!", "--ids"]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        text(&done.stdout).to_string()
    };
    assert_eq!(ids(out), ids(from));
    let files = rillm::internals::weights::open(&path).expect("a file");
    let template = files.manifest.metadata.str("tokenizer.chat_template");
    assert_eq!(template, Some("{{ messages[0].content }}"));
    // Without one, it says so and goes on.
    std::fs::remove_file(std::path::Path::new(from).join("tokenizer.json")).expect("it was there");
    let done = rillm(&["quantize", from, out, "-q", "f16", "-f"]);
    assert!(done.status.success());
    assert!(
        text(&done.stderr).contains("has no tokenizer"),
        "{}",
        text(&done.stderr)
    );
}
