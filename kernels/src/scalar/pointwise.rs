//! Activation functions.

use crate::Pointwise;

pub(super) fn pointwise(function: Pointwise, x: &mut [f32]) {
    match function {
        Pointwise::Silu => each(x, silu),
        Pointwise::GeluErf => each(x, gelu_erf),
        Pointwise::GeluTanh => each(x, gelu_tanh),
        Pointwise::Relu => each(x, relu),
        Pointwise::Tanh => each(x, f32::tanh),
        Pointwise::Sigmoid => each(x, sigmoid),
        Pointwise::Softplus => each(x, softplus),
        Pointwise::EluPlusOne => each(x, elu_plus_one),
        Pointwise::Exp => each(x, f32::exp),
        Pointwise::SquaredRelu => each(x, |x| relu(x) * relu(x)),
        Pointwise::QuickGelu => each(x, |x| x * sigmoid(1.702 * x)),
        Pointwise::ClippedGelu => each(x, |x| at_most(10.0, gelu_erf(x))),
        Pointwise::Relu6 => each(x, |x| at_most(6.0, relu(x))),
        Pointwise::LeakyRelu => each(x, |x| if x < 0.0 { 0.01 * x } else { x }),
        Pointwise::HardSwish => each(x, |x| x * (at_most(6.0, relu(x + 3.0)) / 6.0)),
        Pointwise::Mish => each(x, |x| x * softplus(x).tanh()),
        Pointwise::Laplace => each(x, laplace),
        Pointwise::RootSoftplus => each(x, |x| softplus(x).sqrt()),
        Pointwise::Identity => {}
    }
}

fn each(x: &mut [f32], function: impl Fn(f32) -> f32) {
    for x in x {
        *x = function(*x);
    }
}

fn relu(x: f32) -> f32 {
    // Written so that NaN stays NaN.
    if x < 0.0 { 0.0 } else { x }
}

/// As relu does.
fn at_most(most: f32, x: f32) -> f32 {
    if x > most { most } else { x }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn silu(x: f32) -> f32 {
    x / (1.0 + (-x).exp())
}

fn elu_plus_one(x: f32) -> f32 {
    if x > 0.0 { x + 1.0 } else { x.exp() }
}

fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

/// (1 + tanh(u)) / 2 is sigmoid(2u), which does not cancel.
fn gelu_tanh(x: f32) -> f32 {
    const ROOT: f32 = 0.797_884_6; // √(2/π)
    x * sigmoid(2.0 * ROOT * (x + 0.044_715 * x * x * x))
}

fn gelu_erf(x: f32) -> f32 {
    let x = f64::from(x);
    let below = normal(x);
    if below == 0.0 {
        0.0
    } else {
        (x * below) as f32
    }
}

#[allow(clippy::approx_constant)] // as the reference rounds them
fn laplace(x: f32) -> f32 {
    const MEAN: f64 = 0.707_107;
    const DEVIATION: f64 = 0.282_095;
    normal((f64::from(x) - MEAN) / DEVIATION) as f32
}

/// Φ(x) = erfc(−x/√2) / 2: no cancellation for large negative x.
fn normal(x: f64) -> f64 {
    let tail = 0.5 * complementary_error(x.abs() * core::f64::consts::FRAC_1_SQRT_2);
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// erfc(z) for z ≥ 0, to 5·10⁻¹⁰ of its value (for z up to 2000, where it is long zero).
fn complementary_error(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.5 * z);
    let s = 2.0 * t - 1.0;
    let series = ERROR_SERIES
        .iter()
        .rev()
        .fold(0.0, |sum, term| sum * s + term);
    (-z * z).exp() * t * series
}

/// With t = 1/(1 + z/2), erfc(z) · exp(z²) / t is smooth on 0 < t ≤ 1; the coefficients, in
/// powers of 2t − 1, are a fit at Chebyshev nodes weighted for relative error.
pub(crate) const ERROR_SERIES: [f64; 14] = [
    5.107_913_527_230_133e-1,
    3.435_803_400_338_211e-1,
    1.397_360_354_545_337_5e-1,
    1.822_118_707_222_002e-2,
    -1.075_514_915_552_675e-2,
    -3.240_280_929_910_939_5e-3,
    1.544_190_135_791_725e-3,
    4.216_321_089_468_522e-4,
    -3.283_778_459_505_508_5e-4,
    -2.398_162_417_534_393e-5,
    6.793_716_961_637_404e-5,
    -8.497_447_623_467_372e-6,
    -8.592_803_363_356_16e-6,
    2.204_878_095_721_173_7e-6,
];
