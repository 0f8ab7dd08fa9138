//! Loads, stores and sums of one register, and the steps of integer products.

use core::arch::aarch64::{vld1q_s8, vst1q_f32, vst1q_s8, vst1q_s32};
use core::arch::asm;

use super::intrinsics::*;

/// Weight rows worked on together: one per 32-bit lane.
pub(super) const ROWS: usize = 4;

/// Any 16 bytes.
#[inline(always)]
pub(super) fn load<T: Copy>(from: &T) -> int8x16_t {
    const { assert!(size_of::<T>() == 16) }
    // SAFETY: the reference is to 16 readable bytes; the load wants no alignment.
    unsafe { vld1q_s8((&raw const *from).cast()) }
}

/// Any 16 bytes, without signs.
#[inline(always)]
pub(super) fn load_unsigned<T: Copy>(from: &T) -> uint8x16_t {
    vreinterpretq_u8_s8(load(from))
}

/// Any 16 bytes, as 32-bit integers.
#[inline(always)]
pub(super) fn load_words<T: Copy>(from: &T) -> int32x4_t {
    vreinterpretq_s32_s8(load(from))
}

/// Any 16 bytes, as floats.
#[inline(always)]
pub(super) fn load_floats<T: Copy>(from: &T) -> float32x4_t {
    vreinterpretq_f32_s8(load(from))
}

/// A function of each element. What the library has for this is not inlined everywhere, and then
/// compiles to a loop through memory.
#[inline(always)]
pub(super) fn mapped<T: Copy, U: Copy, const N: usize>(of: [T; N], map: impl Fn(T) -> U) -> [U; N] {
    let mut all = [map(of[0]); N];
    for n in 1..N {
        all[n] = map(of[n]);
    }
    all
}

/// Four integers.
#[inline(always)]
pub(super) fn words(register: int32x4_t) -> [i32; ROWS] {
    let mut words = [0; ROWS];
    // SAFETY: the array is 16 writable bytes.
    unsafe { vst1q_s32(words.as_mut_ptr(), register) };
    words
}

/// Sixteen bytes.
#[inline(always)]
pub(super) fn bytes(register: int8x16_t) -> [i8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: the array is 16 writable bytes.
    unsafe { vst1q_s8(bytes.as_mut_ptr(), register) };
    bytes
}

/// Four floats.
#[inline(always)]
pub(super) fn floats(register: float32x4_t) -> [f32; ROWS] {
    let mut floats = [0.0; ROWS];
    // SAFETY: the array is 16 writable bytes.
    unsafe { vst1q_f32(floats.as_mut_ptr(), register) };
    floats
}

/// Half-precision numbers as floats, exactly. In assembly, for compilers know the type only of
/// late.
#[inline(always)]
pub(super) fn from_halves(halves: uint16x4_t) -> float32x4_t {
    let floats;
    // SAFETY: arithmetic on registers, with an instruction that every AArch64 CPU has.
    unsafe {
        asm!(
            "fcvtl {floats:v}.4s, {halves:v}.4h",
            halves = in(vreg) halves,
            floats = lateout(vreg) floats,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    floats
}

/// Half-precision numbers of four rows.
#[inline(always)]
pub(super) fn halves([a, b, c, d]: [[u8; 2]; ROWS]) -> float32x4_t {
    let halves = vdup_n_u16(u16::from_le_bytes(a));
    let halves = vset_lane_u16::<1>(u16::from_le_bytes(b), halves);
    let halves = vset_lane_u16::<2>(u16::from_le_bytes(c), halves);
    from_halves(vset_lane_u16::<3>(u16::from_le_bytes(d), halves))
}

/// The low halves of sixteen bytes, and their high halves.
#[inline(always)]
pub(super) fn nibbles(bytes: uint8x16_t) -> [uint8x16_t; 2] {
    [vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)]
}

/// Word k of register r → lane r of register k.
#[inline(always)]
pub(super) fn transpose([a, b, c, d]: [int32x4_t; ROWS]) -> [int32x4_t; ROWS] {
    let (ab, cd) = (vtrn1q_s32(a, b), vtrn1q_s32(c, d));
    let (ab_odd, cd_odd) = (vtrn2q_s32(a, b), vtrn2q_s32(c, d));
    let low = |a, b| vtrn1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b));
    let high = |a, b| vtrn2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b));
    [
        vreinterpretq_s32_s64(low(ab, cd)),
        vreinterpretq_s32_s64(low(ab_odd, cd_odd)),
        vreinterpretq_s32_s64(high(ab, cd)),
        vreinterpretq_s32_s64(high(ab_odd, cd_odd)),
    ]
}

/// The sums of four registers' lanes, one to a lane.
#[inline(always)]
pub(super) fn sums_of_lanes([a, b, c, d]: [int32x4_t; ROWS]) -> int32x4_t {
    vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))
}

/// How signed bytes are multiplied and their products added up.
pub(super) trait DotSigned {
    /// Whether four products are added to a sum of 32 bits at once.
    const FOURS: bool;
    /// Whether, of many inputs, two rows are multiplied with two of them at once.
    const PAIRS: bool = false;
}

/// By what every AArch64 CPU has: products of sixteen bits, two of which add up.
pub(super) struct Smull;

/// By the integer dot product. Its functions run only where the CPU has that.
pub(super) struct Sdot;

/// By products of matrices of two rows, and the dot product where there is but one input. Its
/// functions run only where the CPU has both.
pub(super) struct Smmla;

impl DotSigned for Smull {
    const FOURS: bool = false;
}

impl DotSigned for Sdot {
    const FOURS: bool = true;
}

impl DotSigned for Smmla {
    const FOURS: bool = true;
    const PAIRS: bool = true;
}

/// The first eight bytes of both, and the other eight.
#[inline(always)]
pub(super) fn eights(a: int8x16_t, b: int8x16_t) -> [int8x16_t; 2] {
    let (a, b) = (vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b));
    mapped([vtrn1q_s64(a, b), vtrn2q_s64(a, b)], vreinterpretq_s8_s64)
}

/// Products of two by sixteen bytes in four sums. With `SMALL` weights four products fit in
/// sixteen bits: they are within ±64.
#[inline(always)]
pub(super) fn products_of_two<D: DotSigned, const SMALL: bool>(
    weights: [int8x16_t; 2],
    x: [int8x16_t; 2],
) -> int32x4_t {
    if D::FOURS {
        let sums = add_fours(vdupq_n_s32(0), weights[0], x[0]);
        return add_fours(sums, weights[1], x[1]);
    }
    let mut first = low_products(weights[0], x[0]);
    first = add_high_products(first, weights[0], x[0]);
    if SMALL {
        first = add_low_products(first, weights[1], x[1]);
        return vpaddlq_s16(add_high_products(first, weights[1], x[1]));
    }
    let second = low_products(weights[1], x[1]);
    let second = add_high_products(second, weights[1], x[1]);
    vpadalq_s16(vpaddlq_s16(first), second)
}

/// Products of sixteen bytes in four sums.
#[inline(always)]
pub(super) fn products_of_one<D: DotSigned>(weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    match D::FOURS {
        true => add_fours(vdupq_n_s32(0), weights, x),
        // Two in each lane: within 2 · 128 · 127.
        false => {
            let products = low_products(weights, x);
            vpaddlq_s16(add_high_products(products, weights, x))
        }
    }
}

/// Products of the low eight bytes. In assembly, as what is added to them: the compiler would
/// rather widen bytes that have no sign, and multiply afterwards.
#[inline(always)]
fn low_products(weights: int8x16_t, x: int8x16_t) -> int16x8_t {
    let products;
    // SAFETY: arithmetic on registers, with an instruction that every AArch64 CPU has.
    unsafe {
        asm!(
            "smull {products:v}.8h, {weights:v}.8b, {x:v}.8b",
            weights = in(vreg) weights,
            x = in(vreg) x,
            products = lateout(vreg) products,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    products
}

/// sum + products of the low eight bytes.
#[inline(always)]
pub(super) fn add_low_products(mut sum: int16x8_t, weights: int8x16_t, x: int8x16_t) -> int16x8_t {
    // SAFETY: as above.
    unsafe {
        asm!(
            "smlal {sum:v}.8h, {weights:v}.8b, {x:v}.8b",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// sum + products of the high eight bytes.
#[inline(always)]
fn add_high_products(mut sum: int16x8_t, weights: int8x16_t, x: int8x16_t) -> int16x8_t {
    // SAFETY: as above.
    unsafe {
        asm!(
            "smlal2 {sum:v}.8h, {weights:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// sum + (products of bytes, added in fours). In assembly, for compilers do not have the
/// instruction yet; and as that says itself what it needs, one function serves with it and
/// without.
#[inline(always)]
pub(super) fn add_fours(mut sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: arithmetic on registers, with an instruction that is there: only `Fours` comes
    // here.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {weights:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The same with four bytes of x, those that stand at `FOUR`, in place of all sixteen.
#[inline(always)]
pub(super) fn add_fours_of<const FOUR: usize>(
    mut sum: int32x4_t,
    weights: int8x16_t,
    x: int8x16_t,
) -> int32x4_t {
    // SAFETY: as above.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {weights:v}.16b, {x:v}.4b[{four}]",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            four = const FOUR,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// sum + products of two rows of eight bytes with two of x: those of the first row come first. In
/// assembly as above.
#[inline(always)]
pub(super) fn add_two_by_two(mut sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: arithmetic on registers, with an instruction that is there: only `Smmla` comes here.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            "smmla {sum:v}.4s, {weights:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
