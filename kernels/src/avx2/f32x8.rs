//! Eight floats as one.

use core::arch::x86_64::*;

use super::register::{self, lanes_below};
use crate::generic::{self, F32xN, MaskedF32xN};
use crate::{Attend, LinearAttend, Running, Wkv};

#[derive(Clone, Copy)]
struct F32x8(__m256);

// Blocks of one line: each says what the trait's `Safety` section does.
impl F32xN for F32x8 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))) })
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_div_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_fmadd_ps(self.0, factor.0, term.0) })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn exp_below_one(self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { register::exp_below_one(self.0) })
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller promises both squares.
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for i in 0..8 {
                rows[i] = _mm256_loadu_ps(from.add(i * from_stride));
            }
            // Pairs of rows by turns, then of pairs, then of halves.
            let mut pairs = rows;
            for i in (0..8).step_by(2) {
                pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
                pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
            }
            let mut fours = pairs;
            for i in (0..8).step_by(4) {
                fours[i] = _mm256_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
                fours[i + 1] = _mm256_shuffle_ps::<0xee>(pairs[i], pairs[i + 2]);
                fours[i + 2] = _mm256_shuffle_ps::<0x44>(pairs[i + 1], pairs[i + 3]);
                fours[i + 3] = _mm256_shuffle_ps::<0xee>(pairs[i + 1], pairs[i + 3]);
            }
            for i in 0..4 {
                let low = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
                let high = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
                _mm256_storeu_ps(to.add(i * to_stride), low);
                _mm256_storeu_ps(to.add((i + 4) * to_stride), high);
            }
        }
    }
    #[inline(always)]
    unsafe fn minus_abs(self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe { _mm256_or_ps(self.0, _mm256_set1_ps(-0.0)) })
    }
    #[inline(always)]
    unsafe fn with_sign(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe {
            let sign = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(sign, self.0), _mm256_and_ps(sign, other.0))
        })
    }
    #[inline(always)]
    unsafe fn biased(self, bias: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe {
            let least = _mm256_set1_ps(f32::NEG_INFINITY);
            let hidden = _mm256_cmp_ps::<_CMP_EQ_OQ>(bias.0, least);
            _mm256_blendv_ps(_mm256_add_ps(self.0, bias.0), least, hidden)
        })
    }
    #[inline(always)]
    unsafe fn where_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x8(unsafe {
            let less = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0);
            _mm256_blendv_ps(otherwise.0, then.0, less)
        })
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm256_castps256_ps128(self.0);
            let quarter = _mm_max_ps(low, _mm256_extractf128_ps::<1>(self.0));
            let pair = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
            _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)))
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { register::sum(self.0) }
    }
}

impl MaskedF32xN for F32x8 {
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller's promise; the mask leaves out the other lanes.
        F32x8(unsafe { _mm256_maskload_ps(from, lanes_below(count)) })
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: as above.
        unsafe { _mm256_maskstore_ps(to, lanes_below(count), self.0) }
    }
}

generic::attend_parts!(F32x8, "avx2,fma,f16c");

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn attend(
    call: &Attend<'_>,
    scores: &mut [f32],
    running: &mut [Running],
    out: &mut [f32],
) {
    // SAFETY: this function has the instructions.
    unsafe { generic::attend::<F32x8, 2>(call, scores, running, out) }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn wkv(call: Wkv<'_>) {
    // SAFETY: this function has the instructions.
    unsafe { generic::wkv::<F32x8>(call) }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn tanh(x: &mut [f32]) {
    // SAFETY: this function has the instructions.
    unsafe { generic::tanh::<F32x8, 8>(x) }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn linear_attend(call: LinearAttend<'_, '_>) {
    for row in call.rows {
        // SAFETY: this function has the instructions.
        unsafe { generic::linear_attend_row::<F32x8>(call.state, row) }
    }
}
