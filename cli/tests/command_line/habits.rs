//! What people type who are new here, or come from other programs: it works, or they are told what
//! does.

use std::fs;

use rillm_formats::manifest::MetadataValue;
use serde_json::Value;

use crate::support::folder::TempFolder;
use crate::text::{DEMO, fed, well};
use crate::{command, failure, lettered, path, rillm, talking, text};

/// A command line is wrong: one line that says so, and none of the parser's guesses.
fn told(arguments: &[&str], says: &[&str]) {
    let error = failure(&rillm(arguments), 2, says);
    assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    assert!(error.starts_with("rillm: "), "{arguments:?}: {error}");
    for misleading in [
        "tip:",
        "a similar",
        "'-- ",
        "Usage:",
        "For more information",
    ] {
        assert!(!error.contains(misleading), "{arguments:?}: {error}");
    }
}

#[test]
fn other_programs_commands_get_an_answer() {
    for (line, says) in [
        ("serve", "no server here"),
        ("server -m x.gguf --port 80", "no server here"),
        ("pull smollm2:135m", "nothing is downloaded"),
        ("download a/b", "nothing is downloaded"),
        ("list", "models are files"),
        ("ls", "models are files"),
        ("models", "models are files"),
        ("ui", "no server here"),
        ("llama-server -m x.gguf", "no server here"),
        ("rm smollm2", "models are files"),
        ("cp a b", "models are files"),
        ("push a", "models are files"),
        ("ps", "no model stays loaded"),
        ("stop a", "no model stays loaded"),
        ("create a -f Modelfile", "--system"),
        ("convert folder", "rillm quantize FOLDER OUT.gguf f16"),
        ("convert_hf_to_gguf.py folder", "FOLDER OUT.gguf f16"),
        ("vllm serve a/b", "commands of its own"),
        ("finetune x", "merge_and_unload"),
        ("help serve", "no server here"),
        ("gguf-split --split a b", "opened by its first"),
        ("llama-imatrix -m a", "importance matrices"),
        ("llama-mtmd-cli -m a", "text alone"),
        ("llama-tts", "text alone"),
        ("transformers chat a/b", "commands of its own"),
        ("huggingface-cli download a/b", "commands of its own"),
        ("ollama run a", "commands of its own"),
        ("quantiz a b", "did you mean quantize?"),
        (
            "walk",
            "neither a command nor a file; commands are run, chat",
        ),
    ] {
        told(&line.split(' ').collect::<Vec<_>>(), &[says]);
    }
    let shown = well(&["show", DEMO]);
    assert!(shown.starts_with("architecture  llama"), "{shown}");
    for (theirs, ours) in [
        ("embeddings", "embed"),
        ("rank", "rerank"),
        ("semantic-search", "similar"),
        ("ner", "tag"),
        ("question-answering", "answer"),
        ("main", "run"),
        ("llama-cli", "run"),
        ("llama-quantize", "quantize"),
        ("repl", "chat"),
    ] {
        assert_eq!(well(&["help", theirs]), well(&["help", ours]), "{theirs}");
    }
    for asked in ["version", "-v"] {
        assert!(well(&[asked]).starts_with("rillm "));
    }
    assert_eq!(well(&["help", "show"]), well(&["help", "inspect"]));
    for asked in [["help", "--help"], ["help", "-h"]] {
        assert_eq!(well(&asked), well(&["--help"]));
    }
}

#[test]
fn other_programs_options_get_an_answer() {
    for (line, says) in [
        ("run M -p x --lora a", "merge_and_unload"),
        ("run M --ppl -f t", "rillm perplexity"),
        ("run M -p x --think", "rillm chat has --think"),
        ("run M -p x --quantize 4", "smaller weights"),
        ("run M -p x --format json", "--json"),
        ("run M --version", "rillm --version"),
        ("chat M --json", "writes tokens as JSON"),
        ("perplexity M --kl-divergence", "rillm compare"),
        ("perplexity M --hellaswag -f t", "no multiple choices"),
        ("perplexity M --ppl-stride 4 -f t", "leave it out"),
        ("quantize --keep-split M o q4_0", "one file"),
        ("embed M -p x --embd-normalize 2", "--normalize"),
        ("tokenize M --stdin", "standard input"),
        ("inspect M --modelfile", "all that is known of it"),
        ("run --list-devices", "CPU"),
        ("run M -p x --chat-template chatml", "rillm chat talks"),
        ("run M -p x -sys brief", "rillm chat talks"),
        ("run M -p x --system brief", "rillm chat talks"),
        ("run M -i", "rillm chat talks"),
        ("run M -cnv", "rillm chat talks"),
        ("run M -p x --embedding", "rillm embed"),
        ("chat M --embeddings", "rillm embed"),
        ("chat M --mmproj a", "no images"),
        ("run M --image a.png -p x", "no images"),
        ("run M -p x --port 8080", "no server"),
        ("chat M --num-beams 4", "no search by beams"),
        ("run M -p x --load_in_4bit", "rillm quantize"),
        ("chat M --in-prefix x", "--chat-template"),
        ("run M -p x -temp 0", "two dashes: --temp"),
        ("run M -p x -topk 4", "two dashes: --top-k"),
        ("chat M --beam_size 4", "no search by beams"),
        ("translate M x --compute_type int8", "rillm quantize"),
        ("quantize M o q4_0 --numa distribute", "leave it out"),
        ("synth --numa", "leave it out"),
        ("run M -p x --tmep 0", "did you mean --temp?"),
        (
            "run M -p x --foo",
            "there is no option --foo: rillm run --help",
        ),
        (
            "bench M --foo",
            "there is no option --foo: rillm bench --help",
        ),
        ("run M -p x --yarn-ext-factor 1", "there is no option"),
        ("quantize M Q4_K_M", "rillm quantize M M-Q4_K_M.gguf Q4_K_M"),
        (
            "quantize in/m.gguf q8_0",
            "rillm quantize in/m.gguf in/m-Q8_0.gguf q8_0",
        ),
        ("quantize M out.gguf", "give a TYPE"),
        ("quantize M out.gguf Q4_K_M 8 9", "one word too many"),
        ("quantize M", "OUT"),
        (
            "quantize --imatrix i M out.gguf q4_0",
            "importance matrices",
        ),
        ("run", "<MODEL>"),
        ("inspect a b", "one word too many"),
        ("run -p x", "<MODEL>"),
        ("bench -m M other", "named twice"),
        ("eval M", "--input"),
    ] {
        let line = line.replace('M', "model.gguf").replace("-model.gguf", "-M");
        let line = line.replace("_model.gguf", "_M");
        let says = says
            .replace(" M", " model.gguf")
            .replace("model.gguf-", "model-");
        told(&line.split(' ').collect::<Vec<_>>(), &[&says]);
    }
}

/// Lines as they stand in other programs' pages.
#[test]
fn other_programs_lines_run() {
    let plain = ["-p", "One day", "-n", "8", "--temp", "0"];
    let expected = well(&[&["run", DEMO][..], &plain].concat());
    for line in [
        "-m M -p P -n 8 --temp 0",
        "-m M -p P --n-predict 8 --temperature 0 --threads 1 --ctx-size 64",
        "--model M --prompt P --max-new-tokens 8 --temp 0 -no-cnv",
        "--model=M --prompt=P --max_new_tokens=8 --temp=0",
        "run --model M --prompt P --predict 8 --temp 0",
        "run M P -n 8 --temp 0",
        "run -m M P -n 8 --temp 0",
        "M P -n 8 --temp 0",
        "M -p P -n 8 --top_k 1 --repeat_penalty 1.0",
        "run M P -n 8 --temp 0 -md draft.gguf --draft-max 4 -ngl 99 --device cpu --keepalive 5m",
        "generate M P -n 8 --temp 0 --do-sample --dtype bfloat16",
    ] {
        let words = line.split(' ').map(|word| {
            let word = word
                .replace("=M", &format!("={DEMO}"))
                .replace("=P", "=One day");
            match word.as_str() {
                "M" => DEMO.to_string(),
                "P" => "One day".to_string(),
                _ => word,
            }
        });
        let words: Vec<String> = words.collect();
        let output = rillm(&words);
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), expected, "{line}");
    }
    // Words need no quotation marks.
    assert_eq!(
        well(&["run", DEMO, "One", "day", "-n", "8", "--temp", "0"]),
        expected
    );
    let ids = well(&["tokenize", DEMO, "One", "day", "--ids"]);
    assert_eq!(ids, well(&["tokenize", DEMO, "-p", "One day", "--ids"]));
    let back = ["detokenize", "-m", DEMO, "--skip-special"];
    let back = [&back[..], &ids.split_whitespace().collect::<Vec<_>>()].concat();
    assert_eq!(well(&back), "One day");
}

/// A registry's name without a tag.
#[test]
fn a_model_that_has_a_name_alone_is_explained() {
    let says = &["llama3.2", "models have no names here"];
    failure(&rillm(&["run", "llama3.2"]), 1, says);
}

#[test]
fn a_model_that_is_no_file_is_explained() {
    for (name, says) in [
        ("smollm2:135m", "models have no names here"),
        (
            "https://example.org/m.gguf",
            "curl -LO https://example.org/m.gguf",
        ),
        (
            "hf.co/owner/name-GGUF:Q4_K_M",
            "hf download owner/name-GGUF",
        ),
        ("owner-of-models/name", "hf download owner-of-models/name"),
        (
            "no/such/folder/m.gguf",
            "no such file or folder, nor is there no/such/folder",
        ),
        ("nothing.gguf", "nothing.gguf: no such file or folder"),
    ] {
        for command in [
            &["run"][..],
            &["chat"],
            &["inspect"],
            &["tokenize"],
            &["bench"],
            &[],
        ] {
            let words = [command, &[name]].concat();
            failure(&rillm(&words), 1, &[name, says]);
        }
        failure(
            &rillm(&["quantize", name, "out.gguf", "q8_0"]),
            1,
            &[name, says],
        );
        let compared = rillm(&["compare", name, "-c", "8"]);
        assert_eq!(compared.status.code(), Some(1));
        assert!(
            text(&compared.stderr).contains(says),
            "{}",
            text(&compared.stderr)
        );
    }
}

/// A model with a chat template of its own.
fn chatty(folder: &TempFolder) -> String {
    let mut gguf = lettered();
    let template = "{% for m in messages %}{{ m.content }} {% endfor %}";
    let value = MetadataValue::String(template.into());
    gguf.metadata
        .0
        .insert("tokenizer.chat_template".into(), value);
    let file = folder.join("chatty.gguf");
    fs::write(&file, gguf.bytes()).expect("a file");
    path(&file).to_string()
}

#[test]
fn a_model_that_was_made_to_talk_is_talked_with() {
    let folder = TempFolder::new("chatty");
    let (chatty, plain) = (chatty(&folder), talking(&folder));
    let base = ["-n", "4", "--temp", "0", "-t", "1"];
    let run = rillm(&[&["run", &chatty, "a cat"][..], &base].concat());
    assert!(run.status.success());
    assert!(
        text(&run.stderr).contains("rillm chat answers"),
        "{}",
        text(&run.stderr)
    );
    // What stops it would stop a conversation as well.
    let stopped = rillm(&[&["run", &chatty, "a cat", "-c", "2"][..], &base].concat());
    let error = failure(&stopped, 1, &["raise it with -c"]);
    assert_eq!(error.lines().count(), 1, "{error}");
    let other = rillm(&[&["run", path(&plain), "a cat"][..], &base].concat());
    assert!(
        !text(&other.stderr).contains("rillm chat"),
        "{}",
        text(&other.stderr)
    );

    // Said as an option, as words, in a file, or typed: the same reply.
    let typed = fed(&[&["chat", &chatty][..], &base].concat(), "a cat\n");
    assert!(typed.status.success() && !typed.stdout.is_empty());
    let file = folder.join("said.txt");
    fs::write(&file, "a cat\n").expect("a file");
    for said in [
        &["chat", &chatty, "-p", "a cat"][..],
        &["chat", &chatty, "a", "cat"],
        &["chat", "-m", &chatty, "a cat"],
        &["chat", &chatty, "-f", path(&file)],
        &["chat", &chatty, "-p", "a cat", "-st"],
        // Without a command it is the model that says which.
        &[&chatty, "a cat"],
        &["-m", &chatty, "-p", "a cat"],
        &[
            "-m",
            path(&plain),
            "-p",
            "a cat",
            "-cnv",
            "--chat-template",
            path(&folder.join("t")),
        ],
    ] {
        let template = "{% for m in messages %}{{ m.content }} {% endfor %}";
        fs::write(folder.join("t"), template).expect("a file");
        let output = rillm(&[said, &base].concat());
        assert!(
            output.status.success(),
            "{said:?}: {}",
            text(&output.stderr)
        );
        assert_eq!(output.stdout, typed.stdout, "{said:?}");
    }
    // Every option that run leaves to chat means a conversation.
    let told = ["chat", path(&plain), "a cat", "--system", "b"];
    let told = rillm(&[&told[..], &base].concat());
    let file = folder.join("told.txt");
    fs::write(&file, "b\n").expect("a file");
    for system in [["--sys", "b"], ["--system-file", path(&file)]] {
        let output = rillm(&[&[path(&plain), "a cat"], &system[..], &base].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(output.stdout, told.stdout);
    }
    let continued = rillm(&[&["-m", &chatty, "-p", "a cat", "-no-cnv"][..], &base].concat());
    assert_eq!(continued.stdout, run.stdout);
    // What is piped in follows what was given, unless one reply is enough.
    let words = [&["chat", &chatty, "-p", "a cat"][..], &base].concat();
    let both = fed(&words, "a dog\n");
    assert_eq!(text(&both.stdout).lines().count(), 2);
    let one = fed(&[&words[..], &["--single-turn"]].concat(), "a dog\n");
    assert_eq!(one.stdout, typed.stdout);
}

#[test]
fn a_line_that_begins_with_a_path_is_said() {
    let base = [
        "chat",
        DEMO,
        "--chat-template",
        "plain",
        "-n",
        "3",
        "--temp",
        "0",
    ];
    let turns = [
        "/etc/hosts is missing, what now?",
        "/usr/bin",
        " /reset",
        "/* x */",
    ];
    for said in turns {
        let output = fed(&base, format!("{said}\n"));
        assert!(output.status.success(), "{said}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout).lines().count(), 1, "{said}");
    }
    let output = fed(&base, "/nope\n/sytem Be brief.\n/save\n/set verbose\n");
    let warned = text(&output.stderr);
    for says in [
        "/nope: no such",
        "/sytem: no such",
        "/save: give",
        "/system TEXT",
    ] {
        assert!(warned.contains(says), "{warned}");
    }
    assert_eq!(text(&output.stdout), "");
}

/// Whatever is wrong, it is one line, and names what is wrong with what.
#[test]
fn every_command_says_what_it_misses() {
    let folder = TempFolder::new("misses");
    let model = talking(&folder);
    let model = path(&model);
    let text_file = folder.join("text.txt");
    fs::write(&text_file, "Some text, and no model.").expect("a file");
    let text_file = path(&text_file);
    let out = folder.join("out.gguf");
    let out = path(&out);
    for (arguments, says) in [
        (vec!["run", text_file, "-p", "x"], vec![text_file, "GGUF"]),
        (vec!["chat", text_file], vec![text_file, "GGUF"]),
        (
            vec!["quantize", text_file, out, "q8_0"],
            vec![text_file, "GGUF"],
        ),
        (
            vec!["compare", text_file, "-c", "8"],
            vec![text_file, "GGUF"],
        ),
        (vec!["run", model, "-f", "none.txt"], vec!["none.txt"]),
        (
            vec!["run", model, "-f", path(&folder)],
            vec![path(&folder), "directory"],
        ),
        (
            vec!["chat", model, "--system-file", "none.txt"],
            vec!["none.txt"],
        ),
        (
            vec!["chat", model, "--chat-template", "none.jinja"],
            vec!["none.jinja", "chatml"],
        ),
        (
            vec!["eval", model, "--input", "none.json", "--output", out],
            vec!["none.json"],
        ),
        (
            vec!["eval", model, "--input", text_file, "--output", out],
            vec![text_file, "JSON"],
        ),
        (
            vec!["perplexity", model, "-f", "none.txt"],
            vec!["none.txt"],
        ),
        (
            vec!["run", model, "-p", "a", "--prompt-cache", text_file],
            vec![text_file, "snapshot"],
        ),
        (
            vec!["run", model, "-p", "a", "--trace", "none/t.json"],
            vec!["none/t.json"],
        ),
    ] {
        let output = rillm(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        let line = error.lines().last().unwrap_or_default();
        assert!(line.starts_with("rillm: "), "{arguments:?}: {error}");
        for part in says {
            assert!(
                error.contains(part),
                "{arguments:?}: {error:?} does not say {part:?}"
            );
        }
    }
    failure(
        &rillm(&["perplexity", model, "-f", "/dev/null"]),
        2,
        &["fewer than two tokens"],
    );
    told(
        &["run", "-m", model, "b.gguf", "-p", "a"],
        &["given twice", "b.gguf"],
    );
    told(
        &["run", model, "-p", "a", "-l", "99999+1"],
        &["no token 99999"],
    );
    // Not in words of Rust's.
    for (option, value, says) in [
        (
            "-n",
            "x",
            "'x' for '--predict <N>': expected a whole number",
        ),
        ("-n", "-3", "-3 is not -2 or more"),
        ("--seed", "abc", "expected a number from 0"),
        ("--temp", "hot", "expected a number"),
        ("-t", "300", "300 is not from 1 to 256"),
        ("-t", "-1", "-t takes no -1"),
    ] {
        told(&["run", model, "-p", "a", option, value], &[says]);
    }
    let output = rillm(&[
        "run",
        model,
        "-p",
        "a",
        "-n",
        "1",
        "--override-kv",
        "foo=int:3",
    ]);
    assert!(output.status.success());
    let warned = text(&output.stderr);
    assert!(
        warned.contains("no key foo, and nothing reads it"),
        "{warned}"
    );
    let known = "tokenizer.ggml.add_bos_token=bool:true";
    let output = rillm(&["run", model, "-p", "a", "-n", "1", "--override-kv", known]);
    assert!(!text(&output.stderr).contains("--override-kv"));
    let output = command(&["detokenize", model, "x"])
        .output()
        .expect("rillm runs");
    failure(&output, 2, &["\"x\" is no token id"]);
}

/// Recurrent models have no context that would end a text: unasked, it ends all the same.
#[cfg(feature = "demo")]
#[test]
fn no_text_is_endless_unasked() {
    let base = [
        "run",
        "--demo",
        "mamba",
        "-p",
        "One day",
        "--ignore-eos",
        "--json",
    ];
    let count = |more: &[&str]| -> u64 {
        let lines = well(&[&base[..], more].concat());
        let whole: Value =
            serde_json::from_str(lines.lines().last().expect("lines")).expect("JSON");
        whole["tokens"].as_u64().expect("a count")
    };
    assert_eq!(count(&["-c", "100"]), 100);
    assert_eq!(count(&["-c", "100", "-n", "150"]), 150);
}
