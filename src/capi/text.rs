//! Text to tokens and back, whole or as it comes.

use super::NO_TOKEN;
use super::arguments::{
    Versioned, borrow, enter_handle, fill, flags, free, hand_over, in_use, put, slice, text, write,
};
use super::error::{CallError, Failure, Status, enter};
use super::model::ModelHandle;
use crate::model::Model;
use rillm_formats::tokenizer::{DecodeOptions, Decoder, EncodeOptions, Position, Tokenizer};
use std::ffi::c_char;
use std::sync::Mutex;

/// Tokenizing: put the tokens around the text that the model expects.
pub const ADD_SPECIAL: u32 = 1;

/// Tokenizing: names of control tokens in the text become those tokens. Never for what users
/// typed.
pub const PARSE_SPECIAL: u32 = 2;

/// Detokenizing: leave control tokens out.
pub const SKIP_SPECIAL: u32 = 1;

/// Detokenizing: the tokens go on with a text, as generated ones do, so that no space at their
/// beginning is taken away.
pub const CONTINUED: u32 = 2;

/// Facts of a model's vocabulary.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VocabularyFacts {
    /// sizeof(rillm_vocabulary_facts).
    pub size: usize,
    /// Tokens: one more than the largest id.
    pub tokens: u64,
    /// Token that begins a text, or RILLM_NO_TOKEN.
    pub bos: u32,
    /// Token that ends a text, or RILLM_NO_TOKEN.
    pub eos: u32,
}

// SAFETY: `repr(C)`, the size first, integers.
unsafe impl Versioned for VocabularyFacts {
    const NAME: &'static str = "rillm_vocabulary_facts";
    const FIRST: usize = size_of::<VocabularyFacts>();
}

/// Facts of one token.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TokenFacts {
    /// sizeof(rillm_token_facts).
    pub size: usize,
    /// The bytes it stands for, perhaps not whole characters; they live as long as the model.
    pub bytes: *const c_char,
    /// How many.
    pub len: usize,
    /// 1 if it is a control token.
    pub is_control: u32,
    /// 1 if it is an end-of-generation token: of a text, a turn or a message.
    pub is_end: u32,
}

// SAFETY: `repr(C)`, the size first, integers and a pointer.
unsafe impl Versioned for TokenFacts {
    const NAME: &'static str = "rillm_token_facts";
    const FIRST: usize = size_of::<TokenFacts>();
}

/// Turns tokens into text as they come, never half a character.
pub struct DecoderHandle {
    inner: Mutex<Streaming>,
}

struct Streaming {
    /// Before the model, in whose tokenizer it reads: fields go in order.
    decoder: Decoder<'static>,
    text: String,
    _model: Model,
}

impl Streaming {
    fn new(model: &Model, options: DecodeOptions) -> Result<Streaming, Failure> {
        let tokenizer: *const Tokenizer = model.tokenizer()?;
        // SAFETY: a tokenizer, once built, lies unmoved in what all clones of its model share,
        // and one clone is kept for as long as the reference.
        let tokenizer: &'static Tokenizer = unsafe { &*tokenizer };
        Ok(Streaming {
            decoder: tokenizer.decoder(options),
            text: String::new(),
            _model: model.clone(),
        })
    }
}

pub(super) fn decode_options(given: u32) -> Result<DecodeOptions, Failure> {
    flags(given, SKIP_SPECIAL | CONTINUED)?;
    let position = match given & CONTINUED {
        0 => Position::Start,
        _ => Position::Continued,
    };
    Ok(DecodeOptions::new()
        .skip_special(given & SKIP_SPECIAL != 0)
        .position(position))
}

/// Facts of the vocabulary. RILLM_STATUS_UNSUPPORTED if the model has none, or one that cannot
/// be used; token ids can be fed all the same.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_vocabulary_describe(
    model: *const ModelHandle,
    facts: *mut VocabularyFacts,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let tokenizer = borrow(model, "model")?.model.tokenizer()?;
            let found = VocabularyFacts {
                size: size_of::<VocabularyFacts>(),
                tokens: tokenizer.vocabulary_len() as u64,
                bos: tokenizer.bos().unwrap_or(NO_TOKEN),
                eos: tokenizer.eos().unwrap_or(NO_TOKEN),
            };
            write(facts, &found)
        })
    }
}

/// Facts of one token.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_token_describe(
    model: *const ModelHandle,
    token: u32,
    facts: *mut TokenFacts,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let tokenizer = borrow(model, "model")?.model.tokenizer()?;
            let piece = tokenizer
                .piece(token)
                .ok_or_else(|| Failure::new(Status::Input, format!("there is no token {token}")))?;
            let found = TokenFacts {
                size: size_of::<TokenFacts>(),
                bytes: piece.as_ptr().cast(),
                len: piece.len(),
                is_control: u32::from(tokenizer.is_control(token)),
                is_end: u32::from(tokenizer.end_tokens().contains(&token)),
            };
            write(facts, &found)
        })
    }
}

/// The tokens of `len` bytes of UTF-8. `*count` learns how many there are; if `capacity` is less,
/// nothing is written and the status is RILLM_STATUS_BUFFER_TOO_SMALL. `flags`: RILLM_ADD_SPECIAL,
/// RILLM_PARSE_SPECIAL.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_tokenize(
    model: *const ModelHandle,
    input: *const c_char,
    len: usize,
    flags: u32,
    tokens: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let tokenizer = borrow(model, "model")?.model.tokenizer()?;
            let input = text(input, len, "input")?;
            self::flags(flags, ADD_SPECIAL | PARSE_SPECIAL)?;
            let options = EncodeOptions::default()
                .add_special(flags & ADD_SPECIAL != 0)
                .parse_special(flags & PARSE_SPECIAL != 0);
            let found = tokenizer.encode(input, options);
            let found = found.map_err(crate::error::LoadError::from)?;
            fill(&found, tokens, capacity, count, "tokens")
        })
    }
}

/// The text of whole tokens, as UTF-8 without a NUL; bytes that are none become U+FFFD. `*len`
/// and `capacity` as in rillm_tokenize, in bytes. `flags`: RILLM_SKIP_SPECIAL, RILLM_CONTINUED.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_detokenize(
    model: *const ModelHandle,
    tokens: *const u32,
    count: usize,
    flags: u32,
    output: *mut c_char,
    capacity: usize,
    len: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let tokenizer = borrow(model, "model")?.model.tokenizer()?;
            let tokens = slice(tokens, count, "tokens")?;
            let found = tokenizer.decode_text(tokens, decode_options(flags)?);
            fill(found.as_bytes(), output.cast(), capacity, len, "output")
        })
    }
}

/// A decoder for tokens that come one by one. `flags` as in rillm_detokenize; after an error
/// `*decoder` is null.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_decoder_new(
    model: *const ModelHandle,
    flags: u32,
    decoder: *mut *mut DecoderHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            hand_over(decoder, "decoder", || {
                let model = &borrow(model, "model")?.model;
                let inner = Mutex::new(Streaming::new(model, decode_options(flags)?)?);
                Ok(DecoderHandle { inner })
            })
        })
    }
}

/// The text that a token completes, perhaps none, with a NUL after it. It lives until the next
/// call with this decoder.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_decoder_push(
    decoder: *const DecoderHandle,
    token: u32,
    output: *mut *const c_char,
    len: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        decode(decoder, output, len, error, |inner| {
            inner.decoder.push(token, &mut inner.text);
        })
    }
}

/// Ends the text: what is left of an unfinished character, as U+FFFD. As rillm_decoder_push
/// otherwise; the decoder can be used again.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_decoder_finish(
    decoder: *const DecoderHandle,
    output: *mut *const c_char,
    len: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        decode(decoder, output, len, error, |inner| {
            inner.decoder.finish(&mut inner.text);
        })
    }
}

/// # Safety
/// The contract of this module.
unsafe fn decode(
    decoder: *const DecoderHandle,
    output: *mut *const c_char,
    len: *mut usize,
    error: *mut CallError,
    step: impl FnOnce(&mut Streaming),
) -> Status {
    // SAFETY: the caller's.
    unsafe {
        enter(error, || {
            let mut inner = enter_handle(&borrow(decoder, "decoder")?.inner, "decoder")?;
            put(output, std::ptr::null(), "output")?;
            put(len, 0, "len")?;
            inner.text.clear();
            step(&mut inner);
            put(len, inner.text.len(), "len")?;
            inner.text.push('\0');
            put(output, inner.text.as_ptr().cast(), "output")
        })
    }
}

/// Frees a decoder; null is allowed, and one that a call is using stays.
/// Threads: any, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_decoder_free(decoder: *mut DecoderHandle) {
    // SAFETY: the contract of this module.
    unsafe { free(decoder, |decoder| in_use(&decoder.inner)) }
}
