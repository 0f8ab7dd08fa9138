//! Sums and element-wise arithmetic on rows of floats.

use core::arch::x86_64::*;

use super::register::{
    LANES, exp_below_one, load_floats, load_half, load_tail, store_floats, store_tail, sum,
};
use crate::Pointwise;
use crate::scalar::pointwise::ERROR_SERIES;

/// Σ a·b in two registers of partial sums; a ragged end is filled with zeros.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_tail) = a[..len].as_chunks::<LANES>();
    let (b, b_tail) = b[..len].as_chunks::<LANES>();
    let mut sums = [_mm256_setzero_ps(); 2];
    let (a_pairs, a_last) = a.as_chunks::<2>();
    let (b_pairs, b_last) = b.as_chunks::<2>();
    for (a, b) in a_pairs.iter().zip(b_pairs) {
        for n in 0..2 {
            sums[n] = _mm256_fmadd_ps(load_floats(&a[n]), load_floats(&b[n]), sums[n]);
        }
    }
    for (a, b) in a_last.iter().zip(b_last) {
        sums[0] = _mm256_fmadd_ps(load_floats(a), load_floats(b), sums[0]);
    }
    if !a_tail.is_empty() {
        sums[1] = _mm256_fmadd_ps(load_tail(a_tail), load_tail(b_tail), sums[1]);
    }
    sum(_mm256_add_ps(sums[0], sums[1]))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    let len = x.len().min(y.len());
    let (x, x_tail) = x[..len].as_chunks::<LANES>();
    let (y, y_tail) = y[..len].as_chunks_mut::<LANES>();
    let factor = _mm256_set1_ps(a);
    for (y, x) in y.iter_mut().zip(x) {
        let sum = _mm256_fmadd_ps(factor, load_floats(x), load_floats(y));
        store_floats(y, sum);
    }
    for (y, x) in y_tail.iter_mut().zip(x_tail) {
        *y = a.mul_add(*x, *y);
    }
}

/// The squares are added in double precision, as in the scalar version.
#[target_feature(enable = "avx2,fma")]
pub(super) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut sums = [_mm256_setzero_pd(); 2];
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut square = |x: __m256| {
        let low = _mm256_cvtps_pd(_mm256_castps256_ps128(x));
        let high = _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(x));
        sums[0] = _mm256_fmadd_pd(low, low, sums[0]);
        sums[1] = _mm256_fmadd_pd(high, high, sums[1]);
    };
    for x in chunks {
        square(load_floats(x));
    }
    square(load_tail(tail));
    let mut lanes = [0.0f64; 4];
    // SAFETY: the array is 32 writable bytes; the store wants no alignment.
    unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), _mm256_add_pd(sums[0], sums[1])) };
    let squares: f64 = lanes.iter().sum();
    let mean_square = squares / x.len() as f64;
    let inverse = (1.0 / (mean_square + f64::from(epsilon)).sqrt()) as f32;
    for (out, (x, weight)) in out.iter_mut().zip(x.iter().zip(weight)) {
        *out = x * inverse * weight;
    }
}

/// Applies a function in place; `false` if there is no vector version of it.
#[target_feature(enable = "avx2,fma")]
pub(super) fn pointwise(function: Pointwise, x: &mut [f32]) -> bool {
    let (chunks, tail) = x.as_chunks_mut::<LANES>();
    for x in chunks {
        let Some(value) = apply(function, load_floats(x)) else {
            return false;
        };
        store_floats(x, value);
    }
    match apply(function, load_tail(tail)) {
        Some(value) => store_tail(tail, value),
        None => return false,
    }
    true
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn apply(function: Pointwise, x: __m256) -> Option<__m256> {
    match function {
        Pointwise::Silu => Some(_mm256_mul_ps(x, sigmoid(x))),
        Pointwise::Sigmoid => Some(sigmoid(x)),
        Pointwise::Exp => Some(exp(x)),
        Pointwise::GeluErf => Some(gelu_erf(x)),
        Pointwise::GeluTanh => {
            const TWICE_ROOT: f32 = 1.595_769_2; // 2·√(2/π)
            let square = _mm256_mul_ps(x, x);
            let factor = _mm256_fmadd_ps(
                _mm256_set1_ps(TWICE_ROOT * 0.044_715),
                square,
                _mm256_set1_ps(TWICE_ROOT),
            );
            Some(_mm256_mul_ps(x, sigmoid(_mm256_mul_ps(x, factor))))
        }
        Pointwise::ClippedGelu => {
            // With the result second, NaN comes through.
            Some(_mm256_min_ps(_mm256_set1_ps(10.0), gelu_erf(x)))
        }
        Pointwise::QuickGelu => {
            let scaled = _mm256_mul_ps(_mm256_set1_ps(1.702), x);
            Some(_mm256_mul_ps(x, sigmoid(scaled)))
        }
        Pointwise::Softplus => Some(softplus(x)),
        _ => None,
    }
}

/// x · Φ(x) = x · erfc(−x/√2) / 2, as the scalar function has it: erfc(z) is exp(−z²) t and a
/// series in 2t − 1, where t = 1/(1 + z/2).
#[inline]
#[target_feature(enable = "avx2,fma")]
fn gelu_erf(x: __m256) -> __m256 {
    let half = _mm256_set1_ps(0.5);
    let one = _mm256_set1_ps(1.0);
    // Far out nothing is left of the tail. With |x| second, NaN comes through.
    let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), x);
    let size = _mm256_min_ps(_mm256_set1_ps(20.0), size);
    let quarter = _mm256_set1_ps(0.5 * core::f32::consts::FRAC_1_SQRT_2);
    let t = _mm256_div_ps(one, _mm256_fmadd_ps(size, quarter, one));
    let s = _mm256_fmsub_ps(_mm256_set1_ps(2.0), t, one);
    let mut series = _mm256_setzero_ps();
    for term in ERROR_SERIES.iter().rev() {
        series = _mm256_fmadd_ps(series, s, _mm256_set1_ps(*term as f32));
    }
    // What rounding takes from the square would be seen in the exponential of a large one.
    let square = _mm256_mul_ps(size, size);
    let lost = _mm256_fmsub_ps(size, size, square);
    let power = exp_below_one(_mm256_mul_ps(_mm256_set1_ps(-0.5), square));
    let power = _mm256_fnmadd_ps(_mm256_mul_ps(half, lost), power, power);
    let tail = _mm256_mul_ps(_mm256_mul_ps(half, power), _mm256_mul_ps(t, series));
    let below = _mm256_blendv_ps(_mm256_sub_ps(one, tail), tail, x);
    // −∞ times nothing is nothing.
    let none = _mm256_cmp_ps::<_CMP_EQ_OQ>(below, _mm256_setzero_ps());
    _mm256_andnot_ps(none, _mm256_mul_ps(x, below))
}

/// exp(x): decays, whose exponents are negative, at full speed, others one by one.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exp(x: __m256) -> __m256 {
    let zero = _mm256_setzero_ps();
    let above = _mm256_cmp_ps::<_CMP_GT_OQ>(x, zero);
    // With x second, NaN comes through.
    let below = exp_below_one(_mm256_min_ps(zero, x));
    if _mm256_movemask_ps(above) == 0 {
        return below;
    }
    let mut lanes = [0.0; LANES];
    store_floats(&mut lanes, x);
    for lane in &mut lanes {
        *lane = lane.exp();
    }
    _mm256_blendv_ps(below, load_floats(&lanes), above)
}

/// 1 / (1 + exp(−|x|)), or one minus that: the exponential never overflows.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn sigmoid(x: __m256) -> __m256 {
    let sign = _mm256_set1_ps(-0.0);
    let small = exp_below_one(_mm256_or_ps(x, sign));
    let numerator = _mm256_blendv_ps(_mm256_set1_ps(1.0), small, x);
    _mm256_div_ps(numerator, _mm256_add_ps(_mm256_set1_ps(1.0), small))
}

/// max(x, 0) + ln(1 + exp(−|x|)). With s = u / (2 + u), ln(1 + u) is 2 artanh(s), and s ≤ ⅓ for
/// u ≤ 1: eight terms of its series leave 2·10⁻⁹.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn softplus(x: __m256) -> __m256 {
    let small = exp_below_one(_mm256_or_ps(x, _mm256_set1_ps(-0.0)));
    let s = _mm256_div_ps(small, _mm256_add_ps(_mm256_set1_ps(2.0), small));
    let square = _mm256_mul_ps(s, s);
    let mut series = _mm256_set1_ps(2.0 / 15.0);
    for odd in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = _mm256_fmadd_ps(series, square, _mm256_set1_ps(2.0 / odd));
    }
    // With x second, NaN comes through.
    let above = _mm256_max_ps(_mm256_setzero_ps(), x);
    _mm256_fmadd_ps(s, series, above)
}

#[target_feature(enable = "avx2,f16c")]
pub(super) fn widen(halves: &[u8], out: &mut [f32]) {
    let (halves, _) = halves.as_chunks::<2>();
    let (eights, halves) = halves.as_chunks::<LANES>();
    let (whole, out) = out.as_chunks_mut::<LANES>();
    for (from, to) in eights.iter().zip(whole) {
        store_floats(to, _mm256_cvtph_ps(load_half(from)));
    }
    let mut padded = [[0; 2]; LANES];
    for (to, from) in padded.iter_mut().zip(halves) {
        *to = *from;
    }
    let mut floats = [0.0; LANES];
    store_floats(&mut floats, _mm256_cvtph_ps(load_half(&padded)));
    for (to, from) in out.iter_mut().zip(floats) {
        *to = from;
    }
}
