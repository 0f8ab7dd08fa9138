//! Blocks of 256 weights whose parts have factors, themselves integers: Q4_K, Q5_K and Q6_K, the
//! types that most files are made of.
//!
//! Weights are bytes without sign, whose products are added in sixteen bits as far as those hold
//! them; what widens them then is a multiplication with the factor of their part.

use core::arch::x86_64::*;

use super::gemv::BLOCKS;
use super::legacy_groups::steps;
use super::packed::{Addresses8, Avx2Product, DotBytes, EightRows, Panel8, SIDES, product};
use super::register::{
    Lanes8, ROWS, add_fours, add_pairs, add_words, halves, load, load_floats, load_half, spread,
    store, sums_of_lanes, transpose,
};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of<D: DotBytes>(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q4_K => product::<EightRows<Avx2KQuant<BlockQ4K, D>>>,
        DType::Q5_K => product::<EightRows<Avx2KQuant<BlockQ5K, D>>>,
        DType::Q6_K => product::<EightRows<Avx2KQuant<BlockQ6K, D>>>,
        _ => return None,
    })
}

/// A block as a panel has it.
pub(super) trait Avx2Block256: Block256 {
    /// The largest byte without sign.
    const MOST: i32;

    /// Parts with a factor each.
    const PARTS: usize;

    /// Fills a panel from a block of each of eight rows.
    ///
    /// # Safety
    ///
    /// The CPU has this table's instructions; a block is at each row's address.
    unsafe fn unpack(rows: &Addresses8, panel: &mut Panel8);

    /// Writes what [`Avx2Block256::unpack`] does but for the quants.
    ///
    /// # Safety
    ///
    /// The same.
    unsafe fn header(rows: &Addresses8, panel: &mut Panel8);

    /// The products of a block with their scales, to be summed.
    ///
    /// # Safety
    ///
    /// The CPU has this table's instructions.
    unsafe fn products(&self, x: &ActivationQ8K) -> __m256i;
}

impl Avx2Block256 for BlockQ4K {
    const MOST: i32 = 15;
    const PARTS: usize = 8;
    #[inline(always)]
    unsafe fn unpack(rows: &Addresses8, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { unpack_q4_k(rows, panel) }
    }
    #[inline(always)]
    unsafe fn header(rows: &Addresses8, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { header(rows, panel) }
    }
    #[inline(always)]
    unsafe fn products(&self, x: &ActivationQ8K) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { fours_products(&self.scales, x, |run| q4_k_run(self, run)) }
    }
}

impl Avx2Block256 for BlockQ5K {
    const MOST: i32 = 31;
    const PARTS: usize = 8;
    #[inline(always)]
    unsafe fn unpack(rows: &Addresses8, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { unpack_q5_k(rows, panel) }
    }
    #[inline(always)]
    unsafe fn header(rows: &Addresses8, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { header(rows, panel) }
    }
    #[inline(always)]
    unsafe fn products(&self, x: &ActivationQ8K) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { fours_products(&self.scales, x, |run| q5_k_run(self, run)) }
    }
}

impl Avx2Block256 for BlockQ6K {
    const MOST: i32 = 63;
    const PARTS: usize = 16;
    #[inline(always)]
    unsafe fn unpack(rows: &Addresses8, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { unpack_q6_k(rows, panel) }
    }
    #[inline(always)]
    unsafe fn header(rows: &Addresses8, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { header_q6_k(rows, panel) }
    }
    #[inline(always)]
    unsafe fn products(&self, x: &ActivationQ8K) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { q6_k_products(self, x) }
    }
}

/// Blocks with [int8 activations](ActivationQ8K).
pub(super) struct Avx2KQuant<B, D>(core::marker::PhantomData<(B, D)>);

impl<B: Avx2Block256, D: DotBytes> Avx2Product for Avx2KQuant<B, D> {
    type Weights = B;
    type Inputs = ActivationQ8K;
    const ELEMENTS: usize = 256;
    type Prepared = ();

    #[inline(always)]
    unsafe fn prepare(_: &[ActivationQ8K]) {}

    #[inline(always)]
    unsafe fn unpack(rows: &Addresses8, _: usize, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { B::unpack(rows, panel) }
    }

    #[inline(always)]
    unsafe fn sums(row: *const u8, x: &[ActivationQ8K], _: &[()]) -> __m256i {
        // SAFETY: the caller's promise, handed on.
        unsafe { sums::<B>(row, x) }
    }

    #[inline(always)]
    unsafe fn add(sum: __m256, products: __m256i, rows: &Addresses8, x: &ActivationQ8K) -> __m256 {
        // SAFETY: the caller's promise, handed on.
        unsafe { add::<B>(sum, products, rows, x) }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panels: &[Panel8; SIDES],
        x: [&[ActivationQ8K]; N],
        sums: &mut [[__m256; SIDES]; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe { tile::<B, D, N>(panels, x, sums) }
    }
}

/// The sixteen bytes `which` of a block's field.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sixteen(bytes: &[u8], which: usize) -> __m128i {
    load_half(&bytes.as_chunks::<16>().0[which])
}

/// What a Q4_K and a Q5_K block begin with.
type Q4KHeader = [u8; 16];

const _: () = {
    assert!(core::mem::offset_of!(BlockQ4K, scale) == 0);
    assert!(core::mem::offset_of!(BlockQ4K, scales) == 4);
    assert!(core::mem::offset_of!(BlockQ5K, scale) == 0);
    assert!(core::mem::offset_of!(BlockQ5K, scales) == 4);
};

/// Writes what eight blocks' headers say. Scales have six bits: four low and the two high bits
/// of four others in each byte (see [`scales_and_mins`]).
///
/// # Safety
///
/// A block of either type is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn header(rows: &Addresses8, panel: &mut Panel8) {
    let [both, s0, s1, s2] = transpose(|row| {
        // SAFETY: the caller's promise; both types begin so.
        load_half(unsafe { &*rows[row].cast::<Q4KHeader>() })
    });
    store(&mut panel.factors[0], low_halves(both));
    store(
        &mut panel.min_factor,
        low_halves(_mm256_srli_epi32::<16>(both)),
    );
    let (six, four, two) = (
        _mm256_set1_epi8(0x3f),
        _mm256_set1_epi8(0x0f),
        _mm256_set1_epi8(0x30),
    );
    let high = |bits: __m256i, s: __m256i| {
        let top = _mm256_and_si256(_mm256_srli_epi32::<2>(s), two);
        _mm256_or_si256(_mm256_and_si256(bits, four), top)
    };
    let scales = [_mm256_and_si256(s0, six), high(s2, s0)];
    let mins = [
        _mm256_and_si256(s1, six),
        high(_mm256_srli_epi32::<4>(s2), s1),
    ];
    for half in 0..2 {
        for part in 0..4 {
            let places = in_words([part, part]);
            let scale = _mm256_shuffle_epi8(scales[half], places);
            store(&mut panel.scales[4 * half + part], scale);
        }
        for pair in 0..2 {
            let places = in_words([2 * pair, 2 * pair + 1]);
            let pairs = _mm256_shuffle_epi8(mins[half], places);
            store(&mut panel.mins[2 * half + pair], pairs);
        }
    }
}

/// The half-precision numbers in the low halves of all lanes, as the bits of floats.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) fn low_halves(words: __m256i) -> __m256i {
    let words = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
    let low = _mm256_castsi256_si128(words);
    let halves = _mm_packus_epi32(low, _mm256_extracti128_si256::<1>(words));
    _mm256_castps_si256(_mm256_cvtph_ps(halves))
}

/// A shuffle that makes sixteen-bit numbers of two of the bytes of each lane.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn in_words([low, high]: [usize; 2]) -> __m256i {
    let lane = _mm256_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12);
    let lane = _mm256_or_si256(lane, _mm256_slli_epi32::<16>(lane));
    let bytes = 0x8000_8000_u32 | low as u32 | (high as u32) << 16;
    _mm256_or_si256(lane, _mm256_set1_epi32(bytes.cast_signed()))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_q4_k(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ4K>() };
    // SAFETY: as above.
    unsafe { header(rows, panel) };
    let mask = _mm256_set1_epi8(15);
    for piece in 0..8 {
        let words = transpose(|row| sixteen(&block(row).quants, piece));
        // Half of one part, and of the next in the high bits.
        let at = 16 * (piece / 2) + 4 * (piece % 2);
        for word in 0..4 {
            let high = _mm256_srli_epi16::<4>(words[word]);
            let quants = &mut panel.quants;
            store(&mut quants[at + word], _mm256_and_si256(words[word], mask));
            store(&mut quants[at + 8 + word], _mm256_and_si256(high, mask));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_q5_k(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `unpack_q4_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ5K>() };
    // SAFETY: as above.
    unsafe { header(rows, panel) };
    let (mask, fifth) = (_mm256_set1_epi8(15), _mm256_set1_epi8(16));
    for half in 0..2 {
        // Bit p of byte i is the fifth of weight i of part p.
        let mut bits = transpose(|row| sixteen(&block(row).high, half));
        for run in 0..4 {
            let words = transpose(|row| sixteen(&block(row).quants, 2 * run + half));
            let at = 16 * run + 4 * half;
            for word in 0..4 {
                let low = _mm256_and_si256(words[word], mask);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(words[word]), mask);
                let first = _mm256_and_si256(_mm256_slli_epi16::<4>(bits[word]), fifth);
                let second = _mm256_and_si256(_mm256_slli_epi16::<3>(bits[word]), fifth);
                bits[word] = _mm256_srli_epi16::<2>(bits[word]);
                let quants = &mut panel.quants;
                store(&mut quants[at + word], _mm256_or_si256(low, first));
                store(&mut quants[at + 8 + word], _mm256_or_si256(high, second));
            }
        }
    }
}

/// Weights have a zero point of 32: what that comes to is added to the products, by 32 times
/// the scales, negative.
///
/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn header_q6_k(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `unpack_q4_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ6K>() };
    let scales = transpose(|row| load_half(&block(row).scales));
    signed_scales::<5>(scales, panel);
    let factors = halves(|row| block(row).scale);
    store(&mut panel.factors[0], _mm256_castps_si256(factors));
}

/// Writes the signed scales of sixteen parts of weights that have a zero point of 2^`ZERO_POINT`, four
/// parts of each row to a lane, and what is taken off.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn signed_scales<const ZERO_POINT: i32>(scales: [__m256i; 4], panel: &mut Panel8) {
    for (four, scales) in scales.into_iter().enumerate() {
        for part in 0..4 {
            let scale = _mm256_shuffle_epi8(scales, in_words([part, part]));
            let scale = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(scale));
            store(&mut panel.scales[4 * four + part], scale);
        }
        for pair in 0..2 {
            let both = _mm256_shuffle_epi8(scales, in_words([2 * pair, 2 * pair + 1]));
            let both = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(both));
            let times = _mm256_slli_epi16::<ZERO_POINT>(both);
            let negative = _mm256_sub_epi16(_mm256_setzero_si256(), times);
            store(&mut panel.mins[2 * four + pair], negative);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_q6_k(rows: &Addresses8, panel: &mut Panel8) {
    // SAFETY: as in `unpack_q4_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ6K>() };
    // SAFETY: as above.
    unsafe { header_q6_k(rows, panel) };
    let (four, two) = (_mm256_set1_epi8(0x0f), _mm256_set1_epi8(0x30));
    for half in 0..2 {
        // 128 weights: their high bits lie in 32 bytes, of which sixteen at a time.
        for piece in 0..2 {
            let high = transpose(|row| sixteen(&block(row).high, 2 * half + piece));
            for side in 0..2 {
                let at = 4 * half + 2 * side + piece;
                let low = transpose(|row| sixteen(&block(row).low, at));
                let at = 32 * half + 8 * side + 4 * piece;
                for word in 0..4 {
                    let (low, high) = (low[word], high[word]);
                    // Bits 0 and 1 for the first 32, 2 and 3 for the next, and so on.
                    let (first, third) = match side {
                        0 => (_mm256_slli_epi16::<4>(high), high),
                        _ => (_mm256_slli_epi16::<2>(high), _mm256_srli_epi16::<2>(high)),
                    };
                    let both = |low: __m256i, high: __m256i| {
                        let high = _mm256_and_si256(high, two);
                        _mm256_or_si256(_mm256_and_si256(low, four), high)
                    };
                    let quants = &mut panel.quants;
                    store(&mut quants[at + word], both(low, first));
                    let low = _mm256_srli_epi16::<4>(low);
                    store(&mut quants[at + 16 + word], both(low, third));
                }
            }
        }
    }
}

/// Panels of one block against `N` inputs.
#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<B: Avx2Block256, D: DotBytes, const N: usize>(
    panels: &[Panel8; SIDES],
    x: [&[ActivationQ8K]; N],
    sums: &mut [[__m256; SIDES]; N],
) {
    let groups = 64 / B::PARTS;
    let steps = const {
        let steps = if D::FOURS { 64 } else { steps(B::MOST) };
        if steps < 64 / B::PARTS {
            steps
        } else {
            64 / B::PARTS
        }
    };
    let mut products = [[_mm256_setzero_si256(); SIDES]; N];
    for part in 0..B::PARTS {
        for first in (part * groups..(part + 1) * groups).step_by(steps) {
            let mut pairs = [[_mm256_setzero_si256(); SIDES]; N];
            for group in first..first + steps {
                let mut weights = [_mm256_setzero_si256(); SIDES];
                for side in 0..SIDES {
                    weights[side] = load(&panels[side].quants[group]);
                }
                for n in 0..N {
                    let four = spread(&x[n][0].quants, group);
                    for side in 0..SIDES {
                        if D::FOURS {
                            let (sum, weights) = (pairs[n][side], weights[side]);
                            // SAFETY: `Fours` runs only where it can.
                            pairs[n][side] = unsafe { add_fours(sum, weights, four) };
                            continue;
                        }
                        pairs[n][side] = match group == first {
                            true => _mm256_maddubs_epi16(weights[side], four),
                            false => add_pairs(pairs[n][side], weights[side], four),
                        };
                    }
                }
            }
            for side in 0..SIDES {
                let scale = load(&panels[side].scales[part]);
                if D::FOURS {
                    let scale = _mm256_srai_epi32::<16>(scale);
                    for n in 0..N {
                        let scaled = _mm256_mullo_epi32(pairs[n][side], scale);
                        products[n][side] = _mm256_add_epi32(products[n][side], scaled);
                    }
                    continue;
                }
                for n in 0..N {
                    products[n][side] = add_words(products[n][side], pairs[n][side], scale);
                }
            }
        }
    }
    for n in 0..N {
        let parts = parts::<B>(&x[n][0]);
        let scale = _mm256_set1_ps(x[n][0].scale());
        for side in 0..SIDES {
            let (sum, products) = (sums[n][side], products[n][side]);
            sums[n][side] = finish::<B>(sum, products, &panels[side], (&parts, scale));
        }
    }
}

/// Sums of the activations of a block's parts, in sixteen bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn parts<B: Avx2Block256>(x: &ActivationQ8K) -> Lanes8<i32> {
    let mut parts = Lanes8([0; ROWS]);
    let sixteens = load(&x.sums);
    match B::PARTS {
        // Those of 32 fit as well.
        8 => store(&mut parts, _mm256_hadd_epi16(sixteens, sixteens)),
        _ => store(&mut parts, sixteens),
    }
    parts
}

/// What a block of each row adds to their sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn finish<B: Avx2Block256>(
    sum: __m256,
    products: __m256i,
    panel: &Panel8,
    (parts, scale): (&Lanes8<i32>, __m256),
) -> __m256 {
    // Without a factor of their own they belong to the products.
    let mut mins = match B::MINS {
        true => _mm256_setzero_si256(),
        false => products,
    };
    for pair in 0..B::PARTS / 2 {
        // Adding neighbours has left sums in the first half of each half.
        let at = match B::PARTS {
            8 => pair / 2 * 4 + pair % 2,
            _ => pair,
        };
        mins = add_words(mins, load(&panel.mins[pair]), spread(parts, at));
    }
    let products = if B::MINS { products } else { mins };
    let factor = _mm256_mul_ps(load_floats(&panel.factors[0]), scale);
    let sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), factor, sum);
    if !B::MINS {
        return sum;
    }
    let factor = _mm256_mul_ps(load_floats(&panel.min_factor), scale);
    _mm256_fnmadd_ps(_mm256_cvtepi32_ps(mins), factor, sum)
}

/// # Safety
///
/// A block is at each row's address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add<B: Avx2Block256>(
    sum: __m256,
    products: __m256i,
    rows: &Addresses8,
    x: &ActivationQ8K,
) -> __m256 {
    let mut panel = Panel8::EMPTY;
    // SAFETY: the caller's promise, handed on.
    unsafe { B::header(rows, &mut panel) };
    let scale = _mm256_set1_ps(x.scale());
    finish::<B>(sum, products, &panel, (&parts::<B>(x), scale))
}

/// The sums of the products of up to eight blocks of a row with an input, one to a lane.
///
/// # Safety
///
/// So many blocks are at the row's address; they have alignment 1 and no invalid bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums<B: Avx2Block256>(row: *const u8, x: &[ActivationQ8K]) -> __m256i {
    let mut products = [_mm256_setzero_si256(); BLOCKS];
    for (n, products) in products.iter_mut().enumerate() {
        let Some(x) = x.get(n) else { break };
        // SAFETY: the caller's promise; this function has the instructions.
        *products = unsafe { (*row.wrapping_add(n * B::LEN).cast::<B>()).products(x) };
    }
    sums_of_lanes(products)
}

/// Parts 2r and 2r + 1 of a Q4_K block.
#[inline]
#[target_feature(enable = "avx2")]
fn q4_k_run(block: &BlockQ4K, run: usize) -> [__m256i; 2] {
    let packed = load(&block.quants.as_chunks::<32>().0[run]);
    let mask = _mm256_set1_epi8(15);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(packed), mask);
    [_mm256_and_si256(packed, mask), high]
}

/// The same of a Q5_K block.
#[inline]
#[target_feature(enable = "avx2")]
fn q5_k_run(block: &BlockQ5K, run: usize) -> [__m256i; 2] {
    let packed = load(&block.quants.as_chunks::<32>().0[run]);
    let mask = _mm256_set1_epi8(15);
    let low = _mm256_and_si256(packed, mask);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(packed), mask);
    let bits = load(&block.high);
    let bits = |part: usize| {
        let bit = _mm256_set1_epi8((1u8 << part).cast_signed());
        let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
        _mm256_and_si256(set, _mm256_set1_epi8(16))
    };
    [
        _mm256_or_si256(low, bits(2 * run)),
        _mm256_or_si256(high, bits(2 * run + 1)),
    ]
}

/// The products of a Q4_K or Q5_K block.
#[inline]
#[target_feature(enable = "avx2")]
fn fours_products(
    scales: &[u8; 12],
    x: &ActivationQ8K,
    quants: impl Fn(usize) -> [__m256i; 2],
) -> __m256i {
    let scales = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(unpack_scales(scales)));
    let scales = _mm256_broadcastsi128_si256(scales);
    let (inputs, _) = x.quants.as_chunks::<32>();
    let mut products = _mm256_setzero_si256();
    for run in 0..4 {
        let [low, high] = quants(run);
        for (part, quants) in [(2 * run, low), (2 * run + 1, high)] {
            let scale = _mm256_shuffle_epi8(scales, load(&SPREAD[part]));
            let pairs = _mm256_maddubs_epi16(quants, load(&inputs[part]));
            products = _mm256_add_epi32(products, _mm256_madd_epi16(pairs, scale));
        }
    }
    products
}

/// Shuffles that fill each half of a register with its g-th sixteen-bit number.
pub(super) const SPREAD: [[u8; 32]; 8] = {
    let mut masks = [[0; 32]; 8];
    let mut at = 0;
    while at < 256 {
        masks[at / 32][at % 32] = (at / 32 * 2 + at % 2) as u8;
        at += 1;
    }
    masks
};

/// The eight scales of a Q4_K or Q5_K block, a byte each: four at a time, what
/// [`scales_and_mins`] does one by one.
#[inline]
fn unpack_scales(packed: &[u8; 12]) -> i64 {
    let (words, _) = packed.as_chunks::<4>();
    let [first, third] = [0, 2].map(|at| u32::from_le_bytes(words[at]));
    let high = (third & 0x0f0f_0f0f) | (((first >> 6) & 0x0303_0303) << 4);
    (u64::from(first & 0x3f3f_3f3f) | (u64::from(high) << 32)).cast_signed()
}

/// Sixteen signed scales in sixteen bits: even ones in the one half, odd ones in the other, for
/// two parts stand in a register of weights.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn scales_of_halves(scales: __m128i) -> __m256i {
    let order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, order))
}

#[inline]
#[target_feature(enable = "avx2")]
fn q6_k_products(block: &BlockQ6K, x: &ActivationQ8K) -> __m256i {
    let (four, two) = (_mm256_set1_epi8(0x0f), _mm256_set1_epi8(0x30));
    let scales = scales_of_halves(load_half(&block.scales));
    let (low, _) = block.low.as_chunks::<32>();
    let (high, _) = block.high.as_chunks::<32>();
    let (inputs, _) = x.quants.as_chunks::<32>();
    let mut products = _mm256_setzero_si256();
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
            let part = 4 * half + quarter;
            let low = _mm256_and_si256(low, four);
            let quants = _mm256_or_si256(low, _mm256_and_si256(high, two));
            let scale = _mm256_shuffle_epi8(scales, load(&SPREAD[part]));
            let pairs = _mm256_maddubs_epi16(quants, load(&inputs[part]));
            products = _mm256_add_epi32(products, _mm256_madd_epi16(pairs, scale));
        }
    }
    products
}
