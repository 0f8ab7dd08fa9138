//! Calls of the C interface in any order, with any arguments that its contract allows.
#![no_main]

#[path = "../../tests/support/c_calls.rs"]
mod c_calls;
#[path = "../../tests/support/folder.rs"]
mod folder;

use std::cell::OnceCell;

use folder::TempFolder;

const FILES: [&[u8]; 7] = [
    include_bytes!("../seeds/model/ok-llama"),
    include_bytes!("../seeds/model/ok-llama-words"),
    include_bytes!("../seeds/model/ok-mamba"),
    include_bytes!("../seeds/model/ok-bert"),
    include_bytes!("../seeds/model/ok-t5"),
    include_bytes!("../seeds/model/ok-transformer-xl"),
    include_bytes!("../seeds/model/ok-t5-words"),
];

/// Longer ones find nothing that shorter ones do not.
const LARGEST: usize = 1 << 10;

thread_local! {
    static FOLDER: OnceCell<TempFolder> = const { OnceCell::new() };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() <= LARGEST {
        FOLDER.with(|folder| {
            let folder = folder.get_or_init(|| TempFolder::new("fuzz-calls"));
            c_calls::c_calls(bytes, &FILES, folder);
        });
    }
});
