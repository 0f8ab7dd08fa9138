//! Scalar encoding of weights, judged by the squared error of what is decoded again.
//!
//! Groups look for the grid that fits them best: candidates around the one that just covers
//! their range, each with its least-squares scale (and offset). Group scales are then rounded
//! themselves, and the quants chosen once more for what is left of them.

use half::{bf16, f16};
use rillm_formats::manifest::DType;

use super::blocks::*;
use super::grid::{affine, errors, nearest, symmetric};

/// Encodes a row of finite weights into whole blocks. Lengths that do not fit each other
/// encode as many whole blocks as both hold.
pub type Encode = fn(&[f32], &mut [u8]);

/// The encoder of a type, if there is one.
pub fn encode(dtype: DType) -> Option<Encode> {
    Some(match dtype {
        DType::F32 => |values, out| floats(values, out, f32::to_le_bytes),
        DType::F16 => |values, out| floats(values, out, |x| f16::from_f32(x).to_le_bytes()),
        DType::BF16 => |values, out| floats(values, out, |x| bf16::from_f32(x).to_le_bytes()),
        DType::Q4_0 => |values, out| each_block(values, out, q4_0),
        DType::Q4_1 => |values, out| each_block(values, out, q4_1),
        DType::Q5_0 => |values, out| each_block(values, out, q5_0),
        DType::Q5_1 => |values, out| each_block(values, out, q5_1),
        DType::Q8_0 => |values, out| each_block(values, out, q8_0),
        DType::Q2_K => |values, out| each_block(values, out, q2_k),
        DType::Q3_K => |values, out| each_block(values, out, q3_k),
        DType::Q4_K => |values, out| each_block(values, out, q4_k),
        DType::Q5_K => |values, out| each_block(values, out, q5_k),
        DType::Q6_K => |values, out| each_block(values, out, q6_k),
        DType::IQ4_NL => |values, out| each_block(values, out, iq4_nl),
        DType::IQ4_XS => |values, out| each_block(values, out, iq4_xs),
        DType::MXFP4 => |values, out| each_block(values, out, mxfp4),
        DType::TQ1_0 => |values, out| each_block(values, out, tq1_0),
        DType::TQ2_0 => |values, out| each_block(values, out, tq2_0),
        _ => return None,
    })
}

/// One by one.
fn floats<const LEN: usize>(values: &[f32], out: &mut [u8], encode: impl Fn(f32) -> [u8; LEN]) {
    let (out, _) = out.as_chunks_mut::<LEN>();
    debug_assert_eq!(values.len(), out.len());
    for (value, out) in values.iter().zip(out) {
        *out = encode(*value);
    }
}

fn each_block<const ELEMENTS: usize, B: Block>(
    values: &[f32],
    out: &mut [u8],
    encode: impl Fn(&[f32; ELEMENTS]) -> B,
) {
    let (values, _) = values.as_chunks::<ELEMENTS>();
    let out = out.chunks_exact_mut(B::LEN);
    debug_assert_eq!(values.len(), out.len());
    for (block, out) in values.iter().zip(out) {
        encode(block).write(out);
    }
}

/// Weights i and i + 16 to a byte.
fn halves(quants: &[u8; 32]) -> [u8; 16] {
    core::array::from_fn(|i| (quants[i] & 15) | (quants[i + 16] << 4))
}

/// The fifth bits.
fn fifths(quants: &[u8; 32]) -> [u8; 4] {
    let bit = |(i, &quant): (usize, &u8)| u32::from(quant >> 4) << i;
    let bits: u32 = quants.iter().enumerate().map(bit).sum();
    bits.to_le_bytes()
}

/// Quants on a grid whose scale is rounded to half precision, and that scale.
fn symmetric_halved(values: &[f32; 32], low: i8, high: i8) -> ([u8; 2], [u8; 32]) {
    let scale = f16::from_f32(symmetric(values, low, high));
    let quants = nearest(values, scale.to_f32(), 0.0, low, high);
    (
        scale.to_le_bytes(),
        quants.map(|quant| quant.wrapping_sub(low).cast_unsigned()),
    )
}

/// The same with an offset.
fn affine_halved(values: &[f32; 32], high: i8) -> ([u8; 2], [u8; 2], [u8; 32]) {
    let (scale, min) = affine(values, high, false);
    let (scale, min) = (f16::from_f32(scale), f16::from_f32(min));
    let quants = nearest(values, scale.to_f32(), min.to_f32(), 0, high);
    (
        scale.to_le_bytes(),
        min.to_le_bytes(),
        quants.map(i8::cast_unsigned),
    )
}

fn q4_0(values: &[f32; 32]) -> BlockQ4_0 {
    let (scale, quants) = symmetric_halved(values, -8, 7);
    let quants = halves(&quants);
    BlockQ4_0 { scale, quants }
}

fn q4_1(values: &[f32; 32]) -> BlockQ4_1 {
    let (scale, min, quants) = affine_halved(values, 15);
    let quants = halves(&quants);
    BlockQ4_1 { scale, min, quants }
}

fn q5_0(values: &[f32; 32]) -> BlockQ5_0 {
    let (scale, quants) = symmetric_halved(values, -16, 15);
    BlockQ5_0 {
        scale,
        high: fifths(&quants),
        quants: halves(&quants),
    }
}

fn q5_1(values: &[f32; 32]) -> BlockQ5_1 {
    let (scale, min, quants) = affine_halved(values, 31);
    BlockQ5_1 {
        scale,
        min,
        high: fifths(&quants),
        quants: halves(&quants),
    }
}

fn q8_0(values: &[f32; 32]) -> BlockQ8_0 {
    // So fine a grid that nothing is to be gained from looking for a better one.
    let scale = f16::from_f32(extreme(values).abs() / 127.0);
    BlockQ8_0 {
        scale: scale.to_le_bytes(),
        quants: nearest(values, scale.to_f32(), 0.0, -127, 127),
    }
}

/// A block's groups on grids of their own, whose scales and minima are then rounded to
/// `0..=high_scale`.
struct Affine<const GROUPS: usize> {
    scale: f16,
    min_scale: f16,
    scales: [u8; GROUPS],
    mins: [u8; GROUPS],
    quants: [u8; 256],
}

fn affine_groups<const GROUPS: usize, const N: usize>(
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

/// Pairs of bits: weights i, i + 32, i + 64 and i + 96 of each half to a byte.
fn pairs_of_bits(quants: &[u8; 256]) -> [u8; 64] {
    core::array::from_fn(|i| {
        let first = i / 32 * 128 + i % 32;
        (0..4).fold(0, |byte, part| {
            byte | (quants[first + 32 * part] & 3) << (2 * part)
        })
    })
}

/// Low four bits: groups of 32, two to a run of 32 bytes.
fn runs_of_halves(quants: &[u8; 256]) -> [u8; 128] {
    core::array::from_fn(|i| {
        let first = i / 32 * 64 + i % 32;
        (quants[first] & 15) | (quants[first + 32] << 4)
    })
}

/// Bit `bit` of weights i, i + 32 … to a byte.
fn bit_of_each(quants: &[u8; 256], bit: u32) -> [u8; 32] {
    core::array::from_fn(|i| {
        (0..8).fold(0, |byte, part| {
            byte | ((quants[i + 32 * part] >> bit) & 1) << part
        })
    })
}

fn q2_k(values: &[f32; 256]) -> BlockQ2K {
    let block = affine_groups::<16, 16>(values, 3, 15);
    BlockQ2K {
        scales: core::array::from_fn(|g| block.scales[g] | block.mins[g] << 4),
        quants: pairs_of_bits(&block.quants),
        scale: block.scale.to_le_bytes(),
        min_scale: block.min_scale.to_le_bytes(),
    }
}

fn q4_k(values: &[f32; 256]) -> BlockQ4K {
    let block = affine_groups::<8, 32>(values, 15, 63);
    BlockQ4K {
        scale: block.scale.to_le_bytes(),
        min_scale: block.min_scale.to_le_bytes(),
        scales: pack_scales_and_mins(block.scales, block.mins),
        quants: runs_of_halves(&block.quants),
    }
}

fn q5_k(values: &[f32; 256]) -> BlockQ5K {
    let block = affine_groups::<8, 32>(values, 31, 63);
    BlockQ5K {
        scale: block.scale.to_le_bytes(),
        min_scale: block.min_scale.to_le_bytes(),
        scales: pack_scales_and_mins(block.scales, block.mins),
        high: bit_of_each(&block.quants, 4),
        quants: runs_of_halves(&block.quants),
    }
}

/// A block's groups on grids of their own, whose scales are then rounded to
/// `low_scale..=high_scale`.
struct Symmetric<const GROUPS: usize> {
    scale: f16,
    scales: [i8; GROUPS],
    quants: [i8; 256],
}

fn symmetric_groups<const GROUPS: usize, const N: usize>(
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
fn signed_groups<const GROUPS: usize, const N: usize>(
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

fn q3_k(values: &[f32; 256]) -> BlockQ3K {
    let block = symmetric_groups::<16, 16>(values, (-4, 3), (-32, 31));
    let quants = block.quants.map(|quant| (quant + 4).cast_unsigned());
    BlockQ3K {
        high: bit_of_each(&quants, 2),
        quants: pairs_of_bits(&quants),
        scales: BlockQ3K::pack_group_scales(block.scales.map(|s| (s + 32).cast_unsigned())),
        scale: block.scale.to_le_bytes(),
    }
}

fn q6_k(values: &[f32; 256]) -> BlockQ6K {
    let block = symmetric_groups::<16, 16>(values, (-32, 31), (-128, 127));
    let quants = block.quants.map(|quant| (quant + 32).cast_unsigned());
    BlockQ6K {
        low: core::array::from_fn(|i| {
            let first = i / 64 * 128 + i % 64;
            (quants[first] & 15) | (quants[first + 64] << 4)
        }),
        high: pairs_of_bits(&quants.map(|quant| quant >> 4)),
        scales: block.scales,
        scale: block.scale.to_le_bytes(),
    }
}

/// The quants whose values come nearest, and the squared error. `values` rise.
fn looked_up<const N: usize>(
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
fn table_scale<const N: usize>(weights: &[f32; N], values: &[i8; 16]) -> f32 {
    let extreme = extreme(weights);
    let mut best = (f32::INFINITY, 0.0);
    // The largest weight on the table's either end, or a little within or beyond it.
    for end in [values[0], values[15]] {
        for step in -7i8..=7 {
            let mut scale = extreme / (f32::from(end) + f32::from(step));
            for _ in 0..2 {
                let (error, _, products, squares) = looked_up(weights, scale, values);
                if error < best.0 {
                    best = (error, scale);
                }
                scale = products * inverse(squares);
            }
        }
    }
    best.1
}

fn iq4_nl(values: &[f32; 32]) -> BlockIQ4NL {
    let scale = f16::from_f32(table_scale(values, &IQ4_VALUES));
    let (_, quants, ..) = looked_up(values, scale.to_f32(), &IQ4_VALUES);
    BlockIQ4NL {
        scale: scale.to_le_bytes(),
        quants: halves(&quants.map(i8::cast_unsigned)),
    }
}

fn iq4_xs(values: &[f32; 256]) -> BlockIQ4XS {
    let block: Symmetric<8> = signed_groups(
        values,
        (-32, 31),
        |group: &[f32; 32]| table_scale(group, &IQ4_VALUES),
        |group, scale| looked_up(group, scale, &IQ4_VALUES).0,
        |group, scale| looked_up(group, scale, &IQ4_VALUES).1,
    );
    let scales = block.scales.map(|scale| (scale + 32).cast_unsigned());
    let high = (0..8).fold(0u16, |bits, g| bits | u16::from(scales[g] >> 4) << (2 * g));
    BlockIQ4XS {
        scale: block.scale.to_le_bytes(),
        scales_high: high.to_le_bytes(),
        scales_low: core::array::from_fn(|i| (scales[2 * i] & 15) | (scales[2 * i + 1] << 4)),
        quants: core::array::from_fn(|i| {
            let first = i / 16 * 32 + i % 16;
            let quant = |at: usize| block.quants[at].cast_unsigned();
            quant(first) | quant(first + 16) << 4
        }),
    }
}

fn mxfp4(values: &[f32; 32]) -> BlockMXFP4 {
    /// Twice the values, rising; where each stands in [`FP4_VALUES`] follows.
    const RISING: [i8; 16] = [-12, -8, -6, -4, -3, -2, -1, 0, 0, 1, 2, 3, 4, 6, 8, 12];
    let quant_of = |place: i8| match place {
        0..7 => 15 - place,
        7 | 8 => 0,
        _ => place - 8,
    };
    // The power of two that just holds the largest value, or the next ones.
    let exponent = i32::from((extreme(values).abs().to_bits() >> 23) as u8);
    let mut best = (
        f32::INFINITY,
        BlockMXFP4 {
            exponent: [0],
            quants: [0; 16],
        },
    );
    for exponent in exponent - 3..=exponent - 1 {
        let mut block = best.1;
        block.exponent = [exponent.clamp(0, 254) as u8];
        let (error, places, ..) = looked_up(values, block.scale(), &RISING);
        if error < best.0 {
            block.quants = halves(&places.map(|place| quant_of(place).cast_unsigned()));
            best = (error, block);
        }
    }
    best.1
}

/// Weights of −1, 0 and 1 times their largest magnitude: models that are made of these come out
/// exactly.
fn trits(values: &[f32; 256]) -> (f16, [u8; 256]) {
    let largest = extreme(values).abs();
    let quants = nearest(values, largest, 0.0, -1, 1);
    (
        f16::from_f32(largest),
        quants.map(|quant| (quant + 1).cast_unsigned()),
    )
}

fn tq1_0(values: &[f32; 256]) -> BlockTQ1_0 {
    let (scale, trits) = trits(values);
    // Five trits as a number to base three, the first in the highest place, and that as a
    // fraction of 256, rounded up.
    let byte = |first: usize, apart: usize, count: usize| {
        let number = (0..5).fold(0u16, |number, place| {
            let trit = if place < count {
                trits[first + apart * place]
            } else {
                0
            };
            3 * number + u16::from(trit)
        });
        (number * 256).div_ceil(243) as u8
    };
    BlockTQ1_0 {
        quants: core::array::from_fn(|i| match i {
            0..32 => byte(i, 32, 5),
            _ => byte(160 + i - 32, 16, 5),
        }),
        high: core::array::from_fn(|i| byte(240 + i, 4, 4)),
        scale: scale.to_le_bytes(),
    }
}

fn tq2_0(values: &[f32; 256]) -> BlockTQ2_0 {
    let (scale, trits) = trits(values);
    BlockTQ2_0 {
        quants: pairs_of_bits(&trits),
        scale: scale.to_le_bytes(),
    }
}

/// The value of largest magnitude, with its sign.
fn extreme(values: &[f32]) -> f32 {
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
fn to_range(value: f32, low: i8, high: i8) -> i8 {
    // A float cast saturates and sends NaN to zero, so the cast itself cannot go wrong.
    (value.round_ties_even() as i8).clamp(low, high)
}
