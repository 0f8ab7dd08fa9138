//! The fuzzer of snapshots.

use rillm::{Model, Row, Session};

use super::seeds::{self, files};
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

pub fn models() -> impl Iterator<Item = (&'static str, Model)> {
    let mut seeds = seeds::all();
    MODELS.into_iter().map(move |name| {
        let bytes = seeds.remove(name).expect("a seed");
        (name, open_bytes(bytes).expect("a model"))
    })
}

/// A sequence of three tokens.
pub fn saved(model: &Model) -> Vec<u8> {
    let mut session = Session::new(model, OPTIONS).expect("a session");
    let rows = [0, 1, 2].map(|position| Row {
        token: position as u32,
        position,
        ..Row::default()
    });
    if model.encodes() {
        session.encode(&rows, &mut |_| {}).expect("a source");
    }
    session.feed(&rows, &mut |_| {}).expect("rows before");
    let mut bytes = Vec::new();
    let written = session.snapshot(0, &[0, 1, 2], &mut bytes);
    written.expect("a snapshot");
    bytes
}

/// What a table computes may differ in the last bit; what is read may not.
#[test]
fn every_seed_is_restored_by_its_model_alone() {
    let files = files("seeds", "snapshot");
    assert_eq!(files.len(), MODELS.len(), "run write_snapshot_seeds");
    for (name, model) in models() {
        assert_eq!(files[name].len(), saved(&model).len(), "{name}");
        for (of, bytes) in &files {
            let restored = restore(&model, bytes);
            assert_eq!(
                restored,
                of == name,
                "{of} by {name}: if snapshots are meant to differ, tests/state/written.rs must still pass"
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
    for bytes in files("regressions", "snapshot").values() {
        for (_, model) in models() {
            restore(&model, bytes);
            restore(&model, &signed(&model, bytes));
        }
    }
}
