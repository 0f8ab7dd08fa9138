//! One query head against a tile of keys.

use super::vector::{axpy, dot};
use crate::kernels::{Attend, Running};

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
    running.sum *= correction;
    for out in out.iter_mut() {
        *out *= correction;
    }
    let values = call.values.chunks(call.value_stride.max(1));
    for (score, value) in scores.iter_mut().zip(values) {
        *score = (*score - largest).exp();
        running.sum += *score;
        // A masked key's value may be anything, NaN included.
        if *score != 0.0 {
            axpy(*score, value, out);
        }
    }
}
