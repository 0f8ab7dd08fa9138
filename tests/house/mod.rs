//! The house's order, read off the source.

mod layers;
mod licences;
mod models;
mod names;
mod operations;
mod readme;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files under a folder by their path in it, comments and test modules cut away.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let top = root().join(folder);
    let mut found = BTreeMap::new();
    let mut open: Vec<PathBuf> = vec![top.clone()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(&top).unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            found.insert(name.replace('\\', "/"), code(&text));
        }
    }
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

/// Without comments, and without what follows the first module of tests (they stand last).
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = text.lines().map(|line| {
        let comment = line.find("//").filter(|&at| !line[..at].contains('"'));
        &line[..comment.unwrap_or(line.len())]
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}
