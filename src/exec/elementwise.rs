//! Steps on the elements of a row, and on groups of them.

use super::run::{RowStep, StepContext};
use crate::graph::op::{
    AboveDeviations, Add, AddVector, Apply, Clamp, JoinHeads, Lerp, MatchMagnitude, Mul, Norm,
    NormKind, RoundToInt8, Scale, ScaleByPosition, ScaleHeads, Share, SinusoidFrequencies,
    SinusoidalPositions, StepSize, Weigh, Xielu,
};
use crate::graph::{Value, Vector};
use crate::kernels::Pointwise;

impl RowStep for Norm {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let group = self.group;
        let groups = cx.row(self.x, row).chunks_exact(group);
        for (index, (x, out)) in groups.zip(out.chunks_exact_mut(group)).enumerate() {
            let of = |vector: &Vector| {
                let start = index * group % vector.len;
                &cx.weights.vector(*vector)[start..start + group]
            };
            let (weight, bias) = (of(&self.weight), self.bias.as_ref().map(of));
            match self.kind {
                NormKind::Rms => (cx.kernels.rms_norm)(x, weight, self.eps, out),
                NormKind::Layer => (cx.kernels.layer_norm)(x, weight, bias, self.eps, out),
            }
        }
    }
}

impl RowStep for Add {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let operands = operands(cx, [self.a, self.b], row);
        in_place(operands, out, cx.kernels.add, |x, y| x + y);
    }
}

impl RowStep for Mul {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let operands = operands(cx, [self.a, self.b], row);
        in_place(operands, out, cx.kernels.mul, |x, y| x * y);
    }
}

/// Operands that do not lie in the result.
fn operands<'a>(cx: &StepContext<'a>, values: [Value; 2], row: usize) -> [Option<&'a [f32]>; 2] {
    values.map(|x| (!cx.is_in_place(x, row)).then(|| cx.row(x, row)))
}

/// out ← f(a, b), where an operand that is absent lies in `out`. `kernel` is the same function of
/// operands that lie apart.
fn in_place(
    operands: [Option<&[f32]>; 2],
    out: &mut [f32],
    kernel: fn(&[f32], &[f32], &mut [f32]),
    f: impl Fn(f32, f32) -> f32,
) {
    match operands {
        [Some(a), Some(b)] => kernel(a, b, out),
        // Both functions commute.
        [Some(other), None] | [None, Some(other)] => {
            out.iter_mut().zip(other).for_each(|(x, y)| *x = f(*x, *y));
        }
        [None, None] => out.iter_mut().for_each(|x| *x = f(*x, *x)),
    }
}

impl RowStep for Scale {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        cx.copy_row(self.x, row, out);
        out.iter_mut().for_each(|x| *x *= self.factor);
    }
}

impl RowStep for RoundToInt8 {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let x = cx.row(self.x, row);
        let largest = x.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let steps = 127.0 / largest.max(1e-5);
        out.iter_mut()
            .zip(x)
            .for_each(|(out, x)| *out = (x * steps).round_ties_even() / steps);
    }
}

impl RowStep for JoinHeads {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let heads = |x: Value| {
            let x = cx.row(x, row);
            x.chunks_exact(x.len() / self.heads)
        };
        let joined = out.chunks_exact_mut(out.len() / self.heads);
        for ((a, b), out) in heads(self.a).zip(heads(self.b)).zip(joined) {
            let (to_a, to_b) = out.split_at_mut(a.len());
            to_a.copy_from_slice(a);
            to_b.copy_from_slice(b);
        }
    }
}

impl RowStep for ScaleByPosition {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        cx.copy_row(self.x, row, out);
        let position = cx.rows.facts[row].row.position;
        let position = position.saturating_add(u64::from(self.first));
        let lengths = position / u64::from(self.length.max(1));
        let factor = 1.0 + self.slope * (lengths as f32).ln_1p();
        out.iter_mut().for_each(|x| *x *= factor);
    }
}

impl RowStep for Xielu {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        cx.copy_row(self.x, row, out);
        let mut numbers = self.parameters.map(|vector| cx.weights.vector(vector)[0]);
        (cx.kernels.pointwise)(Pointwise::Softplus, &mut numbers[..2]);
        let [above, below, beta, eps] = numbers;
        let below = beta + below;
        for x in out {
            let bent = match *x > 0.0 {
                true => above * *x * *x,
                false => (x.min(eps).exp_m1() - *x) * below,
            };
            *x = bent + beta * *x;
        }
    }
}

impl RowStep for MatchMagnitude {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let (x, like) = (cx.row(self.x, row), cx.row(self.like, row));
        let mean = |x: &[f32]| (cx.kernels.dot)(x, x) / x.len() as f32;
        let factor = mean(like).sqrt() / mean(x).max(self.least).sqrt();
        out.iter_mut().zip(x).for_each(|(out, x)| *out = x * factor);
    }
}

impl RowStep for AboveDeviations {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let x = cx.row(self.x, row);
        // In 64 bits, as a sum of thousands, most of which cancel.
        let (count, sum) = (x.len() as f64, |of: &dyn Fn(f64) -> f64| -> f64 {
            x.iter().map(|&x| of(f64::from(x))).sum()
        });
        let mean = sum(&|x| x) / count;
        let deviation = (sum(&|x| (x - mean) * (x - mean)) / count).sqrt();
        let least = (mean + deviation * f64::from(self.deviations)) as f32;
        out.iter_mut()
            .zip(x)
            .for_each(|(out, x)| *out = (x - least).max(0.0));
    }
}

impl RowStep for Clamp {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        cx.copy_row(self.x, row, out);
        out.iter_mut()
            .for_each(|x| *x = x.clamp(self.low, self.high));
    }
}

impl RowStep for Apply {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        cx.copy_row(self.x, row, out);
        (cx.kernels.pointwise)(self.function, out);
    }
}

impl RowStep for Weigh {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        cx.copy_row(self.x, row, out);
        let weight = cx.weights.vector(self.weight);
        out.iter_mut().zip(weight).for_each(|(x, w)| *x *= w);
    }
}

impl RowStep for AddVector {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        (cx.kernels.add)(cx.row(self.x, row), cx.weights.vector(self.vector), out);
    }
}

impl RowStep for ScaleHeads {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let by = cx.row(self.by, row);
        let dim = (out.len() / by.len()).max(1);
        let heads = cx.row(self.x, row).chunks_exact(dim);
        for ((x, out), by) in heads.zip(out.chunks_exact_mut(dim)).zip(by) {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x * by);
        }
    }
}

impl RowStep for Lerp {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let t = match self.t {
            Share::Row(t) => cx.row(t, row),
            Share::Fixed(t) => cx.weights.vector(t),
        };
        let ends = cx.row(self.a, row).iter().zip(cx.row(self.b, row));
        for ((out, (a, b)), t) in out.iter_mut().zip(ends).zip(t) {
            *out = a + (b - a) * t;
        }
    }
}

impl RowStep for StepSize {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let bias = cx.weights.vector(self.bias);
        for (out, (x, bias)) in out.iter_mut().zip(cx.row(self.x, row).iter().zip(bias)) {
            *out = x + bias;
        }
        (cx.kernels.pointwise)(Pointwise::Softplus, out);
        for step in out {
            *step = step.clamp(self.limits.0, self.limits.1);
        }
    }
}

impl RowStep for SinusoidalPositions {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let facts = &cx.rows.facts[row].row;
        if self.absent == Some(facts.token) {
            return out.fill(0.0);
        }
        let position = facts.position.saturating_add(u64::from(self.first));
        // Frequencies and products are rounded to f32 as the reference rounds them.
        let rounded = |frequency: f32| f64::from(position as f32 * frequency);
        let (sin, cos) = out.split_at_mut(self.frequencies.pairs());
        for (pair, (sin, cos)) in sin.iter_mut().zip(cos).enumerate() {
            let angle = match self.frequencies {
                SinusoidFrequencies::Usual { pairs } => {
                    let exponent = (2 * pair) as f32 / (2 * pairs) as f32;
                    rounded(1.0 / 10000f64.powf(f64::from(exponent)) as f32)
                }
                SinusoidFrequencies::Stored(vector) => rounded(cx.weights.vector(vector)[pair]),
                SinusoidFrequencies::Exact(vector) => {
                    let (floats, rests) = cx.weights.vector(vector).split_at(vector.len / 2);
                    position as f64 * (f64::from(floats[pair]) + f64::from(rests[pair]))
                }
            };
            let (s, c) = angle.sin_cos();
            (*sin, *cos) = (s as f32, c as f32);
        }
    }
}
