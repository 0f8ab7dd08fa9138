//! Q4_K, Q5_K and Q6_K: the types that most files are made of.
//!
//! One input against a row: four products of bytes add up to less than sixteen bits hold, so
//! two registers of them are packed into one, and one multiplication by pairs brings in the
//! factors of their parts.

use core::arch::x86_64::*;

use super::panel::{Panel, Rows, fetch_ahead, product};
use super::register::{
    ROWS, halves, load, load_floats, load_half, load_quarter, load_twice, store, sum_rows,
    transpose, transpose_quarters,
};
use super::super_blocks::{add_mins, behind, finish, tile};
use crate::kernels::{MatMul, MatMulFn};
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q4_K => q4_k,
        DType::Q5_K => q5_k,
        DType::Q6_K => q6_k,
        _ => return None,
    })
}

macro_rules! kernel {
    ($name:ident, $block:ty, $parts:literal, $mins:literal, $unpack:expr, $direct:expr) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        unsafe fn $name(call: &MatMul) {
            // SAFETY: the caller's promise, handed on; rows are whole blocks.
            unsafe {
                product::<$block, ActivationQ8K>(
                    call,
                    256,
                    |rows, _, panel| $unpack(rows, panel),
                    (
                        |panel, x, sums| tile::<$parts, $mins, _>(panel, x, sums),
                        |panel, x, sums| tile::<$parts, $mins, _>(panel, x, sums),
                        |panel, x, sums| tile::<$parts, $mins, _>(panel, x, sums),
                    ),
                    |rows, x, panel, sum| $direct(rows, x, panel, sum),
                )
            }
        }
    };
}

kernel!(
    q4_k,
    BlockQ4K,
    8,
    true,
    |rows, panel| unpack_fours(rows, panel, |block, half| q4_k_half(block, half)),
    |rows, x, panel, sum| direct_fours(rows, x, panel, sum, |block, half| q4_k_half(block, half))
);
kernel!(
    q5_k,
    BlockQ5K,
    8,
    true,
    |rows, panel| unpack_fours(rows, panel, |block, half| q5_k_half(block, half)),
    |rows, x, panel, sum| direct_fours(rows, x, panel, sum, |block, half| q5_k_half(block, half))
);
kernel!(q6_k, BlockQ6K, 16, false, unpack_q6_k, direct_q6_k);

/// Low and high halves of 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn nibbles(bytes: &[u8; 64]) -> [__m512i; 2] {
    let (bytes, mask) = (load(bytes), _mm512_set1_epi8(15));
    let high = _mm512_srli_epi16::<4>(bytes);
    [_mm512_and_si512(bytes, mask), _mm512_and_si512(high, mask)]
}

/// Half of a Q4_K block: parts 0 and 2 of its four, then parts 1 and 3.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q4_k_half(block: &BlockQ4K, half: usize) -> [__m512i; 2] {
    let bytes: &[[u8; 64]] = block.quants.as_chunks().0;
    nibbles(&bytes[half])
}

/// The same of a Q5_K block: bit p of byte i is the fifth of weight i of part p.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q5_k_half(block: &BlockQ5K, half: usize) -> [__m512i; 2] {
    let bytes: &[[u8; 64]] = block.quants.as_chunks().0;
    let high = load_twice(&block.high);
    let mut quants = nibbles(&bytes[half]);
    for (which, quants) in quants.iter_mut().enumerate() {
        let bit = |part: usize| _mm256_set1_epi8((1u8 << (4 * half + part)).cast_signed());
        let first = _mm512_castsi256_si512(bit(which));
        let bits = _mm512_inserti64x4::<1>(first, bit(which + 2));
        let set = _mm512_test_epi8_mask(high, bits);
        *quants = _mm512_mask_add_epi8(*quants, set, *quants, _mm512_set1_epi8(16));
    }
    quants
}

/// What a Q4_K and a Q5_K block begin with.
type Header = [u8; 16];

const _: () = {
    assert!(core::mem::offset_of!(BlockQ4K, scale) == 0);
    assert!(core::mem::offset_of!(BlockQ4K, scales) == 4);
    assert!(core::mem::offset_of!(BlockQ5K, scale) == 0);
    assert!(core::mem::offset_of!(BlockQ5K, scales) == 4);
};

/// Factors and minima of sixteen blocks, and their scales, four of each row to a lane. Scales of
/// six bits: four low and the two high bits of four others in each byte (see
/// [`scales_and_mins`]).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn header(rows: &Rows, panel: &mut Panel) -> [__m512i; 2] {
    let [halves, s0, s1, s2] = transpose_quarters(|row| {
        // SAFETY: a block of either type is at each row's address and begins so.
        load_quarter(unsafe { &*rows[row].cast::<Header>() })
    });
    let (six, four, two) = (
        _mm512_set1_epi8(0x3f),
        _mm512_set1_epi8(0x0f),
        _mm512_set1_epi8(0x30),
    );
    let high = |bits: __m512i, s: __m512i| {
        let top = _mm512_and_si512(_mm512_srli_epi32::<2>(s), two);
        _mm512_or_si512(_mm512_and_si512(bits, four), top)
    };
    let mins = [
        _mm512_and_si512(s1, six),
        high(_mm512_srli_epi32::<4>(s2), s1),
    ];
    for (half, mut word) in mins.into_iter().enumerate() {
        for part in 0..4 {
            let min = _mm512_and_si512(word, _mm512_set1_epi32(0xff));
            let pair = _mm512_or_si512(min, _mm512_slli_epi32::<16>(min));
            store(&mut panel.mins[4 * half + part], pair);
            word = _mm512_srli_epi32::<8>(word);
        }
    }
    let factor = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(halves));
    let min = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(halves)));
    store(&mut panel.factors[0], _mm512_castps_si512(factor));
    store(&mut panel.min_factor, _mm512_castps_si512(min));
    [_mm512_and_si512(s0, six), high(s2, s0)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_fours<B: SuperBlock>(
    rows: &Rows,
    panel: &mut Panel,
    quants: impl Fn(&B, usize) -> [__m512i; 2],
) {
    let scales = header(rows, panel);
    for (half, mut word) in scales.into_iter().enumerate() {
        for part in 0..4 {
            let scale = _mm512_and_si512(word, _mm512_set1_epi32(0xff));
            store(&mut panel.scales[4 * half + part], scale);
            word = _mm512_srli_epi32::<8>(word);
        }
    }
    for half in 0..2 {
        let mut even = [_mm512_setzero_si512(); ROWS];
        let mut odd = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
            [even[row], odd[row]] = quants(unsafe { &*rows[row].cast::<B>() }, half);
        }
        for (which, rows) in [even, odd].into_iter().enumerate() {
            let words = transpose(rows);
            for (group, word) in words.into_iter().enumerate() {
                let part = 4 * half + 2 * (group / 8) + which;
                store(&mut panel.quants[8 * part + group % 8], word);
            }
        }
    }
}

/// Shuffles that spread eight bytes: the first and third quarter of a register get four times
/// byte 4·half, then four times the next, each widened to sixteen bits; the others the two bytes
/// after those.
const SPREAD: [[u8; 64]; 2] = {
    let mut masks = [[0x80; 64]; 2];
    let mut at = 0;
    while at < 64 {
        let part = at / 32 * 2 + at % 16 / 8;
        masks[0][at] = part as u8;
        masks[1][at] = 4 + part as u8;
        at += 2;
    }
    masks
};

#[inline(never)] // so that the sixteen addresses are read where they are, not spilled
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn direct_fours<B: SuperBlock>(
    (rows, next): (&Rows, *const u8),
    x: &[ActivationQ8K],
    panel: &mut Panel,
    sum: &mut __m512,
    quants: impl Fn(&B, usize) -> [__m512i; 2],
) {
    let spread = [load(&SPREAD[0]), load(&SPREAD[1])];
    for (index, x) in x.iter().enumerate() {
        let rows = behind(rows, index * B::LEN);
        let [low, high] = header(&rows, panel);
        // The scales of rows 0, 1, 4, 5, 8 …, then of the others.
        let mut scales = [[0i64; 8]; 2];
        store(&mut scales[0], _mm512_unpacklo_epi32(low, high));
        store(&mut scales[1], _mm512_unpackhi_epi32(low, high));
        let parts: &[[i8; 32]] = x.quants.as_chunks().0;
        let input = |part: usize| {
            let first = _mm512_castsi256_si512(load_half(&parts[part]));
            _mm512_inserti64x4::<1>(first, load_half(&parts[part + 2]))
        };
        let inputs = [[input(0), input(1)], [input(4), input(5)]];
        let mut all = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            fetch_ahead(next, index, B::LEN, row);
            // SAFETY: as in `unpack_fours`; all blocks of a row are there.
            let block = unsafe { &*rows[row].cast::<B>() };
            let scales = _mm512_set1_epi64(scales[row % 4 / 2][row / 4 * 2 + row % 2]);
            let mut products = _mm512_setzero_si512();
            for half in 0..2 {
                let [even, odd] = quants(block, half);
                let zero = _mm512_setzero_si512();
                // At most 4 · 31 · 127: sixteen bits hold it.
                let even = _mm512_dpbusd_epi32(zero, even, inputs[half][0]);
                let odd = _mm512_dpbusd_epi32(zero, odd, inputs[half][1]);
                let dots = _mm512_packs_epi32(even, odd);
                let scale = _mm512_shuffle_epi8(scales, spread[half]);
                products = _mm512_dpwssd_epi32(products, dots, scale);
            }
            all[row] = products;
        }
        let products = sum_rows(all);
        let mins = add_mins(_mm512_setzero_si512(), &panel.mins, x);
        let factors = (
            load_floats(&panel.factors[0]),
            load_floats(&panel.min_factor),
        );
        *sum = finish::<true>(*sum, (products, mins), factors, x);
    }
}

/// 128 neighbouring weights of a Q6_K block, 32 above themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q6_k_half(block: &BlockQ6K, half: usize) -> [__m512i; 2] {
    let low: &[[u8; 64]] = block.low.as_chunks().0;
    let high: &[[u8; 32]] = block.high.as_chunks().0;
    let (low, high) = (load(&low[half]), load_twice(&high[half]));
    // Bits 0 and 1 for the first 32, 2 and 3 for the next, and so on, to bits 4 and 5.
    let two = _mm256_set1_epi16(2);
    let left = _mm512_inserti64x4::<1>(_mm512_set1_epi16(4), two);
    let right = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), two);
    let both = |low: __m512i, high: __m512i| {
        // Four bits of the one, the other's in the place above.
        const CHOOSE: i32 = 0xca;
        let both = _mm512_ternarylogic_epi32::<CHOOSE>(_mm512_set1_epi8(0x0f), low, high);
        _mm512_and_si512(both, _mm512_set1_epi8(0x3f))
    };
    [
        both(low, _mm512_sllv_epi16(high, left)),
        both(_mm512_srli_epi16::<4>(low), _mm512_srlv_epi16(high, right)),
    ]
}

/// Factors of sixteen Q6_K blocks, their scales, and 32 times those, negative, for what the
/// weights are stored above themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_q6_k(rows: &Rows, panel: &mut Panel) {
    // SAFETY: as in `unpack_fours`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ6K>() };
    let words = transpose_quarters(|row| load_quarter(&block(row).scales));
    for (four, word) in words.into_iter().enumerate() {
        let scales = [
            _mm512_slli_epi32::<24>(word),
            _mm512_slli_epi32::<16>(word),
            _mm512_slli_epi32::<8>(word),
            word,
        ];
        for (part, scale) in scales.into_iter().enumerate() {
            let scale = _mm512_srai_epi32::<24>(scale);
            store(&mut panel.scales[4 * four + part], scale);
        }
        let pairs = [word, _mm512_srli_epi32::<16>(word)];
        for (pair, bytes) in pairs.into_iter().enumerate() {
            let first = _mm512_and_si512(bytes, _mm512_set1_epi32(0xff));
            let second = _mm512_and_si512(bytes, _mm512_set1_epi32(0xff00));
            let both = _mm512_or_si512(first, _mm512_slli_epi32::<8>(second));
            let times_32 = _mm512_srai_epi16::<3>(_mm512_slli_epi16::<8>(both));
            let negative = _mm512_sub_epi16(_mm512_setzero_si512(), times_32);
            store(&mut panel.mins[2 * four + pair], negative);
        }
    }
    let factors = halves(|row| block(row).scale);
    store(&mut panel.factors[0], _mm512_castps_si512(factors));
    for half in 0..2 {
        let mut first = [_mm512_setzero_si512(); ROWS];
        let mut second = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            [first[row], second[row]] = q6_k_half(block(row), half);
        }
        for (which, rows) in [first, second].into_iter().enumerate() {
            let words = transpose(rows);
            for (group, word) in words.into_iter().enumerate() {
                store(&mut panel.quants[32 * half + 16 * which + group], word);
            }
        }
    }
}

#[inline(never)] // so that the sixteen addresses are read where they are, not spilled
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn direct_q6_k(
    (rows, next): (&Rows, *const u8),
    x: &[ActivationQ8K],
    _panel: &mut Panel,
    sum: &mut __m512,
) {
    // The scales of each quarter of a register of packed dots: four times one part's, four
    // times that of the part four further on.
    const PLACES: [[u16; 32]; 2] = {
        let mut places = [[0; 32]; 2];
        let mut at = 0;
        while at < 32 {
            let part = at / 8 + at % 8 / 4 * 4;
            places[0][at] = part as u16;
            places[1][at] = 8 + part as u16;
            at += 1;
        }
        places
    };
    let places = [load(&PLACES[0]), load(&PLACES[1])];
    for (index, x) in x.iter().enumerate() {
        // SAFETY: as in `unpack_fours`; all blocks of a row are there.
        let block = |row: usize| unsafe {
            let at = rows[row].wrapping_add(index * BlockQ6K::LEN);
            &*at.cast::<BlockQ6K>()
        };
        let inputs: &[[i8; 64]] = x.quants.as_chunks().0;
        // What 32 too much in each weight comes to is taken off beforehand: the dots are then
        // those of the weights themselves.
        let mut starts = [_mm512_setzero_si512(); 4];
        for quarter in 0..4 {
            let (zero, above) = (_mm512_setzero_si512(), _mm512_set1_epi8(32));
            let excess = _mm512_dpbusd_epi32(zero, above, load(&inputs[quarter]));
            starts[quarter] = _mm512_sub_epi32(zero, excess);
        }
        let mut all = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            fetch_ahead(next, index, BlockQ6K::LEN, row);
            let block = block(row);
            let scales = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(load_quarter(&block.scales)));
            let mut products = _mm512_setzero_si512();
            for half in 0..2 {
                let (at, quants) = (2 * half, q6_k_half(block, half));
                // At most 4 · 32 · 127: sixteen bits hold it.
                let first = _mm512_dpbusd_epi32(starts[at], quants[0], load(&inputs[at]));
                let second = _mm512_dpbusd_epi32(starts[at + 1], quants[1], load(&inputs[at + 1]));
                let dots = _mm512_packs_epi32(first, second);
                let scale = _mm512_permutexvar_epi16(places[half], scales);
                products = _mm512_dpwssd_epi32(products, dots, scale);
            }
            all[row] = products;
        }
        let products = sum_rows(all);
        let factors = halves(|row| block(row).scale);
        *sum = finish::<false>(*sum, (products, products), (factors, factors), x);
    }
}
