//! A text that goes on otherwise than a sequence that holds its beginning: read on from the last
//! checkpoint before, it comes out as if all of it had been read.

use rillm::internals::ModelParts;
use rillm::{Model, Row, Session, SessionOptions};

use crate::support::evaluate::{open, runnable};

/// Tokens that every fixture has.
fn token(at: usize, salt: usize) -> u32 {
    ((at * 7919 + salt * 104_729) % 37) as u32 + 3
}

fn rows(tokens: &[u32], from: usize) -> Vec<Row> {
    let row = |(at, &token): (usize, &u32)| Row {
        token,
        position: (from + at) as u64,
        emit: true,
        ..Row::default()
    };
    tokens.iter().enumerate().map(row).collect()
}

/// The logits of each row, as bits.
fn read(session: &mut Session, tokens: &[u32], from: usize) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    let sink = &mut |output: rillm::Output<'_>| {
        all.push(output.values.iter().map(|value| value.to_bits()).collect());
    };
    session.feed(&rows(tokens, from), sink).expect("a feed");
    all
}

fn recurrent(model: &Model) -> bool {
    let session = Session::new(model, SessionOptions::new().context(64));
    model.decodes() && !model.encodes() && !session.expect("a session").can_rewind()
}

#[test]
fn a_turn_is_read_on_from_the_last_checkpoint() {
    let mut names = Vec::new();
    for fixture in runnable() {
        let model = open(&fixture.folder()).expect("a model");
        if !recurrent(&model) {
            continue;
        }
        let options = SessionOptions::new().context(64).checkpoints(2);
        let session = || Session::new(&model, options).expect("a session");
        let first: Vec<u32> = (0..23).map(|at| token(at, 1)).collect();
        // What is read after the checkpoint, then what stands there instead.
        let reply: Vec<u32> = (0..9).map(|at| token(at, 2)).collect();
        let instead: Vec<u32> = (0..11).map(|at| token(at, 3)).collect();
        let mut reused = session();
        for part in first.chunks(9) {
            let held = reused.len(0).unwrap();
            read(&mut reused, part, held);
            reused.checkpoint_newest(0).expect("room for the newest");
        }
        read(&mut reused, &reply, first.len());
        let kept = reused.rewind_within(0, first.len() + 3).expect("a length");
        let name = &fixture.name;
        assert_eq!(kept, first.len(), "{name}: the last checkpoint before");
        // Where the reference's results depend on the cut, what is compared is cut alike.
        let cut = if model.segments().is_some() {
            9
        } else {
            first.len()
        };
        let mut whole = session();
        for part in first.chunks(cut) {
            let held = whole.len(0).unwrap();
            read(&mut whole, part, held);
        }
        let (a, b) = (
            read(&mut reused, &instead, kept),
            read(&mut whole, &instead, kept),
        );
        assert!(a == b, "{name}: other bits than those of the whole");
        // The first checkpoint gave way to the third.
        assert_eq!(reused.rewind_within(0, 17).unwrap(), 0, "{name}");
        assert_eq!(reused.len(0).unwrap(), 0, "{name}");
        names.push(fixture.name);
    }
    assert!(names.len() > 20, "only {names:?}");
}
