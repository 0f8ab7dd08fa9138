//! Products of quantized weights with int8 activations.
//!
//! Bytes are widened once for a few rows or inputs and multiplied in sixteen bits, where two
//! products fit: activations stay within ±127 and weights within ±128, so that they come to
//! 2 · 128 · 127 = 32512 at most. With a group's scale they are then added up in 32 bits.

use core::marker::PhantomData;

use wide::{f32x4, i8x16, i16x8, i16x16, i32x4};

use super::f32x4::sum;
use super::product::PortableProduct;
use crate::quant::*;

/// Sixteen bytes as two registers of sixteen-bit integers.
#[inline(always)]
fn widened(bytes: &[i8; 16]) -> [i16x8; 2] {
    wide::bytemuck::cast(i16x16::from_i8x16(i8x16::new(*bytes)))
}

/// 256 bytes likewise.
#[inline(always)]
fn all_widened(bytes: &[i8; 256], out: &mut [[i16x8; 2]; 16]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = widened(bytes);
    }
}

/// Groups of 32 weights with a scale of their own.
pub(super) struct PortableBlock32<B>(PhantomData<B>);

impl<B: Block32> PortableProduct for PortableBlock32<B> {
    type Weights = B;
    type Inputs = ActivationQ8_0;
    const ELEMENTS: [usize; 2] = [B::ELEMENTS, 32];
    const ROWS: [usize; 2] = [4, 1];

    #[inline(always)]
    fn dot<const R: usize, const N: usize>(
        weights: [&[B]; R],
        inputs: [&[ActivationQ8_0]; N],
    ) -> [[f32; N]; R] {
        let mut sums = [[f32x4::ZERO; N]; R];
        let mut offsets = [[0.0; N]; R];
        let len = B::GROUPS * weights.first().map_or(0, |row| row.len());
        let (weights, inputs) = (
            weights.map(|row| &row[..len / B::GROUPS]),
            inputs.map(|row| &row[..len]),
        );
        for at in 0..len {
            let mut xs = [[[i16x8::ZERO; 2]; 2]; N];
            for n in 0..N {
                let (halves, _) = inputs[n][at].quants.as_chunks();
                xs[n] = [widened(&halves[0]), widened(&halves[1])];
            }
            for r in 0..R {
                let block = weights[r][at / B::GROUPS].integers(at % B::GROUPS);
                let (halves, _) = block.quants.as_chunks();
                let (first, second) = (widened(&halves[0]), widened(&halves[1]));
                for n in 0..N {
                    let [x_first, x_second] = xs[n];
                    let products = first[0].dot(x_first[0])
                        + first[1].dot(x_first[1])
                        + second[0].dot(x_second[0])
                        + second[1].dot(x_second[1]);
                    let x = &inputs[n][at];
                    let factor = f32x4::splat(block.scale * x.scale());
                    sums[r][n] = factor.mul_add(f32x4::from_i32x4(products), sums[r][n]);
                    if B::OFFSETS {
                        offsets[r][n] += block.offset * (x.scale() * x.sum() as f32);
                    }
                }
            }
        }
        let mut totals = offsets;
        for r in 0..R {
            for n in 0..N {
                totals[r][n] += sum(sums[r][n]);
            }
        }
        totals
    }
}

/// Blocks of 256 weights whose groups have integer scales.
pub(super) struct PortableBlock256<B>(PhantomData<B>);

impl<B: Block256> PortableProduct for PortableBlock256<B> {
    type Weights = B;
    type Inputs = ActivationQ8K;
    const ELEMENTS: [usize; 2] = [256, 256];
    const ROWS: [usize; 2] = [8, 8];

    #[inline(always)]
    fn dot<const R: usize, const N: usize>(
        weights: [&[B]; R],
        inputs: [&[ActivationQ8K]; N],
    ) -> [[f32; N]; R] {
        let mut sums = [[f32x4::ZERO; N]; R];
        let mut xs = [[[i16x8::ZERO; 2]; 16]; N];
        let mut block = Integers256::ZERO;
        let len = weights.first().map_or(0, |row| row.len());
        let (weights, inputs) = (
            weights.map(|row| &row[..len]),
            inputs.map(|row| &row[..len]),
        );
        for at in 0..len {
            for n in 0..N {
                all_widened(&inputs[n][at].quants, &mut xs[n]);
            }
            for r in 0..R {
                weights[r][at].integers(&mut block);
                let mut products = [i32x4::ZERO; N];
                for (group, quants) in block.quants.as_chunks().0.iter().enumerate() {
                    let [low, high] = widened(quants);
                    let scale = i16x8::splat(block.scales[group]);
                    for n in 0..N {
                        let [x_low, x_high] = xs[n][group];
                        let pairs = low * x_low + high * x_high;
                        products[n] += pairs.dot(scale);
                    }
                }
                for n in 0..N {
                    let x = &inputs[n][at];
                    let factor = f32x4::splat(block.scale * x.scale());
                    sums[r][n] = factor.mul_add(f32x4::from_i32x4(products[n]), sums[r][n]);
                    if B::MINS {
                        let mins = block.mins.as_chunks().0;
                        let mut x_sums = [0; 16];
                        for group in 0..16 {
                            x_sums[group] = i16::from_le_bytes(x.sums[group]);
                        }
                        let x_sums = x_sums.as_chunks().0;
                        let mins = i16x8::new(mins[0]).dot(i16x8::new(x_sums[0]))
                            + i16x8::new(mins[1]).dot(i16x8::new(x_sums[1]));
                        let factor = f32x4::splat(-(block.min_scale * x.scale()));
                        sums[r][n] = factor.mul_add(f32x4::from_i32x4(mins), sums[r][n]);
                    }
                }
            }
        }
        let mut totals = [[0.0; N]; R];
        for r in 0..R {
            for n in 0..N {
                totals[r][n] = sum(sums[r][n]);
            }
        }
        totals
    }
}
