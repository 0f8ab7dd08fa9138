//! Groups of 32 weights with a factor each, one or several to a block.
//!
//! Weights of few bits are bytes without sign: `vpmaddubsw` multiplies them, two products add up
//! in sixteen bits, and as many of its results as those hold are added before they are widened.
//! Weights of a whole byte would not leave room for two: they are multiplied in sixteen bits. With
//! AVX-VNNI there is room for all in 32 bits, whole bytes having a zero point of 128 in a panel.

use core::arch::x86_64::*;

use super::gemv::BLOCKS;
use super::packed::{Addresses8, Avx2Product, DotBytes, EightRows, Panel8, SIDES, product};
use super::register::{
    Lanes8, ROWS, add_fours, add_pairs, add_words, as_nibbles, halves, load, load_floats,
    load_half, nibbles_of, sixteens, spread, store, sums_of_half_lanes, sums_of_half_words,
    transpose,
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

/// The same block of each of eight rows.
type EightBlocks<'a, W> = [&'a W; ROWS];

/// A group of a block as a panel has it.
///
/// # Safety
///
/// Of both functions: the CPU has this table's instructions.
trait Avx2Block32: Block32 {
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
