//! A sequence written out and brought back continues as if it had never left.

use std::fs;
use std::path::Path;

use rillm::SnapshotError;
use rillm::{Model, ModelOptions, RunError, Session, SessionOptions};

use crate::support::compare::{REFERENCE_TOLERANCE, compare};
use crate::support::evaluate::open_bytes;
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::restore::fnv;
use crate::support::to_gguf::Gguf;

use crate::support::setup::{DECODERS, Opened, encode, feed, open, open_with, same_bits, small};

fn saved(session: &Session, sequence: u32, tokens: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = session.snapshot(sequence, tokens, &mut bytes);
    written.expect("a snapshot");
    bytes
}

fn fed(opened: &Opened, tokens: &[u32]) -> Session {
    let mut session = opened.session(small(2, tokens.len() + 10));
    feed(&mut session, &opened.rows(tokens, 0, 1)).expect("rows before");
    session
}

#[test]
fn another_session_continues_as_a_replay() {
    for name in DECODERS {
        let opened = open(name);
        for len in [1, 21, 63, 64, 65, 130] {
            let prefix = opened.tokens(0, len);
            let bytes = saved(&fed(&opened, &prefix), 1, &prefix);
            // Another size, another number of sequences, and pages that others hold.
            let mut session = opened.session(small(3, 150));
            let other = opened.tokens(5, 70);
            feed(&mut session, &opened.rows(&other, 0, 0)).expect("another sequence");
            session.fork(0, 2).expect("a fork");
            let tokens = session.restore(2, &mut &bytes[..]).expect("a snapshot");
            assert_eq!(tokens, prefix, "{name}");
            assert_eq!(session.len(2).unwrap(), len, "{name}");
            let more = opened.tokens(11, 9);
            for (sequence, before) in [(2, &prefix), (0, &other)] {
                let rows = opened.rows(&more, before.len(), sequence);
                let outputs = feed(&mut session, &rows).expect("more");
                let replay = opened.replay(&[&before[..], &more].concat());
                let label = format!("{name}: {len}, sequence {sequence}");
                same_bits(&label, &outputs, &replay[before.len()..]);
            }
            // What was brought back is saved as the same bytes.
            assert_eq!(session.restore(1, &mut &bytes[..]).unwrap(), prefix);
            assert_eq!(saved(&session, 1, &prefix), bytes, "{name}: {len}");
        }
    }
}

#[test]
fn a_decoder_s_source_comes_along() {
    let opened = open("t5");
    let source = opened.tokens(2, 17);
    let prefix = opened.tokens(0, 5);
    let more = opened.tokens(9, 4);
    let mut session = opened.session(small(2, 20));
    encode(&mut session, &opened.rows(&source, 0, 1)).expect("a source");
    feed(&mut session, &opened.rows(&prefix, 0, 1)).expect("rows before");
    let bytes = saved(&session, 1, &[]);
    let expected = feed(&mut session, &opened.rows(&more, 5, 1)).expect("more");
    let mut options = small(1, 30);
    options.source = 40;
    let mut session = opened.session(options);
    session.restore(0, &mut &bytes[..]).expect("a snapshot");
    let outputs = feed(&mut session, &opened.rows(&more, 5, 0)).expect("more");
    same_bits("t5", &outputs, &expected);

    options.source = 16;
    let mut session = opened.session(options);
    let error = session.restore(0, &mut &bytes[..]).expect_err("too long");
    assert!(error.to_string().contains("exceeds the 16 rows"), "{error}");
}

/// From the scalar kernels to the machine's best: what was saved is the same, what comes after
/// is what the new table computes.
#[test]
fn instruction_sets_share_snapshots() {
    use rillm::Isa;
    for name in DECODERS {
        let scalar = open_with(name, Some(Isa::Scalar), 1);
        let more = scalar.tokens(3, 9);
        let mut session = fed(&scalar, &scalar.tokens(0, 40));
        let bytes = saved(&session, 1, &[]);
        let expected = feed(&mut session, &scalar.rows(&more, 40, 1)).expect("more");
        for isa in Isa::available() {
            let opened = open_with(name, Some(isa), 2);
            let mut session = opened.session(small(1, 50));
            session.restore(0, &mut &bytes[..]).expect("a snapshot");
            assert_eq!(saved(&session, 0, &[]), bytes, "{name}, {isa}");
            let found = feed(&mut session, &opened.rows(&more, 40, 0)).expect("more");
            let error = compare(&found.concat(), &expected.concat(), None);
            assert!(error <= REFERENCE_TOLERANCE, "{name}, {isa}: {error}");
        }
    }
}

/// The same weights under another hyperparameter are another model.
#[test]
fn hyperparameters_tell_models_apart() {
    let opened = open("mamba");
    let bytes = saved(&fed(&opened, &opened.tokens(0, 5)), 1, &[]);
    let restored = |key: &str, value: serde_json::Value| {
        let mut config = opened.fixture.config();
        config[key] = value;
        let folder = opened.fixture.folder_with(&config, Vec::new());
        let model = Model::open(&folder, Default::default()).expect("a model");
        let mut session = Session::new(&model, small(1, 50)).expect("a session");
        session.restore(0, &mut &bytes[..]).map(|_| ())
    };
    assert!(restored("transformers_version", "0.0".into()).is_ok());
    // Nor does it matter how tokens are chosen, or what a library is told about its work.
    assert!(restored("eos_token_id", vec![3, 5].into()).is_ok());
    assert!(restored("torch_dtype", "bfloat16".into()).is_ok());
    assert!(restored("dtype", "bfloat16".into()).is_ok());
    assert!(restored("use_cache", true.into()).is_ok());
    let error = restored("layer_norm_epsilon", 0.5.into()).expect_err("another epsilon");
    assert!(error.to_string().contains("another model"), "{error}");
}

#[test]
fn what_is_no_whole_snapshot_of_this_model_is_refused() {
    let families = [
        "llama_mqa",
        "mamba",
        "linear_transformer",
        "transfo_xl",
        "compressive_transformer_layers",
    ];
    for name in families {
        let opened = open(name);
        let prefix = opened.tokens(0, 3);
        let bytes = saved(&fed(&opened, &prefix), 1, &prefix);
        let mut session = opened.session(small(1, 8));
        // All of the head of a long one, and a part of its floats.
        let stride = 1 + bytes.len() / 2048;
        for end in (0..bytes.len()).step_by(stride) {
            let error = session.restore(0, &mut &bytes[..end]);
            let error = error.expect_err("cut off").to_string();
            assert_eq!(error, "snapshot ends early", "{name}: {end}");
            assert_eq!(session.len(0).unwrap(), 0, "{name}: {end}");
        }
        for at in (0..bytes.len()).step_by(stride) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x41;
            let error = session.restore(0, &mut &damaged[..]);
            let error = error.expect_err("damaged").to_string();
            assert!(!error.contains('\n'), "{error}");
            assert_eq!(session.len(0).unwrap(), 0, "{name}: {at}");
        }
        assert_eq!(session.restore(0, &mut &bytes[..]).unwrap(), prefix);

        let other = open("gpt2");
        let mut session = other.session(small(1, 8));
        let error = session.restore(0, &mut &bytes[..]);
        let error = error.expect_err("another model");
        assert!(matches!(error, SnapshotError::Other(_)), "{error}");
        assert!(error.to_string().contains("another model"), "{error}");
    }
}

/// Until it is seen to be of this model a snapshot changes nothing; from then on a sequence is what it
/// holds, or empty.
#[test]
fn a_snapshot_that_ends_early_leaves_no_half_of_another() {
    for name in ["llama_mqa", "mamba"] {
        let opened = open(name);
        let prefix = opened.tokens(0, 3);
        let bytes = saved(&fed(&opened, &prefix), 1, &prefix);
        let mut number = [0; 4];
        number.copy_from_slice(&bytes[36..40]);
        // Three lengths and the tokens follow.
        let model = 40 + 16 * u32::from_le_bytes(number) as usize;
        for end in 0..model + 3 * 8 + 3 * 4 {
            let mut session = fed(&opened, &opened.tokens(5, 2));
            let restored = session.restore(1, &mut &bytes[..end]);
            assert!(restored.is_err(), "{name}: {end}");
            let left = if end < model { 2 } else { 0 };
            assert_eq!(session.len(1).unwrap(), left, "{name}: {end}");
        }
    }
}

#[test]
fn a_snapshot_must_fit() {
    let opened = open("llama");
    let bytes = saved(&fed(&opened, &opened.tokens(0, 30)), 1, &[]);
    let mut session = opened.session(small(1, 29));
    let error = session.restore(0, &mut &bytes[..]).expect_err("too long");
    assert!(
        matches!(&error, SnapshotError::Run(RunError::State(_))),
        "{error}"
    );
    assert!(error.to_string().contains("context of 29"), "{error}");
    assert_eq!(session.len(0).unwrap(), 0);
    assert!(session.restore(7, &mut &bytes[..]).is_err());
    assert!(session.snapshot(7, &[], &mut Vec::new()).is_err());
}

fn decoded(model: &Model) -> Session {
    let options = SessionOptions::default().context(8);
    let mut session = Session::new(model, options).expect("a session");
    session.prefill(0, &[1, 2, 3]).expect("tokens");
    session
}

/// Of a model's weights every byte counts, also those that no fingerprint takes in.
#[test]
fn another_weight_is_another_model() {
    let bytes = Gguf::of(&Fixture::load("llama_mqa")).bytes();
    let model = open_bytes(bytes.clone()).expect("a model");
    let mut snapshot = Vec::new();
    let written = decoded(&model).snapshot(0, &[1, 2, 3], &mut snapshot);
    written.expect("a snapshot");
    let same = open_bytes(bytes.clone()).expect("a model");
    let restored = decoded(&same).restore(0, &mut &snapshot[..]);
    assert_eq!(restored.expect("the same"), [1, 2, 3]);
    let mut middles = 0;
    for info in model.manifest().tensors.values() {
        let len = (info.range.end - info.range.start) as usize;
        let mut other = bytes.clone();
        other[info.range.start as usize + len / 2 / 4 * 4] ^= 1;
        let other = open_bytes(other).expect("a model");
        middles += usize::from(other.fingerprint() == model.fingerprint());
        let restored = decoded(&other).restore(0, &mut &snapshot[..]);
        let error = restored.expect_err("another model");
        assert!(matches!(error, SnapshotError::Other(_)), "{error}");
        let says = match other.fingerprint() == model.fingerprint() {
            true => "of a model with other weights",
            false => "of another model",
        };
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(middles > 5, "{middles}");
}

/// What a file notes of the model's files counts for these very files, and for no copy of them.
#[cfg(unix)]
#[test]
fn a_note_is_of_one_file() {
    let folder = TempFolder::new("note");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.gguf");
    let copy = folder.join("copy.gguf");
    fs::copy(&demo, &copy).expect("a copy");
    let open =
        |path: &Path| Model::open(path, ModelOptions::default().threads(1)).expect("a model");
    let file = folder.join("state");
    let restored = |model: &Path| {
        let mut session = decoded(&open(model));
        session
            .restore_file(0, &file)
            .map_err(|error| error.to_string())
    };
    let session = decoded(&open(&demo));
    session.snapshot_file(0, &[1, 2, 3], &file).expect("a file");
    let mut plain = Vec::new();
    session.snapshot(0, &[1, 2, 3], &mut plain).expect("bytes");
    let mut bytes = fs::read(&file).expect("a file");
    assert!(bytes.starts_with(&plain));
    assert_eq!(restored(&demo), Ok(vec![1, 2, 3]));
    assert_eq!(restored(&copy), Ok(vec![1, 2, 3]));

    // A patch in the middle of a matrix that leaves length and time of the contents as they were.
    let model = open(&copy);
    let largest = model
        .manifest()
        .tensors
        .values()
        .map(|info| info.range.clone());
    let largest = largest
        .max_by_key(|range| range.end - range.start)
        .expect("tensors");
    drop(model);
    let mut patched = fs::read(&copy).expect("a file");
    patched[(largest.start + largest.end) as usize / 2] ^= 1;
    let modified = fs::metadata(&copy)
        .and_then(|facts| facts.modified())
        .expect("a time");
    fs::write(&copy, patched).expect("a file");
    let written = fs::File::options().write(true).open(&copy).expect("a file");
    written.set_modified(modified).expect("a time");
    let error = restored(&copy).expect_err("another model");
    assert!(error.contains("other weights"), "{error}");

    // Whether the weights were read shows where a file lies about them: nobody who has them looks.
    let Some(note) = bytes.len().checked_sub(plain.len()).filter(|len| *len > 0) else {
        println!("skipped: {} was changed but now", demo.display());
        return;
    };
    let sum_at = plain.len() - 8;
    for digest in [20, plain.len()] {
        bytes[digest] ^= 1;
    }
    let sum = fnv(&bytes[..sum_at]).to_le_bytes();
    bytes[sum_at..sum_at + 8].copy_from_slice(&sum);
    let end = bytes.len() - 8;
    let sum = fnv(&bytes[end + 8 - note..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&sum);
    fs::write(&file, bytes).expect("a file");
    assert_eq!(restored(&demo), Ok(vec![1, 2, 3]));
    let again = folder.join("again.gguf");
    fs::copy(&demo, &again).expect("a copy");
    let error = restored(&again).expect_err("a lie");
    assert!(error.contains("other weights"), "{error}");
}

/// Devices, pipes, links and folders stay what they are.
#[cfg(unix)]
#[test]
fn a_file_replaces_nothing_but_a_file() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let folder = TempFolder::new("places");
    let model = open_bytes(Gguf::of(&Fixture::load("llama_mqa")).bytes()).expect("a model");
    let session = decoded(&model);
    let mut expected = Vec::new();
    session.snapshot(0, &[7], &mut expected).expect("bytes");
    let write = |path: &Path| session.snapshot_file(0, &[7], path);
    let holds = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes == expected);

    if let Ok(facts) = fs::metadata("/dev/full") {
        assert!(facts.file_type().is_char_device());
        assert!(matches!(
            write(Path::new("/dev/full")),
            Err(SnapshotError::Io(_))
        ));
        let facts = fs::metadata("/dev/full").expect("a device");
        assert!(facts.file_type().is_char_device());
        write(Path::new("/dev/null")).expect("it takes everything");
        let facts = fs::metadata("/dev/null").expect("a device");
        assert!(facts.file_type().is_char_device());
    }

    let (file, link, end, dangling) = (
        folder.join("file"),
        folder.join("link"),
        folder.join("end"),
        folder.join("dangling"),
    );
    fs::write(&file, "something older").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permissions");
    symlink("file", &link).expect("a link");
    symlink(&end, &dangling).expect("a link");
    for (link, file) in [(&link, &file), (&dangling, &end)] {
        write(link).expect("a file");
        assert!(fs::symlink_metadata(link).expect("a link").is_symlink());
        assert!(fs::symlink_metadata(file).expect("a file").is_file() && holds(file));
    }
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (one, other) = (folder.join("one"), folder.join("other"));
    symlink(&one, &other).expect("a link");
    symlink(&other, &one).expect("a link");
    assert!(write(&one).is_err());
    assert!(write(&folder).is_err() && folder.is_dir());
    assert!(write(&folder.join("none").join("file")).is_err());
    let long = folder.join("n".repeat(255));
    write(&long).expect("a file");
    assert!(holds(&long));

    // What an earlier process of the same number has left is in nobody's way, and stays.
    let left = |number| format!(".rillm-{}-{number}.partial", std::process::id());
    let crowded = folder.join("crowded");
    fs::create_dir(&crowded).expect("a folder");
    for number in 0..1000 {
        fs::write(crowded.join(left(number)), "left").expect("a file");
    }
    write(&crowded.join("file")).expect("a file");
    assert!(holds(&crowded.join("file")));
    assert_eq!(fs::read_dir(&crowded).expect("a folder").count(), 1001);

    let pipe = folder.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        let read = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).expect("a pipe")
        });
        write(&pipe).expect("a pipe");
        assert!(read.join().expect("a reader") == expected);
        let facts = fs::symlink_metadata(&pipe).expect("a pipe");
        assert!(facts.file_type().is_fifo());
    }

    let names = fs::read_dir(&*folder).expect("a folder");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    let left = names.filter(|name| name.to_string_lossy().ends_with(".partial"));
    assert_eq!(left.count(), 0);
}
