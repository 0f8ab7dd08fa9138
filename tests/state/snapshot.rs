//! A sequence written out and brought back continues as if it had never left.

use rillm::SnapshotError;
use rillm::{RunError, Session};

use crate::support::compare::{REFERENCE_TOLERANCE, compare};

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
            let history = opened.tokens(0, len);
            let bytes = saved(&fed(&opened, &history), 1, &history);
            // Another size, another number of sequences, and pages that others hold.
            let mut session = opened.session(small(3, 150));
            let other = opened.tokens(5, 70);
            feed(&mut session, &opened.rows(&other, 0, 0)).expect("another sequence");
            session.fork(0, 2).expect("a fork");
            let tokens = session.restore(2, &mut &bytes[..]).expect("a snapshot");
            assert_eq!(tokens, history, "{name}");
            assert_eq!(session.len(2).unwrap(), len, "{name}");
            let more = opened.tokens(11, 9);
            for (sequence, before) in [(2, &history), (0, &other)] {
                let rows = opened.rows(&more, before.len(), sequence);
                let outputs = feed(&mut session, &rows).expect("more");
                let replay = opened.replay(&[&before[..], &more].concat());
                let label = format!("{name}: {len}, sequence {sequence}");
                same_bits(&label, &outputs, &replay[before.len()..]);
            }
            // What was brought back is saved as the same bytes.
            assert_eq!(session.restore(1, &mut &bytes[..]).unwrap(), history);
            assert_eq!(saved(&session, 1, &history), bytes, "{name}: {len}");
        }
    }
}

#[test]
fn a_decoder_s_source_comes_along() {
    let opened = open("t5");
    let source = opened.tokens(2, 17);
    let history = opened.tokens(0, 5);
    let more = opened.tokens(9, 4);
    let mut session = opened.session(small(2, 20));
    encode(&mut session, &opened.rows(&source, 0, 1)).expect("a source");
    feed(&mut session, &opened.rows(&history, 0, 1)).expect("rows before");
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
        let model = rillm::Model::open(&folder, Default::default()).expect("a model");
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
        let history = opened.tokens(0, 3);
        let bytes = saved(&fed(&opened, &history), 1, &history);
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
        assert_eq!(session.restore(0, &mut &bytes[..]).unwrap(), history);

        let other = open("gpt2");
        let mut session = other.session(small(1, 8));
        let error = session.restore(0, &mut &bytes[..]);
        let error = error.expect_err("another model");
        assert!(matches!(error, SnapshotError::Other(_)), "{error}");
        assert!(error.to_string().contains("another model"), "{error}");
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
