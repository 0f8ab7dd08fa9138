//! `rillm synth` as a user meets it.

use crate::support::folder::TempFolder;
use std::process::{Command, Output};

fn rillm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rillm"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn well(arguments: &[&str]) -> String {
    let done = rillm(arguments);
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {error}");
    String::from_utf8(done.stdout).expect("text")
}

#[test]
fn random_models_run_in_every_kind_of_type() {
    let folder = TempFolder::new("synth");
    let path = folder.join("out.gguf");
    let path = path.to_str().expect("text");
    for shape in [
        "tiny-llama",
        "tiny-mamba",
        "tiny-mamba2",
        "tiny-retnet",
        "tiny-linear",
        "tiny-gla",
        "tiny-rwkv4",
        "tiny-rwkv6",
        "tiny-rwkv7",
        "tiny-deepseek2",
        "tiny-gpt-oss",
        "tiny-gemma-3n",
        "tiny-lfm2",
        "tiny-qwen3.5",
    ] {
        for mix in ["q4_k_m", "q8_0", "f16", "f32"] {
            well(&["synth", shape, path, "-q", mix, "--force"]);
            let text = "Hello, wörld \u{1f600}\n";
            let ids = well(&["tokenize", path, "-p", text, "--ids"]);
            let ids: Vec<&str> = ids
                .split(|c: char| !c.is_ascii_digit())
                .filter(|id| !id.is_empty())
                .collect();
            let again = well(&[&["detokenize", path][..], &ids].concat());
            assert!(again.contains("Hello, wörld \u{1f600}"), "{again}");
            let run = [
                "run",
                path,
                "-p",
                text,
                "-n",
                "8",
                "--temp",
                "0",
                "--ignore-eos",
                "--json",
            ];
            let lines = well(&run);
            assert_eq!(lines.lines().count(), 9, "{shape}, {mix}: {lines}");
        }
    }
}

#[test]
fn a_seed_is_a_model() {
    let folder = TempFolder::new("seed");
    let made = |name: &str, more: &[&str]| {
        let path = folder.join(name);
        well(
            &[
                &["synth", "tiny-llama", path.to_str().expect("text")][..],
                more,
            ]
            .concat(),
        );
        std::fs::read(path).expect("a file")
    };
    let first = made("a", &["-t", "1"]);
    assert!(first == made("b", &["-t", "3", "--seed", "0"]));
    assert!(first != made("c", &["--seed", "1"]));
}

#[test]
fn what_cannot_be_made_is_said() {
    let folder = TempFolder::new("unmade");
    let path = folder.join("out.gguf");
    let path = path.to_str().expect("text");
    let unknown = rillm(&["synth", "gpt-9", path]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("llama-3.2-1b"));
    std::fs::write(path, "mine").expect("a file");
    let there = rillm(&["synth", "tiny-llama", path]);
    assert_eq!(there.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&there.stderr).contains("--force"));
    assert_eq!(std::fs::read(path).expect("a file"), b"mine");
}
