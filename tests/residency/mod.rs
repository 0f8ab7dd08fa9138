//! Weights within a bounded memory.

mod bits;
mod faults;
mod replay;
mod stored;
mod tasks;

use rillm::{Model, Row, RunError, Session, SessionOptions};

use crate::support::setup::{feed, same_bits, small};

/// Room for what the tests feed.
fn options() -> SessionOptions {
    small(1, 64)
}

/// The fewest bytes that a model runs in.
fn least(model: &Model) -> u64 {
    match Session::new(model, options().memory(Some(0))) {
        Err(RunError::OverBudget { budget: 0, least }) => least,
        other => panic!("{other:?}"),
    }
}

/// Holds a model within so many bytes.
fn hold(model: &Model, bytes: u64) {
    Session::new(model, options().memory(Some(bytes))).expect("a session");
}

/// They take turns at what moves.
#[test]
fn sessions_at_once_within_the_least_budget_compute_the_same_bits() {
    for name in ["exaone4", "deepseek_v2_lite"] {
        let opened = crate::support::setup::open(name);
        let rows = |first: u32| -> Vec<Row> {
            let row = |at: u32| Row {
                token: (first + at) % 7,
                position: at.into(),
                emit: true,
                ..Row::default()
            };
            (0..20).map(row).collect()
        };
        let logits = |first: u32| {
            let mut session = Session::new(&opened.model, options()).expect("a session");
            feed(&mut session, &rows(first)).expect("logits")
        };
        let expected: Vec<_> = (0..4).map(logits).collect();
        hold(&opened.model, least(&opened.model));
        std::thread::scope(|scope| {
            for (first, expected) in (0..).zip(&expected) {
                scope.spawn(move || (0..4).for_each(|_| same_bits(name, &logits(first), expected)));
            }
        });
        assert!(opened.model.traffic().expect("figures").bytes > 0, "{name}");
    }
}

/// Its phases may need more at a time than there is room for.
#[test]
fn a_session_from_before_the_budget_is_refused_by_name() {
    let opened = crate::support::setup::open("deepseek_v2_lite");
    let mut early = Session::new(&opened.model, options()).expect("a session");
    early.prefill(0, &[1, 2]).expect("mapped weights");
    hold(&opened.model, least(&opened.model));
    for _ in 0..2 {
        match early.prefill(0, &[3]) {
            Err(RunError::Weights(what)) => assert!(what.contains("open this one anew"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
    let mut late = Session::new(&opened.model, options()).expect("a session");
    late.prefill(0, &[1, 2, 3]).expect("held weights");
}
