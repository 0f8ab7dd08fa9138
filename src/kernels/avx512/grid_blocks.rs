//! IQ1, IQ2 and IQ3: the types whose weights are points of a grid, four or eight at a time.
//!
//! A point is stored as two or three bits for each of its weights, sixteen together. A block's
//! points are looked up 32 at a time, in tables of 64 that stand in two registers; their bits are
//! then spread over bytes, and these replaced by what they stand for: none of it by way of memory.
//! They are looked up in such an order that the words of each lane of 64 bits, spread one after
//! the other, fill this lane of one register after the other. The two thousand points of IQ1 would
//! take too many tables: those are read where they stand.

use core::arch::x86_64::*;

use super::direct::{Group, Kept};
use super::panel::{Panel, Rows, product};
use super::register::{
    Lanes, ROWS, load, load_half, load_halves, load_quarter, store, sum_in_quarters, sum_quarters,
    transpose, transpose_quarters,
};
use super::super_blocks::{finish, tile};
use crate::kernels::isa::moves_bytes;
use crate::kernels::{MatMul, MatMulFn};
use crate::quant::grids::{self, Points};
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type, where the CPU has what it takes.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    let product: MatMulFn = match dtype {
        DType::IQ2_XXS => iq2_xxs,
        DType::IQ2_XS => iq2_xs,
        DType::IQ2_S => iq2_s,
        DType::IQ3_XXS => iq3_xxs,
        DType::IQ3_S => iq3_s,
        DType::IQ1_S => iq1_s,
        DType::IQ1_M => iq1_m,
        _ => return None,
    };
    moves_bytes().then_some(product)
}

/// A constant register of 64 bytes.
macro_rules! bytes {
    (|$at:ident| $of:expr) => {{
        static BYTES: Lanes<[u8; 4]> = {
            let mut bytes = [[0; 4]; ROWS];
            let mut at = 0;
            while at < 64 {
                let $at = at;
                bytes[at / 4][at % 4] = ($of) as u8;
                at += 1;
            }
            Lanes(bytes)
        };
        load(&BYTES)
    }};
}

/// Products by `$parts` parts with a factor each; blocks' factors times `$unit`; how a block's
/// weights are found; its parts' factors, of which that of part p of sixteen is byte
/// `$place(p)`; the block's own.
macro_rules! kernels {
    ($(
        $name:ident: $block:ident, $parts:literal, $unit:literal,
        $kind:ident $weights:expr, $scales:expr, |$part:ident| $place:expr, $factor:expr;
    )*) => {$(
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
        unsafe fn $name(call: &MatMul) {
            const fn place($part: usize) -> usize {
                $place
            }
            let bytes = |block: &$block| $kind::bytes($weights(block));
            let scales = |block: &$block| {
                let places = bytes!(|at| place(at % 16));
                _mm512_castsi512_si128(_mm512_permutexvar_epi8(places, $scales(block)))
            };
            let products = |block: &$block, x: &ActivationQ8K| {
                let scales = $scales(block);
                let words = |places| _mm512_maskz_permutexvar_epi8(WORDS, places, scales);
                let scales = Scales {
                    packed: [
                        words(bytes!(|at| place(packed(at / 2)))),
                        words(bytes!(|at| place(8 + packed(at / 2)))),
                    ],
                    parts: words(bytes!(|at| place(at / 2 % 16))),
                };
                $kind::products($weights(block), scales, x)
            };
            let factor = |block: &$block| $factor(block);
            // SAFETY: the caller's promise, handed on; rows are whole blocks.
            unsafe {
                product::<$block, ActivationQ8K>(
                    call,
                    256,
                    |rows, _, panel| {
                        const ABOVE: i16 = $kind::ABOVE;
                        unpack::<_, $parts, ABOVE>(rows, panel, bytes, scales, (factor, $unit));
                    },
                    (
                        |panel, x, sums| tile::<$parts, false, _>(panel, x, sums),
                        |panel, x, sums| tile::<$parts, false, _>(panel, x, sums),
                        |panel, x, sums| tile::<$parts, false, _>(panel, x, sums),
                    ),
                    |group, x| direct(group, x, products, (factor, $unit)),
                )
            }
        }
    )*};
}

kernels! {
    iq2_xxs: BlockIQ2XXS, 8, 0.125,
        signed iq2_xxs_weights, |b: &BlockIQ2XXS| top_scales(load(&b.quants)),
        |part| 8 * (part / 2) + 7, |b: &BlockIQ2XXS| b.scale;
    iq2_xs: BlockIQ2XS, 16, 0.125,
        signed iq2_xs_weights, |b: &BlockIQ2XS| scales(b.scales),
        |part| part, |b: &BlockIQ2XS| b.scale;
    iq2_s: BlockIQ2S, 16, 0.125,
        signed iq2_s_weights, |b: &BlockIQ2S| scales(b.scales),
        |part| part, |b: &BlockIQ2S| b.scale;
    iq3_xxs: BlockIQ3XXS, 8, 0.25,
        signed iq3_xxs_weights,
        |b: &BlockIQ3XXS| top_scales(_mm512_castsi256_si512(load_half(&b.signs_and_scales))),
        |part| 4 * (part / 2) + 3, |b: &BlockIQ3XXS| b.scale;
    iq3_s: BlockIQ3S, 8, 1.0,
        signed iq3_s_weights, |b: &BlockIQ3S| scales(twice(b.scales)),
        |part| part / 2, |b: &BlockIQ3S| b.scale;
    iq1_s: BlockIQ1S, 8, 0.125,
        raised iq1_s_weights, iq1_s_scales,
        |part| 2 * (part / 2) + 1, |b: &BlockIQ1S| b.scale;
    iq1_m: BlockIQ1M, 16, 0.125,
        raised iq1_m_weights, iq1_m_scales,
        |part| part, iq1_m_factor;
}

/// The bytes of even places, as words.
const WORDS: u64 = 0x5555_5555_5555_5555;

/// a or (b and c).
const OR_AND: i32 = 0xf8;

/// (a and b) or c.
const AND_OR: i32 = 0xea;

/// a or (c and not b).
const OR_AND_NOT: i32 = 0xf2;

/// The point, of 32 with eight weights, that is looked up in a word.
const fn eight_at(word: usize) -> usize {
    8 * (word % 4) + word / 4
}

/// The point, of 32 with four weights, that is looked up in a word.
const fn four_at(word: usize) -> usize {
    16 * (word % 4 / 2) + 2 * (word / 4) + word % 2
}

/// The part, of the eight in a block's half, whose products are in a word when those of its 64
/// weights and of the next 64 have been packed into one register.
const fn packed(word: usize) -> usize {
    word / 8 + word % 8 / 4 * 4
}

/// The points of 32 indices; what stands above those does not matter.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn points<const N: usize, const VALUES: usize>(of: Points<N, VALUES>, indices: __m512i) -> __m512i {
    let tables: &[[[u8; 64]; 2]] = of.stored().as_chunks().0;
    let mut found = [_mm512_setzero_si512(); 16];
    for (found, [low, high]) in found.iter_mut().zip(tables) {
        *found = _mm512_permutex2var_epi16(load(low), indices, load(high));
    }
    let (mut len, mut bit) = (tables.len(), 64);
    while len > 1 {
        let set = _mm512_test_epi16_mask(indices, _mm512_set1_epi16(bit));
        for pair in 0..len / 2 {
            found[pair] = _mm512_mask_mov_epi16(found[2 * pair], set, found[2 * pair + 1]);
        }
        (len, bit) = (len / 2, 2 * bit);
    }
    found[0]
}

/// The weights of 32 points with eight each, 64 to a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn eights(points: __m512i) -> [__m512i; 4] {
    const VALUES: [u8; 4] = [8, 25, 43, 0];
    // Of what a byte gets, its lowest bits choose.
    let values = bytes!(|at| VALUES[at % 4]);
    [
        bytes!(|at| 2 * (at % 8)),
        bytes!(|at| 2 * (at % 8) + 16),
        bytes!(|at| 2 * (at % 8) + 32),
        bytes!(|at| 2 * (at % 8) + 48),
    ]
    .map(|places| {
        let bits = _mm512_multishift_epi64_epi8(places, points);
        _mm512_permutexvar_epi8(bits, values)
    })
}

/// The weights of twice 32 points with four each, 64 to a register: of `values`, which are eight.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn fours(points: [__m512i; 2], values: __m512i) -> [__m512i; 4] {
    let places = [
        bytes!(|at| 3 * (at % 4) + 16 * (at % 8 / 4)),
        bytes!(|at| 3 * (at % 4) + 16 * (at % 8 / 4) + 32),
    ];
    [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(of, half)| {
        let bits = _mm512_multishift_epi64_epi8(places[half], points[of]);
        _mm512_permutexvar_epi8(bits, values)
    })
}

/// Signs of 256 weights, a bit for each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn given_signs(signs: &[u8; 32]) -> [__mmask64; 4] {
    let signs: &[[u8; 8]] = signs.as_chunks().0;
    [0, 1, 2, 3].map(|which| u64::from_le_bytes(signs[which]))
}

/// Signs of 256 weights, eight from seven bits in every `1 << APART`th byte: their number is even.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn even_signs<const APART: i32>(sevens: __m512i) -> [__mmask64; 4] {
    let low = bytes!(|at| at | (at.count_ones() as usize & 1) << 7);
    let high = bytes!(|at| (at + 64) | ((at + 64).count_ones() as usize & 1) << 7);
    let signs = _mm512_permutex2var_epi8(low, sevens, high);
    let bits = _mm512_set1_epi64(0x8040_2010_0804_0201_u64.cast_signed());
    [
        bytes!(|at| at / 8),
        bytes!(|at| at / 8 + 8),
        bytes!(|at| at / 8 + 16),
        bytes!(|at| at / 8 + 24),
    ]
    .map(|places| {
        let places = match APART {
            0 => places,
            _ => _mm512_add_epi8(places, places),
        };
        _mm512_test_epi8_mask(_mm512_permutexvar_epi8(places, signs), bits)
    })
}

/// Signs of 256 weights, of 64 in each of four lanes: four sevens in half of it, and four bits
/// of something else.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn packed_signs(words: __m512i) -> [__mmask64; 4] {
    let places = bytes!(|at| 32 * (at % 8 / 4) + 7 * (at % 4));
    even_signs::<0>(_mm512_multishift_epi64_epi8(places, words))
}

/// Odd numbers from four bits that count from zero: the upper ones of bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn top_scales(of: __m512i) -> __m512i {
    let (four, one) = (_mm512_set1_epi8(0x1e), _mm512_set1_epi8(1));
    _mm512_ternarylogic_epi32::<AND_OR>(_mm512_srli_epi16::<3>(of), four, one)
}

/// The same of sixteen times four bits, one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn scales(of: [u8; 8]) -> __m512i {
    let of = _mm512_set1_epi64(i64::from_le_bytes(of));
    // One bit below themselves.
    let places = bytes!(|at| (4 * (at % 16) + 63) % 64);
    let scales = _mm512_multishift_epi64_epi8(places, of);
    let (four, one) = (_mm512_set1_epi8(0x1e), _mm512_set1_epi8(1));
    _mm512_ternarylogic_epi32::<AND_OR>(scales, four, one)
}

#[inline]
fn twice([a, b, c, d]: [u8; 4]) -> [u8; 8] {
    [a, b, c, d, a, b, c, d]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_xxs_weights(block: &BlockIQ2XXS) -> signed::Weights {
    let quants = load(&block.quants);
    let places = bytes!(|at| 8 * (eight_at(at / 2) / 4) + eight_at(at / 2) % 4);
    let indices = _mm512_maskz_permutexvar_epi8(WORDS, places, quants);
    let second = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15);
    let words = _mm512_permutexvar_epi32(second, quants);
    (eights(points(grids::IQ2_XXS, indices)), packed_signs(words))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_xs_weights(block: &BlockIQ2XS) -> signed::Weights {
    let words = load(&block.quants);
    let places = bytes!(|at| 2 * eight_at(at / 2) + at % 2);
    let indices = _mm512_permutexvar_epi8(places, words);
    let signs = even_signs::<1>(_mm512_srli_epi16::<9>(words));
    (eights(points(grids::IQ2_XS, indices)), signs)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq2_s_weights(block: &BlockIQ2S) -> signed::Weights {
    let quants = _mm512_castsi256_si512(load_half(&block.quants));
    let low = _mm512_maskz_permutexvar_epi8(WORDS, bytes!(|at| eight_at(at / 2)), quants);
    // Two bits of each index, in bits 8 and 9.
    let high = _mm512_set1_epi64(i64::from_le_bytes(block.high));
    let high = _mm512_multishift_epi64_epi8(bytes!(|at| 2 * eight_at(at / 2)), high);
    let two = _mm512_set1_epi16(0x300);
    let indices = _mm512_ternarylogic_epi32::<OR_AND>(low, high, two);
    let signs = given_signs(&block.signs);
    (eights(points(grids::IQ2_S, indices)), signs)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq3_xxs_weights(block: &BlockIQ3XXS) -> signed::Weights {
    const VALUES: [u8; 8] = [4, 12, 20, 28, 36, 44, 52, 62];
    let quants = load(&block.quants);
    let points = [
        bytes!(|at| four_at(at / 2)),
        bytes!(|at| four_at(at / 2) + 32),
    ]
    .map(|places| {
        let indices = _mm512_maskz_permutexvar_epi8(WORDS, places, quants);
        points(grids::IQ3_XXS, indices)
    });
    let words = _mm512_castsi256_si512(load_half(&block.signs_and_scales));
    let magnitudes = fours(points, bytes!(|at| VALUES[at % 8]));
    (magnitudes, packed_signs(words))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq3_s_weights(block: &BlockIQ3S) -> signed::Weights {
    let quants = load(&block.quants);
    let high = _mm512_set1_epi64(i64::from_le_bytes(block.high));
    let points = [
        bytes!(|at| four_at(at / 2)),
        bytes!(|at| four_at(at / 2) + 32),
    ]
    .map(|places| {
        let low = _mm512_maskz_permutexvar_epi8(WORDS, places, quants);
        // A bit of each index, in bit 8.
        let high = _mm512_multishift_epi64_epi8(places, high);
        let one = _mm512_set1_epi16(0x100);
        let indices = _mm512_ternarylogic_epi32::<OR_AND>(low, high, one);
        points(grids::IQ3_S, indices)
    });
    let magnitudes = fours(points, bytes!(|at| 2 * (at % 8) + 1));
    (magnitudes, given_signs(&block.signs))
}

/// IQ1's points, of eight weights: eight times these, from zero on.
#[repr(C, align(64))]
struct Eights([[u8; 8]; 2048]);

static EIGHTS: Eights = {
    let mut eights = [[0; 8]; 2048];
    let mut at = 0;
    while at < 2048 {
        let mut weight = 0;
        while weight < 8 {
            let bits = grids::IQ1.point(at) >> (2 * weight) & 3;
            eights[at][weight] = 8 * bits as u8;
            weight += 1;
        }
        at += 1;
    }
    Eights(eights)
};

/// What [`EIGHTS`] says of 32 points, 64 weights to a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn read(indices: __m512i) -> [__m512i; 4] {
    let mut at = [0u16; 32];
    store(&mut at, indices);
    let eight = |at: u16| i64::from_le_bytes(EIGHTS.0[usize::from(at) % 2048]);
    let (at, _) = at.as_chunks::<8>();
    [0, 1, 2, 3].map(|which| {
        let [a, b, c, d, e, f, g, h] = at[which].map(eight);
        _mm512_setr_epi64(a, b, c, d, e, f, g, h)
    })
}

/// What a weight of IQ1 is raised by, where it has been moved up rather than down.
const UP: i8 = 2;

/// The weights of 32 points of IQ1, given the low bytes of their indices, and the word for each
/// four of them where `places` says that three more bits are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_weights(quants: &[u8; 32], words: &[u8; 16], places: __m512i) -> [__m512i; 4] {
    let low = _mm512_cvtepu8_epi16(load_half(quants));
    let high = _mm512_cvtepu16_epi64(load_quarter(words));
    let high = _mm512_multishift_epi64_epi8(places, high);
    let three = _mm512_set1_epi16(0x700);
    read(_mm512_ternarylogic_epi32::<OR_AND>(low, high, three))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_s_weights(block: &BlockIQ1S) -> raised::Weights {
    let places = bytes!(|at| 3 * (at % 8 / 2));
    let weights = iq1_weights(&block.quants, &block.high, places);
    // A word's highest bit in its upper byte.
    let words = _mm512_castsi128_si512(load_quarter(&block.high));
    let down = _mm512_srli_epi16::<6>(words);
    let places = [
        bytes!(|at| 2 * (at / 32) + 1),
        bytes!(|at| 2 * (at / 32) + 5),
        bytes!(|at| 2 * (at / 32) + 9),
        bytes!(|at| 2 * (at / 32) + 13),
    ];
    [0, 1, 2, 3].map(|which| {
        let down = _mm512_permutexvar_epi8(places[which], down);
        let up = _mm512_set1_epi8(UP);
        _mm512_ternarylogic_epi32::<OR_AND_NOT>(weights[which], down, up)
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_m_weights(block: &BlockIQ1M) -> raised::Weights {
    let places = bytes!(|at| 4 * (at % 8 / 2));
    let weights = iq1_weights(&block.quants, &block.high, places);
    let (words, _) = block.high.as_chunks::<4>();
    [0, 1, 2, 3].map(|which| {
        let words = _mm512_set1_epi32(i32::from_le_bytes(words[which]));
        // The highest of each four bits, where `UP` is.
        let places = bytes!(|at| 4 * (at / 8) + 2);
        let down = _mm512_multishift_epi64_epi8(places, words);
        let up = _mm512_set1_epi8(UP);
        _mm512_ternarylogic_epi32::<OR_AND_NOT>(weights[which], down, up)
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_s_scales(block: &BlockIQ1S) -> __m512i {
    let words = _mm512_castsi128_si512(load_quarter(&block.high));
    let (three, one) = (_mm512_set1_epi8(0x0e), _mm512_set1_epi8(1));
    _mm512_ternarylogic_epi32::<AND_OR>(_mm512_srli_epi16::<3>(words), three, one)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn iq1_m_scales(block: &BlockIQ1M) -> __m512i {
    let words = _mm512_set1_epi64(i64::from_le_bytes(block.scales));
    let places = bytes!(|at| (16 * (at % 16 / 4) + 3 * (at % 4) + 63) % 64);
    let scales = _mm512_multishift_epi64_epi8(places, words);
    let (three, one) = (_mm512_set1_epi8(0x0e), _mm512_set1_epi8(1));
    _mm512_ternarylogic_epi32::<AND_OR>(scales, three, one)
}

/// The four highest bits of four words.
#[inline]
fn iq1_m_factor(block: &BlockIQ1M) -> [u8; 2] {
    let words = u64::from_le_bytes(block.scales);
    let four = |word: u64| (words >> (16 * word + 12) & 15) << (4 * word);
    ((four(0) | four(1) | four(2) | four(3)) as u16).to_le_bytes()
}

/// Factors of a block's parts, as words.
struct Scales {
    /// In the order of its products, packed: of one half of it, of the other.
    packed: [__m512i; 2],
    /// Of the sixteen parts in turn, twice.
    parts: __m512i,
}

/// The products of a block with its parts' factors, to be summed, from those of each four
/// weights: at most 4 · 62 · 127, which sixteen bits hold.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn with_scales(start: __m512i, dots: [__m512i; 4], scales: &Scales) -> __m512i {
    let [a, b, c, d] = dots;
    let products = _mm512_dpwssd_epi32(start, _mm512_packs_epi32(a, b), scales.packed[0]);
    _mm512_dpwssd_epi32(products, _mm512_packs_epi32(c, d), scales.packed[1])
}

/// Weights with signs of their own.
mod signed {
    use super::*;

    /// Magnitudes, and which weights are negative.
    pub type Weights = ([__m512i; 4], [__mmask64; 4]);

    /// What a byte in a panel is above its weight.
    pub const ABOVE: i16 = 128;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn bytes((magnitudes, negative): Weights) -> [__m512i; 4] {
        let above = _mm512_set1_epi8(-128);
        [0, 1, 2, 3].map(|which| {
            let (magnitude, negative) = (magnitudes[which], negative[which]);
            let positive = _mm512_add_epi8(above, magnitude);
            _mm512_mask_sub_epi8(positive, negative, above, magnitude)
        })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn products((magnitudes, negative): Weights, scales: Scales, x: &ActivationQ8K) -> __m512i {
        let (zero, inputs) = (_mm512_setzero_si512(), x.quants.as_chunks::<64>().0);
        let dots = [0, 1, 2, 3].map(|which| {
            let x = load(&inputs[which]);
            let turned = _mm512_mask_sub_epi8(x, negative[which], zero, x);
            _mm512_dpbusd_epi32(zero, magnitudes[which], turned)
        });
        with_scales(zero, dots, &scales)
    }
}

/// Weights from −9 on.
mod raised {
    use super::*;

    /// Weights, 9 above themselves.
    pub type Weights = [__m512i; 4];

    /// What a byte in a panel is above its weight.
    pub const ABOVE: i16 = 9;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn bytes(weights: Weights) -> [__m512i; 4] {
        weights
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn products(weights: Weights, scales: Scales, x: &ActivationQ8K) -> __m512i {
        let (zero, inputs) = (_mm512_setzero_si512(), x.quants.as_chunks::<64>().0);
        let dots = [0, 1, 2, 3]
            .map(|which| _mm512_dpbusd_epi32(zero, weights[which], load(&inputs[which])));
        let above = _mm256_set1_epi16(-ABOVE);
        let above = _mm256_mullo_epi16(_mm512_castsi512_si256(scales.parts), above);
        let start = _mm256_madd_epi16(above, load_half(&x.sums));
        with_scales(_mm512_zextsi256_si512(start), dots, &scales)
    }
}

/// Factors of sixteen blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn factors(of: &[[u8; 2]; ROWS], unit: f32) -> __m512 {
    _mm512_mul_ps(load_halves(of), _mm512_set1_ps(unit))
}

/// A panel from a block of each of sixteen rows, whose weights are bytes `ABOVE` themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn unpack<B: SuperBlock, const PARTS: usize, const ABOVE: i16>(
    rows: &Rows,
    panel: &mut Panel,
    bytes: impl Fn(&B) -> [__m512i; 4],
    scales: impl Fn(&B) -> __m128i,
    (factor, unit): (impl Fn(&B) -> [u8; 2], f32),
) {
    // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
    let block = |row: usize| unsafe { &*rows[row].cast::<B>() };
    let mut quarters = [[_mm512_setzero_si512(); ROWS]; 4];
    for row in 0..ROWS {
        let bytes = bytes(block(row));
        for quarter in 0..4 {
            quarters[quarter][row] = bytes[quarter];
        }
    }
    for (quarter, rows) in quarters.into_iter().enumerate() {
        let words = transpose(rows);
        for (group, word) in words.into_iter().enumerate() {
            store(&mut panel.quants[16 * quarter + group], word);
        }
    }
    let words = transpose_quarters(|row| scales(block(row)));
    for part in (0..16).step_by(16 / PARTS) {
        let scale = _mm512_srlv_epi32(words[part / 4], _mm512_set1_epi32(8 * (part % 4) as i32));
        let scale = _mm512_and_si512(scale, _mm512_set1_epi32(0xff));
        store(&mut panel.scales[part * PARTS / 16], scale);
    }
    for pair in 0..8 {
        let both = _mm512_srlv_epi32(words[pair / 2], _mm512_set1_epi32(16 * (pair % 2) as i32));
        let first = _mm512_and_si512(both, _mm512_set1_epi32(0xff));
        let second = _mm512_and_si512(both, _mm512_set1_epi32(0xff00));
        let both = _mm512_or_si512(first, _mm512_slli_epi32::<8>(second));
        let above = _mm512_mullo_epi16(both, _mm512_set1_epi16(-ABOVE));
        store(&mut panel.mins[pair], above);
    }
    let factors = factors(&core::array::from_fn(|row| factor(block(row))), unit);
    store(&mut panel.factors[0], _mm512_castps_si512(factors));
}

/// Blocks of a row that are walked before the next row's: what is kept of them stays in the
/// nearest cache.
const RUN: usize = 32;

#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn direct<B: SuperBlock>(
    group: &Group,
    x: &[ActivationQ8K],
    products_of: impl Fn(&B, &ActivationQ8K) -> __m512i,
    (factor, unit): (impl Fn(&B) -> [u8; 2], f32),
) -> __m512 {
    // Of four blocks: the sums of a quarter of their products in each quarter.
    let mut products = Kept::<Lanes<i32>, { RUN / 4 }>::new();
    let mut kept = Kept::<[u8; 2], RUN>::new();
    let mut sum = _mm512_setzero_ps();
    for (run, part) in x.chunks(RUN).enumerate() {
        let start = run * RUN * B::LEN;
        let bytes = (start, start + part.len() * B::LEN);
        for row in 0..ROWS {
            let stretch = group.stretch(row, bytes, x.len() * B::LEN);
            for (four, x) in part.chunks(4).enumerate() {
                stretch.fetch(4 * four * B::LEN, 4 * B::LEN);
                let mut parts = [_mm512_setzero_si512(); 4];
                for index in 0..4 {
                    let Some(x) = x.get(index) else { break };
                    let at = 4 * four + index;
                    // SAFETY: all blocks of a row are there; they have alignment 1 and no
                    // invalid bytes.
                    let block = unsafe { &*stretch.at.wrapping_add(at * B::LEN).cast::<B>() };
                    kept.keep(at, row, factor(block));
                    parts[index] = products_of(block, x);
                }
                let mut sums = Lanes([0; ROWS]);
                store(&mut sums, sum_in_quarters(parts));
                products.keep(four, row, sums);
            }
        }
        for (four, inputs) in part.chunks(4).enumerate() {
            group.fetch((four, part.len().div_ceil(4)), bytes, x.len() * B::LEN);
            // SAFETY: kept above for all rows.
            let products = sum_quarters(unsafe { products.all(four) });
            for (index, x) in inputs.iter().enumerate() {
                // SAFETY: as above.
                let factors = factors(unsafe { kept.all(4 * four + index) }, unit);
                let products = (products[index], products[index]);
                sum = finish::<false>(sum, products, (factors, factors), x);
            }
        }
    }
    sum
}
