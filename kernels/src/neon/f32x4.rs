//! Four floats as one.

use core::arch::aarch64::{vld1q_f32, vst1q_f32};

use super::intrinsics::*;
use super::register::from_halves;
use crate::generic::{self, F32xN};
use crate::{Attend, Running, Wkv};

/// exp(x) for x ≤ 0, to two units in the last place; zero below −87.3, NaN for NaN.
///
/// x = n·ln 2 + r, and a polynomial for exp(r): Taylor's to the seventh power, whose remainder
/// on |r| ≤ ln 2 / 2 is below 6·10⁻⁹.
#[inline(always)]
fn exp_below_one(x: float32x4_t) -> float32x4_t {
    const LOWEST: f32 = -87.3;
    // ln 2 in two parts, the first short enough for n times it to be exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // NaN comes through.
    let clamped = vmaxq_f32(vdupq_n_f32(LOWEST), x);
    let n = vrndnq_f32(vmulq_n_f32(clamped, core::f32::consts::LOG2_E));
    let r = vfmsq_f32(clamped, n, vdupq_n_f32(LN_2_HIGH));
    let r = vfmsq_f32(r, n, vdupq_n_f32(LN_2_LOW));
    let mut power = vdupq_n_f32(1.0 / 5040.0);
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        power = vfmaq_f32(vdupq_n_f32(factor), power, r);
    }
    let exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    let scale = vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent));
    let underflow = vcltq_f32(x, vdupq_n_f32(LOWEST));
    vbslq_f32(underflow, vdupq_n_f32(0.0), vmulq_f32(power, scale))
}

#[derive(Clone, Copy)]
struct NeonF32x4(float32x4_t);

impl F32xN for NeonF32x4 {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        NeonF32x4(vdupq_n_f32(x))
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; the load wants no alignment.
        NeonF32x4(unsafe { vld1q_f32(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise; the store wants no alignment.
        unsafe { vst1q_f32(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        let bytes = unsafe { from.cast::<u64>().read_unaligned() };
        NeonF32x4(from_halves(vcreate_u16(bytes)))
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        let bytes = unsafe { from.cast::<u32>().read_unaligned() };
        let halves = vmovl_s8(vcreate_s8(bytes.into()));
        NeonF32x4(vcvtq_f32_s32(vmovl_s16(vget_low_s16(halves))))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        NeonF32x4(vaddq_f32(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        NeonF32x4(vsubq_f32(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        NeonF32x4(vmulq_f32(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        NeonF32x4(vdivq_f32(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        NeonF32x4(vfmaq_f32(term.0, self.0, factor.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // Of a number and NaN the number.
        NeonF32x4(vmaxnmq_f32(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn exp_below_one(self) -> Self {
        NeonF32x4(exp_below_one(self.0))
    }
    #[inline(always)]
    unsafe fn minus_abs(self) -> Self {
        NeonF32x4(vnegq_f32(vabsq_f32(self.0)))
    }
    #[inline(always)]
    unsafe fn with_sign(self, other: Self) -> Self {
        NeonF32x4(vbslq_f32(vdupq_n_u32(1 << 31), other.0, self.0))
    }
    #[inline(always)]
    unsafe fn biased(self, bias: Self) -> Self {
        let least = vdupq_n_f32(f32::NEG_INFINITY);
        let hidden = vceqq_f32(bias.0, least);
        NeonF32x4(vbslq_f32(hidden, least, vaddq_f32(self.0, bias.0)))
    }
    #[inline(always)]
    unsafe fn where_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        NeonF32x4(vbslq_f32(vcltq_f32(self.0, other.0), then.0, otherwise.0))
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        vmaxnmvq_f32(self.0)
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let pairs = vpaddq_f32(self.0, self.0);
        vgetq_lane_f32::<0>(vpaddq_f32(pairs, pairs))
    }
}

generic::attend_parts!(NeonF32x4);

/// Four registers of keys or values side by side: the sums of six queries take 24 of the 32 that
/// there are.
pub(super) fn attend(
    call: &Attend<'_>,
    scores: &mut [f32],
    running: &mut [Running],
    out: &mut [f32],
) {
    // SAFETY: the register is what any CPU of this target has.
    unsafe { generic::attend::<NeonF32x4, 4>(call, scores, running, out) }
}

pub(super) fn wkv(call: Wkv<'_>) {
    // SAFETY: as above.
    unsafe { generic::wkv::<NeonF32x4>(call) }
}

pub(super) fn tanh(x: &mut [f32]) {
    // SAFETY: as above.
    unsafe { generic::tanh::<NeonF32x4, 4>(x) }
}
