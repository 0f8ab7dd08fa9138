//! Groups of 32 weights as bytes, four of a row at a time: how each type's blocks are read.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::legacy_columns::SixteenGroups;
use super::register::{Lanes16, ROWS, load, load_quarter};
use crate::quant::*;

/// Bytes of so many groups of a row, whole blocks.
#[inline(always)]
pub(super) const fn bytes<W: Block32>(groups: usize) -> usize {
    groups / W::GROUPS * W::LEN
}

/// A block whose weights are multiplied as bytes without sign.
///
/// # Safety
///
/// Of the functions: the CPU has this table's instructions.
pub(super) trait Avx512Block32: Block32 {
    /// What such a byte is above its weight.
    const ZERO_POINT: i32;

    /// Whether it begins with a factor in half precision, followed by an offset if it has one; if not,
    /// with the exponent of an [MXFP4](BlockMXFP4) block.
    const HALVES: bool;

    /// The first sixteen such bytes of each of four groups, then the others.
    unsafe fn quants(four: RowGroups<Self>) -> [__m512i; 2];

    /// Such bytes of a group of each of sixteen rows, four neighbouring columns to a register: of the
    /// first sixteen, then of the others.
    unsafe fn columns(rows: SixteenGroups<'_, Self>) -> [[__m512i; 4]; 2];
}

macro_rules! stored {
    ($($block:ident: $above:literal, $halves:literal,
        |$four:ident| $quants:expr, |$rows:ident| $columns:expr;)*) => {$(
        impl Avx512Block32 for $block {
            const ZERO_POINT: i32 = $above;
            const HALVES: bool = $halves;

            #[inline(always)]
            unsafe fn quants($four: RowGroups<Self>) -> [__m512i; 2] {
                // SAFETY: the caller's promise.
                unsafe { $quants }
            }

            #[inline(always)]
            unsafe fn columns($rows: SixteenGroups<'_, Self>) -> [[__m512i; 4]; 2] {
                // SAFETY: the caller's promise.
                unsafe { $columns }
            }
        }
    )*};
}

stored! {
    BlockQ1_0: 1, true, |four| signs(four), |rows| rows.signs();
    BlockQ2_0: 1, true, |four| crumbs(four.half_words::<2, 4, 4>()), |rows| rows.crumbs();
    BlockQ4_0: 8, true, |four| nibbles(four.sixteens::<2>()), |rows| rows.nibbles::<2>();
    BlockQ4_1: 0, true, |four| nibbles(four.sixteens::<4>()), |rows| rows.nibbles::<4>();
    BlockQ5_0: 16, true,
        |four| with_fifth(four.sixteens::<6>(), four.words::<2>()),
        |rows| rows.with_fifth::<6, 2>();
    BlockQ5_1: 0, true,
        |four| with_fifth(four.sixteens::<8>(), four.words::<4>()),
        |rows| rows.with_fifth::<8, 4>();
    BlockQ8_0: 128, true, |four| above_128(four.thirty_twos::<2>()), |rows| rows.above_128();
    BlockIQ4NL: 128, true,
        |four| values(&IQ4_VALUES, four.sixteens::<2>()),
        |rows| rows.values::<2>(&IQ4_VALUES);
    BlockMXFP4: 128, false,
        |four| values(&FP4_VALUES, four.sixteens::<1>()),
        |rows| rows.values::<1>(&FP4_VALUES);
}

/// Up to four groups of a row, one after the other, whole blocks. What is asked of those that are
/// not there is zero.
#[derive(Clone, Copy)]
pub(super) struct RowGroups<W> {
    at: *const u8,
    count: usize,
    blocks: PhantomData<W>,
}

/// Where half-words of four groups stand, counted in half-words: in lane l, `each` of group
/// l / `each`, which in a block of `len` bytes and `groups` begin at number `from`, a `step` from one
/// group to the next. Fewer than 32 are filled up with the first.
const fn places(
    (len, groups): (usize, usize),
    (from, step): (usize, usize),
    each: usize,
) -> Lanes16<[u16; 2]> {
    let mut places = [[0; 2]; ROWS];
    let mut lane = 0;
    while lane < 4 * each {
        let (block, group) = (lane / each / groups, lane / each % groups);
        let place = len / 2 * block + from + step * group + lane % each;
        places[lane / 2][lane % 2] = place as u16;
        lane += 1;
    }
    Lanes16(places)
}

impl<W: Avx512Block32> RowGroups<W> {
    /// # Safety
    ///
    /// `count` ≤ 4 groups can be read from `at` on, as long as this is used.
    #[inline]
    pub unsafe fn new(at: *const u8, count: usize) -> Self {
        let blocks = PhantomData;
        RowGroups { at, count, blocks }
    }

    /// `EACH` half-words of each group, from byte `FROM` of its block on, and `STEP` further of its
    /// next group. What several such take is loaded once.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn half_words<const FROM: usize, const STEP: usize, const EACH: usize>(self) -> __m512i {
        let places = const { &places((W::LEN, W::GROUPS), (FROM / 2, STEP), EACH) };
        // The last one's number, and one.
        let end = 3 / W::GROUPS * W::LEN / 2 + FROM / 2 + STEP * (W::GROUPS - 1) + EACH;
        debug_assert!(W::LEN.is_multiple_of(2) && end <= 64);
        let there = bytes::<W>(self.count) / 2;
        let mask = |len: usize| ((1u64 << len) - 1) as u32;
        // SAFETY: whoever made this promised these bytes; the masks leave out those behind them.
        let (low, high) = unsafe {
            let behind = self.at.wrapping_add(64);
            (
                _mm512_maskz_loadu_epi16(mask(there.min(32)), self.at.cast()),
                _mm512_maskz_loadu_epi16(mask(there.max(32) - 32), behind.cast()),
            )
        };
        match end {
            ..=32 => _mm512_permutexvar_epi16(load(places), low),
            _ => _mm512_permutex2var_epi16(low, load(places), high),
        }
    }

    /// Sixteen bytes of each block, from byte `FROM` on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn sixteens<const FROM: usize>(self) -> __m512i {
        if W::LEN.is_multiple_of(2) {
            return self.half_words::<FROM, 0, 8>();
        }
        let sixteen = |block: usize| match block < self.count {
            // SAFETY: this block is there.
            true => unsafe { _mm_loadu_si128(self.at.add(block * W::LEN + FROM).cast()) },
            false => _mm_setzero_si128(),
        };
        let bytes = _mm512_castsi128_si512(sixteen(0));
        let bytes = _mm512_inserti32x4::<1>(bytes, sixteen(1));
        let bytes = _mm512_inserti32x4::<2>(bytes, sixteen(2));
        _mm512_inserti32x4::<3>(bytes, sixteen(3))
    }

    /// The first sixteen of 32 bytes of each block, from byte `FROM` on, then the others.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn thirty_twos<const FROM: usize>(self) -> [__m512i; 2] {
        let whole = |block: usize| match block < self.count {
            // SAFETY: this block is there.
            true => unsafe { _mm256_loadu_si256(self.at.add(block * W::LEN + FROM).cast()) },
            false => _mm256_setzero_si256(),
        };
        let two = |block: usize| {
            let first = _mm512_castsi256_si512(whole(block));
            _mm512_inserti64x4::<1>(first, whole(block + 1))
        };
        let (ab, cd) = (two(0), two(2));
        [
            _mm512_shuffle_i32x4::<0x88>(ab, cd),
            _mm512_shuffle_i32x4::<0xdd>(ab, cd),
        ]
    }

    /// Four bytes of each block, from byte `FROM` on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn words<const FROM: usize>(self) -> __m128i {
        _mm512_castsi512_si128(self.half_words::<FROM, 0, 2>())
    }

    /// Two bytes of each block, from byte `FROM` on, in half a quarter.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn halves<const FROM: usize>(self) -> __m128i {
        if W::LEN < 32 {
            return _mm512_castsi512_si128(self.half_words::<FROM, 0, 1>());
        }
        let half = |block: usize| match block < self.count {
            // SAFETY: this block is there.
            true => unsafe {
                let at = self.at.add(block * W::LEN + FROM);
                i32::from(at.cast::<i16>().read_unaligned())
            },
            false => 0,
        };
        let halves = _mm_cvtsi32_si128(half(0));
        let halves = _mm_insert_epi16::<1>(halves, half(1));
        let halves = _mm_insert_epi16::<2>(halves, half(2));
        _mm_insert_epi16::<3>(halves, half(3))
    }

    /// The byte that each block begins with, as half-words in half a quarter.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn first_bytes(self) -> __m128i {
        let byte = |block: usize| match block < self.count {
            // SAFETY: this block is there.
            true => i32::from(unsafe { *self.at.add(block * W::LEN) }),
            false => 0,
        };
        let bytes = _mm_cvtsi32_si128(byte(0));
        let bytes = _mm_insert_epi8::<2>(bytes, byte(1));
        let bytes = _mm_insert_epi8::<4>(bytes, byte(2));
        _mm_insert_epi8::<6>(bytes, byte(3))
    }
}

/// Signed bytes: turning the highest bit adds 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn above_128([first, second]: [__m512i; 2]) -> [__m512i; 2] {
    let highest = _mm512_set1_epi8(-128);
    [
        _mm512_xor_si512(first, highest),
        _mm512_xor_si512(second, highest),
    ]
}

/// Low halves of sixteen bytes of each of four blocks, then their high halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn nibbles(bytes: __m512i) -> [__m512i; 2] {
    let mask = _mm512_set1_epi8(15);
    let high = _mm512_srli_epi16::<4>(bytes);
    [_mm512_and_si512(bytes, mask), _mm512_and_si512(high, mask)]
}

/// Parts of two bits, of which each group has eight bytes, one group after the other: the first sixteen of
/// each of four groups, then the others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn crumbs(bytes: __m512i) -> [__m512i; 2] {
    let spread = |from: i64| {
        let fours = |byte: i64| 0x0101_0101 * (byte + ((byte + 1) << 32));
        let of = |group: i64| {
            let at = 8 * (group % 2) + from;
            (fours(at), fours(at + 2))
        };
        let [(a, b), (c, d), (e, f), (g, h)] = [of(0), of(1), of(2), of(3)];
        _mm512_setr_epi64(a, b, c, d, e, f, g, h)
    };
    // Groups 0 and 1 stand in the first quarter, 2 and 3 in the second.
    let bytes = _mm512_shuffle_i32x4::<0b01_01_00_00>(bytes, bytes);
    let part = |from: i64| parts(_mm512_shuffle_epi8(bytes, spread(from)));
    [part(0), part(4)]
}

/// Of four bytes each, the first's lowest two bits, the next one's next and so on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn parts(bytes: __m512i) -> __m512i {
    // A part keeps its place within a nibble, and a table says what it is worth there.
    let worth = load_quarter(&[0i8, 1, 2, 3, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    let parts = _mm512_and_si512(bytes, _mm512_set1_epi32(0xc030_0c03_u32 as i32));
    let nibbles = _mm512_or_si512(parts, _mm512_srli_epi16::<4>(parts));
    let nibbles = _mm512_and_si512(nibbles, _mm512_set1_epi8(15));
    _mm512_shuffle_epi8(_mm512_broadcast_i32x4(worth), nibbles)
}

/// Twice the bit of each weight.
///
/// # Safety
///
/// The four groups of a block are there, or none.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn signs(four: RowGroups<BlockQ1_0>) -> [__m512i; 2] {
    let bits = match four.count / BlockQ1_0::GROUPS {
        0 => _mm_setzero_si128(),
        // SAFETY: the caller's promise; its sixteen bytes stand behind the scale.
        _ => unsafe { _mm_loadu_si128(four.at.add(2).cast()) },
    };
    let zero = _mm512_setzero_si512();
    with_bit([zero, zero], bits, 2)
}

/// [`nibbles`] with a fifth bit, bit i of a block's word for weight i.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn with_fifth(bytes: __m512i, fifths: __m128i) -> [__m512i; 2] {
    with_bit(nibbles(bytes), fifths, 16)
}

/// Bytes of four groups, and so much more where a bit is set: bit i of a group's word for weight i.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn with_bit([low, high]: [__m512i; 2], words: __m128i, worth: i8) -> [__m512i; 2] {
    let words = _mm512_broadcast_i32x4(words);
    // Each weight's byte of its block's word, and its bit.
    let places = |at: i64| {
        let eight = |byte: i64| 0x0101_0101_0101_0101 * byte;
        let of = |block: i64| (eight(4 * block + at), eight(4 * block + at + 1));
        let [(a, b), (c, d), (e, f), (g, h)] = [of(0), of(1), of(2), of(3)];
        _mm512_setr_epi64(a, b, c, d, e, f, g, h)
    };
    let bits = _mm512_set1_epi64(0x8040_2010_0804_0201_u64 as i64);
    let there = |at: i64| {
        let spread = _mm512_shuffle_epi8(words, places(at));
        _mm512_test_epi8_mask(spread, bits)
    };
    let more = _mm512_set1_epi8(worth);
    [
        _mm512_mask_add_epi8(low, there(0), low, more),
        _mm512_mask_add_epi8(high, there(2), high, more),
    ]
}

/// What [`nibbles`] stand for, with a zero point of 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn values(values: &[i8; 16], bytes: __m512i) -> [__m512i; 2] {
    let values = _mm512_broadcast_i32x4(load_quarter(values));
    let [low, high] = nibbles(bytes);
    above_128([
        _mm512_shuffle_epi8(values, low),
        _mm512_shuffle_epi8(values, high),
    ])
}
