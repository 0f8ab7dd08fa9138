//! Products of every weight type with its activation form.

use half::{bf16, f16};
use rillm_formats::manifest::DType;

use super::vector::{LANES, sum_lanes};
use crate::quant::types::{Float, Visitor, visit};
use crate::quant::*;
use crate::{MatMul, MatMulFn};

/// The product of a type.
pub(crate) fn of(dtype: DType) -> Option<MatMulFn> {
    visit(dtype, ScalarProducts)
}

struct ScalarProducts;

impl Visitor for ScalarProducts {
    type Output = MatMulFn;

    fn floats(self, float: Float) -> MatMulFn {
        match float {
            Float::F32 => f32,
            Float::F16 => f16,
            Float::BF16 => bf16,
        }
    }

    fn block32<B: Block32>(self) -> MatMulFn {
        block32::<B>
    }

    fn block256<B: Block256>(self) -> MatMulFn {
        block256::<B>
    }

    fn nvfp4(self) -> MatMulFn {
        nvfp4
    }
}

/// The product of a type stored `[columns][weight_rows]`.
pub(crate) fn transposed_of(dtype: DType) -> Option<MatMulFn> {
    visit(dtype, TransposedProducts).flatten()
}

/// Floats have one each; a block's weights belong to one row.
struct TransposedProducts;

impl Visitor for TransposedProducts {
    type Output = Option<MatMulFn>;

    fn floats(self, float: Float) -> Option<MatMulFn> {
        Some(match float {
            Float::F32 => transposed_f32,
            Float::F16 => transposed_f16,
            Float::BF16 => transposed_bf16,
        })
    }

    fn block32<B: Block32>(self) -> Option<MatMulFn> {
        None
    }

    fn block256<B: Block256>(self) -> Option<MatMulFn> {
        None
    }

    fn nvfp4(self) -> Option<MatMulFn> {
        None
    }
}

unsafe fn f32(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(call, [1; 2], |w, x| dot_floats(w, x, f32::from_le_bytes)) }
}

unsafe fn f16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(call, [1; 2], |w, x| dot_floats(w, x, f16_to_f32)) }
}

unsafe fn bf16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(call, [1; 2], |w, x| dot_floats(w, x, bf16_to_f32)) }
}

unsafe fn block32<B: Block32>(call: &MatMul) {
    // SAFETY: the caller's promise, handed on; a weight block's groups and an input's blocks are
    // of 32.
    unsafe { each_pair(call, [B::ELEMENTS, 32], dot_block32::<B>) }
}

unsafe fn block256<B: Block256>(call: &MatMul) {
    // SAFETY: the caller's promise, handed on; both are blocks of 256.
    unsafe { each_pair(call, [B::ELEMENTS; 2], dot_block256::<B>) }
}

unsafe fn nvfp4(call: &MatMul) {
    // SAFETY: the caller's promise, handed on; an input's block is 64 floats.
    unsafe { each_pair(call, [BlockNVFP4::ELEMENTS; 2], dot_nvfp4) }
}

unsafe fn transposed_f32(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_column(call, f32::from_le_bytes) }
}

unsafe fn transposed_f16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_column(call, f16_to_f32) }
}

unsafe fn transposed_bf16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_column(call, bf16_to_f32) }
}

/// Runs `dot` on each pair of rows, given as blocks of so many weights and activations.
///
/// # Safety
///
/// As for [`crate::MatMulFn`], a row being `columns` elements in blocks of `W` or `X`,
/// which have alignment 1 and no invalid bytes.
unsafe fn each_pair<W, X>(
    call: &MatMul,
    [weights_in, inputs_in]: [usize; 2],
    dot: impl Fn(&[W], &[X]) -> f32,
) {
    const { assert!(align_of::<W>() == 1 && align_of::<X>() == 1) }
    debug_assert!(
        call.columns.is_multiple_of(weights_in) && call.columns.is_multiple_of(inputs_in)
    );
    let (weights_len, input_len) = (call.columns / weights_in, call.columns / inputs_in);
    for row in 0..call.weight_rows {
        // SAFETY: the caller promises that this row can be read; blocks have alignment 1.
        let weights: &[W] = unsafe {
            let start = call.weights.add(row * call.weight_stride);
            core::slice::from_raw_parts(start.cast(), weights_len)
        };
        for index in 0..call.inputs_len {
            // SAFETY: as above, for the input row.
            let input: &[X] = unsafe {
                let start = call.input(index);
                core::slice::from_raw_parts(start.cast(), input_len)
            };
            let sum = dot(weights, input);
            // SAFETY: the caller promises that this result can be written, at any alignment.
            unsafe {
                let at = call.results(index).wrapping_add(row);
                at.write_unaligned(sum);
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

fn dot_block32<B: Block32>(weights: &[B], input: &[ActivationQ8_0]) -> f32 {
    let mut total = 0.0;
    let groups = weights.iter();
    let groups = groups.flat_map(|block| (0..B::GROUPS).map(|group| block.integers(group)));
    for (weights, x) in groups.zip(input) {
        let products = weights.quants.iter().zip(&x.quants);
        let sum: i32 = products.map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
        total += weights.scale * x.scale() * sum as f32;
        if B::OFFSETS {
            total += weights.offset * x.scale() * x.sum() as f32;
        }
    }
    total
}

fn dot_block256<B: Block256>(weights: &[B], input: &[ActivationQ8K]) -> f32 {
    let mut integers = Integers256::ZERO;
    let mut total = 0.0;
    for (weights, x) in weights.iter().zip(input) {
        weights.integers(&mut integers);
        let (weights, _) = integers.quants.as_chunks::<16>();
        let (inputs, _) = x.quants.as_chunks::<16>();
        let sums = x.sums();
        // At most 256 · 128 · 128 · 127 and 256 · 127 · 63: both fit in 32 bits.
        let (mut sum, mut min_sum) = (0, 0);
        for (g, (weights, inputs)) in weights.iter().zip(inputs).enumerate() {
            let products = weights.iter().zip(inputs);
            let products = products.map(|(&w, &x)| i32::from(w) * i32::from(x));
            sum += i32::from(integers.scales[g]) * products.sum::<i32>();
            min_sum += i32::from(integers.mins[g]) * sums[g];
        }
        total += integers.scale * x.scale() * sum as f32;
        if B::MINS {
            total -= integers.min_scale * x.scale() * min_sum as f32;
        }
    }
    total
}

/// A group's scale has no integer that would fit: its weights become floats.
fn dot_nvfp4(weights: &[BlockNVFP4], input: &[[[u8; 4]; 64]]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (weights, input) in weights.iter().zip(input) {
        let (scales, values) = (weights.group_scales(), weights.values());
        for (i, x) in input.iter().enumerate() {
            lanes[i % LANES] += scales[i / 16] * f32::from(values[i]) * f32::from_le_bytes(*x);
        }
    }
    sum_lanes(lanes)
}

/// A product whose weights are stored `[columns][weight_rows]`.
///
/// # Safety
///
/// As for a transposed [`crate::MatMulFn`] with weights of `W` bytes.
unsafe fn each_column<const W: usize>(call: &MatMul, decode: impl Fn([u8; W]) -> f32) {
    /// Results summed side by side, so that a stored row is read in runs.
    const WIDTH: usize = 64;
    for index in 0..call.inputs_len {
        // SAFETY: the caller promises that this input row can be read.
        let input: &[[u8; 4]] = unsafe {
            let start = call.input(index);
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
                // SAFETY: the caller promises that this result can be written.
                unsafe {
                    let at = call.results(index).wrapping_add(first + row);
                    at.write_unaligned(*sum);
                }
            }
        }
    }
}
