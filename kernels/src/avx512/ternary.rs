//! TQ1_0 and TQ2_0: weights of −1, 0 and 1, stored with a zero point of one.

use core::arch::x86_64::*;

use super::block256::{finish, products256, tile_scaled, walk};
use super::gemv::RowGroup;
use super::k_quants_low::{moved_down, order_of_twos, twos};
use super::packed::{Addresses16, Avx512Product, Panel16, SixteenRows, Sums16, WIDTH, product};
use super::register::{
    ROWS, halves, load_half, load_halves, load_quarter, store, transpose, turned,
};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::TQ1_0 => product::<SixteenRows<BlockTQ1_0>>,
        DType::TQ2_0 => product::<SixteenRows<BlockTQ2_0>>,
        _ => return None,
    })
}

products256!(
    BlockTQ1_0,
    tile_scaled::<1, false>,
    |rows, panel| unpack_tq1_0(rows, panel),
    |group, x| trits_gemv::<_, _, 8>(
        (group, x),
        |x| tq1_0_input(x),
        |block: &BlockTQ1_0, input| (tq1_0_products(block, input), block.scale)
    )
);
products256!(
    BlockTQ2_0,
    tile_scaled::<1, false>,
    |rows, panel| unpack_tq2_0(rows, panel),
    |group, x| trits_gemv::<_, _, 0>(
        (group, x),
        |x| tq2_0_input(x),
        |block: &BlockTQ2_0, input| (tq2_0_products(block, input), block.scale)
    )
);

/// What `products` yields is 2 to the power of `BITS` times too much.
#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn trits_gemv<B: Block256, I, const BITS: u32>(
    (group, x): (&RowGroup, &[ActivationQ8K]),
    input: impl Fn(&ActivationQ8K) -> I,
    products: impl Fn(&B, &I) -> (__m512i, [u8; 2]),
) -> __m512 {
    walk(
        group,
        x,
        input,
        |block, input| {
            let (products, scale) = products(block, input);
            (products, (), scale)
        },
        |sum, products, (_, factors), x| {
            let factors = load_halves(factors);
            let products = _mm512_srai_epi32::<BITS>(products);
            finish::<false>(sum, (products, products), (factors, factors), x)
        },
    )
}

/// Writes the factors of sixteen blocks, which is all they have beside their weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_factors(panel: &mut Panel16, of: impl Fn(usize) -> [u8; 2]) {
    store(&mut panel.factors[0], _mm512_castps_si512(halves(of)));
}

/// A block's activations, in the order of a type's weights.
struct TernaryInput<const N: usize> {
    quants: [__m512i; N],
    /// What its products begin with, so that weights count as themselves.
    start: __m512i,
}

impl<const N: usize> TernaryInput<N> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn new(quants: [__m512i; N]) -> Self {
        let mut sum = _mm512_setzero_si512();
        for index in 0..N {
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), quants[index]);
        }
        let start = _mm512_sub_epi32(_mm512_setzero_si512(), sum);
        TernaryInput { quants, start }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tq2_0_input(x: &ActivationQ8K) -> TernaryInput<4> {
    TernaryInput::new(order_of_twos(x))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tq2_0_products(block: &BlockTQ2_0, x: &TernaryInput<4>) -> __m512i {
    let quants = twos(&block.quants);
    let mut products = x.start;
    for quarter in 0..4 {
        let quants = _mm512_and_si512(quants[quarter], _mm512_set1_epi8(3));
        products = _mm512_dpbusd_epi32(products, quants, x.quants[quarter]);
    }
    products
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_tq2_0(rows: &Addresses16, panel: &mut Panel16) {
    // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockTQ2_0>() };
    unpack_factors(panel, |row| block(row).scale);
    let words = turned(|row| &block(row).quants);
    for word in 0..ROWS {
        for pair in 0..4 {
            let quants = moved_down(words[word], pair);
            let quants = _mm512_and_si512(quants, _mm512_set1_epi8(3));
            store(
                &mut panel.quants[word / 8 * 32 + 8 * pair + word % 8],
                quants,
            );
        }
    }
}

/// What belongs to the same trit of all bytes. Where there is no weight, zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tq1_0_input(x: &ActivationQ8K) -> TernaryInput<5> {
    let (thirty_twos, _) = x.quants[..160].as_chunks::<32>();
    let (sixteens, _) = x.quants[160..240].as_chunks::<16>();
    let (fours, _) = x.quants[240..].as_chunks::<4>();
    let mut inputs = [_mm512_setzero_si512(); 5];
    for place in 0..5 {
        let input = _mm512_zextsi256_si512(load_half(&thirty_twos[place]));
        let input = _mm512_inserti32x4::<2>(input, load_quarter(&sixteens[place]));
        inputs[place] = match fours.get(place) {
            Some(four) => {
                let four = i32::from_le_bytes(four.map(i8::cast_unsigned));
                _mm512_inserti32x4::<3>(input, _mm_cvtsi32_si128(four))
            }
            None => input,
        };
    }
    TernaryInput::new(inputs)
}

/// The bytes of a TQ1_0 block that hold trits, then zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tq1_0_bytes(block: &BlockTQ1_0) -> __m512i {
    const WORDS: usize = 13;
    const _: () = {
        assert!(core::mem::offset_of!(BlockTQ1_0, quants) == 0);
        assert!(core::mem::offset_of!(BlockTQ1_0, high) == 48);
        assert!(core::mem::offset_of!(BlockTQ1_0, scale) == 4 * WORDS);
    };
    // SAFETY: the mask leaves out what is behind these fields.
    unsafe { _mm512_maskz_loadu_epi32((1 << WORDS) - 1, (&raw const *block).cast()) }
}

/// The trit at the top of each byte, which is a fraction of three: 3q / 256.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn top_trits(bytes: __m512i) -> __m512i {
    // A quarter, rounded up, leaves three quarters rounded down, of which a 64th is wanted.
    let zero = _mm512_setzero_si512();
    let quarter = _mm512_avg_epu8(_mm512_avg_epu8(bytes, zero), zero);
    let three = _mm512_sub_epi8(bytes, quarter);
    _mm512_and_si512(_mm512_srli_epi16::<6>(three), _mm512_set1_epi8(3))
}

/// The next trit to the top of each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn next_trits(bytes: __m512i) -> __m512i {
    _mm512_add_epi8(bytes, _mm512_add_epi8(bytes, bytes))
}

/// With q a byte and r what [`next_trits`] makes of it, its trit is (3q − r) / 256: no trit has to
/// be taken out.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tq1_0_products(block: &BlockTQ1_0, x: &TernaryInput<5>) -> __m512i {
    let mut bytes = tq1_0_bytes(block);
    let (mut before, mut after) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for place in 0..5 {
        before = _mm512_dpbusd_epi32(before, bytes, x.quants[place]);
        bytes = next_trits(bytes);
        after = _mm512_dpbusd_epi32(after, bytes, x.quants[place]);
    }
    let three = _mm512_add_epi32(before, _mm512_add_epi32(before, before));
    let start = _mm512_slli_epi32::<8>(x.start);
    _mm512_add_epi32(start, _mm512_sub_epi32(three, after))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_tq1_0(rows: &Addresses16, panel: &mut Panel16) {
    // SAFETY: as in `unpack_tq2_0`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockTQ1_0>() };
    unpack_factors(panel, |row| block(row).scale);
    let mut words = [_mm512_setzero_si512(); ROWS];
    for row in 0..ROWS {
        words[row] = tq1_0_bytes(block(row));
    }
    let mut words = transpose(words);
    for place in 0..5 {
        for word in 0..13 {
            let group = match word {
                0..8 => Some(8 * place + word),
                8..12 => Some(40 + 4 * place + word - 8),
                _ if place < 4 => Some(60 + place),
                _ => None,
            };
            if let Some(group) = group {
                store(&mut panel.quants[group], top_trits(words[word]));
            }
            words[word] = next_trits(words[word]);
        }
    }
}
