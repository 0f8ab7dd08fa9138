//! Groups of 32 weights as bytes, one of each of sixteen rows at a time: how each type's blocks are
//! packed. Rows are turned as they are loaded, a quarter of a register each.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::legacy_groups::{bytes, nibbles, parts, values};
use super::packed::Addresses16;
use super::register::{load_quarter, transpose_quarters};
use crate::quant::*;

/// A group of sixteen rows.
#[derive(Clone, Copy)]
pub(super) struct SixteenGroups<'a, W> {
    rows: &'a Addresses16,
    /// Bytes to the group's block.
    offset: usize,
    /// Number of the group in its block.
    group: usize,
    blocks: PhantomData<W>,
}

impl<'a, W: Block32> SixteenGroups<'a, W> {
    /// # Safety
    ///
    /// The group of this number, counted from the addresses on, can be read of each row as long as
    /// this is used.
    #[inline(always)]
    pub unsafe fn new(rows: &'a Addresses16, index: usize) -> Self {
        SixteenGroups {
            rows,
            offset: bytes::<W>(index),
            group: index % W::GROUPS,
            blocks: PhantomData,
        }
    }

    /// Sixteen bytes of a block, from byte `from` on: word k of row r in lane r of result k.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn sixteens(self, from: usize) -> [__m512i; 4] {
        debug_assert!(from + 16 <= W::LEN);
        // SAFETY: whoever made this promised these bytes.
        transpose_quarters(|row| unsafe {
            load_quarter(&*self.rows[row].add(self.offset + from).cast::<[u8; 16]>())
        })
    }

    /// Four bytes of a block, from byte `from` on, row r's in lane r.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn words(self, from: usize) -> __m512i {
        debug_assert!(from + 4 <= W::LEN);
        // SAFETY: whoever made this promised these bytes.
        let word = |row: usize| unsafe {
            let word = self.rows[row].add(self.offset + from);
            word.cast::<i32>().read_unaligned()
        };
        let four = |first: usize| {
            _mm_setr_epi32(
                word(first),
                word(first + 1),
                word(first + 2),
                word(first + 3),
            )
        };
        let all = _mm512_castsi128_si512(four(0));
        let all = _mm512_inserti32x4::<1>(all, four(4));
        let all = _mm512_inserti32x4::<2>(all, four(8));
        _mm512_inserti32x4::<3>(all, four(12))
    }

    /// Low halves of sixteen bytes, then their high halves.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn nibbles<const FROM: usize>(self) -> [[__m512i; 4]; 2] {
        each(self.sixteens(FROM), |words| nibbles(words))
    }

    /// The same with a fifth bit, bit i of the word at `FIFTHS` for weight i.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn with_fifth<const FROM: usize, const FIFTHS: usize>(self) -> [[__m512i; 4]; 2] {
        with_bit(self.nibbles::<FROM>(), self.words(FIFTHS), 16)
    }

    /// What halves of sixteen bytes stand for, with a zero point of 128.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn values<const FROM: usize>(self, table: &[i8; 16]) -> [[__m512i; 4]; 2] {
        each(self.sixteens(FROM), |words| values(table, words))
    }
}

impl SixteenGroups<'_, BlockQ8_0> {
    /// Signed bytes, with a zero point of 128.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn above_128(self) -> [[__m512i; 4]; 2] {
        let mut quants = [self.sixteens(2), self.sixteens(18)];
        for half in &mut quants {
            for words in half {
                *words = _mm512_xor_si512(*words, _mm512_set1_epi8(-128));
            }
        }
        quants
    }
}

impl SixteenGroups<'_, BlockQ1_0> {
    /// Twice the bit of each weight.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn signs(self) -> [[__m512i; 4]; 2] {
        let zero = [[_mm512_setzero_si512(); 4]; 2];
        with_bit(zero, self.words(2 + 4 * self.group), 2)
    }
}

impl SixteenGroups<'_, BlockQ2_0> {
    /// Parts of two bits, four to a byte.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn crumbs(self) -> [[__m512i; 4]; 2] {
        let mut quants = [[_mm512_setzero_si512(); 4]; 2];
        for half in 0..2 {
            let words = self.words(2 + 8 * self.group + 4 * half);
            for byte in 0..4 {
                quants[half][byte] = parts(spread(words, byte));
            }
        }
        quants
    }
}

/// Both results for each register.
#[inline(always)]
fn each(words: [__m512i; 4], of: impl Fn(__m512i) -> [__m512i; 2]) -> [[__m512i; 4]; 2] {
    let mut both = [words; 2];
    for k in 0..4 {
        [both[0][k], both[1][k]] = of(words[k]);
    }
    both
}

/// A byte of each word in all four of its places.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn spread(words: __m512i, byte: usize) -> __m512i {
    let first = _mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c);
    let places = _mm512_add_epi8(_mm512_broadcast_i32x4(first), _mm512_set1_epi8(byte as i8));
    _mm512_shuffle_epi8(words, places)
}

/// Bytes of a group, and so much more where a bit of the row's word is set, bit i for weight i.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn with_bit(mut quants: [[__m512i; 4]; 2], words: __m512i, worth: i8) -> [[__m512i; 4]; 2] {
    let more = _mm512_set1_epi8(worth);
    for half in 0..2 {
        for four in 0..4 {
            let byte = spread(words, 2 * half + four / 2);
            let bits = match four % 2 {
                0 => _mm512_set1_epi32(0x0804_0201),
                _ => _mm512_set1_epi32(0x8040_2010_u32 as i32),
            };
            let there = _mm512_test_epi8_mask(byte, bits);
            let quants = &mut quants[half][four];
            *quants = _mm512_mask_add_epi8(*quants, there, *quants, more);
        }
    }
    quants
}
