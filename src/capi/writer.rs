//! Texts for texts: translations and summaries, by beams or otherwise.

use super::NO_TOKEN;
use super::arguments::{
    Versioned, borrow, enter_handle, free, hand_over, in_use, put_if, read, slice, string, text,
    write,
};
use super::error::{CallError, Failure, Status, enter};
use super::model::ModelHandle;
use crate::generate::{EarlyStopping, GenerationConfig};
use crate::tasks::{OutputText, TextToText};
use std::ffi::c_char;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How texts are written. Names and meanings are those of transformers' GenerationConfig; 0 is no
/// limit of a length, and RILLM_NO_TOKEN no token.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // named as `GenerationConfig` names them, which says what they do
pub struct GenerationSettings {
    /// sizeof(rillm_generation_options).
    pub size: usize,
    /// Of tokens that are drawn.
    pub seed: u64,
    pub num_beams: usize,
    pub num_return_sequences: usize,
    pub max_length: usize,
    pub max_new_tokens: usize,
    pub min_length: usize,
    pub min_new_tokens: usize,
    pub no_repeat_ngram_size: usize,
    pub encoder_no_repeat_ngram_size: usize,
    pub top_k: usize,
    pub suppress_tokens: *const u32,
    pub suppress_tokens_len: usize,
    pub begin_suppress_tokens: *const u32,
    pub begin_suppress_tokens_len: usize,
    pub forced_eos_token_ids: *const u32,
    pub forced_eos_token_ids_len: usize,
    /// Sequences that are not written, each with RILLM_NO_TOKEN behind it.
    pub bad_words_ids: *const u32,
    /// Tokens there, those behind each sequence included.
    pub bad_words_ids_len: usize,
    pub length_penalty: f32,
    pub temperature: f32,
    pub top_p: f32,
    pub min_p: f32,
    pub typical_p: f32,
    pub repetition_penalty: f32,
    pub encoder_repetition_penalty: f32,
    pub decoder_start_token_id: u32,
    pub forced_bos_token_id: u32,
    /// 1 if tokens are drawn, 0 if the most likely ones are taken.
    pub do_sample: u32,
    /// When beam search ends: a rillm_early_stopping.
    pub early_stopping: i32,
}

// SAFETY: `repr(C)`, the size first, numbers and pointers.
unsafe impl Versioned for GenerationSettings {
    const NAME: &'static str = "rillm_generation_options";
    const FIRST: usize = size_of::<GenerationSettings>();
}

/// When beam search has seen enough.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyStop {
    /// When no running beam, as long as it is now, beats the worst finished text: transformers'
    /// False.
    Likely = 0,
    /// As soon as there are as many finished texts as beams: transformers' True.
    Always = 1,
    /// When no running beam can beat the worst finished text at any length: transformers' "never".
    Never = 2,
}

/// A text that was written for another.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct WrittenText {
    /// sizeof(rillm_written).
    pub size: usize,
    /// UTF-8 with a NUL after `len` bytes, there until the writer writes again or is freed.
    pub text: *const c_char,
    /// Bytes.
    pub len: usize,
    /// Tokens of the text.
    pub tokens: u64,
    /// Tokens of the source, as the model took it.
    pub source_tokens: u64,
    /// Its score, if beams found it; else 0.
    pub score: f32,
    /// 1 if the source was longer than the model takes, and its beginning was read.
    pub truncated: u32,
}

// SAFETY: `repr(C)`, the size first, numbers and a pointer.
unsafe impl Versioned for WrittenText {
    const NAME: &'static str = "rillm_written";
    const FIRST: usize = size_of::<WrittenText>();
}

/// Translates or summarizes: a model that reads one text and writes another, with a session of its
/// own.
pub struct WriterHandle {
    inner: Mutex<WriterState>,
    /// Ends the running call.
    abort: Arc<AtomicBool>,
}

struct WriterState {
    of: TextToText,
    seed: u64,
    /// Sequences that are not written, as C sees them.
    bad_words: Vec<u32>,
    texts: Vec<OutputText>,
}

impl WriterHandle {
    fn new(of: TextToText) -> WriterHandle {
        let abort = of.abort_flag();
        let mut writer = WriterState {
            of,
            seed: 0,
            bad_words: Vec::new(),
            texts: Vec::new(),
        };
        writer.list_bad_words();
        let inner = Mutex::new(writer);
        WriterHandle { inner, abort }
    }
}

impl WriterState {
    fn list_bad_words(&mut self) {
        let words = &self.of.config().bad_words_ids;
        let ended = words.iter().map(|word| [&word[..], &[NO_TOKEN]].concat());
        self.bad_words = ended.collect::<Vec<_>>().concat();
    }

    fn settings(&self) -> GenerationSettings {
        let config = self.of.config();
        GenerationSettings {
            size: size_of::<GenerationSettings>(),
            seed: self.seed,
            num_beams: config.num_beams,
            num_return_sequences: config.num_return_sequences,
            max_length: config.max_length.unwrap_or(0),
            max_new_tokens: config.max_new_tokens.unwrap_or(0),
            min_length: config.min_length,
            min_new_tokens: config.min_new_tokens,
            no_repeat_ngram_size: config.no_repeat_ngram_size,
            encoder_no_repeat_ngram_size: config.encoder_no_repeat_ngram_size,
            top_k: config.top_k,
            suppress_tokens: config.suppress_tokens.as_ptr(),
            suppress_tokens_len: config.suppress_tokens.len(),
            begin_suppress_tokens: config.begin_suppress_tokens.as_ptr(),
            begin_suppress_tokens_len: config.begin_suppress_tokens.len(),
            forced_eos_token_ids: config.forced_eos_token_id.as_ptr(),
            forced_eos_token_ids_len: config.forced_eos_token_id.len(),
            bad_words_ids: self.bad_words.as_ptr(),
            bad_words_ids_len: self.bad_words.len(),
            length_penalty: config.length_penalty,
            temperature: config.temperature,
            top_p: config.top_p,
            min_p: config.min_p,
            typical_p: config.typical_p,
            repetition_penalty: config.repetition_penalty,
            encoder_repetition_penalty: config.encoder_repetition_penalty,
            decoder_start_token_id: config.decoder_start_token_id.unwrap_or(NO_TOKEN),
            forced_bos_token_id: config.forced_bos_token_id.unwrap_or(NO_TOKEN),
            do_sample: config.do_sample.into(),
            early_stopping: match config.early_stopping {
                EarlyStopping::Likely => EarlyStop::Likely,
                EarlyStopping::Always => EarlyStop::Always,
                EarlyStopping::Never => EarlyStop::Never,
            } as i32,
        }
    }

    /// # Safety
    /// Lists are as long as is said.
    unsafe fn set(&mut self, given: GenerationSettings) -> Result<(), Failure> {
        // SAFETY: the caller's.
        let list = |at: *const u32, count: usize, name: &str| unsafe {
            slice(at, count, name).map(<[u32]>::to_vec)
        };
        let bad_words = list(
            given.bad_words_ids,
            given.bad_words_ids_len,
            "bad_words_ids",
        )?;
        let unknown = |what: String| Err(Failure::new(Status::InvalidArgument, what));
        let words = match bad_words.split_last() {
            None => Vec::new(),
            Some((&NO_TOKEN, words)) => {
                let words = words.split(|&token| token == NO_TOKEN);
                words.map(<[u32]>::to_vec).collect()
            }
            Some(_) => {
                return unknown("bad_words_ids does not end with RILLM_NO_TOKEN".to_owned());
            }
        };
        let token = |id: u32| Some(id).filter(|&id| id != NO_TOKEN);
        let length = |most: usize| Some(most).filter(|&most| most > 0);
        let early_stopping = match given.early_stopping {
            0 => EarlyStopping::Likely,
            1 => EarlyStopping::Always,
            2 => EarlyStopping::Never,
            other => return unknown(format!("early_stopping is {other}, expected 0, 1 or 2")),
        };
        let do_sample = match given.do_sample {
            0 => false,
            1 => true,
            other => return unknown(format!("do_sample is {other}, expected 0 or 1")),
        };
        let config = GenerationConfig {
            num_beams: given.num_beams,
            num_return_sequences: given.num_return_sequences,
            max_length: length(given.max_length),
            max_new_tokens: length(given.max_new_tokens),
            min_length: given.min_length,
            min_new_tokens: given.min_new_tokens,
            no_repeat_ngram_size: given.no_repeat_ngram_size,
            encoder_no_repeat_ngram_size: given.encoder_no_repeat_ngram_size,
            top_k: given.top_k,
            suppress_tokens: list(
                given.suppress_tokens,
                given.suppress_tokens_len,
                "suppress_tokens",
            )?,
            begin_suppress_tokens: list(
                given.begin_suppress_tokens,
                given.begin_suppress_tokens_len,
                "begin_suppress_tokens",
            )?,
            forced_eos_token_id: list(
                given.forced_eos_token_ids,
                given.forced_eos_token_ids_len,
                "forced_eos_token_ids",
            )?,
            bad_words_ids: words,
            length_penalty: given.length_penalty,
            temperature: given.temperature,
            top_p: given.top_p,
            min_p: given.min_p,
            typical_p: given.typical_p,
            repetition_penalty: given.repetition_penalty,
            encoder_repetition_penalty: given.encoder_repetition_penalty,
            decoder_start_token_id: token(given.decoder_start_token_id),
            forced_bos_token_id: token(given.forced_bos_token_id),
            do_sample,
            early_stopping,
            // What is not said here stays.
            ..self.of.config().clone()
        };
        self.seed = given.seed;
        self.of.set_seed(given.seed);
        self.of.set_config(config);
        self.list_bad_words();
        Ok(())
    }
}

/// A writer that translates, from one language to another, each as the model calls it or by its
/// code ("de", "de_DE", "deu_Latn"); null for what the model takes by itself. It writes as the model's
/// generation_config.json says. After an error `*writer` is null.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_translator_new(
    model: *const ModelHandle,
    from: *const c_char,
    to: *const c_char,
    writer: *mut *mut WriterHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            hand_over(writer, "writer", || {
                let language = |at: *const c_char, name: &str| match at.is_null() {
                    true => Ok(None),
                    false => string(at, name).map(Some),
                };
                let (from, to) = (language(from, "from")?, language(to, "to")?);
                let model = &borrow(model, "model")?.model;
                Ok(WriterHandle::new(TextToText::translator(model, from, to)?))
            })
        })
    }
}

/// A writer that summarizes. After an error `*writer` is null.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_summarizer_new(
    model: *const ModelHandle,
    writer: *mut *mut WriterHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            hand_over(writer, "writer", || {
                let model = &borrow(model, "model")?.model;
                Ok(WriterHandle::new(TextToText::summarizer(model)?))
            })
        })
    }
}

/// Frees a writer; null is allowed, and one that a call is using stays.
/// Threads: any, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_writer_free(writer: *mut WriterHandle) {
    // SAFETY: the contract of this module.
    unsafe { free(writer, |writer| in_use(&writer.inner)) }
}

/// How a writer writes: `options->size` is the caller's sizeof. Lists are there until other options are
/// set or the writer is freed.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_writer_options(
    writer: *const WriterHandle,
    options: *mut GenerationSettings,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let writer = enter_handle(&borrow(writer, "writer")?.inner, "writer")?;
            write(options, &writer.settings())
        })
    }
}

/// Writes another way: what rillm_writer_options wrote, changed. Options that contradict each other are
/// refused by rillm_writer_write.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_writer_set_options(
    writer: *const WriterHandle,
    options: *const GenerationSettings,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let mut writer = enter_handle(&borrow(writer, "writer")?.inner, "writer")?;
            let given = read(options, writer.settings())?;
            writer.set(given)
        })
    }
}

/// Puts something else before each source than the model's files say, such as the task's name.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_writer_set_prefix(
    writer: *const WriterHandle,
    prefix: *const c_char,
    len: usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let mut writer = enter_handle(&borrow(writer, "writer")?.inner, "writer")?;
            let prefix = text(prefix, len, "prefix")?;
            writer.of.set_prefix(prefix);
            Ok(())
        })
    }
}

/// Writes the texts for a source, num_return_sequences of them, the best first; `*count` is how many
/// rillm_writer_text has then. `count` may be null.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_writer_write(
    writer: *const WriterHandle,
    source: *const c_char,
    len: usize,
    count: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let mut writer = enter_handle(&borrow(writer, "writer")?.inner, "writer")?;
            writer.texts.clear();
            put_if(count, 0, "count")?;
            let mut texts = writer.of.write_several(text(source, len, "source")?)?;
            for written in &mut texts {
                written.text.push('\0');
            }
            writer.texts = texts;
            put_if(count, writer.texts.len(), "count")
        })
    }
}

/// Ends rillm_writer_write, soon, with RILLM_STATUS_CANCELLED. If it is not running, the next one ends so.
/// Threads: any, also while another thread is in a call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_writer_cancel(
    writer: *const WriterHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let writer = borrow(writer, "writer")?;
            writer.abort.store(true, Ordering::Relaxed);
            Ok(())
        })
    }
}

/// A text of the last rillm_writer_write.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_writer_text(
    writer: *const WriterHandle,
    index: usize,
    written: *mut WrittenText,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let writer = enter_handle(&borrow(writer, "writer")?.inner, "writer")?;
            let Some(found) = writer.texts.get(index) else {
                let what = format!("there are {} texts", writer.texts.len());
                return Err(Failure::new(Status::InvalidArgument, what));
            };
            let facts = WrittenText {
                size: size_of::<WrittenText>(),
                text: found.text.as_ptr().cast(),
                len: found.text.len() - 1,
                tokens: found.tokens as u64,
                source_tokens: found.source_tokens as u64,
                score: found.score.unwrap_or(0.0),
                truncated: found.truncated.into(),
            };
            write(written, &facts)
        })
    }
}
