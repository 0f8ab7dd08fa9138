//! Products with int8 activations of the types that have no kernel of their own.
//!
//! Bytes are multiplied as (unsigned, signed) pairs and pairs are added in sixteen bits, which
//! would saturate beyond 32767. It never happens: activations stay within ±127 and magnitudes
//! of weights within 128, so a pair is at most 2 · 128 · 127 = 32512.

use core::arch::x86_64::*;

use super::register::{load, sum};
use crate::kernels::{MatMul, MatMulFn};
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type, if it is better here than in plain Rust.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::IQ2_XXS => large::<BlockIQ2XXS>,
        DType::IQ2_XS => large::<BlockIQ2XS>,
        DType::IQ2_S => large::<BlockIQ2S>,
        DType::IQ3_XXS => large::<BlockIQ3XXS>,
        DType::IQ3_S => large::<BlockIQ3S>,
        DType::IQ1_S => large::<BlockIQ1S>,
        DType::IQ1_M => large::<BlockIQ1M>,
        _ => return None,
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn large<B: SuperBlock>(call: &MatMul) {
    let unpack = |block: &B, out: &mut Integers256| block.integers(out);
    // SAFETY: the caller's promise, handed on.
    unsafe {
        each_pair(
            call,
            256,
            |w, x| dot_large(w, x, unpack),
            |w, x| dot_large(w, x, unpack),
        )
    }
}

/// Runs a dot product on every pair of rows: four inputs share a weight row's decoding, and a
/// few weight rows stay in the nearest cache while the inputs pass.
///
/// # Safety
///
/// As for [`crate::kernels::MatMulFn`], a row being `columns / elements` blocks of `W` or `X`,
/// which have alignment 1 and no invalid bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn each_pair<W, X>(
    call: &MatMul,
    elements: usize,
    four: impl Fn(&[W], [&[X]; 4]) -> [f32; 4],
    one: impl Fn(&[W], [&[X]; 1]) -> [f32; 1],
) {
    const ROWS: usize = 16;
    const { assert!(align_of::<W>() == 1 && align_of::<X>() == 1) }
    let len = call.columns / elements;
    // SAFETY, for the three: the caller promises that each row can be read and each result
    // written; blocks have alignment 1, and the write wants none.
    let weights = |row: usize| -> &[W] {
        // SAFETY: see above.
        unsafe {
            let start = call.weights.add(row * call.weight_stride);
            core::slice::from_raw_parts(start.cast(), len)
        }
    };
    let input = |index: usize| -> &[X] {
        // SAFETY: see above.
        unsafe {
            let start = call.input(index);
            core::slice::from_raw_parts(start.cast(), len)
        }
    };
    let store = |row: usize, index: usize, sum: f32| {
        // SAFETY: see above.
        unsafe {
            let at = call.results(index).wrapping_add(row);
            at.write_unaligned(sum);
        }
    };
    for first_row in (0..call.weight_rows).step_by(ROWS) {
        let rows = first_row..call.weight_rows.min(first_row + ROWS);
        let mut index = 0;
        while index + 4 <= call.inputs_len {
            let inputs = [
                input(index),
                input(index + 1),
                input(index + 2),
                input(index + 3),
            ];
            for row in rows.clone() {
                for (n, sum) in four(weights(row), inputs).into_iter().enumerate() {
                    store(row, index + n, sum);
                }
            }
            index += 4;
        }
        for index in index..call.inputs_len {
            for row in rows.clone() {
                let [sum] = one(weights(row), [input(index)]);
                store(row, index, sum);
            }
        }
    }
}

/// Sums of pairs of products, as 32-bit integers: `weights` as magnitudes and signs, `x` within
/// ±127.
#[inline]
#[target_feature(enable = "avx2")]
fn signed_products(magnitudes: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, weights))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_large<B: SuperBlock, const N: usize>(
    weights: &[B],
    x: [&[ActivationQ8K]; N],
    unpack: impl Fn(&B, &mut Integers256),
) -> [f32; N] {
    let mut integers = Integers256::ZERO;
    let mut sums = [_mm256_setzero_ps(); N];
    for (index, block) in weights.iter().enumerate() {
        unpack(block, &mut integers);
        let (quants, _) = integers.quants.as_chunks::<32>();
        let mut products = [_mm256_setzero_si256(); N];
        for group in 0..8 {
            let quants = load(&quants[group]);
            let magnitudes = _mm256_abs_epi8(quants);
            let scale = _mm256_set_m128i(
                _mm_set1_epi16(integers.scales[2 * group + 1]),
                _mm_set1_epi16(integers.scales[2 * group]),
            );
            for n in 0..N {
                let (x, _) = x[n][index].quants.as_chunks::<32>();
                let pairs = signed_products(magnitudes, quants, load(&x[group]));
                let scaled = _mm256_madd_epi16(pairs, scale);
                products[n] = _mm256_add_epi32(products[n], scaled);
            }
        }
        let scale = _mm256_set1_ps(integers.scale);
        for n in 0..N {
            let x = &x[n][index];
            let products = _mm256_cvtepi32_ps(products[n]);
            let x_scale = _mm256_set1_ps(x.scale());
            sums[n] = _mm256_fmadd_ps(_mm256_mul_ps(scale, x_scale), products, sums[n]);
            if B::MINS {
                let mins = _mm256_madd_epi16(load(&integers.mins), load(&x.sums));
                let min_scale = _mm256_set1_ps(integers.min_scale);
                sums[n] = _mm256_fnmadd_ps(
                    _mm256_mul_ps(min_scale, x_scale),
                    _mm256_cvtepi32_ps(mins),
                    sums[n],
                );
            }
        }
    }
    total(sums)
}

#[inline]
#[target_feature(enable = "avx2")]
fn total<const N: usize>(sums: [__m256; N]) -> [f32; N] {
    let mut totals = [0.0; N];
    for n in 0..N {
        totals[n] = sum(sums[n]);
    }
    totals
}
