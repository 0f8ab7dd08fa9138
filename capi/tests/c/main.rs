//! The header and the libraries as a C compiler sees them: without one these tests say so. And the
//! functions themselves: any calls, and what stack they need.

#[path = "../../../tests/support/c_calls.rs"]
mod c_calls;
mod calls;
mod generate;
mod stack;
#[path = "../../../tests/support/mod.rs"]
mod support;
mod writer;

use std::ffi::CStr;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rillm::capi::*;
use support::folder;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn compiler(name: &str) -> Option<Command> {
    let found = Command::new(name).arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(Command::new(name));
    }
    println!("skipped: there is no {name}");
    None
}

fn succeeded(what: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
}

/// Where cargo puts the libraries. It does not make them for tests, so it is asked to; with the
/// same packages and features as `cargo test --workspace`, nothing is compiled but they.
fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let program = std::env::current_exe().expect("a path");
        let folder = program.parent().and_then(Path::parent).expect("a folder");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--workspace", "--lib", "--test", "c"]);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        cargo
            .arg("--target-dir")
            .arg(folder.parent().expect("target"));
        let built = cargo.current_dir(root()).output().expect("cargo");
        succeeded("cargo build", &built);
        folder.to_path_buf()
    })
}

/// Compiles a text against the header.
fn compiles(name: &str, flags: &[&str], text: &str) {
    let Some(mut command) = compiler(if name.ends_with(".cpp") { "c++" } else { "cc" }) else {
        return;
    };
    let file = scratch(name);
    std::fs::write(&file, text).expect("a file");
    command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]);
    command.args(flags).arg("-I").arg(root().join("include"));
    succeeded(name, &command.arg(&file).output().expect("a compiler"));
}

#[test]
fn the_header_is_plain_c_and_c_plus_plus() {
    let text = "#include \"rillm.h\"\nint main(void) { return rillm_abi() != RILLM_ABI; }\n";
    compiles("plain.c", &["-std=c99"], text);
    compiles("plain.cpp", &["-std=c++11"], text);
}

macro_rules! layout {
    ($($c:literal $rust:ident { $($field:ident)* })*) => {{
        let mut lines = String::from("#include \"rillm.h\"\n");
        $(
            let size = size_of::<$rust>();
            lines += &format!("_Static_assert(sizeof({}) == {size}, \"{}\");\n", $c, $c);
            $(
                let at = offset_of!($rust, $field);
                let field = stringify!($field);
                lines += &format!("_Static_assert(offsetof({}, {field}) == {at}, \"{field}\");\n", $c);
            )*
        )*
        lines
    }};
}

#[test]
fn structs_lie_as_the_header_says() {
    let text = layout! {
        "rillm_error" CallError { status text }
        "rillm_model_options" ModelSettings { size threads isa precision }
        "rillm_model_facts" ModelFacts {
            size vocabulary context positions embedding parameters weights threads decodes encodes
        }
        "rillm_memory" MemoryFigures {
            size weights arena state state_fixed state_per_1k presumed
        }
        "rillm_vocabulary_facts" VocabularyFacts { size tokens bos eos }
        "rillm_token_facts" TokenFacts { size bytes len is_control is_end }
        "rillm_session_options" SessionSettings {
            size context sequences batch source checkpoints kv_type memory
        }
        "rillm_row" InputRow { position token sequence token_type emit }
        "rillm_output" OutputRow { name values count row of_sequence }
        "rillm_sampler_options" SamplerSettings {
            size seed min_keep top_k penalty_last_n temperature dynamic_temperature
            dynamic_temperature_exponent top_p min_p typical_p top_n_sigma xtc_probability
            xtc_threshold repeat_penalty presence_penalty frequency_penalty mirostat_tau
            mirostat_eta
        }
        "rillm_generation" GenerationFacts {
            size prompt tokens prompt_seconds seconds stop reserved
        }
        "rillm_generation_options" GenerationSettings {
            size seed num_beams num_return_sequences max_length max_new_tokens min_length
            min_new_tokens no_repeat_ngram_size encoder_no_repeat_ngram_size top_k suppress_tokens
            suppress_tokens_len begin_suppress_tokens begin_suppress_tokens_len
            forced_eos_token_ids forced_eos_token_ids_len bad_words_ids bad_words_ids_len
            length_penalty temperature top_p min_p typical_p repetition_penalty
            encoder_repetition_penalty decoder_start_token_id forced_bos_token_id do_sample
            early_stopping
        }
        "rillm_written" WrittenText { size text len tokens source_tokens score truncated }
    };
    compiles("layout.c", &["-std=c11"], &text);
}

/// Name and parameters of every function in these texts, `begin` before the name.
fn functions(text: &str, begin: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(begin) {
        let rest = &text[at + begin.len()..];
        let Some((name, rest)) = rest.split_once('(') else {
            continue;
        };
        let parameters = rest.split_once(')').expect("a closing bracket").0;
        let word = |c: char| !c.is_alphanumeric() && c != '_';
        let names = parameters
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty());
        let names = names
            .filter(|one| *one != "void")
            .map(|one| match one.split_once(':') {
                Some((name, _)) => name.to_string(),
                None => one.rsplit(word).next().unwrap_or_default().to_string(),
            });
        found.push((format!("rillm_{name}"), names.collect()));
    }
    found.sort();
    found
}

#[test]
fn the_header_declares_what_the_library_has() {
    let header = std::fs::read_to_string(root().join("include/rillm.h")).expect("the header");
    let code: Vec<&str> = header
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let mut declared = Vec::new();
    for part in code.join("\n").split(';') {
        // A declaration is one that ends in its parameters.
        if part.trim_end().ends_with(')') && !part.contains("typedef") {
            let open = part.find('(').expect("parameters");
            let name = part[..open].rfind("rillm_").expect("a name");
            declared.extend(functions(&part[name..], "rillm_").into_iter().take(1));
        }
    }
    declared.sort();
    let mut defined = Vec::new();
    for entry in std::fs::read_dir(root().join("src/capi")).expect("sources") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("a source");
        defined.extend(functions(&text, "extern \"C\" fn rillm_"));
        // What C programmers read is what the sources say.
        let mut documented = false;
        for line in text.lines().rev() {
            documented = match line.trim() {
                line if line.starts_with("pub unsafe extern \"C\"") => true,
                line if line.starts_with("///") || line.starts_with("#[unsafe") => documented,
                _ => false,
            };
            if let Some(said) = line.strip_prefix("///").filter(|_| documented) {
                assert!(
                    header.contains(said.trim_end()),
                    "the header is old: {said}"
                );
            }
        }
    }
    defined.sort();
    assert!(defined.len() > 40);
    assert_eq!(declared, defined, "run tools/capi/header.sh");
}

#[test]
fn the_example_tells_the_story_from_both_libraries() {
    if compiler("cc").is_none() || cfg!(not(target_os = "linux")) {
        return;
    }
    let golden = std::fs::read(root().join("assets/demo-greedy.json")).expect("the golden");
    let golden: serde_json::Value = serde_json::from_slice(&golden).expect("JSON");
    let prompt = golden["prompt"].as_str().expect("a prompt");
    let count = golden["greedy_ids"]
        .as_array()
        .expect("ids")
        .len()
        .to_string();
    for (name, program) in built("generate") {
        let run = |model: PathBuf| {
            let mut command = Command::new(&program);
            command.env("LD_LIBRARY_PATH", libraries());
            command
                .arg(model)
                .args([prompt, &count])
                .output()
                .expect("the example")
        };
        let output = run(root().join("assets/demo.gguf"));
        succeeded(name, &output);
        let text = golden["greedy_text"].as_str().expect("a text");
        assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{name}");
        let output = run(root().join("README.md"));
        assert!(!output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    }
}

/// An example's programs, by what they are linked with.
fn built(example: &str) -> [(&'static str, PathBuf); 2] {
    [("static", "librillm.a"), ("shared", "librillm.so")].map(|(name, library)| {
        let program = scratch(&format!("{example}-{name}"));
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"]);
        cc.arg(root().join("include"))
            .arg(root().join("examples/c").join(format!("{example}.c")));
        cc.arg(libraries().join(library))
            .args(["-lpthread", "-ldl", "-lm", "-o"]);
        succeeded(name, &cc.arg(&program).output().expect("cc"));
        (name, program)
    })
}

/// Devices, links and folders stay what they are, whatever is asked for.
#[cfg(unix)]
#[test]
fn a_snapshot_replaces_nothing_but_a_file() {
    use std::ffi::CString;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::ptr::{null, null_mut};
    let folder = scratch("places");
    // What an earlier run has left.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).expect("a folder");
    let text = |path: &Path| CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    let demo = text(&root().join("assets/demo.gguf"));
    let (mut model, mut session) = (null_mut(), null_mut());
    let tokens = [1_u32, 5, 7];
    // SAFETY: valid pointers to places of their types, and handles that were just made.
    unsafe {
        let opened = rillm_model_open(demo.as_ptr(), null(), &raw mut model, null_mut());
        assert_eq!(opened, Status::Ok);
        let made = rillm_session_new(model, null(), &raw mut session, null_mut());
        assert_eq!(made, Status::Ok);
        let fed = rillm_session_feed(session, 0, tokens.as_ptr(), null(), 3, null_mut());
        assert_eq!(fed, Status::Ok);
    }
    let write = |path: &Path| {
        let mut error = MaybeUninit::<CallError>::uninit();
        let name = text(path);
        // SAFETY: as above; an error is written with its text and a NUL.
        unsafe {
            let (tokens, error) = (tokens.as_ptr(), error.as_mut_ptr());
            let status = rillm_session_snapshot_file(session, 0, tokens, 3, name.as_ptr(), error);
            let said = CStr::from_ptr((&raw const (*error).text).cast());
            (status, said.to_string_lossy().into_owned())
        }
    };
    let read = |path: &Path| {
        let name = text(path);
        // SAFETY: as above; null asks for nothing.
        unsafe {
            rillm_session_restore_file(
                session,
                0,
                name.as_ptr(),
                null_mut(),
                null_mut(),
                null_mut(),
            )
        }
    };
    let (file, link) = (folder.join("file"), folder.join("link"));
    symlink("file", &link).expect("a link");
    for _ in 0..2 {
        assert_eq!(write(&link), (Status::Ok, String::new()));
        assert!(
            std::fs::symlink_metadata(&link)
                .expect("a link")
                .is_symlink()
        );
        assert!(std::fs::symlink_metadata(&file).expect("a file").is_file());
        assert_eq!(read(&link), Status::Ok);
    }
    let full = Path::new("/dev/full");
    if full.exists() {
        let (status, said) = write(full);
        assert_eq!(status, Status::Io);
        assert!(said.starts_with("/dev/full: "), "{said}");
        let facts = std::fs::metadata(full).expect("a device");
        assert!(facts.file_type().is_char_device());
    }
    let (status, said) = write(&folder);
    assert_eq!(status, Status::Io);
    assert!(said.contains("is a folder"), "{said}");
    assert!(folder.is_dir());
    // SAFETY: handles that were made above, freed once.
    unsafe {
        rillm_session_free(session);
        rillm_model_free(model);
    }
    std::fs::remove_dir_all(&folder).expect("a folder");
}

/// From its header alone a model is planned as if it were open; a program that knows less of the figures
/// gets what it knows.
#[test]
fn a_plan_needs_no_weights() {
    use std::ffi::CString;
    use std::ptr::{null, null_mut};
    let whole = root().join("assets/demo.gguf");
    let cut = scratch("header.gguf");
    let bytes = std::fs::read(&whole).expect("the demo");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).expect("a file");
    let text = |path: &Path| CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
    let blank = |size: usize| MemoryFigures {
        size,
        weights: 7,
        arena: 7,
        state: 7,
        state_fixed: 7,
        state_per_1k: 7,
        presumed: 7,
        vectors: 7,
    };
    let (mut open, mut planned) = (
        blank(size_of::<MemoryFigures>()),
        blank(size_of::<MemoryFigures>()),
    );
    let mut model = null_mut();
    // SAFETY: valid pointers to places of their types, and a handle that was just made.
    unsafe {
        let name = text(&whole);
        let status = rillm_model_open(name.as_ptr(), null(), &raw mut model, null_mut());
        assert_eq!(status, Status::Ok);
        let status = rillm_memory_plan(model, null(), &raw mut open, null_mut());
        assert_eq!(status, Status::Ok);
        let name = text(&cut);
        let status = rillm_plan(name.as_ptr(), null(), null(), &raw mut planned, null_mut());
        assert_eq!(status, Status::Ok);
        rillm_model_free(model);
        let earlier = offset_of!(MemoryFigures, presumed);
        let mut older = blank(earlier);
        let status = rillm_plan(name.as_ptr(), null(), null(), &raw mut older, null_mut());
        assert_eq!((status, older.presumed), (Status::Ok, 7));
        assert_eq!(older.weights, planned.weights);
        let all = planned.weights + planned.vectors + planned.arena + planned.state;
        let library = rillm::Blueprint::open(&cut, Default::default()).expect("a plan");
        for bytes in [1, all, u64::MAX] {
            let mut positions = 7;
            let found = &raw mut positions;
            let status =
                rillm_plan_longest(name.as_ptr(), null(), null(), bytes, found, null_mut());
            assert_eq!(status, Status::Ok);
            let expected = match library.longest_context(Default::default(), bytes) {
                Ok(rillm::Fitting::Positions(fit) | rillm::Fitting::Trained(fit)) => fit as u64,
                Ok(rillm::Fitting::Nothing) => 0,
                other => panic!("{other:?}"),
            };
            assert_eq!((positions, expected == 0), (expected, bytes == 1));
        }
        let status = rillm_plan(null(), null(), null(), &raw mut older, null_mut());
        assert_eq!(status, Status::InvalidArgument);
    }
    let facts = |of: &MemoryFigures| (of.arena, of.state, of.state_fixed, of.state_per_1k);
    assert_eq!(facts(&planned), facts(&open));
    assert_eq!((planned.weights, planned.presumed), (open.weights, 0));
    assert_eq!(planned.vectors, open.vectors);
}

fn called(body: impl FnOnce() -> Result<(), Failure>) -> (Status, String) {
    let mut error = MaybeUninit::<CallError>::uninit();
    // SAFETY: there is room, and afterwards a status and a text with its NUL.
    unsafe {
        let status = enter(error.as_mut_ptr(), body);
        let error = error.as_ptr();
        assert_eq!((*error).status, status);
        let text = CStr::from_ptr((&raw const (*error).text).cast());
        (status, text.to_str().expect("UTF-8").to_string())
    }
}

#[test]
fn a_panic_becomes_a_status() {
    let (status, text) = called(|| panic!("as a test wants it"));
    assert_eq!(status, Status::Panicked);
    assert_eq!(text, "internal error: the library panicked");
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let long = "ä".repeat(ERROR_TEXT_LEN);
    let (status, text) = called(|| Err(Failure::new(Status::Io, &long)));
    assert_eq!(status, Status::Io);
    assert!(long.starts_with(&text) && text.len() == ERROR_TEXT_LEN - 2);
    assert_eq!(called(|| Ok(())), (Status::Ok, String::new()));
}
