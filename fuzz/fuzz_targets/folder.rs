//! A hostile folder: what opens runs, tokenizes and chats.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/exercise.rs"]
mod exercise;
#[path = "../../tests/support/folder.rs"]
mod folder;
#[allow(dead_code)]
#[path = "../../tests/support/open_folder.rs"]
mod open_folder;
#[allow(dead_code)]
#[path = "../../tests/support/render.rs"]
mod render;

/// Longer ones find nothing that shorter ones do not.
const LARGEST: usize = 16 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() <= LARGEST {
        open_folder::open_folder(bytes, &folder::TempFolder::new("fuzz-folder"));
    }
});
