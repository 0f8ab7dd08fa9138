//! Another cut of the same input gives the same outputs.
//!
//! Rule 2 of `exactness` allows float32 an error of 1e-5 of the scale for attention and 1e-4
//! for recurrent forms. The engine needs neither: a product's sum has one order whatever the
//! number of rows, attention's tiles begin at multiples of a page, and recurrent layers take
//! their rows one by one. So the bits are compared.

use rillm::Row;
use rillm::internals::ModelParts;
use rillm::internals::eval::Cut;

use crate::support::setup::{
    DECODERS, alone, depends_on_cut, evaluate, feed, instruction_sets, instruction_sets_for, open,
    open_with, runnable, same_answers, same_bits, sequences, small, try_evaluate,
};

#[test]
fn step_by_step_and_in_chunks_equals_whole() {
    let (mut compared, mut skipped) = (0, Vec::new());
    for name in runnable() {
        for isa in instruction_sets_for(&name) {
            let opened = open_with(&name, Some(isa), 1);
            for case in opened.fixture.cases.iter().filter(|_| opened.decodes()) {
                let label = format!("{name}/{} on {isa}", case.name);
                if depends_on_cut(&opened, case) {
                    if opened.model.segments().is_none() {
                        skipped.push(format!("{name}/{}", case.name));
                    }
                    continue;
                }
                let whole = evaluate(&label, &opened.model, &case.input, Cut::Whole);
                for step in [1, 3, 5] {
                    let label = format!("{label}, {step} at a time");
                    let parts = evaluate(&label, &opened.model, &case.input, Cut::Batch(step));
                    same_answers(&label, &parts, &whole);
                    compared += 1;
                }
            }
        }
    }
    // The cases of all fixtures that decode, less what depends on the cut.
    assert!(compared >= 300 * 3, "{compared} comparisons");
    skipped.dedup();
    skipped.truncate(3);
    let dynamic = ["long", "left", "right"].map(|case| format!("llama_dynamic/{case}"));
    assert_eq!(skipped, dynamic);
}

/// The exception is real: past the trained length the cut does change the outputs, or
/// `depends_on_cut` would excuse nothing.
#[test]
fn dynamic_frequencies_depend_on_the_cut_past_the_trained_length() {
    let opened = open("llama_dynamic");
    let case = opened.fixture.case("long");
    let whole = evaluate("whole", &opened.model, &case.input, Cut::Whole);
    let parts = evaluate("parts", &opened.model, &case.input, Cut::Batch(5));
    assert_ne!(whole, parts);
    // The same cut twice is the same.
    let again = evaluate("again", &opened.model, &case.input, Cut::Batch(5));
    same_answers("again", &again, &parts);
}

/// The frequencies are chosen once per feed, whatever batches the session cuts it into.
#[test]
fn batches_of_a_feed_share_its_dynamic_frequencies() {
    let opened = open("llama_dynamic");
    let tokens = opened.tokens(0, 61);
    let whole = opened.replay(&tokens);
    for batch in [1, 7, 24, 60] {
        let mut options = small(1, 61);
        options.batch = batch;
        let mut session = opened.session(options);
        let outputs = feed(&mut session, &opened.rows(&tokens, 0, 0)).expect("a feed");
        same_bits(&format!("batches of {batch}"), &outputs, &whole);
    }
}

/// The reference counts the rows of a call: those of a text that comes whole fill experts, one after
/// the other none does, and batches of a session must not tell.
#[test]
fn experts_that_are_full_are_so_for_rows_that_come_together() {
    let opened = open("switch_full");
    let input = &opened.fixture.cases[0].input;
    let whole = evaluate("whole", &opened.model, input, Cut::Whole);
    let steps = evaluate("steps", &opened.model, input, Cut::Batch(1));
    assert_ne!(whole, steps);
    let rows = opened.rows(&opened.tokens(0, 31), 0, 0);
    let fed_in = |batch: usize| {
        let mut options = small(1, 31);
        options.batch = batch;
        let mut session = opened.session(options);
        session.encode(&rows[..20], &mut |_| {}).expect("a source");
        feed(&mut session, &rows)
    };
    fed_in(31).expect("a feed");
    let refused = fed_in(30).expect_err("a feed in batches").to_string();
    assert!(
        refused.contains("31 are more than a batch of 30"),
        "{refused}"
    );
}

/// An expert takes so many inputs at a time: here more choose it, and row by row two experts.
#[test]
fn experts_that_hundreds_choose_answer_as_for_one() {
    const SEQUENCES: usize = 12;
    const LEN: usize = 60;
    for isa in instruction_sets() {
        let opened = open_with("mixtral", Some(isa), 1);
        let tokens = |sequence: usize| opened.tokens(sequence, LEN);
        let mut rows = Vec::new();
        for sequence in 0..SEQUENCES {
            rows.extend(opened.rows(&tokens(sequence), 0, sequence as u32));
        }
        let mut session = opened.session(small(SEQUENCES, LEN));
        let together = feed(&mut session, &rows).expect("a feed");
        for (sequence, together) in together.chunks(LEN).enumerate() {
            let mut options = small(1, LEN);
            options.batch = 1;
            let mut session = opened.session(options);
            let rows = opened.rows(&tokens(sequence), 0, 0);
            let alone = feed(&mut session, &rows).expect("a feed");
            same_bits(&format!("sequence {sequence} on {isa}"), together, &alone);
        }
    }
}

#[test]
fn models_that_see_their_input_whole_refuse_to_be_cut() {
    let mut refused = 0;
    for name in runnable() {
        let opened = open(&name);
        if opened.decodes() {
            continue;
        }
        let input = &opened.fixture.cases[0].input;
        let error = try_evaluate(&opened.model, input, Cut::Batch(3)).expect_err(&name);
        assert!(
            error
                .to_string()
                .ends_with("sees its input whole, it cannot be fed step by step"),
            "{error}"
        );
        refused += 1;
    }
    assert!(refused > 10, "{refused} encoders");
}

#[test]
fn a_batch_of_sequences_equals_each_alone() {
    let mut compared = 0;
    for name in runnable() {
        for isa in instruction_sets_for(&name) {
            let opened = open_with(&name, Some(isa), 1);
            for case in &opened.fixture.cases {
                if sequences(case) == 1 || depends_on_cut(&opened, case) {
                    continue;
                }
                let label = format!("{name}/{} on {isa}", case.name);
                let together = evaluate(&label, &opened.model, &case.input, Cut::Whole);
                for sequence in 0..sequences(case) {
                    let label = format!("{label}, sequence {sequence}");
                    let alone = alone(case, sequence);
                    let alone = evaluate(&label, &opened.model, &alone, Cut::Whole);
                    for (together, alone) in together.iter().zip(&alone) {
                        let count = alone.values.len();
                        let part = sequence * count..(sequence + 1) * count;
                        assert_eq!(together.came[part.clone()], alone.came, "{label}");
                        same_bits(
                            &label,
                            &[together.values[part].to_vec()],
                            std::slice::from_ref(&alone.values),
                        );
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 100, "{compared} comparisons");
}

/// Beyond one page of the KV cache, one tile of rows and one chunk of outputs.
#[test]
fn long_inputs_in_any_cut_and_batch_size_are_the_same() {
    const LENGTH: usize = 150;
    for name in DECODERS {
        for isa in instruction_sets() {
            let opened = open_with(name, Some(isa), 1);
            let tokens = opened.tokens(0, LENGTH);
            let rows = opened.rows(&tokens, 0, 0);
            let whole = opened.replay(&tokens);
            // (rows per feed, rows per batch of the session)
            for (step, batch) in [
                (1, 1),
                (1, 8),
                (LENGTH, 1),
                (LENGTH, 7),
                (64, 64),
                (65, 512),
            ] {
                let mut options = small(1, LENGTH);
                options.batch = batch;
                let mut session = opened.session(options);
                let mut outputs = Vec::new();
                for part in rows.chunks(step) {
                    outputs.extend(feed(&mut session, part).expect("a part"));
                }
                let label = format!("{name} on {isa}, feeds of {step}, batches of {batch}");
                same_bits(&label, &outputs, &whole);
            }
        }
    }
}

#[test]
fn interleaved_sequences_of_any_length_equal_each_alone() {
    let lengths = [70, 3, 0, 41];
    for name in DECODERS {
        let opened = open(name);
        let inputs: Vec<Vec<u32>> = (0..)
            .zip(lengths)
            .map(|(i, len)| opened.tokens(i * 5, len))
            .collect();
        let alone: Vec<_> = inputs.iter().map(|tokens| opened.replay(tokens)).collect();
        let each: Vec<Vec<Row>> = (0..)
            .zip(&inputs)
            .map(|(sequence, tokens)| opened.rows(tokens, 0, sequence))
            .collect();
        // Round robin, so that neighbours belong to different sequences.
        let longest = lengths.into_iter().max().unwrap_or(0);
        let mixed: Vec<Row> = (0..longest)
            .flat_map(|index| each.iter().filter_map(move |rows| rows.get(index).copied()))
            .collect();
        for batch in [512, 16, 1] {
            let mut options = small(lengths.len(), longest);
            options.batch = batch;
            let mut session = opened.session(options);
            let outputs = feed(&mut session, &mixed).expect("a mixed feed");
            for (sequence, expected) in (0..).zip(&alone) {
                let of = mixed.iter().zip(&outputs);
                let found: Vec<_> = of
                    .filter(|(row, _)| row.sequence == sequence)
                    .map(|(_, output)| output.clone())
                    .collect();
                let label = format!("{name}, sequence {sequence}, batches of {batch}");
                same_bits(&label, &found, expected);
                assert_eq!(session.len(sequence).unwrap(), expected.len(), "{label}");
            }
        }
    }
}

#[test]
fn asking_for_few_outputs_changes_none_of_them() {
    for name in DECODERS {
        let opened = open(name);
        let tokens = opened.tokens(2, 40);
        let whole = opened.replay(&tokens);
        let mut rows = opened.rows(&tokens, 0, 0);
        for (index, row) in rows.iter_mut().enumerate() {
            row.emit = index % 7 == 3 || index == 39;
        }
        let mut session = opened.session(small(1, 40));
        let outputs = feed(&mut session, &rows).expect("a feed");
        let asked = |outputs: &[Vec<f32>]| -> Vec<Vec<f32>> {
            let asked = outputs.iter().zip(&rows).filter(|(_, row)| row.emit);
            asked.map(|(output, _)| output.clone()).collect()
        };
        same_bits(name, &asked(&outputs), &asked(&whole));
    }
}
