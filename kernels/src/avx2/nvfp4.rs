//! The product of NVFP4, whose weights become floats, for a group's scale has no integer that would
//! fit. Otherwise it is the product of floats.

use core::arch::x86_64::*;

use rillm_formats::manifest::DType;

use super::float::{Avx2Floats, Turned8};
use super::packed::product;
use super::register::load_half;
use crate::MatMulFn;
use crate::quant::{Block, BlockNVFP4, FP4_VALUES, NVFP4_SCALES};

/// The product, if it is of this type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    let product: MatMulFn = product::<Turned8<Avx2Nvfp4>>;
    (dtype == DType::NVFP4).then_some(product)
}

/// Weights of four bits, in groups of sixteen with a scale each.
struct Avx2Nvfp4;

impl Avx2Floats for Avx2Nvfp4 {
    type Weights = BlockNVFP4;
    const ELEMENTS: usize = BlockNVFP4::ELEMENTS;
    #[inline(always)]
    unsafe fn eight(row: *const u8, column: usize) -> __m256 {
        let block = row.cast::<BlockNVFP4>();
        let block = block.wrapping_add(column / BlockNVFP4::ELEMENTS);
        // SAFETY: the caller's promise.
        unsafe { eight(&*block, column % BlockNVFP4::ELEMENTS) }
    }
    // Whole blocks are there.
    #[inline(always)]
    unsafe fn some_of_eight(row: *const u8, column: usize, _: usize) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { Self::eight(row, column) }
    }
}

/// Eight weights of a block, from a multiple of them on: half of a group.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn eight(block: &BlockNVFP4, first: usize) -> __m256 {
    let (group, high) = (first / 16, first % 16 / 8 == 1);
    let bytes = i64::from_le_bytes(block.quants.as_chunks().0[group]);
    let bytes = _mm_cvtsi64_si128(if high { bytes >> 4 } else { bytes });
    let quants = _mm_and_si128(bytes, _mm_set1_epi8(15));
    let values = _mm_shuffle_epi8(load_half(&FP4_VALUES), quants);
    let values = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(values));
    let scale = NVFP4_SCALES[usize::from(block.scales[group])];
    _mm256_mul_ps(values, _mm256_set1_ps(scale))
}
