//! Writers against what transformers makes of the same texts (`tools/generation/translation.py`).

use std::ffi::{CStr, CString, c_char};
use std::mem::{MaybeUninit, size_of};
use std::path::Path;
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

use rillm::capi::*;
use serde_json::Value;

use crate::support::translation::{TEXTS, cases, folder};
use crate::{built, compiler, libraries, root, succeeded};

/// A translator, and its model.
struct Translator(*mut ModelHandle, *mut WriterHandle);

impl Drop for Translator {
    fn drop(&mut self) {
        // SAFETY: handles that were made, freed once.
        unsafe {
            rillm_writer_free(self.1);
            rillm_model_free(self.0);
        }
    }
}

fn opened(path: &Path) -> *mut ModelHandle {
    let path = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    let mut model = null_mut();
    // SAFETY: valid pointers to places of their types.
    let status = unsafe { rillm_model_open(path.as_ptr(), null(), &raw mut model, null_mut()) };
    assert_eq!(status, Status::Ok);
    model
}

impl Translator {
    fn new(case: &Value, path: &Path) -> Translator {
        let mut made = Translator(opened(path), null_mut());
        let language = |key: &str| {
            case[key]
                .as_str()
                .map(|code| CString::new(code).expect("a code"))
        };
        let [from, to] = ["from", "to"].map(language);
        let at = |code: &Option<CString>| code.as_ref().map_or(null(), |code| code.as_ptr());
        // SAFETY: as above.
        let status = unsafe {
            rillm_translator_new(made.0, at(&from), at(&to), &raw mut made.1, null_mut())
        };
        assert_eq!(status, Status::Ok);
        made
    }

    /// How it writes, with copies of the lists, which go when it is told otherwise.
    fn options(&self) -> (GenerationSettings, [Vec<u32>; 4]) {
        let mut options = MaybeUninit::<GenerationSettings>::zeroed();
        // SAFETY: a place that says its size, and lists as long as they say.
        unsafe {
            (*options.as_mut_ptr()).size = size_of::<GenerationSettings>();
            let status = rillm_writer_options(self.1, options.as_mut_ptr(), null_mut());
            assert_eq!(status, Status::Ok);
            let mut options = options.assume_init();
            let lists = [
                (&mut options.suppress_tokens, options.suppress_tokens_len),
                (
                    &mut options.begin_suppress_tokens,
                    options.begin_suppress_tokens_len,
                ),
                (
                    &mut options.forced_eos_token_ids,
                    options.forced_eos_token_ids_len,
                ),
                (&mut options.bad_words_ids, options.bad_words_ids_len),
            ];
            let lists = lists.map(|(at, len)| {
                let copy = std::slice::from_raw_parts(*at, len).to_vec();
                *at = copy.as_ptr();
                copy
            });
            (options, lists)
        }
    }

    fn set(&self, options: &GenerationSettings) -> Status {
        // SAFETY: options with their size; lists are as long as they say.
        unsafe { rillm_writer_set_options(self.1, options, null_mut()) }
    }

    /// The texts for a source, with their scores.
    fn write(&self, source: &str) -> Result<Vec<(String, f32)>, String> {
        let mut error = MaybeUninit::<CallError>::uninit();
        let (mut count, at) = (7, source.as_ptr().cast::<c_char>());
        // SAFETY: as above; after an error its text is there.
        unsafe {
            let error = error.as_mut_ptr();
            if rillm_writer_write(self.1, at, source.len(), &raw mut count, error) != Status::Ok {
                let said = CStr::from_ptr((&raw const (*error).text).cast());
                return Err(said.to_string_lossy().into_owned());
            }
        }
        Ok((0..count)
            .map(|index| self.text(index).expect("a text"))
            .collect())
    }

    fn text(&self, index: usize) -> Result<(String, f32), Status> {
        let mut written = MaybeUninit::<WrittenText>::zeroed();
        // SAFETY: a place that says its size; the text ends with its NUL.
        unsafe {
            let place = written.as_mut_ptr();
            (*place).size = size_of::<WrittenText>();
            match rillm_writer_text(self.1, index, place, null_mut()) {
                Status::Ok => {
                    let text = CStr::from_ptr((*place).text).to_str().expect("UTF-8");
                    assert_eq!(text.len(), (*place).len);
                    assert!((*place).tokens > 0 && (*place).source_tokens > 0);
                    Ok((text.to_owned(), (*place).score))
                }
                status => Err(status),
            }
        }
    }

    /// The token of a word.
    fn token(&self, word: &str) -> u32 {
        let (mut tokens, mut count) = ([0; 4], 0);
        // SAFETY: room for as many tokens as is said.
        let status = unsafe {
            let (at, room) = (tokens.as_mut_ptr(), tokens.len());
            let word_at = word.as_ptr().cast();
            rillm_tokenize(
                self.0,
                word_at,
                word.len(),
                0,
                at,
                room,
                &raw mut count,
                null_mut(),
            )
        };
        assert_eq!((status, count), (Status::Ok, 1), "{word}");
        tokens[0]
    }
}

#[test]
fn translations_are_those_of_the_reference() {
    for case in cases() {
        let folder = folder(&case);
        let translator = Translator::new(&case, &folder);
        // What was not changed writes the same.
        let (options, _lists) = translator.options();
        for _ in 0..2 {
            for (text, expected) in TEXTS.iter().zip(case["written"].as_array().expect("texts")) {
                let written = translator.write(text).expect("texts");
                assert_eq!(written.len(), 1);
                assert_eq!(written[0].0, expected.as_str().expect("a text"), "{case}");
                assert_eq!(written[0].1 != 0.0, options.num_beams > 1);
            }
            assert_eq!(translator.set(&options), Status::Ok);
        }
    }
}

#[test]
fn options_are_heard() {
    let case = &cases()[0];
    let folder = folder(case);
    let translator = Translator::new(case, &folder);
    let (usual, _lists) = translator.options();
    let plain = |options: &GenerationSettings| {
        assert_eq!(translator.set(options), Status::Ok);
        translator.write(TEXTS[0]).expect("texts")
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let before = words(&plain(&usual)[0].0);
    let (first, last) = (&before[0], before.last().expect("words"));

    let all = plain(&GenerationSettings {
        num_return_sequences: usual.num_beams,
        ..usual
    });
    assert!(usual.num_beams > 1 && all.len() == usual.num_beams);
    assert!(all.is_sorted_by(|a, b| a.1 >= b.1) && all[0].0 != all[1].0);
    assert_eq!(words(&all[0].0), before);

    let suppressed = [translator.token(last)];
    let without = |options: GenerationSettings| words(&plain(&options)[0].0);
    let none = without(GenerationSettings {
        suppress_tokens: suppressed.as_ptr(),
        suppress_tokens_len: 1,
        ..usual
    });
    assert!(!none.contains(last), "{none:?}");
    let begun = [translator.token(first)];
    let later = without(GenerationSettings {
        begin_suppress_tokens: begun.as_ptr(),
        begin_suppress_tokens_len: 1,
        forced_bos_token_id: NO_TOKEN,
        ..usual
    });
    assert_ne!(&later[0], first);
    // A pair that is not written, and a token alone.
    let bad = [suppressed[0], suppressed[0], NO_TOKEN, begun[0], NO_TOKEN];
    let good = without(GenerationSettings {
        bad_words_ids: bad.as_ptr(),
        bad_words_ids_len: bad.len(),
        forced_bos_token_id: NO_TOKEN,
        ..usual
    });
    assert!(
        !good.contains(first)
            && good
                .windows(2)
                .all(|pair| &pair[0] != last || &pair[1] != last)
    );
    let forced = translator.token("w40");
    let begins = without(GenerationSettings {
        forced_bos_token_id: forced,
        max_new_tokens: 3,
        forced_eos_token_ids_len: 0,
        ..usual
    });
    assert_eq!((begins[0].as_str(), begins.len()), ("w40", 3));

    for wrong in [
        GenerationSettings {
            do_sample: 2,
            ..usual
        },
        GenerationSettings {
            early_stopping: 3,
            ..usual
        },
        GenerationSettings {
            bad_words_ids: bad.as_ptr(),
            bad_words_ids_len: 1,
            ..usual
        },
        GenerationSettings {
            suppress_tokens: null(),
            suppress_tokens_len: 1,
            ..usual
        },
        GenerationSettings { size: 8, ..usual },
    ] {
        assert_eq!(translator.set(&wrong), Status::InvalidArgument, "{wrong:?}");
    }
    for (wrong, what) in [
        (
            GenerationSettings {
                num_beams: 0,
                ..usual
            },
            "num_",
        ),
        (
            GenerationSettings {
                num_return_sequences: 9,
                ..usual
            },
            "num_return_sequences is 9",
        ),
        (
            GenerationSettings {
                forced_bos_token_id: 4000,
                ..usual
            },
            "4000",
        ),
    ] {
        assert_eq!(translator.set(&wrong), Status::Ok);
        let said = translator.write(TEXTS[0]).expect_err("an error");
        assert!(said.contains(what), "{said}");
        assert_eq!(translator.text(0), Err(Status::InvalidArgument));
    }
}

/// Ended before it begins or while it writes, and written as ever afterwards.
#[test]
fn a_writer_can_be_cancelled() {
    let case = &cases()[0];
    let folder = folder(case);
    let translator = Translator::new(case, &folder);
    let whole = translator.write(TEXTS[0]).expect("texts");
    // SAFETY: a handle that was made; null is refused.
    let cancel = |writer| unsafe { rillm_writer_cancel(writer, null_mut()) };
    assert_eq!(cancel(null()), Status::InvalidArgument);
    assert_eq!(cancel(translator.1), Status::Ok);
    assert_eq!(translator.write(TEXTS[0]), Err("aborted".to_owned()));
    assert_eq!(translator.text(0), Err(Status::InvalidArgument));
    assert_eq!(translator.write(TEXTS[0]), Ok(whole.clone()));

    let (usual, _lists) = translator.options();
    let endless = GenerationSettings {
        min_new_tokens: 1 << 20,
        max_new_tokens: 1 << 20,
        forced_eos_token_ids_len: 0,
        ..usual
    };
    assert_eq!(translator.set(&endless), Status::Ok);
    let (address, ended) = (translator.1 as usize, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(cancel(address as *const WriterHandle), Status::Ok);
                std::thread::yield_now();
            }
        });
        assert_eq!(translator.write(TEXTS[0]), Err("aborted".to_owned()));
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(translator.set(&usual), Status::Ok);
    // A cancellation that came too late for one call ended the next.
    let next = translator.write(TEXTS[0]);
    let next = next.or_else(|_| translator.write(TEXTS[0]));
    assert_eq!(next, Ok(whole));
}

#[test]
fn what_does_not_write_texts_for_texts_is_refused() {
    let model = opened(&root().join("assets/demo.gguf"));
    let mut writer = null_mut();
    // SAFETY: valid pointers, and a handle that was just made.
    unsafe {
        let summarizer = rillm_summarizer_new(model, &raw mut writer, null_mut());
        assert_eq!((summarizer, writer), (Status::Unsupported, null_mut()));
        let none = rillm_writer_write(null(), null(), 0, null_mut(), null_mut());
        assert_eq!(none, Status::InvalidArgument);
        rillm_writer_free(null_mut());
        rillm_model_free(model);
    }
}

#[test]
fn the_example_translates_from_both_libraries() {
    if compiler("cc").is_none() || cfg!(not(target_os = "linux")) {
        return;
    }
    let case = &cases()[0];
    let folder = folder(case);
    let code = |key: &str| case[key].as_str().unwrap_or_default();
    for (name, program) in built("translate") {
        let run = |more: &[&str]| {
            let mut command = Command::new(&program);
            command.env("LD_LIBRARY_PATH", libraries()).arg(&*folder);
            command
                .args([code("from"), code("to"), TEXTS[0]])
                .args(more);
            command.output().expect("the example")
        };
        let output = run(&[]);
        succeeded(name, &output);
        let text = case["written"][0].as_str().expect("a text");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim_end(),
            text,
            "{name}"
        );
        let output = run(&["3"]);
        succeeded(name, &output);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).lines().count(),
            3,
            "{name}"
        );
        let output = run(&["0"]);
        assert!(!output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    }
}
