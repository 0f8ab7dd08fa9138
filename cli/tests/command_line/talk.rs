//! Conversations, piped in.

use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::text::{DEMO, fed, interrupt, with_input};
use crate::{command, failure, rillm, text};

#[test]
fn a_conversation_goes_on_from_what_was_said() {
    let folder = TempFolder::new("chat");
    let file = folder.join("talk.json");
    let file = file.to_str().expect("text");
    let base = [
        "chat",
        DEMO,
        "-n",
        "8",
        "--temp",
        "0",
        "--chat-template",
        "plain",
    ];
    let input = format!("Tom has a dog.\nThe dog is \\\nbig.\n/save {file}\n/nope\n");
    let (said, warned) = with_input(&base, &input);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(warned.contains("/nope: no such command"), "{warned}");
    let saved: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    let roles: Vec<&Value> = saved
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| &m["role"])
        .collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    assert_eq!(saved[2]["content"], "The dog is \nbig.");
    // Taken back and said again, or loaded: the same reply.
    let input = "Tom has a dog.\nWhat?\n/undo\nThe dog is \\\nbig.\n";
    let (again, _) = with_input(&base, input);
    assert_eq!(again.lines().last(), said.lines().last());
    let (loaded, _) = with_input(
        &base,
        &format!("/load {file}\n/undo\nThe dog is \\\nbig.\n"),
    );
    assert_eq!(loaded.lines().last(), said.lines().last());
    // What was said first bears on it.
    let (alone, _) = with_input(&base, "The dog is \\\nbig.\n");
    assert_ne!(alone.lines().last(), said.lines().last());
    let (told, _) = with_input(&[&base[..], &["--system", "A cat sat."]].concat(), "Hi.\n");
    let (untold, _) = with_input(&base, "Hi.\n");
    assert_ne!(told, untold);
    failure(
        &rillm(&["chat", DEMO, "--chat-template", "nosuch"]),
        1,
        &["nosuch", "chatml"],
    );
}

/// Piped in as typed; and what has no end is refused before it takes all memory.
#[test]
fn a_turn_may_have_several_lines_and_has_an_end() {
    let folder = TempFolder::new("turns");
    let file = folder.join("talk.json");
    let file = file.to_str().expect("text");
    let base = ["chat", DEMO, "-n", "2", "--chat-template", "plain"];
    let input = format!("\"\"\"\none\n\n  two\r\n\"\"\"\nthree \\\nfour\n/save {file}\n");
    with_input(&base, &input);
    let saved: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    let turns = saved.as_array().expect("a list").iter().step_by(2);
    let turns: Vec<&Value> = turns.map(|turn| &turn["content"]).collect();
    assert_eq!(turns, ["one\n\n  two", "three \nfour"]);

    let output = fed(&base, "a".repeat((16 << 20) + 1));
    failure(&output, 1, &["standard input", "longer than 16.0 MiB"]);
    let template = folder.join("long.jinja");
    std::fs::write(&template, "a".repeat((4 << 20) + 1)).expect("a file");
    let template = template.to_str().expect("text");
    let output = rillm(&["chat", DEMO, "--chat-template", template]);
    failure(&output, 1, &[template, "longer than 4.00 MiB"]);
}

/// White space around it is part of a message, as it is for transformers' apply_chat_template; the end
/// of a line, and of a file, is not.
#[test]
fn a_message_keeps_its_white_space() {
    let folder = TempFolder::new("white-space");
    let file = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).expect("a file");
        file.to_str().expect("text").to_string()
    };
    let template = file(
        "t.jinja",
        "{{ raise_exception(messages | map(attribute='content') | list | tojson) }}",
    );
    let long = file("said", "\n  Two lines:\n\tthe other. \n\n");
    let base = ["chat", DEMO, "--chat-template", &template, "-st"];
    for (more, typed, says) in [
        (
            &["-p", "  Name three rivers.\n"][..],
            "",
            r#"["  Name three rivers.\n"]"#,
        ),
        (&["-p", " \t"], "", r#"[" \t"]"#),
        (&["  Name", "three. "], "", r#"["  Name three. "]"#),
        (&["-f", &long], "", r#"["\n  Two lines:\n\tthe other. \n"]"#),
        (&[], "  Name three. \r\n", r#"["  Name three. "]"#),
        (&[], "  Name three.\t", r#"["  Name three.\t"]"#),
        (&[], "\"\"\"\n\n one \n\n\"\"\"\n", r#"["\n one \n"]"#),
        (&[], " \n\nHi.\n", r#"["Hi."]"#),
        (
            &["--system", " Be\nbrief. \n", "-p", "Hi."],
            "",
            r#"[" Be\nbrief. \n", "Hi."]"#,
        ),
        (
            &["--system-file", &long, "-p", "Hi."],
            "",
            r#"["\n  Two lines:\n\tthe other. \n", "Hi."]"#,
        ),
    ] {
        let output = fed(&[&base[..], more].concat(), typed);
        let error = text(&output.stderr);
        assert!(
            error.contains(&format!("refuses: {says}\n")),
            "{error} for {more:?} {typed:?}"
        );
    }
}

/// A turn that cannot be answered is no end of the conversation, and none answered is a failure.
#[test]
fn a_conversation_without_any_reply_fails() {
    let folder = TempFolder::new("refused");
    let template = |name: &str, source: &str| {
        let file = folder.join(name);
        std::fs::write(&file, source).expect("a file");
        file.to_str().expect("text").to_string()
    };
    let empty = template("empty.j2", "");
    let raising = template("raising.j2", "{{ raise_exception('not today') }}");
    let word = "word ".repeat(40);
    for (template, said, says) in [
        (empty.as_str(), "hi", "makes no text"),
        (&raising, "hi", "not today"),
        ("plain", &word, "/reset"),
    ] {
        let base = ["chat", DEMO, "-c", "16", "--chat-template", template];
        // One without a token that begins a text.
        let bare = "tokenizer.ggml.add_bos_token=bool:false";
        let base = [&base[..], &["--override-kv", bare]].concat();
        let output = fed(&base, format!("{said}\n"));
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(output.stdout.is_empty() && error.contains(says), "{error}");
        assert!(error.ends_with("no turn got a reply\n"), "{error}");
        assert!(!error.contains("panicked"), "{error}");
    }
    let base = ["chat", DEMO, "-c", "32", "-n", "4", "--chat-template"];
    let (said, warned) = with_input(&[&base[..], &["plain"]].concat(), &format!("{word}\nHi.\n"));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(warned.contains("/reset"), "{warned}");
}

/// What is no text is left out, and the turns around it are answered.
#[test]
fn a_byte_that_is_no_text_costs_one_turn() {
    let base = ["chat", DEMO, "-n", "4", "--temp", "0", "--chat-template"];
    let base = [&base[..], &["plain"]].concat();
    let output = fed(&base, b"Tom.\na caf\xe9\nA dog.\n");
    let warned = text(&output.stderr);
    assert!(output.status.success(), "{warned}");
    let (without, _) = with_input(&base, "Tom.\nA dog.\n");
    assert_eq!(text(&output.stdout), without);
    assert_eq!(warned.matches("is not UTF-8").count(), 1, "{warned}");
    let output = fed(&base, b"caf\xe9\n");
    assert_eq!(output.status.code(), Some(1));
    let warned = text(&output.stderr);
    assert!(warned.ends_with("no turn got a reply\n"), "{warned}");
}

/// Many models are told nothing at first: whoever does hears what to leave out, and nothing of an
/// input that was not asked for.
#[test]
fn a_template_that_takes_no_system_message_says_so() {
    let folder = TempFolder::new("no-system");
    let file = folder.join("template.j2");
    let source = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not \
                  supported') }}{% endif %}{{ messages[0].content }}";
    std::fs::write(&file, source).expect("a file");
    let file = file.to_str().expect("text");
    let base = [
        "chat",
        DEMO,
        "-n",
        "4",
        "--temp",
        "0",
        "--chat-template",
        file,
    ];
    let told = [&base[..], &["--system", "Be brief.", "-p", "hi", "-st"]].concat();
    let says = ["System role not supported", "without --system"];
    let error = failure(&rillm(&told), 2, &says);
    assert_eq!(error.lines().count(), 1, "{error}");
    // Typed, it is in the way of this turn alone.
    let (said, warned) = with_input(&base, "/system Be brief.\nhi\n/system\nhi\n");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(warned.contains("/system alone"), "{warned}");
}

#[test]
fn what_does_not_talk_says_what_it_does() {
    for (name, says) in [("t5", "rillm run"), ("bert", "rillm eval")] {
        let folder = Fixture::load(name).folder();
        let folder = folder.to_str().expect("text");
        let output = rillm(&["chat", folder, "-p", "hi"]);
        failure(&output, 1, &["does not talk", says, folder]);
    }
}

/// A template writes all special tokens that belong there, and none stands behind it; what we
/// bring ourselves leaves BOS to the tokenizer.
#[test]
fn a_conversation_ends_where_its_reply_begins() {
    let model = Fixture::load("llama").folder();
    let letters = (' '..='~').enumerate();
    let letters: serde_json::Map<String, Value> = letters
        .map(|(id, letter)| (letter.to_string(), id.into()))
        .collect();
    let added = |id: u32, name: &str| serde_json::json!({"id": id, "content": name, "special": true, "normalized": false});
    let tokenizer = serde_json::json!({
        "version": "1.0",
        "added_tokens": [added(95, "<s>"), added(96, "</s>")],
        "model": { "type": "BPE", "vocab": letters, "merges": [], "unk_token": "?" },
    });
    let write = |name: &str, text: &str| std::fs::write(model.join(name), text).expect("a file");
    write("tokenizer.json", &tokenizer.to_string());
    write(
        "tokenizer_config.json",
        r#"{"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "add_eos_token": true}"#,
    );
    let model_path = model.to_str().expect("text");
    for (template, more, tokens) in [
        (
            "[{{ messages[0].role }}]{{ messages[0].content }}",
            &[][..],
            11,
        ),
        (
            "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
            &[],
            7,
        ),
        (
            "{% generation %}{{ messages[0].content }}{% endgeneration %}\r\n",
            &[],
            5,
        ),
        ("", &["--chat-template", "chatml"], 56),
        ("", &["--chat-template", "llama2"], 21),
    ] {
        write("chat_template.jinja", template);
        let base = ["chat", model_path, "-c", "1"];
        let output = fed(&[&base[..], more].concat(), "hello\n");
        let error = text(&output.stderr);
        assert!(
            error.contains(&format!("has {tokens} tokens")),
            "{template}: {error}"
        );
    }
}

/// Nothing bounds what a recurrent model has heard, or is about to.
#[cfg(feature = "demo")]
#[test]
fn a_talk_with_a_recurrent_model_has_no_end() {
    for more in [&[][..], &["--endless"]] {
        let mut arguments = vec!["chat", "--demo", "mamba", "-c", "64", "-n", "4"];
        arguments.extend(["--temp", "0", "--chat-template", "plain"]);
        arguments.extend(more);
        let turns = format!("{}\nAnd then?\nAnd then?\n", "The dog is big. ".repeat(60));
        let (said, warned) = with_input(&arguments, &turns);
        assert_eq!(said.lines().count(), 3, "{said}");
        assert!(!warned.contains("context"), "{warned}");
    }
}

/// A linear transformer keeps no KV cache, but its positions were learned: they bound a talk.
#[test]
fn a_talk_ends_where_learned_positions_do() {
    let model = Fixture::load("linear_transformer").folder();
    let letters = (' '..='~').enumerate();
    let letters: serde_json::Map<String, Value> = letters
        .map(|(id, letter)| (letter.to_string(), id.into()))
        .collect();
    let tokenizer = serde_json::json!({
        "version": "1.0",
        "normalizer": { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        "model": { "type": "BPE", "vocab": letters, "merges": [], "unk_token": "?" },
    });
    std::fs::write(model.join("tokenizer.json"), tokenizer.to_string()).expect("a file");
    let model = model.to_str().expect("text");
    let arguments = [
        "chat",
        model,
        "-c",
        "32",
        "-n",
        "4",
        "--chat-template",
        "plain",
    ];
    let turns = format!("{}\n/reset\n{}\n", "a".repeat(90), "a".repeat(200));
    let (said, warned) = with_input(&arguments, &turns);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(warned.contains("the context 192: /reset"), "{warned}");
    assert!(!warned.contains("-c makes"), "{warned}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_a_reply_and_not_the_program() {
    use std::io::{BufRead, BufReader, Read};
    let base = [
        "chat",
        DEMO,
        "-c",
        "2000000",
        "--ignore-eos",
        "--chat-template",
        "plain",
    ];
    let mut piped = command(&base);
    piped
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = piped.spawn().expect("rillm runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdin.write_all(b"Tom has a dog.\n").expect("it reads");
    let mut some = [0; 200];
    stdout.read_exact(&mut some).expect("it writes");
    if !interrupt(&child) {
        // No kill command here.
        let _ = child.kill();
        let _ = child.wait();
        return;
    }
    // The next turn is answered as well.
    stdin
        .write_all(b"/reset\nAnother one.\n")
        .expect("it reads");
    let mut rest = String::new();
    stdout
        .read_line(&mut rest)
        .expect("the end of the first reply");
    stdout.read_exact(&mut some).expect("a second reply");
    assert!(interrupt(&child));
    drop(stdin);
    let mut out = Vec::new();
    stdout.read_to_end(&mut out).expect("the end");
    assert!(child.wait().expect("it ends").success());
}

/// What a model thinks is no part of its answer: it is not written to a pipe, and is kept apart; templates are
/// told whether it is to think.
#[test]
fn thoughts_are_kept_apart() {
    let folder = TempFolder::new("thoughts");
    let (template, file) = (folder.join("thinks.jinja"), folder.join("talk.json"));
    let source = "{{ messages[-1].content }}{% for m in messages %}{{ m.reasoning_content }}{% endfor %}\
                  {% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>{% endif %}";
    std::fs::write(&template, source).expect("a file");
    let (template, file) = (
        template.to_str().expect("text"),
        file.to_str().expect("text"),
    );
    let base = [
        "chat",
        DEMO,
        "-n",
        "6",
        "--temp",
        "0",
        "--chat-template",
        template,
    ];
    let saved = |more: &[&str]| -> (String, Value) {
        let (said, _) = with_input(
            &[&base[..], more].concat(),
            &format!("Tom has a dog.\n/save {file}\n"),
        );
        let saved = std::fs::read(file).expect("a file");
        (said, serde_json::from_slice(&saved).expect("JSON"))
    };
    // The prompt begins what is never ended here.
    for more in [&[][..], &["--think"]] {
        let (said, talk) = saved(more);
        assert_eq!(said.trim(), "", "{said}");
        assert_eq!(talk[1]["content"], "");
        assert!(
            !talk[1]["reasoning_content"]
                .as_str()
                .expect("thoughts")
                .is_empty()
        );
    }
    for more in [
        &["--no-think"][..],
        &["--chat-template-kwargs", "{\"enable_thinking\": false}"],
    ] {
        let (said, talk) = saved(more);
        assert!(!said.trim().is_empty());
        assert_eq!(
            talk[1]["content"].as_str().expect("an answer").trim(),
            said.trim()
        );
        assert_eq!(talk[1].get("reasoning_content"), None);
    }
    // And is read again.
    let thought = r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "c"}]"#;
    std::fs::write(file, thought).expect("a file");
    let input = format!("/load {file}\n/save {file}\n");
    with_input(&base, &input);
    let talk: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    assert_eq!(talk, serde_json::from_str::<Value>(thought).expect("JSON"));
    let plain = ["chat", DEMO, "--chat-template", "plain"];
    let without = [&plain[..], &["--no-think"]].concat();
    failure(&fed(&without, "a\n"), 2, &["--no-think", "no variable"]);
    let wrong = [&plain[..], &["--chat-template-kwargs", "[]"]].concat();
    failure(
        &fed(&wrong, "a\n"),
        2,
        &["--chat-template-kwargs", "no JSON object"],
    );
}
