//! Sparse attention: each text's outputs are the same bits whatever is encoded beside it and by
//! however many threads, and what cannot be is said.

use rillm::{Row, RunError, Session, SessionOptions};

use crate::support::setup::{forced, open, open_with, same_bits};

/// Lengths that are shorter than a window, and longer than a page of keys.
const LENGTHS: [usize; 5] = [3, 70, 29, 1, 45];

/// Texts of these lengths; every eleventh row of some is global, if any may be.
fn texts(global: bool) -> Vec<Vec<Row>> {
    let text = |(sequence, &len): (usize, &usize)| {
        let row = |at: usize| Row {
            token: (3 + (at * 13 + sequence * 7) % 30) as u32,
            position: at as u64 % 30,
            sequence: sequence as u32,
            global: global.then_some(at % 11 == 2 && sequence != 2),
            ..Row::default()
        };
        (0..len).map(row).collect()
    };
    LENGTHS.iter().enumerate().map(text).collect()
}

fn encode(session: &mut Session, rows: &[Row]) -> Vec<Vec<f32>> {
    let mut outputs = vec![Vec::new(); rows.len()];
    let each = &mut |output: rillm::Output<'_>| {
        if output.name == "last_hidden_state" {
            outputs[output.row] = output.values.to_vec();
        }
    };
    session.encode(rows, each).unwrap();
    outputs
}

#[test]
fn a_text_is_the_same_beside_others() {
    for name in ["longformer", "roberta", "big_bird"] {
        let texts = texts(name == "longformer");
        let all: Vec<Row> = texts.iter().flatten().copied().collect();
        let mut alone: Option<Vec<Vec<f32>>> = None;
        for threads in [1, 3] {
            let opened = open_with(name, forced(), threads);
            let options = SessionOptions::default()
                .sequences(LENGTHS.len())
                .source(all.len());
            let mut session = opened.session(options);
            let alone = alone.get_or_insert_with(|| {
                let each = texts.iter().map(|text| encode(&mut session, text));
                each.flatten().collect()
            });
            let together = encode(&mut session, &all);
            same_bits(&format!("{name}, {threads} threads"), &together, alone);
        }
    }
}

#[test]
fn random_attention_is_for_models_that_have_it() {
    let random = SessionOptions::default().random_attention(true);
    let said = Session::new(&open("longformer").model, random).unwrap_err();
    let said = said.to_string();
    assert!(said.contains("Longformer has none"), "{said}");
    let opened = open("big_bird");
    let rows: Vec<Row> = (0..60)
        .map(|at| Row {
            token: 3 + at % 30,
            position: at.into(),
            ..Row::default()
        })
        .collect();
    let outputs = [SessionOptions::default(), random]
        .map(|options| encode(&mut opened.session(options), &rows));
    assert_ne!(outputs[0], outputs[1]);
}

#[test]
fn global_rows_matter() {
    let opened = open("longformer");
    let outputs = [false, true].map(|global| {
        let rows = texts(global).remove(1);
        let options = SessionOptions::default().sequences(LENGTHS.len());
        encode(&mut opened.session(options), &rows)
    });
    assert_ne!(outputs[0], outputs[1]);
}

#[test]
fn what_cannot_be_global_is_refused() {
    let refused = |name: &str, row: Row| -> String {
        let opened = open(name);
        let mut session = opened.session(SessionOptions::default());
        let said = session.encode(&[row; 4], &mut |_| {});
        match said {
            Err(RunError::Input(said)) => said,
            other => panic!("{name}: {other:?}"),
        }
    };
    let global = Row {
        global: Some(true),
        ..Row::default()
    };
    let said = refused("bert", global);
    assert!(said.contains("row 0 is global"), "{said}");
    let said = refused("longformer_question", Row::default());
    assert!(
        said.contains("0 separators (token 2), expected three"),
        "{said}"
    );
}
