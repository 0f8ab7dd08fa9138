//! What is known of an architecture stands in its own file: no other names it.

use std::collections::BTreeSet;

use rillm::internals::models::ARCHITECTURES;

use super::sources;

/// Words that happen to be an architecture's as well, and where they stand.
const OTHER_THINGS: &[(&str, &str)] = &[
    // Names of chat templates.
    ("chat/named.rs", "gemma"),
    ("chat/named.rs", "mistral"),
    ("chat/named.rs", "phi3"),
    // The form of a vocabulary, and GGUF's name for another.
    ("model/vocabulary.rs", "rwkv"),
    ("weights/folder.rs", "rwkv"),
    // A method by which weights are quantized, and a part of the name of a library that does it.
    ("weights/quantized.rs", "bitnet"),
    ("weights/quantized.rs", "opt"),
    ("weights/open.rs", "rwkv"),
    ("synthetic/vocabulary.rs", "llama"),
    // The model by whose question others of its kind are asked.
    ("tasks/judge.rs", "qwen3"),
];

/// What architectures are called in files, and what these names begin with before a number.
fn names() -> BTreeSet<String> {
    let names = ARCHITECTURES
        .iter()
        .flat_map(|it| it.gguf.iter().chain(it.hugging_face));
    let stem = |name: &&str| {
        name.trim_end_matches(|c: char| c.is_ascii_digit())
            .to_string()
    };
    let stems = names.clone().map(stem).filter(|stem| stem.len() > 2);
    stems
        .chain(names.clone().map(|name| (*name).to_string()))
        .collect()
}

/// The words of a text: identifiers and what stands in strings, whole and in parts.
fn words(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for token in text.split(|c: char| !(c.is_alphanumeric() || "_-".contains(c))) {
        words.insert(token.to_lowercase());
        words.insert(token.to_lowercase().replace('_', ""));
        words.extend(token.to_lowercase().split(['_', '-']).map(str::to_string));
        // Humps of type names.
        let mut humps: Vec<String> = Vec::new();
        for c in token.chars() {
            match humps.last_mut().filter(|_| !c.is_uppercase()) {
                Some(hump) => hump.push(c),
                None => humps.push(c.to_lowercase().collect()),
            }
        }
        words.extend(humps);
    }
    words
}

fn named(text: &str) -> Vec<String> {
    words(text).intersection(&names()).cloned().collect()
}

#[test]
fn architectures_are_named_in_their_own_files_alone() {
    let mut seen: BTreeSet<&(&str, &str)> = BTreeSet::new();
    for (file, text) in sources("src") {
        if file.starts_with("models/") {
            continue;
        }
        for name in named(&text) {
            let other = |(begin, word): &&(&str, &str)| file.starts_with(begin) && *word == name;
            let other = OTHER_THINGS.iter().find(other);
            assert!(other.is_some(), "src/{file} knows {name}: src/models does");
            seen.extend(other);
        }
    }
    assert_eq!(
        seen.len(),
        OTHER_THINGS.len(),
        "the list says how things are"
    );
}

#[test]
fn the_scan_sees_names_in_any_dress() {
    for text in [
        "match name { \"gla\" => 1 }",
        "fn granite_hybrid() {}",
        "Kind::Rwkv6(_)",
        "falcon: bool",
        "[\"transfo-xl\"]",
    ] {
        assert!(!named(text).is_empty(), "{text}");
    }
    assert!(named("net.linear(prompt, empty, Role::Glance)").is_empty());
}

/// What `DECODER` leaves open, each says for itself.
#[test]
fn no_architecture_is_half_said() {
    for architecture in ARCHITECTURES {
        let title = architecture.title;
        assert!(
            !title.is_empty() && !architecture.hugging_face.is_empty(),
            "{title}"
        );
        assert!(
            !architecture.keys.is_empty() && !architecture.names.is_empty(),
            "{title}"
        );
        assert!(
            !architecture.written_as().is_empty(),
            "{title} has no name in GGUF"
        );
    }
}
