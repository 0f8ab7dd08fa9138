//! What the fuzzer of the C interface starts from, what it has found, and calls at random.

use std::path::{Path, PathBuf};

use crate::c_calls::c_calls;
use crate::folder::TempFolder;

/// The models of the fuzzer, in its order.
const FILES: [&[u8]; 6] = [
    include_bytes!("../../../fuzz/seeds/model/ok-llama"),
    include_bytes!("../../../fuzz/seeds/model/ok-llama-words"),
    include_bytes!("../../../fuzz/seeds/model/ok-mamba"),
    include_bytes!("../../../fuzz/seeds/model/ok-bert"),
    include_bytes!("../../../fuzz/seeds/model/ok-t5"),
    include_bytes!("../../../fuzz/seeds/model/ok-transformer-xl"),
];

fn files(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz")
        .join(kind);
    // Without regressions there is no folder.
    let entries = std::fs::read_dir(folder.join("c_calls"))
        .into_iter()
        .flatten();
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[test]
fn calls_that_are_known_do_no_harm() {
    let folder = TempFolder::new("calls");
    let seeds = files("seeds");
    assert!(seeds.len() >= FILES.len());
    for path in seeds.into_iter().chain(files("regressions")) {
        c_calls(&std::fs::read(path).expect("a file"), &FILES, &folder);
    }
}

/// What comes before opens models, so that the rest meets something.
#[test]
fn calls_at_random_do_no_harm() {
    let folder = TempFolder::new("calls");
    let seeds = files("seeds").into_iter();
    let seeds: Vec<Vec<u8>> = seeds
        .map(|path| std::fs::read(path).expect("a file"))
        .collect();
    let mut state = 1u64;
    let mut random = || {
        // splitmix64
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    for round in 0..600 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..round % 9 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        bytes.extend((0..200).map(|_| random() as u8));
        c_calls(&bytes, &FILES, &folder);
    }
}
