//! What the functions need of the stack of the thread that calls them: it may be a small one, for C
//! programs choose that themselves.

use std::ffi::{CString, c_char, c_int, c_void};
use std::fs;
use std::hint::black_box;
use std::mem::{MaybeUninit, size_of};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicU64;

use rillm::capi::*;
use rillm::internals::synthetic::RandomModel;
use rillm::quantize::{MIXES, QuantizeOptions, QuantizePlan, write};

use crate::folder::TempFolder;
use crate::root;

/// What the header says. Most of it is what attention works in.
const PROMISED: usize = 512 << 10;

/// Bytes that are looked at.
const DEPTH: usize = 1 << 20;

const PAINT: u8 = 0xA5;

/// Bytes of the stack that `call` touches.
fn touched(call: impl FnOnce() + Send) -> usize {
    #[inline(never)]
    fn paint() {
        let mut room = [const { MaybeUninit::<u8>::uninit() }; DEPTH];
        for byte in &mut room {
            // SAFETY: it is this array's.
            unsafe { byte.as_mut_ptr().write_volatile(PAINT) };
        }
        black_box(&mut room);
    }

    /// From `here` downward: read where it lies, since a frame of that size would be cleared page by
    /// page.
    #[inline(never)]
    fn unpainted(here: usize) -> usize {
        // What is painted begins a little below, and ends there.
        let lowest = here - DEPTH + 4096;
        // SAFETY: the stack's own bytes, which have been written.
        let painted = |at: &usize| unsafe { (*at as *const u8).read_volatile() == PAINT };
        here - (lowest..here).find(|at| !painted(at)).unwrap_or(here)
    }

    std::thread::scope(|scope| {
        let run = move || {
            let here = 0u8;
            let here = black_box(&here) as *const u8 as usize;
            paint();
            call();
            unpainted(here)
        };
        let thread = std::thread::Builder::new().stack_size(4 * DEPTH);
        let thread = thread.spawn_scoped(scope, run).expect("a thread");
        thread.join().expect("no panic")
    })
}

struct Found(Vec<(usize, String)>);

impl Found {
    fn note(&mut self, what: impl Into<String>, call: impl FnOnce() + Send) {
        self.0.push((touched(call), what.into()));
    }
}

/// Handles go to other threads.
#[derive(Clone, Copy)]
struct Handle<T>(*mut T);

// SAFETY: the library's handles may be used from any thread, one at a time.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Handle<T> {}

impl<T> Handle<T> {
    fn get(&self) -> *mut T {
        self.0
    }

    fn place(&mut self) -> *mut *mut T {
        &mut self.0
    }
}

unsafe extern "C" fn listen(_: *mut c_void, _: u32, _: *const c_char, _: usize) -> c_int {
    0
}

/// Every function that does more than read a number, with the model of a file or folder.
fn work(found: &mut Found, label: &str, path: &Path, isa: Option<&str>) {
    let path = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    let isa = isa.map(|isa| CString::new(isa).expect("no NUL"));
    let mut model = Handle(null_mut());
    let mut status = Status::Ok;
    // SAFETY: pointers lead to as much as is said; handles live until they are freed, below.
    unsafe {
        found.note(format!("{label}: open"), || {
            let options = ModelSettings {
                size: size_of::<ModelSettings>(),
                threads: 1,
                isa: isa.as_ref().map_or(null(), |isa| isa.as_ptr()),
                precision: null(),
            };
            status = rillm_model_open(path.as_ptr(), &options, model.place(), null_mut());
        });
        if status != Status::Ok {
            return;
        }
        let mut session = Handle(null_mut());
        found.note(format!("{label}: session"), || {
            let mut options = MaybeUninit::<SessionSettings>::uninit();
            rillm_session_options_init(options.as_mut_ptr(), size_of::<SessionSettings>());
            let options = options.as_mut_ptr();
            (*options).context = 128;
            rillm_session_new(model.get(), options, session.place(), null_mut());
        });
        let text = "Once upon a time, there was 1 \u{e9}t\u{e9}.";
        let mut tokens = vec![0u32; 200];
        found.note(format!("{label}: tokenize"), || {
            let (mut count, room) = (0, tokens.len());
            let at = tokens.as_mut_ptr();
            let input = text.as_ptr().cast();
            rillm_tokenize(
                model.get(),
                input,
                text.len(),
                3,
                at,
                room,
                &mut count,
                null_mut(),
            );
        });
        tokens.fill(1);
        let rows: Vec<InputRow> = (0..60)
            .map(|at| InputRow {
                position: at,
                token: 1,
                sequence: 0,
                token_type: 0,
                emit: 1,
            })
            .collect();
        // As few as are multiplied one by one, and as many as are packed.
        for count in [1, 3, 60] {
            found.note(format!("{label}: {count} rows"), || {
                rillm_session_encode_rows(session.get(), rows.as_ptr(), count, null_mut());
                rillm_session_reset(session.get(), 0, null_mut());
                rillm_session_feed_rows(session.get(), rows.as_ptr(), count, null_mut());
            });
        }
        found.note(format!("{label}: snapshot, restore"), || {
            let (mut bytes, mut data, mut len) = (null_mut(), null(), 0);
            rillm_session_snapshot(session.get(), 0, tokens.as_ptr(), 9, &mut bytes, null_mut());
            if rillm_bytes_data(bytes, &mut data, &mut len, null_mut()) == Status::Ok {
                let (tokens, count) = (null_mut(), null_mut());
                rillm_session_restore(session.get(), 0, data, len, tokens, count, null_mut());
            }
            rillm_bytes_free(bytes);
        });
        found.note(format!("{label}: generate"), || {
            let mut sampler = null_mut();
            let mut options = MaybeUninit::<SamplerSettings>::uninit();
            rillm_sampler_options_init(options.as_mut_ptr(), size_of::<SamplerSettings>());
            let options = options.as_mut_ptr();
            (*options).temperature = 0.8;
            (*options).typical_p = 0.9;
            (*options).top_n_sigma = 2.0;
            (*options).repeat_penalty = 1.1;
            rillm_sampler_new(model.get(), options, &mut sampler, null_mut());
            rillm_session_reset(session.get(), 0, null_mut());
            let (prompt, user) = (tokens.as_ptr(), null_mut());
            let told = Some(listen as _);
            let facts = null_mut();
            rillm_generate(
                session.get(),
                sampler,
                prompt,
                3,
                4,
                told,
                user,
                facts,
                null_mut(),
            );
            rillm_sampler_free(sampler);
        });
        found.note(format!("{label}: summarize by beams"), || {
            let mut writer = null_mut();
            let mut options = MaybeUninit::<GenerationSettings>::zeroed();
            let options = options.as_mut_ptr();
            (*options).size = size_of::<GenerationSettings>();
            rillm_summarizer_new(model.get(), &mut writer, null_mut());
            if rillm_writer_options(writer, options, null_mut()) == Status::Ok {
                (*options).num_beams = 4;
                (*options).max_new_tokens = 4;
                (*options).no_repeat_ngram_size = 2;
                rillm_writer_set_options(writer, options, null_mut());
                let (source, count) = (text.as_ptr().cast(), null_mut());
                rillm_writer_write(writer, source, text.len(), count, null_mut());
            }
            rillm_writer_free(writer);
        });
        found.note(format!("{label}: free"), || {
            rillm_session_free(session.get());
            rillm_model_free(model.get());
        });
    }
}

#[test]
fn no_call_needs_more_stack_than_the_header_says() {
    let folder = TempFolder::new("stack");
    let mut found = Found(Vec::new());
    let seeds = root().join("fuzz/seeds/model");
    for entry in fs::read_dir(seeds).expect("seeds") {
        let path = entry.expect("a seed").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        work(&mut found, &name, &path, None);
    }
    work(&mut found, "demo", &root().join("assets/demo.gguf"), None);
    // A product of each type, by each instruction set that this processor has.
    let shape: RandomModel = SHAPE.parse().expect("a shape");
    for mix in MIXES.iter().filter(|mix| mix.base.is_some()) {
        let draft = shape.draft(1).expect("a model");
        let options = QuantizeOptions::new(*mix).pure(true);
        let plan = QuantizePlan::new(&draft, &options).expect("a plan");
        let path = folder.join("mix.gguf");
        write(&draft, &plan, &path, 1, &AtomicU64::new(0)).expect("a file");
        for isa in ["scalar", "portable", "avx2", "avx512", "amx", "neon"] {
            work(
                &mut found,
                &format!("{} by {isa}", mix.name),
                &path,
                Some(isa),
            );
        }
    }
    hostile(&mut found, &folder);
    found.0.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    for (bytes, what) in &found.0[..found.0.len().min(12)] {
        println!("{bytes:7} {what}");
    }
    let (most, what) = &found.0[0];
    let header = fs::read_to_string(root().join("include/rillm.h")).expect("the header");
    let said = format!("needs {} KB of stack", PROMISED >> 10);
    assert!(header.contains(&said), "the header says otherwise");
    assert!(
        *most <= PROMISED,
        "{what} takes {most} bytes of its caller's stack"
    );
}

const SHAPE: &str = "tiny-llama";

/// Files that nest as deep as they are read.
fn hostile(found: &mut Found, folder: &Path) {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let sequences = |kind: &str, list: &str, depth: usize| {
        let open = format!("{{\"type\":\"{kind}\",\"{list}\":[");
        format!("{}{}", open.repeat(depth), "]}".repeat(depth))
    };
    let regex = |depth: usize| format!("{}a{}", "(?:".repeat(depth), ")".repeat(depth));
    let packed = fs::read(root().join("fuzz/seeds/folder/ok-llama")).expect("a seed");
    for depth in [10, 100, 1000] {
        let split = format!(
            "{{\"type\":\"Split\",\"pattern\":{{\"Regex\":\"{}\"}},\"behavior\":\"Isolated\"}}",
            regex(depth)
        );
        let tokenizer = |normalizer: &str, pre: &str, post: &str| {
            format!(
                "{{\"normalizer\":{normalizer},\"pre_tokenizer\":{pre},\"decoder\":{post},\
                 \"model\":{{\"type\":\"BPE\",\"vocab\":{{\"a\":0}},\"merges\":[]}}}}"
            )
        };
        let nested = sequences("Sequence", "normalizers", depth);
        let splits = sequences("Sequence", "pretokenizers", depth);
        let decoders = sequences("Sequence", "decoders", depth);
        let files = [
            ("config.json", deep(depth)),
            ("config.json", format!("{{\"a\":{}}}", objects(depth))),
            ("tokenizer.json", deep(depth)),
            ("tokenizer.json", tokenizer(&nested, "null", "null")),
            ("tokenizer.json", tokenizer("null", &splits, "null")),
            ("tokenizer.json", tokenizer("null", "null", &decoders)),
            ("tokenizer.json", tokenizer("null", &split, "null")),
            ("tokenizer_config.json", objects(depth)),
            ("generation_config.json", objects(depth)),
            ("special_tokens_map.json", objects(depth)),
            ("model.safetensors.index.json", objects(depth)),
        ];
        for (name, text) in files {
            let path = folder.join("folder");
            // It may not be there yet.
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).expect("a folder");
            for (name, bytes) in unpacked(&packed) {
                fs::write(path.join(name), bytes).expect("a file");
            }
            fs::write(path.join(name), &text).expect("a file");
            work(found, &format!("{name} of depth {depth}"), &path, None);
        }
    }
}

/// The files of a seed of folders.
fn unpacked(bytes: &[u8]) -> Vec<(&str, &[u8])> {
    let mark = b"\n=== ";
    let starts = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(mark));
    let starts: Vec<usize> = starts.chain([bytes.len()]).collect();
    let file = |pair: &[usize]| -> Option<(&str, &[u8])> {
        let file = bytes.get(pair[0] + mark.len()..pair[1])?;
        let end = file.iter().position(|&byte| byte == b'\n')?;
        Some((std::str::from_utf8(&file[..end]).ok()?, &file[end + 1..]))
    };
    starts.windows(2).filter_map(file).collect()
}
