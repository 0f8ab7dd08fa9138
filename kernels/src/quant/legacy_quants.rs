//! Legacy quants, Q1_0 to Q8_0: a scale in half precision for each 32 weights (Q2_0: 64, Q1_0: 128),
//! and an offset in some.

#![allow(clippy::needless_range_loop)] // indices say best where in a block something stands

use half::f16;

use super::bits::*;
use super::blocks::*;
use super::fit::*;

blocks! {
    /// 128 weights: `scale`, or `-scale` where the bit is not set.
    BlockQ1_0, Q1_0 {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Weights 8i to 8i + 7 in byte i, from the lowest bit up.
        bits: [u8; 16],
    }
    /// 64 weights: `scale · (quant − 1)`.
    BlockQ2_0, Q2_0 {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Weights 4i to 4i + 3 in byte i, from the lowest bits up.
        quants: [u8; 16],
    }
    /// 32 weights: `scale · (quant − 8)`.
    BlockQ4_0, Q4_0 {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Weight i in the low nibble of byte i, weight i + 16 in its high one.
        quants: [u8; 16],
    }
    /// 32 weights: `scale · quant + min`.
    BlockQ4_1, Q4_1 {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Half-precision minimum.
        min: [u8; 2],
        /// As in [`BlockQ4_0`].
        quants: [u8; 16],
    }
    /// 32 weights: `scale · (quant − 16)`.
    BlockQ5_0, Q5_0 {
        /// Half-precision scale.
        scale: [u8; 2],
        /// A u32 whose bit i is the fifth bit of weight i.
        high: [u8; 4],
        /// The low four bits, as in [`BlockQ4_0`].
        quants: [u8; 16],
    }
    /// 32 weights: `scale · quant + min`.
    BlockQ5_1, Q5_1 {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Half-precision minimum.
        min: [u8; 2],
        /// As in [`BlockQ5_0`].
        high: [u8; 4],
        /// The low four bits, as in [`BlockQ4_0`].
        quants: [u8; 16],
    }
    /// 32 weights: `scale · quant`.
    BlockQ8_0, Q8_0 {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Signed quants.
        quants: [i8; 32],
    }
}

/// [`nibbles`] with a fifth bit, bit i of a u32 for weight i.
#[inline(always)]
fn five_bits(bytes: &[u8; 16], high: [u8; 4]) -> [u8; 32] {
    let mut quants = nibbles(bytes);
    for (i, quant) in quants.iter_mut().enumerate() {
        *quant |= ((high[i / 8] >> (i % 8)) & 1) << 4;
    }
    quants
}

/// Quants less their zero point.
#[inline(always)]
fn centered(quants: [u8; 32], zero_point: u8) -> [i8; 32] {
    let mut centered = [0; 32];
    for i in 0..32 {
        centered[i] = quants[i].wrapping_sub(zero_point).cast_signed();
    }
    centered
}

impl Block32 for BlockQ1_0 {
    #[inline(always)]
    fn integers(&self, group: usize) -> Integers32 {
        let mut quants = [0; 32];
        for i in 0..32 {
            quants[i] = 2 * ((self.bits[4 * group + i / 8] >> (i % 8)) & 1);
        }
        Integers32 {
            quants: centered(quants, 1),
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

impl Block32 for BlockQ2_0 {
    #[inline(always)]
    fn integers(&self, group: usize) -> Integers32 {
        let mut quants = [0; 32];
        for i in 0..32 {
            quants[i] = (self.quants[8 * group + i / 4] >> (i % 4 * 2)) & 3;
        }
        Integers32 {
            quants: centered(quants, 1),
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

impl Block32 for BlockQ4_0 {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: centered(nibbles(&self.quants), 8),
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

impl Block32 for BlockQ4_1 {
    const OFFSETS: bool = true;

    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: centered(nibbles(&self.quants), 0),
            scale: half(self.scale),
            offset: half(self.min),
        }
    }
}

impl Block32 for BlockQ5_0 {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: centered(five_bits(&self.quants, self.high), 16),
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

impl Block32 for BlockQ5_1 {
    const OFFSETS: bool = true;

    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: centered(five_bits(&self.quants, self.high), 0),
            scale: half(self.scale),
            offset: half(self.min),
        }
    }
}

impl Block32 for BlockQ8_0 {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: self.quants,
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

/// The fifth bits, as [`five_bits`] reads them.
fn pack_fifth_bits(quants: &[u8; 32]) -> [u8; 4] {
    let bit = |(i, &quant): (usize, &u8)| u32::from(quant >> 4) << i;
    let bits: u32 = quants.iter().enumerate().map(bit).sum();
    bits.to_le_bytes()
}

/// Quants on a grid whose scale is rounded to half precision, and that scale.
fn symmetric_half_scale(values: &[f32; 32], low: i8, high: i8) -> ([u8; 2], [u8; 32]) {
    let scale = f16::from_f32(symmetric(values, low, high));
    let quants = nearest(values, scale.to_f32(), 0.0, low, high);
    (
        scale.to_le_bytes(),
        quants.map(|quant| quant.wrapping_sub(low).cast_unsigned()),
    )
}

/// The same with an offset.
fn affine_half_scale(values: &[f32; 32], high: i8) -> ([u8; 2], [u8; 2], [u8; 32]) {
    let (scale, min) = affine(values, high, false);
    let (scale, min) = (f16::from_f32(scale), f16::from_f32(min));
    let quants = nearest(values, scale.to_f32(), min.to_f32(), 0, high);
    (
        scale.to_le_bytes(),
        min.to_le_bytes(),
        quants.map(i8::cast_unsigned),
    )
}

pub(super) fn q1_0(values: &[f32; 128]) -> BlockQ1_0 {
    // Signs being what they are, the mean magnitude has the least error.
    let magnitudes: f64 = values.iter().map(|&x| f64::from(x.abs())).sum();
    let bit = |i: usize| u8::from(values[i] >= 0.0);
    BlockQ1_0 {
        scale: f16::from_f32((magnitudes / 128.0) as f32).to_le_bytes(),
        bits: core::array::from_fn(|byte| {
            (0..8).fold(0, |bits, part| bits | bit(8 * byte + part) << part)
        }),
    }
}

pub(super) fn q2_0(values: &[f32; 64]) -> BlockQ2_0 {
    // Of −1..=2 it is 2 that has no mirror image: the grid of −2..=1 the other way round.
    let scale = f16::from_f32(-symmetric(values, -2, 1));
    let quants = nearest(values, scale.to_f32(), 0.0, -1, 2);
    let quant = |i: usize| (quants[i] + 1).cast_unsigned();
    BlockQ2_0 {
        scale: scale.to_le_bytes(),
        quants: core::array::from_fn(|byte| {
            (0..4).fold(0, |bits, part| bits | quant(4 * byte + part) << (2 * part))
        }),
    }
}

pub(super) fn q4_0(values: &[f32; 32]) -> BlockQ4_0 {
    let (scale, quants) = symmetric_half_scale(values, -8, 7);
    let quants = pack_nibbles(&quants);
    BlockQ4_0 { scale, quants }
}

pub(super) fn q4_1(values: &[f32; 32]) -> BlockQ4_1 {
    let (scale, min, quants) = affine_half_scale(values, 15);
    let quants = pack_nibbles(&quants);
    BlockQ4_1 { scale, min, quants }
}

pub(super) fn q5_0(values: &[f32; 32]) -> BlockQ5_0 {
    let (scale, quants) = symmetric_half_scale(values, -16, 15);
    BlockQ5_0 {
        scale,
        high: pack_fifth_bits(&quants),
        quants: pack_nibbles(&quants),
    }
}

pub(super) fn q5_1(values: &[f32; 32]) -> BlockQ5_1 {
    let (scale, min, quants) = affine_half_scale(values, 31);
    BlockQ5_1 {
        scale,
        min,
        high: pack_fifth_bits(&quants),
        quants: pack_nibbles(&quants),
    }
}

pub(super) fn q8_0(values: &[f32; 32]) -> BlockQ8_0 {
    // So fine a grid that nothing is to be gained from looking for a better one.
    let scale = f16::from_f32(extreme(values).abs() / 127.0);
    BlockQ8_0 {
        scale: scale.to_le_bytes(),
        quants: nearest(values, scale.to_f32(), 0.0, -127, 127),
    }
}
