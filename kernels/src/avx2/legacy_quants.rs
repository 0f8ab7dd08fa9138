//! Groups of 32 weights with a factor each, one or several to a block.
//!
//! Weights of few bits are bytes without sign: `vpmaddubsw` multiplies them, two products add up
//! in sixteen bits, and as many of its results as those hold are added before they are widened.
//! Weights of a whole byte would not leave room for two: they are multiplied in sixteen bits. With
//! AVX-VNNI there is room for all in 32 bits, whole bytes having a zero point of 128 in a panel.

use core::arch::x86_64::*;

use super::gemv::BLOCKS;
use super::legacy_groups::{Avx2Block32, EightBlocks, steps};
use super::packed::{Addresses8, Avx2Product, DotBytes, EightRows, Panel8, SIDES, product};
use super::register::{
    Lanes8, ROWS, add_fours, add_pairs, add_words, as_nibbles, halves, load, load_floats, spread,
    store, sums_of_half_lanes, sums_of_half_words,
};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of<D: DotBytes>(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q1_0 => product::<EightRows<Avx2Legacy<BlockQ1_0, D>>>,
        DType::Q2_0 => product::<EightRows<Avx2Legacy<BlockQ2_0, D>>>,
        DType::Q4_0 => product::<EightRows<Avx2Legacy<BlockQ4_0, D>>>,
        DType::Q4_1 => product::<EightRows<Avx2Legacy<BlockQ4_1, D>>>,
        DType::Q5_0 => product::<EightRows<Avx2Legacy<BlockQ5_0, D>>>,
        DType::Q5_1 => product::<EightRows<Avx2Legacy<BlockQ5_1, D>>>,
        DType::Q8_0 => product::<EightRows<Avx2Legacy<BlockQ8_0, D>>>,
        DType::IQ4_NL => product::<EightRows<Avx2Legacy<BlockIQ4NL, D>>>,
        DType::MXFP4 => product::<EightRows<Avx2Legacy<BlockMXFP4, D>>>,
        _ => return None,
    })
}

/// Blocks with [int8 activations](ActivationQ8_0).
struct Avx2Legacy<W, D>(core::marker::PhantomData<(W, D)>);

impl<W: Avx2Block32, D: DotBytes> Avx2Product for Avx2Legacy<W, D> {
    type Weights = W;
    type Inputs = ActivationQ8_0;
    const ELEMENTS: usize = 32;
    const WEIGHTS: usize = 32 * W::GROUPS;
    type Prepared = NibbleInputs;

    #[inline(always)]
    unsafe fn prepare(x: &[ActivationQ8_0]) -> NibbleInputs {
        // SAFETY: the caller's promise.
        unsafe { prepare(x) }
    }

    #[inline(always)]
    unsafe fn unpack(rows: &Addresses8, blocks: usize, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { unpack::<W, D>(rows, blocks, panel) }
    }

    #[inline(always)]
    unsafe fn sums(row: *const u8, x: &[ActivationQ8_0], prepared: &[NibbleInputs]) -> __m256i {
        // SAFETY: the caller's promise, handed on.
        unsafe {
            match x.len() {
                BLOCKS => sums::<W>(row, BLOCKS, &prepared[0]),
                len => last_sums::<W>(row, len, &prepared[0]),
            }
        }
    }

    #[inline(always)]
    unsafe fn add(sum: __m256, products: __m256i, rows: &Addresses8, x: &ActivationQ8_0) -> __m256 {
        // SAFETY: the caller's promise, handed on.
        unsafe { add::<W>(sum, products, rows, x) }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panels: &[Panel8; SIDES],
        x: [&[ActivationQ8_0]; N],
        sums: &mut [[__m256; SIDES]; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe {
            match words::<W, D>() {
                true => words_tile::<W, N>(panels, x, sums),
                false => bytes_tile::<W, D, N>(panels, x, sums),
            }
        }
    }
}

/// Whether a panel has weights in sixteen bits.
const fn words<W: Avx2Block32, D: DotBytes>() -> bool {
    steps(W::MOST) == 0 && !D::FOURS
}

/// The block of each row in which a group stands.
///
/// # Safety
///
/// There is this group at each row's address, and it stays there; it has alignment 1 and no
/// invalid bytes.
#[inline]
unsafe fn eight<'a, W: Block32>(rows: &Addresses8, index: usize) -> EightBlocks<'a, W> {
    // SAFETY: the caller's promise.
    rows.map(|row| unsafe { &*row.cast::<W>().wrapping_add(index / W::GROUPS) })
}

/// # Safety
///
/// So many blocks are at each row's address; they have alignment 1 and no invalid bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack<W: Avx2Block32, D: DotBytes>(
    rows: &Addresses8,
    blocks: usize,
    panel: &mut Panel8,
) {
    for index in 0..blocks.min(panel.factors.len()) {
        // SAFETY: the caller's promise.
        let eight = unsafe { eight::<W>(rows, index) };
        // SAFETY: this function has the instructions.
        let quants = unsafe { W::quants(eight, index % W::GROUPS) };
        for group in 0..8 {
            if words::<W, D>() {
                let [even, odd] = widened(quants[group]);
                store(&mut panel.quants[16 * index + 2 * group], even);
                store(&mut panel.quants[16 * index + 2 * group + 1], odd);
            } else {
                let bytes = match W::MOST {
                    255 => _mm256_xor_si256(quants[group], _mm256_set1_epi8(i8::MIN)),
                    _ => quants[group],
                };
                store(&mut panel.quants[8 * index + group], bytes);
            }
        }
        let (factors, offsets) = factors::<W>(eight);
        store(&mut panel.factors[index], _mm256_castps_si256(factors));
        if W::OFFSETS {
            store(&mut panel.offsets[index], _mm256_castps_si256(offsets));
        }
    }
}

/// Factors of a block of each row, and their offsets.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn factors<W: Avx2Block32>(blocks: EightBlocks<W>) -> (__m256, __m256) {
    let factors = if (W::FACTOR)(blocks[0]).is_some() {
        halves(|row| (W::FACTOR)(blocks[row]).unwrap_or_default())
    } else {
        let mut factors = Lanes8([0.0; ROWS]);
        for row in 0..ROWS {
            factors.0[row] = blocks[row].integers(0).scale;
        }
        load_floats(&factors)
    };
    let offsets = match W::OFFSETS {
        true => halves(|row| (W::OFFSET)(blocks[row])),
        false => _mm256_setzero_ps(),
    };
    (factors, offsets)
}

/// Every second of 32 signed bytes in sixteen bits, then the others.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn widened(bytes: __m256i) -> [__m256i; 2] {
    let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes));
    [even, _mm256_srai_epi16::<8>(bytes)]
}

/// sum + factor · products + offset · (sum of the activations), weights being bytes with a
/// zero point of `above`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn finish<W: Avx2Block32>(
    zero_point: i32,
    sum: __m256,
    mut products: __m256i,
    (factor, offset): (__m256, __m256),
    x: &ActivationQ8_0,
) -> __m256 {
    if zero_point > 0 {
        let excess = _mm256_set1_epi32(zero_point * x.sum());
        products = _mm256_sub_epi32(products, excess);
    }
    let factor = _mm256_mul_ps(factor, _mm256_set1_ps(x.scale()));
    let sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), factor, sum);
    if !W::OFFSETS {
        return sum;
    }
    _mm256_fmadd_ps(offset, _mm256_set1_ps(x.scale() * x.sum() as f32), sum)
}

/// What a block of each row adds to their sums.
///
/// # Safety
///
/// As for [`eight`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add<W: Avx2Block32>(
    sum: __m256,
    products: __m256i,
    rows: &Addresses8,
    x: &ActivationQ8_0,
) -> __m256 {
    // SAFETY: the caller's promise.
    let factors = factors::<W>(unsafe { eight(rows, 0) });
    finish::<W>(W::ZERO_POINT, sum, products, factors, x)
}

/// Eight blocks of an input, as [`Avx2Block32::two_quants`] has those of a row: blocks n and n + 4 in
/// `x[n]`; and their magnitudes.
struct NibbleInputs {
    x: [[Lanes8<i32>; 2]; BLOCKS / 2],
    magnitudes: [[Lanes8<i32>; 2]; BLOCKS / 2],
}

/// Blocks that are not there are taken from those that are, and what comes of them is not used.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn prepare(x: &[ActivationQ8_0]) -> NibbleInputs {
    let mut prepared = NibbleInputs {
        x: [[Lanes8([0; ROWS]); 2]; BLOCKS / 2],
        magnitudes: [[Lanes8([0; ROWS]); 2]; BLOCKS / 2],
    };
    for n in 0..BLOCKS / 2 {
        let block = |n: usize| &x[n.min(x.len() - 1)].quants;
        let [x, magnitudes] = as_nibbles(block(n), block(n + BLOCKS / 2));
        for half in 0..2 {
            store(&mut prepared.x[n][half], x[half]);
            store(&mut prepared.magnitudes[n][half], magnitudes[half]);
        }
    }
    prepared
}

/// The sums of the products of so many blocks of a row with an input, one to a lane.
///
/// # Safety
///
/// So many blocks are at the row's address; they have alignment 1 and no invalid bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums<W: Avx2Block32>(row: *const u8, len: usize, prepared: &NibbleInputs) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    let mut dots = [_mm256_setzero_si256(); BLOCKS / 2];
    for n in 0..BLOCKS / 2 {
        // SAFETY: the caller's promise.
        let group = |n: usize| unsafe {
            let n = n.min(len - 1);
            (&*row.cast::<W>().wrapping_add(n / W::GROUPS), n % W::GROUPS)
        };
        // SAFETY: this function has the instructions.
        let quants = unsafe { W::two_quants(group(n), group(n + BLOCKS / 2)) };
        let mut pairs = [_mm256_setzero_si256(); 2];
        for half in 0..2 {
            let x = load(&prepared.x[n][half]);
            pairs[half] = match steps(W::MOST) {
                0 => {
                    // Magnitudes, and the others with their signs: within 2 · 128 · 127.
                    let magnitudes = load(&prepared.magnitudes[n][half]);
                    let weights = quants[half];
                    let pairs = match W::NEGATIVES {
                        true => _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(weights, x)),
                        false => {
                            let magnitudes = _mm256_abs_epi8(weights);
                            _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, weights))
                        }
                    };
                    _mm256_madd_epi16(pairs, ones)
                }
                _ => _mm256_maddubs_epi16(quants[half], x),
            };
        }
        dots[n] = match steps(W::MOST) {
            0 => _mm256_add_epi32(pairs[0], pairs[1]),
            _ => _mm256_add_epi16(pairs[0], pairs[1]),
        };
    }
    match steps(W::MOST) {
        0 => sums_of_half_lanes(dots),
        _ => sums_of_half_words(dots),
    }
}

/// [`sums`] of fewer than eight blocks.
///
/// # Safety
///
/// The same.
#[inline(never)] // so that it costs nothing where it is not asked for
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn last_sums<W: Avx2Block32>(
    row: *const u8,
    len: usize,
    prepared: &NibbleInputs,
) -> __m256i {
    // SAFETY: the caller's promise, handed on.
    unsafe { sums::<W>(row, len, prepared) }
}

#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx2,fma,f16c")]
fn bytes_tile<W: Avx2Block32, D: DotBytes, const N: usize>(
    panels: &[Panel8; SIDES],
    x: [&[ActivationQ8_0]; N],
    sums: &mut [[__m256; SIDES]; N],
) {
    // Signed bytes have their first bit turned.
    let (steps, zero_point) = const {
        match (D::FOURS, W::MOST) {
            (true, 255) => (8, 128),
            (true, _) => (8, W::ZERO_POINT),
            (false, most) => (steps(most), W::ZERO_POINT),
        }
    };
    for block in 0..x[0].len().min(panels[0].factors.len()) {
        let mut products = [[_mm256_setzero_si256(); SIDES]; N];
        for first in (0..8).step_by(steps) {
            let mut pairs = [[_mm256_setzero_si256(); SIDES]; N];
            for group in first..first + steps {
                let mut weights = [_mm256_setzero_si256(); SIDES];
                for side in 0..SIDES {
                    weights[side] = load(&panels[side].quants[8 * block + group]);
                }
                for n in 0..N {
                    let four = spread(&x[n][block].quants, group);
                    for side in 0..SIDES {
                        if D::FOURS {
                            let (sum, weights) = (products[n][side], weights[side]);
                            // SAFETY: `Fours` runs only where it can.
                            products[n][side] = unsafe { add_fours(sum, weights, four) };
                            continue;
                        }
                        pairs[n][side] = match group == first {
                            true => _mm256_maddubs_epi16(weights[side], four),
                            false => add_pairs(pairs[n][side], weights[side], four),
                        };
                    }
                }
            }
            if D::FOURS {
                continue;
            }
            for n in 0..N {
                for side in 0..SIDES {
                    let four = _mm256_madd_epi16(pairs[n][side], _mm256_set1_epi16(1));
                    products[n][side] = _mm256_add_epi32(products[n][side], four);
                }
            }
        }
        for n in 0..N {
            let x = &x[n][block];
            for side in 0..SIDES {
                let factors = panels[side].factors_of(block);
                sums[n][side] =
                    finish::<W>(zero_point, sums[n][side], products[n][side], factors, x);
            }
        }
    }
}

#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx2,fma,f16c")]
fn words_tile<W: Avx2Block32, const N: usize>(
    panels: &[Panel8; SIDES],
    x: [&[ActivationQ8_0]; N],
    sums: &mut [[__m256; SIDES]; N],
) {
    let blocks = x[0].len().min(panels[0].factors.len());
    let mut wide = [[[Lanes8([0i32; ROWS]); 2]; 8]; N];
    for n in 0..N {
        for block in 0..blocks {
            let [even, odd] = widened(load(&x[n][block].quants));
            store(&mut wide[n][block][0], even);
            store(&mut wide[n][block][1], odd);
        }
    }
    for block in 0..blocks {
        let mut products = [[_mm256_setzero_si256(); SIDES]; N];
        for group in 0..8 {
            for odd in 0..2 {
                let mut weights = [_mm256_setzero_si256(); SIDES];
                for side in 0..SIDES {
                    weights[side] = load(&panels[side].quants[16 * block + 2 * group + odd]);
                }
                for n in 0..N {
                    let two = spread(&wide[n][block][odd], group);
                    for side in 0..SIDES {
                        products[n][side] = add_words(products[n][side], weights[side], two);
                    }
                }
            }
        }
        for n in 0..N {
            for side in 0..SIDES {
                let (sum, products) = (sums[n][side], products[n][side]);
                let factors = panels[side].factors_of(block);
                sums[n][side] = finish::<W>(0, sum, products, factors, &x[n][block]);
            }
        }
    }
}
