//! Who may name whom, who may be unsafe, who may talk to the world.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{code, root, sources, word};

/// Modules of the library and what they may name. Downward only.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("reserve", &[]),
    ("arena", &["reserve"]),
    ("platform", &[]),
    ("replace", &[]),
    ("sample", &["setters"]),
    ("setters", &[]),
    ("json", &[]),
    ("knobs", &["kernels"]),
    ("graph", &["kernels"]),
    ("models", &["graph"]),
    ("plan", &["graph"]),
    ("pool", &["kernels", "plan"]),
    ("checksum", &[]),
    ("state", &["arena", "graph", "kernels", "reserve"]),
    // Errors gather what others say went wrong.
    ("error", &["graph", "kernels", "plan", "reserve", "state"]),
    (
        "weights",
        &["error", "graph", "kernels", "models", "quant", "reserve"],
    ),
    (
        "residency",
        &["arena", "graph", "pool", "reserve", "weights"],
    ),
    (
        "convert",
        &["error", "graph", "model", "models", "quant", "weights"],
    ),
    (
        "synthetic",
        &["convert", "error", "model", "models", "weights"],
    ),
    (
        "quantize",
        &[
            "convert", "error", "models", "quant", "replace", "reserve", "setters",
        ],
    ),
    (
        "exec",
        &[
            "arena",
            "graph",
            "kernels",
            "plan",
            "pool",
            "reserve",
            "residency",
            "state",
            "weights",
        ],
    ),
    (
        "model",
        &[
            "checksum",
            "error",
            "graph",
            "kernels",
            "models",
            "platform",
            "pool",
            "residency",
            "setters",
            "weights",
        ],
    ),
    (
        "session",
        &[
            "arena",
            "checksum",
            "error",
            "exec",
            "graph",
            "model",
            "plan",
            "pool",
            "replace",
            "reserve",
            "residency",
            "setters",
            "state",
            "weights",
        ],
    ),
    (
        "blueprint",
        &[
            "convert",
            "error",
            "graph",
            "kernels",
            "model",
            "models",
            "quantize",
            "residency",
            "session",
            "synthetic",
            "weights",
        ],
    ),
    (
        "generate",
        &[
            "error", "exec", "graph", "model", "reserve", "sample", "session", "setters", "state",
        ],
    ),
    ("chat", &["model", "weights"]),
    (
        "tasks",
        &[
            "chat", "error", "eval", "exec", "generate", "graph", "json", "kernels", "model",
            "quant", "sample", "session", "setters", "weights",
        ],
    ),
    (
        "eval",
        &["error", "exec", "graph", "json", "model", "session"],
    ),
    (
        "capi",
        &[
            "blueprint",
            "error",
            "exec",
            "generate",
            "graph",
            "model",
            "sample",
            "session",
            "state",
            "tasks",
        ],
    ),
];

/// Names that a module may take from another and no others.
const ONLY: &[(&str, &str, &[&str])] = &[
    (
        "graph",
        "kernels",
        &["Activation", "Pairing", "Pointwise", "SCAN_LANES"],
    ),
    ("pool", "kernels", &["ThreadSetup"]),
    ("tasks", "kernels", &["Kernels", "Pointwise"]),
    ("pool", "plan", &["PHASE_STEPS"]),
];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &[
    "arena.rs",
    "capi/",
    "platform/numa.rs",
    "pool.rs",
    "state.rs",
    "state/",
    "weights/map.rs",
    "weights/mod.rs",
    "residency/",
    "exec/",
];

/// Every `crate::a::B` that a text names, `use` lists unfolded to `(a, B)`; `B` is empty if the
/// module itself is named.
fn named(text: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let path = &text[at + "crate::".len()..];
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let module = word(path);
        let rest = &path[module.len()..];
        match rest.strip_prefix("::") {
            Some(list) if list.starts_with('{') => {
                let list = &list[1..list.find('}').unwrap()];
                for name in list
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                {
                    found.insert((module.to_owned(), word(name).to_owned()));
                }
            }
            Some(name) => {
                found.insert((module.to_owned(), word(name).to_owned()));
            }
            None => {
                found.insert((module.to_owned(), String::new()));
            }
        }
    }
    found
}

/// The library's module that a file belongs to; `None` for its root, the door to all of its modules and
/// the command line.
fn module(file: &str) -> Option<&str> {
    let module = file
        .split('/')
        .next()
        .unwrap_or(file)
        .trim_end_matches(".rs");
    (module != "lib" && module != "internals").then_some(module)
}

#[test]
fn modules_name_only_what_lies_below() {
    let sources = sources("src");
    let mut wrong = Vec::new();
    let known: BTreeSet<&str> = MAY_NAME.iter().map(|(module, _)| *module).collect();
    let present: BTreeSet<&str> = sources.keys().filter_map(|file| module(file)).collect();
    assert_eq!(present, known, "every module has its line here");
    for (file, text) in &sources {
        let Some(module) = module(file) else { continue };
        let allowed = MAY_NAME.iter().find(|(name, _)| *name == module).unwrap().1;
        for (other, name) in named(text) {
            let only = ONLY
                .iter()
                .find(|(from, to, _)| (*from, *to) == (module, other.as_str()));
            let fits = other == module
                || allowed.contains(&other.as_str())
                    && only.is_none_or(|(_, _, names)| names.contains(&name.as_str()));
            if !fits {
                wrong.push(format!("src/{file} names crate::{other}::{name}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "upward or sideways:\n{}",
        wrong.join("\n")
    );
    // What nobody uses is not allowed: the list says how things are.
    for (name, allowed) in MAY_NAME {
        let files = sources
            .iter()
            .filter(|(file, _)| module(file) == Some(name));
        let used: BTreeSet<String> = files
            .flat_map(|(_, text)| named(text))
            .map(|(other, _)| other)
            .collect();
        let idle: Vec<_> = allowed
            .iter()
            .filter(|other| !used.contains(**other))
            .collect();
        assert!(idle.is_empty(), "{name} may name {idle:?} and does not");
    }
}

/// The order above must itself have no circle, but for the types of errors.
#[test]
fn the_order_has_no_circle() {
    let mut left: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    while !left.is_empty() {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, names)| names.iter().all(|name| !left.contains_key(name)))
            .map(|(module, _)| *module)
            .collect();
        assert!(!free.is_empty(), "a circle among {:?}", left.keys());
        left.retain(|module, _| !free.contains(module));
    }
}

/// Modules of a folder that one of them names, by their paths in it (the folder itself is empty):
/// through `super::`, by their paths from the root on, or by their bare names where they are its
/// children. What is no module counts as what holds it.
fn named_modules(folder: &str, module: &str, text: &str, modules: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let within = |base: &str, name: &str| {
        let path = [base, name].join("/");
        let path = path.trim_start_matches('/');
        modules.iter().find(|known| **known == path)
    };
    let names = |rest: &str| -> Vec<String> {
        let names = match rest.strip_prefix('{') {
            Some(list) => list[..list.find("};").unwrap()].split(',').collect(),
            None => vec![rest],
        };
        names
            .iter()
            .map(|name| word(name.trim()).to_owned())
            .collect()
    };
    for (at, _) in text.match_indices("super::") {
        if text[..at].ends_with("super::") {
            continue;
        }
        let (mut base, mut rest) = (module, &text[at..]);
        while let Some(further) = rest.strip_prefix("super::") {
            base = base.rsplit_once('/').map_or("", |(parent, _)| parent);
            rest = further;
        }
        for name in names(rest) {
            found.insert(within(base, &name).copied().unwrap_or(base).to_owned());
        }
    }
    let from_root = format!("crate::{folder}::");
    for (at, _) in text.match_indices(&from_root) {
        let path = text[at + from_root.len()..]
            .split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        let mut path = path
            .take(1)
            .flat_map(|path| path.split("::"))
            .filter(|name| !name.is_empty());
        let mut base = "";
        while let Some(module) = path.next().and_then(|name| within(base, name)) {
            base = module;
        }
        found.insert(base.to_owned());
    }
    for (at, _) in text.match_indices("::") {
        let start = text[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_');
        let name = &text[start.map_or(0, |start| start + 1)..at];
        let first = !start.is_some_and(|start| text[..=start].ends_with("::"));
        let child = within(module, name).filter(|_| first && !name.is_empty());
        found.extend(child.map(|&child| child.to_owned()));
    }
    found
}

/// Steps stand on common ground, not on each other's files.
#[test]
fn files_of_exec_have_no_circle() {
    let sources = sources("src/exec");
    let modules: Vec<&str> = sources.keys().map(|file| module_path(file)).collect();
    let mut left: BTreeMap<&str, BTreeSet<String>> = sources
        .iter()
        .map(|(file, text)| {
            (
                module_path(file),
                named_modules("exec", module_path(file), text, &modules),
            )
        })
        .collect();
    assert!(left[""].contains("run") && left["attention"].contains("run"));
    assert!(left["attention/queries"].contains("run"));
    while !left.is_empty() {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, names)| names.iter().all(|name| !left.contains_key(name.as_str())))
            .map(|(module, _)| *module)
            .collect();
        assert!(!free.is_empty(), "a circle among {left:#?}");
        left.retain(|module, _| !free.contains(module));
    }
}

/// A file's module, by its path in a folder.
fn module_path(file: &str) -> &str {
    match file.trim_end_matches(".rs") {
        "mod" => "",
        path => path.trim_end_matches("/mod"),
    }
}

#[test]
fn the_search_for_circles_sees_what_it_should() {
    let modules = ["", "run", "step", "scan", "scan/rows", "scan/run"];
    let of = |module, text| {
        let found = named_modules("exec", module, text, &modules).into_iter();
        found.collect::<Vec<_>>()
    };
    let found = of(
        "scan",
        "use super::run::{Step, range};\nuse super::{Tile, step::range};",
    );
    assert_eq!(found, ["", "run", "step"]);
    assert_eq!(
        of("", "use run::Tile;\nstep::chunks(crate::scan::x)"),
        ["run", "step"]
    );
    assert_eq!(of("run", "use crate::graph::Op;"), [""; 0]);
    // Whoever names a path from the root on names the deepest module of it.
    let found = of(
        "run",
        "use crate::exec::scan::rows::Head;\nuse crate::exec::step::{chunks, range};\ncrate::exec::crew()",
    );
    assert_eq!(found, ["", "scan/rows", "step"]);
    // Children name what is beside them, what holds them, and what stands beside that.
    let found = of(
        "scan/rows",
        "use super::super::step::Step;\nuse super::{Tile, run::range};",
    );
    assert_eq!(found, ["scan", "scan/run", "step"]);
    assert_eq!(of("scan", "use rows::Head;"), ["scan/rows"]);
}

#[test]
fn unsafe_stands_where_it_is_argued() {
    for (file, text) in sources("src") {
        let may = UNSAFE.iter().any(|prefix| file.starts_with(prefix));
        let has = text
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe");
        assert!(may || !has, "src/{file} is unsafe");
    }
    let formats = fs::read_to_string(root().join("formats/src/lib.rs")).unwrap();
    assert!(formats.contains("#![forbid(unsafe_code)]") && formats.contains("#![no_std]"));
}

#[test]
fn types_know_no_kernel() {
    for (file, text) in sources("kernels/src/quant") {
        for (module, _) in named(&text) {
            assert_eq!(module, "quant", "kernels/src/quant/{file}");
        }
    }
}

#[test]
fn formats_needs_no_system() {
    for (file, text) in sources("formats/src") {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        let found = words
            .filter(|word| word.starts_with("std::") || *word == "std")
            .count();
        assert_eq!(found, 0, "formats/src/{file} names std");
    }
}

/// The library never prints, exits, aborts on purpose or reads the environment.
#[test]
fn the_library_is_silent() {
    let loud = [
        "println!",
        "eprintln!",
        "print!",
        "eprint!",
        "dbg!",
        "todo!",
        "unimplemented!",
        "process::exit",
        "process::abort",
        "env::var",
        "stdout()",
        "stderr()",
    ];
    for (folder, text) in [
        ("src", sources("src")),
        ("kernels/src", sources("kernels/src")),
        ("formats/src", sources("formats/src")),
    ] {
        for (file, text) in text {
            let allowed: &[&str] = match file.as_str() {
                "knobs.rs" => &["env::var"],
                _ => &[],
            };
            for word in loud.iter().filter(|word| !allowed.contains(word)) {
                assert!(!text.contains(word), "{folder}/{file} says {word}");
            }
        }
    }
}

#[test]
fn the_scan_sees_what_it_should() {
    let text = code(
        "use crate::plan::{Plan, PHASE_STEPS};\nuse crate::{arena, pool};\n// crate::session::x\nlet x = crate::exec::Row;\n#[cfg(test)]\nmod tests { use crate::eval; }",
    );
    let expected = [
        ("", ""),
        ("exec", "Row"),
        ("plan", "PHASE_STEPS"),
        ("plan", "Plan"),
    ];
    let found = named(&text);
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    // A list of modules has an empty name, which no line above allows.
    assert_eq!(found, expected);
}
