//! The product of NVFP4, whose weights become floats, for a group's scale has no integer that would
//! fit. Otherwise it is the product of floats.

use core::arch::x86_64::*;

use rillm_formats::manifest::DType;

use super::float::{BLOCK, FloatRow, PAIR, Turned16};
use super::float_gemv::PairOfInputs;
use super::packed::product;
use super::register::{Lanes16, ROWS, load, load_floats};
use crate::MatMulFn;
use crate::quant::{Block, BlockNVFP4, FP4_VALUES, NVFP4_SCALES};

/// Columns of a group, which share a scale.
const GROUP: usize = 16;

/// Groups of a block of weights.
const GROUPS: usize = BlockNVFP4::ELEMENTS / GROUP;

/// What each quant means.
const VALUES: Lanes16<f32> = {
    let mut values = [0.0; ROWS];
    let mut quant = 0;
    while quant < ROWS {
        values[quant] = FP4_VALUES[quant] as f32;
        quant += 1;
    }
    Lanes16(values)
};

/// By how much a group's bytes are shifted for its weights in order.
const SHIFTS: Lanes16<u32> = Lanes16([0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4]);

/// The product, if it is of this type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    let product: MatMulFn = product::<Turned16<Avx512Nvfp4>>;
    (dtype == DType::NVFP4).then_some(product)
}

/// Weights of four bits, in groups with a scale each.
struct Avx512Nvfp4;

impl FloatRow for Avx512Nvfp4 {
    type Weights = BlockNVFP4;
    const ELEMENTS: usize = BlockNVFP4::ELEMENTS;
    // Whole blocks are there.
    #[inline(always)]
    unsafe fn sixteen_at(row: *const u8, column: usize, _: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { sixteen(&*block(row, column), column / GROUP % GROUPS) }
    }
    #[inline(always)]
    unsafe fn pair(weights: *const u8, x: &PairOfInputs) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { sums(weights, x, PAIR) }
    }
    #[inline(always)]
    unsafe fn last(weights: *const u8, x: &PairOfInputs, columns: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { sums(weights, x, columns) }
    }
}

/// The block of a row in which a column lies.
#[inline]
fn block(row: *const u8, column: usize) -> *const BlockNVFP4 {
    let block = row.cast::<BlockNVFP4>();
    block.wrapping_add(column / BlockNVFP4::ELEMENTS)
}

/// A group's weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn sixteen(block: &BlockNVFP4, group: usize) -> __m512 {
    let bytes = _mm_set1_epi64x(quants(block, group));
    let quants = _mm512_srlv_epi32(_mm512_cvtepu8_epi32(bytes), load(&SHIFTS));
    let scale = NVFP4_SCALES[usize::from(block.scales[group])];
    _mm512_mul_ps(values(quants), _mm512_set1_ps(scale))
}

/// A group's bytes.
#[inline]
fn quants(block: &BlockNVFP4, group: usize) -> i64 {
    i64::from_le_bytes(block.quants.as_chunks().0[group])
}

/// What the low four bits of each lane mean.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn values(quants: __m512i) -> __m512 {
    _mm512_permutexvar_ps(quants, load_floats(&VALUES))
}

/// The scales of up to four blocks, which are so many columns, group after group.
///
/// # Safety
///
/// There are these blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn scales(weights: *const u8, columns: usize) -> __m512 {
    let mut words = [0; 4];
    for at in 0..4 {
        let column = at * BlockNVFP4::ELEMENTS;
        if column < columns {
            // SAFETY: the caller's promise.
            words[at] = i32::from_le_bytes(unsafe { (*block(weights, column)).scales });
        }
    }
    let [a, b, c, d] = words;
    let bits = _mm_setr_epi32(a, b, c, d);
    // As half-precision numbers they are 256 times smaller; what would be the largest is zero.
    let numbers = _mm_cmpneq_epi8_mask(bits, _mm_set1_epi8(0x7f));
    let bits = _mm_and_si128(bits, _mm_set1_epi8(0x7f));
    let halves = _mm256_slli_epi16::<7>(_mm256_cvtepu8_epi16(_mm_maskz_mov_epi8(numbers, bits)));
    _mm512_mul_ps(_mm512_cvtph_ps(halves), _mm512_set1_ps(128.0))
}

/// A row's sums of up to two blocks of sums.
///
/// # Safety
///
/// There are so many weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn sums(weights: *const u8, x: &PairOfInputs, columns: usize) -> __m512 {
    let mut sums = _mm512_setzero_ps();
    // SAFETY: the caller's promise.
    unsafe {
        let scales = scales(weights, columns);
        for first in (0..BLOCK.min(columns)).step_by(GROUP) {
            let (second, group) = (first + BLOCK, first / GROUP);
            let mut bytes = [quants(&*block(weights, first), group % GROUPS), 0];
            if second < columns {
                bytes[1] = quants(&*block(weights, second), group % GROUPS);
            }
            let quants = _mm512_cvtepu8_epi32(_mm_set_epi64x(bytes[1], bytes[0]));
            let group = group as i32;
            let places = _mm512_inserti32x8::<1>(
                _mm512_set1_epi32(group),
                _mm256_set1_epi32(BLOCK as i32 / GROUP as i32 + group),
            );
            let scale = _mm512_permutexvar_ps(places, scales);
            for half in 0..2 {
                let values = match half {
                    0 => values(quants),
                    _ => values(_mm512_srli_epi32::<4>(quants)),
                };
                let weights = _mm512_mul_ps(values, scale);
                let x = load_floats(&x[2 * (first / GROUP) + half]);
                sums = _mm512_fmadd_ps(weights, x, sums);
            }
        }
    }
    sums
}
