//! Little memory: whatever a command asks for, the system may refuse, and it is told so in a line.

use std::fs;
use std::process::{Command, Output};

use crate::support::folder::TempFolder;
use crate::{failure, path, text};

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
    let template = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).expect("a file");
        path(&file).to_owned()
    };
    // Each makes values of some ten million bytes.
    let long = &template(
        "long",
        "{% set a='a'*25000000 %}{% set b=a~'b' %}{{ b|length }}",
    );
    let map = &template("map", "{{ range(100000)|map('string')|list|length }}");
    let list = &template(
        "list",
        "{% set a=range(100000)|list %}{% set b=a+a %}{{ (b+b)|length }}",
    );
    let chat = |template| {
        let chat = ["chat", DEMO, "--chat-template", template];
        [&chat[..], &["-p", "hi", "-st", "-n", "2"]].concat()
    };
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
        &["chat", DEMO, "-p", "hi", "-st", "-n", "2"],
        &chat(long),
        &chat(map),
        &chat(list),
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
                Some(1 | 2) => assert!(error.contains("rillm: "), "{label}"),
                _ => panic!("{label}"),
            }
        }
    }
}

/// What the shell's `ulimit` allows besides memory: the first thread's stack, the size of files.
#[test]
fn other_limits_are_errors_and_no_signals() {
    let folder = TempFolder::new("cli-limits");
    let limited = |limit: &str, arguments: &[&str]| -> Output {
        let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_rillm")]);
        shell.args(arguments).output().expect("a shell")
    };
    for command in [
        &["run", DEMO, "-p", "Once", "-n", "4"][..],
        &["chat", DEMO, "-p", "hi", "-st", "-n", "2"],
        &["bench", DEMO, "-p", "16", "-n", "2", "-r", "1"],
    ] {
        let output = limited("-s 128", command);
        assert!(
            output.status.success(),
            "{command:?}: {}",
            text(&output.stderr)
        );
    }
    let (cache, file) = (folder.join("cache"), folder.join("small.gguf"));
    let (cache, file) = (path(&cache), path(&file));
    let prompt = "Once upon a time. ".repeat(8);
    let run = [
        "run",
        DEMO,
        "-n",
        "1",
        "--prompt-cache",
        cache,
        "-p",
        &prompt,
    ];
    let quantize = ["quantize", DEMO, file, "q8_0", "--allow-requantize"];
    for command in [&run[..], &quantize] {
        let output = limited("-f 10", command);
        let error = text(&output.stderr);
        assert!(
            error.contains("File too large"),
            "{:?}: {error}",
            output.status
        );
        assert!(output.status.code().is_some(), "{error}");
    }
    let left = fs::read_dir(&*folder).expect("a folder").count();
    assert_eq!(left, 0, "half a file");
}

/// A text is not cut into tokens, at many times its length of memory, to learn that it is too long.
#[test]
fn a_prompt_that_no_context_holds_is_refused_before_it_is_cut() {
    let folder = TempFolder::new("cli-long");
    let file = folder.join("long.txt");
    fs::write(&file, "a".repeat(30_000_000)).expect("a file");
    let script = "ulimit -v 250000 && exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_rillm")]);
    let output = shell.args(["run", DEMO, "-n", "2", "-f", path(&file)]);
    let output = output.output().expect("a shell");
    failure(&output, 1, &["30000000 bytes", "raise it with -c"]);
}
