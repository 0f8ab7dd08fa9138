//! Commands about text, on the embedded model.

use crate::{command, failure, rillm, text};
use serde_json::Value;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

pub const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");

/// Runs a command with this input.
pub fn fed(arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    let mut piped = command(arguments);
    piped
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().expect("rillm runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_ref()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// The same; its output, if it went well.
pub fn with_input(arguments: &[&str], input: &str) -> (String, String) {
    let output = fed(arguments, input);
    assert!(output.status.success(), "{}", text(&output.stderr));
    (
        text(&output.stdout).to_string(),
        text(&output.stderr).to_string(),
    )
}

pub fn well(arguments: &[&str]) -> String {
    let output = rillm(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout).to_string()
}

/// Presses Ctrl-C, if there is a command that does.
#[cfg(unix)]
pub fn interrupt(child: &Child) -> bool {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    sent.is_ok_and(|status| status.success())
}

pub fn lines(json: &str) -> Vec<Value> {
    let lines = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

#[test]
fn tokens_and_back() {
    let words = well(&["tokenize", DEMO, "-p", "One day, Lily"]);
    assert_eq!(words.lines().count(), 5, "{words}");
    let ids = well(&["tokenize", DEMO, "-p", "One day, Lily", "--ids"]);
    let count = well(&["tokenize", DEMO, "-p", "One day, Lily", "--count"]);
    assert_eq!(count.trim().parse(), Ok(ids.split_whitespace().count()));
    let json: Value =
        serde_json::from_str(&well(&["tokenize", DEMO, "-p", "One day, Lily", "--json"]))
            .expect("JSON");
    let listed: Vec<String> = json
        .as_array()
        .expect("a list")
        .iter()
        .map(|token| token["id"].to_string())
        .collect();
    assert_eq!(listed.join(" "), ids.trim());
    let (back, _) = with_input(&["detokenize", DEMO, "--skip-special"], &ids);
    assert_eq!(back, "One day, Lily");
    let mut arguments = vec!["detokenize", DEMO, "--skip-special", "--json"];
    arguments.extend(ids.split_whitespace());
    let json: Value = serde_json::from_str(&well(&arguments)).expect("JSON");
    assert_eq!(json, serde_json::json!({ "text": "One day, Lily" }));
    let own = well(&[
        "tokenize",
        DEMO,
        "-p",
        "One day, Lily",
        "--ids",
        "--no-special",
    ]);
    let mut arguments = vec!["detokenize", DEMO];
    arguments.extend(own.split_whitespace());
    assert_eq!(well(&arguments), "One day, Lily");
    failure(
        &rillm(&["detokenize", DEMO, "99999999"]),
        2,
        &["no token 99999999"],
    );
}

#[test]
fn json_has_every_token_and_the_whole() {
    let base = ["run", DEMO, "-p", "One day", "-n", "12", "--temp", "0"];
    let plain = well(&[&base[..], &["--no-display-prompt"]].concat());
    let json = lines(&well(&[&base[..], &["--json", "--logprobs", "3"]].concat()));
    let (whole, tokens) = json.split_last().expect("lines");
    assert_eq!(tokens.len(), 12);
    assert_eq!(
        whole["text"].as_str().map(|text| format!("{text}\n")),
        Some(plain)
    );
    assert_eq!(whole["tokens"], 12);
    assert_eq!(whole["stop"], "length reached");
    for token in tokens {
        // Greedy: what was taken is the most likely.
        let top = token["top"].as_array().expect("a list");
        assert_eq!(top.len(), 3);
        assert_eq!(top[0]["token"], token["token"]);
        assert_eq!(top[0]["logprob"], token["logprob"]);
        assert_eq!(top[0]["text"], token["text"]);
        let p = |index: usize| top[index]["logprob"].as_f64().expect("a number");
        assert!(p(0) <= 0.0 && p(0) >= p(1) && p(1) >= p(2));
    }
    failure(
        &rillm(&[&base[..], &["--logprobs", "3"]].concat()),
        2,
        &["--json"],
    );
}

#[test]
fn stop_strings_end_a_text_and_are_left_out() {
    let base = [
        "run",
        DEMO,
        "-p",
        "One day",
        "-n",
        "60",
        "--temp",
        "0",
        "--no-display-prompt",
    ];
    let all = well(&base);
    // From the middle of a word to the middle of another: not where tokens end.
    let stop = &all[20..29];
    let before = &all[..all.find(stop).expect("it is there")];
    let found = well(&[&base[..], &["--stop", stop]].concat());
    assert_eq!(found, format!("{before}\n"));
    let json = lines(&well(
        &[&base[..], &["--json", "-r", "nowhere", "-r", stop]].concat(),
    ));
    let whole = json.last().expect("lines");
    assert_eq!(whole["text"], before);
    assert_eq!(whole["stop"], "stop string");
    let shown: String = json[..json.len() - 1]
        .iter()
        .filter_map(|t| t["text"].as_str())
        .collect();
    assert_eq!(shown, before);
    let escaped = well(&[&base[..], &["--stop", "\\n"]].concat());
    assert_eq!(escaped.lines().count(), 1);
}

#[test]
fn choices_are_llama_cpps() {
    let base = ["run", DEMO, "-p", "One day", "-n", "40", "-s", "7"];
    let run = |more: &[&str]| well(&[&base[..], more].concat());
    let greedy = run(&["--temp", "0"]);
    for same in [
        &["--top-k", "1"][..],
        &["--top-p", "0", "--top-k", "0"],
        &["--min-p", "1"],
        &["--samplers", "top_k", "--top-k", "1"],
        &["--samplers", "temperature;top_k", "--temp", "0"],
        &["--top-nsigma", "0.0001"],
    ] {
        assert_eq!(run(same), greedy, "{same:?}");
    }
    assert_eq!(run(&[]), run(&[]));
    assert_ne!(run(&["--temp", "2", "--samplers", "temperature"]), greedy);
    for other in [
        &[
            "--mirostat",
            "2",
            "--mirostat-ent",
            "3",
            "--mirostat-lr",
            "0.2",
        ][..],
        &[
            "--dry-multiplier",
            "5",
            "--dry-penalty-last-n",
            "-1",
            "--temp",
            "0",
        ],
        &[
            "--repeat-penalty",
            "1.3",
            "--repeat-last-n",
            "-1",
            "--temp",
            "0",
        ],
        &["--presence-penalty", "1", "--frequency-penalty", "0.5"],
        &["--xtc-probability", "1", "--xtc-threshold", "0.05"],
        &["--typical", "0.5", "--min-keep", "2"],
        &["--dynatemp-range", "0.5", "--dynatemp-exp", "2"],
    ] {
        assert!(run(other).len() > 40, "{other:?}");
    }
    // The token that greedy choice takes first, forbidden.
    let json = lines(&run(&["--temp", "0", "--json"]));
    let first = json[0]["token"].clone();
    let forbidden = format!("{first}-inf");
    let json = lines(&run(&["--temp", "0", "--json", "-l", &forbidden]));
    assert!(json.iter().all(|line| line["token"] != first));
    let endless = [
        "run",
        DEMO,
        "-p",
        "One day",
        "-n",
        "300",
        "--ignore-eos",
        "--json",
    ];
    let endless = lines(&well(&endless));
    assert_eq!(endless.last().expect("lines")["tokens"], 300);
    for wrong in [
        &["--top-p", "1.5"][..],
        &["--min-p", "-1"],
        &["--samplers", "magic"],
        &["--mirostat", "1"],
        &["-l", "x"],
    ] {
        failure(&rillm(&[&base[..], wrong].concat()), 2, &[]);
    }
}

/// The seed that a run names makes the same text once more, however large it is.
#[test]
fn a_seed_that_was_named_can_be_given() {
    let base = ["run", DEMO, "-p", "One day", "-n", "20", "--json"];
    let whole = |seed: &str| {
        let json = lines(&well(&[&base[..], &["-s", seed]].concat()));
        let whole = json.last().expect("lines");
        (whole["seed"].to_string(), whole["text"].clone())
    };
    let (largest, _) = whole(&u64::MAX.to_string());
    assert_eq!(largest, u64::MAX.to_string());
    let (seed, text) = whole("-1");
    assert_eq!(whole(&seed), (seed, text));
    for wrong in ["-2", "t", "18446744073709551616"] {
        failure(&rillm(&[&base[..], &["-s", wrong]].concat()), 2, &["or -1"]);
    }
}

#[test]
fn perplexity_of_its_own_text_is_low() {
    let story = well(&[
        "run", DEMO, "-p", "One day", "-n", "300", "--temp", "0.8", "-s", "1",
    ]);
    let (scored, _) = with_input(&["perplexity", DEMO, "-c", "64", "--json"], &story);
    let json = lines(&scored);
    let (whole, chunks) = json.split_last().expect("lines");
    assert_eq!(whole["chunks"], chunks.len());
    let own = whole["perplexity"].as_f64().expect("a number");
    assert!(own > 1.0 && own < 8.0, "{own}");
    let mut words: Vec<&str> = story.split(' ').collect();
    words.sort_unstable();
    let (scored, _) = with_input(
        &["perplexity", DEMO, "-c", "64", "--json"],
        &words.join(" "),
    );
    let other = lines(&scored).last().expect("lines")["perplexity"].as_f64();
    assert!(other.expect("a number") > 5.0 * own, "{other:?}, {own}");
}

/// Against probabilities taken one position at a time from the command that shows them.
#[test]
fn perplexity_is_the_mean_of_what_run_says() {
    let text = "One day, Lily found a tiny bean seed in the garden.";
    let ids: Vec<String> = well(&["tokenize", DEMO, "-p", text, "--ids"])
        .split_whitespace()
        .map(str::to_string)
        .collect();
    let mut sum = 0.0;
    let scored = ids.len() / 2 + 1..ids.len();
    for at in scored.clone() {
        let mut arguments = vec!["detokenize", DEMO, "--skip-special"];
        arguments.extend(ids[..at].iter().map(String::as_str));
        let before = well(&arguments);
        let base = ["run", DEMO, "-p", &before, "-n", "1", "--temp", "0"];
        let json = lines(&well(
            &[&base[..], &["--json", "--logprobs", "1000"]].concat(),
        ));
        let top = json[0]["top"].as_array().expect("a list").iter();
        let mut found = top.filter(|entry| entry["token"].as_u64() == ids[at].parse().ok());
        let found = found.next().expect("among the first thousand");
        sum -= found["logprob"].as_f64().expect("a number");
    }
    let expected = (sum / scored.len() as f64).exp();
    let (out, _) = with_input(&["perplexity", DEMO, "--json"], text);
    let json = lines(&out);
    let found = json.last().expect("lines")["perplexity"]
        .as_f64()
        .expect("a number");
    assert_eq!(json[0]["tokens"], scored.len());
    assert!((found / expected - 1.0).abs() < 0.01, "{found}, {expected}");
}

#[test]
fn an_endless_text_outgrows_its_context() {
    let arguments = [
        "run",
        DEMO,
        "-p",
        "One day",
        "-n",
        "150",
        "-c",
        "48",
        "--json",
        "--ignore-eos",
        "--temp",
        "0",
    ];
    let full = lines(&well(&arguments));
    assert_eq!(full.last().expect("the whole")["stop"], "context full");
    let endless = lines(&well(
        &[&arguments[..], &["--endless", "--keep", "6"]].concat(),
    ));
    let (whole, tokens) = endless.split_last().expect("the whole");
    assert_eq!(whole["stop"], "length reached");
    assert_eq!(tokens.len(), 150);
    // An eighth of 48 at a time, as often as it takes.
    let forgotten = whole["discarded_tokens"].as_u64().expect("a count");
    assert!(
        forgotten >= 100 && forgotten.is_multiple_of(6),
        "{forgotten}"
    );
    // Until the context is full, nothing is different.
    assert_eq!(tokens[..full.len() - 1], full[..full.len() - 1]);
    failure(
        &rillm(&["run", DEMO, "-p", "x", "--keep", "6"]),
        2,
        &["--endless"],
    );
}

#[test]
fn of_an_option_given_twice_the_last_counts() {
    let base = ["run", DEMO, "-p", "One day", "--temp", "0"];
    let run = |more: &[&str]| well(&[&base[..], more].concat());
    assert_eq!(run(&["-n", "30", "-n", "6"]), run(&["-n", "6"]));
    assert_eq!(
        run(&[
            "-n",
            "6",
            "--temp",
            "1",
            "--temp",
            "0",
            "--no-escape",
            "--no-escape"
        ]),
        run(&["-n", "6"])
    );
    // Those that are meant to be given several times are.
    let all = run(&["-n", "40", "--no-display-prompt"]);
    let (early, late) = (&all[10..14], &all[30..36]);
    for stops in [["-r", early, "-r", late], ["-r", late, "-r", early]] {
        let more = [&["-n", "40", "--no-display-prompt"][..], &stops].concat();
        assert_eq!(
            run(&more),
            run(&["-n", "40", "--no-display-prompt", "-r", early])
        );
    }
    let biased = run(&["-n", "4", "-l", "300+100", "-l", "301+90", "--json"]);
    assert_eq!(lines(&biased)[0]["token"], 300);
}

#[test]
fn perplexity_asks_no_more_of_a_model_than_it_learnt() {
    let story = well(&[
        "run",
        DEMO,
        "-p",
        "One day",
        "-n",
        "500",
        "--temp",
        "0.8",
        "-s",
        "3",
        "--ignore-eos",
    ]);
    let trained = "llama.context_length=int:64";
    let base = ["perplexity", DEMO, "--json", "--override-kv", trained];
    let (usual, warned) = with_input(&base, &story);
    let usual = lines(&usual).pop().expect("lines");
    assert_eq!(usual["chunk_tokens"], 64);
    assert!(!warned.contains("warning"), "{warned}");
    let (wide, warned) = with_input(&[&base[..], &["-c", "128"]].concat(), &story);
    assert_eq!(lines(&wide).pop().expect("lines")["chunk_tokens"], 128);
    assert!(warned.contains("128 is more than the 64"), "{warned}");
}

/// Recurrent models go on beyond any context, in the memory they had after the first tokens.
#[cfg(all(target_os = "linux", feature = "demo"))]
#[test]
fn recurrent_models_stream_without_end() {
    use std::io::{BufRead, BufReader};
    /// More than any context that is reserved unasked.
    const TOKENS: usize = 6000;
    const SETTLED: usize = 1000;
    for demo in ["mamba", "retnet"] {
        for json in [false, true] {
            let mut arguments = vec![
                "run",
                "--demo",
                demo,
                "-p",
                "One day",
                "-t",
                "1",
                "-n",
                "-1",
                "--ignore-eos",
            ];
            if json {
                arguments.push("--json");
            }
            let mut piped = command(&arguments);
            piped.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = piped.spawn().expect("rillm runs");
            let id = child.id();
            let resident = || -> u64 {
                let status =
                    std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
                let line = status.lines().find(|line| line.starts_with("VmRSS:"));
                let kib = line.and_then(|line| line.split_whitespace().nth(1));
                kib.and_then(|kib| kib.parse().ok()).expect("a number")
            };
            let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
            // As JSON a token is a line; as text it is two bytes or more, on the average.
            let mut wait = |tokens: usize| match json {
                true => (0..tokens).for_each(|_| {
                    let mut line = Vec::new();
                    let read = out.read_until(b'\n', &mut line).expect("it writes");
                    assert!(read > 0, "{demo} has ended");
                }),
                false => {
                    let mut bytes = vec![0; 2 * tokens];
                    std::io::Read::read_exact(&mut out, &mut bytes).expect("it goes on");
                }
            };
            wait(SETTLED);
            let before = resident();
            wait(TOKENS);
            let grown = resident().saturating_sub(before);
            assert!(grown <= 256, "{demo}, JSON {json}: {grown} KiB more");
            // Nobody listens any more: it ends by itself, and in order.
            drop(out);
            let output = child.wait_with_output().expect("it ends");
            let error = text(&output.stderr);
            assert!(!error.contains("panicked"), "{error}");
        }
    }
}

/// RWKV's checkpoints come with a list of their tokens, in a form of its own.
#[test]
fn rwkv_runs_with_its_own_vocabulary() {
    let folder = crate::support::fixture::Fixture::load("rwkv7_fla").folder();
    let lines = ('!'..='S').zip(1..).map(|(letter, id)| match letter {
        '\'' | '\\' => format!("{id} '\\{letter}' 1\n"),
        _ => format!("{id} '{letter}' 1\n"),
    });
    let path = folder.join("rwkv_vocab_v1.txt");
    std::fs::write(path, lines.collect::<String>()).expect("a file");
    let folder = folder.to_str().expect("text");
    let said = well(&[
        "run",
        folder,
        "-p",
        "ABC",
        "-n",
        "3",
        "--temp",
        "0",
        "--ignore-eos",
    ]);
    assert!(said.starts_with("ABC"), "{said}");
    let ids = well(&["tokenize", folder, "-p", "ABC", "--ids"]);
    assert_eq!(
        ids.split_whitespace().collect::<Vec<_>>(),
        ["33", "34", "35"]
    );
}

/// Whoever ends an endless text wants to know how fast it was.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_text_with_its_figures() {
    use std::io::Read;
    let arguments = ["run", "--demo", "mamba", "-p", "One day", "--ignore-eos"];
    for json in [false, true] {
        let mut command = command(&arguments);
        command.args(["-n", "-1"]);
        if json {
            command.arg("--json");
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rillm runs");
        let mut out = child.stdout.take().expect("a pipe");
        let mut read = vec![0; 64];
        out.read_exact(&mut read).expect("an endless text");
        if !interrupt(&child) {
            // No kill command here.
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        out.read_to_end(&mut read).expect("the rest");
        let done = child.wait_with_output().expect("an end");
        assert_eq!(done.status.code(), Some(130));
        let figures = text(&done.stderr);
        assert!(figures.contains("; interrupted; "), "{figures:?}");
        if json {
            let whole = lines(text(&read)).pop().expect("lines");
            assert_eq!(whole["stop"], "interrupted");
        }
    }
}

/// The mark that editors put before a text is none of it, wherever the text comes from.
#[test]
fn a_byte_order_mark_is_no_text() {
    let plain = with_input(&["tokenize", DEMO, "--ids"], "A dog.\n").0;
    let marked = "\u{feff}A dog.\n";
    assert_eq!(with_input(&["tokenize", DEMO, "--ids"], marked).0, plain);
    let file = std::env::temp_dir().join(format!("rillm-marked-{}.txt", std::process::id()));
    std::fs::write(&file, marked).expect("a file");
    let from_file = well(&[
        "tokenize",
        DEMO,
        "--ids",
        "-f",
        file.to_str().expect("a path"),
    ]);
    std::fs::remove_file(&file).expect("it is there");
    assert_eq!(from_file, plain);
    // Before what is said first, and of commands as well.
    let talk = |input: &str| {
        let chat = ["chat", DEMO, "-n", "4", "--temp", "0", "--chat-template"];
        with_input(&[&chat[..], &["plain"]].concat(), input).0
    };
    assert_eq!(talk(marked), talk("A dog.\n"));
    assert_eq!(talk("\u{feff}/undo\r\nA dog.\r\n"), talk("A dog.\n"));
    // Inside a text it is a character like any other.
    assert_ne!(
        with_input(&["tokenize", DEMO, "--ids"], "A \u{feff}dog.\n").0,
        plain
    );
}
