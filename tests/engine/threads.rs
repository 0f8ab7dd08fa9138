//! Results never depend on the number of threads.

use rillm::internals::eval::Cut;

use crate::support::setup::{
    DECODERS, evaluate, feed, instruction_sets_for, open_with, runnable, same_answers, same_bits,
    small,
};

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for name in runnable() {
        for isa in instruction_sets_for(&name) {
            let opened = [1, 2, 3].map(|threads| open_with(&name, Some(isa), threads));
            for case in &opened[0].fixture.cases {
                let cuts: &[Cut] = match opened[0].decodes() {
                    true => &[Cut::Whole, Cut::Batch(4)],
                    false => &[Cut::Whole],
                };
                for &cut in cuts {
                    let answers = opened.each_ref().map(|opened| {
                        let label = format!(
                            "{name}/{} on {isa}, {cut:?}, {} threads",
                            case.name,
                            opened.model.threads()
                        );
                        let answers = evaluate(&label, &opened.model, &case.input, cut);
                        (label, answers)
                    });
                    for (label, more) in &answers[1..] {
                        same_answers(label, more, &answers[0].1);
                    }
                }
            }
        }
    }
}

/// Many chunks of every kind, over several pages.
#[test]
fn long_inputs_have_the_same_bits_on_any_number_of_threads() {
    for name in DECODERS {
        let alone = open_with(name, crate::support::setup::forced(), 1);
        let tokens = alone.tokens(0, 200);
        let expected = alone.replay(&tokens);
        for threads in [2, 3, 5] {
            let opened = open_with(name, crate::support::setup::forced(), threads);
            let mut options = small(1, 200);
            options.batch = 96;
            let mut session = opened.session(options);
            let outputs = feed(&mut session, &opened.rows(&tokens, 0, 0)).expect("a feed");
            same_bits(&format!("{name}, {threads} threads"), &outputs, &expected);
        }
    }
}
