//! What a session remembers: forks, rewinds, checkpoints, limits. Each is compared with a
//! replay: a fresh session that is fed the same tokens at once.

use rillm::internals::state::StateError;
use rillm::{RunError, Session, SessionOptions};

use crate::support::setup::{
    DECODERS, Opened, RECURRENT, WITH_KV_CACHE, encode, feed, open, same_bits, small,
};

/// Feeds `tokens` behind what sequence `sequence` holds, and compares with the end of a replay
/// of `prefix` and `tokens`.
fn continues_as_replay(
    label: &str,
    opened: &Opened,
    session: &mut Session,
    sequence: u32,
    (prefix, tokens): (&[u32], &[u32]),
) {
    let label = format!("{}: {label}", opened.name());
    assert_eq!(
        session.len(sequence).unwrap(),
        prefix.len(),
        "{label}: length"
    );
    let outputs = feed(session, &opened.rows(tokens, prefix.len(), sequence));
    let outputs = outputs.unwrap_or_else(|error| panic!("{label}: {error}"));
    let replay = opened.replay(&[prefix, tokens].concat());
    same_bits(&label, &outputs, &replay[prefix.len()..]);
}

#[test]
fn the_families_are_what_they_are_taken_for() {
    for name in DECODERS {
        let recurrent = open(name).is_recurrent();
        assert_eq!(recurrent, RECURRENT.contains(&name), "{name}");
        assert_eq!(recurrent, !WITH_KV_CACHE.contains(&name), "{name}");
    }
}

#[test]
fn a_fork_continues_as_a_replay_and_so_does_its_origin() {
    for name in DECODERS {
        let opened = open(name);
        // Around the boundaries of one page and two.
        for len in [1, 21, 63, 64, 65, 128, 130] {
            let prefix = opened.tokens(0, len);
            let (left, right) = (opened.tokens(3, 9), opened.tokens(11, 9));
            let mut session = opened.session(small(3, 140));
            feed(&mut session, &opened.rows(&prefix, 0, 0)).expect("rows before");
            session.fork(0, 2).expect("a fork");
            assert_eq!(session.len(2).unwrap(), len);
            // In turns: each writes while the other still holds the shared page.
            for (from, to) in [(0, 1), (1, 4), (4, 9)] {
                for (sequence, tokens) in [(2, &right), (0, &left)] {
                    let grown = [&prefix[..], &tokens[..from]].concat();
                    let label = format!("fork at {len}, sequence {sequence}, {from}..{to}");
                    let more = (&grown[..], &tokens[from..to]);
                    continues_as_replay(&label, &opened, &mut session, sequence, more);
                }
            }
        }
    }
}

#[test]
fn forks_of_forks_share_and_part() {
    for name in DECODERS {
        let opened = open(name);
        let prefix = opened.tokens(0, 70);
        let mut session = opened.session(small(4, 140));
        feed(&mut session, &opened.rows(&prefix, 0, 3)).expect("rows before");
        for (from, to) in [(3, 0), (0, 1), (3, 2)] {
            session.fork(from, to).expect("a fork");
        }
        session.reset(3).expect("the origin goes");
        assert!(session.is_empty(3).unwrap());
        // Four branches that hold everything they may: all reserved pages are in use.
        for sequence in [1, 0, 2] {
            let tokens = opened.tokens(sequence as usize, 70);
            let label = format!("branch {sequence}");
            continues_as_replay(&label, &opened, &mut session, sequence, (&prefix, &tokens));
        }
        let tokens = opened.tokens(17, 140);
        continues_as_replay("reset origin", &opened, &mut session, 3, (&[], &tokens));
        // Over a sequence that held something else, and onto itself.
        session.fork(1, 0).expect("a fork onto a full sequence");
        session
            .fork(1, 1)
            .expect("a fork onto itself changes nothing");
        let grown = [&prefix[..], &opened.tokens(1, 70)].concat();
        for sequence in [0, 1] {
            assert_eq!(session.len(sequence).unwrap(), grown.len());
        }
    }
}

/// As beams do it, for longer than anything could leak without being noticed.
#[test]
fn pages_are_never_lost() {
    for name in DECODERS {
        let opened = open(name);
        let mut session = opened.session(small(3, 130));
        let tokens = opened.tokens(0, 130);
        for round in 0..40 {
            let len = 1 + round * 37 % 129;
            feed(&mut session, &opened.rows(&tokens[..len], 0, 0)).expect("a feed");
            session.fork(0, 1).expect("a fork");
            session.fork(1, 2).expect("a fork");
            for sequence in [2, 0, 1] {
                let rows = opened.rows(&tokens[len..130], len, sequence);
                feed(&mut session, &rows).expect("room for each sequence's share");
            }
            session.reset(0).expect("a reset");
        }
        continues_as_replay("after 40 rounds", &opened, &mut session, 0, (&[], &tokens));
    }
}

#[test]
fn a_rewound_prefix_continues_as_a_replay() {
    for name in WITH_KV_CACHE {
        let opened = open(name);
        let tokens = opened.tokens(0, 135);
        let other = opened.tokens(29, 12);
        let mut session = opened.session(small(1, 150));
        feed(&mut session, &opened.rows(&tokens, 0, 0)).expect("rows before");
        for len in [135, 129, 128, 127, 65, 64, 63, 10, 0] {
            session
                .rewind(0, len)
                .expect("a KV cache can be cut anywhere");
            let label = format!("rewound to {len}");
            continues_as_replay(&label, &opened, &mut session, 0, (&tokens[..len], &other));
            session.rewind(0, len).expect("and again");
        }
        // A checkpoint costs nothing where none is needed.
        for _ in 0..9 {
            session.checkpoint(0).expect("nothing to save");
        }
    }
}

#[test]
fn rewinding_one_branch_leaves_the_other() {
    for name in WITH_KV_CACHE {
        let opened = open(name);
        let prefix = opened.tokens(0, 100);
        let mut session = opened.session(small(2, 150));
        feed(&mut session, &opened.rows(&prefix, 0, 0)).expect("rows before");
        session.fork(0, 1).expect("a fork");
        session.rewind(0, 40).expect("a rewind");
        let other = opened.tokens(50, 60);
        continues_as_replay("rewound", &opened, &mut session, 0, (&prefix[..40], &other));
        continues_as_replay("kept", &opened, &mut session, 1, (&prefix, &other[..9]));
    }
}

#[test]
fn recurrent_state_rewinds_to_checkpoints_only() {
    for name in RECURRENT {
        let opened = open(name);
        let tokens = opened.tokens(0, 60);
        let mut session = opened.session(small(2, 80));
        let part = |from: usize, to: usize| opened.rows(&tokens[from..to], from, 0);
        feed(&mut session, &part(0, 20)).expect("a feed");
        let unmarked = Err(RunError::State(StateError::NoCheckpoint { len: 7 }));
        assert_eq!(session.rewind(0, 7), unmarked, "{name}");
        session
            .rewind(0, 20)
            .expect("where it is, without a checkpoint");
        session.checkpoint(0).expect("the first");
        session
            .checkpoint(0)
            .expect("the same once more takes no second place");
        feed(&mut session, &part(20, 33)).expect("a feed");
        session.checkpoint(0).expect("the second");
        let full = Err(RunError::State(StateError::CheckpointsFull {
            checkpoints: 2,
        }));
        feed(&mut session, &part(33, 60)).expect("a feed");
        assert_eq!(session.checkpoint(0), full, "{name}");
        let other = opened.tokens(31, 9);
        for len in [33, 20] {
            for _ in 0..2 {
                session.rewind(0, len).expect("a checkpoint");
                let label = format!("rewound to {len}");
                continues_as_replay(&label, &opened, &mut session, 0, (&tokens[..len], &other));
            }
        }
        // The one at 33 went with the prefix it belonged to.
        session.rewind(0, 20).expect("a checkpoint");
        feed(&mut session, &opened.rows(&opened.tokens(44, 20), 20, 0)).expect("other tokens");
        let gone = Err(RunError::State(StateError::NoCheckpoint { len: 33 }));
        assert_eq!(session.rewind(0, 33), gone, "{name}");
        session.checkpoint(0).expect("its place is free again");
        // Another sequence's checkpoints are its own; the beginning needs none.
        session.fork(0, 1).expect("a fork");
        let other_len = Err(RunError::State(StateError::NoCheckpoint { len: 20 }));
        assert_eq!(session.rewind(1, 20), other_len, "{name}");
        session.rewind(1, 0).expect("the beginning");
        continues_as_replay(
            "from the beginning",
            &opened,
            &mut session,
            1,
            (&[], &other),
        );
        session.forget_checkpoints(0).expect("forgetting");
        assert_eq!(session.rewind(0, 20), other_len, "{name}");
        assert_eq!(
            session.len(0).unwrap(),
            40,
            "{name}: a refused rewind changes nothing"
        );
    }
}

#[test]
fn a_reset_sequence_is_as_new() {
    for name in DECODERS {
        let opened = open(name);
        let mut session = opened.session(small(2, 100));
        let tokens = opened.tokens(5, 90);
        feed(&mut session, &opened.rows(&tokens, 0, 0)).expect("a feed");
        feed(&mut session, &opened.rows(&tokens[..30], 0, 1)).expect("a feed");
        session.reset(0).expect("a reset");
        let other = opened.tokens(40, 100);
        continues_as_replay("reset", &opened, &mut session, 0, (&[], &other));
        let more = (&tokens[..30], &other[..20]);
        continues_as_replay("the other", &opened, &mut session, 1, more);
        let ahead = session.rewind(1, 51).expect_err("no such length yet");
        assert_eq!(
            ahead,
            RunError::State(StateError::Ahead {
                len: 51,
                current: 50
            })
        );
    }
}

#[test]
fn a_full_context_is_an_error_that_changes_nothing() {
    for name in WITH_KV_CACHE {
        let opened = open(name);
        let context = 70;
        let tokens = opened.tokens(0, context);
        let mut options = small(2, context);
        options.batch = 16;
        let mut session = opened.session(options);
        let full = Err(RunError::State(StateError::ContextFull { context }));
        let long = opened.tokens(0, context + 1);
        assert_eq!(
            feed(&mut session, &opened.rows(&long, 0, 0)),
            full,
            "{name}"
        );
        assert_eq!(session.len(0).unwrap(), 0, "{name}");
        feed(&mut session, &opened.rows(&tokens[..60], 0, 0)).expect("a feed");
        // One sequence has room, the other has not: neither grows.
        let mut both = opened.rows(&tokens[..5], 0, 1);
        both.extend(opened.rows(&tokens[..11], 60, 0));
        assert_eq!(feed(&mut session, &both), full, "{name}");
        assert_eq!(session.len(1).unwrap(), 0, "{name}");
        let rest = (&tokens[..60], &tokens[60..]);
        continues_as_replay("after the error", &opened, &mut session, 0, rest);
        assert_eq!(
            feed(&mut session, &opened.rows(&tokens[..1], 70, 0)),
            full,
            "{name}"
        );
        continues_as_replay("the other", &opened, &mut session, 1, (&[], &tokens));
    }
    for opened in RECURRENT.map(open) {
        // Some have a KV cache beside their state, which the context bounds.
        if opened.model.has_kv_cache() {
            continue;
        }
        let mut session = opened.session(small(1, 8));
        let tokens = opened.tokens(0, 50);
        continues_as_replay(
            "no context to fill",
            &opened,
            &mut session,
            0,
            (&[], &tokens),
        );
    }
}

#[test]
fn rows_that_a_model_cannot_take_change_nothing() {
    for name in DECODERS {
        let opened = open(name);
        let limits = opened.model.limits();
        let tokens = opened.tokens(0, 30);
        let mut session = opened.session(small(2, 60));
        feed(&mut session, &opened.rows(&tokens[..10], 0, 0)).expect("rows before");
        let good = opened.rows(&tokens[10..], 10, 0);
        let mut wrong: Vec<(&str, Vec<rillm::Row>)> = Vec::new();
        for what in ["token", "position", "sequence"] {
            let mut rows = good.clone();
            let row = &mut rows[19];
            match what {
                "token" => row.token = limits.vocabulary as u32,
                "position" => row.position = limits.positions,
                _ => row.sequence = 2,
            }
            wrong.push((what, rows));
        }
        for (what, rows) in &wrong {
            let error = feed(&mut session, rows).expect_err(what);
            let RunError::Input(text) = &error else {
                panic!("{name}: {what}: {error}");
            };
            assert!(
                text.starts_with(&format!("row 19: {what} is ")),
                "{name}: {text}"
            );
        }
        for sequence in [2, u32::MAX] {
            let sequences = 2;
            let missing = RunError::State(StateError::NoSequence {
                sequence,
                sequences,
            });
            assert_eq!(session.len(sequence), Err(missing.clone()));
            assert_eq!(session.reset(sequence), Err(missing.clone()));
            assert_eq!(session.rewind(sequence, 0), Err(missing.clone()));
            assert_eq!(session.checkpoint(sequence), Err(missing.clone()));
            assert_eq!(session.fork(sequence, 0), Err(missing.clone()));
            assert_eq!(session.fork(0, sequence), Err(missing));
        }
        assert_eq!(
            feed(&mut session, &[]),
            Ok(Vec::new()),
            "{name}: nothing to do"
        );
        let more = (&tokens[..10], &tokens[10..]);
        continues_as_replay("after the errors", &opened, &mut session, 0, more);
    }
}

#[test]
fn encoders_refuse_what_they_cannot_take() {
    let opened = open("bert");
    let mut session = opened.session(small(2, 30));
    let tokens = opened.tokens(0, 20);
    let rows = opened.rows(&tokens, 0, 0);
    let error = feed(&mut session, &rows).expect_err("an encoder");
    assert!(
        error.to_string().ends_with("it does not predict tokens"),
        "{error}"
    );
    let mut typed = rows.clone();
    typed[3].token_type = opened.model.limits().token_types as u32;
    let error = encode(&mut session, &typed).expect_err("a token type");
    assert!(
        error.to_string().starts_with("row 3: token type is "),
        "{error}"
    );
    let mut apart = rows.clone();
    apart[4].sequence = 1;
    let error = encode(&mut session, &apart).expect_err("rows apart");
    assert_eq!(
        error.to_string(),
        "row 5: the rows of sequence 0 stand apart"
    );
    let mut options = small(1, 30);
    options.source = 19;
    let mut narrow = opened.session(options);
    let error = encode(&mut narrow, &rows).expect_err("too long");
    assert_eq!(
        error,
        RunError::State(StateError::SourceFull { source: 19 })
    );
    let gpt2 = open("gpt2");
    let rows = gpt2.rows(&gpt2.tokens(0, 4), 0, 0);
    let error = encode(&mut gpt2.session(small(1, 8)), &rows).expect_err("a decoder");
    assert!(error.to_string().ends_with("has no encoder"), "{error}");
}

#[test]
fn options_of_zero_are_refused() {
    let opened = open("llama");
    for name in ["context", "sequences", "batch", "source"] {
        let mut options = small(1, 4);
        match name {
            "context" => options.context = 0,
            "sequences" => options.sequences = 0,
            "batch" => options.batch = 0,
            _ => options.source = 0,
        }
        let error = Session::new(&opened.model, options)
            .expect_err(name)
            .to_string();
        assert!(
            error.starts_with(&format!("session option {name} is 0")),
            "{error}"
        );
    }
}

#[test]
fn options_that_would_cost_memory_before_any_use_are_refused() {
    let opened = open("bert");
    let least = small(1, 4);
    let many = SessionOptions::MOST + 1;
    for (name, options) in [
        ("sequences", least.sequences(many)),
        ("batch", least.batch(many)),
        ("source", least.source(usize::MAX)),
        ("checkpoints", least.checkpoints(many)),
        ("context", least.context(usize::MAX)),
    ] {
        let error = Session::new(&opened.model, options)
            .expect_err(name)
            .to_string();
        assert!(
            error.starts_with(&format!("session option {name} is ")),
            "{error}"
        );
    }
}
