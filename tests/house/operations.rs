//! Operations are closed: where plans are made, judged and run, nothing treats one of them by
//! name, and no arm stands for those that nobody thought of.

use super::sources;

/// Where no operation may be treated by name: what depends on one is a fact or a step of its own.
const CLOSED: &[&str] = &["graph/", "plan/", "exec/", "state.rs", "state/"];

/// Where kinds of state may be told apart, in matches that name them all.
const KINDS: &[&str] = &["graph/state.rs", "state.rs", "state/"];

/// What denies wildcard arms, and where it stands.
const DENIED: &str = "#![deny(clippy::wildcard_enum_match_arm)]";
const ROOTS: &[&str] = &["graph/mod.rs", "plan/mod.rs", "exec/mod.rs", "state.rs"];

/// Paths in a text that lead to a variant of an enum, or to all of them.
fn variants<'a>(text: &'a str, of: &str) -> Vec<&'a str> {
    let path = format!("{of}::");
    let starts = text.match_indices(&path).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    });
    let found = starts.filter_map(|(at, _)| {
        let rest = &text[at + path.len()..];
        let mut characters = rest.chars();
        let first = characters.next()?;
        let is_variant = first.is_uppercase() && characters.next().is_some_and(char::is_lowercase);
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        let end = end.unwrap_or(rest.len()).max(1);
        (is_variant || first == '*' || first == '{').then(|| &text[at..at + path.len() + end])
    });
    found.collect()
}

/// Tests of one variant that let all others pass: `matches!`, `if let`, `let … else`.
fn tests_of(text: &str, of: &str) -> usize {
    let statements = text.split([';', '{', '}']);
    let tests = statements.filter(|statement| {
        let one = ["matches!(", "let "].iter().any(|test| {
            statement
                .find(test)
                .is_some_and(|at| !variants(&statement[at..], of).is_empty())
        });
        one && !statement.contains("=>")
    });
    tests.count()
}

fn room<'a>(file: &str, rooms: &[&'a str]) -> Option<&'a str> {
    rooms.iter().copied().find(|room| file.starts_with(room))
}

#[test]
fn no_operation_is_treated_by_name() {
    let mut wrong = Vec::new();
    for (file, text) in sources("src") {
        if room(&file, CLOSED).is_none() {
            continue;
        }
        for path in variants(&text, "Op") {
            wrong.push(format!("src/{file} names {path}"));
        }
    }
    assert!(wrong.is_empty(), "by name:\n{}", wrong.join("\n"));
}

#[test]
fn kinds_of_state_are_told_apart_in_full() {
    let mut wrong = Vec::new();
    for (file, text) in sources("src") {
        let found = variants(&text, "StateKind");
        if room(&file, CLOSED).is_some() && room(&file, KINDS).is_none() && !found.is_empty() {
            wrong.push(format!("src/{file} names {found:?}"));
        }
        if room(&file, KINDS).is_some() && tests_of(&text, "StateKind") > 0 {
            wrong.push(format!("src/{file} tests for one kind"));
        }
    }
    assert!(wrong.is_empty(), "open:\n{}", wrong.join("\n"));
}

#[test]
fn wildcard_arms_are_denied() {
    let sources = sources("src");
    for root in ROOTS {
        assert!(sources[*root].contains(DENIED), "src/{root} denies none");
    }
}

#[test]
fn the_scan_finds_what_it_should() {
    let text = "
        if let Op::Slice(slice) = op {}
        let Op::Scan(scan) = op else { return };
        matches!(op, Op::Emit(_));
        match op { Op::Add(add) => 1, _ => 2 }
        use Op::*;
        use crate::graph::Op::{Add, Mul};
        Op::NAMES; Op::new(); MyOp::Add;
    ";
    let expected = [
        "Op::Slice",
        "Op::Scan",
        "Op::Emit",
        "Op::Add",
        "Op::*",
        "Op::{",
    ];
    assert_eq!(variants(text, "Op"), expected);
    for open in [
        "if let StateKind::Conv(conv) = kind { conv }",
        "let StateKind::Conv(conv) = kind else { return };",
        "let is = matches!(kind, StateKind::Conv(_));",
    ] {
        assert_eq!(tests_of(open, "StateKind"), 1, "{open}");
    }
    let closed = "match kind { StateKind::Conv(conv) => conv.channels, StateKind::Means(_) => 0 }";
    assert_eq!(tests_of(closed, "StateKind"), 0);
}
