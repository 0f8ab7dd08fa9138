//! Sixteen floats as one.

use core::arch::x86_64::*;

use super::register;
use crate::generic::{self, F32xN, MaskedF32xN};
use crate::{Attend, Running, Wkv};

#[derive(Clone, Copy)]
pub(super) struct F32x16(__m512);

// Blocks of one line: each says what the trait's `Safety` section does.
impl F32xN for F32x16 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) })
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_div_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn exp_below_one(self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { register::exp_below_one(self.0) })
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller promises both squares.
        unsafe {
            let mut rows = [_mm512_setzero_ps(); 16];
            for i in 0..16 {
                rows[i] = _mm512_loadu_ps(from.add(i * from_stride));
            }
            // Pairs of rows by turns, then of pairs, then of quarters twice.
            let mut pairs = rows;
            for i in (0..16).step_by(2) {
                pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
                pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
            }
            let mut fours = pairs;
            for i in (0..16).step_by(4) {
                fours[i] = _mm512_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
                fours[i + 1] = _mm512_shuffle_ps::<0xee>(pairs[i], pairs[i + 2]);
                fours[i + 2] = _mm512_shuffle_ps::<0x44>(pairs[i + 1], pairs[i + 3]);
                fours[i + 3] = _mm512_shuffle_ps::<0xee>(pairs[i + 1], pairs[i + 3]);
            }
            for i in 0..4 {
                // Quarter q of each: elements 4q + i of four rows.
                let [a, b, c, d] = [fours[i], fours[i + 4], fours[i + 8], fours[i + 12]];
                let even = _mm512_shuffle_f32x4::<0x88>(a, b);
                let odd = _mm512_shuffle_f32x4::<0xdd>(a, b);
                let even_last = _mm512_shuffle_f32x4::<0x88>(c, d);
                let odd_last = _mm512_shuffle_f32x4::<0xdd>(c, d);
                let quarters = [
                    _mm512_shuffle_f32x4::<0x88>(even, even_last),
                    _mm512_shuffle_f32x4::<0x88>(odd, odd_last),
                    _mm512_shuffle_f32x4::<0xdd>(even, even_last),
                    _mm512_shuffle_f32x4::<0xdd>(odd, odd_last),
                ];
                for quarter in 0..4 {
                    _mm512_storeu_ps(to.add((4 * quarter + i) * to_stride), quarters[quarter]);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn minus_abs(self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe { _mm512_or_ps(self.0, _mm512_set1_ps(-0.0)) })
    }
    #[inline(always)]
    unsafe fn with_sign(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe {
            let sign = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(sign, self.0), _mm512_and_ps(sign, other.0))
        })
    }
    #[inline(always)]
    unsafe fn biased(self, bias: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe {
            let least = _mm512_set1_ps(f32::NEG_INFINITY);
            let hidden = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(bias.0, least);
            _mm512_mask_mov_ps(_mm512_add_ps(self.0, bias.0), hidden, least)
        })
    }
    #[inline(always)]
    unsafe fn where_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        // SAFETY: the caller's promise.
        F32x16(unsafe {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0);
            _mm512_mask_mov_ps(otherwise.0, less, then.0)
        })
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the caller's promise.
        unsafe {
            let half = _mm256_add_ps(
                _mm512_castps512_ps256(self.0),
                _mm512_extractf32x8_ps::<1>(self.0),
            );
            let low = _mm256_castps256_ps128(half);
            let quarter = _mm_add_ps(low, _mm256_extractf128_ps::<1>(half));
            let pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
        }
    }
}

impl MaskedF32xN for F32x16 {
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller's promise; the mask leaves out the other lanes.
        F32x16(unsafe { _mm512_maskz_loadu_ps(__mmask16::MAX >> (16 - count), from) })
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_ps(to, __mmask16::MAX >> (16 - count), self.0) }
    }
}

generic::attend_parts!(F32x16, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn attend(
    call: &Attend<'_>,
    scores: &mut [f32],
    running: &mut [Running],
    out: &mut [f32],
) {
    // SAFETY: this function has the instructions.
    unsafe { generic::attend::<F32x16, 4>(call, scores, running, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn wkv(call: Wkv<'_>) {
    // SAFETY: this function has the instructions.
    unsafe { generic::wkv::<F32x16>(call) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn tanh(x: &mut [f32]) {
    // SAFETY: this function has the instructions.
    unsafe { generic::tanh::<F32x16, 16>(x) }
}
