//! Going on when the context is full.

use crate::support::compare::compare;
use crate::support::setup::{Opened, feed, forced, open, same_bits, small};
use rillm::generate::{GenerateOptions, Stop, generate};
use rillm::sample::{SampleOptions, Sampler};
use rillm::{KvType, Model, ModelOptions, RunError};
use std::ops::ControlFlow;

/// A first layer's keys and values depend on one token and its position alone: in a model that
/// has no other layer, what is left of the KV cache must be what feeding it alone gives.
fn with_one_layer(name: &str) -> Opened {
    let mut opened = open(name);
    opened.fixture.keep_one_layer();
    let folder = opened.fixture.folder();
    let path = folder.join("config.json");
    let mut config = opened.fixture.config();
    let keys = ["num_hidden_layers", "n_layer", "n_layers"];
    let key = keys.into_iter().find(|key| config[key].is_u64());
    config[key.expect("a number of layers")] = 1.into();
    if let Some(kinds) = config["layer_types"].as_array_mut() {
        kinds.truncate(1);
    }
    std::fs::write(&path, config.to_string()).expect("a file");
    let options = ModelOptions::default().isa(forced()).threads(2);
    opened.model = Model::open(&folder, options).unwrap_or_else(|error| panic!("{name}: {error}"));
    opened
}

/// Forgets 30 to 100 of 170 entries and compares what follows with a replay of the rest.
fn left_and_replayed(opened: &Opened, kv_type: KvType) -> [Vec<f32>; 2] {
    let options = small(2, 200).kv_type(kv_type);
    let tokens = opened.tokens(0, 190);
    let mut session = opened.session(options);
    feed(&mut session, &opened.rows(&tokens[..170], 0, 0)).expect("room");
    // Pages that another sequence shares must stay as they are.
    session.fork(0, 1).expect("a fork");
    assert_eq!(session.discard(0, 30..100), Ok(70));
    assert_eq!(session.len(0), Ok(100));
    let rest = [&tokens[..30], &tokens[100..170]].concat();
    let found = feed(&mut session, &opened.rows(&tokens[170..], 100, 0)).expect("room");

    let mut replayed = opened.session(small(1, 200));
    feed(&mut replayed, &opened.rows(&rest, 0, 0)).expect("room");
    let expected = feed(&mut replayed, &opened.rows(&tokens[170..], 100, 0)).expect("room");

    let other = feed(&mut session, &opened.rows(&tokens[170..], 170, 1)).expect("room");
    let mut whole = opened.session(options);
    feed(&mut whole, &opened.rows(&tokens[..170], 0, 0)).expect("room");
    let same = feed(&mut whole, &opened.rows(&tokens[170..], 170, 0)).expect("room");
    same_bits(opened.name(), &other, &same);
    [found.concat(), expected.concat()]
}

#[test]
fn what_is_left_is_as_if_fed_alone() {
    // Both pairings, a part of a head, a magnitude, a long and a short table, slopes, none.
    for name in [
        "llama",
        "llama_yarn",
        "gpt_neox",
        "phi3_long",
        "gemma3",
        "bloom",
        "mpt",
        "cohere2",
    ] {
        let opened = with_one_layer(name);
        let [found, expected] = left_and_replayed(&opened, KvType::F32);
        let error = compare(&found, &expected, None);
        // Angles of up to 170 are rounded to 2⁻¹⁷, and a key's is then made of two of them, as
        // the replay's is not: 1e-5 each.
        assert!(error <= 3e-5, "{name}: {error}");
        // Twice what `kv_cache` allows for rounding once: here is a prefix that was
        // rounded once, compared with another of which a part was rounded twice.
        for (kv_type, bound) in [(KvType::F16, 1e-2), (KvType::Q8_0, 1e-1)] {
            let [found, expected] = left_and_replayed(&opened, kv_type);
            let squares = |all: &mut dyn Iterator<Item = f32>| -> f64 {
                all.map(|x| f64::from(x).powi(2)).sum()
            };
            let differences = squares(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
            let error = (differences / squares(&mut expected.iter().copied())).sqrt();
            assert!(error <= bound, "{name}, {kv_type}: {error}");
        }
    }
}

#[test]
fn what_no_window_reaches_is_not_missed() {
    // Two layers that see seven positions each: what is 14 back is out of everybody's sight.
    let opened = open("mistral");
    let tokens = opened.tokens(0, 120);
    let fed = |discard: bool| {
        let mut session = opened.session(small(1, 128));
        feed(&mut session, &opened.rows(&tokens[..90], 0, 0)).expect("room");
        let mut start = 90;
        if discard {
            start -= session.discard(0, 1..75).expect("it can") as usize;
        }
        feed(&mut session, &opened.rows(&tokens[90..], start, 0)).expect("room")
    };
    let error = compare(&fed(true).concat(), &fed(false).concat(), None);
    assert!(error <= 1e-5, "{error}");
}

#[test]
fn positions_that_skip_stay_apart() {
    // Left padding leaves gaps: the next position follows from theirs, not from the count.
    let opened = with_one_layer("llama");
    let tokens = opened.tokens(0, 40);
    let mut rows = opened.rows(&tokens, 0, 0);
    for (index, row) in rows.iter_mut().enumerate() {
        row.position = 3 * index as u64;
    }
    let mut session = opened.session(small(1, 64));
    feed(&mut session, &rows[..30]).expect("room");
    assert_eq!(session.discard(0, 10..14), Ok(12));
    for row in &mut rows[30..] {
        row.position -= 12;
    }
    let found = feed(&mut session, &rows[30..]).expect("room");
    for row in &mut rows[14..30] {
        row.position -= 12;
    }
    rows.drain(10..14);
    let mut replayed = opened.session(small(1, 64));
    feed(&mut replayed, &rows[..26]).expect("room");
    let expected = feed(&mut replayed, &rows[26..]).expect("room");
    let error = compare(&found.concat(), &expected.concat(), None);
    assert!(error <= 3e-5, "{error}");
}

#[test]
fn text_goes_on_past_the_context() {
    // Rotations, slopes, buckets, windows, a KV cache beside a state, and some that have no KV cache
    // which could be full.
    for name in [
        "llama",
        "bloom",
        "t5",
        "qwen3_window",
        "jamba",
        "mamba",
        "retnet_fla",
        "transfo_xl",
    ] {
        let opened = open(name);
        let mut session = opened.session(small(1, 24));
        let vocabulary = opened.model.limits().vocabulary as usize;
        let mut sampler = Sampler::new(SampleOptions::greedy(), vocabulary, 24);
        for keep in [0, 4, 1000] {
            session.reset(0).expect("sequence 0");
            let limits = GenerateOptions::default().max_tokens(200).endless(keep);
            let prompt = opened.tokens(0, 5);
            let done = generate(&mut session, &prompt, limits, &mut sampler, &mut |_| {
                ControlFlow::Continue(())
            });
            let done = done.unwrap_or_else(|error| panic!("{name}, {keep}: {error}"));
            assert_eq!((done.stop, done.tokens), (Stop::Length, 200), "{name}");
            assert_eq!(done.discarded > 0, session.has_kv_cache(), "{name}");
        }
    }
}

#[test]
fn what_cannot_be_forgotten_is_said() {
    let learned = open("gpt2");
    let mut session = learned.session(small(1, 24));
    feed(&mut session, &learned.rows(&learned.tokens(0, 8), 0, 0)).expect("room");
    let error = session.discard(0, 1..3).expect_err("learned positions");
    assert!(error.to_string().contains("learned positions"), "{error}");

    for name in ["xglm", "marian", "m2m_100"] {
        let opened = open(name);
        let session = opened.session(small(1, 24));
        let error = session.can_discard().expect_err("sinusoids");
        let said = error.to_string();
        assert!(
            said.contains("positions in its embeddings"),
            "{name}: {said}"
        );
    }

    for name in [
        "retnet",
        "retnet_fla",
        "transfo_xl",
        "transfo_xl_segments",
        "compressive_transformer",
    ] {
        let opened = open(name);
        let mut session = opened.session(small(1, 24));
        feed(&mut session, &opened.rows(&opened.tokens(0, 8), 0, 0)).expect("room");
        let error = session.discard(0, 1..3).expect_err("every row's place");
        assert!(error.to_string().contains("every row's place"), "{error}");
        assert_eq!(session.len(0), Ok(8), "{name}");
    }

    let opened = open("llama");
    let mut session = opened.session(small(1, 24));
    feed(&mut session, &opened.rows(&opened.tokens(0, 8), 0, 0)).expect("room");
    #[allow(clippy::reversed_empty_ranges)]
    for range in [3..3, 5..2, 4..8, 4..9, 0..usize::MAX] {
        let error = session
            .discard(0, range.clone())
            .expect_err("a wrong range");
        assert!(matches!(error, RunError::Input(_)), "{range:?}: {error}");
    }
    assert!(matches!(session.discard(7, 1..3), Err(RunError::State(_))));
    assert_eq!(session.len(0), Ok(8));
}

#[test]
fn checkpoints_behind_a_cut_are_gone() {
    let opened = open("mamba");
    let mut session = opened.session(small(1, 24));
    feed(&mut session, &opened.rows(&opened.tokens(0, 5), 0, 0)).expect("room");
    session.checkpoint(0).expect("one is reserved");
    feed(&mut session, &opened.rows(&opened.tokens(5, 5), 5, 0)).expect("room");
    session.discard(0, 2..4).expect("it can");
    assert_eq!(session.len(0), Ok(8));
    assert!(session.rewind(0, 5).is_err());
}

/// A state that knows no positions goes on as if nothing had been forgotten.
#[test]
fn states_without_positions_stay_as_they_are() {
    for name in ["mamba", "mamba2", "rwkv4", "rwkv6", "rwkv7", "gla"] {
        let opened = open(name);
        let mut session = opened.session(small(2, 100));
        feed(&mut session, &opened.rows(&opened.tokens(0, 70), 0, 0)).expect("room");
        session.fork(0, 1).expect("a fork");
        assert_eq!(session.discard(0, 3..20), Ok(17), "{name}");
        let more = opened.tokens(70, 20);
        let found = feed(&mut session, &opened.rows(&more, 53, 0)).expect("room");
        let expected = feed(&mut session, &opened.rows(&more, 70, 1)).expect("room");
        same_bits(name, &found, &expected);
    }
}
