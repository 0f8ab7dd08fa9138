//! One query head against a tile of keys.

use core::arch::x86_64::*;

use super::register::{
    LANES, exp_below_one, load_floats, load_tail, store_floats, store_tail, sum,
};
use super::vector::dot;
use crate::kernels::{Attend, Running};

#[target_feature(enable = "avx2,fma")]
pub(super) fn attend(
    call: &Attend<'_>,
    scores: &mut [f32],
    running: &mut Running,
    out: &mut [f32],
) {
    let keys = call.keys.chunks(call.key_stride.max(1));
    let mut largest = running.max;
    for (score, key) in scores.iter_mut().zip(keys) {
        if *score == f32::NEG_INFINITY {
            continue;
        }
        let product = call.scale * dot(call.query, key);
        *score += match call.softcap {
            Some(cap) => cap * (product / cap).tanh(),
            None => product,
        };
        largest = largest.max(*score);
    }
    if largest == f32::NEG_INFINITY {
        // Every key so far was masked: there is nothing to rescale, and −∞ − (−∞) is NaN.
        return;
    }
    let correction = (running.max - largest).exp();
    running.max = largest;
    running.sum = running.sum * correction + exponentials(scores, largest);
    accumulate(call, scores, correction, out);
}

/// Turns scores into exp(score − largest) and adds them up.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exponentials(scores: &mut [f32], largest: f32) -> f32 {
    let largest = _mm256_set1_ps(largest);
    let mut sums = _mm256_setzero_ps();
    let (chunks, tail) = scores.as_chunks_mut::<LANES>();
    for scores in chunks {
        let weights = exp_below_one(_mm256_sub_ps(load_floats(scores), largest));
        store_floats(scores, weights);
        sums = _mm256_add_ps(sums, weights);
    }
    if !tail.is_empty() {
        store_tail(tail, exp_below_one(_mm256_sub_ps(load_tail(tail), largest)));
        // Loaded again, so that what fills the register up is zero.
        sums = _mm256_add_ps(sums, load_tail(tail));
    }
    sum(sums)
}

/// `out ← correction · out + Σ weight · value`, a few registers of `out` at a time.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn accumulate(call: &Attend<'_>, weights: &[f32], correction: f32, out: &mut [f32]) {
    const REGISTERS: usize = 8;
    let stride = call.value_stride.max(1);
    let (wide, rest) = out.as_chunks_mut::<{ REGISTERS * LANES }>();
    let done = wide.len() * REGISTERS * LANES;
    for (index, out) in wide.iter_mut().enumerate() {
        let start = index * REGISTERS * LANES;
        accumulate_at::<REGISTERS>(call.values, stride, start, weights, correction, out);
    }
    let (narrow, tail) = rest.as_chunks_mut::<LANES>();
    let tail_start = done + narrow.len() * LANES;
    for (index, out) in narrow.iter_mut().enumerate() {
        let start = done + index * LANES;
        accumulate_at::<1>(call.values, stride, start, weights, correction, out);
    }
    for (index, out) in tail.iter_mut().enumerate() {
        *out *= correction;
        for (&weight, value) in weights.iter().zip(call.values.chunks(stride)) {
            if weight != 0.0
                && let Some(value) = value.get(tail_start + index)
            {
                *out = weight.mul_add(*value, *out);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn accumulate_at<const REGISTERS: usize>(
    values: &[f32],
    stride: usize,
    start: usize,
    weights: &[f32],
    correction: f32,
    out: &mut [f32],
) {
    let mut sums = [_mm256_setzero_ps(); REGISTERS];
    let (out, _) = out.as_chunks_mut::<LANES>();
    for (sum, out) in sums.iter_mut().zip(out.iter()) {
        *sum = _mm256_mul_ps(load_floats(out), _mm256_set1_ps(correction));
    }
    for (&weight, value) in weights.iter().zip(values.chunks(stride)) {
        // A masked key's value may be anything, NaN included.
        if weight == 0.0 {
            continue;
        }
        let Some(value) = value.get(start..start + REGISTERS * LANES) else {
            continue;
        };
        let (value, _) = value.as_chunks::<LANES>();
        for n in 0..REGISTERS {
            sums[n] = _mm256_fmadd_ps(_mm256_set1_ps(weight), load_floats(&value[n]), sums[n]);
        }
    }
    for (sum, out) in sums.iter().zip(out) {
        store_floats(out, *sum);
    }
}
