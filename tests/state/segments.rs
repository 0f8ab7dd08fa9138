//! Models with memories of earlier segments: how inputs are cut, and what is refused.

use rillm::internals::ModelParts;
use rillm::internals::eval::Cut;
use rillm::internals::state::StateError;
use rillm::{Model, RunError};
use serde_json::{Value, json};

use crate::support::setup::{evaluate, feed, open, same_answers, same_bits, small, try_evaluate};

const SEGMENTED: [&str; 7] = [
    "transfo_xl",
    "transfo_xl_segments",
    "transfo_xl_plain",
    "compressive_transformer",
    "compressive_transformer_gated",
    "compressive_transformer_layers",
    "compressive_transformer_short",
];

/// An input of 23 tokens, cut as said.
fn input(segments: Option<&[u32]>) -> Value {
    let ids: Vec<u32> = (0..23).map(|at| at * 7 % 61).collect();
    match segments {
        Some(lengths) => json!({ "input_ids": [ids], "segment_lengths": lengths }),
        None => json!({ "input_ids": [ids] }),
    }
}

fn refused(model: &Model, input: &Value, cut: Cut) -> String {
    let error = try_evaluate(model, input, cut).expect_err("it cannot be cut so");
    error.to_string()
}

#[test]
fn a_batch_is_a_segment() {
    for name in SEGMENTED {
        let opened = open(name);
        for (step, lengths) in [
            (5, &[5, 5, 5, 5, 3][..]),
            (1, &[1; 23]),
            (4, &[4, 4, 4, 4, 4, 3]),
        ] {
            let label = format!("{name}, segments of {step}");
            let listed = input(Some(lengths));
            let listed = evaluate(&label, &opened.model, &listed, Cut::Whole);
            let batch = evaluate(&label, &opened.model, &input(None), Cut::Batch(step));
            same_answers(&label, &batch, &listed);
        }
    }
}

/// Where a segment has a length, feeds do not cut it; generation goes on as a whole feed would.
#[test]
fn segments_of_a_length_are_filled_by_feeds_of_any() {
    for name in SEGMENTED.iter().filter(|name| name.starts_with("comp")) {
        let opened = open(name);
        let tokens = opened.tokens(0, 70);
        let whole = opened.replay(&tokens);
        for step in [1, 4, 9] {
            let mut session = opened.session(small(1, 70));
            let rows = opened.rows(&tokens, 0, 0);
            let mut outputs = Vec::new();
            for part in rows.chunks(step) {
                outputs.extend(feed(&mut session, part).expect("a part"));
            }
            same_bits(&format!("{name}, {step} at a time"), &outputs, &whole);
        }
        // Ended early, a segment is as if it had not been.
        let rows = opened.model.segments().and_then(|segments| segments.rows());
        let rows = rows.expect("a length");
        let mut session = opened.session(small(1, 70));
        feed(&mut session, &opened.rows(&tokens[..rows + 2], 0, 0)).expect("a part");
        session.end_segment(0).expect("an end");
        assert_eq!(session.len(0).unwrap(), rows, "{name}");
        session.end_segment(0).expect("nothing to end");
        assert_eq!(session.len(0).unwrap(), rows, "{name}");
    }
}

/// Queries of a sliding memory see the same rows however they were fed: beyond the reach of
/// all layers together nothing is left of what came before.
#[test]
fn a_sliding_memory_forgets() {
    let opened = open("transfo_xl");
    // Three layers that look back eight rows each; tiles begin at multiples of 64.
    let (before, tokens) = (opened.tokens(3, 128), opened.tokens(0, 60));
    let mut session = opened.session(small(1, 200));
    feed(&mut session, &opened.rows(&before, 0, 0)).expect("rows before");
    let outputs = feed(&mut session, &opened.rows(&tokens, 128, 0)).expect("more");
    let fresh = opened.replay(&tokens);
    same_bits("a fresh session", &outputs[24..], &fresh[24..]);
    assert_ne!(outputs[20], fresh[20]);
}

#[test]
fn cuts_that_make_no_sense_are_refused() {
    let opened = open("compressive_transformer");
    let model = &opened.model;
    let error = refused(model, &input(Some(&[8, 7, 8])), Cut::Whole);
    assert!(
        error.ends_with("a segment has 8 tokens, Compressive Transformer takes at most 7"),
        "{error}"
    );
    let error = refused(model, &input(None), Cut::Batch(9));
    assert!(error.contains("a segment has 9 tokens"), "{error}");
    let error = refused(model, &input(Some(&[7, 7])), Cut::Whole);
    assert!(
        error.ends_with("they add up to 14, the input has 23 positions"),
        "{error}"
    );
    let error = refused(model, &input(Some(&[7, 0, 16])), Cut::Whole);
    assert!(error.contains("found 0"), "{error}");
    let mut two = input(None);
    two["segment_lengths"] = json!([[7], [7]]);
    let error = refused(model, &two, Cut::Whole);
    assert!(error.contains("expected one list"), "{error}");
    let llama = open("llama");
    let error = refused(&llama.model, &input(Some(&[23])), Cut::Whole);
    assert!(error.ends_with("has no segments"), "{error}");
}

#[test]
fn a_segment_that_is_a_feed_fits_into_the_context() {
    let opened = open("transfo_xl_segments");
    let mut session = opened.session(small(1, 16));
    let tokens = opened.tokens(0, 17);
    let long = feed(&mut session, &opened.rows(&tokens, 0, 0));
    let (rows, context) = (17, 16);
    let full = RunError::State(StateError::SegmentFull { rows, context });
    assert_eq!(long, Err(full));
    // In parts there is no end to it.
    for start in (0..170).step_by(17) {
        feed(&mut session, &opened.rows(&tokens[..16], start, 0)).expect("a part");
    }
    let error = session.rewind(0, 5).expect_err("it has no checkpoint");
    assert!(
        error.to_string().contains("without a checkpoint"),
        "{error}"
    );
}
