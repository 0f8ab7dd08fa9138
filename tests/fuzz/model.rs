//! The fuzzer of whole models.

use super::seeds::{self, files};
use crate::support::evaluate::open_bytes;
use crate::support::survives::survives;

#[test]
fn seeds_are_what_their_generator_makes() {
    assert!(
        files("seeds", "model") == seeds::all(),
        "run the ignored test write_seeds"
    );
}

#[test]
fn every_seed_runs() {
    for (name, bytes) in seeds::all() {
        assert!(bytes.len() < 16 << 10, "{name} is no small seed");
        assert_eq!(survives(&name, || open_bytes(bytes)), None, "{name}");
    }
}

/// Every byte of a seed in turn: most of its keys, names, types, shapes and offsets go wrong
/// at least once.
#[test]
fn every_byte_of_a_seed_may_lie() {
    for (name, bytes) in seeds::all() {
        // What lies behind the descriptions are weights: any value of theirs is fine.
        let header = rillm_formats::gguf::parse(&bytes, 0).unwrap().data_offset as usize;
        for at in 0..header {
            for change in [0x01, 0x80, 0xFF] {
                let mut lying = bytes.clone();
                lying[at] ^= change;
                survives(&format!("{name} {at} ^ {change:#x}"), || open_bytes(lying));
            }
        }
    }
}

#[test]
fn what_the_fuzzer_found_stays_fixed() {
    for (name, bytes) in files("regressions", "model") {
        survives(&name, || open_bytes(bytes));
    }
}
