//! Blocks of 256 weights of few bits: Q2_K, Q3_K, TQ1_0 and TQ2_0, which are multiplied as those
//! of [`k_quants`](super::k_quants) are, and IQ4_XS.
//!
//! What IQ4_XS looks up needs all of a byte, and two products of such would not fit in sixteen
//! bits: in a panel its weights stand in sixteen bits, multiplied with their part's factor.

use core::arch::x86_64::*;

use super::gemv::BLOCKS;
use super::k_quants::{
    Avx2Block256, Avx2KQuant, SPREAD, in_words, low_halves, scales_of_halves, signed_scales,
    sixteen,
};
use super::legacy_quants::widened;
use super::packed::{Addresses8, Avx2Product, DotBytes, EightRows, Panel8, SIDES, product};
use super::register::{
    Lanes8, ROWS, add_words, as_nibbles, halves, load, load_floats, load_half, nibbles_of, spread,
    store, sums_of_lanes, transpose,
};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of<D: DotBytes>(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q2_K => product::<EightRows<Avx2KQuant<BlockQ2K, D>>>,
        DType::Q3_K => product::<EightRows<Avx2KQuant<BlockQ3K, D>>>,
        DType::TQ1_0 => product::<EightRows<Avx2KQuant<BlockTQ1_0, D>>>,
        DType::TQ2_0 => product::<EightRows<Avx2KQuant<BlockTQ2_0, D>>>,
        DType::IQ4_XS => product::<EightRows<Avx2Iq4Xs>>,
        _ => return None,
    })
}

macro_rules! stored {
    ($($block:ident: $most:literal, $parts:literal, $unpack:ident, $header:ident, $products:ident;)*)
    => {$(
        impl Avx2Block256 for $block {
            const MOST: i32 = $most;
            const PARTS: usize = $parts;
            #[inline(always)]
            unsafe fn unpack(rows: &Addresses8, panel: &mut Panel8) {
                // SAFETY: the caller's promise, handed on.
                unsafe { $unpack(rows, panel) }
            }
            #[inline(always)]
            unsafe fn header(rows: &Addresses8, panel: &mut Panel8) {
                // SAFETY: the caller's promise, handed on.
                unsafe { $header(rows, panel) }
            }
            #[inline(always)]
            unsafe fn products(&self, x: &ActivationQ8K) -> __m256i {
                // SAFETY: the caller's promise.
                unsafe { $products(self, x) }
            }
        }
    )*};
}

stored! {
    BlockQ2K: 3, 16, unpack_q2_k, header_q2_k, q2_k_products;
    BlockQ3K: 7, 16, unpack_q3_k, header_q3_k, q3_k_products;
    BlockTQ1_0: 2, 8, unpack_tq1_0, header_tq1_0, tq1_0_products;
    BlockTQ2_0: 2, 8, unpack_tq2_0, header_tq2_0, tq2_0_products;
}

/// The pairs of bits of each byte, from the lowest on. What is above them stays there.
#[inline]
#[target_feature(enable = "avx2")]
fn quarters(bytes: __m256i) -> [__m256i; 4] {
    [
        bytes,
        _mm256_srli_epi16::<2>(bytes),
        _mm256_srli_epi16::<4>(bytes),
        _mm256_srli_epi16::<6>(bytes),
    ]
}

/// Writes quants of two bits, of which 32 bytes hold 128 weights; `more` adds to four columns what
/// is known of them elsewhere.
#[inline]
#[target_feature(enable = "avx2")]
fn unpack_pairs_of_bits<'a>(
    of: impl Fn(usize) -> &'a [u8; 64],
    panel: &mut Panel8,
    more: impl Fn(usize, __m256i) -> __m256i,
) {
    for half in 0..2 {
        for piece in 0..2 {
            let words = transpose(|row| sixteen(of(row), 2 * half + piece));
            for word in 0..4 {
                for (quarter, quants) in quarters(words[word]).into_iter().enumerate() {
                    let quants = _mm256_and_si256(quants, _mm256_set1_epi8(3));
                    let at = 32 * half + 8 * quarter + 4 * piece + word;
                    store(&mut panel.quants[at], more(at, quants));
                }
            }
        }
    }
}

/// Writes the factors of eight blocks.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn factors(panel: &mut Panel8, of: impl Fn(usize) -> [u8; 2]) {
    store(&mut panel.factors[0], _mm256_castps_si256(halves(of)));
}

/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn header_q2_k(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ2K>() };
    let mask = _mm256_set1_epi8(15);
    let words = transpose(|row| load_half(&block(row).scales));
    for (four, both) in words.into_iter().enumerate() {
        let scales = _mm256_and_si256(both, mask);
        let mins = _mm256_and_si256(_mm256_srli_epi16::<4>(both), mask);
        for part in 0..4 {
            let scale = _mm256_shuffle_epi8(scales, in_words([part, part]));
            store(&mut panel.scales[4 * four + part], scale);
        }
        for pair in 0..2 {
            let pairs = _mm256_shuffle_epi8(mins, in_words([2 * pair, 2 * pair + 1]));
            store(&mut panel.mins[2 * four + pair], pairs);
        }
    }
    let mut both = Lanes8([0u32; ROWS]);
    for row in 0..ROWS {
        let ([a, b], [c, d]) = (block(row).scale, block(row).min_scale);
        both.0[row] = u32::from_le_bytes([a, b, c, d]);
    }
    let both = load(&both);
    store(&mut panel.factors[0], low_halves(both));
    store(
        &mut panel.min_factor,
        low_halves(_mm256_srli_epi32::<16>(both)),
    );
}

/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_q2_k(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `header_q2_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ2K>() };
    // SAFETY: as above.
    unsafe { header_q2_k(rows, panel) };
    unpack_pairs_of_bits(|row| &block(row).quants, panel, |_, quants| quants);
}

/// The products of weights of two bits with their scales.
#[inline]
#[target_feature(enable = "avx2")]
fn q2_k_products(block: &BlockQ2K, x: &ActivationQ8K) -> __m256i {
    let scales = _mm_and_si128(load_half(&block.scales), _mm_set1_epi8(15));
    let scales = scales_of_halves(scales);
    let (quants, _) = block.quants.as_chunks::<32>();
    let (inputs, _) = x.quants.as_chunks::<32>();
    let mut products = _mm256_setzero_si256();
    for half in 0..2 {
        for (quarter, quants) in quarters(load(&quants[half])).into_iter().enumerate() {
            let part = 4 * half + quarter;
            let quants = _mm256_and_si256(quants, _mm256_set1_epi8(3));
            let scale = _mm256_shuffle_epi8(scales, load(&SPREAD[part]));
            let pairs = _mm256_maddubs_epi16(quants, load(&inputs[part]));
            products = _mm256_add_epi32(products, _mm256_madd_epi16(pairs, scale));
        }
    }
    products
}

/// The packed scales of a Q3_K block, and its factor.
///
/// Sixteen bytes that end with the block; the first two belong to the quants.
#[inline]
#[target_feature(enable = "avx2")]
fn q3_k_end(block: &BlockQ3K) -> __m128i {
    const END: usize = size_of::<BlockQ3K>() - 16;
    const _: () = assert!(core::mem::offset_of!(BlockQ3K, scales) == END + 2);
    // SAFETY: the sixteen bytes lie within the block; the load wants no alignment.
    let end = unsafe { _mm_loadu_si128((&raw const *block).byte_add(END).cast()) };
    _mm_srli_si128::<2>(end)
}

/// Weights have a zero point of 4.
///
/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn header_q3_k(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `header_q2_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ3K>() };
    let [low, next, high, factor] = transpose(|row| q3_k_end(block(row)));
    let (four, two) = (_mm256_set1_epi8(0x0f), _mm256_set1_epi8(0x30));
    let scale = |low: __m256i, high: __m256i| {
        let high = _mm256_and_si256(high, two);
        let scale = _mm256_or_si256(_mm256_and_si256(low, four), high);
        _mm256_sub_epi8(scale, _mm256_set1_epi8(32))
    };
    let scales = [
        scale(low, _mm256_slli_epi16::<4>(high)),
        scale(next, _mm256_slli_epi16::<2>(high)),
        scale(_mm256_srli_epi16::<4>(low), high),
        scale(_mm256_srli_epi16::<4>(next), _mm256_srli_epi16::<2>(high)),
    ];
    signed_scales::<2>(scales, panel);
    store(&mut panel.factors[0], low_halves(factor));
}

/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_q3_k(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `header_q2_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ3K>() };
    // SAFETY: as above.
    unsafe { header_q3_k(rows, panel) };
    let high = [
        transpose(|row| sixteen(&block(row).high, 0)),
        transpose(|row| sixteen(&block(row).high, 1)),
    ];
    unpack_pairs_of_bits(
        |row| &block(row).quants,
        panel,
        |at, quants| {
            // Bit p of byte i is the third of weight i of part p.
            let (part, at) = (at / 8, at % 8);
            let bit = _mm256_set1_epi8((1u8 << part).cast_signed());
            let set = _mm256_cmpeq_epi8(_mm256_and_si256(high[at / 4][at % 4], bit), bit);
            _mm256_or_si256(quants, _mm256_and_si256(set, _mm256_set1_epi8(4)))
        },
    );
}

/// The products of weights that have a zero point of 4 with their scales.
#[inline]
#[target_feature(enable = "avx2")]
fn q3_k_products(block: &BlockQ3K, x: &ActivationQ8K) -> __m256i {
    let end = q3_k_end(block);
    let (four, two) = (_mm_set1_epi8(0x0f), _mm_set1_epi8(0x30));
    // The low bits of eight scales, then of the others; the high ones in the same order.
    let low = _mm_unpacklo_epi64(end, _mm_srli_epi16::<4>(end));
    let high = _mm_shuffle_epi32::<0b10_10_10_10>(end);
    let shifts = _mm_setr_epi32(4, 2, 0, 0);
    let down = _mm_setr_epi32(0, 0, 0, 2);
    let high = _mm_srlv_epi32(_mm_sllv_epi32(high, shifts), down);
    let scales = _mm_or_si128(_mm_and_si128(low, four), _mm_and_si128(high, two));
    let scales = scales_of_halves(_mm_sub_epi8(scales, _mm_set1_epi8(32)));
    let (quants, _) = block.quants.as_chunks::<32>();
    let (inputs, _) = x.quants.as_chunks::<32>();
    let bits = load(&block.high);
    // Each part's bit, moved to bit 2.
    let bits = [
        _mm256_slli_epi16::<2>(bits),
        _mm256_slli_epi16::<1>(bits),
        bits,
        _mm256_srli_epi16::<1>(bits),
        _mm256_srli_epi16::<2>(bits),
        _mm256_srli_epi16::<3>(bits),
        _mm256_srli_epi16::<4>(bits),
        _mm256_srli_epi16::<5>(bits),
    ];
    let mut products = _mm256_setzero_si256();
    for half in 0..2 {
        for (quarter, quants) in quarters(load(&quants[half])).into_iter().enumerate() {
            let part = 4 * half + quarter;
            let quants = _mm256_and_si256(quants, _mm256_set1_epi8(3));
            let high = _mm256_and_si256(bits[part], _mm256_set1_epi8(4));
            let quants = _mm256_or_si256(quants, high);
            let scale = _mm256_shuffle_epi8(scales, load(&SPREAD[part]));
            let pairs = _mm256_maddubs_epi16(quants, load(&inputs[part]));
            products = _mm256_add_epi32(products, _mm256_madd_epi16(pairs, scale));
        }
    }
    products
}

/// Scales of one, and weights that have a zero point of 1.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn no_scales(panel: &mut Panel8) {
    for part in 0..8 {
        store(&mut panel.scales[part], _mm256_set1_epi16(1));
    }
    for pair in 0..4 {
        store(&mut panel.mins[pair], _mm256_set1_epi16(-1));
    }
}

/// The products of weights up to 2, which sixteen bits hold all, 32 columns at a time.
#[inline]
#[target_feature(enable = "avx2")]
fn trit_products(quants: impl Fn(usize) -> __m256i, x: &ActivationQ8K) -> __m256i {
    let (inputs, _) = x.quants.as_chunks::<32>();
    let mut pairs = _mm256_setzero_si256();
    for part in 0..8 {
        let products = _mm256_maddubs_epi16(quants(part), load(&inputs[part]));
        pairs = _mm256_add_epi16(pairs, products);
    }
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn header_tq2_0(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `header_q2_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockTQ2_0>() };
    no_scales(panel);
    factors(panel, |row| block(row).scale);
}

/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_tq2_0(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `header_q2_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockTQ2_0>() };
    // SAFETY: as above.
    unsafe { header_tq2_0(rows, panel) };
    unpack_pairs_of_bits(|row| &block(row).quants, panel, |_, quants| quants);
}

#[inline]
#[target_feature(enable = "avx2")]
fn tq2_0_products(block: &BlockTQ2_0, x: &ActivationQ8K) -> __m256i {
    let (quants, _) = block.quants.as_chunks::<32>();
    let quants = [quarters(load(&quants[0])), quarters(load(&quants[1]))];
    let mask = _mm256_set1_epi8(3);
    trit_products(|part| _mm256_and_si256(quants[part / 4][part % 4], mask), x)
}

/// Trits of five places, base 3, from the first on: a byte is what they come to, over 243, times
/// 256, so that multiplied with 3 it has a trit above it and the others in it.
#[inline]
#[target_feature(enable = "avx2")]
fn trits(bytes: __m256i) -> [__m256i; 5] {
    let mut left = bytes;
    let mut trits = [_mm256_setzero_si256(); 5];
    for trits in &mut trits {
        let least = |least: u8| {
            let least = _mm256_max_epu8(left, _mm256_set1_epi8(least.cast_signed()));
            _mm256_cmpeq_epi8(least, left)
        };
        // 3 · 86 is the first above 256, 3 · 171 above 512; where they are, all bits are set.
        let negative = _mm256_add_epi8(least(86), least(171));
        *trits = _mm256_sub_epi8(_mm256_setzero_si256(), negative);
        left = thrice(left);
    }
    trits
}

/// Three times each byte, in assembly, for the compiler would make multiplications of its powers,
/// which bytes do not have.
#[inline]
#[target_feature(enable = "avx2")]
fn thrice(bytes: __m256i) -> __m256i {
    let thrice;
    // SAFETY: arithmetic on registers, with instructions that this function has.
    unsafe {
        core::arch::asm!(
            "vpaddb {thrice}, {bytes}, {bytes}",
            "vpaddb {thrice}, {thrice}, {bytes}",
            bytes = in(ymm_reg) bytes,
            thrice = out(ymm_reg) thrice,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    thrice
}

/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn header_tq1_0(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `header_q2_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockTQ1_0>() };
    no_scales(panel);
    factors(panel, |row| block(row).scale);
}

/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_tq1_0(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `header_q2_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockTQ1_0>() };
    // SAFETY: as above.
    unsafe { header_tq1_0(rows, panel) };
    for piece in 0..3 {
        let words = transpose(|row| sixteen(&block(row).quants, piece));
        for word in 0..4 {
            for (place, trits) in trits(words[word]).into_iter().enumerate() {
                let at = match piece {
                    2 => 40 + 4 * place,
                    _ => 8 * place + 4 * piece,
                };
                store(&mut panel.quants[at + word], trits);
            }
        }
    }
    let mut high = Lanes8([0; ROWS]);
    for row in 0..ROWS {
        high.0[row] = i32::from_le_bytes(block(row).high);
    }
    for (place, trits) in trits(load(&high)).into_iter().take(4).enumerate() {
        store(&mut panel.quants[60 + place], trits);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn tq1_0_products(block: &BlockTQ1_0, x: &ActivationQ8K) -> __m256i {
    let first = trits(load(&block.quants.as_chunks::<32>().0[0]));
    // Sixteen bytes of five places, and four of four, which stand as often side by side.
    let high = _mm_set1_epi32(i32::from_le_bytes(block.high));
    let others = trits(_mm256_set_m128i(high, sixteen(&block.quants, 2)));
    let (mut low, mut high) = ([_mm_setzero_si128(); 5], [_mm_setzero_si128(); 5]);
    for place in 0..5 {
        low[place] = _mm256_castsi256_si128(others[place]);
        high[place] = _mm256_extracti128_si256::<1>(others[place]);
    }
    let ([a, b, c, d, e], [h0, h1, h2, h3, _]) = (low, high);
    let high = _mm_unpacklo_epi64(_mm_unpacklo_epi32(h0, h1), _mm_unpacklo_epi32(h2, h3));
    let last = [
        _mm256_set_m128i(b, a),
        _mm256_set_m128i(d, c),
        _mm256_set_m128i(high, e),
    ];
    trit_products(
        |part| match part {
            0..5 => first[part],
            _ => last[part - 5],
        },
        x,
    )
}

/// IQ4_XS with [int8 activations](ActivationQ8K).
struct Avx2Iq4Xs;

impl Avx2Product for Avx2Iq4Xs {
    type Weights = BlockIQ4XS;
    type Inputs = ActivationQ8K;
    const ELEMENTS: usize = 256;
    type Prepared = Iq4XsInputs;

    #[inline(always)]
    unsafe fn prepare(x: &[ActivationQ8K]) -> Iq4XsInputs {
        // SAFETY: the caller's promise.
        unsafe { prepare(x) }
    }

    #[inline(always)]
    unsafe fn unpack(rows: &Addresses8, _: usize, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { unpack_iq4_xs(rows, panel) }
    }

    #[inline(always)]
    unsafe fn sums(row: *const u8, x: &[ActivationQ8K], prepared: &[Iq4XsInputs]) -> __m256i {
        // SAFETY: the caller's promise, handed on.
        unsafe { iq4_xs_sums(row, x.len(), prepared) }
    }

    #[inline(always)]
    unsafe fn add(sum: __m256, products: __m256i, rows: &Addresses8, x: &ActivationQ8K) -> __m256 {
        // SAFETY: the caller's promise; a block has alignment 1 and no invalid bytes.
        unsafe {
            let factors = halves(|row| (*rows[row].cast::<BlockIQ4XS>()).scale);
            finish(sum, products, factors, x)
        }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panels: &[Panel8; SIDES],
        x: [&[ActivationQ8K]; N],
        sums: &mut [[__m256; SIDES]; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe { tile(panels, x, sums) }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn finish(sum: __m256, products: __m256i, factors: __m256, x: &ActivationQ8K) -> __m256 {
    let factor = _mm256_mul_ps(factors, _mm256_set1_ps(x.scale()));
    _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), factor, sum)
}

/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_iq4_xs(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `header_q2_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockIQ4XS>() };
    let mut words = [Lanes8([0u32; ROWS]); 2];
    for row in 0..ROWS {
        words[0].0[row] = u16::from_le_bytes(block(row).scales_high).into();
        words[1].0[row] = u32::from_le_bytes(block(row).scales_low);
    }
    let (high, low) = (load(&words[0]), load(&words[1]));
    let values = _mm256_broadcastsi128_si256(load_half(&IQ4_VALUES));
    for part in 0..8 {
        let bits = |of: __m256i, count: usize| {
            let moved = _mm256_srlv_epi32(of, _mm256_set1_epi32((part * count) as i32));
            _mm256_and_si256(moved, _mm256_set1_epi32((1 << count) - 1))
        };
        let scale = _mm256_or_si256(bits(low, 4), _mm256_slli_epi32::<4>(bits(high, 2)));
        // In both halves of a lane, and 32 less in each.
        let scale = _mm256_or_si256(scale, _mm256_slli_epi32::<16>(scale));
        let scale = _mm256_sub_epi16(scale, _mm256_set1_epi16(32));
        let words = transpose(|row| sixteen(&block(row).quants, part));
        for word in 0..4 {
            for (side, quants) in [words[word], _mm256_srli_epi16::<4>(words[word])]
                .into_iter()
                .enumerate()
            {
                let quants = _mm256_and_si256(quants, _mm256_set1_epi8(15));
                let both = widened(_mm256_shuffle_epi8(values, quants));
                let at = 8 * part + 4 * side + word;
                for odd in 0..2 {
                    let weights = _mm256_mullo_epi16(both[odd], scale);
                    store(&mut panel.quants[2 * at + odd], weights);
                }
            }
        }
    }
    factors(panel, |row| block(row).scale);
}

/// Panels of one block against `N` inputs, weights standing in sixteen bits.
#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn tile<const N: usize>(
    panels: &[Panel8; SIDES],
    x: [&[ActivationQ8K]; N],
    sums: &mut [[__m256; SIDES]; N],
) {
    let mut wide = [[[Lanes8([0i32; ROWS]); 2]; 8]; N];
    for n in 0..N {
        let (inputs, _) = x[n][0].quants.as_chunks::<32>();
        for part in 0..8 {
            let [even, odd] = widened(load(&inputs[part]));
            store(&mut wide[n][part][0], even);
            store(&mut wide[n][part][1], odd);
        }
    }
    let mut products = [[_mm256_setzero_si256(); SIDES]; N];
    for part in 0..8 {
        for group in 0..8 {
            for odd in 0..2 {
                let mut weights = [_mm256_setzero_si256(); SIDES];
                for side in 0..SIDES {
                    weights[side] = load(&panels[side].quants[16 * part + 2 * group + odd]);
                }
                for n in 0..N {
                    let two = spread(&wide[n][part][odd], group);
                    for side in 0..SIDES {
                        products[n][side] = add_words(products[n][side], weights[side], two);
                    }
                }
            }
        }
    }
    for n in 0..N {
        for side in 0..SIDES {
            let factors = load_floats(&panels[side].factors[0]);
            sums[n][side] = finish(sums[n][side], products[n][side], factors, &x[n][0]);
        }
    }
}

/// An input's block, as 32 bytes of two parts have a row's: the first sixteen columns of both,
/// then the last; and their magnitudes.
struct Iq4XsInputs {
    x: [[Lanes8<i32>; 2]; 4],
    magnitudes: [[Lanes8<i32>; 2]; 4],
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn prepare(x: &[ActivationQ8K]) -> Iq4XsInputs {
    let mut prepared = Iq4XsInputs {
        x: [[Lanes8([0; ROWS]); 2]; 4],
        magnitudes: [[Lanes8([0; ROWS]); 2]; 4],
    };
    let (parts, _) = x[0].quants.as_chunks::<32>();
    for pair in 0..4 {
        let [x, magnitudes] = as_nibbles(&parts[2 * pair], &parts[2 * pair + 1]);
        for half in 0..2 {
            store(&mut prepared.x[pair][half], x[half]);
            store(&mut prepared.magnitudes[pair][half], magnitudes[half]);
        }
    }
    prepared
}

/// The sums of the products of up to eight blocks of a row with an input, one to a lane.
///
/// # Safety
///
/// So many blocks are at the row's address; they have alignment 1 and no invalid bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn iq4_xs_sums(row: *const u8, len: usize, prepared: &[Iq4XsInputs]) -> __m256i {
    let mut products = [_mm256_setzero_si256(); BLOCKS];
    for (n, prepared) in prepared.iter().enumerate().take(BLOCKS.min(len)) {
        // SAFETY: the caller's promise.
        let block = unsafe { &*row.cast::<BlockIQ4XS>().wrapping_add(n) };
        products[n] = iq4_xs_products(block, prepared);
    }
    sums_of_lanes(products)
}

#[inline]
#[target_feature(enable = "avx2")]
fn iq4_xs_products(block: &BlockIQ4XS, x: &Iq4XsInputs) -> __m256i {
    // Even parts' scales in the one half, odd ones' in the other: two parts to a register.
    let low = _mm256_set1_epi32(i32::from_le_bytes(block.scales_low));
    let low = _mm256_srlv_epi32(low, _mm256_setr_epi32(0, 8, 16, 24, 4, 12, 20, 28));
    let high = _mm256_set1_epi32(u16::from_le_bytes(block.scales_high).into());
    let high = _mm256_srlv_epi32(high, _mm256_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14));
    let low = _mm256_and_si256(low, _mm256_set1_epi32(15));
    let high = _mm256_slli_epi32::<4>(_mm256_and_si256(high, _mm256_set1_epi32(3)));
    let scales = _mm256_sub_epi32(_mm256_or_si256(low, high), _mm256_set1_epi32(32));
    let scales = _mm256_packs_epi32(scales, scales);
    let values = _mm256_broadcastsi128_si256(load_half(&IQ4_VALUES));
    let (quants, _) = block.quants.as_chunks::<32>();
    let mut products = _mm256_setzero_si256();
    for pair in 0..4 {
        let scale = _mm256_shuffle_epi8(scales, load(&SPREAD[pair]));
        for (half, quants) in nibbles_of(load(&quants[pair])).into_iter().enumerate() {
            // Magnitudes, and the weights with the activations' signs: within 2 · 127 · 127.
            let weights = _mm256_shuffle_epi8(values, quants);
            let weights = _mm256_sign_epi8(weights, load(&x.x[pair][half]));
            let pairs = _mm256_maddubs_epi16(load(&x.magnitudes[pair][half]), weights);
            products = _mm256_add_epi32(products, _mm256_madd_epi16(pairs, scale));
        }
    }
    products
}
