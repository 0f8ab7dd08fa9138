//! Runs a model that may be hostile as far as it goes. Uses nothing but the library, so that
//! the fuzz target shares it.

use std::fmt::Display;

use rillm::error::RunErrorKind;
use rillm::{Model, Row, RunError, Session, SessionOptions};

/// Small: what a file claims must not decide what a test reserves.
pub const OPTIONS: SessionOptions = SessionOptions::new()
    .context(8)
    .sequences(1)
    .batch(4)
    .source(4)
    .checkpoints(1)
    .kv_type(rillm::KvType::F32);

/// A tiny model's own state and activations for [`OPTIONS`] take well under one MiB; what a
/// hyperparameter alone can add must stay below.
const MEMORY_BOUND: usize = 32 << 20;

/// Encodes three rows and feeds four. Errors about the input are fine; panics if there is a
/// defect.
pub fn exercise(model: &Model) {
    let plan = Session::memory_plan(model, OPTIONS).expect("a plan");
    assert!(plan.arena + plan.state <= MEMORY_BOUND, "{plan:?}");
    let mut session = Session::new(model, OPTIONS).expect("a session");
    let rows = [0, 1, 2, 3].map(|position| Row {
        token: position as u32 % 3,
        position,
        emit: true,
        ..Row::default()
    });
    let mut outcomes = Vec::new();
    if model.encodes() {
        outcomes.push(session.encode(&rows[..3], &mut |_| {}));
    }
    if model.decodes() {
        outcomes.push(session.feed(&rows[..3], &mut |_| {}));
        outcomes.push(session.feed(&rows[3..], &mut |_| {}));
    }
    for error in outcomes.into_iter().filter_map(Result::err) {
        external(&error);
    }
}

/// That an error is about the input.
pub fn external(error: &RunError) {
    assert_ne!(error.kind(), RunErrorKind::Internal, "{error}");
    one_line(error);
}

/// That an error says something, in one line.
pub fn one_line(error: &dyn Display) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
}
