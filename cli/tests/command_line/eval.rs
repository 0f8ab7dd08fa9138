//! Outputs as transformers gives them: what is written, and what is said of wrong inputs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rillm::internals::eval::Cut;

use crate::support::evaluate::{evaluate, open};
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::tensors;
use crate::{command, failure, path, rillm, text};

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
            // As editors save it.
            let json = fs::read_to_string(&eval.input).unwrap();
            eval.input(&format!("\u{feff}{json}"));
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
            r#"{"input_ids": [[1]], "input_ids": [[2]]}"#,
            vec![input, "\"input_ids\" appears twice"],
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
    let many = format!("{{\"input_ids\": [[1]{}]}}", ",[1]".repeat(1 << 20));
    failure(&eval.input(&many).run(&[]), 1, &["input_ids", "1048577"]);
    let deep = format!("{{\"input_ids\": {}", "[".repeat(100_000));
    failure(&eval.input(&deep).run(&[]), 1, &[input]);
    #[cfg(unix)]
    {
        let (model, output) = (path(&eval.model), path(&eval.output));
        let endless = ["eval", model, "--input", "/dev/zero", "--output", output];
        failure(&rillm(&endless), 1, &["/dev/zero: is longer than"]);
    }
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

/// However its output is called meanwhile.
#[cfg(unix)]
#[test]
fn a_half_evaluated_output_does_not_outlive_the_program() {
    let eval = Eval::of(&Fixture::load("mamba"));
    let ids = vec!["1"; 300_000].join(",");
    eval.input(&format!("{{\"input_ids\": [[{ids}]]}}"));
    let there = || {
        let names = fs::read_dir(&eval.folder).expect("a folder");
        let mut names = names.map(|entry| entry.expect("an entry"));
        names.find(|entry| entry.file_name().to_string_lossy().ends_with(".partial"))
    };
    // It is begun before the program has noted that it is not to outlive it.
    let begun = || there().is_some_and(|file| file.metadata().is_ok_and(|facts| facts.len() > 0));
    let (model, input) = (path(&eval.model), path(&eval.input));
    let output = path(&eval.output);
    let arguments = [
        "eval", model, "--input", input, "--output", output, "--step",
    ];
    let mut child = command(&arguments).spawn().expect("rillm runs");
    while !begun() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.expect("kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(there().is_none() && !eval.output.exists());
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
    eval.output = eval.model.join("config.json");
    failure(&eval.run(&[]), 1, &[path(&eval.output), "--output"]);
    // A new file in the model's folder is nobody's business but the user's, and so it is when it is made
    // anew.
    eval.output = eval.model.join("out.safetensors");
    for _ in 0..2 {
        assert!(eval.run(&[]).status.success());
    }
    // Of weights without an index, each counts that is there.
    let lone = eval.model.join("lone.safetensors");
    fs::rename(eval.model.join("model.safetensors"), &lone).unwrap();
    fs::remove_file(&eval.output).unwrap();
    eval.output = lone;
    failure(&eval.run(&[]), 1, &[path(&eval.output), "--output"]);
}
