//! One name, one thing: a type's name stands for one type in all code that ships, and words that the
//! field has others for do not come back, in tests and tools neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{code, root, sources};

/// Where types are told apart. Associated types are not counted: their trait names them.
const FOLDERS: [&str; 5] = ["src", "kernels/src", "formats/src", "cli/src", "capi/src"];

/// Where words are told apart as well.
const TESTS: [&str; 7] = [
    "tests",
    "cli/tests",
    "capi/tests",
    "formats/tests",
    "formats/examples",
    "benches",
    "fuzz",
];

/// Names that an idiom gives to several types.
const IDIOMS: &[&str] = &[
    // What clap reads for a subcommand, one in each subcommand's file.
    "Arguments",
];

/// Names of ours that gave way to the field's, whole.
const GONE: &[&str] = &[
    "Erase",
    "HistoryType",
    "Hyper",
    "Leaving",
    "Memorise",
    "MemoryOp",
    "Recall",
    "Retain",
    "Retention",
];

/// Words of ours that gave way to the field's, as parts of names.
const GONE_PARTS: &[&str] = &[
    "erasure",
    "faded",
    "fades",
    "fading",
    "memorise",
    "openers",
    "owed",
    "owes",
    "preset",
    "recollect",
    "remember",
    "remembered",
    "remembers",
    "trial",
    "trials",
];

#[test]
fn a_type_s_name_stands_for_one_type() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in FOLDERS {
        for (file, text) in sources(folder) {
            for name in types(&text) {
                let place = format!("{folder}/{file}");
                places.entry(name.to_owned()).or_default().push(place);
            }
        }
    }
    assert!(places.len() > 300, "only {} types seen", places.len());
    places.retain(|name, places| places.len() > 1 && !IDIOMS.contains(&name.as_str()));
    assert!(places.is_empty(), "one name, several types: {places:#?}");
}

/// The types that a file defines, by its lines' first words.
fn types(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().peekable();
        while words
            .peek()
            .is_some_and(|word| word.starts_with("pub") || *word == "unsafe" || word.ends_with(')'))
        {
            words.next();
        }
        let keyword = words.next()?;
        // An alias within an implementation or a trait is an associated type.
        let is_type = matches!(keyword, "struct" | "enum" | "trait" | "union")
            || keyword == "type" && !line.starts_with(' ');
        let name = words.next().filter(|_| is_type)?;
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
        let name = &name[..end.unwrap_or(name.len())];
        // A macro's parameter has no name yet.
        name.starts_with(char::is_uppercase).then_some(name)
    })
}

#[test]
fn the_field_s_words_stay() {
    let mut texts: Vec<(String, String)> = FOLDERS
        .iter()
        .chain(&TESTS)
        .flat_map(|folder| {
            let files = sources(folder).into_iter();
            files.map(move |(file, text)| (format!("{folder}/{file}"), text))
        })
        .collect();
    let header = fs::read_to_string(root().join("include/rillm.h")).unwrap();
    texts.push(("include/rillm.h".into(), code(&header)));
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in &texts {
        if file == "tests/house/names.rs" {
            continue;
        }
        for name in text.lines().flat_map(identifiers) {
            let whole = GONE.iter().find(|gone| **gone == name);
            let parts = parts(name);
            let part = GONE_PARTS
                .iter()
                .find(|gone| parts.iter().any(|part| part == *gone));
            for word in whole.into_iter().chain(part) {
                let place = format!("{file}: {name}");
                found.entry(word).or_default().insert(place);
            }
        }
    }
    assert!(found.is_empty(), "words that were given up: {found:#?}");
}

/// The names in a line of code, without those in strings.
fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    let outside = line.split('"').step_by(2);
    outside.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_'))
}

/// `RememberHidden` and `remember_hidden` as `remember`, `hidden`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for character in name.chars() {
        if character == '_' || character.is_uppercase() {
            parts.push(String::new());
        }
        if character != '_' {
            let part = parts.last_mut().expect("one at least");
            part.extend(character.to_lowercase());
        }
    }
    parts
}

#[test]
fn the_scans_see_what_they_should() {
    let text = "pub(crate) struct A<'a>;\nimpl T for A {\n    type Item = B;\n}\n    unsafe trait C {}\n\
                type D = u8;\npub enum E {\nstruct $name;\nlet structure = 1;";
    assert_eq!(types(text).collect::<Vec<_>>(), ["A", "C", "D", "E"]);
    let names: Vec<_> = identifiers(r#"let fading = put("owed", Recall);"#).collect();
    assert!(names.contains(&"fading") && names.contains(&"Recall") && !names.contains(&"owed"));
    assert_eq!(parts("RememberHidden"), ["", "remember", "hidden"]);
    assert_eq!(parts("store_remembered"), ["store", "remembered"]);
}

/// The library is not compiled a second time for tests of its own: they would not run.
#[test]
fn no_tests_stand_beside_the_library_s_code() {
    let mut open = vec![root().join("src"), root().join("kernels/src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            !text.contains("#[cfg(test)]"),
            "{} has tests: they belong in tests/",
            path.display()
        );
    }
}
