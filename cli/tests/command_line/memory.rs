//! Little memory: whatever a command asks for, the system may refuse, and it is told so in a line.

use std::fs;
use std::process::{Command, Output};

use crate::support::folder::TempFolder;
use crate::{path, text};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");
const ENCODER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/encoder.gguf");

/// Mebibytes of address space, from what the program may not even start in.
const BUDGETS: [u32; 9] = [20, 40, 60, 80, 100, 130, 180, 250, 400];

#[test]
fn a_refused_allocation_is_an_error_and_no_signal() {
    let folder = TempFolder::new("cli-memory");
    let damaged = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(DEMO).expect("the embedded model");
        change(&mut bytes);
        let file = folder.join(name);
        fs::write(&file, bytes).expect("a file");
        path(&file).to_owned()
    };
    let cut = damaged("cut.gguf", &|bytes| bytes.truncate(200_000));
    let many_keys = damaged("keys.gguf", &|bytes| bytes[16..24].fill(0x0F));
    let many_tensors = damaged("tensors.gguf", &|bytes| bytes[8..16].fill(0x0F));
    let long_text = damaged("text.gguf", &|bytes| bytes[24..32].fill(0x0F));
    let prompt = folder.join("prompt.txt");
    fs::write(&prompt, "Once upon a time. ".repeat(40)).expect("a file");
    let input = folder.join("input.json");
    fs::write(&input, r#"{"input_ids": [[5, 6, 7, 8]]}"#).expect("a file");
    let (out, file) = (folder.join("out"), folder.join("small.gguf"));
    let (prompt, input, out, file) = (path(&prompt), path(&input), path(&out), path(&file));
    let commands: &[&[&str]] = &[
        &["run", DEMO, "-p", "Once", "-n", "4"],
        &["run", DEMO, "-p", "Once", "-n", "2", "--no-mmap", "-t", "8"],
        &["run", DEMO, "-p", "Once", "-n", "2", "-c", "100000"],
        &["tokenize", DEMO, "Once upon a time"],
        &["perplexity", DEMO, "-f", prompt, "-c", "64"],
        &["eval", DEMO, "--input", input, "--output", out],
        &["inspect", DEMO],
        &["embed", ENCODER, "a text"],
        &["bench", DEMO, "-p", "16", "-n", "4", "-r", "1"],
        &[
            "quantize",
            DEMO,
            file,
            "q4_0",
            "--allow-requantize",
            "--force",
        ],
        &["run", &cut, "-p", "x"],
        &["inspect", &many_keys],
        &["inspect", &many_tensors],
        &["tokenize", &long_text, "x"],
    ];
    let within = |budget: u32, arguments: &[&str]| -> Output {
        let script = format!("ulimit -v {} && exec \"$0\" \"$@\"", budget << 10);
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_rillm")]);
        shell.args(arguments).output().expect("a shell")
    };
    let starts = |budget: &u32| within(*budget, &["--version"]).status.success();
    let budgets: Vec<u32> = BUDGETS.into_iter().filter(starts).collect();
    assert!(budgets.len() > BUDGETS.len() / 2, "{budgets:?}");
    for command in commands {
        for &budget in &budgets {
            let output = within(budget, command);
            let error = text(&output.stderr);
            let label = format!(
                "{command:?} with {budget} MiB: {:?}: {error}",
                output.status
            );
            assert!(!error.contains("panicked"), "{label}");
            match output.status.code() {
                Some(0) => {}
                Some(1) => assert!(error.contains("rillm: "), "{label}"),
                _ => panic!("{label}"),
            }
        }
    }
}
