//! MXFP4 and NVFP4: small floats (E2M1) with a scale that is one as well.

#![allow(clippy::needless_range_loop)] // indices say best where in a block something stands

use super::bits::*;
use super::blocks::*;
use super::fit::*;

blocks! {
    /// 32 weights: `2^(exponent − 128) · VALUES[quant]`, with the values of [`FP4_VALUES`].
    BlockMXFP4, MXFP4 {
        /// Exponent with a bias of 128 (the values are twice what the OCP's standard says).
        exponent: [u8; 1],
        /// As in [`BlockQ4_0`](super::BlockQ4_0).
        quants: [u8; 16],
    }
    /// 64 weights in four groups of 16: `scales[g] · VALUES[quant]`, with the values of
    /// [`FP4_VALUES`].
    BlockNVFP4, NVFP4 {
        /// Unsigned E4M3 floats.
        scales: [u8; 4],
        /// Eight bytes for each group: weight i in the low nibble of byte i, weight i + 8 in its
        /// high one.
        quants: [u8; 32],
    }
}

/// Twice what the sixteen quants of four-bit floats (E2M1) stand for.
pub const FP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

impl BlockMXFP4 {
    /// Half of 2^(exponent − 127): the values are doubled.
    #[inline(always)]
    pub fn scale(&self) -> f32 {
        let [exponent] = self.exponent;
        f32::from_bits(match exponent {
            0..2 => 0x0020_0000 << exponent,
            _ => u32::from(exponent - 1) << 23,
        })
    }
}

impl Block32 for BlockMXFP4 {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: looked_up(nibbles(&self.quants), &FP4_VALUES),
            scale: self.scale(),
            offset: 0.0,
        }
    }
}

/// Half of what each bit pattern of a [`BlockNVFP4`]'s scale means.
pub static NVFP4_SCALES: [f32; 256] = {
    let mut scales = [0.0; 256];
    let mut bits = 0;
    while bits < 256 {
        scales[bits] = nvfp4_scale(bits as u8);
        bits += 1;
    }
    scales
};

/// Half of an unsigned E4M3 float.
const fn nvfp4_scale(bits: u8) -> f32 {
    let (exponent, mantissa) = (bits >> 3 & 15, (bits & 7) as f32);
    let value = match exponent {
        _ if bits == 0x7f => 0.0,
        0 => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * f32::from_bits((exponent as u32 + 120) << 23),
    };
    value * 0.5
}

impl BlockNVFP4 {
    /// Half of each group's scale: the values are doubled.
    pub fn group_scales(&self) -> [f32; 4] {
        self.scales.map(|bits| NVFP4_SCALES[usize::from(bits)])
    }

    /// The weights over their group's scale.
    pub fn values(&self) -> [i8; 64] {
        core::array::from_fn(|i| {
            let byte = self.quants[i / 16 * 8 + i % 8];
            let quant = if i % 16 < 8 { byte & 15 } else { byte >> 4 };
            FP4_VALUES[usize::from(quant)]
        })
    }
}

pub(super) fn mxfp4(values: &[f32; 32]) -> BlockMXFP4 {
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
        let (error, places, ..) = nearest_in_table(values, block.scale(), &RISING);
        if error < best.0 {
            block.quants = pack_nibbles(&places.map(|place| quant_of(place).cast_unsigned()));
            best = (error, block);
        }
    }
    best.1
}
