//! A hostile chat template and a conversation.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/exercise.rs"]
mod exercise;
#[path = "../../tests/support/render.rs"]
mod render;

/// Longer ones find nothing that shorter ones do not.
const LARGEST: usize = 4 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() <= LARGEST {
        let (source, turns) = render::conversation(bytes);
        render::render(&source, &turns);
    }
});
