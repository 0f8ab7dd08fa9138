//! Command lines that llama.cpp's users have at hand.

use super::text::{DEMO, well};
use super::{failure, rillm, text};

const BASE: [&str; 9] = [
    "run",
    DEMO,
    "-p",
    "One day",
    "-n",
    "12",
    "-s",
    "7",
    "--no-display-prompt",
];

fn run(more: &[&str]) -> String {
    well(&[&BASE[..], more].concat())
}

#[test]
fn what_means_nothing_here_is_left_out_with_a_word() {
    let plain = run(&[]);
    let more = "-ngl 99 -fa on -ub 128 -b 2048 -ctk f16 -ctv f16 --no-mmap -no-cnv";
    let more: Vec<&str> = more.split(' ').collect();
    let output = rillm(&[&BASE[..], &more].concat());
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), plain);
    let said = "rillm: warning: without effect here: -ngl, -fa, -no-cnv\n";
    assert!(text(&output.stderr).contains(said));
    let wrong = rillm(&[&BASE[..], &["-ctk", "f16", "-ctv", "q8_0"]].concat());
    failure(&wrong, 2, &["one type, not in f16 and q8_0"]);
}

#[test]
fn options_of_its_terminal_are_left_out_too() {
    let plain = run(&[]);
    let more = "--no-warmup -v --verbose-prompt --jinja -st -sp";
    let more: Vec<&str> = more.split(' ').collect();
    let output = rillm(&[&BASE[..], &more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), plain);
    let said = format!("without effect here: {}\n", more.join(", "));
    assert!(text(&output.stderr).contains(&said));
    // Names of control tokens are read by one command, and by the other always.
    assert!(
        rillm(&[&BASE[..], &["--special"]].concat())
            .status
            .success()
    );
    let chat = rillm(&["chat", DEMO, "--special", "--chat-template", "plain"]);
    assert!(text(&chat.stderr).contains("without effect here: --special"));
    assert!(chat.status.success());
    let all = ["-s", "7", "--samplers", "top_k;temperature"];
    let kept = |k: &str| run(&[&all[..], &["--top-k", k]].concat());
    assert_eq!(kept("-1"), kept("0"));
}

#[test]
fn what_there_is_not_is_named() {
    for (more, says) in [
        (&["-hf", "a/b"][..], "nothing is downloaded"),
        (&["--model-url=x"], "nothing is downloaded"),
        (&["--grammar", "root ::= x"], "grammars are not supported"),
        (&["--rope-freq-base", "5000"], "--override-kv"),
        (&["--rope-freq-scale=0.5"], "rope.scaling.factor"),
        (&["--mirostat", "1"], "mirostat 2 is"),
    ] {
        failure(&rillm(&[&BASE[..], more].concat()), 2, &[says]);
    }
}

#[test]
fn values_are_read_as_there() {
    // Anew each time, and greedy all the same.
    let greedy = run(&["--temp", "0"]);
    let anew = |seed: &str| {
        let line = ["run", DEMO, "-p", "One day", "-n", "12", "--temp", "0"];
        well(&[&line[..], &["--no-display-prompt", "--seed", seed]].concat())
    };
    assert_eq!(anew("-1"), greedy);
    assert_eq!(run(&["--sampler-seq", "k", "--top-k", "1"]), greedy);
    let order = run(&["--samplers", "top_k;temperature"]);
    assert_eq!(run(&["--sampling-seq", "kt"]), order);
    let until = |limit: &str| {
        let line = [
            "run", DEMO, "-p", "One day", "-c", "16", "-s", "7", "-n", limit,
        ];
        well(&line)
    };
    assert_eq!(until("-2"), until("-1"));
    // The prompt as a whole stays.
    let line = ["run", DEMO, "-p", "One day", "-n", "60", "-c", "48"];
    well(&[&line[..], &["--context-shift", "--keep", "-1"]].concat());
    // A backslash and an n are a newline, unless they are not.
    let tokens = |more: &[&str]| {
        let line = ["run", DEMO, "-p", "a\\nb", "-n", "1", "--json"];
        let lines = well(&[&line[..], more].concat());
        let last = lines.lines().last().expect("a line").to_string();
        let last: serde_json::Value = serde_json::from_str(&last).expect("JSON");
        last["prompt_tokens"].as_u64().expect("a count")
    };
    assert_eq!(tokens(&[]) + 1, tokens(&["--no-escape"]));
    assert_eq!(tokens(&[]), tokens(&["--no-escape", "-e"]));
}

#[test]
fn keys_of_the_file_can_be_overridden() {
    let count = |more: &[&str]| {
        let line = ["tokenize", DEMO, "-p", "Once", "--count"];
        well(&[&line[..], more].concat())
            .trim()
            .parse::<usize>()
            .expect("a count")
    };
    let without = "tokenizer.ggml.add_bos_token=bool:false";
    assert_eq!(count(&[]), count(&["--override-kv", without]) + 1);
    let shown = well(&[
        "inspect",
        DEMO,
        "--override-kv",
        "llama.rope.freq_base=float:5e3,a=str:b",
    ]);
    assert!(shown.contains("llama.rope.freq_base = 5000.0"), "{shown}");
    for (pair, says) in [
        ("x", "KEY=TYPE:VALUE"),
        ("x=int:y", "not a whole number"),
        ("=int:1", "KEY=TYPE:VALUE"),
    ] {
        failure(
            &rillm(&["inspect", DEMO, "--override-kv", pair]),
            2,
            &[says],
        );
    }
    let wrong = rillm(&["inspect", DEMO, "--override-kv", "llama.block_count=int:9"]);
    failure(&wrong, 1, &["llama.block_count", "4 layers"]);
}
