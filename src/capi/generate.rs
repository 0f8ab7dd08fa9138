//! Choosing tokens, and generating until the caller has enough.

use super::NO_TOKEN;
use super::arguments::{
    Versioned, borrow, enter_handle, free, hand_over, in_use, init, put, read, slice, write,
};
use super::error::{CallError, Failure, Status, enter};
use super::model::ModelHandle;
use super::session::{SessionHandle, with_session};
use crate::generate::{GenerateOptions, GenerationConfig, Stop, generate};
use crate::graph::Role;
use crate::sample::{Mirostat, SampleOptions, Sampler};
use crate::session::SessionOptions;
use rillm_formats::tokenizer::{DecodeOptions, Position};
use std::ffi::{c_char, c_int, c_void};
use std::ops::ControlFlow;
use std::sync::Mutex;

/// How tokens are chosen; the stages and their ranges are those of `rillm run`. Null options are
/// what rillm_sampler_options_init writes. A temperature of 0 takes the most likely token.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // named as `SampleOptions` names them, which says what they do
pub struct SamplerSettings {
    /// sizeof(rillm_sampler_options).
    pub size: usize,
    pub seed: u64,
    pub min_keep: usize,
    pub top_k: usize,
    pub penalty_last_n: usize,
    pub temperature: f32,
    pub dynamic_temperature: f32,
    pub dynamic_temperature_exponent: f32,
    pub top_p: f32,
    pub min_p: f32,
    pub typical_p: f32,
    pub top_n_sigma: f32,
    pub xtc_probability: f32,
    pub xtc_threshold: f32,
    pub repeat_penalty: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    /// Mirostat 2's surprise; 0 for no mirostat.
    pub mirostat_tau: f32,
    /// How fast it is approached.
    pub mirostat_eta: f32,
}

// SAFETY: `repr(C)`, the size first, numbers.
unsafe impl Versioned for SamplerSettings {
    const NAME: &'static str = "rillm_sampler_options";
    const FIRST: usize = size_of::<SamplerSettings>();
}

/// Chooses tokens, remembering what was chosen.
pub struct SamplerHandle {
    inner: Mutex<Sampler>,
}

/// Why generation ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The model wrote an end-of-generation token.
    End = 0,
    /// As many tokens as asked for.
    Length = 1,
    /// The context is full.
    Context = 2,
    /// The callback said so.
    Caller = 3,
}

/// What a generation did.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GenerationFacts {
    /// sizeof(rillm_generation).
    pub size: usize,
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Tokens written.
    pub tokens: u64,
    /// Seconds until the first token was chosen.
    pub prompt_seconds: f64,
    /// Seconds after it.
    pub seconds: f64,
    /// Why it ended: a rillm_stop.
    pub stop: i32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, the size first, numbers.
unsafe impl Versioned for GenerationFacts {
    const NAME: &'static str = "rillm_generation";
    const FIRST: usize = size_of::<GenerationFacts>();
}

/// Takes a token and the text that it completes: UTF-8, perhaps none, with a NUL after `len`
/// bytes, there until the callback returns. Once all tokens are out it may be called with
/// RILLM_NO_TOKEN and what is left of an unfinished character. Not 0 ends the generation.
///
/// It runs in the thread that called. The session and the sampler are busy meanwhile, but for
/// rillm_session_cancel; other sessions may be used. Nothing may be thrown through it.
pub type TokenCallback = Option<
    unsafe extern "C" fn(user: *mut c_void, token: u32, text: *const c_char, len: usize) -> c_int,
>;

fn settings() -> SamplerSettings {
    let defaults = SampleOptions::default();
    SamplerSettings {
        size: size_of::<SamplerSettings>(),
        seed: defaults.seed,
        min_keep: defaults.min_keep,
        top_k: defaults.top_k,
        penalty_last_n: defaults.penalty_last_n,
        temperature: defaults.temperature,
        dynamic_temperature: defaults.dynamic_temperature,
        dynamic_temperature_exponent: defaults.dynamic_temperature_exponent,
        top_p: defaults.top_p,
        min_p: defaults.min_p,
        typical_p: defaults.typical_p,
        top_n_sigma: defaults.top_n_sigma,
        xtc_probability: defaults.xtc_probability,
        xtc_threshold: defaults.xtc_threshold,
        repeat_penalty: defaults.repeat_penalty,
        presence_penalty: defaults.presence_penalty,
        frequency_penalty: defaults.frequency_penalty,
        mirostat_tau: 0.0,
        mirostat_eta: Mirostat::default().eta,
    }
}

fn sample_options(given: SamplerSettings) -> Result<SampleOptions, Failure> {
    let mirostat = Mirostat {
        tau: given.mirostat_tau,
        eta: given.mirostat_eta,
    };
    let options = SampleOptions::default()
        .seed(given.seed)
        .min_keep(given.min_keep)
        .top_k(given.top_k)
        .penalty_last_n(given.penalty_last_n)
        .temperature(given.temperature)
        .dynamic_temperature(given.dynamic_temperature)
        .dynamic_temperature_exponent(given.dynamic_temperature_exponent)
        .top_p(given.top_p)
        .min_p(given.min_p)
        .typical_p(given.typical_p)
        .top_n_sigma(given.top_n_sigma)
        .xtc_probability(given.xtc_probability)
        .xtc_threshold(given.xtc_threshold)
        .repeat_penalty(given.repeat_penalty)
        .presence_penalty(given.presence_penalty)
        .frequency_penalty(given.frequency_penalty)
        .mirostat((given.mirostat_tau != 0.0).then_some(mirostat));
    let checked = options.check();
    checked.map_err(|error| Failure::new(Status::Input, error))?;
    Ok(options)
}

/// Writes the defaults into options of the size given.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_sampler_options_init(
    options: *mut SamplerSettings,
    size: usize,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe { enter(std::ptr::null_mut(), || init(options, size, &settings())) }
}

/// A sampler over a model's tokens. Null options are the defaults; after an error `*sampler` is
/// null.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_sampler_new(
    model: *const ModelHandle,
    options: *const SamplerSettings,
    sampler: *mut *mut SamplerHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            hand_over(sampler, "sampler", || {
                let model = &borrow(model, "model")?.model;
                let vocabulary = u32::try_from(model.limits().vocabulary)
                    .map_err(|_| Failure::new(Status::Unsupported, "the model has no vocabulary"))?
                    as usize;
                let options = sample_options(read(options, settings())?)?;
                // Of a model that says none, as far as sessions reach unless told otherwise.
                let context = model.context().unwrap_or(SessionOptions::new().context);
                let inner = Mutex::new(Sampler::new(options, vocabulary, context));
                Ok(SamplerHandle { inner })
            })
        })
    }
}

/// Frees a sampler; null is allowed, and one that a call is using stays.
/// Threads: any, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_sampler_free(sampler: *mut SamplerHandle) {
    // SAFETY: the contract of this module.
    unsafe { free(sampler, |sampler| in_use(&sampler.inner)) }
}

/// Chooses a token from logits. What was chosen is remembered only by rillm_sampler_accept.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_sampler_sample(
    sampler: *const SamplerHandle,
    logits: *const f32,
    count: usize,
    token: *mut u32,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let mut sampler = enter_handle(&borrow(sampler, "sampler")?.inner, "sampler")?;
            let logits = slice(logits, count, "logits")?;
            if logits.is_empty() || u32::try_from(count).is_err() {
                let what = format!("there are {count} logits, expected one for each token");
                return Err(Failure::new(Status::Input, what));
            }
            put(token, sampler.sample(logits), "token")
        })
    }
}

/// Notes a token, of the prompt or chosen, for penalties.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_sampler_accept(
    sampler: *const SamplerHandle,
    token: u32,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            enter_handle(&borrow(sampler, "sampler")?.inner, "sampler")?.accept(token);
            Ok(())
        })
    }
}

/// Forgets the tokens noted.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_sampler_reset(
    sampler: *const SamplerHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            enter_handle(&borrow(sampler, "sampler")?.inner, "sampler")?.reset();
            Ok(())
        })
    }
}

/// Feeds the prompt to sequence 0 and hands each new token to the callback, until an
/// end-of-generation token, `limit` tokens (0: no limit, but of an encoder-decoder model as many as its
/// files say), a full context or its word. An encoder-decoder model encodes the prompt and decodes from
/// its start token; others continue what the sequence holds. What the model's files say of scores
/// (generation_config.json: suppress_tokens, no_repeat_ngram_size, repetition_penalty and the like)
/// holds before the sampler sees them, as in `rillm run`, and looks back at the prompt and what was
/// written. What they say of the choice (do_sample, temperature, top_k) does not: that is the sampler's;
/// nor do beams, which are a writer's. Afterwards the last token handed out is not in the sequence yet,
/// unless an end-of-generation token followed it.
/// `callback` and `generation` may be null. A model without a usable vocabulary gives no text and
/// knows no end-of-generation tokens.
/// Threads: one at a time for session and sampler, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_generate(
    session: *const SessionHandle,
    sampler: *const SamplerHandle,
    prompt: *const u32,
    count: usize,
    limit: usize,
    callback: TokenCallback,
    user: *mut c_void,
    generation: *mut GenerationFacts,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        with_session(session, error, |inner| {
            let mut sampler = enter_handle(&borrow(sampler, "sampler")?.inner, "sampler")?;
            let prompt = slice(prompt, count, "prompt")?;
            inner.clear_outputs();
            let model = inner.session.model().clone();
            if !model.decodes() {
                let what = "the model encodes texts, it does not write them";
                return Err(Failure::new(Status::Input, what));
            }
            let tokenizer = model.tokenizer().ok();
            let config = GenerationConfig::of(&model)?.token_by_token(&model);
            let position = match model.graph(Role::Encode) {
                Some(_) => Position::Start,
                None => Position::Continued,
            };
            let options = DecodeOptions::new().skip_special(true).position(position);
            let mut decoder = tokenizer.map(|tokenizer| tokenizer.decoder(options));
            let mut text = String::new();
            let tell = |token: u32, text: &mut String| -> ControlFlow<()> {
                let Some(callback) = callback else {
                    return ControlFlow::Continue(());
                };
                let len = text.len();
                text.push('\0');
                match callback(user, token, text.as_ptr().cast(), len) {
                    0 => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            };
            let done = generate(
                &mut inner.session,
                prompt,
                GenerateOptions::default()
                    .end_tokens(tokenizer.map_or(&[][..], |tokenizer| tokenizer.end_tokens()))
                    .max_tokens(Some(limit).filter(|&limit| limit > 0))
                    .config(config.as_ref()),
                &mut sampler,
                &mut |chosen| {
                    text.clear();
                    if let Some(decoder) = &mut decoder {
                        decoder.push(chosen.token, &mut text);
                    }
                    tell(chosen.token, &mut text)
                },
            )?;
            text.clear();
            if let Some(decoder) = &mut decoder {
                decoder.finish(&mut text);
            }
            if !text.is_empty() && done.stop != Stop::Caller {
                let _ = tell(NO_TOKEN, &mut text);
            }
            if generation.is_null() {
                return Ok(());
            }
            let stop = match done.stop {
                Stop::End => StopReason::End,
                Stop::Length => StopReason::Length,
                Stop::Context => StopReason::Context,
                Stop::Caller => StopReason::Caller,
            };
            let facts = GenerationFacts {
                size: size_of::<GenerationFacts>(),
                prompt: done.prompt as u64,
                tokens: done.tokens as u64,
                prompt_seconds: done.prompt_time.as_secs_f64(),
                seconds: done.time.as_secs_f64(),
                stop: stop as i32,
                reserved: 0,
            };
            write(generation, &facts)
        })
    }
}
