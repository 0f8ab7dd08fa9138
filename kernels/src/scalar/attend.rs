//! Queries against a page of keys, one after the other.

use half::f16;

use crate::kv_cache::BLOCK;
use crate::{Attend, KvHalf, KvType, PAGE, Running};

pub(super) fn attend(
    call: &Attend<'_>,
    scores: &mut [f32],
    running: &mut [Running],
    out: &mut [f32],
) {
    assert!(call.checked(scores, running.len(), out), "slices too short");
    let stride = Attend::stride(call.dim);
    for (n, running) in running.iter_mut().enumerate() {
        let query = &call.queries[n * stride..][..call.dim];
        let out = &mut out[n * stride..][..call.value_in_key.unwrap_or(call.dim)];
        let scores = &mut scores[n * PAGE..][..call.count];
        let mut largest = running.max;
        for (place, score) in scores.iter_mut().enumerate() {
            let bias = call.biases.map_or(0.0, |biases| biases[n * PAGE + place]);
            if bias == f32::NEG_INFINITY {
                *score = bias;
                continue;
            }
            let product = query.iter().enumerate();
            let product = product.map(|(i, q)| q * element(call, KvHalf::Keys, place, i));
            let product: f32 = product.sum();
            *score = bias
                + match call.softcap {
                    Some(cap) => cap * (product / cap).tanh(),
                    None => product,
                };
            largest = largest.max(*score);
        }
        if largest == f32::NEG_INFINITY && !scores.iter().any(|score| score.is_nan()) {
            // Every key so far was hidden: there is nothing to rescale, and −∞ − (−∞) is NaN.
            continue;
        }
        let correction = (running.max - largest).exp();
        running.max = largest;
        running.sum *= correction;
        for out in out.iter_mut() {
            *out *= correction;
        }
        for (place, score) in scores.iter_mut().enumerate() {
            *score = (*score - largest).exp();
            running.sum += *score;
            // A hidden key's value may be anything, NaN included.
            if *score != 0.0 {
                for (i, out) in out.iter_mut().enumerate() {
                    *out += *score * value(call, place, i);
                }
            }
        }
    }
}

/// Element `i` of a value.
fn value(call: &Attend<'_>, place: usize, i: usize) -> f32 {
    match call.value_in_key {
        Some(dim) => element(call, KvHalf::Keys, place, call.dim - dim + i),
        None => element(call, KvHalf::Values, place, i),
    }
}

/// Element `i` of a page's key or value.
fn element(call: &Attend<'_>, half: KvHalf, place: usize, i: usize) -> f32 {
    let scales = call.dim.div_ceil(BLOCK);
    let (bytes, index) = match half {
        KvHalf::Keys => (call.keys, i * PAGE + place),
        KvHalf::Values => (call.values, place * call.value_stride + i),
    };
    let half_at = |index: usize| f16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]);
    match call.kv_type {
        KvType::F32 => f32::from_ne_bytes(bytes.as_chunks().0[index]),
        KvType::F16 => half_at(index).to_f32(),
        KvType::Q8_0 => {
            let scale = half_at(i / BLOCK * PAGE + place).to_f32();
            scale * f32::from(bytes[2 * scales * PAGE + index].cast_signed())
        }
    }
}
