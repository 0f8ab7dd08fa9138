//! Uniform grids: which one fits a group of weights best, by squared error.
//!
//! Sums run in lanes, so that the compiler can keep them in registers side by side.

use super::encode::inverse;

const LANES: usize = 8;

/// Adding 1.5·2^23 rounds to the nearest integer, ties to even, without a call.
const ROUND: f32 = 12_582_912.0;

/// Sums over a group's weights x and quants q.
#[derive(Clone, Copy)]
struct Sums {
    /// Σ q
    q: f32,
    /// Σ q²
    qq: f32,
    /// Σ x·q
    xq: f32,
}

fn sum(lanes: [f32; LANES]) -> f32 {
    lanes.iter().sum()
}

/// Sums for the quants nearest to `(x − offset) · inverse`.
#[inline]
fn sums<const N: usize>(x: &[f32; N], inverse: f32, offset: f32, low: i8, high: i8) -> Sums {
    let (low, high) = (f32::from(low), f32::from(high));
    let (mut q, mut qq, mut xq) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for x in x.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let target = ((x[lane] - offset) * inverse).max(low).min(high);
            let quant = (target + ROUND) - ROUND;
            q[lane] += quant;
            qq[lane] += quant * quant;
            xq[lane] += x[lane] * quant;
        }
    }
    Sums {
        q: sum(q),
        qq: sum(qq),
        xq: sum(xq),
    }
}

/// Squared error of the quants nearest to `(x − offset) / scale`.
pub(super) fn errors<const N: usize>(
    x: &[f32; N],
    scale: f32,
    offset: f32,
    low: i8,
    high: i8,
) -> f32 {
    let (low, high, inverse) = (f32::from(low), f32::from(high), inverse(scale));
    let mut errors = [0.0; LANES];
    for x in x.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let target = ((x[lane] - offset) * inverse).max(low).min(high);
            let quant = (target + ROUND) - ROUND;
            let error = x[lane] - offset - scale * quant;
            errors[lane] += error * error;
        }
    }
    sum(errors)
}

/// The quants nearest to `(x − offset) / scale`.
pub(super) fn nearest<const N: usize>(
    x: &[f32; N],
    scale: f32,
    offset: f32,
    low: i8,
    high: i8,
) -> [i8; N] {
    let inverse = inverse(scale);
    x.map(|x| {
        let target = (x - offset) * inverse;
        // What is not a number becomes zero, then something within range.
        (target.round_ties_even() as i8).clamp(low, high)
    })
}

/// The scale of the best grid `scale · (low..=high)`. It may be negative: `low` has no mirror
/// image, and takes the weight of largest magnitude whichever its sign.
pub(super) fn symmetric<const N: usize>(x: &[f32; N], low: i8, high: i8) -> f32 {
    let extreme = x
        .iter()
        .fold(0.0f32, |a, &x| if x.abs() > a.abs() { x } else { a });
    let mut best = (0.0, 0.0);
    // The quant that the weight of largest magnitude is to have, in tenths and beyond the end:
    // a little clipping often pays.
    for step in -12..=12 {
        let end = f32::from(low) + 0.1 * step as f32;
        let mut inverse = end * inverse(extreme);
        for _ in 0..2 {
            let sums = sums(x, inverse, 0.0, low, high);
            // With its least-squares scale, a set of quants explains so much of Σ x².
            if sums.qq > 0.0 && sums.xq * sums.xq > best.0 * sums.qq {
                best = (sums.xq * sums.xq / sums.qq, sums.xq / sums.qq);
            }
            inverse = sums.qq / sums.xq;
            if !inverse.is_finite() {
                break;
            }
        }
    }
    best.1
}

/// Scale and offset of the best grid `scale · (0..=high) + offset`, the scale never negative.
/// `below`: the offset must not be above zero.
pub(super) fn affine<const N: usize>(x: &[f32; N], high: i8, below: bool) -> (f32, f32) {
    let least = x.iter().copied().fold(f32::INFINITY, f32::min);
    let least = if below { least.min(0.0) } else { least };
    let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (total, count) = (x.iter().sum::<f32>(), N as f32);
    let fit = |sums: Sums| {
        let determinant = count * sums.qq - sums.q * sums.q;
        let (mut scale, mut offset) = (0.0, total / count);
        if determinant > 0.0 {
            scale = (count * sums.xq - total * sums.q) / determinant;
            offset = (total - scale * sums.q) / count;
        }
        if below && offset > 0.0 {
            (scale, offset) = (sums.xq * inverse(sums.qq), 0.0);
        }
        (scale, offset)
    };
    let mut best = (f32::INFINITY, 0.0, least);
    let mut consider = |scale: f32, offset: f32| {
        let error = errors(x, scale, offset, 0, high);
        if scale >= 0.0 && error < best.0 {
            best = (error, scale, offset);
        }
    };
    consider((most - least) / f32::from(high), least);
    // How many steps the range is to have, in tenths around those there are.
    for step in -10..=10 {
        let steps = f32::from(high) + 0.1 * step as f32;
        let (scale, offset) = fit(sums(x, steps * inverse(most - least), least, 0, high));
        consider(scale, offset);
        let (scale, offset) = fit(sums(x, inverse(scale), offset, 0, high));
        consider(scale, offset);
    }
    (best.1, best.2)
}
