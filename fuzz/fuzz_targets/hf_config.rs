//! Feeds arbitrary bytes to `rillm_formats::hf_config` and walks what it accepts.
#![no_main]

#[allow(dead_code)]
#[path = "../../formats/tests/support/walk.rs"]
mod walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    walk::hf_config(bytes);
});
