//! Which scales and offsets fit weights best, by squared error.
//!
//! A group looks for the grid that fits it best: candidates around the one that just covers its
//! range, each with its least-squares scale (and offset). In a block of several groups these scales
//! are then rounded themselves, and the quants chosen once more for what is left of them. Sums run
//! in lanes, so that the compiler can keep them in registers side by side.

use half::f16;

const LANES: usize = 8;

/// Adding 1.5·2^23 rounds to the nearest integer, ties to even, without a call.
const ROUND: f32 = 12_582_912.0;

/// Sums over a group's weights x and quants q.
#[derive(Clone, Copy)]
struct QuantSums {
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
fn sums<const N: usize>(x: &[f32; N], inverse: f32, offset: f32, low: i8, high: i8) -> QuantSums {
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
    QuantSums {
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
    let extreme = extreme(x);
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
    let fit = |sums: QuantSums| {
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

/// The quants whose values come nearest, and the squared error. `values` rise.
pub(super) fn nearest_in_table<const N: usize>(
    weights: &[f32; N],
    scale: f32,
    values: &[i8; 16],
) -> (f32, [i8; N], f32, f32) {
    let inverse = inverse(scale);
    let (mut error, mut products, mut squares) = (0.0, 0.0, 0.0);
    let quants = core::array::from_fn(|i| {
        let target = weights[i] * inverse;
        // As many as have a boundary to the next one below the target.
        let above = |pair: &[i8]| target > (f32::from(pair[0]) + f32::from(pair[1])) * 0.5;
        let quant = values.windows(2).filter(|pair| above(pair)).count();
        let value = f32::from(values[quant]);
        error += (weights[i] - scale * value).powi(2);
        products += weights[i] * value;
        squares += value * value;
        quant as i8
    });
    (error, quants, products, squares)
}

/// The scale with which a table's values fit best.
pub(super) fn table_scale<const N: usize>(weights: &[f32; N], values: &[i8; 16]) -> f32 {
    let extreme = extreme(weights);
    let mut best = (f32::INFINITY, 0.0);
    // The largest weight on the table's either end, or a little within or beyond it.
    for end in [values[0], values[15]] {
        for step in -7i8..=7 {
            let mut scale = extreme / (f32::from(end) + f32::from(step));
            for _ in 0..2 {
                let (error, _, products, squares) = nearest_in_table(weights, scale, values);
                if error < best.0 {
                    best = (error, scale);
                }
                scale = products * inverse(squares);
            }
        }
    }
    best.1
}

/// The value of largest magnitude, with its sign.
pub(super) fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0f32, |extreme, &value| {
        if value.abs() > extreme.abs() {
            value
        } else {
            extreme
        }
    })
}

/// 1 / x, or zero where that is not finite: such a group is all zeros.
pub(super) fn inverse(x: f32) -> f32 {
    let inverse = 1.0 / x;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The nearest integer within `low..=high`.
pub(super) fn to_range(value: f32, low: i8, high: i8) -> i8 {
    // A float cast saturates and sends NaN to zero, so the cast itself cannot go wrong.
    (value.round_ties_even() as i8).clamp(low, high)
}

/// A block's groups on grids of their own, whose scales and minima are then rounded to
/// `0..=high_scale`.
pub(super) struct Affine<const GROUPS: usize> {
    pub scale: f16,
    pub min_scale: f16,
    pub scales: [u8; GROUPS],
    pub mins: [u8; GROUPS],
    pub quants: [u8; 256],
}

pub(super) fn affine_groups<const GROUPS: usize, const N: usize>(
    values: &[f32; 256],
    high: i8,
    high_scale: i8,
) -> Affine<GROUPS> {
    let (groups, _) = values.as_chunks::<N>();
    let grids: [(f32, f32); GROUPS] = core::array::from_fn(|g| affine(&groups[g], high, true));
    let largest = |pick: fn(&(f32, f32)) -> f32| grids.iter().map(pick).fold(0.0, f32::max);
    let scale = f16::from_f32(largest(|grid| grid.0) / f32::from(high_scale));
    let min_scale = f16::from_f32(largest(|grid| -grid.1) / f32::from(high_scale));
    let mut block = Affine {
        scale,
        min_scale,
        scales: [0; GROUPS],
        mins: [0; GROUPS],
        quants: [0; 256],
    };
    let (step, min_step) = (scale.to_f32(), min_scale.to_f32());
    for (g, values) in groups.iter().enumerate() {
        let rounded = |value: f32, step: f32| to_range(value * inverse(step), 0, high_scale);
        let (around, min_around) = (rounded(grids[g].0, step), rounded(-grids[g].1, min_step));
        // What suits a group best is rarely what its own grid rounds to: both are rounded.
        let mut best = (f32::INFINITY, around, min_around);
        for scale in around.max(1) - 1..=around.saturating_add(1).min(high_scale) {
            for min in min_around.max(1) - 1..=min_around.saturating_add(1).min(high_scale) {
                let grid = (step * f32::from(scale), -min_step * f32::from(min));
                let error = errors(values, grid.0, grid.1, 0, high);
                if error < best.0 {
                    best = (error, scale, min);
                }
            }
        }
        let (_, scale, min) = best;
        let grid = (step * f32::from(scale), -min_step * f32::from(min));
        let quants = nearest(values, grid.0, grid.1, 0, high);
        block.scales[g] = scale.cast_unsigned();
        block.mins[g] = min.cast_unsigned();
        for (to, from) in block.quants[N * g..].iter_mut().zip(quants) {
            *to = from.cast_unsigned();
        }
    }
    block
}

/// A block's groups on grids of their own, whose scales are then rounded to
/// `low_scale..=high_scale`.
pub(super) struct Symmetric<const GROUPS: usize> {
    pub scale: f16,
    pub scales: [i8; GROUPS],
    pub quants: [i8; 256],
}

pub(super) fn symmetric_groups<const GROUPS: usize, const N: usize>(
    values: &[f32; 256],
    (low, high): (i8, i8),
    (low_scale, high_scale): (i8, i8),
) -> Symmetric<GROUPS> {
    signed_groups(
        values,
        (low_scale, high_scale),
        |group: &[f32; N]| symmetric(group, low, high),
        |group, scale| errors(group, scale, 0.0, low, high),
        |group, scale| nearest(group, scale, 0.0, low, high),
    )
}

/// The same for any kind of grid: its best scale, and its error and quants for a given one.
pub(super) fn signed_groups<const GROUPS: usize, const N: usize>(
    values: &[f32; 256],
    (low_scale, high_scale): (i8, i8),
    best_scale: impl Fn(&[f32; N]) -> f32,
    error: impl Fn(&[f32; N], f32) -> f32,
    quantize: impl Fn(&[f32; N], f32) -> [i8; N],
) -> Symmetric<GROUPS> {
    let (groups, _) = values.as_chunks::<N>();
    let grids: [f32; GROUPS] = core::array::from_fn(|g| best_scale(&groups[g]));
    // The scale of largest magnitude gets the one number without a mirror image.
    let scale = f16::from_f32(extreme(&grids) / f32::from(low_scale));
    let step = scale.to_f32();
    let mut block = Symmetric {
        scale,
        scales: [0; GROUPS],
        quants: [0; 256],
    };
    for (g, values) in groups.iter().enumerate() {
        let around = to_range(grids[g] * inverse(step), low_scale, high_scale);
        let mut best = (f32::INFINITY, around);
        for scale in
            around.saturating_sub(1).max(low_scale)..=around.saturating_add(1).min(high_scale)
        {
            let error = error(values, step * f32::from(scale));
            if error < best.0 {
                best = (error, scale);
            }
        }
        block.scales[g] = best.1;
        let quants = quantize(values, step * f32::from(best.1));
        block.quants[N * g..N * (g + 1)].copy_from_slice(&quants);
    }
    block
}
