//! What is shared and must not show: an encoder's output between forks, a model between
//! sessions and threads.

use rillm::{Model, Session};

use crate::support::setup::{
    DECODERS, Opened, encode, feed, forced, open, open_with, same_bits, small,
};

/// What a fresh session answers to `tokens` after encoding `source`.
fn translate(opened: &Opened, source: &[u32], tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut session = opened.session(small(1, 140));
    encode(&mut session, &opened.rows(source, 0, 0)).expect("a source");
    feed(&mut session, &opened.rows(tokens, 0, 0)).expect("a replay")
}

#[test]
fn forks_share_a_source_until_one_is_encoded_anew() {
    for name in ["t5", "t5_gated"] {
        let opened = open(name);
        let first = opened.tokens(0, 47);
        let others = [opened.tokens(9, 13), opened.tokens(15, 60)];
        for len in [1, 20, 64, 66] {
            let prefix = opened.tokens(2, len);
            let tokens = [
                opened.tokens(4, 8),
                opened.tokens(13, 8),
                opened.tokens(21, 8),
            ];
            let whole = |source: &[u32], tokens: &[u32]| {
                translate(&opened, source, &[&prefix, tokens].concat())[len..].to_vec()
            };
            // Any of the three may be the one that keeps the source, and be the last to share it.
            for kept in 0..3u32 {
                let renewed = [(kept + 1) % 3, (kept + 2) % 3];
                let mut session = opened.session(small(3, 140));
                encode(&mut session, &opened.rows(&first, 0, 0)).expect("a source");
                feed(&mut session, &opened.rows(&prefix, 0, 0)).expect("rows before");
                session.fork(0, 1).expect("a fork");
                session.fork(1, 2).expect("a fork of a fork");
                for (sequence, tokens) in (0..).zip(&tokens) {
                    let rows = opened.rows(&tokens[..4], len, sequence);
                    let outputs = feed(&mut session, &rows).expect("a branch");
                    let label = format!("{name}, {len} tokens, branch {sequence}");
                    same_bits(&label, &outputs, &whole(&first, tokens)[..4]);
                }
                for (sequence, source) in renewed.into_iter().zip(&others) {
                    let rows = opened.rows(source, 0, sequence);
                    encode(&mut session, &rows).expect("another source");
                }
                for (sequence, tokens) in (0..).zip(&tokens) {
                    let label = format!("{name}, {len} tokens, {kept} keeps: {sequence}");
                    let new = renewed.iter().position(|&renewed| renewed == sequence);
                    if let Some(new) = new {
                        session
                            .rewind(sequence, 0)
                            .expect("the decoder's prefix goes");
                        let outputs = feed(&mut session, &opened.rows(tokens, 0, sequence));
                        let expected = translate(&opened, &others[new], tokens);
                        same_bits(&label, &outputs.expect("from the start"), &expected);
                    } else {
                        let rows = opened.rows(&tokens[4..], len + 4, sequence);
                        let outputs = feed(&mut session, &rows).expect("a branch");
                        same_bits(&label, &outputs, &whole(&first, tokens)[4..]);
                    }
                }
            }
        }
    }
}

#[test]
fn sources_of_several_sequences_stay_apart() {
    let opened = open("t5");
    let sources = [
        opened.tokens(0, 40),
        opened.tokens(7, 3),
        opened.tokens(3, 17),
    ];
    let tokens = [
        opened.tokens(1, 30),
        opened.tokens(5, 70),
        opened.tokens(11, 2),
    ];
    let mut session = opened.session(small(3, 80));
    // 60 rows in a plan of 64: one run. In a plan of 42 the third does not fit any more.
    let mut fed = Vec::new();
    for (sequence, source) in (0..).zip(&sources) {
        fed.extend(opened.rows(source, 0, sequence));
    }
    let mut narrow = small(3, 80);
    narrow.source = 42;
    for (label, session) in [
        ("at once", &mut session),
        ("in two runs", &mut opened.session(narrow)),
    ] {
        encode(session, &fed).expect("three sources");
        for (sequence, (source, tokens)) in (0..).zip(sources.iter().zip(&tokens)) {
            let outputs = feed(session, &opened.rows(tokens, 0, sequence)).expect("a feed");
            let label = format!("{label}, sequence {sequence}");
            same_bits(&label, &outputs, &translate(&opened, source, tokens));
        }
    }
    session
        .rewind(1, 30)
        .expect("a decoder's prefix can be cut");
    let outputs = feed(&mut session, &opened.rows(&tokens[1][30..], 30, 1)).expect("a feed");
    same_bits(
        "rewound",
        &outputs,
        &translate(&opened, &sources[1], &tokens[1])[30..],
    );
}

#[test]
fn sessions_of_one_model_on_two_threads_do_not_disturb_each_other() {
    for name in DECODERS {
        for threads in [1, 2] {
            let opened = open_with(name, forced(), threads);
            let inputs = [opened.tokens(0, 90), opened.tokens(23, 90)];
            let alone: Vec<_> = inputs.iter().map(|tokens| opened.replay(tokens)).collect();
            std::thread::scope(|scope| {
                for (tokens, expected) in inputs.iter().zip(&alone) {
                    let opened = &opened;
                    scope.spawn(move || {
                        for round in 0..3 {
                            let mut session = opened.session(small(1, 90));
                            let mut outputs = Vec::new();
                            for part in opened.rows(tokens, 0, 0).chunks(1 + round) {
                                outputs.extend(feed(&mut session, part).expect("a part"));
                            }
                            let label = format!("{name}, {threads} threads, round {round}");
                            same_bits(&label, &outputs, expected);
                        }
                    });
                }
            });
        }
    }
}

#[test]
fn a_model_is_shared_and_a_session_may_move() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    fn movable<T: Send + 'static>() {}
    shared::<Model>();
    movable::<Session>();
    // A session keeps its model alive.
    let opened = open("llama");
    let tokens = opened.tokens(0, 12);
    let (rows, expected) = (opened.rows(&tokens, 0, 0), opened.replay(&tokens));
    let mut session = opened.session(small(1, 12));
    drop(opened);
    let outputs = std::thread::spawn(move || feed(&mut session, &rows).expect("a feed"));
    same_bits("moved", &outputs.join().expect("no panic"), &expected);
}
