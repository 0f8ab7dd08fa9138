//! Mixtures of experts: the choice, products of rows with the experts that they have chosen, and
//! the sum.

use super::run::{RowStep, Step, StepContext, range, row_chunks};
use crate::graph::op::{
    ExpertCapacity, ExpertGroups, ExpertInputs, ExpertMatMul, ExpertSum, ExpertWeight, GroupScore,
    LimitCapacity, LimitGroups, Route, Routing, Softmax,
};
use crate::kernels::{Kernels, MatMul, Pick};

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

        if !cx.is_open(experts, expert) {
            return;
        }
        let weight = cx.weights.matrix(experts);
        let info = cx.info(self.x);
        let per_slot = match info.width == weight.columns {
            true => 0,
            false => info.form.row_len(weight.columns).unwrap_or(0),
        };
        let (from, to) = (cx.stride(self.x), cx.stride(out));
        let bias = self.bias.map(|bias| {
            let first = expert * experts.rows;
            &cx.weights.vector(bias)[first + rows.start..first + rows.end]
        });
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
                        tuning: weight.kernel.tuning,
                    });
                }
            }
            for (pick, bias) in picks.iter().flat_map(|pick| bias.map(|bias| (pick, bias))) {
                // SAFETY: as above, each of these columns is this chunk's.
                let out = unsafe {
                    let out = cx.row_ptr(out, first).cast::<f32>();
                    std::slice::from_raw_parts_mut(out.add(pick.out + rows.start), rows.len())
                };
                out.iter_mut()
                    .zip(bias)
                    .for_each(|(out, bias)| *out += bias);
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

impl RowStep for Softmax {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        cx.copy_row(self.x, row, out);
        (cx.kernels.softmax)(out);
    }
}

impl RowStep for LimitGroups {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        limit_groups(self.groups, cx.row(self.x, row), out);
    }
}

impl RowStep for Route {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let (scores, choice) = (cx.row(self.scores, row), cx.row(self.choice, row));
        let scales = self.expert_scales.map(|scales| cx.weights.vector(scales));
        route(cx.kernels, &self.routing, [scores, choice], scales, out);
    }
}

impl Step for LimitCapacity {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let width = cx.width(cx.out());
        let slots = width / 2;
        for row in cx.rows_of(chunk) {
            let rows = cx.rows.groups[cx.rows.facts[row].group as usize];
            let capacity = match self.capacity {
                ExpertCapacity::Rows(rows) => rows,
                ExpertCapacity::Part(part) => (part * rows.len as f64).ceil() as usize,
            };
            // SAFETY: this row is this chunk's, and the route lies elsewhere.
            let out = unsafe { cx.row_mut(cx.out(), row, 0..width) };
            out.copy_from_slice(cx.row(self.route, row));
            let (weights, experts) = out.split_at_mut(slots);
            for (slot, (weight, expert)) in weights.iter_mut().zip(experts).enumerate() {
                let chose = |row: usize| cx.row(self.route, row)[slots..].iter();
                // All who chose it first, then those before this row who chose it as it did.
                let all = (rows.first..rows.first + rows.len).flat_map(|row| chose(row).take(slot));
                let before = (rows.first..row).map(|row| &cx.row(self.route, row)[slots + slot]);
                if all.chain(before).filter(|other| **other == *expert).count() >= capacity {
                    *weight = 0.0;
                }
            }
            if self.share {
                let sum = weights.iter().sum::<f32>().max(f32::EPSILON);
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
        }
    }
}

impl RowStep for ExpertInputs {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let (x, route) = (cx.row(self.x, row), cx.row(self.route, row));
        for (out, weight) in out.chunks_exact_mut(x.len()).zip(route) {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x * weight);
        }
    }
}

impl RowStep for ExpertSum {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let route = self.route.map(|route| cx.row(route, row));
        out.fill(0.0);
        let parts = cx.row(self.x, row).chunks_exact(out.len());
        for (slot, part) in parts.enumerate() {
            let weight = route.map_or(1.0, |route| route[slot]);
            (cx.kernels.axpy)(weight, part, out);
        }
    }
}

/// The number of the largest value, the first of several, of those that come after `last` in this
/// order. What is not a number comes nowhere.
fn next_best(
    values: impl Iterator<Item = f32>,
    last: Option<(f32, usize)>,
) -> Option<(f32, usize)> {
    let mut best: Option<(f32, usize)> = None;
    for (index, value) in values.enumerate() {
        let left =
            last.is_none_or(|(least, taken)| value < least || value == least && index > taken);
        if left && !value.is_nan() && best.is_none_or(|(most, _)| value > most) {
            best = Some((value, index));
        }
    }
    best
}

/// Copies `x` where a group of neighbours is among the best, and puts −∞ elsewhere.
pub fn limit_groups(groups: ExpertGroups, x: &[f32], out: &mut [f32]) {
    let size = (x.len() / groups.groups).max(1);
    let score = |group: &[f32]| {
        let first = next_best(group.iter().copied(), None);
        let largest = first.map_or(f32::NEG_INFINITY, |(value, _)| value);
        match groups.score {
            GroupScore::Largest => largest,
            GroupScore::TopTwo => {
                let second = next_best(group.iter().copied(), first);
                largest + second.map_or(f32::NEG_INFINITY, |(value, _)| value)
            }
        }
    };
    out.fill(f32::NEG_INFINITY);
    let mut last = None;
    for _ in 0..groups.used {
        last = next_best(x.chunks_exact(size).map(score), last);
        let Some((_, group)) = last else {
            return;
        };
        let range = group * size..(group + 1) * size;
        out[range.clone()].copy_from_slice(&x[range]);
    }
}

/// The experts of the largest `choice`, the lower number first where several are as large, behind
/// what their scores become.
pub fn route(
    kernels: &Kernels,
    routing: &Routing,
    [scores, choice]: [&[f32]; 2],
    expert_scales: Option<&[f32]>,
    out: &mut [f32],
) {
    let (weights, experts) = out.split_at_mut(routing.top_k);
    let mut last = None;
    for (weight, expert) in weights.iter_mut().zip(&mut *experts) {
        last = next_best(choice.iter().copied(), last);
        // If nothing is a number, what follows is not either.
        let best = last.map_or(0, |(_, best)| best);
        *expert = best as f32;
        *weight = scores[best];
    }
    let sum = |weights: &[f32]| weights.iter().sum::<f32>();
    match routing.weight {
        ExpertWeight::Score => {}
        ExpertWeight::Softmax => (kernels.softmax)(weights),
        ExpertWeight::Share { added, least } => {
            let sum = (sum(weights) + added).max(least);
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        ExpertWeight::Norm(p) => {
            let powers = weights.iter().map(|weight| weight.abs().powf(p));
            let norm = powers.sum::<f32>().powf(p.recip());
            weights.iter_mut().for_each(|weight| *weight /= norm);
        }
        ExpertWeight::SparseMixer(near) => {
            for slot in 0..weights.len() {
                weights[slot] = mixed(scores, &experts[..slot], weights[slot], near);
            }
        }
    }
    for (weight, &expert) in weights.iter_mut().zip(&*experts) {
        *weight *= routing.scale;
        if let Some(scales) = expert_scales {
            *weight *= scales[expert as usize];
        }
    }
}

/// 1 / Σ exp(score − largest) over the scores that are near the largest, without those taken.
fn mixed(scores: &[f32], taken: &[f32], largest: f32, near: f32) -> f32 {
    let scores = scores.iter().enumerate();
    let left = scores.filter(|(expert, _)| !taken.contains(&(*expert as f32)));
    let exponentials = left.map(|(_, score)| {
        let far = (largest - score) / score.abs().max(largest) > near;
        if far { 0.0 } else { (score - largest).exp() }
    });
    exponentials.sum::<f32>().recip()
}
