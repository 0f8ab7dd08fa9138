//! Calls of writers, and plans of files.

use std::ffi::{CString, c_char};
use std::mem::{MaybeUninit, size_of};
use std::ptr::{null, null_mut};

use rillm::capi::*;

use super::{TOKENS, World};

/// Beams of a search that somebody waits for; more are refused or take long.
const BEAMS: usize = 9;

/// What may stand for a language.
const LANGUAGES: [&str; 6] = ["de", "en", "deu_Latn", "a", "", "\u{1b}[2J"];

impl World<'_> {
    pub(super) unsafe fn new_writer(&mut self, which: usize, model: *mut ModelHandle) {
        let mut made = MaybeUninit::new(null_mut());
        let place = self.place(&mut made);
        let (from, to) = (self.language(), self.language());
        let at = |name: &Option<CString>| name.as_ref().map_or(null(), |name| name.as_ptr());
        let (from, to) = (at(&from), at(&to));
        let translates = self.byte().is_multiple_of(2);
        // SAFETY: see `call`.
        unsafe {
            rillm_writer_free(std::mem::replace(&mut self.writers[which], null_mut()));
            self.judge(|_, error| match translates {
                true => rillm_translator_new(model, from, to, place, error),
                false => rillm_summarizer_new(model, place, error),
            });
            self.writers[which] = made.assume_init();
        }
    }

    /// Reads the options, which also tells the lists that C gets, and sets them, changed.
    pub(super) unsafe fn change_writer(&mut self, which: usize) {
        let writer = self.writers[which];
        let mut options = self.sized(size_of::<GenerationSettings>());
        let lists = [self.ids(), self.ids(), self.ids(), self.ids()];
        // SAFETY: see `call`; what was read is there until other options are set, and the lists until
        // they have been copied.
        unsafe {
            let at = (&raw mut *options).cast::<GenerationSettings>();
            if !self.judge(|_, error| rillm_writer_options(writer, at, error)) {
                return;
            }
            if (*at).size < size_of::<GenerationSettings>() {
                return;
            }
            let given = &mut *at;
            let words = (given.bad_words_ids, given.bad_words_ids_len);
            if words.1 > 0 {
                let words = std::slice::from_raw_parts(words.0, words.1);
                assert_eq!(words.last(), Some(&NO_TOKEN));
            }
            self.change_options(given, &lists);
            let given = match self.byte() {
                251 => null(),
                _ => at.cast_const(),
            };
            self.judge(|_, error| rillm_writer_set_options(writer, given, error));
            let (prefix, len) = (self.text(), self.byte());
            let data = self.list(&prefix).cast::<c_char>();
            let len = prefix.len().min(usize::from(len));
            self.judge(|_, error| rillm_writer_set_prefix(writer, data, len, error));
            if self.byte().is_multiple_of(16) {
                self.judge(|_, error| rillm_writer_cancel(writer, error));
            }
        }
    }

    fn change_options(&mut self, given: &mut GenerationSettings, lists: &[Vec<u32>; 4]) {
        let beams = self.index() % BEAMS;
        given.num_beams = match self.byte() {
            251.. => self.number(),
            _ => beams,
        };
        given.num_return_sequences = match self.byte() {
            251.. => self.number(),
            _ => self.index() % BEAMS,
        };
        // More is written by whoever waits for it.
        given.max_length = self.index() % TOKENS;
        given.max_new_tokens = 1 + self.index() % TOKENS;
        for count in [
            &mut given.min_length,
            &mut given.min_new_tokens,
            &mut given.no_repeat_ngram_size,
            &mut given.encoder_no_repeat_ngram_size,
            &mut given.top_k,
        ] {
            if self.byte().is_multiple_of(4) {
                *count = self.number();
            }
        }
        for float in [
            &mut given.length_penalty,
            &mut given.temperature,
            &mut given.top_p,
            &mut given.min_p,
            &mut given.typical_p,
            &mut given.repetition_penalty,
            &mut given.encoder_repetition_penalty,
        ] {
            if self.byte().is_multiple_of(4) {
                *float = self.float();
            }
        }
        let [suppressed, first, last, words] = lists;
        for (at, len, list) in [
            (
                &mut given.suppress_tokens,
                &mut given.suppress_tokens_len,
                suppressed,
            ),
            (
                &mut given.begin_suppress_tokens,
                &mut given.begin_suppress_tokens_len,
                first,
            ),
            (
                &mut given.forced_eos_token_ids,
                &mut given.forced_eos_token_ids_len,
                last,
            ),
            (
                &mut given.bad_words_ids,
                &mut given.bad_words_ids_len,
                words,
            ),
        ] {
            if self.byte().is_multiple_of(4) {
                (*at, *len) = (self.list(list), list.len());
            }
        }
        if self.byte().is_multiple_of(4) {
            (given.decoder_start_token_id, given.forced_bos_token_id) = (self.id(), self.id());
        }
        given.do_sample = u32::from(self.byte()) % 3;
        given.early_stopping = i32::from(self.byte()) % 4;
    }

    pub(super) unsafe fn write(&mut self, which: usize) {
        let (writer, source) = (self.writers[which], self.text());
        let data = self.list(&source).cast();
        let mut count = MaybeUninit::new(0usize);
        let place = self.place(&mut count);
        let far = self.number();
        let mut written = self.sized(size_of::<WrittenText>());
        let at = (&raw mut *written).cast::<WrittenText>();
        // SAFETY: see `call`; what a call has filled is there to be read.
        unsafe {
            let len = source.len();
            self.judge(|_, error| rillm_writer_write(writer, data, len, place, error));
            for index in (0..count.assume_init()).chain([far]) {
                if self.judge(|_, error| rillm_writer_text(writer, index, at, error))
                    && (*at).size >= size_of::<WrittenText>()
                {
                    let text = std::slice::from_raw_parts((*at).text.cast::<u8>(), (*at).len + 1);
                    let (nul, text) = text.split_last().expect("a NUL");
                    assert_eq!(*nul, 0);
                    std::str::from_utf8(text).expect("UTF-8");
                }
            }
        }
    }

    /// Of a file, perhaps cut short, of a snapshot, or of nothing.
    pub(super) unsafe fn plan(&mut self) {
        let file = self.files[self.index() % self.files.len()];
        let len = match self.byte() {
            byte @ 200.. => file.len() * usize::from(byte - 200) / 56,
            _ => file.len(),
        };
        let planned = self.folder.join("planned.gguf");
        std::fs::write(&planned, &file[..len]).expect("a file");
        let path = match self.byte() {
            220.. => self.path(),
            _ => CString::new(planned.to_str().expect("UTF-8")).ok(),
        };
        let path = path.as_ref().map_or(null(), |path| path.as_ptr());
        let bytes = self.number() as u64;
        // SAFETY: see `call`.
        unsafe {
            let options = self.options(rillm_session_options_init, |world, options| {
                options.context = world.number();
                options.sequences = world.number();
                options.batch = world.number();
                options.source = world.number();
                options.memory = world.number() as u64;
            });
            let options = (&raw const *options).cast::<SessionSettings>();
            let options = if self.byte() == 251 { null() } else { options };
            let mut memory = self.sized(size_of::<MemoryFigures>());
            let at = (&raw mut *memory).cast();
            self.judge(|_, error| rillm_plan(path, null(), options, at, error));
            let mut positions = MaybeUninit::<u64>::uninit();
            let place = self.place(&mut positions);
            self.judge(|_, error| rillm_plan_longest(path, null(), options, bytes, place, error));
        }
    }

    fn language(&mut self) -> Option<CString> {
        let name = match self.index() % 8 {
            at @ 0..6 => LANGUAGES[at].as_bytes().to_vec(),
            6 => vec![0xFF, b'a'],
            _ => return None,
        };
        CString::new(name).ok()
    }
}
