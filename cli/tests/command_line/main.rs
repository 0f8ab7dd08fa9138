//! The command line as scripts see it: results on stdout, one line on stderr when something is
//! wrong, exit codes 0, 1 and 2.

mod bench;
mod compare;
mod completions;
mod habits;
mod llama_cpp;
#[cfg(unix)]
mod places;
mod prompt_cache;
mod quantize;
mod stop;
#[path = "../../../tests/support/mod.rs"]
mod support;
mod synth;
#[cfg(unix)]
mod terminal;
mod text;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rillm::internals::eval::Cut;
use rillm_formats::manifest::{Array, MetadataValue, Strings};
use serde_json::json;
use support::evaluate::{evaluate, open};
use support::fixture::Fixture;
use support::folder::TempFolder;
use support::tensors;
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

struct Eval {
    folder: TempFolder,
    model: PathBuf,
    input: PathBuf,
    output: PathBuf,
}

impl Eval {
    fn of(fixture: &Fixture) -> Eval {
        let folder = TempFolder::new("cli");
        let model = folder.join("model");
        fs::create_dir(&model).unwrap();
        fixture.write_folder(&model);
        let (input, output) = (folder.join("in.json"), folder.join("out.safetensors"));
        Eval {
            folder,
            model,
            input,
            output,
        }
    }

    fn input(&self, json: &str) -> &Eval {
        fs::write(&self.input, json).unwrap();
        self
    }

    fn run(&self, more: &[&str]) -> Output {
        let model = path(&self.model);
        let (input, output) = (path(&self.input), path(&self.output));
        let arguments = ["eval", model, "--input", input, "--output", output];
        rillm(&[&arguments, more].concat())
    }
}

#[test]
fn eval_writes_what_the_library_computes() {
    let cuts: [(&[&str], Cut); 3] = [
        (&["-t", "1"], Cut::Whole),
        (&["-t", "1", "--step"], Cut::Batch(1)),
        (&["-t", "2", "--batch", "3"], Cut::Batch(3)),
    ];
    for name in ["gpt2", "bert", "bert_question", "t5", "mamba", "mixtral"] {
        let fixture = Fixture::load(name);
        let eval = Eval::of(&fixture);
        let model = open(&eval.model).unwrap();
        let encodes = name.starts_with("bert");
        for case in &fixture.cases {
            case.write_input(&eval.input);
            for (flags, cut) in cuts.iter().take(if encodes { 1 } else { 3 }) {
                let output = eval.run(flags);
                assert!(output.status.success(), "{}", text(&output.stderr));
                assert_eq!(text(&output.stdout), "");
                let found = tensors::read(&eval.output);
                let expected = evaluate(&model, &case.input, *cut).unwrap();
                assert_eq!(found, expected, "{name} {} {flags:?}", case.name);
            }
        }
    }
}

#[test]
fn eval_says_what_is_wrong_with_an_input() {
    let fixture = Fixture::load("gpt2");
    let eval = Eval::of(&fixture);
    let input = path(&eval.input);
    for (json, says) in [
        ("", vec![input, "JSON"]),
        ("{\"input_ids\": [[1, 2", vec![input, "JSON"]),
        ("[1]", vec![input, "object"]),
        ("{}", vec![input, "input_ids", "missing"]),
        (r#"{"input_ids": []}"#, vec![input, "input_ids", "empty"]),
        (r#"{"input_ids": [[]]}"#, vec![input, "input_ids", "empty"]),
        (r#"{"input_ids": "x"}"#, vec![input, "input_ids", "list"]),
        (
            r#"{"input_ids": [[1, -2]]}"#,
            vec![input, "input_ids", "-2"],
        ),
        (
            r#"{"input_ids": [[1, 2.5]]}"#,
            vec![input, "input_ids", "2.5"],
        ),
        (r#"{"input_ids": [[1], 2]}"#, vec![input, "input_ids"]),
        (
            r#"{"input_ids": [[1, 2], [3]]}"#,
            vec![input, "input_ids", "row 1"],
        ),
        (
            r#"{"input_ids": [[1, 2]], "attention_mask": [[1]]}"#,
            vec![input, "attention_mask"],
        ),
        (
            r#"{"input_ids": [[1]], "inputs\nids": [[1]]}"#,
            vec![input, "not known"],
        ),
        (
            r#"{"input_ids": [[1, 4294967295]]}"#,
            vec!["input_ids[0][1] is 4294967295", "below"],
        ),
        (
            r#"{"input_ids": [[1, 4294967296]]}"#,
            vec![input, "input_ids"],
        ),
        (
            r#"{"input_ids": [[1]], "position_ids": [[100000]]}"#,
            vec!["input_ids[0][0] is at position 100000"],
        ),
        (
            r#"{"input_ids": [[1]], "token_type_ids": [[0]]}"#,
            vec!["token_type_ids"],
        ),
        (
            r#"{"input_ids": [[1]], "decoder_input_ids": [[0]]}"#,
            vec!["decoder_input_ids"],
        ),
    ] {
        let output = eval.input(json).run(&[]);
        failure(&output, 1, &says);
        assert!(!eval.output.exists(), "{json}: half an output");
    }
    let deep = format!("{{\"input_ids\": {}", "[".repeat(100_000));
    failure(&eval.input(&deep).run(&[]), 1, &[input]);
    fs::remove_file(&eval.input).unwrap();
    failure(&eval.run(&[]), 1, &[input]);
}

#[test]
fn an_input_that_is_masked_away_is_an_empty_output() {
    for name in ["gpt2", "bert", "mamba"] {
        let eval = Eval::of(&Fixture::load(name));
        let output = eval
            .input(r#"{"input_ids": [[1, 2], [3, 4]], "attention_mask": [[0, 0], [0, 0]]}"#)
            .run(&[]);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        for (name, tensor) in tensors::read(&eval.output) {
            assert!(tensor.values.iter().all(|&value| value == 0.0), "{name}");
        }
    }
}

#[test]
fn eval_of_an_encoder_cannot_be_cut() {
    let eval = Eval::of(&Fixture::load("bert"));
    let output = eval.input(r#"{"input_ids": [[1, 2]]}"#).run(&["--step"]);
    failure(&output, 1, &["BERT", "step by step"]);
    let eval = Eval::of(&Fixture::load("t5"));
    let output = eval.input(r#"{"input_ids": [[1, 2]]}"#).run(&[]);
    failure(&output, 1, &["decoder_input_ids"]);
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let mut eval = Eval::of(&Fixture::load("gpt2"));
    eval.output = eval.folder.join("no/such/folder/out.safetensors");
    let output = eval.input(r#"{"input_ids": [[1]]}"#).run(&[]);
    failure(&output, 1, &[path(&eval.output)]);
    eval.output = eval.folder.to_path_buf();
    failure(&eval.run(&[]), 1, &[path(&eval.output)]);
    if Path::new("/dev/full").exists() {
        eval.output = "/dev/full".into();
        failure(&eval.run(&[]), 1, &["/dev/full"]);
        assert!(Path::new("/dev/full").exists(), "a device was removed");
    }
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
    assert!(!folder.join("place.partial").exists() && !folder.join("fifo.partial").exists());
}

/// Of whatever ends it, a program tells its caller, and what it had begun is gone.
#[cfg(unix)]
#[test]
fn what_is_half_written_does_not_outlive_the_program() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let folder = TempFolder::new("cli-signal");
        let (out, partial) = (folder.join("a.gguf"), folder.join("a.gguf.partial"));
        let arguments = ["synth", "llama-3.2-1b", path(&out), "-t", "1"];
        let mut child = command(&arguments);
        let mut child = child.stderr(Stdio::null()).spawn().expect("rillm runs");
        while !partial.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.expect("kill").success());
        assert_eq!(child.wait().expect("it ends").code(), Some(code));
        assert!(!partial.exists() && !out.exists());
    }
}

/// However its output is called meanwhile.
#[cfg(unix)]
#[test]
fn a_half_evaluated_output_does_not_outlive_the_program() {
    let eval = Eval::of(&Fixture::load("mamba"));
    let ids = vec!["1"; 300_000].join(",");
    eval.input(&format!("{{\"input_ids\": [[{ids}]]}}"));
    let there = || {
        let names = fs::read_dir(&eval.folder).expect("a folder");
        let mut names = names.map(|entry| entry.expect("an entry").file_name());
        names.any(|name| name.to_string_lossy().ends_with(".partial"))
    };
    let (model, input) = (path(&eval.model), path(&eval.input));
    let output = path(&eval.output);
    let arguments = [
        "eval", model, "--input", input, "--output", output, "--step",
    ];
    let mut child = command(&arguments).spawn().expect("rillm runs");
    while !there() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.expect("kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(!there() && !eval.output.exists());
}

#[test]
fn eval_never_replaces_what_it_reads() {
    let mut eval = Eval::of(&Fixture::load("gpt2"));
    eval.input(r#"{"input_ids": [[1]]}"#);
    for read in [eval.input.clone(), eval.model.join("model.safetensors")] {
        let before = fs::read(&read).unwrap();
        eval.output = read;
        failure(&eval.run(&[]), 1, &[path(&eval.output), "--output"]);
        assert!(fs::read(&eval.output).unwrap() == before);
    }
    // A new file in the model's folder is nobody's business but the user's.
    eval.output = eval.model.join("out.safetensors");
    assert!(eval.run(&[]).status.success());
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
            vec!["stranger.gguf", "zebra", "llama"],
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
        ("strange".to_owned(), vec!["strange", "zebra", "llama"]),
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
fn inspect_draws_what_is_there() {
    let folder = TempFolder::new("drawing");
    let file = folder.join("out.svg");
    for (name, parts) in [
        (
            "gemma2",
            &[
                "layer 0, 2 (2 ×)",
                "window 6, rope",
                "Arena of plan prefill",
            ][..],
        ),
        (
            "t5",
            &[
                "encoding, s rows",
                "cross-attention",
                "both ways, buckets",
                "cross",
            ],
        ),
        ("mixtral", &["route, the best", "ffn_up_exps", "expert_sum"]),
        ("mamba", &["conv", "scan", "ssm_in", "× conv"]),
    ] {
        let model = Fixture::load(name).folder();
        let output = rillm(&["inspect", path(&model), "--graph", path(&file)]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let drawing = fs::read_to_string(&file).expect("a drawing");
        assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));
        for part in parts {
            assert!(drawing.contains(part), "{name}: {part}");
        }
        assert!(
            !drawing.contains("NaN") && !drawing.contains("inf"),
            "{name}"
        );
    }
    let missing = folder.join("no").join("out.svg");
    let model = Fixture::load("llama").folder();
    let output = rillm(&["inspect", path(&model), "--graph", path(&missing)]);
    failure(&output, 1, &["out.svg"]);
    // Nothing is written under a name that promises something else.
    let other = folder.join("out.png");
    let output = rillm(&["inspect", path(&model), "--graph", path(&other)]);
    failure(&output, 2, &["out.png", ".svg"]);
    assert!(!other.exists());
    let output = rillm(&["inspect", path(&model), "--graph", "-"]);
    let drawing = text(&output.stdout);
    assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));
}

#[test]
fn inspect_shows_what_is_there() {
    let fixture = Fixture::load("llama");
    let folder = fixture.folder();
    let output = rillm(&["inspect", path(&folder), "--tensors", "-c", "77"]);
    let shown = text(&output.stdout);
    assert!(output.status.success());
    // A longer context than the trained one is allowed, and said.
    assert!(text(&output.stderr).contains("warning: context 77 is more than the"));
    for part in [
        "llama",
        "decoder",
        "num_key_value_heads = 2",
        "model.layers.1.self_attn.k_proj.bias",
        "F32",
        "context of 77",
        "arena",
        "state per 1K tokens",
        "no tokenizer.json",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }

    let output = rillm(&["inspect", "-m", path(&folder), "--json", "-c", "20"]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["architecture"], "llama");
    assert_eq!(shown["memory"]["context"], 20);
    let weights = fixture.weights();
    let floats: usize = weights.iter().map(|weight| weight.values.len()).sum();
    assert_eq!(shown["memory"]["weights_bytes"], json!(4 * floats));
    let tensors = shown["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), weights.len());
    // Two layers of keys and values for 1,024 positions of 2 heads of 10 halves, and at most
    // what positions themselves take.
    let layers = fixture.config()["num_hidden_layers"].as_u64().unwrap();
    let kv_cache = layers * 2 * 2 * 10 * 2 * 1024;
    let found = shown["memory"]["state_per_1k_bytes"].as_u64().unwrap();
    assert!(
        (kv_cache..=kv_cache + 8 * 1024 + 4096).contains(&found),
        "{found}"
    );
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
    failure(&rillm(&["bench", path(&folder)]), 1, &["BERT"]);
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
