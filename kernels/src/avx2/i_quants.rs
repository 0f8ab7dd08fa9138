//! IQ1, IQ2 and IQ3: the types whose weights are points of a grid, which are looked up in tables
//! in memory.

use core::arch::x86_64::*;

use super::gemv::BLOCKS;
use super::k_quants::sixteen;
use super::k_quants_low::{finish, tile};
use super::legacy_quants::widened;
use super::packed::{Addresses8, Avx2Product, EightRows, Panel8, SIDES, product};
use super::register::{Lanes8, ROWS, load, load_floats, store, sums_of_lanes, transpose};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::IQ2_XXS => product::<EightRows<Avx2Grid<BlockIQ2XXS>>>,
        DType::IQ2_XS => product::<EightRows<Avx2Grid<BlockIQ2XS>>>,
        DType::IQ2_S => product::<EightRows<Avx2Grid<BlockIQ2S>>>,
        DType::IQ3_XXS => product::<EightRows<Avx2Grid<BlockIQ3XXS>>>,
        DType::IQ3_S => product::<EightRows<Avx2Grid<BlockIQ3S>>>,
        DType::IQ1_S => product::<EightRows<Avx2Grid<BlockIQ1S>>>,
        DType::IQ1_M => product::<EightRows<Avx2Grid<BlockIQ1M>>>,
        _ => return None,
    })
}

/// A block of a row with one of an input.
///
/// # Safety
///
/// Of the function: the CPU has this table's instructions.
trait GridProducts: IQuantBlock {
    /// The sums of their products, one to a lane.
    unsafe fn products(&self, x: &ActivationQ8K) -> __m256i;
}

macro_rules! products {
    ($products:ident: $($block:ty),*) => {$(
        impl GridProducts for $block {
            #[inline(always)]
            unsafe fn products(&self, x: &ActivationQ8K) -> __m256i {
                // SAFETY: the caller's promise, handed on.
                unsafe { $products(self, x) }
            }
        }
    )*};
}

products!(of_points: BlockIQ2XXS, BlockIQ2XS, BlockIQ2S, BlockIQ3XXS, BlockIQ3S);
products!(of_weights: BlockIQ1S, BlockIQ1M);

/// In a panel a weight stands in sixteen bits, multiplied with the factor of its part.
struct Avx2Grid<B>(core::marker::PhantomData<B>);

impl<B: GridProducts> Avx2Product for Avx2Grid<B> {
    type Weights = B;
    type Inputs = ActivationQ8K;
    const ELEMENTS: usize = 256;
    type Prepared = ();

    #[inline(always)]
    unsafe fn prepare(_: &[ActivationQ8K]) {}

    #[inline(always)]
    unsafe fn unpack(rows: &Addresses8, _: usize, panel: &mut Panel8) {
        // SAFETY: the caller's promise, handed on.
        unsafe { unpack::<B>(rows, panel) }
    }

    #[inline(always)]
    unsafe fn sums(row: *const u8, x: &[ActivationQ8K], _: &[()]) -> __m256i {
        // SAFETY: the caller's promise, handed on.
        unsafe { sums::<B>(row, x) }
    }

    #[inline(always)]
    unsafe fn add(sum: __m256, products: __m256i, rows: &Addresses8, x: &ActivationQ8K) -> __m256 {
        // SAFETY: the caller's promise; a block has alignment 1 and no invalid bytes.
        unsafe {
            let factors = Lanes8(rows.map(|row| (*row.cast::<B>()).factor()));
            finish(sum, products, load_floats(&factors), x)
        }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panels: &[Panel8; SIDES],
        x: [&[ActivationQ8K]; N],
        sums: &mut [[__m256; SIDES]; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe { tile(panels, x, sums) }
    }
}

/// # Safety
///
/// A block is at each row's address; it has alignment 1 and no invalid bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack<B: IQuantBlock>(rows: &Addresses8, panel: &mut Panel8) {
    let mut all = [Integers256::ZERO; ROWS];
    for row in 0..ROWS {
        // SAFETY: the caller's promise.
        unsafe { &*rows[row].cast::<B>() }.integers(&mut all[row]);
        panel.factors[0].0[row] = all[row].scale;
    }
    for part in 0..16 {
        // In both halves of a lane.
        let twice = |scale: i16| i32::from(scale) * 0x1_0001;
        let scale = load(&Lanes8(all.each_ref().map(|all| twice(all.scales[part]))));
        let words = transpose(|row| {
            let quants: &[[i8; 16]] = all[row].quants.as_chunks().0;
            sixteen(&quants[part].map(i8::cast_unsigned), 0)
        });
        for word in 0..4 {
            let both = widened(words[word]);
            for odd in 0..2 {
                let weights = _mm256_mullo_epi16(both[odd], scale);
                store(&mut panel.quants[2 * (4 * part + word) + odd], weights);
            }
        }
    }
}

/// The sums of the products of up to eight blocks of a row with an input, one to a lane.
///
/// # Safety
///
/// So many blocks are at the row's address; they have alignment 1 and no invalid bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums<B: GridProducts>(row: *const u8, x: &[ActivationQ8K]) -> __m256i {
    let mut products = [_mm256_setzero_si256(); BLOCKS];
    for (n, x) in x.iter().enumerate().take(BLOCKS) {
        // SAFETY: the caller's promise.
        products[n] = unsafe { (*row.cast::<B>().wrapping_add(n)).products(x) };
    }
    sums_of_lanes(products)
}

/// By magnitudes, and activations with the weights' signs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn of_points(block: &impl SignedGrid, x: &ActivationQ8K) -> __m256i {
    /// Which byte of signs, and which bit of it, belongs to each weight of 32.
    const BYTES: [[u8; 8]; 4] = [[0; 8], [1; 8], [2; 8], [3; 8]];
    const BITS: [[u8; 8]; 4] = [[1, 2, 4, 8, 16, 32, 64, 128]; 4];
    let (mut points, mut signs) = (Integers256::ZERO, [0; 32]);
    block.points(&mut points, &mut signs);
    let (magnitudes, _) = points.quants.as_chunks::<32>();
    let (inputs, _) = x.quants.as_chunks::<32>();
    let (signs, _) = signs.as_chunks::<4>();
    let bits = load(&BITS);
    let mut products = _mm256_setzero_si256();
    for two in 0..8 {
        let four = _mm256_set1_epi32(i32::from_le_bytes(signs[two]));
        let own = _mm256_and_si256(_mm256_shuffle_epi8(four, load(&BYTES)), bits);
        let below = _mm256_cmpeq_epi8(own, bits);
        let x = _mm256_xor_si256(load(&inputs[two]), below);
        let signed = _mm256_sub_epi8(x, below);
        // Within 2 · 62 · 127.
        let pairs = _mm256_maddubs_epi16(load(&magnitudes[two]), signed);
        let scaled = _mm256_madd_epi16(pairs, two_scales(&points, two));
        products = _mm256_add_epi32(products, scaled);
    }
    products
}

/// By weights of which some are below zero.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn of_weights(block: &impl IQuantBlock, x: &ActivationQ8K) -> __m256i {
    let mut integers = Integers256::ZERO;
    block.integers(&mut integers);
    let (quants, _) = integers.quants.as_chunks::<32>();
    let (inputs, _) = x.quants.as_chunks::<32>();
    let mut products = _mm256_setzero_si256();
    for two in 0..8 {
        let quants = load(&quants[two]);
        let signed = _mm256_sign_epi8(load(&inputs[two]), quants);
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(quants), signed);
        let scaled = _mm256_madd_epi16(pairs, two_scales(&integers, two));
        products = _mm256_add_epi32(products, scaled);
    }
    products
}

/// The factors of two parts, each for a half.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn two_scales(integers: &Integers256, two: usize) -> __m256i {
    _mm256_set_m128i(
        _mm_set1_epi16(integers.scales[2 * two + 1]),
        _mm_set1_epi16(integers.scales[2 * two]),
    )
}
