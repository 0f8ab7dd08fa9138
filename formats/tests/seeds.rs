//! Replays what the fuzzers start from and every input that once broke a parser.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{seeds, walk};

/// Parses, walks what was accepted, says whether it was.
type Walk = fn(&[u8]) -> bool;

const TARGETS: [(&str, Walk); 3] = [
    ("gguf", walk::gguf),
    ("safetensors", walk::safetensors),
    ("hf_config", walk::hf_config),
];

fn folder(kind: &str, target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    root.join(kind).join(target)
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    // A target without regressions has no folder.
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    let entries = entries.map(|entry| entry.expect("a readable folder"));
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().expect("a UTF-8 name");
            (name, fs::read(entry.path()).expect("a readable file"))
        })
        .collect()
}

#[test]
fn seeds_are_what_their_generator_makes() {
    for (target, _) in TARGETS {
        let made: BTreeMap<String, Vec<u8>> = seeds::all()
            .into_iter()
            .filter(|(of, _, _)| *of == target)
            .map(|(_, name, bytes)| (name.to_owned(), bytes))
            .collect();
        assert_eq!(
            files(&folder("seeds", target)),
            made,
            "run the example `seeds`"
        );
    }
}

#[test]
fn seeds_are_accepted_or_refused_as_named() {
    for (target, walk) in TARGETS {
        for (name, bytes) in files(&folder("seeds", target)) {
            assert_eq!(walk(&bytes), name.starts_with("ok-"), "{target}/{name}");
        }
    }
}

#[test]
fn regressions_stay_fixed() {
    for (target, walk) in TARGETS {
        for (name, bytes) in files(&folder("regressions", target)) {
            println!("{target}/{name}");
            walk(&bytes);
        }
    }
}
