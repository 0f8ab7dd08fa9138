//! Four floats as one, with the crate `wide`: the registers that every CPU of the target has.

use wide::{f32x4, i32x4, u32x4};

use crate::generic::{self as any_width, F32xN};
use crate::{Attend, Running, Wkv};

/// Floats in a register.
pub(super) const LANES: usize = 4;

/// The register with these bits.
#[inline(always)]
pub(super) fn from_bits(bits: u32x4) -> f32x4 {
    wide::bytemuck::cast(bits)
}

/// The bits of a register.
#[inline(always)]
pub(super) fn to_bits(value: f32x4) -> u32x4 {
    wide::bytemuck::cast(value)
}

/// Four 16-bit numbers, each in a word.
#[inline(always)]
pub(super) fn words(halves: &[[u8; 2]; LANES]) -> u32x4 {
    let word = |at: usize| u32::from(u16::from_le_bytes(halves[at]));
    u32x4::new([word(0), word(1), word(2), word(3)])
}

/// Half-precision numbers as floats, exactly.
///
/// Exponent and mantissa, moved to where a float has them, are 2⁻¹¹² of the number, subnormal
/// ones too; infinities and NaN get the exponent that marks them.
#[inline(always)]
pub(super) fn from_halves(halves: &[[u8; 2]; LANES]) -> f32x4 {
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    let bits = words(halves);
    let magnitude: i32x4 = wide::bytemuck::cast(bits & u32x4::splat(0x7fff));
    let special = magnitude.simd_gt(i32x4::splat(0x7bff));
    let special: u32x4 = wide::bytemuck::cast(special);
    let scaled = f32x4::splat(SCALE) * wide::bytemuck::cast::<i32x4, f32x4>(magnitude << 13u32);
    let sign = (bits & u32x4::splat(0x8000)) << 16u32;
    from_bits(to_bits(scaled) | (special & u32x4::splat(0x7f80_0000)) | sign)
}

/// exp(x) for x ≤ 0, to two units in the last place; zero below −87.3, NaN for NaN.
///
/// x = n·ln 2 + r, and a polynomial for exp(r): Taylor's to the seventh power, whose remainder
/// on |r| ≤ ln 2 / 2 is below 6·10⁻⁹.
#[inline(always)]
pub(super) fn exp_below_one(x: f32x4) -> f32x4 {
    const LOWEST: f32 = -87.3;
    // ln 2 in two parts, the first short enough for n times it to be exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5·2²³ rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let underflow = x.simd_lt(f32x4::splat(LOWEST));
    let clamped = underflow.select(f32x4::splat(LOWEST), x);
    let shifted = clamped * f32x4::splat(core::f32::consts::LOG2_E) + f32x4::splat(ROUND);
    let n = shifted - f32x4::splat(ROUND);
    let r = clamped - n * f32x4::splat(LN_2_HIGH);
    let r = r - n * f32x4::splat(LN_2_LOW);
    let mut power = f32x4::splat(1.0 / 5040.0);
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        power = power * r + f32x4::splat(factor);
    }
    // What lies above the integer's nine low bits is shifted out.
    let scale = from_bits((to_bits(shifted) + u32x4::splat(127)) << 23u32);
    underflow.select(f32x4::ZERO, power * scale)
}

/// The sum of four floats, halving: one fixed order.
#[inline(always)]
pub(super) fn sum(value: f32x4) -> f32 {
    let [a, b, c, d] = value.to_array();
    (a + c) + (b + d)
}

#[derive(Clone, Copy)]
struct PortableF32x4(f32x4);

impl F32xN for PortableF32x4 {
    const LANES: usize = LANES;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        PortableF32x4(f32x4::splat(x))
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        PortableF32x4(f32x4::new(unsafe {
            from.cast::<[f32; LANES]>().read_unaligned()
        }))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0.to_array()) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        PortableF32x4(from_halves(&unsafe {
            from.cast::<[[u8; 2]; LANES]>().read_unaligned()
        }))
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        let bytes = unsafe { from.cast::<[i8; LANES]>().read_unaligned() };
        let [a, b, c, d] = bytes;
        let words = [a.into(), b.into(), c.into(), d.into()];
        PortableF32x4(f32x4::from_i32x4(i32x4::new(words)))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        PortableF32x4(self.0 + other.0)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        PortableF32x4(self.0 - other.0)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        PortableF32x4(self.0 * other.0)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        PortableF32x4(self.0 / other.0)
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        PortableF32x4(self.0.mul_add(factor.0, term.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        PortableF32x4(self.0.max(other.0))
    }
    #[inline(always)]
    unsafe fn exp_below_one(self) -> Self {
        PortableF32x4(exp_below_one(self.0))
    }
    #[inline(always)]
    unsafe fn minus_abs(self) -> Self {
        PortableF32x4(self.0 | f32x4::splat(-0.0))
    }
    #[inline(always)]
    unsafe fn with_sign(self, other: Self) -> Self {
        let sign = f32x4::splat(-0.0);
        PortableF32x4(self.0.abs() | (sign & other.0))
    }
    #[inline(always)]
    unsafe fn biased(self, bias: Self) -> Self {
        let least = f32x4::splat(f32::NEG_INFINITY);
        let hidden = bias.0.simd_eq(least);
        PortableF32x4(hidden.select(least, self.0 + bias.0))
    }
    #[inline(always)]
    unsafe fn where_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        PortableF32x4(self.0.simd_lt(other.0).select(then.0, otherwise.0))
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        let [a, b, c, d] = self.0.to_array();
        a.max(c).max(b.max(d))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        sum(self.0)
    }
}

any_width::attend_parts!(PortableF32x4);

pub(super) fn attend(
    call: &Attend<'_>,
    scores: &mut [f32],
    running: &mut [Running],
    out: &mut [f32],
) {
    // SAFETY: the register is what any CPU has.
    unsafe { any_width::attend::<PortableF32x4, 2>(call, scores, running, out) }
}

pub(super) fn wkv(call: Wkv<'_>) {
    // SAFETY: the register is what any CPU has.
    unsafe { any_width::wkv::<PortableF32x4>(call) }
}

pub(super) fn tanh(x: &mut [f32]) {
    // SAFETY: the register is what any CPU has.
    unsafe { any_width::tanh::<PortableF32x4, LANES>(x) }
}
