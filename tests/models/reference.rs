//! Every output of every fixture against the reference's.

use rillm::internals::eval::Cut;

use crate::support::setup::{evaluate, instruction_sets, open_with, runnable};

#[test]
fn every_output_is_the_references() {
    for name in runnable() {
        for isa in instruction_sets() {
            let opened = open_with(&name, Some(isa), 1);
            assert_eq!(opened.model.isa(), isa, "{name}");
            for case in &opened.fixture.cases {
                let label = format!("{name}/{} on {isa}", case.name);
                let answers = evaluate(&label, &opened.model, &case.input, Cut::Whole);
                for output in &case.outputs {
                    let answer = answers.iter().find(|answer| answer.shape.name == output);
                    let answer = answer.unwrap_or_else(|| panic!("{label}: no {output}"));
                    let shape = answer.shape.shape.iter().map(|&extent| extent as usize);
                    let shape: Vec<usize> = shape.collect();
                    opened.fixture.check(case, output, &shape, &answer.values);
                    // Padding never becomes a row; everything else comes.
                    let mask = case.mask(output).unwrap_or_else(|| vec![true]);
                    let width = answer.came.len() / mask.len();
                    let came = answer.came.chunks_exact(width).zip(&mask);
                    assert!(
                        came.into_iter()
                            .all(|(row, &real)| row.iter().all(|&came| came == real)),
                        "{label}: {output} at other positions than the mask keeps"
                    );
                }
            }
        }
    }
}
