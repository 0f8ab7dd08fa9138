//! Mixtures of experts: the choice, products of rows with the experts that they have chosen, and
//! the sum.

use super::run::{RowStep, Step, StepContext, range};
use crate::graph::Among;
use crate::graph::op::{ExpertMatMul, ExpertSum, Route};
use crate::kernels::{MatMul, Pick};

/// An expert's weight rows that a worker claims at a time, where few rows come at once.
const CHUNK: usize = 64;

/// The same where many do: each chunk looks through all their choices first, and what it
/// unpacks of the weights serves several of them.
const LONG_CHUNK: usize = 256;

/// Inputs of one call.
const GROUP: usize = 128;

/// How a step is cut. An expert's rows fall into `parts` chunks. With few rows, each choice is
/// a candidate to begin with: most experts have been chosen by nobody. With many, each expert is.
struct ExpertCut {
    slots: usize,
    by_choice: bool,
    candidates: usize,
    rows: usize,
}

impl ExpertCut {
    fn of(step: &ExpertMatMul, cx: &StepContext<'_>) -> ExpertCut {
        let experts = step.experts;
        let slots = cx.width(step.route) / 2;
        let choices = cx.tile.len() * slots;
        let by_choice = choices < experts.stack;
        ExpertCut {
            slots,
            by_choice,
            candidates: if by_choice { choices } else { experts.stack },
            rows: if by_choice { CHUNK } else { LONG_CHUNK },
        }
    }
}

impl Step for ExpertMatMul {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        let cut = ExpertCut::of(self, cx);
        cut.candidates * self.experts.rows.div_ceil(cut.rows)
    }

    /// Some rows of one expert against every input of which a slot chose it.
    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let cut = ExpertCut::of(self, cx);
        let (experts, out) = (self.experts, cx.out());
        let first = cx.tile.range.start;
        let choices = |row: usize| &cx.row(self.route, row)[cut.slots..];
        let parts = experts.rows.div_ceil(cut.rows);
        let (candidate, rows) = (chunk / parts, range(chunk % parts, cut.rows, experts.rows));
        // Numbers of experts are kept as floats, as everything of a row is.
        let expert = match cut.by_choice {
            false => candidate,
            true => {
                let (row, slot) = (first + candidate / cut.slots, candidate % cut.slots);
                let expert = choices(row)[slot];
                // The first to choose it stands for all.
                if (first..row).any(|row| choices(row).contains(&expert)) {
                    return;
                }
                expert as usize
            }
        };

        let weight = cx.weights.matrix(experts);
        let info = cx.info(self.x);
        let per_slot = match info.width == weight.columns {
            true => 0,
            false => info.form.row_len(weight.columns).unwrap_or(0),
        };
        let (from, to) = (cx.stride(self.x), cx.stride(out));
        let call = |picks: &[Pick]| {
            let stored = expert * experts.rows + rows.start..expert * experts.rows + rows.end;
            for (part, weights) in cx.weights.runs(weight, stored) {
                let skipped = part.start - expert * experts.rows;
                // SAFETY: `runs` yields valid rows of this weight; each pick names an input and a
                // result of a row and slot of the tile, and these columns of a slot that chose this
                // expert are this chunk's.
                unsafe {
                    (weight.kernel.run)(&MatMul {
                        weights,
                        weight_stride: weight.stride,
                        weight_rows: part.len(),
                        columns: weight.columns,
                        inputs: cx.row_ptr(self.x, first),
                        input_stride: 0,
                        inputs_len: picks.len(),
                        out: cx.row_ptr(out, first).cast::<f32>().add(skipped),
                        out_stride: 0,
                        picks: picks.as_ptr(),
                    });
                }
            }
        };
        let mut picks = [Pick::default(); GROUP];
        let mut count = 0;
        for (index, row) in cx.tile.range.clone().enumerate() {
            for (slot, &chosen) in choices(row).iter().enumerate() {
                if chosen as usize == expert {
                    picks[count] = Pick {
                        input: index * from + slot * per_slot,
                        out: index * to / size_of::<f32>() + slot * experts.rows,
                    };
                    count += 1;
                    if count == GROUP {
                        call(&picks);
                        count = 0;
                    }
                }
            }
        }
        if count > 0 {
            call(&picks[..count]);
        }
    }
}

impl RowStep for Route {
    /// The `top_k` largest of softmax(logits), then their numbers. Ties go to the lower number.
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let logits = cx.row(self.logits, row);
        let (weights, experts) = out.split_at_mut(self.top_k);
        for slot in 0..self.top_k {
            let mut best: Option<usize> = None;
            for (expert, &logit) in logits.iter().enumerate() {
                let taken = experts[..slot]
                    .iter()
                    .any(|&other| other as usize == expert);
                if !taken && best.is_none_or(|best| logit > logits[best]) {
                    best = Some(expert);
                }
            }
            let best = best.unwrap_or(0);
            experts[slot] = best as f32;
            weights[slot] = logits[best];
        }
        match self.among {
            // softmax over all, then over the chosen ones: the sum over all cancels
            Among::Chosen => (cx.kernels.softmax)(weights),
            Among::All => {
                let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let exponential = |logit: f32| (logit - largest).exp();
                let sum: f64 = logits.iter().map(|&l| f64::from(exponential(l))).sum();
                for weight in weights {
                    *weight = (f64::from(exponential(*weight)) / sum) as f32;
                }
            }
        }
    }
}

impl RowStep for ExpertSum {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let route = cx.row(self.route, row);
        out.fill(0.0);
        let parts = cx.row(self.x, row).chunks_exact(out.len());
        for (weight, part) in route[..route.len() / 2].iter().zip(parts) {
            (cx.kernels.axpy)(*weight, part, out);
        }
    }
}
