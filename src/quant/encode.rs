//! Scalar encoding of weights. Simple and judged by error, not by bits: each group gets the
//! grid that covers its range, and Q4_K's and Q6_K's group scales are then rounded.

use half::{bf16, f16};
use rillm_formats::manifest::DType;

use super::{Block, BlockQ4_0, BlockQ4K, BlockQ6K, BlockQ8_0, pack_scales_and_mins};

/// Encodes a row of finite weights into whole blocks. Lengths that do not fit each other
/// encode as many whole blocks as both hold.
pub type Encode = fn(&[f32], &mut [u8]);

/// The encoder of a type, if there is one.
pub fn encode(dtype: DType) -> Option<Encode> {
    match dtype {
        DType::F32 => Some(|values, out| floats(values, out, f32::to_le_bytes)),
        DType::F16 => Some(|values, out| floats(values, out, |x| f16::from_f32(x).to_le_bytes())),
        DType::BF16 => Some(|values, out| floats(values, out, |x| bf16::from_f32(x).to_le_bytes())),
        DType::Q8_0 => Some(|values, out| each_block(values, out, encode_q8_0)),
        DType::Q4_0 => Some(|values, out| each_block(values, out, encode_q4_0)),
        DType::Q4_K => Some(|values, out| each_block(values, out, encode_q4_k)),
        DType::Q6_K => Some(|values, out| each_block(values, out, encode_q6_k)),
        _ => None,
    }
}

fn encode_q8_0(values: &[f32; 32]) -> BlockQ8_0 {
    let scale = f16::from_f32(extreme(values).abs() / 127.0);
    let inverse = inverse(scale.to_f32());
    BlockQ8_0 {
        scale: scale.to_le_bytes(),
        quants: values.map(|value| to_range(value * inverse, -127, 127)),
    }
}

fn encode_q4_0(values: &[f32; 32]) -> BlockQ4_0 {
    // −8 is the one quant without a mirror image: it takes the value of largest magnitude.
    let scale = f16::from_f32(extreme(values) / -8.0);
    let inverse = inverse(scale.to_f32());
    let quants = values.map(|value| to_range(value * inverse, -8, 7) + 8);
    BlockQ4_0 {
        scale: scale.to_le_bytes(),
        quants: core::array::from_fn(|i| {
            quants[i].cast_unsigned() | (quants[i + 16].cast_unsigned() << 4)
        }),
    }
}

fn encode_q4_k(values: &[f32; 256]) -> BlockQ4K {
    let (groups, _) = values.as_chunks::<32>();
    // Each group runs from −min (never above zero) to its largest value in 15 steps.
    let lowest: [f32; 8] =
        core::array::from_fn(|g| groups[g].iter().fold(0.0f32, |a, &value| a.min(value)));
    let steps: [f32; 8] = core::array::from_fn(|g| {
        let highest = groups[g].iter().fold(0.0f32, |a, &value| a.max(value));
        (highest - lowest[g]) / 15.0
    });
    let scale = f16::from_f32(largest(&steps) / 63.0);
    let min_scale = f16::from_f32(largest(&lowest) / 63.0);
    let (scale_inverse, min_inverse) = (inverse(scale.to_f32()), inverse(min_scale.to_f32()));
    let scales = steps.map(|step| to_range(step * scale_inverse, 0, 63).cast_unsigned());
    let mins = lowest.map(|low| to_range(-low * min_inverse, 0, 63).cast_unsigned());
    let quant = |index: usize| {
        let group = index / 32;
        let step = scale.to_f32() * f32::from(scales[group]);
        let min = min_scale.to_f32() * f32::from(mins[group]);
        to_range((values[index] + min) * inverse(step), 0, 15).cast_unsigned()
    };
    BlockQ4K {
        scale: scale.to_le_bytes(),
        min_scale: min_scale.to_le_bytes(),
        scales: pack_scales_and_mins(scales, mins),
        quants: core::array::from_fn(|i| {
            let first = i / 32 * 64 + i % 32;
            quant(first) | (quant(first + 32) << 4)
        }),
    }
}

fn encode_q6_k(values: &[f32; 256]) -> BlockQ6K {
    let (groups, _) = values.as_chunks::<16>();
    let steps: [f32; 16] = core::array::from_fn(|g| extreme(&groups[g]) / -32.0);
    let scale = f16::from_f32(extreme(&steps).abs() / 127.0);
    let scale_inverse = inverse(scale.to_f32());
    let scales = steps.map(|step| to_range(step * scale_inverse, -127, 127));
    let quants = core::array::from_fn(|i| {
        let step = scale.to_f32() * f32::from(scales[i / 16]);
        to_range(values[i] * inverse(step), -32, 31)
    });
    let (low, high) = pack_q6_k(&quants);
    BlockQ6K {
        low,
        high,
        scales,
        scale: scale.to_le_bytes(),
    }
}

/// The value of largest magnitude, with its sign.
fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0f32, |extreme, &value| {
        if value.abs() > extreme.abs() {
            value
        } else {
            extreme
        }
    })
}

fn largest(values: &[f32]) -> f32 {
    extreme(values).abs()
}

/// 1 / x, or zero where that is not finite: such a group is all zeros.
fn inverse(x: f32) -> f32 {
    let inverse = 1.0 / x;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The nearest integer within `low..=high`.
fn to_range(value: f32, low: i8, high: i8) -> i8 {
    // A float cast saturates and sends NaN to zero, so the cast itself cannot go wrong.
    (value.round_ties_even() as i8).clamp(low, high)
}

/// The nearest float of a narrower type, one by one.
fn floats<const LEN: usize>(values: &[f32], out: &mut [u8], encode: impl Fn(f32) -> [u8; LEN]) {
    let (out, _) = out.as_chunks_mut::<LEN>();
    debug_assert_eq!(values.len(), out.len());
    for (value, out) in values.iter().zip(out) {
        *out = encode(*value);
    }
}

fn each_block<const ELEMENTS: usize, B: Block>(
    values: &[f32],
    out: &mut [u8],
    encode: impl Fn(&[f32; ELEMENTS]) -> B,
) {
    let (values, _) = values.as_chunks::<ELEMENTS>();
    let out = out.chunks_exact_mut(B::LEN);
    debug_assert_eq!(values.len(), out.len());
    for (block, out) in values.iter().zip(out) {
        encode(block).write(out);
    }
}

/// Packs quants in −32..=31.
fn pack_q6_k(quants: &[i8; 256]) -> ([u8; 128], [u8; 64]) {
    let bits = |index: usize| (quants[index] + 32).cast_unsigned() & 63;
    let low = core::array::from_fn(|i| {
        let first = i / 64 * 128 + i % 64;
        (bits(first) & 15) | ((bits(first + 64) & 15) << 4)
    });
    let high = core::array::from_fn(|i| {
        let first = i / 32 * 128 + i % 32;
        (0..4).fold(0, |byte, part| {
            byte | ((bits(first + 32 * part) >> 4) << (2 * part))
        })
    });
    (low, high)
}
