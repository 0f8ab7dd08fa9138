//! Everything but matrix products and attention, against double precision.

use rillm::internals::kernels::{Pairing, Pointwise};

use super::{Random, tables};

const EPSILON: f64 = f32::EPSILON as f64;

/// Fails unless each number is within `bound` of its reference.
pub(super) fn near(what: &str, found: &[f32], expected: &[f64], bound: impl Fn(usize) -> f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let bound = bound(index);
        assert!(
            (f64::from(found) - expected).abs() <= bound,
            "{what}, element {index}: {found} is not {expected} ± {bound}"
        );
    }
}

pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

#[test]
fn dot_and_axpy() {
    for table in tables() {
        for len in 0..80 {
            let mut random = Random(len as u64);
            let (a, b) = (random.floats(len), random.floats(len));
            let products: Vec<f64> = wide(&a).iter().zip(wide(&b)).map(|(a, b)| a * b).collect();
            let size: f64 = products.iter().map(|p| p.abs()).sum();
            let bound = (len as f64 / 8.0 + 8.0) * EPSILON * size;
            let name = format!("{} dot {len}", table.isa);
            near(
                &name,
                &[(table.dot)(&a, &b)],
                &[products.iter().sum()],
                |_| bound,
            );

            let factor = random.float();
            let mut y = b.clone();
            (table.axpy)(factor, &a, &mut y);
            let expected: Vec<f64> = wide(&a)
                .iter()
                .zip(wide(&b))
                .map(|(a, b)| b + f64::from(factor) * a)
                .collect();
            near(&format!("{} axpy {len}", table.isa), &y, &expected, |_| {
                2.0 * EPSILON
            });

            // The same bits wherever an element stands.
            for cut in 0..len {
                let mut tail = b[cut..].to_vec();
                (table.axpy)(factor, &a[cut..], &mut tail);
                assert_eq!(tail, y[cut..], "{} axpy {len} from {cut}", table.isa);
            }
        }
        // Unequal lengths: what they have in common.
        let mut y = [1.0; 20];
        (table.axpy)(2.0, &[1.0; 13], &mut y);
        assert!(y[..13].iter().all(|&y| y == 3.0) && y[13..].iter().all(|&y| y == 1.0));
        let mut y = [1.0; 13];
        (table.axpy)(2.0, &[1.0; 20], &mut y);
        assert_eq!(y, [3.0; 13]);
        assert_eq!((table.dot)(&[1.0; 9], &[2.0; 30]), 18.0);
    }
}

#[test]
fn norms_are_within_a_millionth() {
    const TOLERANCE: f64 = 1e-6;
    for table in tables() {
        // An outlier a thousand times the rest, and a mean a thousand times the deviation.
        let rows = [1, 2, 7, 8, 9, 64, 100, 4096]
            .map(|len| [(len, 300.0, -4000.0), (len, 3000.0, 3000.0)]);
        for (len, mean, outlier) in rows.into_iter().flatten() {
            let mut random = Random(len as u64);
            let mut x: Vec<f32> = random.floats(len).iter().map(|x| x + mean).collect();
            x[len / 2] = outlier;
            let weight: Vec<f32> = random.floats(len).iter().map(|w| w + 2.0).collect();
            let bias = random.floats(len);
            let (wide_x, wide_weight) = (wide(&x), wide(&weight));
            let count = len as f64;

            let mut out = vec![f32::NAN; len];
            (table.rms_norm)(&x, &weight, 1e-5, &mut out);
            let mean_square = wide_x.iter().map(|x| x * x).sum::<f64>() / count;
            let root = (mean_square + f64::from(1e-5f32)).sqrt();
            let expected: Vec<f64> = wide_x
                .iter()
                .zip(&wide_weight)
                .map(|(x, w)| x / root * w)
                .collect();
            let bound = |i: usize| TOLERANCE * expected[i].abs();
            near(
                &format!("{} rms_norm {len}", table.isa),
                &out,
                &expected,
                bound,
            );

            let mean = wide_x.iter().sum::<f64>() / count;
            let variance = wide_x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            let root = (variance + f64::from(1e-5f32)).sqrt();
            for bias in [None, Some(&bias[..])] {
                (table.layer_norm)(&x, &weight, bias, 1e-5, &mut out);
                let expected: Vec<f64> = (0..len)
                    .map(|i| {
                        let bias = bias.map_or(0.0, |bias| f64::from(bias[i]));
                        (wide_x[i] - mean) / root * wide_weight[i] + bias
                    })
                    .collect();
                let bound = |i: usize| TOLERANCE * (expected[i].abs() + 1.0);
                near(
                    &format!("{} layer_norm {len}", table.isa),
                    &out,
                    &expected,
                    bound,
                );
            }
        }
    }
}

#[test]
fn softmax_sums_to_one() {
    for table in tables() {
        for len in [1, 2, 7, 8, 9, 100, 5000] {
            let mut x: Vec<f32> = Random(6).floats(len).iter().map(|x| x * 40.0).collect();
            if len > 2 {
                x[1] = f32::NEG_INFINITY;
            }
            let largest = wide(&x).into_iter().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = wide(&x).iter().map(|x| (x - largest).exp()).collect();
            let sum: f64 = powers.iter().sum();
            let expected: Vec<f64> = powers.iter().map(|p| p / sum).collect();
            (table.softmax)(&mut x);
            // The exponential of a rounded difference of up to 80.
            let bound = |i: usize| 80.0 * EPSILON * expected[i] + 1e-38;
            near(
                &format!("{} softmax {len}", table.isa),
                &x,
                &expected,
                bound,
            );
        }
        let mut masked = [f32::NEG_INFINITY; 11];
        (table.softmax)(&mut masked);
        assert_eq!(masked, [0.0; 11]);
        let mut faulty = [f32::NEG_INFINITY, f32::NAN];
        (table.softmax)(&mut faulty);
        assert!(faulty.iter().all(|x| x.is_nan()));
    }
}

#[test]
fn arithmetic_is_exact() {
    for table in tables() {
        for len in [0, 1, 7, 8, 9, 33] {
            let mut random = Random(7);
            let (a, b) = (random.floats(len), random.floats(len));
            let mut out = vec![f32::NAN; len];
            (table.add)(&a, &b, &mut out);
            assert!(
                out.iter()
                    .zip(a.iter().zip(&b))
                    .all(|(out, (a, b))| *out == a + b)
            );
            (table.mul)(&a, &b, &mut out);
            assert!(
                out.iter()
                    .zip(a.iter().zip(&b))
                    .all(|(out, (a, b))| *out == a * b)
            );
        }
    }
}

/// erf by its series of positive terms: (2/√π)·exp(−z²)·Σ 2ⁿz²ⁿ⁺¹/(2n+1)!!
fn erf(z: f64) -> f64 {
    let (mut term, mut sum, mut n) = (z, 0.0, 0.0);
    while term.abs() > 1e-18 * f64::abs(sum) {
        sum += term;
        n += 1.0;
        term *= 2.0 * z * z / (2.0 * n + 1.0);
    }
    if z.abs() > 6.0 {
        return z.signum();
    }
    core::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp() * sum
}

#[allow(clippy::approx_constant)] // as the reference rounds Laplace's
fn exact(function: Pointwise, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match function {
        Pointwise::Silu => x * sigmoid(x),
        Pointwise::GeluErf => 0.5 * x * (1.0 + erf(x / 2.0f64.sqrt())),
        Pointwise::GeluTanh => {
            let root = (2.0 / core::f64::consts::PI).sqrt();
            0.5 * x * (1.0 + (root * (x + 0.044_715 * x * x * x)).tanh())
        }
        Pointwise::Relu => x.max(0.0),
        Pointwise::Tanh => x.tanh(),
        Pointwise::Sigmoid => sigmoid(x),
        Pointwise::Softplus => x.exp().ln_1p(),
        Pointwise::EluPlusOne if x > 0.0 => x + 1.0,
        Pointwise::EluPlusOne | Pointwise::Exp => x.exp(),
        Pointwise::SquaredRelu => x.max(0.0).powi(2),
        Pointwise::QuickGelu => x * sigmoid(1.702 * x),
        Pointwise::ClippedGelu => exact(Pointwise::GeluErf, x).clamp(-10.0, 10.0),
        Pointwise::Relu6 => x.clamp(0.0, 6.0),
        Pointwise::LeakyRelu => x.max(0.01 * x),
        Pointwise::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Pointwise::Mish => x * x.exp().ln_1p().tanh(),
        Pointwise::Laplace => 0.5 * (1.0 + erf((x - 0.707_107) / (0.282_095 * 2.0f64.sqrt()))),
        Pointwise::RootSoftplus => x.exp().ln_1p().sqrt(),
        Pointwise::Identity => x,
        _ => panic!("a function without a reference"),
    }
}

#[test]
fn functions_match_their_definitions() {
    // A few units in the last place, the argument's own included where it is exponentiated.
    const TOLERANCE: f64 = 4e-7;
    let x: Vec<f32> = (-4000..=4000).map(|i| i as f32 * 0.0031).collect();
    for table in tables() {
        for &function in Pointwise::ALL {
            let name = format!("{} {function:?}", table.isa);
            let expected: Vec<f64> = wide(&x).iter().map(|&x| exact(function, x)).collect();
            let bound = |i: usize| TOLERANCE * (expected[i].abs() + f64::from(x[i].abs()).min(1.0));
            let mut found = x.clone();
            (table.pointwise)(function, &mut found);
            near(&name, &found, &expected, bound);
            // The same bits wherever an element stands.
            for cut in 1..9 {
                let mut part = x[cut..100].to_vec();
                (table.pointwise)(function, &mut part);
                assert_eq!(part, found[cut..100], "{name} from {cut}");
            }
        }
    }
}

#[test]
fn functions_have_their_limits() {
    let limits = [
        (Pointwise::Silu, 0.0, 1e30),
        (Pointwise::GeluErf, 0.0, 1e30),
        (Pointwise::GeluTanh, 0.0, 1e30),
        (Pointwise::Relu, 0.0, 1e30),
        (Pointwise::Tanh, -1.0, 1.0),
        (Pointwise::Sigmoid, 0.0, 1.0),
        (Pointwise::Softplus, 0.0, 1e30),
        (Pointwise::EluPlusOne, 0.0, 1e30),
        (Pointwise::Exp, 0.0, f32::INFINITY),
        (Pointwise::SquaredRelu, 0.0, f32::INFINITY),
        (Pointwise::QuickGelu, 0.0, 1e30),
        (Pointwise::ClippedGelu, 0.0, 10.0),
        (Pointwise::Relu6, 0.0, 6.0),
        (Pointwise::LeakyRelu, -1e28, 1e30),
        (Pointwise::HardSwish, 0.0, 1e30),
        (Pointwise::Mish, 0.0, 1e30),
        (Pointwise::Laplace, 0.0, 1.0),
        (Pointwise::RootSoftplus, 0.0, 1e15),
        (Pointwise::Identity, -1e30, 1e30),
    ];
    for table in tables() {
        for (function, below, above) in limits {
            let mut x = [-1e30, -1e30, 1e30, f32::NAN, 1.0];
            (table.pointwise)(function, &mut x);
            assert_eq!(x[..3], [below, below, above], "{} {function:?}", table.isa);
            assert!(x[3].is_nan(), "{} {function:?}", table.isa);
        }
        // From tables of the normal distribution: Φ(1) = 0.8413447461, Φ(−3) = 0.0013498980.
        let mut x = [1.0, -3.0];
        (table.pointwise)(Pointwise::GeluErf, &mut x);
        assert!(
            (f64::from(x[0]) - 0.841_344_746).abs() < 1e-7 && (x[1] + 0.004_049_694).abs() < 1e-9
        );
    }
}

#[test]
fn rotation_turns_the_right_pairs() {
    for table in tables() {
        for (len, pairs) in [(2, 1), (8, 4), (20, 6), (64, 32), (64, 16), (5, 0)] {
            let x = Random(pairs as u64).floats(len);
            let angles = Random(10).floats(pairs);
            let cos: Vec<f32> = angles.iter().map(|a| (a * 3.0).cos()).collect();
            let sin: Vec<f32> = angles.iter().map(|a| (a * 3.0).sin()).collect();
            for pairing in [Pairing::Interleaved, Pairing::Halves] {
                let mut found = x.clone();
                (table.rotate)(&mut found, &cos, &sin, pairing);
                let mut expected = wide(&x);
                for pair in 0..pairs {
                    let (a, b) = match pairing {
                        Pairing::Halves => (pair, pair + pairs),
                        _ => (2 * pair, 2 * pair + 1),
                    };
                    let (cos, sin) = (f64::from(cos[pair]), f64::from(sin[pair]));
                    let (first, second) = (f64::from(x[a]), f64::from(x[b]));
                    expected[a] = first * cos - second * sin;
                    expected[b] = first * sin + second * cos;
                }
                let name = format!("{} rotate {pairing:?} {len}", table.isa);
                near(&name, &found, &expected, |i| {
                    if i < 2 * pairs { 4.0 * EPSILON } else { 0.0 }
                });
            }
        }
    }
}

/// However many of a head's elements rotate, weaving its halves changes none of them.
#[test]
fn woven_heads_turn_as_unwoven_ones() {
    for kernels in tables() {
        let head = [0.5f32, -1.5, 2.0, 0.25, -3.0, 1.0, 0.75, -0.5, 4.0, -2.0];
        let half = head.len() / 2;
        let weave = |head: &[f32]| -> Vec<f32> {
            let pairs = head[..half].iter().zip(&head[half..]);
            pairs.flat_map(|(&a, &b)| [a, b]).collect()
        };
        for pairs in 0..=half {
            let angles = (0..pairs).map(|pair| 0.3 + pair as f32);
            let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
            let mut expected = head;
            (kernels.rotate)(&mut expected, &cos, &sin, Pairing::Halves);
            let mut woven = weave(&head);
            (kernels.rotate)(&mut woven, &cos, &sin, Pairing::Woven);
            assert_eq!(woven, weave(&expected), "{pairs} pairs on {}", kernels.isa);
        }
    }
}
