//! A hostile normalizer in an honest tokenizer, and a text for it.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/exercise.rs"]
mod exercise;
#[path = "../../tests/support/normalized.rs"]
mod normalized;

/// Longer ones find nothing that shorter ones do not.
const LARGEST: usize = 4 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() <= LARGEST {
        normalized::normalized(bytes);
    }
});
