//! What a model's files say of tokens holds where C programs generate.

use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::{MaybeUninit, size_of};
use std::path::Path;
use std::ptr::{null, null_mut};

use rillm::capi::*;

use crate::support::fixture::Fixture;

const PROMPT: [u32; 3] = [5, 9, 7];

unsafe extern "C" fn note(user: *mut c_void, token: u32, _: *const c_char, _: usize) -> c_int {
    // SAFETY: `generated` gives a list.
    unsafe { (*user.cast::<Vec<u32>>()).push(token) };
    0
}

/// The most likely tokens behind the prompt, at most `limit` of them.
fn generated(folder: &Path, limit: usize) -> Vec<u32> {
    let path = CString::new(folder.to_str().expect("UTF-8")).expect("no NUL");
    let (mut model, mut session, mut sampler) = (null_mut(), null_mut(), null_mut());
    let mut options = MaybeUninit::<SamplerSettings>::uninit();
    let mut tokens: Vec<u32> = Vec::new();
    // SAFETY: valid pointers to places of their types, handles that were made, freed once.
    unsafe {
        let status = rillm_model_open(path.as_ptr(), null(), &raw mut model, null_mut());
        assert_eq!(status, Status::Ok);
        let status = rillm_session_new(model, null(), &raw mut session, null_mut());
        assert_eq!(status, Status::Ok);
        rillm_sampler_options_init(options.as_mut_ptr(), size_of::<SamplerSettings>());
        options.assume_init_mut().temperature = 0.0;
        let status = rillm_sampler_new(model, options.as_ptr(), &raw mut sampler, null_mut());
        assert_eq!(status, Status::Ok);
        let user = (&raw mut tokens).cast();
        let (at, count) = (PROMPT.as_ptr(), PROMPT.len());
        let (listen, facts): (TokenCallback, _) = (Some(note), null_mut());
        let status = rillm_generate(
            session,
            sampler,
            at,
            count,
            limit,
            listen,
            user,
            facts,
            null_mut(),
        );
        assert_eq!(status, Status::Ok);
        rillm_sampler_free(sampler);
        rillm_session_free(session);
        rillm_model_free(model);
    }
    tokens
}

/// Suppressed tokens, runs that may not come twice, and the lengths of texts for texts.
#[test]
fn rules_of_the_files_are_heard() {
    let folder = Fixture::load("llama").folder();
    let say = |rules: String| {
        std::fs::write(folder.join("generation_config.json"), rules).expect("a file");
    };
    let free = generated(&folder, 6);
    assert_eq!(free.len(), 6);
    say(format!("{{\"suppress_tokens\": {free:?}}}"));
    let others = generated(&folder, 6);
    assert_eq!(others.len(), 6);
    assert!(
        others.iter().all(|token| !free.contains(token)),
        "{others:?}"
    );
    // Of the prompt that is handed over as well.
    say("{\"no_repeat_ngram_size\": 1}".to_string());
    let mut once = [&PROMPT[..], &generated(&folder, 6)].concat();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), 9);
    // Neither beams nor draws are a token's matter.
    say("{\"num_beams\": 4, \"do_sample\": true, \"temperature\": 9.0}".to_string());
    assert_eq!(generated(&folder, 6), free);
    let folder = Fixture::load("t5").folder();
    let rules = "{\"max_new_tokens\": 2, \"decoder_start_token_id\": 0}";
    std::fs::write(folder.join("generation_config.json"), rules).expect("a file");
    assert_eq!(generated(&folder, 0).len(), 2);
    // Who says a number gets as many.
    assert_eq!(generated(&folder, 6).len(), 6);
}
