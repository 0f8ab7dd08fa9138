//! `rillm run --prompt-cache`: the same text as without, less work.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::folder::TempFolder;

fn run(prompt: &str, extra: &[&str]) -> Output {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");
    let output = Command::new(env!("CARGO_BIN_EXE_rillm"))
        .args(["run", model, "-p", prompt, "--temp", "0", "-n", "12"])
        .args(extra)
        .output();
    output.expect("rillm runs")
}

fn text(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// How many tokens of the prompt came from the cache, and how many it has.
fn reused(output: &Output) -> (usize, usize) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = stderr.lines().find(|line| line.ends_with("from the cache"));
    let words: Vec<&str> = line.unwrap_or("").split_whitespace().collect();
    match words[..] {
        [reused, "of", all, ..] => (reused.parse().unwrap(), all.parse().unwrap()),
        _ => panic!("no figures in {stderr}"),
    }
}

fn cache(folder: &TempFolder) -> String {
    let path: &Path = folder.as_ref();
    path.join("state").to_str().expect("a path").to_string()
}

#[test]
fn a_cached_prompt_continues_as_a_fresh_one() {
    let folder = TempFolder::new("prompt_cache");
    let cache = cache(&folder);
    let story = "One day, Lily found a tiny bean seed";
    let with: &[&str] = &["--prompt-cache", &cache];
    let mut reuse = Vec::new();
    for prompt in [
        story,
        // The same, a longer one, one that parts from it midway, a shorter one.
        story,
        "One day, Lily found a tiny bean seed in the garden. She",
        "One day, Lily found a big dog",
        "One day",
    ] {
        let cached = run(prompt, with);
        assert_eq!(text(&cached), text(&run(prompt, &[])), "{prompt}");
        reuse.push(reused(&cached));
    }
    let [first, again, longer, other, shorter] = reuse[..] else {
        panic!("{reuse:?}")
    };
    // The last token is always computed anew.
    assert_eq!(first.0, 0);
    assert_eq!(again, (first.1 - 1, first.1));
    assert_eq!(longer.0, first.1 - 1);
    assert!(other.0 > 0 && other.0 < first.1 - 1, "{other:?}");
    assert_eq!(shorter.0, shorter.1 - 1);
    // Left alone on request.
    let before = std::fs::read(&cache).expect("a cache");
    let read_only = ["--prompt-cache", &cache, "--prompt-cache-ro"];
    assert_eq!(text(&run(story, &read_only)), text(&run(story, &[])));
    assert_eq!(std::fs::read(&cache).expect("a cache"), before);
}

#[test]
fn the_whole_prompt_is_counted() {
    let folder = TempFolder::new("prompt_cache_counted");
    let cache = cache(&folder);
    let count = |output: &Output, key: &str| -> u64 {
        let text = text(output);
        let line = text.lines().last().expect("a line for the whole");
        let whole: serde_json::Value = serde_json::from_str(line).expect("JSON");
        whole[key].as_u64().expect("a count")
    };
    let story = "One day, Lily found a tiny bean seed";
    let plain = count(&run(story, &["--json"]), "prompt_tokens");
    for cached in [0, plain - 1] {
        let output = run(story, &["--json", "--prompt-cache", &cache]);
        assert_eq!(count(&output, "prompt_tokens"), plain);
        assert_eq!(count(&output, "cached_tokens"), cached);
        // The figures speak of what was computed.
        let stderr = String::from_utf8_lossy(&output.stderr);
        let computed = match plain - cached {
            1 => "prompt 1 token,".to_string(),
            count => format!("prompt {count} tokens,"),
        };
        assert!(stderr.contains(&computed), "{stderr}");
    }
}

#[test]
fn a_file_that_is_no_cache_is_named_and_kept() {
    let folder = TempFolder::new("prompt_cache_damaged");
    let cache = cache(&folder);
    std::fs::write(&cache, "something of the user's").expect("a file");
    let output = run("One day", &["--prompt-cache", &cache]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains(&cache) && stderr.contains("not a snapshot"),
        "{stderr}"
    );
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    // On a terminal, where both are seen, the message begins a line.
    assert_eq!(output.stdout, b"One day\n");
    assert_eq!(
        std::fs::read_to_string(&cache).unwrap(),
        "something of the user's"
    );
}

/// A cache is of a model and of its hyperparameters, as they were overridden.
#[test]
fn another_hyperparameter_is_another_model() {
    let folder = TempFolder::new("prompt_cache_overridden");
    let cache = cache(&folder);
    let story = "One day, Lily found a tiny bean seed";
    let with = |pair: &str| run(story, &["--prompt-cache", &cache, "--override-kv", pair]);
    let named = with("general.name=str:first");
    assert_eq!(reused(&named).0, 0);
    let (held, all) = reused(&with("general.name=str:second"));
    assert_eq!(held, all - 1);
    let other = with("llama.attention.layer_norm_rms_epsilon=float:0.5");
    let error = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(1), "{error}");
    assert!(error.contains("another model"), "{error}");
}
