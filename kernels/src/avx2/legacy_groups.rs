//! Groups of 32 weights as bytes, eight rows or two groups of a row at a time: how each type's blocks
//! are read.

use core::arch::x86_64::*;

use super::register::{Lanes8, ROWS, load, load_half, nibbles_of, sixteens, transpose};
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The same block of each of eight rows.
pub(super) type EightBlocks<'a, W> = [&'a W; ROWS];

/// A group of a block as a panel has it.
///
/// # Safety
///
/// Of both functions: the CPU has this table's instructions.
pub(super) trait Avx2Block32: Block32 {
    /// The largest byte without sign, or 255 for weights that need all of a byte.
    const MOST: i32;

    /// What a byte is above its weight.
    const ZERO_POINT: i32;

    /// Whether a byte holds each weight's negative too.
    const NEGATIVES: bool;

    /// The half-precision factor, or none.
    const FACTOR: fn(&Self) -> Option<[u8; 2]>;

    /// The half-precision offset.
    const OFFSET: fn(&Self) -> [u8; 2];

    /// Four columns of a group of eight rows in each register.
    unsafe fn quants(blocks: EightBlocks<Self>, group: usize) -> [__m256i; 8];

    /// The columns of two groups of a row: the first sixteen of both, then the last.
    unsafe fn two_quants(a: (&Self, usize), b: (&Self, usize)) -> [__m256i; 2];
}

/// How many results of `vpmaddubsw` sixteen bits hold.
pub(super) const fn steps(most: i32) -> usize {
    let sum = 2 * 127 * most;
    match i16::MAX as i32 / sum {
        8.. => 8,
        4.. => 4,
        2.. => 2,
        _ => 0,
    }
}

macro_rules! stored {
    ($(
        $block:ident: $most:literal, $zero_point:literal, $factor:expr, $offset:expr,
        |$b:ident $(, $group:ident)?| $quants:expr,
        |$one:ident $(/ $one_group:ident)?, $two:ident $(/ $two_group:ident)?| $two_quants:expr;
    )*) => {$(
        impl Avx2Block32 for $block {
            const MOST: i32 = $most;
            const ZERO_POINT: i32 = $zero_point;
            const NEGATIVES: bool = !matches!($block::DTYPE, DType::Q8_0);
            const FACTOR: fn(&Self) -> Option<[u8; 2]> = $factor;
            const OFFSET: fn(&Self) -> [u8; 2] = $offset;

            #[inline(always)]
            unsafe fn quants($b: EightBlocks<Self>, _group: usize) -> [__m256i; 8] {
                $(let $group = _group;)?
                // SAFETY: the caller's promise.
                unsafe { $quants }
            }

            #[inline(always)]
            unsafe fn two_quants(
                ($one, _one): (&Self, usize),
                ($two, _two): (&Self, usize),
            ) -> [__m256i; 2] {
                $(let $one_group = _one;)?
                $(let $two_group = _two;)?
                // SAFETY: the caller's promise.
                unsafe { $two_quants }
            }
        }
    )*};
}

stored! {
    BlockQ1_0: 2, 1, |b| Some(b.scale), |_| [0; 2],
        |b, group| signs(|row| word(&b[row].bits, group)),
        |a / i, b / j| two_signs(word(&a.bits, i), word(&b.bits, j));
    BlockQ2_0: 3, 1, |b| Some(b.scale), |_| [0; 2],
        |b, group| crumbs(|row| eight_bytes(&b[row].quants, group)),
        |a / i, b / j| two_crumbs(eight_bytes(&a.quants, i), eight_bytes(&b.quants, j));
    BlockQ4_0: 15, 8, |b| Some(b.scale), |_| [0; 2],
        |b| nibbles(|row| &b[row].quants), |a, b| two_nibbles(&a.quants, &b.quants);
    BlockQ4_1: 15, 0, |b| Some(b.scale), |b| b.min,
        |b| nibbles(|row| &b[row].quants), |a, b| two_nibbles(&a.quants, &b.quants);
    BlockQ5_0: 31, 16, |b| Some(b.scale), |_| [0; 2],
        |b| with_fifth(|row| &b[row].quants, |row| b[row].high),
        |a, b| two_with_fifth(two_nibbles(&a.quants, &b.quants), a.high, b.high);
    BlockQ5_1: 31, 0, |b| Some(b.scale), |b| b.min,
        |b| with_fifth(|row| &b[row].quants, |row| b[row].high),
        |a, b| two_with_fifth(two_nibbles(&a.quants, &b.quants), a.high, b.high);
    BlockQ8_0: 255, 0, |b| Some(b.scale), |_| [0; 2],
        |b| bytes(|row| &b[row].quants), |a, b| sixteens(load(&a.quants), load(&b.quants));
    BlockIQ4NL: 255, 0, |b| Some(b.scale), |_| [0; 2],
        |b| values(&IQ4_VALUES, |row| &b[row].quants),
        |a, b| two_values(&IQ4_VALUES, &a.quants, &b.quants);
    BlockMXFP4: 24, 12, |_| None, |_| [0; 2],
        |b| values(&FP4_UNSIGNED, |row| &b[row].quants),
        |a, b| two_values(&FP4_UNSIGNED, &a.quants, &b.quants);
}

/// [`FP4_VALUES`], with a zero point of 12.
const FP4_UNSIGNED: [i8; 16] = {
    let mut values = FP4_VALUES;
    let mut at = 0;
    while at < 16 {
        values[at] += 12;
        at += 1;
    }
    values
};

/// A group's bits.
#[inline]
fn word(bits: &[u8; 16], group: usize) -> [u8; 4] {
    bits.as_chunks().0[group]
}

/// A group's parts of two bits.
#[inline]
fn eight_bytes(quants: &[u8; 16], group: usize) -> [u8; 8] {
    quants.as_chunks().0[group]
}

/// Twice each weight's bit.
#[inline]
#[target_feature(enable = "avx2")]
fn signs(bits: impl Fn(usize) -> [u8; 4]) -> [__m256i; 8] {
    with_bit([_mm256_setzero_si256(); 8], bits, 2)
}

/// [`signs`] of two groups of a row.
#[inline]
#[target_feature(enable = "avx2")]
fn two_signs(a: [u8; 4], b: [u8; 4]) -> [__m256i; 2] {
    two_with_bit([_mm256_setzero_si256(); 2], a, b, 2)
}

/// What parts of two bits are worth, of bytes that stand four times, once for each of their parts.
#[inline]
#[target_feature(enable = "avx2")]
fn parts(bytes: __m256i) -> __m256i {
    // A part keeps its place within a nibble, and a table says what it is worth there.
    let worth = load_half(&[0i8, 1, 2, 3, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    let masks = _mm256_set1_epi32(0xc030_0c03_u32.cast_signed());
    let parts = _mm256_and_si256(bytes, masks);
    let nibbles = _mm256_or_si256(parts, _mm256_srli_epi16::<4>(parts));
    let nibbles = _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(worth), nibbles)
}

/// Parts of two bits.
#[inline]
#[target_feature(enable = "avx2")]
fn crumbs(bytes: impl Fn(usize) -> [u8; 8]) -> [__m256i; 8] {
    let mut quants = [_mm256_setzero_si256(); 8];
    for half in 0..2 {
        let mut words = Lanes8([0u32; ROWS]);
        for row in 0..ROWS {
            words.0[row] = u32::from_le_bytes(bytes(row).as_chunks().0[half]);
        }
        let words = load(&words);
        for byte in 0..4 {
            // A byte of each row's word, four times.
            let spread = _mm256_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12);
            let spread = _mm256_add_epi32(spread, _mm256_set1_epi32(byte));
            let spread = _mm256_mullo_epi32(spread, _mm256_set1_epi32(0x0101_0101));
            quants[4 * half + byte as usize] = parts(_mm256_shuffle_epi8(words, spread));
        }
    }
    quants
}

/// [`crumbs`] of two groups of a row.
#[inline]
#[target_feature(enable = "avx2")]
fn two_crumbs(a: [u8; 8], b: [u8; 8]) -> [__m256i; 2] {
    let twice = |bytes: [u8; 8]| _mm_set1_epi64x(i64::from_le_bytes(bytes));
    let bytes = _mm256_set_m128i(twice(b), twice(a));
    let half = |first: i8| {
        let spread = _mm256_setr_epi32(
            0,
            0x0101_0101,
            0x0202_0202,
            0x0303_0303,
            0,
            0x0101_0101,
            0x0202_0202,
            0x0303_0303,
        );
        let spread = _mm256_add_epi8(spread, _mm256_set1_epi8(first));
        parts(_mm256_shuffle_epi8(bytes, spread))
    };
    [half(0), half(4)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn bytes<'a>(of: impl Fn(usize) -> &'a [i8; 32]) -> [__m256i; 8] {
    let half = |which: usize| {
        transpose(|row| {
            let halves: &[[i8; 16]] = of(row).as_chunks().0;
            load_half(&halves[which])
        })
    };
    let ([a, b, c, d], [e, f, g, h]) = (half(0), half(1));
    [a, b, c, d, e, f, g, h]
}

/// Low halves of sixteen bytes, then their high halves.
#[inline]
#[target_feature(enable = "avx2")]
fn nibbles<'a>(of: impl Fn(usize) -> &'a [u8; 16]) -> [__m256i; 8] {
    let words = transpose(|row| load_half(of(row)));
    let mask = _mm256_set1_epi8(15);
    let mut quants = [_mm256_setzero_si256(); 8];
    for word in 0..4 {
        quants[word] = _mm256_and_si256(words[word], mask);
        let high = _mm256_srli_epi16::<4>(words[word]);
        quants[4 + word] = _mm256_and_si256(high, mask);
    }
    quants
}

/// [`nibbles`] with a fifth bit, bit i of a u32 for weight i.
#[inline]
#[target_feature(enable = "avx2")]
fn with_fifth<'a>(
    of: impl Fn(usize) -> &'a [u8; 16],
    high: impl Fn(usize) -> [u8; 4],
) -> [__m256i; 8] {
    with_bit(nibbles(of), high, 16)
}

/// Bytes, and so much more where a bit is set: bit i of a u32 for weight i.
#[inline]
#[target_feature(enable = "avx2")]
fn with_bit(mut quants: [__m256i; 8], high: impl Fn(usize) -> [u8; 4], worth: i8) -> [__m256i; 8] {
    let mut words = Lanes8([0; ROWS]);
    for row in 0..ROWS {
        words.0[row] = u32::from_le_bytes(high(row));
    }
    let words = load(&words);
    for pair in 0..4 {
        // A byte of each row's word, four times.
        let spread = _mm256_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12);
        let spread = _mm256_add_epi32(spread, _mm256_set1_epi32(pair as i32));
        let spread = _mm256_mullo_epi32(spread, _mm256_set1_epi32(0x0101_0101));
        let bits = _mm256_shuffle_epi8(words, spread);
        for odd in 0..2 {
            let bit = _mm256_set1_epi32([0x0804_0201, 0x8040_2010_u32.cast_signed()][odd]);
            let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
            let more = _mm256_and_si256(set, _mm256_set1_epi8(worth));
            let at = 2 * pair + odd;
            quants[at] = _mm256_or_si256(quants[at], more);
        }
    }
    quants
}

/// What [`nibbles`] stand for.
#[inline]
#[target_feature(enable = "avx2")]
fn values<'a>(values: &[i8; 16], of: impl Fn(usize) -> &'a [u8; 16]) -> [__m256i; 8] {
    let values = _mm256_broadcastsi128_si256(load_half(values));
    let mut quants = nibbles(of);
    for quants in &mut quants {
        *quants = _mm256_shuffle_epi8(values, *quants);
    }
    quants
}

/// [`nibbles`] of two blocks of a row.
#[inline]
#[target_feature(enable = "avx2")]
fn two_nibbles(a: &[u8; 16], b: &[u8; 16]) -> [__m256i; 2] {
    nibbles_of(_mm256_set_m128i(load_half(b), load_half(a)))
}

/// [`two_nibbles`] with a fifth bit, bit i of a u32 for weight i.
#[inline]
#[target_feature(enable = "avx2")]
fn two_with_fifth(nibbles: [__m256i; 2], a: [u8; 4], b: [u8; 4]) -> [__m256i; 2] {
    two_with_bit(nibbles, a, b, 16)
}

/// [`with_bit`] of two groups of a row.
#[inline]
#[target_feature(enable = "avx2")]
fn two_with_bit(mut bytes: [__m256i; 2], a: [u8; 4], b: [u8; 4], worth: i8) -> [__m256i; 2] {
    let word = |high: [u8; 4]| _mm_set1_epi32(i32::from_le_bytes(high));
    let words = _mm256_set_m128i(word(b), word(a));
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
    for half in 0..2 {
        // Each of two bytes eight times.
        let byte = _mm_set_epi64x(0x0101_0101_0101_0101, 0);
        let byte = _mm_add_epi8(byte, _mm_set1_epi8(2 * half as i8));
        let bits = _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(byte));
        let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
        let more = _mm256_and_si256(set, _mm256_set1_epi8(worth));
        bytes[half] = _mm256_or_si256(bytes[half], more);
    }
    bytes
}

/// What [`two_nibbles`] stand for.
#[inline]
#[target_feature(enable = "avx2")]
fn two_values(values: &[i8; 16], a: &[u8; 16], b: &[u8; 16]) -> [__m256i; 2] {
    let values = _mm256_broadcastsi128_si256(load_half(values));
    let [low, high] = two_nibbles(a, b);
    [
        _mm256_shuffle_epi8(values, low),
        _mm256_shuffle_epi8(values, high),
    ]
}
