//! Runs an input in transformers' terms that may be hostile. Uses nothing but the library, so that
//! the fuzz target shares it.

use rillm::Model;
use rillm::internals::eval::{Cut, EvalInput};

use super::exercise::{external, one_line};

/// A digit for the model and one for the cut (0: whole), then the input. Panics if there is a
/// defect; returns whether it ran.
pub fn evaluated(models: &[Model], bytes: &[u8]) -> bool {
    let Some((&[which, cut], json)) = bytes.split_first_chunk() else {
        return false;
    };
    let input = match EvalInput::parse(json) {
        Ok(input) => input,
        Err(error) => {
            one_line(&error);
            return false;
        }
    };
    let [which, cut] = [which, cut].map(|digit| usize::from(digit.wrapping_sub(b'0')));
    let model = &models[which % models.len()];
    let cut = match cut {
        0 => Cut::Whole,
        cut => Cut::Batch(cut),
    };
    let shapes = input.outputs(model);
    let len = |index: usize| shapes[index].shape.iter().product::<u64>();
    let ran = input.run(model, cut, &mut |row| {
        let end = row.start + row.values.len();
        assert!(end as u64 <= len(row.output), "{end} floats");
    });
    if let Err(error) = &ran {
        external(error);
    }
    ran.is_ok()
}
