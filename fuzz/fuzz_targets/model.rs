//! A hostile model: whatever opens must run, encode and feed, without panicking or reserving
//! memory out of proportion.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/exercise.rs"]
mod exercise;

use rillm::{Model, ModelOptions};

/// Larger files find nothing that smaller ones do not, and what a model may reserve grows with
/// its tensors.
const LARGEST: usize = 16 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > LARGEST {
        return;
    }
    let options = ModelOptions::default().threads(1);
    match Model::from_bytes(bytes.to_vec(), options) {
        Ok(model) => exercise::exercise(&model),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
});
