//! Q4_K, Q5_K and Q6_K: the types that most files are made of.
//!
//! Few inputs: four products of bytes add up to less than sixteen bits hold, so two registers of
//! them are packed into one, and one multiplication by pairs brings in the factors of their parts.

use core::arch::x86_64::*;

use super::block256::{Quarters, finish, products256, quarters, tile, walk};
use super::gemv::RowGroup;
use super::packed::{Addresses16, Avx512Product, Panel16, SixteenRows, Sums16, WIDTH, product};
use super::register::{
    CHOOSE, ROWS, halves, load, load_half, load_halves, load_quarter, load_twice, store,
    transpose_quarters, turned, turned_half,
};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q4_K => product::<SixteenRows<BlockQ4K>>,
        DType::Q5_K => product::<SixteenRows<BlockQ5K>>,
        DType::Q6_K => product::<SixteenRows<BlockQ6K>>,
        _ => return None,
    })
}

products256!(
    BlockQ4K,
    tile::<8, 0, true>,
    |rows, panel| unpack_fours(rows, panel, |block: &BlockQ4K| (&block.quants, None)),
    |group, x| gemv_fours(group, x, |block, pair| q4_k_pair(block, pair))
);
products256!(
    BlockQ5K,
    tile::<8, 0, true>,
    |rows, panel| {
        unpack_fours(rows, panel, |block: &BlockQ5K| {
            (&block.quants, Some(&block.high))
        })
    },
    |group, x| gemv_fours(group, x, |block, pair| q5_k_pair(block, pair))
);
products256!(
    BlockQ6K,
    tile::<16, 32, false>,
    |rows, panel| unpack_q6_k(rows, panel),
    |group, x| gemv_q6_k(group, x)
);

/// Two neighbouring parts of a Q4_K block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q4_k_pair(block: &BlockQ4K, pair: usize) -> __m512i {
    let bytes: &[[u8; 32]] = block.quants.as_chunks().0;
    both_nibbles(&bytes[pair])
}

/// Two neighbouring parts of a Q5_K block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q5_k_pair(block: &BlockQ5K, pair: usize) -> __m512i {
    let bytes: &[[u8; 32]] = block.quants.as_chunks().0;
    let quants = both_nibbles(&bytes[pair]);
    let bit = |part: usize| _mm256_set1_epi8((1u8 << part).cast_signed());
    let first = _mm512_castsi256_si512(bit(2 * pair));
    let bits = _mm512_inserti64x4::<1>(first, bit(2 * pair + 1));
    let set = _mm512_test_epi8_mask(load_twice(&block.high), bits);
    _mm512_mask_add_epi8(quants, set, quants, _mm512_set1_epi8(16))
}

/// Low halves of 32 bytes, then their high halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn both_nibbles(bytes: &[u8; 32]) -> __m512i {
    let zero = _mm512_setzero_si512();
    let places = _mm512_inserti64x4::<1>(zero, _mm256_set1_epi16(4));
    let bytes = _mm512_srlv_epi16(load_twice(bytes), places);
    _mm512_and_si512(bytes, _mm512_set1_epi8(15))
}

/// What a Q4_K and a Q5_K block begin with.
type KQuantHeader = [u8; 16];

const _: () = {
    assert!(core::mem::offset_of!(BlockQ4K, scale) == 0);
    assert!(core::mem::offset_of!(BlockQ4K, scales) == 4);
    assert!(core::mem::offset_of!(BlockQ5K, scale) == 0);
    assert!(core::mem::offset_of!(BlockQ5K, scales) == 4);
};

/// What the headers of sixteen blocks say, a row's in each lane.
struct Headers {
    factor: __m512,
    min_factor: __m512,
    /// Scales of six bits, four parts' to a lane.
    scales: [__m512i; 2],
    /// Minima, likewise.
    mins: [__m512i; 2],
}

/// Scales of six bits: four low and the two high bits of four others in each byte (see
/// [`scales_and_mins`]).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn headers<'a>(of: impl Fn(usize) -> &'a KQuantHeader) -> Headers {
    let [halves, s0, s1, s2] = transpose_quarters(|row| load_quarter(of(row)));
    let (six, four, two) = (
        _mm512_set1_epi8(0x3f),
        _mm512_set1_epi8(0x0f),
        _mm512_set1_epi8(0x30),
    );
    let high = |bits: __m512i, s: __m512i| {
        let top = _mm512_and_si512(_mm512_srli_epi32::<2>(s), two);
        _mm512_or_si512(_mm512_and_si512(bits, four), top)
    };
    Headers {
        factor: _mm512_cvtph_ps(_mm512_cvtepi32_epi16(halves)),
        min_factor: _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(halves))),
        scales: [_mm512_and_si512(s0, six), high(s2, s0)],
        mins: [
            _mm512_and_si512(s1, six),
            high(_mm512_srli_epi32::<4>(s2), s1),
        ],
    }
}

/// Writes what sixteen blocks' headers say but their scales, which are handed back.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn header(rows: &Addresses16, panel: &mut Panel16) -> [__m512i; 2] {
    let headers = headers(|row| {
        // SAFETY: a block of either type is at each row's address and begins so.
        unsafe { &*rows[row].cast::<KQuantHeader>() }
    });
    for (half, mut word) in headers.mins.into_iter().enumerate() {
        for pair in 0..2 {
            let first = _mm512_and_si512(word, _mm512_set1_epi32(0xff));
            let second = _mm512_and_si512(word, _mm512_set1_epi32(0xff00));
            let both = _mm512_or_si512(first, _mm512_slli_epi32::<8>(second));
            store(&mut panel.mins[2 * half + pair], both);
            word = _mm512_srli_epi32::<16>(word);
        }
    }
    store(&mut panel.factors[0], _mm512_castps_si512(headers.factor));
    store(
        &mut panel.min_factor,
        _mm512_castps_si512(headers.min_factor),
    );
    headers.scales
}

/// `quants` finds a block's four low bits, and where the fifth ones are, if it has them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_fours<'a, B: Block256 + 'a>(
    rows: &Addresses16,
    panel: &mut Panel16,
    quants: impl Fn(&'a B) -> (&'a [u8; 128], Option<&'a [u8; 32]>),
) {
    let scales = header(rows, panel);
    for (half, mut word) in scales.into_iter().enumerate() {
        for part in 0..4 {
            let scale = _mm512_and_si512(word, _mm512_set1_epi32(0xff));
            store(&mut panel.scales[4 * half + part], scale);
            word = _mm512_srli_epi32::<8>(word);
        }
    }
    // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
    let of = |row: usize| quants(unsafe { &*rows[row].cast::<B>() });
    let fifths = match of(0) {
        (_, Some(_)) => turned_half(|row| of(row).1.unwrap_or(&[0; 32])),
        _ => [_mm512_setzero_si512(); 8],
    };
    let fifth = |place: usize, part: usize| match part {
        // Bit `part` of each byte to the fifth.
        0..4 => _mm512_sll_epi16(fifths[place], _mm_cvtsi32_si128(4 - part as i32)),
        _ => _mm512_srl_epi16(fifths[place], _mm_cvtsi32_si128(part as i32 - 4)),
    };
    for half in 0..2 {
        let words = turned(|row| &of(row).0.as_chunks().0[half]);
        for at in 0..ROWS {
            let (part, place) = (4 * half + at / 8 * 2, at % 8);
            let both = [words[at], _mm512_srli_epi16::<4>(words[at])];
            for which in 0..2 {
                let (four, part) = (_mm512_set1_epi8(0x0f), part + which);
                let quants = match of(0) {
                    (_, Some(_)) => {
                        let fifth = fifth(place, part);
                        let five = _mm512_ternarylogic_epi32::<CHOOSE>(four, both[which], fifth);
                        _mm512_and_si512(five, _mm512_set1_epi8(0x1f))
                    }
                    _ => _mm512_and_si512(both[which], four),
                };
                store(&mut panel.quants[8 * part + place], quants);
            }
        }
    }
}

/// Shuffles that bring bytes of a header to where the packed dots of four parts want them as
/// words: those of its first scales, and those that hold the low bits of the others.
const SPREAD: [[u8; 64]; 2] = {
    let mut masks = [[0x80; 64]; 2];
    let mut at = 0;
    while at < 64 {
        let part = at / 32 + at % 16 / 8 * 2;
        masks[0][at] = 4 + part as u8;
        masks[1][at] = 12 + part as u8;
        at += 2;
    }
    masks
};

/// The products of a block with their scales, to be summed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn fours_products<B>(
    (block, header): (&B, &KQuantHeader),
    x: &Quarters,
    quants: impl Fn(&B, usize) -> __m512i,
) -> __m512i {
    let header = _mm512_broadcast_i32x4(load_quarter(header));
    let first = _mm512_shuffle_epi8(header, load(&SPREAD[0]));
    let low = _mm512_shuffle_epi8(header, load(&SPREAD[1]));
    // Four bits of the one, the other's in the place above.
    let (four, six) = (_mm512_set1_epi16(0x0f), _mm512_set1_epi16(0x3f));
    let second = _mm512_ternarylogic_epi32::<CHOOSE>(four, low, _mm512_srli_epi16::<2>(first));
    let scales = [_mm512_and_si512(first, six), _mm512_and_si512(second, six)];
    let mut products = _mm512_setzero_si512();
    for half in 0..2 {
        let zero = _mm512_setzero_si512();
        let (a, b) = (2 * half, 2 * half + 1);
        // At most 4 · 31 · 127: sixteen bits hold it.
        let a = _mm512_dpbusd_epi32(zero, quants(block, a), x[a]);
        let b = _mm512_dpbusd_epi32(zero, quants(block, b), x[b]);
        products = _mm512_dpwssd_epi32(products, _mm512_packs_epi32(a, b), scales[half]);
    }
    products
}

#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn gemv_fours<B: Block256>(
    group: &RowGroup,
    x: &[ActivationQ8K],
    quants: impl Fn(&B, usize) -> __m512i,
) -> __m512 {
    walk(
        group,
        x,
        |x| quarters(x),
        |block: &B, x| {
            // SAFETY: a block of either type begins with a header, of alignment 1.
            let header = unsafe { &*(&raw const *block).cast::<KQuantHeader>() };
            (fours_products((block, header), x, &quants), *header, ())
        },
        |sum, products, (kept, _), x| {
            let headers = headers(|row| &kept[row]);
            let mins = mins_products(headers.mins, x);
            let factors = (headers.factor, headers.min_factor);
            finish::<true>(sum, (products, mins), factors, x)
        },
    )
}

/// Σ min · (sum of a part's activations), minima being four to a lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn mins_products(mins: [__m512i; 2], x: &ActivationQ8K) -> __m512i {
    let mut products = _mm512_setzero_si512();
    for half in 0..2 {
        for odd in 0..2 {
            // Every second byte: as words, the minima of two parts two apart.
            let pair = match odd {
                0 => mins[half],
                _ => _mm512_srli_epi16::<8>(mins[half]),
            };
            let pair = _mm512_and_si512(pair, _mm512_set1_epi16(0xff));
            // 32 activations' sum fits in sixteen bits.
            let [a, b] = [4 * half + odd, 4 * half + odd + 2];
            let sixteen = |at: usize| i16::from_le_bytes(x.sums[at]);
            let a = sixteen(2 * a) + sixteen(2 * a + 1);
            let b = sixteen(2 * b) + sixteen(2 * b + 1);
            let sums = i32::from(a.cast_unsigned()) | i32::from(b) << 16;
            products = _mm512_dpwssd_epi32(products, pair, _mm512_set1_epi32(sums));
        }
    }
    products
}

/// 128 neighbouring weights of a Q6_K block, with a zero point of 32.
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
    [
        with_high(low, _mm512_sllv_epi16(high, left)),
        with_high(_mm512_srli_epi16::<4>(low), _mm512_srlv_epi16(high, right)),
    ]
}

/// Four bits of each byte, and two of another in the places above.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn with_high(low: __m512i, high: __m512i) -> __m512i {
    let both = _mm512_ternarylogic_epi32::<CHOOSE>(_mm512_set1_epi8(0x0f), low, high);
    _mm512_and_si512(both, _mm512_set1_epi8(0x3f))
}

/// Sixteen Q6_K blocks; weights keep their zero point of 32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_q6_k(rows: &Addresses16, panel: &mut Panel16) {
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
    }
    let factors = halves(|row| block(row).scale);
    store(&mut panel.factors[0], _mm512_castps_si512(factors));
    let high = turned(|row| &block(row).high);
    for half in 0..2 {
        let low = turned(|row| &block(row).low.as_chunks().0[half]);
        for eight in 0..4 {
            for at in 0..8 {
                let (low, high) = (low[eight % 2 * 8 + at], high[8 * half + at]);
                let quants = match eight {
                    0 => with_high(low, _mm512_slli_epi16::<4>(high)),
                    1 => with_high(low, _mm512_slli_epi16::<2>(high)),
                    2 => with_high(_mm512_srli_epi16::<4>(low), high),
                    _ => with_high(_mm512_srli_epi16::<4>(low), _mm512_srli_epi16::<2>(high)),
                };
                store(&mut panel.quants[32 * half + 8 * eight + at], quants);
            }
        }
    }
}

/// The products of a block with their scales, to be summed; also of the activations' sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q6_k_products(block: &BlockQ6K, (x, sums): &(Quarters, __m256i)) -> __m512i {
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
    let scales = _mm256_cvtepi8_epi16(load_quarter(&block.scales));
    // What 32 too much in each weight comes to.
    let excess = _mm256_madd_epi16(scales, *sums);
    let excess = _mm256_slli_epi32::<5>(excess);
    let start = _mm256_sub_epi32(_mm256_setzero_si256(), excess);
    let mut products = _mm512_zextsi256_si512(start);
    for half in 0..2 {
        let (at, quants) = (2 * half, q6_k_half(block, half));
        let zero = _mm512_setzero_si512();
        // At most 4 · 63 · 127: sixteen bits hold it.
        let first = _mm512_dpbusd_epi32(zero, quants[0], x[at]);
        let second = _mm512_dpbusd_epi32(zero, quants[1], x[at + 1]);
        let dots = _mm512_packs_epi32(first, second);
        let scales = _mm512_castsi256_si512(scales);
        let scale = _mm512_permutexvar_epi16(load(&PLACES[half]), scales);
        products = _mm512_dpwssd_epi32(products, dots, scale);
    }
    products
}

#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn gemv_q6_k(group: &RowGroup, x: &[ActivationQ8K]) -> __m512 {
    walk(
        group,
        x,
        |x| (quarters(x), load_half(&x.sums)),
        |block: &BlockQ6K, x| (q6_k_products(block, x), (), block.scale),
        |sum, products, (_, factors), x| {
            let factors = load_halves(factors);
            finish::<false>(sum, (products, products), (factors, factors), x)
        },
    )
}
