//! Products of every weight type with its activation form.

use half::{bf16, f16};

use super::vector::{LANES, sum_lanes};
use crate::kernels::MatMul;
use crate::quant::{ActivationQ8_0, ActivationQ8K, BlockQ4_0, BlockQ4K, BlockQ6K, BlockQ8_0};

pub(super) unsafe fn f32(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(call, |w, x| dot_floats(w, x, f32::from_le_bytes)) }
}

pub(super) unsafe fn f16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(call, |w, x| dot_floats(w, x, f16_to_f32)) }
}

pub(super) unsafe fn bf16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(call, |w, x| dot_floats(w, x, bf16_to_f32)) }
}

pub(super) unsafe fn q8_0(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(&in_blocks(call, 32), |w, x| dot_blocks(w, x, q8_0_block)) }
}

pub(super) unsafe fn q4_0(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(&in_blocks(call, 32), |w, x| dot_blocks(w, x, q4_0_block)) }
}

pub(super) unsafe fn q4_k(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(&in_blocks(call, 256), |w, x| dot_blocks(w, x, q4_k_block)) }
}

pub(super) unsafe fn q6_k(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(&in_blocks(call, 256), |w, x| dot_blocks(w, x, q6_k_block)) }
}

pub(super) unsafe fn transposed_f32(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_column(call, f32::from_le_bytes) }
}

pub(super) unsafe fn transposed_f16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_column(call, f16_to_f32) }
}

pub(super) unsafe fn transposed_bf16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_column(call, bf16_to_f32) }
}

/// The same product, its columns counted in blocks.
fn in_blocks(call: &MatMul, elements: usize) -> MatMul {
    debug_assert!(call.columns.is_multiple_of(elements));
    MatMul {
        columns: call.columns / elements,
        ..*call
    }
}

/// Runs `dot` on each pair of rows, given as `columns` elements of `W` and `X` bytes.
///
/// # Safety
///
/// As for [`crate::kernels::MatMulFn`], a column being `W` bytes of a weight row and `X` bytes
/// of an input row.
unsafe fn each_pair<const W: usize, const X: usize>(
    call: &MatMul,
    dot: impl Fn(&[[u8; W]], &[[u8; X]]) -> f32,
) {
    for row in 0..call.weight_rows {
        // SAFETY: the caller promises that this row can be read; byte arrays have no alignment.
        let weights: &[[u8; W]] = unsafe {
            let start = call.weights.add(row * call.weight_stride);
            core::slice::from_raw_parts(start.cast(), call.columns)
        };
        for index in 0..call.inputs_len {
            // SAFETY: as above, for the input row.
            let input: &[[u8; X]] = unsafe {
                let start = call.inputs.add(index * call.input_stride);
                core::slice::from_raw_parts(start.cast(), call.columns)
            };
            let sum = dot(weights, input);
            // SAFETY: the caller promises that this result can be written, at any alignment.
            unsafe {
                call.out
                    .byte_add((index * call.out_stride + row) * size_of::<f32>())
                    .write_unaligned(sum);
            }
        }
    }
}

/// Σ of products, in [`LANES`] partial sums.
fn dot_floats<const W: usize>(
    weights: &[[u8; W]],
    input: &[[u8; 4]],
    decode: impl Fn([u8; W]) -> f32,
) -> f32 {
    let product = |weight: [u8; W], x: [u8; 4]| decode(weight) * f32::from_le_bytes(x);
    let (weights, weights_tail) = weights.as_chunks::<LANES>();
    let (input, input_tail) = input.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (weights, x) in weights.iter().zip(input) {
        for lane in 0..LANES {
            lanes[lane] += product(weights[lane], x[lane]);
        }
    }
    for (lane, (&weight, &x)) in lanes.iter_mut().zip(weights_tail.iter().zip(input_tail)) {
        *lane += product(weight, x);
    }
    sum_lanes(lanes)
}

fn f16_to_f32(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

fn bf16_to_f32(bytes: [u8; 2]) -> f32 {
    bf16::from_le_bytes(bytes).to_f32()
}

/// Σ over blocks, one after the other.
fn dot_blocks<const W: usize, const X: usize>(
    weights: &[[u8; W]],
    input: &[[u8; X]],
    block: impl Fn(&[u8; W], &[u8; X]) -> f32,
) -> f32 {
    let blocks = weights.iter().zip(input);
    blocks.fold(0.0, |sum, (weights, x)| sum + block(weights, x))
}

fn q8_0_block(weights: &[u8; BlockQ8_0::LEN], x: &[u8; ActivationQ8_0::LEN]) -> f32 {
    let (weights, x) = (
        BlockQ8_0::from_bytes(weights),
        ActivationQ8_0::from_bytes(x),
    );
    let quants = weights.quants.iter().zip(&x.quants);
    let sum: i32 = quants.map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
    weights.scale() * x.scale() * sum as f32
}

fn q4_0_block(weights: &[u8; BlockQ4_0::LEN], x: &[u8; ActivationQ8_0::LEN]) -> f32 {
    let (weights, x) = (
        BlockQ4_0::from_bytes(weights),
        ActivationQ8_0::from_bytes(x),
    );
    let unpacked = weights.unpacked();
    let quants = unpacked.iter().zip(&x.quants);
    let sum: i32 = quants.map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
    weights.scale() * x.scale() * (sum - 8 * x.sum()) as f32
}

fn q4_k_block(weights: &[u8; BlockQ4K::LEN], x: &[u8; ActivationQ8K::LEN]) -> f32 {
    let (weights, x) = (BlockQ4K::from_bytes(weights), ActivationQ8K::from_bytes(x));
    let (scales, mins) = weights.scales_and_mins();
    let (unpacked, sums) = (weights.unpacked(), x.sums());
    // At most 256 · 63 · 15 · 127 and 256 · 63 · 127: both fit in 32 bits.
    let (mut sum, mut min_sum) = (0, 0);
    for group in 0..8 {
        let quants = unpacked[32 * group..].iter().zip(&x.quants[32 * group..]);
        let products = quants.take(32).map(|(&w, &x)| i32::from(w) * i32::from(x));
        sum += i32::from(scales[group]) * products.sum::<i32>();
        min_sum += i32::from(mins[group]) * (sums[2 * group] + sums[2 * group + 1]);
    }
    weights.scale() * x.scale() * sum as f32 - weights.min_scale() * x.scale() * min_sum as f32
}

fn q6_k_block(weights: &[u8; BlockQ6K::LEN], x: &[u8; ActivationQ8K::LEN]) -> f32 {
    let (weights, x) = (BlockQ6K::from_bytes(weights), ActivationQ8K::from_bytes(x));
    let unpacked = weights.unpacked();
    // At most 256 · 128 · 32 · 127: fits in 32 bits.
    let mut sum = 0;
    for (group, &scale) in weights.scales.iter().enumerate() {
        let quants = unpacked[16 * group..].iter().zip(&x.quants[16 * group..]);
        let products = quants.take(16).map(|(&w, &x)| i32::from(w) * i32::from(x));
        sum += i32::from(scale) * products.sum::<i32>();
    }
    weights.scale() * x.scale() * sum as f32
}

/// A product whose weights are stored `[columns][weight_rows]`.
///
/// # Safety
///
/// As for a transposed [`crate::kernels::MatMulFn`] with weights of `W` bytes.
unsafe fn each_column<const W: usize>(call: &MatMul, decode: impl Fn([u8; W]) -> f32) {
    /// Results summed side by side, so that a stored row is read in runs.
    const WIDTH: usize = 64;
    for index in 0..call.inputs_len {
        // SAFETY: the caller promises that this input row can be read.
        let input: &[[u8; 4]] = unsafe {
            let start = call.inputs.add(index * call.input_stride);
            core::slice::from_raw_parts(start.cast(), call.columns)
        };
        for first in (0..call.weight_rows).step_by(WIDTH) {
            let width = WIDTH.min(call.weight_rows - first);
            let mut sums = [0.0; WIDTH];
            for (column, x) in input.iter().enumerate() {
                let x = f32::from_le_bytes(*x);
                // SAFETY: the caller promises `weight_rows` weights in each stored row.
                let weights: &[[u8; W]] = unsafe {
                    let start = call.weights.add(column * call.weight_stride + first * W);
                    core::slice::from_raw_parts(start.cast(), width)
                };
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += x * decode(*weight);
                }
            }
            for (row, sum) in sums.iter().take(width).enumerate() {
                let at = index * call.out_stride + first + row;
                // SAFETY: the caller promises that this result can be written.
                unsafe {
                    call.out
                        .byte_add(at * size_of::<f32>())
                        .write_unaligned(*sum)
                };
            }
        }
    }
}
