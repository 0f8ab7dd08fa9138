//! Calls of the C interface in an order that bytes say, with arguments that are null, too small,
//! crooked or out of range, as far as its contract allows them. Uses nothing but the library, so that
//! the fuzz target shares it.

// By their paths, since the fuzz target takes this file by its own.
#[path = "c_calls/choices.rs"]
mod choices;
#[path = "c_calls/sessions.rs"]
mod sessions;
#[path = "c_calls/writers.rs"]
mod writers;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::{MaybeUninit, size_of};
use std::path::Path;
use std::ptr::{null, null_mut};

use rillm::capi::*;

/// A session that needs more is not made: what it says that it needs is compared elsewhere.
const MEMORY: u64 = 16 << 20;

/// Tokens after which a callback has enough: a recurrent model could go on for ever.
const TOKENS: usize = 12;

/// What a sequence of calls works with. Handles that were freed are null.
struct World<'a> {
    bytes: &'a [u8],
    files: &'a [&'static [u8]],
    folder: &'a Path,
    models: [*mut ModelHandle; 2],
    sessions: [*mut SessionHandle; 2],
    samplers: [*mut SamplerHandle; 2],
    decoders: [*mut DecoderHandle; 2],
    snapshots: [*mut Bytes; 2],
    writers: [*mut WriterHandle; 2],
}

/// Makes the calls. `files` are GGUF files, `folder` is empty and for snapshots. Panics if a call
/// does, says of itself that it is defective, or leaves an error without its text.
pub fn c_calls(bytes: &[u8], files: &[&'static [u8]], folder: &Path) {
    let mut world = World {
        bytes,
        files,
        folder,
        models: [null_mut(); 2],
        sessions: [null_mut(); 2],
        samplers: [null_mut(); 2],
        decoders: [null_mut(); 2],
        snapshots: [null_mut(); 2],
        writers: [null_mut(); 2],
    };
    while !world.bytes.is_empty() {
        // SAFETY: handles are null or live, and pointers lead to as much as is said beside them.
        unsafe { world.call() };
    }
    // SAFETY: as above; models go first, since what was made of them keeps what it needs.
    unsafe {
        world
            .models
            .into_iter()
            .for_each(|handle| rillm_model_free(handle));
        world
            .sessions
            .into_iter()
            .for_each(|handle| rillm_session_free(handle));
        world
            .samplers
            .into_iter()
            .for_each(|handle| rillm_sampler_free(handle));
        world
            .decoders
            .into_iter()
            .for_each(|handle| rillm_decoder_free(handle));
        world
            .snapshots
            .into_iter()
            .for_each(|handle| rillm_bytes_free(handle));
        world
            .writers
            .into_iter()
            .for_each(|handle| rillm_writer_free(handle));
    }
}

/// What a callback may do.
struct Listener {
    session: *const SessionHandle,
    what: u8,
    left: usize,
}

unsafe extern "C" fn listen(
    user: *mut c_void,
    token: u32,
    text: *const c_char,
    len: usize,
) -> c_int {
    // SAFETY: `generate` gives a listener and a text with its NUL.
    unsafe {
        let listener = &mut *user.cast::<Listener>();
        assert!(CStr::from_ptr(text).to_bytes().len() <= len);
        assert!(token != NO_TOKEN || len > 0);
        let mut length = 0;
        match listener.what % 4 {
            0 => {
                rillm_session_cancel(listener.session, null_mut());
            }
            1 => {
                let status = rillm_session_length(listener.session, 0, &mut length, null_mut());
                assert_eq!(status, Status::Busy);
            }
            _ => {}
        }
        listener.left = listener.left.saturating_sub(1);
        c_int::from(listener.left == 0 || listener.what == 7)
    }
}

impl World<'_> {
    /// Judges how a call ended.
    unsafe fn judge(&mut self, call: impl FnOnce(&mut Self, *mut CallError) -> Status) -> bool {
        let mut error = MaybeUninit::<CallError>::uninit();
        let place = self.place(&mut error);
        let is_told = place == error.as_mut_ptr();
        let status = call(self, place);
        assert_ne!(status, Status::Panicked);
        if is_told {
            // SAFETY: the call has written a status and a text with its NUL.
            unsafe {
                assert_eq!((*place).status, status);
                let text = CStr::from_ptr((&raw const (*place).text).cast());
                let text = text.to_str().expect("UTF-8");
                assert_eq!(text.is_empty(), status == Status::Ok, "{status:?}: {text}");
                assert!(!text.contains('\n'), "{text}");
            }
        }
        status == Status::Ok
    }

    /// # Safety
    /// Handles are null or live.
    unsafe fn call(&mut self) {
        let call = self.byte();
        let which = self.index() % 2;
        let model = self.models[which];
        let session = self.sessions[which];
        // SAFETY: the caller's; of each pointer there is as much as is said beside it.
        unsafe {
            match call % 40 {
                0 => self.open(which),
                1 => {
                    rillm_model_free(std::mem::replace(&mut self.models[which], null_mut()));
                }
                2 => self.describe(model),
                3 => self.new_session(which, model),
                4 => {
                    rillm_session_free(std::mem::replace(&mut self.sessions[which], null_mut()));
                }
                5 => self.new_sampler(which, model),
                6 => {
                    rillm_sampler_free(std::mem::replace(&mut self.samplers[which], null_mut()));
                }
                7 => {
                    let mut made = MaybeUninit::new(null_mut());
                    let (place, flags) = (self.place(&mut made), u32::from(self.byte()) % 5);
                    rillm_decoder_free(std::mem::replace(&mut self.decoders[which], null_mut()));
                    self.judge(|_, error| rillm_decoder_new(model, flags, place, error));
                    self.decoders[which] = made.assume_init();
                }
                8 => self.decode(which),
                9 => self.tokenize(model),
                10..=13 => self.feed(session),
                14 => self.rows(session, rillm_session_feed_rows),
                15 => self.rows(session, rillm_session_encode_rows),
                16 | 17 => self.outputs(session),
                18 => {
                    let id = self.id();
                    self.judge(|_, error| rillm_session_reset(session, id, error));
                }
                19 => {
                    let (from, to) = (self.id(), self.id());
                    self.judge(|_, error| rillm_session_fork(session, from, to, error));
                }
                20 => {
                    let (id, len) = (self.id(), self.number());
                    self.judge(|_, error| rillm_session_rewind(session, id, len, error));
                }
                21 => {
                    let id = self.id();
                    self.judge(|_, error| rillm_session_checkpoint(session, id, error));
                }
                22 => {
                    let id = self.id();
                    self.judge(|_, error| rillm_session_forget_checkpoints(session, id, error));
                }
                23 => {
                    self.judge(|_, error| rillm_session_cancel(session, error));
                }
                24 => self.snapshot(which, session),
                25 => self.restore(which, session),
                26 => self.snapshot_file(session),
                27 => self.sample(which),
                32 => self.new_writer(which, model),
                33 => {
                    rillm_writer_free(std::mem::replace(&mut self.writers[which], null_mut()));
                }
                34 => self.change_writer(which),
                35..=37 => self.write(which),
                38 => self.plan(),
                _ => self.generate(which, session),
            }
        }
    }

    unsafe fn open(&mut self, which: usize) {
        let mut made = MaybeUninit::new(null_mut());
        let place = self.place(&mut made);
        let isa = CString::new(match self.byte() % 4 {
            0 => "scalar",
            1 => "abacus",
            _ => "",
        });
        let isa = isa.expect("no NUL");
        let threads = 1 + self.index() % 2;
        // SAFETY: see `call`.
        unsafe {
            let options = self.options(rillm_model_options_init, |_, options| {
                options.threads = threads;
                options.isa = if isa.is_empty() { null() } else { isa.as_ptr() };
            });
            let options = (&raw const *options).cast::<ModelSettings>();
            let options = if self.byte() == 251 { null() } else { options };
            let mut file = self.files[self.index() % self.files.len()];
            if self.byte() > 250 {
                file = &file[..file.len() / 2];
            }
            let (memory, data) = (u32::from(self.byte() % 3), self.list(file));
            rillm_model_free(std::mem::replace(&mut self.models[which], null_mut()));
            match self.byte() {
                253.. => {
                    let path = self.path();
                    let path = path.as_ref().map_or(null(), |path| path.as_ptr());
                    self.judge(|_, error| rillm_model_open(path, options, place, error))
                }
                _ => self.judge(|_, error| {
                    rillm_model_open_memory(data, file.len(), memory, options, place, error)
                }),
            };
            self.models[which] = made.assume_init();
        }
    }

    unsafe fn describe(&mut self, model: *mut ModelHandle) {
        let token = self.id();
        let mut name = MaybeUninit::<*const c_char>::uninit();
        let place = self.place(&mut name);
        // SAFETY: see `call`.
        unsafe {
            let mut facts = self.sized(size_of::<ModelFacts>());
            let at = (&raw mut *facts).cast();
            self.judge(|_, error| rillm_model_describe(model, at, error));
            if self.judge(|_, error| rillm_model_architecture(model, place, error)) {
                CStr::from_ptr(name.assume_init()).to_str().expect("UTF-8");
            }
            if self.judge(|_, error| rillm_model_title(model, place, error)) {
                CStr::from_ptr(name.assume_init()).to_str().expect("UTF-8");
            }
            let mut facts = self.sized(size_of::<VocabularyFacts>());
            let at = (&raw mut *facts).cast();
            self.judge(|_, error| rillm_vocabulary_describe(model, at, error));
            let mut facts = self.sized(size_of::<TokenFacts>());
            let at = (&raw mut *facts).cast::<TokenFacts>();
            if self.judge(|_, error| rillm_token_describe(model, token, at, error)) {
                let facts = &*at;
                let bytes = std::slice::from_raw_parts(facts.bytes.cast::<u8>(), facts.len);
                assert!(bytes.len() < 1 << 16);
            }
        }
    }

    unsafe fn new_session(&mut self, which: usize, model: *mut ModelHandle) {
        let mut made = MaybeUninit::new(null_mut());
        let place = self.place(&mut made);
        let kind = CString::new(match self.byte() % 5 {
            0 => "f16",
            1 => "q8_0",
            2 => "f32",
            3 => "f8",
            _ => "",
        });
        let kind = kind.expect("no NUL");
        // SAFETY: see `call`.
        unsafe {
            let options = self.options(rillm_session_options_init, |world, options| {
                options.context = world.number();
                options.sequences = world.number();
                options.batch = world.number();
                options.source = world.number();
                options.checkpoints = world.number();
                options.kv_type = if kind.is_empty() {
                    null()
                } else {
                    kind.as_ptr()
                };
            });
            let options = (&raw const *options).cast::<SessionSettings>();
            let options = if self.byte() == 251 { null() } else { options };
            let mut memory = MaybeUninit::<MemoryFigures>::zeroed();
            (*memory.as_mut_ptr()).size = size_of::<MemoryFigures>();
            let at = memory.as_mut_ptr();
            let planned = self.judge(|_, error| rillm_memory_plan(model, options, at, error));
            let memory = memory.assume_init();
            if planned && memory.arena.saturating_add(memory.state) > MEMORY {
                return;
            }
            rillm_session_free(std::mem::replace(&mut self.sessions[which], null_mut()));
            let new = self.judge(|_, error| rillm_session_new(model, options, place, error));
            assert!(planned || !new, "a session without a plan");
            self.sessions[which] = made.assume_init();
        }
    }

    unsafe fn new_sampler(&mut self, which: usize, model: *mut ModelHandle) {
        let mut made = MaybeUninit::new(null_mut());
        let place = self.place(&mut made);
        // SAFETY: see `call`.
        unsafe {
            let options = self.options(rillm_sampler_options_init, |world, options| {
                options.penalty_last_n = world.number();
                options.top_k = world.number();
                options.min_keep = world.number();
                for float in [
                    &mut options.temperature,
                    &mut options.top_p,
                    &mut options.typical_p,
                    &mut options.xtc_probability,
                    &mut options.repeat_penalty,
                    &mut options.mirostat_tau,
                ] {
                    if world.byte().is_multiple_of(4) {
                        *float = world.float();
                    }
                }
            });
            let options = (&raw const *options).cast::<SamplerSettings>();
            rillm_sampler_free(std::mem::replace(&mut self.samplers[which], null_mut()));
            self.judge(|_, error| rillm_sampler_new(model, options, place, error));
            self.samplers[which] = made.assume_init();
        }
    }

    unsafe fn sample(&mut self, which: usize) {
        let sampler = self.samplers[which];
        let logits: Vec<f32> = (0..self.small()).map(|_| self.float()).collect();
        let (data, id) = (self.list(&logits), self.id());
        let mut token = MaybeUninit::uninit();
        let place = self.place(&mut token);
        // SAFETY: see `call`.
        unsafe {
            let count = logits.len();
            if self.judge(|_, error| rillm_sampler_sample(sampler, data, count, place, error)) {
                assert!((token.assume_init() as usize) < count);
            }
            self.judge(|_, error| rillm_sampler_accept(sampler, id, error));
            if self.byte().is_multiple_of(4) {
                self.judge(|_, error| rillm_sampler_reset(sampler, error));
            }
        }
    }

    unsafe fn decode(&mut self, which: usize) {
        let (decoder, ids) = (self.decoders[which], self.ids());
        let mut text = MaybeUninit::<*const c_char>::uninit();
        let mut len = MaybeUninit::<usize>::uninit();
        let (text_at, len_at) = (self.place(&mut text), self.place(&mut len));
        // SAFETY: see `call`.
        unsafe {
            for id in ids {
                if self.judge(|_, error| rillm_decoder_push(decoder, id, text_at, len_at, error)) {
                    let text = text.assume_init().cast::<u8>();
                    let bytes = std::slice::from_raw_parts(text, len.assume_init() + 1);
                    assert_eq!(bytes.last(), Some(&0));
                }
            }
            self.judge(|_, error| rillm_decoder_finish(decoder, text_at, len_at, error));
        }
    }

    unsafe fn tokenize(&mut self, model: *mut ModelHandle) {
        let (text, flags) = (self.text(), u32::from(self.byte()) % 5);
        let data = self.list(&text).cast();
        let mut tokens = vec![0; self.small()];
        let mut count = MaybeUninit::uninit();
        let place = self.place(&mut count);
        // SAFETY: see `call`.
        unsafe {
            let (at, room) = (tokens.as_mut_ptr(), tokens.len());
            let done = self.judge(|_, error| {
                rillm_tokenize(model, data, text.len(), flags, at, room, place, error)
            });
            if done {
                tokens.truncate(count.assume_init());
            }
            let mut back = vec![0u8; self.small()];
            let (at, room, count) = (back.as_mut_ptr().cast(), back.len(), tokens.len());
            let data = self.list(&tokens);
            self.judge(|_, error| {
                rillm_detokenize(model, data, count, flags, at, room, place, error)
            });
        }
    }
}
