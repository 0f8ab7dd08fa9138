//! Points of grids, looked up in registers.
//!
//! A point is stored as two or three bits for each of its weights, sixteen together. Points are
//! looked up 64 at a time, first their first bytes, then their second ones, in tables of 128 that
//! stand in two registers. Their bits are then spread over bytes, and these replaced by what they
//! stand for: none of it by way of memory. Between the two, points are put in such an order that
//! those of each lane of 64 bits, spread one after the other, fill this lane of one register after
//! the other.

use core::arch::x86_64::*;

use super::register::{Lanes16, ROWS, load, load_half};
use crate::quant::grids::{self, Points};

/// A constant register of 64 bytes.
macro_rules! bytes {
    (|$at:ident| $of:expr) => {{
        static BYTES: Lanes16<[u8; 4]> = {
            let mut bytes = [[0; 4]; ROWS];
            let mut at = 0;
            while at < 64 {
                let $at = at;
                bytes[at / 4][at % 4] = ($of) as u8;
                at += 1;
            }
            Lanes16(bytes)
        };
        load(&BYTES)
    }};
}
pub(super) use bytes;

/// A constant register of 32 words.
macro_rules! words {
    (|$at:ident| $of:expr) => {
        bytes!(|byte| {
            let $at = byte / 2;
            ($of) >> (byte % 2 * 8)
        })
    };
}
pub(super) use words;

/// (a and b) or c.
const AND_OR: i32 = 0xea;

/// The point, of 32 with eight weights, whose place is a word.
const fn eight_at(word: usize) -> usize {
    8 * (word % 4) + word / 4
}

/// The point, of 32 with four weights, whose place is a word.
const fn four_at(word: usize) -> usize {
    16 * (word % 4 / 2) + 2 * (word / 4) + word % 2
}

/// A type's points by their bytes, the first and the second: tables of 128.
#[repr(C, align(64))]
pub(super) struct Planes<const TABLES: usize>([[[[u8; 64]; 2]; TABLES]; 2]);

impl<const TABLES: usize> Planes<TABLES> {
    const fn of<const N: usize, const LEN: usize>(points: &Points<N, LEN>) -> Self {
        let mut planes = [[[[0; 64]; 2]; TABLES]; 2];
        let mut at = 0;
        while at < 128 * TABLES {
            let [first, second] = points.stored(at).to_le_bytes();
            planes[0][at / 128][at % 128 / 64][at % 64] = first;
            planes[1][at / 128][at % 128 / 64][at % 64] = second;
            at += 1;
        }
        Planes(planes)
    }
}

pub(super) static IQ2_XXS: Planes<2> = Planes::of(&grids::IQ2_XXS);
pub(super) static IQ2_XS: Planes<4> = Planes::of(&grids::IQ2_XS);
pub(super) static IQ2_S: Planes<8> = Planes::of(&grids::IQ2_S);
pub(super) static IQ3_XXS: Planes<2> = Planes::of(&grids::IQ3_XXS);
pub(super) static IQ3_S: Planes<4> = Planes::of(&grids::IQ3_S);
pub(super) static IQ1: Planes<16> = Planes::of(&grids::IQ1);

/// Indices of 64 points.
#[derive(Clone, Copy)]
pub(super) struct Indices {
    /// Their lowest eight bits.
    pub low: __m512i,
    /// Those above.
    pub high: [__mmask64; 3],
}

/// The bytes of the points of `N` times 64 indices: the first ones, the second ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn looked_up<const TABLES: usize, const N: usize>(
    planes: &Planes<TABLES>,
    indices: [Indices; N],
) -> [[__m512i; 2]; N] {
    // The lowest seven bits choose from a table, the others from the tables.
    let mut eighth = [0; N];
    for n in 0..N {
        eighth[n] = _mm512_movepi8_mask(indices[n].low);
    }
    let plane = |tables: &[[[u8; 64]; 2]; TABLES]| {
        let one = |at: usize| {
            let [first, second] = &tables[at];
            let mut found = [_mm512_setzero_si512(); N];
            for n in 0..N {
                found[n] = _mm512_permutex2var_epi8(load(first), indices[n].low, load(second));
            }
            found
        };
        let choose = |bit: usize, clear: [__m512i; N], set: [__m512i; N]| {
            let mut chosen = clear;
            for n in 0..N {
                let bits = match bit {
                    0 => eighth[n],
                    _ => indices[n].high[bit - 1],
                };
                chosen[n] = _mm512_mask_mov_epi8(clear[n], bits, set[n]);
            }
            chosen
        };
        let two = |at: usize| choose(0, one(at), one(at + 1));
        let four = |at: usize| choose(1, two(at), two(at + 2));
        let eight = |at: usize| choose(2, four(at), four(at + 4));
        match TABLES {
            2 => two(0),
            4 => four(0),
            8 => eight(0),
            _ => choose(3, eight(0), eight(8)),
        }
    };
    let (first, second) = (plane(&planes.0[0]), plane(&planes.0[1]));
    let mut both = [[_mm512_setzero_si512(); 2]; N];
    for n in 0..N {
        both[n] = [first[n], second[n]];
    }
    both
}

/// 64 points of two bytes, as words: in each that of two bytes' `places`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn in_order([first, second]: [__m512i; 2], places: [__m512i; 2]) -> [__m512i; 2] {
    [
        _mm512_permutex2var_epi8(first, places[0], second),
        _mm512_permutex2var_epi8(first, places[1], second),
    ]
}

/// Of two blocks, in the order in which [`eights`] takes them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn in_eights(bytes: [__m512i; 2]) -> [__m512i; 2] {
    in_order(
        bytes,
        [
            bytes!(|at| eight_at(at / 2) + at % 2 * 64),
            bytes!(|at| eight_at(at / 2) + at % 2 * 64 + 32),
        ],
    )
}

/// Of one block, in the order in which [`fours`] takes them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn in_fours(bytes: [__m512i; 2]) -> [__m512i; 2] {
    in_order(
        bytes,
        [
            bytes!(|at| four_at(at / 2) + at % 2 * 64),
            bytes!(|at| four_at(at / 2) + at % 2 * 64 + 32),
        ],
    )
}

/// The bits of bytes, each as a mask.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn bits<const N: usize>(of: __m512i) -> [__mmask64; 3] {
    let mut masks = [0; 3];
    for bit in 0..N {
        masks[bit] = _mm512_test_epi8_mask(of, _mm512_set1_epi8(1 << bit));
    }
    masks
}

/// Twice 32 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn load_both([first, second]: [&[u8; 32]; 2]) -> __m512i {
    let first = _mm512_castsi256_si512(load_half(first));
    _mm512_inserti64x4::<1>(first, load_half(second))
}

/// Its halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn halves(of: __m512i) -> [__m256i; 2] {
    [
        _mm512_castsi512_si256(of),
        _mm512_extracti64x4_epi64::<1>(of),
    ]
}

/// The weights of 32 points with eight each, 64 to a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn eights(points: __m512i) -> [__m512i; 4] {
    const VALUES: [u8; 4] = [8, 25, 43, 0];
    spread_eights(points, bytes!(|at| VALUES[at % 4]))
}

/// The same of other values, of which there are four.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn spread_eights(points: __m512i, values: __m512i) -> [__m512i; 4] {
    let places = [
        bytes!(|at| 2 * (at % 8)),
        bytes!(|at| 2 * (at % 8) + 16),
        bytes!(|at| 2 * (at % 8) + 32),
        bytes!(|at| 2 * (at % 8) + 48),
    ];
    let mut weights = places;
    for which in 0..4 {
        // Of what a byte gets, its lowest bits choose.
        let bits = _mm512_multishift_epi64_epi8(places[which], points);
        weights[which] = _mm512_permutexvar_epi8(bits, values);
    }
    weights
}

/// The weights of twice 32 points with four each, 64 to a register: of `values`, which are eight.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn fours(points: [__m512i; 2], values: __m512i) -> [__m512i; 4] {
    let places = [
        bytes!(|at| 3 * (at % 4) + 16 * (at % 8 / 4)),
        bytes!(|at| 3 * (at % 4) + 16 * (at % 8 / 4) + 32),
    ];
    let mut weights = [_mm512_setzero_si512(); 4];
    for which in 0..4 {
        let bits = _mm512_multishift_epi64_epi8(places[which % 2], points[which / 2]);
        weights[which] = _mm512_permutexvar_epi8(bits, values);
    }
    weights
}

/// Signs of 256 weights, a bit for each, in memory: that a mask is loaded from there takes no part
/// in what the other arithmetic waits for. In assembly, for the compiler would keep what has just
/// been written in registers, from which masks come more slowly.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn given_signs(signs: &[u8; 32]) -> [__mmask64; 4] {
    let (mut a, mut b, mut c, mut d);
    // SAFETY: reads what the reference is to, which wants no alignment.
    unsafe {
        core::arch::asm!(
            "kmovq {a}, [{signs}]",
            "kmovq {b}, [{signs} + 8]",
            "kmovq {c}, [{signs} + 16]",
            "kmovq {d}, [{signs} + 24]",
            signs = in(reg) signs,
            a = out(kreg) a,
            b = out(kreg) b,
            c = out(kreg) c,
            d = out(kreg) d,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    [a, b, c, d]
}

/// Signs of 512 weights, eight from the lowest seven bits of each byte: their number is even.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn even_signs(sevens: __m512i) -> __m512i {
    let low = bytes!(|at| at | (at.count_ones() as usize & 1) << 7);
    let high = bytes!(|at| (at + 64) | ((at + 64).count_ones() as usize & 1) << 7);
    _mm512_permutex2var_epi8(low, sevens, high)
}

/// The same of 64 weights in each lane: four sevens in half of it, and four bits of something
/// else.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn packed_signs(words: __m512i) -> __m512i {
    let places = bytes!(|at| 32 * (at % 8 / 4) + 7 * (at % 4));
    even_signs(_mm512_multishift_epi64_epi8(places, words))
}

/// Signs of 256 weights, a bit for each, as masks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn as_masks(signs: __m256i) -> [__mmask64; 4] {
    let mut bytes = [0; 32];
    store_half(&mut bytes, signs);
    given_signs(&bytes)
}

/// Any 32 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn store_half(to: &mut [u8; 32], value: __m256i) {
    // SAFETY: the reference is to 32 writable bytes; the store wants no alignment.
    unsafe { _mm256_storeu_si256((&raw mut *to).cast(), value) }
}

/// Odd numbers from `BITS` bits that count from zero, in words, of which these are bits 1 and
/// following.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn odd<const BITS: u32>(words: __m512i) -> __m512i {
    let (bits, one) = (_mm512_set1_epi16((2 << BITS) - 2), _mm512_set1_epi16(1));
    _mm512_ternarylogic_epi32::<AND_OR>(words, bits, one)
}

/// The sixteen times four bits of these bytes as odd numbers, twice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn scales(of: [u8; 8]) -> __m512i {
    let of = _mm512_set1_epi64(i64::from_le_bytes(of));
    // One bit below themselves.
    let places = bytes!(|at| (4 * (at / 2 % 16) + 63) % 64);
    odd::<4>(_mm512_multishift_epi64_epi8(places, of))
}
