//! A hostile GGUF file, written anew by a mix: what was written opens.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/exercise.rs"]
mod exercise;
#[path = "../../tests/support/folder.rs"]
mod folder;
#[path = "../../tests/support/requantize.rs"]
mod requantize;

/// Larger files find nothing that smaller ones do not.
const LARGEST: usize = 16 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() <= LARGEST {
        requantize::requantize(bytes, &folder::TempFolder::new("fuzz-quantize"));
    }
});
