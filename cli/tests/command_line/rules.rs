//! What model files and options say of the tokens that are written.

use crate::support::folder::TempFolder;
use crate::text::{lines, well};
use crate::{failure, lettered, path, rillm};
use rillm_formats::manifest::{Array, MetadataValue};
use std::fs;

/// What a model's files say of its tokens is heard whoever writes, with a prompt from a cache or not, and
/// tokens that there are not are named.
#[test]
fn a_models_rules_are_heard() {
    let folder = TempFolder::new("rules");
    let with = |rules: &[(&str, MetadataValue)]| {
        let mut gguf = lettered();
        let template = "{% for m in messages %}{{ m.content }} {% endfor %}";
        let template = MetadataValue::String(template.into());
        let chat = ("tokenizer.chat_template", template);
        for (key, value) in rules.iter().chain([&chat]) {
            gguf.metadata.0.insert((*key).to_string(), value.clone());
        }
        let file = folder.join("rules.gguf");
        fs::write(&file, gguf.bytes()).expect("a file");
        path(&file).to_string()
    };
    let base = ["-n", "6", "--temp", "0", "-t", "1"];
    let ids = |json: &str| -> Vec<u64> {
        let tokens = lines(json).into_iter();
        tokens.filter_map(|line| line["token"].as_u64()).collect()
    };
    let plain = with(&[]);
    let free = ids(&well(
        &[&["run", &plain, "a cat", "--json"], &base[..]].concat(),
    ));
    let said = well(&[&["chat", &plain, "a cat"], &base[..]].concat());
    let unwanted = Array::U32(free.iter().map(|&id| id as u32).collect());
    let suppress = ("generation.suppress_tokens", MetadataValue::Array(unwanted));
    let ruled = with(&[suppress]);
    let run = [&["run", &ruled, "a cat", "--json"], &base[..]].concat();
    let others = ids(&well(&run));
    assert!(!others.is_empty());
    assert!(others.iter().all(|id| !free.contains(id)), "{others:?}");
    assert_ne!(
        well(&[&["chat", &ruled, "a cat"], &base[..]].concat()),
        said
    );
    // Each letter once, of those of a prompt that a cache held.
    let once = ("generation.no_repeat_ngram_size", MetadataValue::U32(1));
    let ruled = with(&[once]);
    let run = [&["run", &ruled, "a cat", "--json"], &base[..]].concat();
    let cache = folder.join("cache");
    let cached = [&run[..], &["--prompt-cache", path(&cache)]].concat();
    let written = ids(&well(&run));
    assert_eq!(ids(&well(&cached)), written);
    assert_eq!(ids(&well(&cached)), written);
    let prompt = well(&["tokenize", &ruled, "-p", "a cat", "--ids"]);
    let prompt: Vec<u64> = prompt
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect();
    assert!(written.iter().all(|id| !prompt.contains(id)), "{written:?}");

    for (option, says) in [
        (
            "--suppress-tokens=999999",
            "suppress_tokens names token 999999",
        ),
        (
            "--begin-suppress-tokens=1,999999",
            "begin_suppress_tokens names token 999999",
        ),
        (
            "--bad-words-ids=1,999999",
            "bad_words_ids names token 999999",
        ),
        (
            "--forced-eos-token-id=999999",
            "forced_eos_token_id names token 999999",
        ),
    ] {
        failure(
            &rillm(&[&["run", &plain, "a", option], &base[..]].concat()),
            1,
            &[says],
        );
    }
    for option in ["--forced-bos-token-id", "--decoder-start-token-id"] {
        let run = [&["run", &plain, "a", option, "3"], &base[..]].concat();
        failure(&rillm(&run), 2, &[option, "goes on from its prompt"]);
    }
    let bias = [&["run", &plain, "a", "-l", "999999+1"], &base[..]].concat();
    failure(&rillm(&bias), 2, &["there is no token 999999"]);
}
