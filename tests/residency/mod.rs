//! Weights within a bounded memory.

mod bits;
mod faults;

use rillm::{Model, RunError, Session, SessionOptions};

use crate::support::setup::small;

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
