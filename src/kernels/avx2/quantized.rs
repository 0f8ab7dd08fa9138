//! Products of quantized weights with int8 activations.
//!
//! Bytes are multiplied as (unsigned, signed) pairs and pairs are added in sixteen bits, which
//! would saturate beyond 32767. It never happens: activations stay within ±127 and magnitudes
//! of weights within 128, so a pair is at most 2 · 128 · 127 = 32512.

use core::arch::x86_64::*;

use super::register::{load, load_half, spread_half, store, sum};
use crate::kernels::{MatMul, MatMulFn};
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type, if it is better here than in plain Rust.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q4_0 => q4_0,
        DType::Q4_1 => q4_1,
        DType::Q5_0 => q5_0,
        DType::Q5_1 => q5_1,
        DType::Q8_0 => q8_0,
        DType::IQ4_NL => iq4_nl,
        DType::MXFP4 => mxfp4,
        DType::Q2_K => large::<BlockQ2K>,
        DType::Q3_K => large::<BlockQ3K>,
        DType::Q4_K => q4_k,
        DType::Q5_K => large::<BlockQ5K>,
        DType::Q6_K => q6_k,
        DType::IQ4_XS => iq4_xs,
        DType::TQ1_0 => large::<BlockTQ1_0>,
        DType::TQ2_0 => large::<BlockTQ2_0>,
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

/// Products of 32 weights to a block: its quants, its factor in every lane, its offset.
macro_rules! small {
    ($($name:ident: $block:ident, |$b:ident| $quants:expr, $scale:expr, $offset:expr;)*) => {$(
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn $name(call: &MatMul) {
            let unpack = |$b: &$block| ($quants, $scale, $offset);
            // SAFETY: the caller's promise, handed on.
            unsafe {
                each_pair(
                    call,
                    32,
                    |w, x| dot_small(w, x, unpack),
                    |w, x| dot_small(w, x, unpack),
                )
            }
        }
    )*};
}

small! {
    q4_0: BlockQ4_0, |b| _mm256_sub_epi8(nibbles(&b.quants), _mm256_set1_epi8(8)),
        spread_half(b.scale), None;
    q4_1: BlockQ4_1, |b| nibbles(&b.quants), spread_half(b.scale), Some(b.min);
    q5_0: BlockQ5_0, |b| _mm256_sub_epi8(with_fifth(&b.quants, b.high), _mm256_set1_epi8(16)),
        spread_half(b.scale), None;
    q5_1: BlockQ5_1, |b| with_fifth(&b.quants, b.high), spread_half(b.scale), Some(b.min);
    q8_0: BlockQ8_0, |b| load(&b.quants), spread_half(b.scale), None;
    iq4_nl: BlockIQ4NL, |b| values(&IQ4_VALUES, &b.quants), spread_half(b.scale), None;
    mxfp4: BlockMXFP4, |b| values(&FP4_VALUES, &b.quants), _mm256_set1_ps(b.scale()), None;
}

/// Low halves of sixteen bytes, then their high halves.
#[inline]
#[target_feature(enable = "avx2")]
fn nibbles(bytes: &[u8; 16]) -> __m256i {
    let bytes = load_half(bytes);
    let halves = _mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes);
    _mm256_and_si256(halves, _mm256_set1_epi8(15))
}

/// [`nibbles`] with a fifth bit, bit i of a u32 for weight i.
#[inline]
#[target_feature(enable = "avx2")]
fn with_fifth(bytes: &[u8; 16], high: [u8; 4]) -> __m256i {
    const BYTE_OF: [u8; 32] = {
        let mut bytes = [0; 32];
        let mut i = 0;
        while i < 32 {
            bytes[i] = (i / 8) as u8;
            i += 1;
        }
        bytes
    };
    let bits = _mm256_set1_epi32(i32::from_le_bytes(high));
    let bits = _mm256_shuffle_epi8(bits, load(&BYTE_OF));
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
    let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
    let fifth = _mm256_and_si256(set, _mm256_set1_epi8(16));
    _mm256_or_si256(nibbles(bytes), fifth)
}

/// What [`nibbles`] stand for.
#[inline]
#[target_feature(enable = "avx2")]
fn values(values: &[i8; 16], bytes: &[u8; 16]) -> __m256i {
    let values = _mm256_broadcastsi128_si256(load_half(values));
    _mm256_shuffle_epi8(values, nibbles(bytes))
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

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn iq4_xs(call: &MatMul) {
    let unpack = |block: &BlockIQ4XS, out: &mut Integers256| {
        let (groups, _) = block.quants.as_chunks::<16>();
        let (quants, _) = out.quants.as_chunks_mut::<32>();
        for g in 0..8 {
            store(&mut quants[g], values(&IQ4_VALUES, &groups[g]));
        }
        let scales = block.group_scales();
        for g in 0..16 {
            out.scales[g] = scales[g / 2];
        }
        out.scale = _mm256_cvtss_f32(spread_half(block.scale));
    };
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

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4_k(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(call, 256, |w, x| dot_q4_k(w, x), |w, x| dot_q4_k(w, x)) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q6_k(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { each_pair(call, 256, |w, x| dot_q6_k(w, x), |w, x| dot_q6_k(w, x)) }
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
fn dot_small<B, const N: usize>(
    weights: &[B],
    x: [&[ActivationQ8_0]; N],
    unpack: impl Fn(&B) -> (__m256i, __m256, Option<[u8; 2]>),
) -> [f32; N] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); N];
    let mut offsets = [0.0; N];
    for (index, block) in weights.iter().enumerate() {
        let (quants, scale, offset) = unpack(block);
        let magnitudes = _mm256_abs_epi8(quants);
        for n in 0..N {
            let x = &x[n][index];
            let pairs = signed_products(magnitudes, quants, load(&x.quants));
            let products = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, ones));
            sums[n] = _mm256_fmadd_ps(
                _mm256_mul_ps(scale, _mm256_set1_ps(x.scale())),
                products,
                sums[n],
            );
            if let Some(offset) = offset {
                let offset = _mm256_cvtss_f32(spread_half(offset));
                offsets[n] += offset * (x.scale() * x.sum() as f32);
            }
        }
    }
    let mut totals = total(sums);
    for n in 0..N {
        totals[n] += offsets[n];
    }
    totals
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
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_q4_k<const N: usize>(weights: &[BlockQ4K], x: [&[ActivationQ8K]; N]) -> [f32; N] {
    let mask = _mm256_set1_epi8(15);
    let mut sums = [_mm256_setzero_ps(); N];
    for (index, block) in weights.iter().enumerate() {
        let (scales, mins) = unpack_scales(&block.scales);
        // Each scale twice, so that a shuffle of sixteen-bit pairs can spread any of them.
        let scales = _mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(_mm_cvtsi64_si128(scales)));
        let mins = _mm_cvtsi64_si128(mins);
        // Each minimum twice, beside the two sums of sixteen it belongs to.
        let mins = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(mins, mins));
        let mut products = [_mm256_setzero_si256(); N];
        let (runs, _) = block.quants.as_chunks::<32>();
        for (run, packed) in runs.iter().enumerate() {
            let packed = load(packed);
            let low = _mm256_and_si256(packed, mask);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(packed), mask);
            let low_scale = _mm256_shuffle_epi8(scales, load(&SPREAD[2 * run]));
            let high_scale = _mm256_shuffle_epi8(scales, load(&SPREAD[2 * run + 1]));
            for n in 0..N {
                let (groups, _) = x[n][index].quants.as_chunks::<32>();
                let low = _mm256_maddubs_epi16(low, load(&groups[2 * run]));
                let high = _mm256_maddubs_epi16(high, load(&groups[2 * run + 1]));
                let pair = _mm256_add_epi32(
                    _mm256_madd_epi16(low, low_scale),
                    _mm256_madd_epi16(high, high_scale),
                );
                products[n] = _mm256_add_epi32(products[n], pair);
            }
        }
        let scale = spread_half(block.scale);
        let min_scale = spread_half(block.min_scale);
        for n in 0..N {
            let x = &x[n][index];
            // At most 32 · 63 · 15 · 127 to a lane: exact as a float, like the minima's.
            let products = _mm256_cvtepi32_ps(products[n]);
            sums[n] = _mm256_fmadd_ps(
                _mm256_mul_ps(scale, _mm256_set1_ps(x.scale())),
                products,
                sums[n],
            );
            let offsets = _mm256_cvtepi32_ps(_mm256_madd_epi16(mins, load(&x.sums)));
            sums[n] = _mm256_fnmadd_ps(
                _mm256_mul_ps(min_scale, _mm256_set1_ps(x.scale())),
                offsets,
                sums[n],
            );
        }
    }
    total(sums)
}

/// Shuffles that fill each half of a register with its g-th sixteen-bit number.
const SPREAD: [[u8; 32]; 8] = {
    let mut masks = [[0; 32]; 8];
    let mut at = 0;
    while at < 256 {
        masks[at / 32][at % 32] = (at / 32 * 2 + at % 2) as u8;
        at += 1;
    }
    masks
};

/// The eight scales and the eight minima of a Q4_K block, a byte each: four at a time, what
/// [`scales_and_mins`] does one by one.
#[inline]
fn unpack_scales(packed: &[u8; 12]) -> (i64, i64) {
    const SIX: u32 = 0x3f3f_3f3f;
    const FOUR: u32 = 0x0f0f_0f0f;
    const TWO: u32 = 0x0303_0303;
    let (words, _) = packed.as_chunks::<4>();
    let [first, second, third] = [0, 1, 2].map(|at| u32::from_le_bytes(words[at]));
    let join = |low: u32, high: u32| (u64::from(low) | (u64::from(high) << 32)).cast_signed();
    let scales = join(first & SIX, (third & FOUR) | (((first >> 6) & TWO) << 4));
    let mins = join(
        second & SIX,
        ((third >> 4) & FOUR) | (((second >> 6) & TWO) << 4),
    );
    (scales, mins)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_q6_k<const N: usize>(weights: &[BlockQ6K], x: [&[ActivationQ8K]; N]) -> [f32; N] {
    let low_bits = _mm256_set1_epi8(15);
    let high_bits = _mm256_set1_epi8(0x30);
    let offset = _mm256_set1_epi8(32);
    let mut sums = [_mm256_setzero_ps(); N];
    for (index, block) in weights.iter().enumerate() {
        let scales = load_half(&block.scales);
        let (low, _) = block.low.as_chunks::<32>();
        let (high, _) = block.high.as_chunks::<32>();
        let mut products = [_mm256_setzero_si256(); N];
        for half in 0..2 {
            let high = load(&high[half]);
            let (first, second) = (load(&low[2 * half]), load(&low[2 * half + 1]));
            // The high bits of each quarter, moved to bits 4 and 5.
            let quarters = [
                (first, _mm256_slli_epi16::<4>(high)),
                (second, _mm256_slli_epi16::<2>(high)),
                (_mm256_srli_epi16::<4>(first), high),
                (_mm256_srli_epi16::<4>(second), _mm256_srli_epi16::<2>(high)),
            ];
            for (quarter, (low, high)) in quarters.into_iter().enumerate() {
                let quarter = 4 * half + quarter;
                let low = _mm256_and_si256(low, low_bits);
                let high = _mm256_and_si256(high, high_bits);
                let quants = _mm256_sub_epi8(_mm256_or_si256(low, high), offset);
                let magnitudes = _mm256_abs_epi8(quants);
                let pair = _mm_shuffle_epi8(scales, load_half(&SPREAD_PAIR[quarter]));
                let scale = _mm256_cvtepi8_epi16(pair);
                for n in 0..N {
                    let (groups, _) = x[n][index].quants.as_chunks::<32>();
                    let pairs = signed_products(magnitudes, quants, load(&groups[quarter]));
                    let scaled = _mm256_madd_epi16(pairs, scale);
                    products[n] = _mm256_add_epi32(products[n], scaled);
                }
            }
        }
        let scale = spread_half(block.scale);
        for n in 0..N {
            // At most 32 · 128 · 32 · 127 < 2^24 to a lane: exact as a float.
            let products = _mm256_cvtepi32_ps(products[n]);
            let scale = _mm256_mul_ps(scale, _mm256_set1_ps(x[n][index].scale()));
            sums[n] = _mm256_fmadd_ps(scale, products, sums[n]);
        }
    }
    total(sums)
}

/// Shuffles that fill a register's first half with byte 2q and its second with byte 2q + 1.
const SPREAD_PAIR: [[u8; 16]; 8] = {
    let mut masks = [[0; 16]; 8];
    let mut at = 0;
    while at < 128 {
        masks[at / 16][at % 16] = (at / 16 * 2 + at % 16 / 8) as u8;
        at += 1;
    }
    masks
};

#[inline]
#[target_feature(enable = "avx2")]
fn total<const N: usize>(sums: [__m256; N]) -> [f32; N] {
    let mut totals = [0.0; N];
    for n in 0..N {
        totals[n] = sum(sums[n]);
    }
    totals
}
