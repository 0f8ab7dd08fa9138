//! The command line as scripts see it: results on stdout, one line on stderr when something is
//! wrong, exit codes 0, 1 and 2.

mod advise;
mod bench;
#[cfg(target_os = "linux")]
mod budget;
mod compare;
mod completions;
mod eval;
mod habits;
mod inspect;
mod llama_cpp;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(unix)]
mod places;
mod plan;
mod precision;
mod prompt_cache;
mod quantize;
mod rules;
mod stop;
#[path = "../../../tests/support/mod.rs"]
mod support;
mod synth;
mod talk;
mod tasks;
#[cfg(unix)]
mod terminal;
mod text;
mod tune;
mod vocabulary;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rillm_formats::manifest::{Array, MetadataValue, Strings};
use support::fixture::Fixture;
use support::folder::TempFolder;
use support::to_gguf::Gguf;

fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rillm"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn rillm<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    command(arguments).output().expect("rillm runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Panics unless the command failed as promised; its message.
fn failure(output: &Output, code: i32, says: &[&str]) -> String {
    let error = text(&output.stderr).to_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert_eq!(text(&output.stdout), "", "{error}");
    assert!(!error.contains("panicked"), "{error}");
    if code == 1 {
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(
            error.starts_with("rillm: ") && error.ends_with('\n'),
            "{error}"
        );
    }
    for part in says {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
    error
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

#[test]
fn a_model_is_written_where_a_file_can_stand() {
    let folder = TempFolder::new("cli-places");
    let place = folder.join("place");
    fs::create_dir(&place).unwrap();
    for force in ["-f", "--seed=1"] {
        let output = rillm(&["synth", "tiny-llama", path(&place), force]);
        failure(&output, 1, &["place", "folder"]);
    }
    let nowhere = folder.join("none").join("model.gguf");
    let output = rillm(&["synth", "tiny-llama", path(&nowhere)]);
    failure(&output, 1, &["model.gguf: its folder does not exist"]);
    failure(
        &rillm(&["synth", "tiny-llama", "-"]),
        2,
        &["standard output"],
    );
    #[cfg(unix)]
    {
        let fifo = folder.join("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success());
        let output = rillm(&["synth", "tiny-llama", path(&fifo), "-f"]);
        failure(&output, 1, &["fifo", "no regular file"]);
        let input = Fixture::load("llama_mqa").folder();
        let output = rillm(&["quantize", path(&input), path(&fifo), "q8_0", "-f"]);
        failure(&output, 1, &["fifo", "no regular file"]);
        use std::os::unix::fs::FileTypeExt;
        assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
    }
    assert!(partial_in(&folder).is_none());
}

/// Of whatever ends it, a program tells its caller, and what it had begun is gone.
#[cfg(unix)]
#[test]
fn what_is_half_written_does_not_outlive_the_program() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let folder = TempFolder::new("cli-signal");
        let out = folder.join("a.gguf");
        let arguments = ["synth", "llama-3.2-1b", path(&out), "-t", "1"];
        let mut child = command(&arguments);
        let mut child = child.stderr(Stdio::null()).spawn().expect("rillm runs");
        while partial_in(&folder).is_none() {
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.expect("kill").success());
        assert_eq!(child.wait().expect("it ends").code(), Some(code));
        assert!(partial_in(&folder).is_none() && !out.exists());
    }
}

/// A file of a folder that is not whole.
fn partial_in(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).expect("a folder").flatten();
    let mut paths = files.map(|file| file.path());
    paths.find(|path| path.extension().is_some_and(|of| of == "partial"))
}

/// Who comes second is told so, whatever was left there before is written over, and what stands there
/// afterwards is whole.
#[test]
fn one_at_a_time_writes_a_model() {
    let folder = TempFolder::new("two-writers");
    let (alone, out) = (folder.join("alone.gguf"), folder.join("a.gguf"));
    fs::write(folder.join("a.gguf.partial"), vec![7; 5 << 20]).expect("what was left");
    let quantize = |out: &Path| {
        let mut command = command(&["quantize", text::DEMO, path(out), "q4_0", "-f"]);
        command.arg("--allow-requantize");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("rillm runs")
    };
    assert!(quantize(&alone).wait().expect("it ends").success());
    let mut written = 0;
    for writer in [quantize(&out), quantize(&out), quantize(&out)] {
        let output = writer.wait_with_output().expect("it ends");
        let said = text(&output.stderr);
        written += usize::from(output.status.success());
        assert!(
            output.status.success() || said.contains("is being written"),
            "{said}"
        );
    }
    assert!(written > 0);
    assert!(partial_in(&folder).is_none());
    assert!(fs::read(&out).unwrap() == fs::read(&alone).unwrap());
}

/// The same of vectors, whose file has a name of its own until it is whole.
#[test]
fn unfinished_vectors_do_not_outlive_the_program() {
    let folder = TempFolder::new("cli-vectors");
    let (texts, out) = (folder.join("texts"), folder.join("a.npy"));
    fs::write(&texts, "a dog and a cat\n".repeat(200_000)).expect("a file");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tasks/embed");
    let arguments = [
        "embed",
        path(&model),
        "-f",
        path(&texts),
        "-o",
        path(&out),
        "-t",
        "1",
    ];
    let mut child = command(&arguments);
    let mut child = child.stderr(Stdio::null()).spawn().expect("rillm runs");
    let files = || fs::read_dir(&*folder).expect("a folder").count();
    // Whether the file can be made is tried once before.
    let mut seen = 0;
    while seen < 20 {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        seen = if files() > 1 { seen + 1 } else { 0 };
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(sent.expect("kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(files(), 1);
}

/// Model files of every kind of damage, and what must be said of each.
#[test]
fn damaged_models_are_named() {
    let folder = TempFolder::new("damaged");
    let gguf = Gguf::of(&Fixture::load("gpt2"));
    let bytes = gguf.bytes();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).unwrap();
        name.to_owned()
    };
    let mut stranger = gguf.clone();
    let name = MetadataValue::String("zebra".into());
    stranger
        .metadata
        .0
        .insert("general.architecture".into(), name);
    let mut headless = gguf.clone();
    headless.tensors.remove("output_norm.weight");
    let mut odd = gguf.clone();
    odd.metadata
        .0
        .insert("gpt2.attention.head_count".into(), MetadataValue::U32(4));

    fs::create_dir(folder.join("empty")).unwrap();
    fs::create_dir(folder.join("strange")).unwrap();
    write("strange/config.json", br#"{"model_type": "zebra"}"#);
    fs::copy(
        Fixture::load("bert").folder().join("model.safetensors"),
        folder.join("strange/model.safetensors"),
    )
    .unwrap();
    fs::create_dir(folder.join("weightless")).unwrap();
    write("weightless/config.json", br#"{"model_type": "gpt2"}"#);
    fs::create_dir(folder.join("broken")).unwrap();
    write("broken/config.json", br#"{"model_type": "#);
    fs::create_dir(folder.join("pickled")).unwrap();
    write("pickled/config.json", br#"{"model_type": "gpt2"}"#);
    write("pickled/pytorch_model.bin", b"");
    fs::create_dir(folder.join("escaping")).unwrap();
    write("escaping/config.json", br#"{"model_type": "gpt2"}"#);
    let escaping = br#"{"weight_map": {"wte.weight": "../x.safetensors"}}"#;
    write("escaping/model.safetensors.index.json", escaping);
    fs::create_dir(folder.join("lines")).unwrap();
    write("lines/config.json", br#"{"model_type": "gpt2"}"#);
    let lines = br#"{"weight_map": {"wte.weight": "a\nb\u001b[31m.safetensors"}}"#;
    write("lines/model.safetensors.index.json", lines);

    let cases = [
        ("missing.gguf".to_owned(), vec!["missing.gguf"]),
        (write("empty.gguf", b""), vec!["empty.gguf"]),
        (write("garbage.gguf", &[0x5A; 4096]), vec!["garbage.gguf"]),
        (write("text.gguf", b"GGUF"), vec!["text.gguf"]),
        (
            write("half.gguf", &bytes[..bytes.len() / 2]),
            vec!["half.gguf", "tensor"],
        ),
        (write("head.gguf", &bytes[..100]), vec!["head.gguf"]),
        (
            write("stranger.gguf", &stranger.bytes()),
            vec!["stranger.gguf", "zebra", "README.md"],
        ),
        (
            write("headless.gguf", &headless.bytes()),
            vec!["headless.gguf", "output_norm.weight"],
        ),
        (
            write("odd.gguf", &odd.bytes()),
            vec!["odd.gguf", "gpt2.attention.head_count"],
        ),
        (
            write("alone.safetensors", b"x"),
            vec!["alone.safetensors", "config.json"],
        ),
        ("empty".to_owned(), vec!["empty", "config.json"]),
        ("strange".to_owned(), vec!["strange", "zebra", "README.md"]),
        ("weightless".to_owned(), vec!["weightless", "safetensors"]),
        ("broken".to_owned(), vec!["broken", "config.json"]),
        (
            "pickled".to_owned(),
            vec!["pickled", "safetensors.torch.save_file"],
        ),
        ("escaping".to_owned(), vec!["escaping", "index.json"]),
        ("lines".to_owned(), vec!["lines"]),
    ];
    let input = folder.join("in.json");
    fs::write(&input, r#"{"input_ids": [[1]]}"#).unwrap();
    let output = folder.join("out.safetensors");
    for (name, says) in cases {
        let model = folder.join(&name);
        let model = path(&model);
        let (input, output) = (path(&input), path(&output));
        for arguments in [
            vec!["inspect", model],
            vec!["inspect", model, "--json"],
            vec!["run", model, "-p", "x"],
            vec!["bench", model, "-n", "1"],
            vec!["eval", model, "--input", input, "--output", output],
        ] {
            let error = failure(&rillm(&arguments), 1, &says);
            let line = error.trim_end_matches('\n');
            assert!(!line.chars().any(char::is_control), "{name}: {error:?}");
        }
        assert!(!Path::new(output).exists(), "{name}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_two() {
    for arguments in [
        vec!["walk"],
        vec!["run"],
        vec!["run", "x.gguf", "-p", "a", "-f", "b"],
        vec!["run", "x.gguf", "-p", "a", "--temp", "-1"],
        vec!["run", "x.gguf", "-p", "a", "--temp", "nan"],
        vec!["run", "x.gguf", "-p", "a", "--top-p", "2"],
        vec!["run", "x.gguf", "-p", "a", "-t", "0"],
        vec!["run", "x.gguf", "-p", "a", "-n", "x"],
        vec!["eval", "x.gguf", "--input", "x"],
        vec![
            "eval", "x", "--input", "x", "--output", "y", "--step", "--batch", "2",
        ],
        vec!["eval", "x", "--input", "x", "--output", "y", "--batch", "0"],
        vec!["inspect", "x.gguf", "--yaml"],
        vec!["bench", "x.gguf", "-r", "0"],
        vec!["bench", "x.gguf", "-p", "0", "-n", "0"],
        vec!["bench", "x.gguf", "-d", "18446744073709551615"],
    ] {
        failure(&rillm(&arguments), 2, &[]);
    }
    // Of an option given twice the last counts, whatever the first would have come to.
    let twice = [
        "run", "x.gguf", "-p", "a", "-n", "5", "-t", "1", "-n", "6", "-t", "0",
    ];
    failure(&rillm(&twice), 2, &["'0'", "--threads"]);
    let twice = [
        "inspect", "x.gguf", "--json", "-c", "8", "--json", "-c", "9",
    ];
    failure(&rillm(&twice), 1, &["x.gguf"]);
    for arguments in [["--help"], ["--version"]] {
        let output = rillm(&arguments);
        assert!(output.status.success() && !output.stdout.is_empty());
    }
}

#[test]
fn the_instruction_set_can_be_forced() {
    let folder = Fixture::load("llama_mqa").folder();
    let inspect = |isa: &str| {
        let mut command = command(&["inspect", path(&folder), "--json"]);
        command.env("RILLM_ISA", isa).output().unwrap()
    };
    let shown: serde_json::Value = serde_json::from_slice(&inspect("scalar").stdout).unwrap();
    assert_eq!(shown["isa"], "scalar");
    failure(&inspect("nonsense"), 1, &["RILLM_ISA", "nonsense"]);
    let shown: serde_json::Value = serde_json::from_slice(&inspect("").stdout).unwrap();
    let best = rillm::internals::kernels::Isa::available()
        .next_back()
        .unwrap();
    assert_eq!(shown["isa"], best.name());
}

#[test]
fn a_model_without_vocabulary_cannot_run_text() {
    let folder = Fixture::load("gpt2").folder();
    let output = rillm(&["run", path(&folder), "-p", "hello"]);
    failure(
        &output,
        1,
        &[path(&folder), "no tokenizer.json", "rillm eval"],
    );
    let folder = Fixture::load("bert").folder();
    failure(
        &rillm(&["run", path(&folder), "-p", "hello"]),
        1,
        &["BERT", "rillm eval"],
    );
}

/// A model with a vocabulary of letters.
fn talking(folder: &Path) -> PathBuf {
    let path = folder.join("talking.gguf");
    fs::write(&path, lettered().bytes()).unwrap();
    path
}

fn lettered() -> Gguf {
    let mut gguf = Gguf::of(&Fixture::load("llama_mqa"));
    let rows = gguf.tensors["token_embd.weight"].shape[0];
    let named = ["<unk>", "<s>", "</s>", "▁"].map(String::from);
    let letters = ('a'..='z').map(String::from);
    let rest = (0..).map(|n| format!("x{n}"));
    let tokens: Vec<String> = named
        .into_iter()
        .chain(letters)
        .chain(rest)
        .take(rows as usize)
        .collect();
    let mut strings = Strings::default();
    tokens
        .iter()
        .for_each(|token| strings.push(token.as_bytes()));
    let kinds = (0..rows).map(|id| match id {
        0 => 2,
        1 | 2 => 3,
        _ => 1,
    });
    for (key, value) in [
        ("model", MetadataValue::String("llama".into())),
        ("tokens", MetadataValue::Array(Array::String(strings))),
        (
            "scores",
            MetadataValue::Array(Array::F32((0..rows).map(|id| -(id as f32)).collect())),
        ),
        (
            "token_type",
            MetadataValue::Array(Array::I32(kinds.collect())),
        ),
        ("unknown_token_id", MetadataValue::U32(0)),
        ("bos_token_id", MetadataValue::U32(1)),
        ("eos_token_id", MetadataValue::U32(2)),
    ] {
        gguf.metadata
            .0
            .insert(format!("tokenizer.ggml.{key}"), value);
    }
    gguf
}

/// Tokens need neither weights nor an architecture that is known, and every byte of a file counts.
#[test]
fn a_vocabulary_without_weights_has_tokens() {
    let folder = TempFolder::new("vocabulary");
    let whole = talking(&folder);
    let mut gguf = lettered();
    gguf.tensors.clear();
    let architecture = MetadataValue::String("zebra".into());
    gguf.metadata
        .0
        .insert("general.architecture".into(), architecture);
    let alone = folder.join("alone.gguf");
    fs::write(&alone, gguf.bytes()).unwrap();
    let well = |arguments: &[&str]| {
        let output = rillm(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let ids =
        |model: &Path, more: &[&str]| well(&[&["tokenize", path(model), "--ids"], more].concat());
    let cat = ids(&alone, &["-p", "a cat"]);
    assert_eq!(cat, ids(&whole, &["-p", "a cat"]));
    let mut back = vec!["detokenize", path(&alone), "--skip-special"];
    back.extend(cat.split_whitespace());
    assert_eq!(well(&back), "a cat");
    let file = folder.join("cat.txt");
    fs::write(&file, "a cat\n").unwrap();
    assert_eq!(
        ids(&alone, &["-f", path(&file)]),
        ids(&alone, &["-p", "a cat\n"])
    );
    assert_ne!(ids(&alone, &["-f", path(&file)]), cat);
    let output = rillm(&["run", path(&alone), "-p", "a cat"]);
    failure(&output, 1, &["alone.gguf", "zebra"]);
    gguf.metadata.0.remove("tokenizer.ggml.model");
    fs::write(&alone, gguf.bytes()).unwrap();
    let output = rillm(&["tokenize", path(&alone), "-p", "a cat"]);
    failure(&output, 1, &["alone.gguf", "no vocabulary"]);
}

#[test]
fn run_writes_text_to_stdout_and_figures_to_stderr() {
    let folder = TempFolder::new("talking");
    let model = talking(&folder);
    let model = path(&model);
    let run = |more: &[&str]| rillm(&[&["run", model, "-n", "5", "--temp", "0"], more].concat());
    let shown = run(&["-p", "a cat"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    assert!(text(&shown.stdout).starts_with("a cat") && shown.stdout.ends_with(b"\n"));
    assert_eq!(text(&shown.stderr).lines().count(), 1);
    assert!(text(&shown.stderr).contains("tokens/s"));

    let silent = run(&["-p", "a cat", "--no-display-prompt"]);
    let added = text(&shown.stdout).strip_prefix("a cat").unwrap();
    assert_eq!(text(&silent.stdout), added);

    let prompt = folder.join("prompt.txt");
    fs::write(&prompt, "a cat").unwrap();
    assert_eq!(run(&["-f", path(&prompt)]).stdout, shown.stdout);
    let mut piped = command(&["run", model, "-n", "5", "--temp", "0"]);
    piped.stdin(fs::File::open(&prompt).unwrap());
    assert_eq!(piped.output().unwrap().stdout, shown.stdout);

    // The same seed, the same text.
    let seeded = |seed: &str| {
        rillm(&[
            "run", model, "-p", "a", "-n", "30", "--temp", "1.5", "-s", seed,
        ])
        .stdout
    };
    assert_eq!(seeded("1"), seeded("1"));
    assert_ne!(seeded("1"), seeded("2"));

    failure(&run(&["-f", "no/such/prompt"]), 1, &["no/such/prompt"]);
    let long = "a cat ".repeat(50);
    failure(&run(&["-p", &long, "-c", "20"]), 1, &["20", "-c"]);
    fs::write(&prompt, b"\xFF\xFE").unwrap();
    failure(&run(&["-f", path(&prompt)]), 1, &[path(&prompt)]);
}

/// A reader that has seen enough is no error.
#[test]
fn a_closed_stdout_is_no_failure() {
    let folder = TempFolder::new("closed");
    let model = talking(&folder);
    let model = path(&model);
    for arguments in [
        vec!["run", model, "-p", "a", "-n", "200", "--temp", "1"],
        vec!["inspect", model, "--tensors"],
        vec!["inspect", model, "--json"],
        vec!["bench", model, "-p", "4", "-n", "2", "-r", "1"],
    ] {
        let mut child = command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
        assert!(
            !error.contains("panicked") && !error.contains("rillm: "),
            "{error}"
        );
    }
}

/// A full disk is one, whatever was to be written.
#[cfg(unix)]
#[test]
fn what_cannot_be_written_is_a_failure() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    for arguments in [vec!["--help"], vec!["run", "-h"], vec!["--version"]] {
        let output = command(&arguments)
            .stdout(full.try_clone().expect("a handle"))
            .output()
            .expect("rillm runs");
        failure(&output, 1, &["standard output"]);
    }
}

#[cfg(feature = "demo")]
#[test]
fn alone_it_tells_a_story() {
    let output = rillm::<&str>(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let story = text(&output.stdout);
    assert!(
        story.starts_with("One day,") && story.len() > 200,
        "{story}"
    );
    let figures = text(&output.stderr);
    assert_eq!(figures.lines().count(), 1, "{figures}");
    assert!(figures.contains("tokens/s"), "{figures}");
}

#[cfg(not(feature = "demo"))]
#[test]
fn alone_without_a_story_it_says_so() {
    failure(&rillm::<&str>(&[]), 2, &["rillm run MODEL"]);
}
