//! IQ1, IQ2 and IQ3: the types whose weights are points of a grid, four or eight at a time.
//!
//! Four blocks at a time: what is looked up for several of them takes as many instructions as for
//! one.

use core::arch::x86_64::*;

use super::block256::{finish, panel256, tile};
use super::gemv::{Kept, RowGroup};
use super::grid_lookup::*;
use super::packed::{Addresses16, Avx512Product, Panel16, SixteenRows, Sums16, WIDTH};
use super::register::{
    Lanes16, ROWS, load, load_half, load_halves, load_quarter, store, sum_in_quarters,
    sum_quarters, transpose, transpose_quarters,
};
use crate::MatMulFn;
use crate::generic::products;
use crate::isa::moves_bytes;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type, where the CPU has what it takes.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    let product: MatMulFn = match dtype {
        DType::IQ2_XXS => product::<SixteenRows<BlockIQ2XXS>>,
        DType::IQ2_XS => product::<SixteenRows<BlockIQ2XS>>,
        DType::IQ2_S => product::<SixteenRows<BlockIQ2S>>,
        DType::IQ3_XXS => product::<SixteenRows<BlockIQ3XXS>>,
        DType::IQ3_S => product::<SixteenRows<BlockIQ3S>>,
        DType::IQ1_S => product::<SixteenRows<BlockIQ1S>>,
        DType::IQ1_M => product::<SixteenRows<BlockIQ1M>>,
        _ => return None,
    };
    moves_bytes().then_some(product)
}

// With VBMI as well.
products!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi");

/// Products of blocks with `$parts` parts, each with a factor of its own: how the points of four
/// blocks are found, and a block's weights from them; its parts' factors, of which that of part p
/// of sixteen is word `$place`.
macro_rules! products_of_points {
    ($(
        $block:ident, $parts:literal,
        $points:expr, $kind:ident $weights:expr,
        $scales:expr, |$part:ident| $place:expr;
    )*) => {$(
        panel256!($block, tile::<$parts, { $kind::ZERO_POINT }, false>);

        impl Avx512Product for $block {
            type Weights = Self;
            type Inputs = ActivationQ8K;
            const ELEMENTS: usize = 256;

            #[inline(always)]
            unsafe fn unpack(rows: &Addresses16, _: usize, panel: &mut Panel16) {
                #[inline]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
                fn unpack_points(rows: &Addresses16, panel: &mut Panel16) {
                    const fn place($part: usize) -> usize {
                        $place
                    }
                    let how = (
                        |blocks: [&$block; 4]| $points(blocks),
                        |block: &$block, points| $kind::bytes($weights(block, points)),
                        |block: &$block| {
                            parts_at(words!(|at| place(at % 16)), $scales(block))
                        },
                    );
                    unpack::<_, _, $parts>(rows, panel, how);
                }
                // SAFETY: the caller's promise, handed on.
                unsafe { unpack_points(rows, panel) }
            }

            #[inline(always)]
            unsafe fn tile<const N: usize>(
                panels: &[Panel16; WIDTH],
                x: [&[ActivationQ8K]; N],
                sums: &mut [Sums16; N],
            ) {
                // SAFETY: the caller's promise, handed on.
                unsafe { tile::<$parts, { $kind::ZERO_POINT }, false, N>(panels, x, sums) }
            }

            #[inline(always)]
            unsafe fn gemv(group: &RowGroup, x: &[ActivationQ8K]) -> __m512 {
                #[inline]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
                fn gemv_points(group: &RowGroup, x: &[ActivationQ8K]) -> __m512 {
                    const fn place($part: usize) -> usize {
                        $place
                    }
                    let products = |block: &$block, points, x: &ActivationQ8K| {
                        let scales = $scales(block);
                        let places = [
                            words!(|at| place(packed(at))),
                            words!(|at| place(8 + packed(at))),
                        ];
                        let packed = [
                            _mm512_permutexvar_epi16(places[0], scales),
                            _mm512_permutexvar_epi16(places[1], scales),
                        ];
                        let parts = || parts_at(words!(|at| place(at % 16)), $scales(block));
                        $kind::products($weights(block, points), packed, parts, x)
                    };
                    let points = |blocks: [&$block; 4]| $points(blocks);
                    points_gemv(group, x, (points, products))
                }
                // SAFETY: the caller's promise, handed on.
                unsafe { gemv_points(group, x) }
            }
        }
    )*};
}

products_of_points! {
    BlockIQ2XXS, 8,
        |b| twos(b, |two| iq2_xxs_points(two)),
        signed iq2_xxs_weights, iq2_xxs_scales,
        |part| 4 * (part / 2) + 3;
    BlockIQ2XS, 16,
        |b| twos(b, |two| iq2_xs_points(two)),
        signed iq2_xs_weights, |b: &BlockIQ2XS| scales(b.scales),
        |part| part;
    BlockIQ2S, 16,
        |b| twos(b, |two| iq2_s_points(two)),
        signed iq2_s_weights, |b: &BlockIQ2S| scales(b.scales),
        |part| part;
    BlockIQ3XXS, 8,
        |b| each(b, |one| iq3_xxs_points(one)),
        signed iq3_xxs_weights, iq3_xxs_scales,
        |part| 2 * (part / 2) + 1;
    BlockIQ3S, 8,
        |b| each(b, |one| iq3_s_points(one)),
        signed iq3_s_weights, |b: &BlockIQ3S| scales(twice(b.scales)),
        |part| part / 2;
    BlockIQ1S, 8,
        iq1_s_points,
        raised iq1_s_weights, iq1_s_scales,
        |part| part / 2;
    BlockIQ1M, 16,
        iq1_m_points,
        raised iq1_m_weights, iq1_m_scales,
        |part| part;
}

/// The words of these places, which are the factors of sixteen parts.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn parts_at(places: __m512i, scales: __m512i) -> __m256i {
    _mm512_castsi512_si256(_mm512_permutexvar_epi16(places, scales))
}

/// a or (c and not b).
const OR_AND_NOT: i32 = 0xf2;

/// The part, of the eight in a block's half, whose products are in a word when those of its 64
/// weights and of the next 64 have been packed into one register.
const fn packed(word: usize) -> usize {
    word / 8 + word % 8 / 4 * 4
}

/// What is found for four blocks, two at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn twos<B, P>([a, b, c, d]: [&B; 4], of: impl Fn([&B; 2]) -> [P; 2]) -> [P; 4] {
    let ([a, b], [c, d]) = (of([a, b]), of([c, d]));
    [a, b, c, d]
}

/// What is found for four blocks, one at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn each<B, P>([a, b, c, d]: [&B; 4], of: impl Fn(&B) -> P) -> [P; 4] {
    [of(a), of(b), of(c), of(d)]
}

#[inline]
fn twice([a, b, c, d]: [u8; 4]) -> [u8; 8] {
    [a, b, c, d, a, b, c, d]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_xxs_points([a, b]: [&BlockIQ2XXS; 2]) -> [(__m512i, __m256i); 2] {
    let (a, b) = (load(&a.quants), load(&b.quants));
    // Four indices and a word of signs in turn.
    let places = bytes!(|at| 8 * (at / 4) + at % 4);
    let low = _mm512_permutex2var_epi8(a, places, b);
    let second = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    let signs = packed_signs(_mm512_permutex2var_epi32(a, second, b));
    let [found] = looked_up(&IQ2_XXS, [Indices { low, high: [0; 3] }]);
    let ([a, b], [c, d]) = (in_eights(found), halves(signs));
    [(a, c), (b, d)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_xxs_weights(_: &BlockIQ2XXS, (points, signs): (__m512i, __m256i)) -> signed::SignedWeights {
    (eights(points), as_masks(signs))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_xs_points([a, b]: [&BlockIQ2XS; 2]) -> [(__m512i, __m256i); 2] {
    let (a, b) = (load(&a.quants), load(&b.quants));
    let low = _mm512_permutex2var_epi8(a, bytes!(|at| 2 * at), b);
    // A bit of each index, and seven signs.
    let above = _mm512_permutex2var_epi8(a, bytes!(|at| 2 * at + 1), b);
    let signs = even_signs(_mm512_srli_epi16::<1>(above));
    let high = bits::<1>(above);
    let [found] = looked_up(&IQ2_XS, [Indices { low, high }]);
    let ([a, b], [c, d]) = (in_eights(found), halves(signs));
    [(a, c), (b, d)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_xs_weights(_: &BlockIQ2XS, (points, signs): (__m512i, __m256i)) -> signed::SignedWeights {
    (eights(points), as_masks(signs))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_s_points([a, b]: [&BlockIQ2S; 2]) -> [__m512i; 2] {
    let low = load_both([&a.quants, &b.quants]);
    // Two bits of each index, those of eight in a word.
    let [first, second] = [a, b].map(|block| i64::from_le_bytes(block.high));
    let words = _mm512_cvtepu16_epi64(_mm_set_epi64x(second, first));
    let high = bits::<2>(_mm512_multishift_epi64_epi8(
        bytes!(|at| 2 * (at % 8)),
        words,
    ));
    let [found] = looked_up(&IQ2_S, [Indices { low, high }]);
    in_eights(found)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_s_weights(block: &BlockIQ2S, points: __m512i) -> signed::SignedWeights {
    (eights(points), given_signs(&block.signs))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq3_xxs_points(block: &BlockIQ3XXS) -> [__m512i; 2] {
    let low = load(&block.quants);
    let [found] = looked_up(&IQ3_XXS, [Indices { low, high: [0; 3] }]);
    in_fours(found)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq3_xxs_weights(block: &BlockIQ3XXS, points: [__m512i; 2]) -> signed::SignedWeights {
    const VALUES: [u8; 8] = [4, 12, 20, 28, 36, 44, 52, 62];
    let words = _mm512_castsi256_si512(load_half(&block.signs_and_scales));
    let signs = as_masks(_mm512_castsi512_si256(packed_signs(words)));
    (fours(points, bytes!(|at| VALUES[at % 8])), signs)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq3_s_points(block: &BlockIQ3S) -> [__m512i; 2] {
    let low = load(&block.quants);
    let high = [u64::from_le_bytes(block.high), 0, 0];
    let [found] = looked_up(&IQ3_S, [Indices { low, high }]);
    in_fours(found)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq3_s_weights(block: &BlockIQ3S, points: [__m512i; 2]) -> signed::SignedWeights {
    let magnitudes = fours(points, bytes!(|at| 2 * (at % 8) + 1));
    (magnitudes, given_signs(&block.signs))
}

/// Indices of points of IQ1, given the lowest bytes of two blocks', and for each eight the 32
/// bits where `places` says that three more bits are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_indices(low: [&[u8; 32]; 2], [first, second]: [&[u8; 16]; 2], places: __m512i) -> Indices {
    let words = _mm256_set_m128i(load_quarter(second), load_quarter(first));
    let high = _mm512_multishift_epi64_epi8(places, _mm512_cvtepu32_epi64(words));
    Indices {
        low: load_both(low),
        high: bits::<3>(high),
    }
}

/// Points of IQ1 of four blocks, two at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_points(indices: [Indices; 2]) -> [__m512i; 4] {
    let [first, second] = looked_up(&IQ1, indices);
    let ([a, b], [c, d]) = (in_eights(first), in_eights(second));
    [a, b, c, d]
}

/// The weights of 32 points of IQ1, from zero on: eight times what they are stored as.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_weights(points: __m512i) -> [__m512i; 4] {
    spread_eights(points, bytes!(|at| 8 * (at % 4)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_s_points([a, b, c, d]: [&BlockIQ1S; 4]) -> [__m512i; 4] {
    let places = bytes!(|at| 16 * (at % 8 / 4) + 3 * (at % 4));
    iq1_points([
        iq1_indices([&a.quants, &b.quants], [&a.high, &b.high], places),
        iq1_indices([&c.quants, &d.quants], [&c.high, &d.high], places),
    ])
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_m_points([a, b, c, d]: [&BlockIQ1M; 4]) -> [__m512i; 4] {
    let places = bytes!(|at| 4 * (at % 8));
    iq1_points([
        iq1_indices([&a.quants, &b.quants], [&a.high, &b.high], places),
        iq1_indices([&c.quants, &d.quants], [&c.high, &d.high], places),
    ])
}

/// What a weight of IQ1 is raised by, where it has been moved up rather than down.
const UP: i8 = 2;

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_s_weights(block: &BlockIQ1S, points: __m512i) -> raised::RaisedWeights {
    let mut weights = iq1_weights(points);
    // A word's highest bit in its upper byte, where `UP` is.
    let words = _mm512_castsi128_si512(load_quarter(&block.high));
    let down = _mm512_srli_epi16::<6>(words);
    let places = [
        bytes!(|at| 2 * (at / 32) + 1),
        bytes!(|at| 2 * (at / 32) + 5),
        bytes!(|at| 2 * (at / 32) + 9),
        bytes!(|at| 2 * (at / 32) + 13),
    ];
    for which in 0..4 {
        let down = _mm512_permutexvar_epi8(places[which], down);
        let up = _mm512_set1_epi8(UP);
        weights[which] = _mm512_ternarylogic_epi32::<OR_AND_NOT>(weights[which], down, up);
    }
    weights
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_m_weights(block: &BlockIQ1M, points: __m512i) -> raised::RaisedWeights {
    let mut weights = iq1_weights(points);
    let (words, _) = block.high.as_chunks::<4>();
    for which in 0..4 {
        let words = _mm512_set1_epi32(i32::from_le_bytes(words[which]));
        // The highest of each four bits, where `UP` is.
        let places = bytes!(|at| 4 * (at / 8) + 2);
        let down = _mm512_multishift_epi64_epi8(places, words);
        let up = _mm512_set1_epi8(UP);
        weights[which] = _mm512_ternarylogic_epi32::<OR_AND_NOT>(weights[which], down, up);
    }
    weights
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_xxs_scales(block: &BlockIQ2XXS) -> __m512i {
    odd::<4>(_mm512_srli_epi16::<11>(load(&block.quants)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq3_xxs_scales(block: &BlockIQ3XXS) -> __m512i {
    let words = _mm512_castsi256_si512(load_half(&block.signs_and_scales));
    odd::<4>(_mm512_srli_epi16::<11>(words))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_s_scales(block: &BlockIQ1S) -> __m512i {
    let words = _mm512_castsi128_si512(load_quarter(&block.high));
    odd::<3>(_mm512_srli_epi16::<11>(words))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_m_scales(block: &BlockIQ1M) -> __m512i {
    let words = _mm512_set1_epi64(i64::from_le_bytes(block.scales));
    let places = bytes!(|at| (16 * (at / 2 % 16 / 4) + 3 * (at / 2 % 4) + 63) % 64);
    odd::<3>(_mm512_multishift_epi64_epi8(places, words))
}

/// The products of a block with its parts' factors, to be summed, from those of each four
/// weights: at most 4 · 62 · 127, which sixteen bits hold.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn with_scales(start: __m512i, [a, b, c, d]: [__m512i; 4], scales: [__m512i; 2]) -> __m512i {
    let products = _mm512_dpwssd_epi32(start, _mm512_packs_epi32(a, b), scales[0]);
    _mm512_dpwssd_epi32(products, _mm512_packs_epi32(c, d), scales[1])
}

/// Weights with signs of their own.
mod signed {
    use super::*;

    /// Magnitudes, and which weights are negative.
    pub type SignedWeights = ([__m512i; 4], [__mmask64; 4]);

    /// What a byte in a panel is above its weight.
    pub const ZERO_POINT: i32 = 128;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn bytes((magnitudes, negative): SignedWeights) -> [__m512i; 4] {
        let above = _mm512_set1_epi8(-128);
        let mut bytes = magnitudes;
        for which in 0..4 {
            let positive = _mm512_add_epi8(above, magnitudes[which]);
            bytes[which] =
                _mm512_mask_sub_epi8(positive, negative[which], above, magnitudes[which]);
        }
        bytes
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn products(
        (magnitudes, negative): SignedWeights,
        packed: [__m512i; 2],
        _: impl Fn() -> __m256i,
        x: &ActivationQ8K,
    ) -> __m512i {
        let (zero, inputs) = (_mm512_setzero_si512(), x.quants.as_chunks::<64>().0);
        let mut dots = [zero; 4];
        for which in 0..4 {
            let x = load(&inputs[which]);
            let turned = _mm512_mask_sub_epi8(x, negative[which], zero, x);
            dots[which] = _mm512_dpbusd_epi32(zero, magnitudes[which], turned);
        }
        with_scales(zero, dots, packed)
    }
}

/// Weights from −9 on.
mod raised {
    use super::*;

    /// Weights, with a zero point of 9.
    pub type RaisedWeights = [__m512i; 4];

    /// What a byte in a panel is above its weight.
    pub const ZERO_POINT: i32 = 9;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn bytes(weights: RaisedWeights) -> [__m512i; 4] {
        weights
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn products(
        weights: RaisedWeights,
        packed: [__m512i; 2],
        parts: impl Fn() -> __m256i,
        x: &ActivationQ8K,
    ) -> __m512i {
        let (zero, inputs) = (_mm512_setzero_si512(), x.quants.as_chunks::<64>().0);
        let mut dots = [zero; 4];
        for which in 0..4 {
            dots[which] = _mm512_dpbusd_epi32(zero, weights[which], load(&inputs[which]));
        }
        let above = _mm256_set1_epi16(-ZERO_POINT as i16);
        let above = _mm256_mullo_epi16(parts(), above);
        let start = _mm256_madd_epi16(above, load_half(&x.sums));
        with_scales(_mm512_zextsi256_si512(start), dots, packed)
    }
}

/// Factors of sixteen blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn factors<B: IQuantBlock>(of: &[[u8; 2]; ROWS]) -> __m512 {
    _mm512_mul_ps(load_halves(of), _mm512_set1_ps(B::UNIT))
}

/// A panel from a block of each of sixteen rows, whose weights are bytes without sign.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn unpack<B: IQuantBlock, P: Copy, const PARTS: usize>(
    rows: &Addresses16,
    panel: &mut Panel16,
    (points, bytes, parts): (
        impl Fn([&B; 4]) -> [P; 4],
        impl Fn(&B, P) -> [__m512i; 4],
        impl Fn(&B) -> __m256i,
    ),
) {
    // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
    let block = |row: usize| unsafe { &*rows[row].cast::<B>() };
    let mut quarters = [[_mm512_setzero_si512(); ROWS]; 4];
    for first in (0..ROWS).step_by(4) {
        let blocks = [0, 1, 2, 3].map(|row| block(first + row));
        let points = points(blocks);
        for row in 0..4 {
            let bytes = bytes(blocks[row], points[row]);
            for quarter in 0..4 {
                quarters[quarter][first + row] = bytes[quarter];
            }
        }
    }
    for (quarter, rows) in quarters.into_iter().enumerate() {
        let words = transpose(rows);
        for (group, word) in words.into_iter().enumerate() {
            store(&mut panel.quants[16 * quarter + group], word);
        }
    }
    // Factors of four parts to a lane.
    let words = transpose_quarters(|row| _mm256_cvtepi16_epi8(parts(block(row))));
    for part in (0..16).step_by(16 / PARTS) {
        let scale = _mm512_srlv_epi32(words[part / 4], _mm512_set1_epi32(8 * (part % 4) as i32));
        let scale = _mm512_and_si512(scale, _mm512_set1_epi32(0xff));
        store(&mut panel.scales[part * PARTS / 16], scale);
    }
    let factors = factors::<B>(&core::array::from_fn(|row| block(row).stored_scale()));
    store(&mut panel.factors[0], _mm512_castps_si512(factors));
}

/// Blocks of a row that are walked before the next row's: what is kept of them stays in the
/// nearest cache.
const RUN: usize = 32;

/// The sums of a quarter of the products of four blocks in each quarter. Where there are fewer,
/// the last one is in place of the others. `FULL`: there are four.
///
/// # Safety
///
/// As many blocks as inputs can be read; they have alignment 1 and no invalid bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn four_blocks<B: Block256, P: Copy, const FULL: bool>(
    start: *const u8,
    x: &[ActivationQ8K],
    points_of: impl Fn([&B; 4]) -> [P; 4],
    products_of: impl Fn(&B, P, &ActivationQ8K) -> __m512i,
) -> __m512i {
    let place = |index: usize| match FULL {
        true => index,
        false => index.min(x.len() - 1),
    };
    // SAFETY: the caller's promise.
    let block = |index: usize| unsafe { &*start.wrapping_add(place(index) * B::LEN).cast::<B>() };
    let [a, b, c, d] = points_of([block(0), block(1), block(2), block(3)]);
    sum_in_quarters([
        products_of(block(0), a, &x[place(0)]),
        products_of(block(1), b, &x[place(1)]),
        products_of(block(2), c, &x[place(2)]),
        products_of(block(3), d, &x[place(3)]),
    ])
}

#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn points_gemv<B: IQuantBlock, P: Copy>(
    group: &RowGroup,
    x: &[ActivationQ8K],
    (points_of, products_of): (
        impl Fn([&B; 4]) -> [P; 4],
        impl Fn(&B, P, &ActivationQ8K) -> __m512i,
    ),
) -> __m512 {
    // Of four blocks: the sums of a quarter of their products in each quarter.
    let mut products = Kept::<Lanes16<i32>, { RUN / 4 }>::new();
    let mut kept = Kept::<[u8; 2], RUN>::new();
    let mut sum = _mm512_setzero_ps();
    for (run, part) in x.chunks(RUN).enumerate() {
        let start = run * RUN * B::LEN;
        let bytes = (start, start + part.len() * B::LEN);
        for row in 0..ROWS {
            let stretch = group.stretch(row, bytes, x.len() * B::LEN);
            for (four, x) in part.chunks(4).enumerate() {
                stretch.fetch(4 * four * B::LEN, 4 * B::LEN);
                let start = stretch.at.wrapping_add(4 * four * B::LEN);
                for (index, _) in x.iter().enumerate() {
                    // SAFETY: as below.
                    let block = unsafe { &*start.wrapping_add(index * B::LEN).cast::<B>() };
                    kept.keep(4 * four + index, row, block.stored_scale());
                }
                // SAFETY: all blocks of a row are there; they have alignment 1 and no invalid
                // bytes.
                let found = unsafe {
                    match x.len() {
                        4 => four_blocks::<_, _, true>(start, x, &points_of, &products_of),
                        _ => four_blocks::<_, _, false>(start, x, &points_of, &products_of),
                    }
                };
                let mut sums = Lanes16([0; ROWS]);
                store(&mut sums, found);
                products.keep(four, row, sums);
            }
        }
        for (four, inputs) in part.chunks(4).enumerate() {
            group.fetch((four, part.len().div_ceil(4)), bytes, x.len() * B::LEN);
            // SAFETY: kept above for all rows.
            let products = sum_quarters(unsafe { products.all(four) });
            for (index, x) in inputs.iter().enumerate() {
                // SAFETY: as above.
                let factors = factors::<B>(unsafe { kept.all(4 * four + index) });
                let products = (products[index], products[index]);
                sum = finish::<false>(sum, products, (factors, factors), x);
            }
        }
    }
    sum
}
