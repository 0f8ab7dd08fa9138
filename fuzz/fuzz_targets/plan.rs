//! A plan with a hostile schedule: the checker refuses it, or it computes what it did.
#![no_main]

#[path = "../../tests/support/damage.rs"]
mod damage;

use std::cell::OnceCell;

use damage::Planned;
use rillm::{Model, ModelOptions};

const MODELS: [&[u8]; 8] = [
    include_bytes!("../seeds/model/ok-llama"),
    include_bytes!("../seeds/model/ok-mamba"),
    include_bytes!("../seeds/model/ok-hybrid"),
    include_bytes!("../seeds/model/ok-bert"),
    include_bytes!("../seeds/model/ok-t5"),
    include_bytes!("../seeds/model/ok-transformer-xl"),
    include_bytes!("../seeds/model/ok-rwkv7"),
    include_bytes!("../seeds/model/ok-mixtral"),
];

/// Changes of one plan, three bytes each.
const LARGEST: usize = 64;

thread_local! {
    static OPENED: OnceCell<Vec<Planned>> = const { OnceCell::new() };
}

fn open() -> Vec<Planned> {
    let options = ModelOptions::default().threads(1);
    let open = |bytes: &'static [u8]| Model::from_bytes(bytes, options);
    let models = MODELS.map(|bytes| open(bytes).expect("a seed"));
    models.map(Planned::new).into()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&which, changes)) = bytes.split_first().filter(|_| bytes.len() <= LARGEST) else {
        return;
    };
    OPENED.with(|models| {
        let models = models.get_or_init(open);
        damage::damage(&models[usize::from(which) % models.len()], changes);
    });
});
