//! What the fuzzer of snapshots starts from and what it has found: none of it panics.
//! `cargo test --test loading write_snapshot_seeds -- --ignored` writes the former.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rillm::internals::graph::Role;
use rillm::{Model, Row, Session};

use crate::seeds;
use crate::support::evaluate::open_bytes;
use crate::support::restore::{OPTIONS, restore, signed};

/// The models whose snapshots the fuzzer takes, which are in its own list as well.
const MODELS: [&str; 11] = [
    "ok-llama",
    "ok-mamba",
    "ok-linear-transformer",
    "ok-t5",
    "ok-transformer-xl",
    "ok-compressive-transformer",
    "ok-mamba2",
    "ok-hybrid",
    "ok-retnet",
    "ok-rwkv4",
    "ok-rwkv7",
];

fn models() -> impl Iterator<Item = (&'static str, Model)> {
    let mut seeds = seeds::all();
    MODELS.into_iter().map(move |name| {
        let bytes = seeds.remove(name).expect("a seed");
        (name, open_bytes(bytes).expect("a model"))
    })
}

/// A sequence of three tokens.
fn saved(model: &Model) -> Vec<u8> {
    let mut session = Session::new(model, OPTIONS).expect("a session");
    let rows = [0, 1, 2].map(|position| Row {
        token: position as u32,
        position,
        ..Row::default()
    });
    if model.graph(Role::Encode).is_some() {
        session.encode(&rows, &mut |_| {}).expect("a source");
    }
    session.feed(&rows, &mut |_| {}).expect("a history");
    let mut bytes = Vec::new();
    let written = session.snapshot(0, &[0, 1, 2], &mut bytes);
    written.expect("a snapshot");
    bytes
}

fn folder(kind: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    root.join(kind).join("snapshot")
}

fn files(kind: &str) -> BTreeMap<String, Vec<u8>> {
    // Without regressions there is no folder.
    let Ok(entries) = fs::read_dir(folder(kind)) else {
        return BTreeMap::new();
    };
    let entries = entries.map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
#[ignore = "writes the seeds into fuzz/seeds/snapshot"]
fn write_snapshot_seeds() {
    fs::create_dir_all(folder("seeds")).unwrap();
    for (name, model) in models() {
        fs::write(folder("seeds").join(name), saved(&model)).unwrap();
    }
}

/// What a table computes may differ in the last bit; what is read may not.
#[test]
fn every_seed_is_restored_by_its_model_alone() {
    let files = files("seeds");
    assert_eq!(files.len(), MODELS.len(), "run write_snapshot_seeds");
    for (name, model) in models() {
        assert_eq!(files[name].len(), saved(&model).len(), "{name}");
        for (of, bytes) in &files {
            let restored = restore(&model, bytes);
            assert_eq!(
                restored,
                of == name,
                "{of} by {name}: run write_snapshot_seeds?"
            );
        }
    }
}

/// Every byte in turn, with a fingerprint and a checksum that fit: counts, kinds and sizes go
/// wrong at least once.
#[test]
fn every_byte_of_a_snapshot_may_lie() {
    for (name, model) in models() {
        let bytes = saved(&model);
        let mut accepted = 0;
        for at in 0..bytes.len() - 8 {
            for change in [0x01, 0x80, 0xFF] {
                let mut lying = bytes.clone();
                lying[at] ^= change;
                accepted += usize::from(restore(&model, &signed(&model, &lying)));
            }
        }
        // Tokens and floats may be anything.
        assert!(accepted > 50, "{name}: {accepted}");
        for end in 0..bytes.len() {
            restore(&model, &signed(&model, &bytes[..end]));
        }
    }
}

#[test]
fn what_the_fuzzer_found_in_snapshots_stays_fixed() {
    for bytes in files("regressions").values() {
        for (_, model) in models() {
            restore(&model, bytes);
            restore(&model, &signed(&model, bytes));
        }
    }
}
