//! Models whose decoder reads the encoder's text once more, to judge it.

use rillm::{Row, RunError, Session, SessionOptions};
use serde_json::json;

use crate::support::compare::{REFERENCE_TOLERANCE, compare};
use crate::support::evaluate::{check_all, open};
use crate::support::fixture::Fixture;

fn rows(ids: &[u32]) -> Vec<Row> {
    let rows = ids.iter().zip(0..).map(|(&token, position)| Row {
        token,
        position,
        ..Row::default()
    });
    rows.collect()
}

/// What the second half is fed gives the reference's scores, of one row alone.
#[test]
fn a_text_is_judged_at_its_end() {
    for name in ["bart_sequence", "mbart_sequence"] {
        let fixture = Fixture::load(name);
        let model = open(&fixture.folder()).unwrap();
        let case = fixture.case("single");
        let source = rows(&case.rows("input_ids").unwrap()[0]);
        let mut session = Session::new(&model, SessionOptions::default()).unwrap();
        session.encode(&source, &mut |_| {}).unwrap();
        let fed = session.decoder_rows(&source).unwrap().unwrap();
        let mut scores = Vec::new();
        session
            .feed(&fed, &mut |output| scores.push(output.values.to_vec()))
            .unwrap();
        let (_, expected) = fixture.expected("single", "logits");
        assert_eq!(scores.len(), 1, "{name}");
        assert!(
            compare(&scores[0], expected, None) < REFERENCE_TOLERANCE,
            "{name}"
        );
    }
}

#[test]
fn a_text_without_its_end_is_refused() {
    let fixture = Fixture::load("bart_sequence");
    let model = open(&fixture.folder()).unwrap();
    let session = Session::new(&model, SessionOptions::default()).unwrap();
    let error = session.decoder_rows(&rows(&[7, 8, 9])).unwrap_err();
    assert_eq!(
        error,
        RunError::Input(
            "sequence 0 has no token 5, at whose place the output of BART is".to_string()
        )
    );
    let input = json!({"input_ids": [[5, 7, 5], [7, 8, 9]]}).to_string();
    let input = rillm::internals::eval::EvalInput::parse(input.as_bytes()).unwrap();
    let error = input
        .run(&model, rillm::internals::eval::Cut::Whole, &mut |_| {})
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "input_ids[1] has no token 5, at whose place the output is"
    );
}

/// A decoder that begins by itself is fed what it writes.
#[test]
fn other_decoders_read_nothing_again() {
    for name in ["t5", "marian", "gpt2", "bert"] {
        let model = open(&Fixture::load(name).folder()).unwrap();
        let session = Session::new(&model, SessionOptions::default()).unwrap();
        assert_eq!(session.decoder_rows(&rows(&[1, 2])), Ok(None), "{name}");
    }
}

/// What T5Gemma's class puts before such a text is its decoder's, whatever stands around that.
#[test]
fn a_text_is_shifted_behind_the_decoders_own_token() {
    let fixture = Fixture::load("t5gemma_tokens");
    let mut config = fixture.config();
    assert_ne!(config["bos_token_id"], 5);
    config["bos_token_id"] = json!(5);
    let model = open(&fixture.folder_with(&config, Vec::new())).unwrap();
    check_all(&fixture, &model);
}
