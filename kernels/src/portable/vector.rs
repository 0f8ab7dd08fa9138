//! Sums and functions of rows of floats.

use wide::{f32x4, f64x2};

use super::f32x4::{LANES, exp_below_one, sum, tanh};
use crate::{Pointwise, scalar};

/// Σ a·b in four registers of partial sums.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_tail) = a[..len].as_chunks::<{ 4 * LANES }>();
    let (b, b_tail) = b[..len].as_chunks::<{ 4 * LANES }>();
    let mut sums = [f32x4::ZERO; 4];
    let mut add = |a: &[f32; 4 * LANES], b: &[f32; 4 * LANES]| {
        let (a, b) = (a.as_chunks().0, b.as_chunks().0);
        for n in 0..4 {
            sums[n] = f32x4::new(a[n]).mul_add(f32x4::new(b[n]), sums[n]);
        }
    };
    for (a, b) in a.iter().zip(b) {
        add(a, b);
    }
    if !a_tail.is_empty() {
        let mut padded = [[0.0; 4 * LANES]; 2];
        padded[0][..a_tail.len()].copy_from_slice(a_tail);
        padded[1][..b_tail.len()].copy_from_slice(b_tail);
        add(&padded[0], &padded[1]);
    }
    sum((sums[0] + sums[2]) + (sums[1] + sums[3]))
}

/// Elements whose squares or values are added up side by side, in double precision.
const DOUBLES: usize = 8;

/// Σ function(x), in double precision as in the scalar version.
#[inline(always)]
fn sum_doubles(x: &[f32], function: impl Fn(f64x2) -> f64x2) -> f64 {
    let mut sums = [f64x2::ZERO; DOUBLES / 2];
    let (chunks, tail) = x.as_chunks::<DOUBLES>();
    for x in chunks {
        for n in 0..DOUBLES / 2 {
            let pair = [f64::from(x[2 * n]), f64::from(x[2 * n + 1])];
            sums[n] += function(f64x2::new(pair));
        }
    }
    let [a, b, c, d] = sums;
    let [first, second] = ((a + c) + (b + d)).to_array();
    let rest = tail.iter().map(|&x| {
        let [value, _] = function(f64x2::splat(f64::from(x))).to_array();
        value
    });
    first + second + rest.sum::<f64>()
}

fn inverse_root(mean_square: f64, epsilon: f32) -> f32 {
    (1.0 / (mean_square + f64::from(epsilon)).sqrt()) as f32
}

pub(super) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let squares = sum_doubles(x, |x| x * x);
    let inverse = inverse_root(squares / x.len() as f64, epsilon);
    for (out, (x, weight)) in out.iter_mut().zip(x.iter().zip(weight)) {
        *out = x * inverse * weight;
    }
}

pub(super) fn layer_norm(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
) {
    let len = x.len() as f64;
    let mean = sum_doubles(x, |x| x) / len;
    let squares = sum_doubles(x, |x| {
        let distance = x - f64x2::splat(mean);
        distance * distance
    });
    let inverse = inverse_root(squares / len, epsilon);
    for (out, (&x, weight)) in out.iter_mut().zip(x.iter().zip(weight)) {
        // The subtraction is where a large mean would cancel: it stays in double precision.
        *out = (f64::from(x) - mean) as f32 * inverse * weight;
    }
    if let Some(bias) = bias {
        for (out, bias) in out.iter_mut().zip(bias) {
            *out += bias;
        }
    }
}

pub(super) fn softmax(x: &mut [f32]) {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        // Nothing to attend to, or faults alone: −∞ − (−∞) is not for us to judge.
        return (scalar::TABLE.softmax)(x);
    }
    each(x, |x| exp_below_one(x - f32x4::splat(largest)));
    let inverse = (1.0 / sum_doubles(x, |x| x)) as f32;
    for x in x {
        *x *= inverse;
    }
}

/// A function of each element; a ragged end is filled with zeros, so that an element gets the
/// same bits wherever it stands.
#[inline(always)]
fn each(x: &mut [f32], function: impl Fn(f32x4) -> f32x4) {
    let (chunks, tail) = x.as_chunks_mut::<LANES>();
    for x in chunks {
        *x = function(f32x4::new(*x)).to_array();
    }
    let mut padded = [0.0; LANES];
    for (padded, x) in padded.iter_mut().zip(tail.iter()) {
        *padded = *x;
    }
    let padded = function(f32x4::new(padded)).to_array();
    for (x, padded) in tail.iter_mut().zip(padded) {
        *x = padded;
    }
}

pub(super) fn pointwise(function: Pointwise, x: &mut [f32]) {
    match function {
        Pointwise::Silu => each(x, |x| x * sigmoid(x)),
        Pointwise::Sigmoid => each(x, sigmoid),
        Pointwise::Exp => each(x, exp),
        Pointwise::GeluTanh => each(x, |x| {
            const TWICE_ROOT: f32 = 1.595_769_2; // 2·√(2/π)
            let factor = f32x4::splat(TWICE_ROOT * 0.044_715) * (x * x);
            x * sigmoid(x * (factor + f32x4::splat(TWICE_ROOT)))
        }),
        Pointwise::Tanh => tanh(x),
        _ => (scalar::TABLE.pointwise)(function, x),
    }
}

/// exp(x): decays, whose exponents are negative, at full speed, others one by one.
#[inline(always)]
fn exp(x: f32x4) -> f32x4 {
    let above = x.simd_gt(f32x4::ZERO);
    let below = exp_below_one(above.select(f32x4::ZERO, x));
    match above.any() {
        true => above.select(f32x4::new(x.to_array().map(f32::exp)), below),
        false => below,
    }
}

/// 1 / (1 + exp(−|x|)), or one minus that: the exponential never overflows.
#[inline(always)]
fn sigmoid(x: f32x4) -> f32x4 {
    let one = f32x4::splat(1.0);
    let small = exp_below_one(x | f32x4::splat(-0.0));
    let below = x.simd_lt(f32x4::ZERO);
    below.select(small, one) / (one + small)
}
