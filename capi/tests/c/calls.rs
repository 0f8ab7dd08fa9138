//! What the fuzzer of the C interface starts from, what it has found, and calls at random.

use std::mem::{MaybeUninit, size_of};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

use rillm::capi::*;

use crate::c_calls::c_calls;
use crate::folder::TempFolder;

/// The models of the fuzzer, in its order.
const FILES: [&[u8]; 7] = [
    include_bytes!("../../../fuzz/seeds/model/ok-llama"),
    include_bytes!("../../../fuzz/seeds/model/ok-llama-words"),
    include_bytes!("../../../fuzz/seeds/model/ok-mamba"),
    include_bytes!("../../../fuzz/seeds/model/ok-bert"),
    include_bytes!("../../../fuzz/seeds/model/ok-t5"),
    include_bytes!("../../../fuzz/seeds/model/ok-transformer-xl"),
    include_bytes!("../../../fuzz/seeds/model/ok-t5-words"),
];

fn files(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz")
        .join(kind);
    // Without regressions there is no folder.
    let entries = std::fs::read_dir(folder.join("c_calls"))
        .into_iter()
        .flatten();
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[test]
fn calls_that_are_known_do_no_harm() {
    let folder = TempFolder::new("calls");
    let seeds = files("seeds");
    assert!(seeds.len() >= FILES.len());
    for path in seeds.into_iter().chain(files("regressions")) {
        c_calls(&std::fs::read(path).expect("a file"), &FILES, &folder);
    }
}

/// What comes before opens models, so that the rest meets something.
#[test]
fn calls_at_random_do_no_harm() {
    let folder = TempFolder::new("calls");
    let seeds = files("seeds").into_iter();
    let seeds: Vec<Vec<u8>> = seeds
        .map(|path| std::fs::read(path).expect("a file"))
        .collect();
    let mut state = 1u64;
    let mut random = || {
        // splitmix64
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    for round in 0..600 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..round % 9 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        bytes.extend((0..200).map(|_| random() as u8));
        c_calls(&bytes, &FILES, &folder);
    }
}

/// A Mamba's files say no context: penalties look back all the same.
#[test]
fn penalties_need_no_context() {
    let (mut model, mut sampler, mut token) = (null_mut(), null_mut(), 0);
    let mut options = MaybeUninit::<SamplerSettings>::uninit();
    // SAFETY: handles are those just made, and each pointer leads to what it says.
    unsafe {
        let file = FILES[2];
        let (data, len) = (file.as_ptr(), file.len());
        let status = rillm_model_open_memory(data, len, 1, null(), &mut model, null_mut());
        assert_eq!(status, Status::Ok);
        rillm_sampler_options_init(options.as_mut_ptr(), size_of::<SamplerSettings>());
        let options = options.assume_init_mut();
        (options.temperature, options.repeat_penalty) = (0.0, 2.0);
        let status = rillm_sampler_new(model, options, &mut sampler, null_mut());
        assert_eq!(status, Status::Ok);
        let logits = [3.0, 2.0];
        for expected in [0, 1] {
            rillm_sampler_sample(sampler, logits.as_ptr(), 2, &mut token, null_mut());
            assert_eq!(token, expected);
            // From now on its logit counts half.
            rillm_sampler_accept(sampler, token, null_mut());
        }
        rillm_sampler_free(sampler);
        rillm_model_free(model);
    }
}
