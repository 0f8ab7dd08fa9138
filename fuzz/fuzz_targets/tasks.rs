//! A hostile folder for every task: what opens embeds, ranks, classifies, tags, answers, fills masks and
//! translates.
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
#[path = "../../tests/support/run_tasks.rs"]
mod run_tasks;

/// Longer ones find nothing that shorter ones do not.
const LARGEST: usize = 16 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() <= LARGEST {
        run_tasks::run_tasks(bytes, &folder::TempFolder::new("fuzz-tasks"));
    }
});
