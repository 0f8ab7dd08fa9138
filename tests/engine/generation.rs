//! Generated tokens are the most likely ones of the logits that the evaluated text has, and
//! generation ends where it is told to.

use rillm::internals::ModelParts;
use std::ops::ControlFlow;

use rillm::generate::{GenerateOptions, Generated, Generator, Stop, generate};
use rillm::internals::eval::Cut;
use rillm::internals::state::StateError;
use rillm::sample::{SampleOptions, Sampler};
use rillm::{RunError, Session};
use serde_json::json;

use crate::support::evaluate::open as open_folder;
use crate::support::fixture::Fixture;
use crate::support::setup::{Opened, evaluate, open, small};

/// A decoder with a table of positions, one without, an encoder–decoder, a recurrent one.
const GENERATORS: [&str; 4] = ["gpt2", "llama", "t5", "mamba"];

fn greedy(opened: &Opened) -> Sampler {
    let options = SampleOptions::greedy();
    Sampler::new(options, opened.model.limits().vocabulary as usize, 0)
}

fn write(
    opened: &Opened,
    session: &mut Session,
    prompt: &[u32],
    end: &[u32],
    limit: Option<usize>,
) -> Result<(Vec<u32>, Generated), RunError> {
    let mut tokens = Vec::new();
    let generated = generate(
        session,
        prompt,
        GenerateOptions::default().end_tokens(end).max_tokens(limit),
        &mut greedy(opened),
        &mut |chosen| {
            tokens.push(chosen.token);
            ControlFlow::Continue(())
        },
    )?;
    assert_eq!(generated.prompt, prompt.len());
    assert_eq!(generated.tokens, tokens.len());
    Ok((tokens, generated))
}

/// The most likely token after each of the last `count` positions of the evaluated text.
fn most_likely(opened: &Opened, prompt: &[u32], tokens: &[u32]) -> Vec<u32> {
    let mut text = prompt.to_vec();
    let mut input = json!({});
    if opened.model.encodes() {
        input["input_ids"] = json!([prompt]);
        text = vec![opened.model.decoder_start().expect("a start token")];
    }
    let before = text.len();
    text.extend(&tokens[..tokens.len() - 1]);
    match input.get("input_ids") {
        Some(_) => input["decoder_input_ids"] = json!([text]),
        None => input["input_ids"] = json!([text]),
    }
    let answers = evaluate(opened.name(), &opened.model, &input, Cut::Whole);
    let logits = answers.iter().find(|answer| answer.shape.name == "logits");
    let logits = logits.expect("logits");
    let vocabulary = logits.shape.shape[2] as usize;
    let rows = logits.values.chunks_exact(vocabulary).skip(before - 1);
    rows.map(|row| {
        let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter().position(|&value| value == best).expect("a best") as u32
    })
    .collect()
}

#[test]
fn greedy_text_is_the_most_likely_at_every_step() {
    for name in GENERATORS {
        let opened = open(name);
        for start in [0, 4, 10] {
            let prompt = opened.tokens(start, 9);
            let mut session = opened.session(small(1, 64));
            let (tokens, generated) =
                write(&opened, &mut session, &prompt, &[], Some(25)).expect("text");
            assert_eq!(generated.stop, Stop::Length, "{name}");
            assert_eq!(tokens.len(), 25, "{name}");
            assert_eq!(tokens, most_likely(&opened, &prompt, &tokens), "{name}");
        }
    }
}

#[test]
fn the_iterator_writes_what_the_callback_gets() {
    for name in GENERATORS {
        let opened = open(name);
        let prompt = opened.tokens(0, 9);
        let (expected, _) = write(
            &opened,
            &mut opened.session(small(1, 64)),
            &prompt,
            &[],
            Some(12),
        )
        .expect("text");
        let end = [expected[8]];
        let first = expected.iter().position(|token| *token == end[0]);
        // In another sequence than the first, with a prompt that was fed before its last token.
        let mut session = opened.session(small(2, 64));
        let mut rest = &prompt[..];
        if !opened.model.encodes() {
            session.prefill(1, &prompt[..5]).expect("a prefill");
            session.prefill(1, &prompt[5..8]).expect("a prefill");
            rest = &prompt[8..];
        }
        let options = GenerateOptions::default().sequence(1).end_tokens(&end);
        let mut sampler = greedy(&opened);
        let mut tokens =
            Generator::new(&mut session, rest, options, &mut sampler).expect("a generator");
        let mut found = Vec::new();
        while let Some(token) = tokens.next() {
            let token = token.expect("a token");
            assert_eq!(rillm::sample::argmax(tokens.logits()), token, "{name}");
            assert_eq!(tokens.finish().stop, Stop::Caller, "{name}");
            found.push(token);
        }
        assert_eq!(Some(found.len()), first, "{name}");
        assert_eq!(found, expected[..found.len()], "{name}");
        let done = tokens.finish();
        assert_eq!((done.stop, done.tokens), (Stop::End, found.len()), "{name}");
        assert!(tokens.next().is_none(), "{name}");
        assert_eq!(session.len(0).expect("a length"), 0, "{name}");
    }
}

#[test]
fn it_ends_where_it_is_told_to() {
    for name in GENERATORS {
        let opened = open(name);
        let prompt = opened.tokens(0, 5);
        let session = || opened.session(small(1, 64));
        let (tokens, _) = write(&opened, &mut session(), &prompt, &[], Some(12)).expect("text");
        for limit in [0, 1, 2, 12] {
            let (found, generated) =
                write(&opened, &mut session(), &prompt, &[], Some(limit)).expect("text");
            assert_eq!(
                (&found[..], generated.stop),
                (&tokens[..limit], Stop::Length),
                "{name}"
            );
        }
        // An end token is not handed over, whichever of several it is.
        let end = tokens[3];
        let unused = (0..)
            .find(|token| !tokens.contains(token))
            .expect("a token");
        let first = tokens
            .iter()
            .position(|&token| token == end)
            .expect("it is there");
        let (found, generated) =
            write(&opened, &mut session(), &prompt, &[unused, end], None).expect("text");
        assert_eq!(
            (&found[..], generated.stop),
            (&tokens[..first], Stop::End),
            "{name}"
        );
        let mut taken = Vec::new();
        let mut sampler = greedy(&opened);
        let generated = generate(
            &mut session(),
            &prompt,
            GenerateOptions::default(),
            &mut sampler,
            &mut |chosen| {
                taken.push(chosen.token);
                match taken.len() {
                    7 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            },
        );
        let generated = generated.expect("text");
        assert_eq!(
            (&taken[..], generated.stop),
            (&tokens[..7], Stop::Caller),
            "{name}"
        );
        assert_eq!(generated.tokens, 7, "{name}");
    }
}

#[test]
fn it_ends_where_the_context_or_the_table_of_positions_ends() {
    // The last token needs no place: nothing follows it.
    let opened = open("llama");
    let prompt = opened.tokens(0, 5);
    let mut session = opened.session(small(1, 20));
    let (tokens, generated) = write(&opened, &mut session, &prompt, &[], None).expect("text");
    assert_eq!((tokens.len(), generated.stop), (16, Stop::Context));
    assert_eq!(tokens, most_likely(&opened, &prompt, &tokens));

    let opened = open("gpt2");
    let positions = opened.model.limits().positions as usize;
    let mut session = opened.session(small(1, 100));
    let (tokens, generated) = write(&opened, &mut session, &prompt, &[], None).expect("text");
    assert_eq!(
        (tokens.len(), generated.stop),
        (positions - 5 + 1, Stop::Context)
    );

    // The decoder's start takes one place, the prompt none.
    let opened = open("t5");
    let mut session = opened.session(small(1, 20));
    let (tokens, generated) = write(&opened, &mut session, &prompt, &[], None).expect("text");
    assert_eq!((tokens.len(), generated.stop), (20, Stop::Context));

    // Without a KV cache there is no end: a context of two positions holds any length.
    let opened = open("mamba");
    let mut session = opened.session(small(1, 2));
    let (tokens, generated) = write(&opened, &mut session, &prompt, &[], Some(90)).expect("text");
    assert_eq!((tokens.len(), generated.stop), (90, Stop::Length));
    assert_eq!(tokens, most_likely(&opened, &prompt, &tokens));
}

#[test]
fn a_second_text_continues_the_first() {
    for name in ["llama", "mamba"] {
        let opened = open(name);
        let (first, second) = (opened.tokens(0, 6), opened.tokens(9, 4));
        let mut session = opened.session(small(1, 64));
        let (tokens, _) = write(&opened, &mut session, &first, &[], Some(8)).expect("text");
        let (more, _) = write(&opened, &mut session, &second, &[], Some(8)).expect("text");
        // The last token of the first text was handed over but not fed.
        let text = [&first[..], &tokens[..7], &second].concat();
        assert_eq!(more, most_likely(&opened, &text, &more), "{name}");
    }
}

#[test]
fn a_second_input_of_an_encoder_decoder_starts_anew() {
    let opened = open("t5");
    let (first, second) = (opened.tokens(0, 20), opened.tokens(9, 11));
    let mut session = opened.session(small(1, 30));
    for prompt in [&first, &second, &first] {
        let (tokens, _) = write(&opened, &mut session, prompt, &[], Some(25)).expect("text");
        assert_eq!(tokens, most_likely(&opened, prompt, &tokens));
    }
}

/// As transformers' processors force them: the first token, and of a text as long as it may become
/// the last.
#[test]
fn tokens_are_forced_as_the_configurations_say() {
    let fixture = Fixture::load("t5");
    let folder = fixture.folder();
    let generation = r#"{"forced_bos_token_id": 17, "forced_eos_token_id": [2, 1]}"#;
    std::fs::write(folder.join("generation_config.json"), generation).expect("a file");
    let model = open_folder(&folder).expect("a folder");
    let write = |end: &[u32], limit| {
        let mut session = Session::new(&model, small(1, 30)).expect("a session");
        let options = SampleOptions::greedy();
        let mut sampler = Sampler::new(options, model.limits().vocabulary as usize, 0);
        let mut tokens = Vec::new();
        let options = GenerateOptions::default().end_tokens(end).max_tokens(limit);
        let generated = generate(
            &mut session,
            &[5, 6, 7],
            options,
            &mut sampler,
            &mut |chosen| {
                tokens.push(chosen.token);
                ControlFlow::Continue(())
            },
        );
        (tokens, generated.expect("a text").stop)
    };
    let (free, _) = write(&[], None);
    assert_eq!(free[0], 17);
    let (tokens, stop) = write(&[], Some(6));
    assert_eq!(
        (&tokens[..5], tokens[5], stop),
        (&free[..5], 1, Stop::Length)
    );
    let (tokens, stop) = write(&[1], Some(6));
    assert_eq!((&tokens[..], stop), (&free[..5], Stop::End));
    assert_eq!(write(&[1], Some(1)), (Vec::new(), Stop::End));
}

#[test]
fn what_cannot_be_generated_from_is_an_error() {
    let opened = open("llama");
    let mut session = opened.session(small(1, 8));
    let error = write(&opened, &mut session, &[], &[], None).expect_err("no prompt");
    assert_eq!(
        error.to_string(),
        "prompt is empty, give at least one token"
    );
    let long = opened.tokens(0, 9);
    let error = write(&opened, &mut session, &long, &[], None).expect_err("a long prompt");
    assert_eq!(
        error,
        RunError::State(StateError::ContextFull { context: 8 })
    );
    let (_, generated) = write(&opened, &mut session, &long[..8], &[], None).expect("a full one");
    assert_eq!((generated.tokens, generated.stop), (1, Stop::Context));

    let opened = open("t5");
    let mut session = opened.session(small(1, 8));
    let long = opened.tokens(0, 65);
    let error = write(&opened, &mut session, &long, &[], None).expect_err("a long prompt");
    assert_eq!(
        error,
        RunError::State(StateError::SourceFull { source: 64 })
    );

    let opened = open("bert");
    let mut session = opened.session(small(1, 8));
    let prompt = opened.tokens(0, 4);
    let error = write(&opened, &mut session, &prompt, &[], None).expect_err("an encoder");
    assert!(
        error.to_string().ends_with("it does not predict tokens"),
        "{error}"
    );
}
