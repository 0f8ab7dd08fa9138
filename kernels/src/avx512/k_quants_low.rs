//! Q2_K, Q3_K and IQ4_XS: four bits to a weight and fewer.
//!
//! Few inputs: as with [`super::k_quants`], products of bytes are packed to sixteen bits where
//! these hold them. Many: rows are turned while a byte still holds several weights, and where a
//! weight times the factor of its part fits in a byte, the panel holds that.

use core::arch::x86_64::*;

use super::block256::{Quarters, finish, products256, quarters, tile, tile_scaled, walk};
use super::gemv::RowGroup;
use super::packed::{Addresses16, Avx512Product, Panel16, SixteenRows, Sums16, WIDTH, product};
use super::register::{
    CHOOSE, load, load_half, load_halves, load_quarter, load_twice, store, transpose_quarters,
    turned, turned_half,
};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q2_K => product::<SixteenRows<BlockQ2K>>,
        DType::Q3_K => product::<SixteenRows<BlockQ3K>>,
        DType::IQ4_XS => product::<SixteenRows<BlockIQ4XS>>,
        _ => return None,
    })
}

products256!(
    BlockQ2K,
    tile_scaled::<0, true>,
    |rows, panel| unpack_q2_k(rows, panel),
    |group, x| gemv_q2_k(group, x)
);
products256!(
    BlockQ3K,
    tile_scaled::<127, false>,
    |rows, panel| unpack_q3_k(rows, panel),
    |group, x| gemv_q3_k(group, x)
);
products256!(
    BlockIQ4XS,
    tile::<8, 128, false>,
    |rows, panel| unpack_iq4_xs(rows, panel),
    |group, x| gemv_iq4_xs(group, x)
);

/// The part that each number of a register of packed dots is of, when those of two [`twos`] have
/// been packed: the first two, or the others.
const PARTS: [[usize; 32]; 2] = {
    let mut parts = [[0; 32]; 2];
    let mut at = 0;
    while at < 32 {
        let part = at / 16 * 8 + at / 8 % 2 + at % 8 / 4 * 2;
        parts[0][at] = part;
        parts[1][at] = 4 + part;
        at += 1;
    }
    parts
};

/// Shuffles that bring byte k of each of four bytes to a pair of words: its lower half, or its
/// higher one.
const fn byte_twice(k: usize, high: bool) -> [u8; 64] {
    let mut places = [0x80; 64];
    let mut at = high as usize;
    while at < 64 {
        places[at] = (at % 16 / 4 * 4 + k) as u8;
        at += 2;
    }
    places
}

/// Shuffles that bring bytes k and k + 1 of each four to a pair of words.
const fn bytes_apart(k: usize) -> [u8; 64] {
    let mut places = [0x80; 64];
    let mut at = 0;
    while at < 64 {
        places[at] = (at % 16 / 4 * 4 + k + at % 4 / 2) as u8;
        at += 2;
    }
    places
}

/// Four words of sixteen rows that hold a byte for each part: that of one part as a pair of words,
/// in their lower or their higher halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn part_of<const HIGH: bool>(words: &[__m512i; 4], part: usize) -> __m512i {
    const PLACES: [[[u8; 64]; 4]; 2] = [
        [
            byte_twice(0, false),
            byte_twice(1, false),
            byte_twice(2, false),
            byte_twice(3, false),
        ],
        [
            byte_twice(0, true),
            byte_twice(1, true),
            byte_twice(2, true),
            byte_twice(3, true),
        ],
    ];
    _mm512_shuffle_epi8(words[part / 4], load(&PLACES[HIGH as usize][part % 4]))
}

/// Pair `pair` of the four pairs of bits of each byte, in the two lowest bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn moved_down(bytes: __m512i, pair: usize) -> __m512i {
    _mm512_srl_epi16(bytes, _mm_cvtsi32_si128(2 * pair as i32))
}

/// Weights of two bits, 32 of each half of the block, with others above them: see [`BlockQ2K`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn twos(bytes: &[u8; 64]) -> [__m512i; 4] {
    let bytes = load(bytes);
    [
        bytes,
        _mm512_srli_epi16::<2>(bytes),
        _mm512_srli_epi16::<4>(bytes),
        _mm512_srli_epi16::<6>(bytes),
    ]
}

/// A block's activations in the order of [`twos`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn order_of_twos(x: &ActivationQ8K) -> Quarters {
    let [a, b, c, d] = quarters(x);
    [
        _mm512_shuffle_i64x2::<0x44>(a, c),
        _mm512_shuffle_i64x2::<0xee>(a, c),
        _mm512_shuffle_i64x2::<0x44>(b, d),
        _mm512_shuffle_i64x2::<0xee>(b, d),
    ]
}

/// The products of a block with their scales, to be summed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q2_k_products(block: &BlockQ2K, x: &Quarters) -> __m512i {
    const PLACES: [[u8; 64]; 2] = {
        let mut places = [[0x80; 64]; 2];
        let mut at = 0;
        while at < 32 {
            places[0][2 * at] = PARTS[0][at] as u8;
            places[1][2 * at] = PARTS[1][at] as u8;
            at += 1;
        }
        places
    };
    let scales = _mm_and_si128(load_quarter(&block.scales), _mm_set1_epi8(15));
    let scales = _mm512_broadcast_i32x4(scales);
    let mut dots = twos(&block.quants);
    for quarter in 0..4 {
        let quants = _mm512_and_si512(dots[quarter], _mm512_set1_epi8(3));
        dots[quarter] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), quants, x[quarter]);
    }
    let mut products = _mm512_setzero_si512();
    for half in 0..2 {
        // At most 4 · 3 · 127: sixteen bits hold it.
        let dots = _mm512_packs_epi32(dots[2 * half], dots[2 * half + 1]);
        let scales = _mm512_shuffle_epi8(scales, load(&PLACES[half]));
        products = _mm512_dpwssd_epi32(products, dots, scales);
    }
    products
}

/// Σ min · (sum of a part's activations), the minima standing above the scales of sixteen rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q2_k_mins(scales: &[__m512i; 4], x: &ActivationQ8K) -> __m512i {
    let sixteen = |at: usize| u16::from_le_bytes(x.sums[at]);
    let pair = |at: usize| {
        let both = u32::from(sixteen(at)) | u32::from(sixteen(at + 2)) << 16;
        _mm512_set1_epi32(both.cast_signed())
    };
    let mut products = _mm512_setzero_si512();
    for four in 0..4 {
        let even = _mm512_srli_epi16::<4>(scales[four]);
        let even = _mm512_and_si512(even, _mm512_set1_epi16(15));
        let odd = _mm512_srli_epi16::<12>(scales[four]);
        products = _mm512_dpwssd_epi32(products, even, pair(4 * four));
        products = _mm512_dpwssd_epi32(products, odd, pair(4 * four + 1));
    }
    products
}

#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn gemv_q2_k(group: &RowGroup, x: &[ActivationQ8K]) -> __m512 {
    walk(
        group,
        x,
        |x| order_of_twos(x),
        |block: &BlockQ2K, x| {
            let factors = [block.scale, block.min_scale];
            (q2_k_products(block, x), block.scales, factors)
        },
        |sum, products, (scales, factors), x| {
            let scales = transpose_quarters(|row| load_quarter(&scales[row]));
            let factors = two_halves(load(factors));
            finish::<true>(sum, (products, q2_k_mins(&scales, x)), factors, x)
        },
    )
}

/// Half-precision numbers in the lower and in the higher halves of words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn two_halves(words: __m512i) -> (__m512, __m512) {
    let low = _mm512_cvtepi32_epi16(words);
    let high = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(words));
    (_mm512_cvtph_ps(low), _mm512_cvtph_ps(high))
}

/// The last sixteen bytes of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn last_quarter<B: Block256>(block: &B) -> __m128i {
    const { assert!(size_of::<B>() >= 16) }
    // SAFETY: the block is as long; bytes may stand anywhere.
    load_quarter(unsafe {
        let end = (&raw const *block).wrapping_add(1);
        &*end.cast::<[u8; 16]>().wrapping_sub(1)
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_q2_k(rows: &Addresses16, panel: &mut Panel16) {
    const APART: [[u8; 64]; 2] = [bytes_apart(0), bytes_apart(2)];
    // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ2K>() };
    let [_, _, _, factors] = transpose_quarters(|row| last_quarter(block(row)));
    let (factor, min_factor) = two_halves(factors);
    store(&mut panel.factors[0], _mm512_castps_si512(factor));
    store(&mut panel.min_factor, _mm512_castps_si512(min_factor));
    let mut scales = transpose_quarters(|row| load_quarter(&block(row).scales));
    for four in 0..4 {
        let low = _mm512_set1_epi8(15);
        let mins = _mm512_and_si512(_mm512_srli_epi16::<4>(scales[four]), low);
        scales[four] = _mm512_and_si512(scales[four], low);
        for pair in 0..2 {
            let mins = _mm512_shuffle_epi8(mins, load(&APART[pair]));
            store(&mut panel.mins[2 * four + pair], mins);
        }
    }
    let words = turned(|row| &block(row).quants);
    for part in 0..16 {
        // The part's four words of its half of the block.
        let scale = part_of::<false>(&scales, part);
        for group in 0..4 {
            let word = words[part / 8 * 8 + part % 2 * 4 + group];
            let quants = moved_down(word, part % 8 / 2);
            let quants = _mm512_and_si512(quants, _mm512_set1_epi8(3));
            // At most 3 · 15: no byte is carried into the next.
            let scaled = _mm512_mullo_epi16(quants, scale);
            store(&mut panel.quants[4 * part + group], scaled);
        }
    }
}

/// Weights of a Q3_K block in the order of [`twos`], with a zero point of 4.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q3_k_quants(block: &BlockQ3K) -> [__m512i; 4] {
    let places = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(4));
    // Their high bits are the lowest four of a byte now, and are wanted in the third.
    let high = _mm512_srlv_epi16(load_twice(&block.high), places);
    let high = [
        _mm512_slli_epi16::<2>(high),
        _mm512_slli_epi16::<1>(high),
        high,
        _mm512_srli_epi16::<1>(high),
    ];
    let mut quants = twos(&block.quants);
    for quarter in 0..4 {
        quants[quarter] = with_third(quants[quarter], high[quarter]);
    }
    quants
}

/// Two bits of each byte, and the third of another.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn with_third(low: __m512i, high: __m512i) -> __m512i {
    let both = _mm512_ternarylogic_epi32::<CHOOSE>(_mm512_set1_epi8(3), low, high);
    _mm512_and_si512(both, _mm512_set1_epi8(7))
}

/// The scales of a Q3_K block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q3_k_scales(block: &BlockQ3K) -> __m128i {
    let [s0, s1, s2, s3, s4, s5, s6, s7, high @ ..] = block.scales;
    let low = _mm_set1_epi64x(i64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]));
    let low = _mm_srlv_epi64(low, _mm_set_epi64x(4, 0));
    let high = _mm_set1_epi32(i32::from_le_bytes(high));
    // Pairs of bits to bits 4 and 5.
    let high = _mm_rolv_epi32(high, _mm_setr_epi32(4, 2, 0, 30));
    let both = _mm_ternarylogic_epi32::<CHOOSE>(_mm_set1_epi8(15), low, high);
    _mm_sub_epi8(_mm_and_si128(both, _mm_set1_epi8(0x3f)), _mm_set1_epi8(32))
}

/// A block's activations as a Q3_K block has its weights, and what 4 too much in each of these
/// comes to for each part, negative.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q3_k_input(x: &ActivationQ8K) -> (Quarters, __m256i) {
    let excess = _mm256_slli_epi16::<2>(load_half(&x.sums));
    let negative = _mm256_sub_epi16(_mm256_setzero_si256(), excess);
    (order_of_twos(x), negative)
}

/// The products of a block with their scales, to be summed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q3_k_products(block: &BlockQ3K, (x, excess): &(Quarters, __m256i)) -> __m512i {
    const PLACES: [[u16; 32]; 2] = {
        let mut places = [[0; 32]; 2];
        let mut at = 0;
        while at < 32 {
            places[0][at] = PARTS[0][at] as u16;
            places[1][at] = PARTS[1][at] as u16;
            at += 1;
        }
        places
    };
    let scales = _mm256_cvtepi8_epi16(q3_k_scales(block));
    let mut dots = q3_k_quants(block);
    for quarter in 0..4 {
        let zero = _mm512_setzero_si512();
        dots[quarter] = _mm512_dpbusd_epi32(zero, dots[quarter], x[quarter]);
    }
    let mut products = _mm512_zextsi256_si512(_mm256_madd_epi16(scales, *excess));
    let scales = _mm512_castsi256_si512(scales);
    for half in 0..2 {
        // At most 4 · 7 · 127: sixteen bits hold it.
        let dots = _mm512_packs_epi32(dots[2 * half], dots[2 * half + 1]);
        let scales = _mm512_permutexvar_epi16(load(&PLACES[half]), scales);
        products = _mm512_dpwssd_epi32(products, dots, scales);
    }
    products
}

#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn gemv_q3_k(group: &RowGroup, x: &[ActivationQ8K]) -> __m512 {
    walk(
        group,
        x,
        |x| q3_k_input(x),
        |block: &BlockQ3K, x| (q3_k_products(block, x), (), block.scale),
        |sum, products, (_, factors), x| {
            let factors = load_halves(factors);
            finish::<false>(sum, (products, products), (factors, factors), x)
        },
    )
}

/// A weight times its part's scale lies in −124..=128; 127 above that, a byte holds it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_q3_k(rows: &Addresses16, panel: &mut Panel16) {
    // SAFETY: as in `unpack_q2_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ3K>() };
    // Scales from the first word on, then the factor.
    let [a, b, c, factors] = transpose_quarters(|row| {
        let end = last_quarter(block(row));
        _mm_bsrli_si128::<2>(end)
    });
    let factor = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(factors));
    store(&mut panel.factors[0], _mm512_castps_si512(factor));
    let low = [a, b, _mm512_srli_epi32::<4>(a), _mm512_srli_epi32::<4>(b)];
    let high = [
        _mm512_slli_epi32::<4>(c),
        _mm512_slli_epi32::<2>(c),
        c,
        _mm512_srli_epi32::<2>(c),
    ];
    let mut scales = [_mm512_setzero_si512(); 4];
    for four in 0..4 {
        let mask = _mm512_set1_epi8(15);
        let both = _mm512_ternarylogic_epi32::<CHOOSE>(mask, low[four], high[four]);
        let both = _mm512_and_si512(both, _mm512_set1_epi8(0x3f));
        scales[four] = _mm512_sub_epi8(both, _mm512_set1_epi8(32));
    }
    let words = turned(|row| &block(row).quants);
    let high = turned_half(|row| &block(row).high);
    for part in 0..16 {
        let scale = _mm512_srai_epi16::<8>(part_of::<true>(&scales, part));
        // A weight is stored with a zero point of 4.
        let offset = _mm512_sub_epi16(_mm512_set1_epi16(127), _mm512_slli_epi16::<2>(scale));
        let offset = _mm512_add_epi16(offset, _mm512_slli_epi16::<8>(offset));
        for group in 0..4 {
            let eight = part % 2 * 4 + group;
            let low = moved_down(words[part / 8 * 8 + eight], part % 8 / 2);
            let high = match part / 2 {
                0 => _mm512_slli_epi16::<2>(high[eight]),
                1 => _mm512_slli_epi16::<1>(high[eight]),
                bit => _mm512_srl_epi16(high[eight], _mm_cvtsi32_si128(bit as i32 - 2)),
            };
            let quants = with_third(low, high);
            // Both bytes of a word at once: what one borrows of the other, the offset gives back.
            let scaled = _mm512_mullo_epi16(quants, scale);
            store(
                &mut panel.quants[4 * part + group],
                _mm512_add_epi16(scaled, offset),
            );
        }
    }
}

/// What the quants of an IQ4_XS block stand for, with a zero point of 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn iq4_values() -> __m512i {
    const BIASED: [u8; 16] = {
        let mut above = [0; 16];
        let mut at = 0;
        while at < 16 {
            above[at] = IQ4_VALUES[at].cast_unsigned() ^ 0x80;
            at += 1;
        }
        above
    };
    _mm512_broadcast_i32x4(load_quarter(&BIASED))
}

/// What low and high halves of bytes stand for.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn iq4_halves(bytes: __m512i) -> [__m512i; 2] {
    let (values, mask) = (iq4_values(), _mm512_set1_epi8(15));
    let high = _mm512_srli_epi16::<4>(bytes);
    [
        _mm512_shuffle_epi8(values, _mm512_and_si512(bytes, mask)),
        _mm512_shuffle_epi8(values, _mm512_and_si512(high, mask)),
    ]
}

/// Half of a block's activations as an IQ4_XS block has its weights.
struct FourGroups {
    /// The first sixteen of each group of 32, then the others.
    quants: [__m512i; 2],
    /// What their dots begin with, so that weights count as themselves.
    start: __m512i,
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn four_groups(x: &ActivationQ8K, half: usize) -> FourGroups {
    let all = quarters(x);
    let (a, b) = (all[2 * half], all[2 * half + 1]);
    let quants = [
        _mm512_shuffle_i32x4::<0x88>(a, b),
        _mm512_shuffle_i32x4::<0xdd>(a, b),
    ];
    let (zero, above) = (_mm512_setzero_si512(), _mm512_set1_epi8(-128));
    let excess = _mm512_dpbusd_epi32(zero, above, quants[0]);
    let excess = _mm512_dpbusd_epi32(excess, above, quants[1]);
    let start = _mm512_sub_epi32(zero, excess);
    FourGroups { quants, start }
}

/// The products of a block with their scales, to be summed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn iq4_xs_products(block: &BlockIQ4XS, x: &[FourGroups; 2]) -> __m512i {
    let [h0, h1] = block.scales_high;
    let low = _mm256_set1_epi32(i32::from_le_bytes(block.scales_low));
    let low = _mm256_srlv_epi32(low, _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    // Pairs of bits to bits 4 and 5.
    let high = _mm256_set1_epi32(i32::from_le_bytes([h0, h1, 0, 0]));
    let high = _mm256_rolv_epi32(high, _mm256_setr_epi32(4, 2, 0, 30, 28, 26, 24, 22));
    let both = _mm256_ternarylogic_epi32::<CHOOSE>(_mm256_set1_epi32(15), low, high);
    let scales = _mm256_sub_epi32(
        _mm256_and_si256(both, _mm256_set1_epi32(0x3f)),
        _mm256_set1_epi32(32),
    );
    let scales = _mm512_castsi256_si512(scales);
    let bytes: &[[u8; 64]] = block.quants.as_chunks().0;
    let mut products = [_mm512_setzero_si512(); 2];
    for half in 0..2 {
        let quants = iq4_halves(load(&bytes[half]));
        let dots = _mm512_dpbusd_epi32(x[half].start, quants[0], x[half].quants[0]);
        let dots = _mm512_dpbusd_epi32(dots, quants[1], x[half].quants[1]);
        let four = 4 * half as i32;
        let which = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        let which = _mm512_add_epi32(which, _mm512_set1_epi32(four));
        let scales = _mm512_permutexvar_epi32(which, scales);
        products[half] = _mm512_mullo_epi32(dots, scales);
    }
    _mm512_add_epi32(products[0], products[1])
}

#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn gemv_iq4_xs(group: &RowGroup, x: &[ActivationQ8K]) -> __m512 {
    walk(
        group,
        x,
        |x| [four_groups(x, 0), four_groups(x, 1)],
        |block: &BlockIQ4XS, x| (iq4_xs_products(block, x), (), block.scale),
        |sum, products, (_, factors), x| {
            let factors = load_halves(factors);
            finish::<false>(sum, (products, products), (factors, factors), x)
        },
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_iq4_xs(rows: &Addresses16, panel: &mut Panel16) {
    const _: () = assert!(core::mem::offset_of!(BlockIQ4XS, scales_low) == 4);
    // SAFETY: as in `unpack_q2_k`; a block begins with more than sixteen bytes.
    let start = |row: usize| unsafe { &*rows[row].cast::<[u8; 16]>() };
    let [first, low, ..] = transpose_quarters(|row| load_quarter(start(row)));
    let factor = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(first));
    store(&mut panel.factors[0], _mm512_castps_si512(factor));
    for part in 0..8 {
        let by = |bits: usize| _mm_cvtsi32_si128(bits as i32);
        let low = _mm512_srl_epi32(low, by(4 * part));
        // Pairs of bits from the sixteenth on, to bits 4 and 5.
        let high = _mm512_srl_epi32(first, by(12 + 2 * part));
        let both = _mm512_ternarylogic_epi32::<CHOOSE>(_mm512_set1_epi32(15), low, high);
        let both = _mm512_and_si512(both, _mm512_set1_epi32(0x3f));
        let scale = _mm512_sub_epi32(both, _mm512_set1_epi32(32));
        store(&mut panel.scales[part], scale);
    }
    for half in 0..2 {
        let words = turned(|row| {
            // SAFETY: as in `unpack_q2_k`.
            let block = unsafe { &*rows[row].cast::<BlockIQ4XS>() };
            let quants: &[[u8; 64]] = block.quants.as_chunks().0;
            &quants[half]
        });
        for word in 0..16 {
            let [low, high] = iq4_halves(words[word]);
            let group = 8 * (4 * half + word / 4) + word % 4;
            store(&mut panel.quants[group], low);
            store(&mut panel.quants[group + 4], high);
        }
    }
}
