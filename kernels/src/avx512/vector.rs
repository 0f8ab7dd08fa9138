//! Functions of one number, and the norm that needs two passes.

use core::arch::x86_64::*;

use super::register::exp_below_one;
use crate::Pointwise;
use crate::scalar::pointwise::ERROR_SERIES;

/// Floats in a register.
const LANES: usize = 16;

/// Applies a function in place; `false` if there is no version of it here.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn pointwise(function: Pointwise, x: &mut [f32]) -> bool {
    let (chunks, tail) = x.as_chunks_mut::<LANES>();
    for x in chunks {
        // SAFETY: the array is sixteen readable floats; the load wants no alignment.
        let Some(value) = apply(function, unsafe { _mm512_loadu_ps(x.as_ptr()) }) else {
            return false;
        };
        // SAFETY: the same floats are writable.
        unsafe { _mm512_storeu_ps(x.as_mut_ptr(), value) };
    }
    let mask = (1 << tail.len()) - 1;
    // SAFETY: no lane is read but those of the slice.
    let rest = unsafe { _mm512_maskz_loadu_ps(mask, tail.as_ptr()) };
    let Some(rest) = apply(function, rest) else {
        return false;
    };
    // SAFETY: nor is any other written.
    unsafe { _mm512_mask_storeu_ps(tail.as_mut_ptr(), mask, rest) };
    true
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn apply(function: Pointwise, x: __m512) -> Option<__m512> {
    let zero = _mm512_setzero_ps();
    match function {
        Pointwise::Silu => Some(_mm512_mul_ps(x, sigmoid(x))),
        Pointwise::Sigmoid => Some(sigmoid(x)),
        Pointwise::Softplus => Some(softplus(x)),
        Pointwise::EluPlusOne => {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, zero);
            let below = exp_below_one(_mm512_min_ps(zero, x));
            let more = _mm512_add_ps(x, _mm512_set1_ps(1.0));
            Some(_mm512_mask_mov_ps(below, above, more))
        }
        Pointwise::GeluErf => Some(gelu_erf(x)),
        Pointwise::ClippedGelu => {
            // With the result second, NaN comes through.
            Some(_mm512_min_ps(_mm512_set1_ps(10.0), gelu_erf(x)))
        }
        Pointwise::QuickGelu => {
            let scaled = _mm512_mul_ps(_mm512_set1_ps(1.702), x);
            Some(_mm512_mul_ps(x, sigmoid(scaled)))
        }
        Pointwise::GeluTanh => {
            const TWICE_ROOT: f32 = 1.595_769_2; // 2·√(2/π)
            let square = _mm512_mul_ps(x, x);
            let factor = _mm512_fmadd_ps(
                _mm512_set1_ps(TWICE_ROOT * 0.044_715),
                square,
                _mm512_set1_ps(TWICE_ROOT),
            );
            Some(_mm512_mul_ps(x, sigmoid(_mm512_mul_ps(x, factor))))
        }
        _ => None,
    }
}

/// x · Φ(x) = x · erfc(−x/√2) / 2, as the scalar function has it: erfc(z) is exp(−z²) t and a
/// series in 2t − 1, where t = 1/(1 + z/2).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn gelu_erf(x: __m512) -> __m512 {
    let half = _mm512_set1_ps(0.5);
    let one = _mm512_set1_ps(1.0);
    // Far out nothing is left of the tail. With |x| second, NaN comes through.
    let size = _mm512_min_ps(_mm512_set1_ps(20.0), _mm512_abs_ps(x));
    let quarter = _mm512_set1_ps(0.5 * core::f32::consts::FRAC_1_SQRT_2);
    let t = _mm512_div_ps(one, _mm512_fmadd_ps(size, quarter, one));
    let s = _mm512_fmsub_ps(_mm512_set1_ps(2.0), t, one);
    let mut series = _mm512_setzero_ps();
    for term in ERROR_SERIES.iter().rev() {
        series = _mm512_fmadd_ps(series, s, _mm512_set1_ps(*term as f32));
    }
    // What rounding takes from the square would be seen in the exponential of a large one.
    let square = _mm512_mul_ps(size, size);
    let lost = _mm512_fmsub_ps(size, size, square);
    let power = exp_below_one(_mm512_mul_ps(_mm512_set1_ps(-0.5), square));
    let power = _mm512_fnmadd_ps(_mm512_mul_ps(half, lost), power, power);
    let tail = _mm512_mul_ps(_mm512_mul_ps(half, power), _mm512_mul_ps(t, series));
    let below = _mm512_movepi32_mask(_mm512_castps_si512(x));
    let below = _mm512_mask_mov_ps(_mm512_sub_ps(one, tail), below, tail);
    // −∞ times nothing is nothing.
    let some = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(below, _mm512_setzero_ps());
    _mm512_maskz_mul_ps(some, x, below)
}

/// 1 / (1 + exp(−|x|)), or one minus that: the exponential never overflows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn sigmoid(x: __m512) -> __m512 {
    let one = _mm512_set1_ps(1.0);
    let small = exp_below_one(_mm512_or_ps(x, _mm512_set1_ps(-0.0)));
    let below = _mm512_movepi32_mask(_mm512_castps_si512(x));
    let numerator = _mm512_mask_mov_ps(one, below, small);
    _mm512_div_ps(numerator, _mm512_add_ps(one, small))
}

/// max(x, 0) + ln(1 + exp(−|x|)). With s = u / (2 + u), ln(1 + u) is 2 artanh(s), and s ≤ ⅓ for
/// u ≤ 1: eight terms of its series leave 2·10⁻⁹.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn softplus(x: __m512) -> __m512 {
    let small = exp_below_one(_mm512_or_ps(x, _mm512_set1_ps(-0.0)));
    let s = _mm512_div_ps(small, _mm512_add_ps(_mm512_set1_ps(2.0), small));
    let square = _mm512_mul_ps(s, s);
    let mut series = _mm512_set1_ps(2.0 / 15.0);
    for odd in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = _mm512_fmadd_ps(series, square, _mm512_set1_ps(2.0 / odd));
    }
    // With x second, NaN comes through.
    let above = _mm512_max_ps(_mm512_setzero_ps(), x);
    _mm512_fmadd_ps(s, series, above)
}

/// Both statistics in double precision, as in the scalar version.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn layer_norm(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
) {
    let len = x.len() as f64;
    let mean = sums::<false>(x, 0.0) / len;
    let squares = sums::<true>(x, mean);
    let inverse = (1.0 / (squares / len + f64::from(epsilon)).sqrt()) as f32;
    let rows = out.iter_mut().zip(x.iter().zip(weight));
    match bias {
        Some(bias) => {
            for ((out, (x, weight)), bias) in rows.zip(bias) {
                *out = (f64::from(*x) - mean) as f32 * inverse * weight + bias;
            }
        }
        None => {
            for (out, (x, weight)) in rows {
                *out = (f64::from(*x) - mean) as f32 * inverse * weight;
            }
        }
    }
}

/// Σ x, or Σ (x − mean)².
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn sums<const SQUARES: bool>(x: &[f32], mean: f64) -> f64 {
    const TOGETHER: usize = 4;
    let mut sums = [_mm512_setzero_pd(); TOGETHER];
    let (chunks, tail) = x.as_chunks::<{ 8 * TOGETHER }>();
    for x in chunks {
        for n in 0..TOGETHER {
            // SAFETY: eight floats of the array from 8 n on; the load wants no alignment.
            let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * n)) };
            let x = _mm512_cvtps_pd(x);
            sums[n] = if SQUARES {
                let x = _mm512_sub_pd(x, _mm512_set1_pd(mean));
                _mm512_fmadd_pd(x, x, sums[n])
            } else {
                _mm512_add_pd(sums[n], x)
            };
        }
    }
    let [a, b, c, d] = sums;
    let mut sum = _mm512_reduce_add_pd(_mm512_add_pd(_mm512_add_pd(a, b), _mm512_add_pd(c, d)));
    for x in tail {
        let x = f64::from(*x) - mean;
        sum += if SQUARES { x * x } else { x };
    }
    sum
}
