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

/// Where another option leaves one nothing to do, that is said: in a warning, or in an error if
/// nothing would come of the line. Of one that is there as ever nothing is said.
#[test]
fn options_without_effect_are_named() {
    let run = [
        "run", "--demo", "llama", "-p", "a cat", "-n", "2", "-t", "1",
    ];
    let passed_over: [(&[&str], &[&str]); 18] = [
        (&["--xtc-threshold", "0.1"], &["--xtc-probability"]),
        (&["--repeat-last-n", "4"], &["--repeat-penalty"]),
        (&["--dry-base", "2"], &["--dry-multiplier"]),
        (&["--dry-sequence-breaker", "a"], &["--dry-multiplier"]),
        (&["--dynatemp-exp", "2"], &["--dynatemp-range"]),
        (&["--mirostat-ent", "2"], &["--mirostat"]),
        (&["--temp", "0", "--dynatemp-range", "1"], &["--temp 0"]),
        (&["--temp", "0", "--mirostat", "2"], &["--temp 0"]),
        (
            &["--mirostat", "2", "--top-k", "4"],
            &["--top-k", "--mirostat 2"],
        ),
        (
            &["--mirostat", "2", "--sampler-seq", "t"],
            &["--sampler-seq", "--mirostat 2"],
        ),
        (
            &["--samplers", "top_k", "--top-p", "0.5"],
            &["--top-p", "top_p (p)"],
        ),
        (
            &["--sampler-seq", "k", "--temp", "0"],
            &["--temp", "temperature (t)"],
        ),
        (
            &["--num-beams", "2", "--temp", "0"],
            &["--temp", "--num-beams"],
        ),
        (
            &["--num-beams", "2", "--seed", "1"],
            &["--seed", "--num-beams"],
        ),
        (&["--num-beams", "2", "--min-keep", "2"], &["--min-keep"]),
        (&["--length-penalty", "2"], &["--num-beams"]),
        (&["--early-stopping"], &["--num-beams"]),
        (&["--min-new-tokens", "3"], &["--min-new-tokens is 3", "2"]),
    ];
    for (options, says) in passed_over {
        let output = rillm(&[&run[..], options].concat());
        assert!(output.status.success(), "{options:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("warning: "), "{options:?}: {errors}");
        assert!(
            says.iter().all(|said| errors.contains(said)),
            "{options:?}: {errors}"
        );
    }
    let refused: [(&[&str], &[&str]); 5] = [
        (&["--num-beams", "2", "--ignore-eos"], &["--ignore-eos"]),
        (
            &["--num-beams", "2", "--repeat-penalty", "2"],
            &["--repetition-penalty"],
        ),
        (&["--num-beams", "2", "-n", "0"], &["-n 0"]),
        (&["--num-return-sequences", "2"], &["--num-beams"]),
        (
            &["--num-beams", "2", "--num-return-sequences", "3"],
            &["num_return_sequences"],
        ),
    ];
    for (options, says) in refused {
        let given = [&run[..], options].concat();
        let output = rillm(&given);
        let code = if options.contains(&"3") && says[0] == "num_return_sequences" {
            1
        } else {
            2
        };
        failure(&output, code, says);
    }
    let taken: [&[&str]; 8] = [
        &["--xtc-threshold", "0.1", "--xtc-probability", "0"],
        &["--mirostat", "0", "--mirostat-ent", "5", "--top-k", "4"],
        &["--temp", "0", "--top-k", "1", "--seed", "3"],
        &["--repeat-last-n", "64", "--repeat-penalty", "1"],
        &[
            "--samplers",
            "top_k;temperature",
            "--top-k",
            "4",
            "--temp",
            "0.5",
        ],
        &["--mirostat", "2", "--mirostat-lr", "0.2", "--temp", "1"],
        &["--num-beams", "1", "--temp", "1"],
        &[
            "--num-beams",
            "2",
            "--length-penalty",
            "2",
            "--early-stopping",
        ],
    ];
    for options in taken {
        let output = rillm(&[&run[..], options].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !errors.contains("warning: "),
            "{options:?}: {errors}"
        );
    }
    let tasks = [
        (
            &["embed", "m", "-p", "a", "-o", "x", "--against", "m"][..],
            "--output",
        ),
        (&["similar", "m", "a", "b", "-k", "0"], "--top-k"),
    ];
    for (given, says) in tasks {
        failure(&rillm(given), 2, &[says]);
    }
}
