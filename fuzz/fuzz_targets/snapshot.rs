//! A hostile snapshot, as it is and with a fingerprint and a checksum that fit: it is refused,
//! or the sequence goes on.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/restore.rs"]
mod restore;

use std::cell::OnceCell;

use rillm::{Model, ModelOptions};

/// A KV cache, all kinds of recurrent state, one of them beside a KV cache, an encoder's output,
/// and segment memories.
const MODELS: [&[u8]; 11] = [
    include_bytes!("../seeds/model/ok-llama"),
    include_bytes!("../seeds/model/ok-mamba"),
    include_bytes!("../seeds/model/ok-linear-transformer"),
    include_bytes!("../seeds/model/ok-t5"),
    include_bytes!("../seeds/model/ok-transformer-xl"),
    include_bytes!("../seeds/model/ok-compressive-transformer"),
    include_bytes!("../seeds/model/ok-mamba2"),
    include_bytes!("../seeds/model/ok-hybrid"),
    include_bytes!("../seeds/model/ok-retnet"),
    include_bytes!("../seeds/model/ok-rwkv4"),
    include_bytes!("../seeds/model/ok-rwkv7"),
];

/// Longer ones find nothing that shorter ones do not.
const LARGEST: usize = 16 << 10;

thread_local! {
    static OPENED: OnceCell<Vec<Model>> = const { OnceCell::new() };
}

fn open() -> Vec<Model> {
    let options = ModelOptions::default().threads(1);
    let open = |bytes: &'static [u8]| Model::from_bytes(bytes, options);
    MODELS.map(|bytes| open(bytes).expect("a seed")).into()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > LARGEST {
        return;
    }
    OPENED.with(|models| {
        for model in models.get_or_init(open) {
            restore::restore(model, bytes);
            restore::restore(model, &restore::signed(model, bytes));
        }
    });
});
