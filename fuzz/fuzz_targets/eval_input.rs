//! A hostile input in transformers' terms, for models that take different ones.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/evaluated.rs"]
mod evaluated;
#[allow(dead_code)]
#[path = "../../tests/support/exercise.rs"]
mod exercise;

use std::cell::OnceCell;

use rillm::{Model, ModelOptions};

const MODELS: [&[u8]; 4] = [
    include_bytes!("../seeds/model/ok-llama"),
    include_bytes!("../seeds/model/ok-bert"),
    include_bytes!("../seeds/model/ok-t5"),
    include_bytes!("../seeds/model/ok-transformer-xl"),
];

/// Longer ones find nothing that shorter ones do not.
const LARGEST: usize = 2 << 10;

thread_local! {
    static OPENED: OnceCell<Vec<Model>> = const { OnceCell::new() };
}

fn open() -> Vec<Model> {
    let options = ModelOptions::default().threads(1);
    let open = |bytes: &'static [u8]| Model::from_bytes(bytes, options);
    MODELS.map(|bytes| open(bytes).expect("a seed")).into()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() <= LARGEST {
        OPENED.with(|models| evaluated::evaluated(models.get_or_init(open), bytes));
    }
});
