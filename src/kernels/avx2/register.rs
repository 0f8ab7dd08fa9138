//! Loads, stores and sums of one register.

use core::arch::x86_64::*;

/// Floats in a register.
pub(super) const LANES: usize = 8;

/// Any 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load<T: Copy>(from: &T) -> __m256i {
    const { assert!(size_of::<T>() == 32) }
    // SAFETY: the reference is to 32 readable bytes; the load wants no alignment.
    unsafe { _mm256_loadu_si256((&raw const *from).cast()) }
}

/// Any 16 bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_half<T: Copy>(from: &T) -> __m128i {
    const { assert!(size_of::<T>() == 16) }
    // SAFETY: the reference is to 16 readable bytes; the load wants no alignment.
    unsafe { _mm_loadu_si128((&raw const *from).cast()) }
}

/// Any 32 bytes, as floats.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_floats<T: Copy>(from: &T) -> __m256 {
    _mm256_castsi256_ps(load(from))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_floats(to: &mut [f32; LANES], value: __m256) {
    // SAFETY: the reference is to 32 writable bytes; the store wants no alignment.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store<T: Copy>(to: &mut T, value: __m256i) {
    const { assert!(size_of::<T>() == 32) }
    // SAFETY: the reference is to 32 writable bytes; the store wants no alignment.
    unsafe { _mm256_storeu_si256((&raw mut *to).cast(), value) }
}

/// Up to eight floats, the rest zero.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_tail(from: &[f32]) -> __m256 {
    let mut padded = [0.0; LANES];
    for (padded, from) in padded.iter_mut().zip(from) {
        *padded = *from;
    }
    load_floats(&padded)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_tail(to: &mut [f32], value: __m256) {
    let mut padded = [0.0; LANES];
    store_floats(&mut padded, value);
    for (to, padded) in to.iter_mut().zip(padded) {
        *to = padded;
    }
}

/// The sum of eight floats, halving: one fixed order.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum(value: __m256) -> f32 {
    let low = _mm256_castps256_ps128(value);
    let quarter = _mm_add_ps(low, _mm256_extractf128_ps::<1>(value));
    let pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
}

/// A half-precision scale in every lane.
///
/// Every lane, although products of two scales could be formed in one: a lone half is loaded
/// by an instruction that keeps the rest of an old register, and waits for it.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) fn spread_half(bytes: [u8; 2]) -> __m256 {
    _mm256_cvtph_ps(_mm_set1_epi16(i16::from_le_bytes(bytes)))
}

/// exp(x) for x ≤ 0, to two units in the last place; zero below −87.3, NaN for NaN.
///
/// x = n·ln 2 + r, and a polynomial for exp(r): Taylor's to the seventh power, whose remainder
/// on |r| ≤ ln 2 / 2 is below 6·10⁻⁹.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn exp_below_one(x: __m256) -> __m256 {
    const LOWEST: f32 = -87.3;
    // ln 2 in two parts, the first short enough for n times it to be exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // With x second, NaN comes through.
    let clamped = _mm256_max_ps(_mm256_set1_ps(LOWEST), x);
    let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_ps(
        clamped,
        _mm256_set1_ps(core::f32::consts::LOG2_E),
    ));
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN_2_HIGH), clamped);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN_2_LOW), r);
    let mut power = _mm256_set1_ps(1.0 / 5040.0);
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        power = _mm256_fmadd_ps(power, r, _mm256_set1_ps(factor));
    }
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    let scale = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent));
    let underflow = _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(LOWEST));
    _mm256_andnot_ps(underflow, _mm256_mul_ps(power, scale))
}
