//! A raised flag ends a call; what comes after is either the same bits or an error.

use rillm::internals::ModelParts;
use std::sync::Barrier;
use std::sync::atomic::Ordering;

use rillm::internals::graph::Segments;
use rillm::internals::state::StateError;
use rillm::{Row, RunError, Session};

use crate::support::setup::{
    RECURRENT, WITH_KV_CACHE, encode, feed, forced, open, open_with, same_bits, small,
};

const LENGTH: usize = 120;
const BATCH: usize = 16;

/// Feeds rows until the sink has seen `after` outputs, then raises the flag. Says what came.
fn aborted(session: &mut Session, rows: &[Row], after: usize) -> Vec<Vec<f32>> {
    let flag = session.abort_flag();
    let mut came = Vec::new();
    let result = session.feed(rows, &mut |output| {
        came.push(output.values.to_vec());
        if came.len() == after {
            flag.store(true, Ordering::Relaxed);
        }
    });
    assert_eq!(result, Err(RunError::Aborted));
    assert!(!flag.load(Ordering::Relaxed), "the call lowers the flag");
    came
}

#[test]
fn prefix_ends_at_a_batch_and_continues_bit_for_bit() {
    for name in WITH_KV_CACHE {
        for threads in [1, 2] {
            let opened = open_with(name, forced(), threads);
            let tokens = opened.tokens(0, LENGTH);
            let whole = opened.replay(&tokens);
            let rows = opened.rows(&tokens, 0, 0);
            for after in [1, BATCH, BATCH + 1, 5 * BATCH - 1] {
                let label = format!("{name}, {threads} threads, aborted after {after}");
                let mut options = small(2, LENGTH);
                options.batch = BATCH;
                let mut session = opened.session(options);
                let came = aborted(&mut session, &rows, after);
                same_bits(&label, &came, &whole[..came.len()]);
                // The batch in which it was raised does not count, those before it do.
                let len = session.len(0).unwrap();
                assert_eq!(len, (after - 1) / BATCH * BATCH, "{label}");
                let rest = feed(&mut session, &rows[len..]).expect("it goes on");
                same_bits(&label, &rest, &whole[len..]);
            }
        }
    }
}

#[test]
fn an_aborted_branch_does_not_touch_what_it_shares() {
    for name in WITH_KV_CACHE {
        let opened = open(name);
        let tokens = opened.tokens(0, LENGTH);
        let whole = opened.replay(&tokens);
        let mut session = opened.session(small(2, LENGTH));
        feed(&mut session, &opened.rows(&tokens[..40], 0, 0)).expect("rows before");
        session.fork(0, 1).expect("a fork");
        let other = opened.tokens(9, 50);
        aborted(&mut session, &opened.rows(&other, 40, 1), 1);
        assert_eq!(session.len(1).unwrap(), 40, "{name}");
        for sequence in [0, 1] {
            let rows = opened.rows(&tokens[40..], 40, sequence);
            let outputs = feed(&mut session, &rows).expect("both go on");
            same_bits(
                &format!("{name}, sequence {sequence}"),
                &outputs,
                &whole[40..],
            );
        }
    }
}

#[test]
fn another_thread_may_abort() {
    let opened = open_with("llama", forced(), 2);
    let tokens = opened.tokens(0, LENGTH);
    let rows = opened.rows(&tokens, 0, 0);
    let mut options = small(1, LENGTH);
    options.batch = BATCH;
    let mut session = opened.session(options);
    let flag = session.abort_flag();
    let progress = session.progress();
    let (reached, raised) = (Barrier::new(2), Barrier::new(2));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            reached.wait();
            flag.store(true, Ordering::Relaxed);
            raised.wait();
        });
        session.feed(&rows, &mut |output| {
            if output.row == 50 {
                reached.wait();
                raised.wait();
            }
        })
    });
    assert_eq!(result, Err(RunError::Aborted));
    assert_eq!(session.len(0).unwrap(), 48);
    assert_eq!(progress.load(Ordering::Relaxed), 48);
    let rest = feed(&mut session, &rows[48..]).expect("it goes on");
    same_bits("rest", &rest, &opened.replay(&tokens)[48..]);
    assert_eq!(progress.load(Ordering::Relaxed), LENGTH as u64);
}

#[test]
fn spoiled_recurrent_state_is_an_error_until_it_is_restored() {
    for name in RECURRENT {
        let opened = open(name);
        let tokens = opened.tokens(0, LENGTH);
        let whole = opened.replay(&tokens);
        let rows = opened.rows(&tokens, 0, 0);
        let mut options = small(3, LENGTH);
        options.batch = BATCH;
        let mut session = opened.session(options);
        feed(&mut session, &rows[..20]).expect("a feed");
        session.checkpoint(0).expect("a checkpoint");
        let other = opened.rows(&tokens[..30], 0, 1);
        feed(&mut session, &other[..10]).expect("another sequence");
        aborted(&mut session, &rows[20..], BATCH + 1);
        let len = session.len(0).unwrap();
        // A batch ends with its segment.
        let whole_batches = opened.model.segments().and_then(Segments::rows).is_none();
        assert!(len > 20 && len <= 20 + BATCH, "{name}: {len}");
        assert!(len == 20 + BATCH || !whole_batches, "{name}: {len}");
        let spoiled = RunError::State(StateError::Interrupted);
        assert_eq!(
            feed(&mut session, &rows[len..]),
            Err(spoiled.clone()),
            "{name}"
        );
        assert_eq!(session.checkpoint(0), Err(spoiled.clone()), "{name}");
        assert_eq!(session.fork(0, 2), Err(spoiled), "{name}");
        let missing = RunError::State(StateError::NoCheckpoint { len });
        assert_eq!(session.rewind(0, len), Err(missing), "{name}");
        // The other sequence was not in that call.
        let outputs = feed(&mut session, &other[10..]).expect("the other goes on");
        same_bits(name, &outputs, &whole[10..30]);
        session.rewind(0, 20).expect("a checkpoint");
        let outputs = feed(&mut session, &rows[20..]).expect("restored");
        same_bits(&format!("{name}, rewound"), &outputs, &whole[20..]);
        for restore in [Session::reset, |session: &mut Session, sequence| {
            session.rewind(sequence, 0)
        }] {
            session.reset(0).expect("a reset");
            aborted(&mut session, &rows, 1);
            restore(&mut session, 0).expect("from the beginning");
            let outputs = feed(&mut session, &rows).expect("as new");
            same_bits(&format!("{name}, from the beginning"), &outputs, &whole);
        }
    }
}

#[test]
fn a_flag_raised_before_ends_the_next_call() {
    let opened = open("llama");
    let rows = opened.rows(&opened.tokens(0, 8), 0, 0);
    let mut session = opened.session(small(1, 8));
    session.abort_flag().store(true, Ordering::Relaxed);
    assert_eq!(feed(&mut session, &rows), Err(RunError::Aborted));
    assert_eq!(session.len(0).unwrap(), 0);
    feed(&mut session, &rows).expect("only that one");
}

#[test]
fn an_encoder_can_be_aborted_and_used_again() {
    let opened = open("bert");
    let rows = opened.rows(&opened.tokens(0, 30), 0, 0);
    let mut session = opened.session(small(1, 30));
    let mut hidden = |abort: bool| {
        let flag = session.abort_flag();
        flag.store(abort, Ordering::Relaxed);
        let mut outputs = vec![Vec::new(); rows.len()];
        let result = session.encode(&rows, &mut |output| {
            if output.name == "last_hidden_state" {
                outputs[output.row] = output.values.to_vec();
            }
        });
        result.map(|()| outputs)
    };
    let before = hidden(false).expect("an input");
    assert_eq!(hidden(true), Err(RunError::Aborted));
    same_bits("bert", &hidden(false).expect("an input"), &before);
}

/// A source that was half written must not be decoded from as if it were whole.
#[test]
fn an_aborted_source_is_an_error_until_it_is_encoded_again() {
    let opened = open("t5");
    let (first, second) = (opened.tokens(0, 30), opened.tokens(8, 44));
    let tokens = opened.tokens(3, 12);
    let rows = opened.rows(&tokens, 0, 0);
    let mut session = opened.session(small(2, 40));
    let source = |tokens: &[u32]| opened.rows(tokens, 0, 0);
    encode(&mut session, &source(&first)).expect("a source");
    let expected = feed(&mut session, &rows).expect("a feed");
    session.fork(0, 1).expect("a fork");
    session.rewind(0, 0).expect("a rewind");
    session.abort_flag().store(true, Ordering::Relaxed);
    assert_eq!(
        encode(&mut session, &source(&second)),
        Err(RunError::Aborted)
    );
    let error = feed(&mut session, &rows).expect_err("half a source");
    assert_eq!(
        error.to_string(),
        "sequence 0 has no source, encode its input first"
    );
    // Its fork still has the first one.
    session.rewind(1, 0).expect("a rewind");
    let outputs = feed(&mut session, &opened.rows(&tokens, 0, 1)).expect("the fork's source");
    same_bits("fork", &outputs, &expected);
    encode(&mut session, &source(&first)).expect("a source");
    same_bits(
        "again",
        &feed(&mut session, &rows).expect("a feed"),
        &expected,
    );
    session.reset(0).expect("a reset");
    assert!(
        feed(&mut session, &rows).is_err(),
        "a reset forgets the source"
    );
}
