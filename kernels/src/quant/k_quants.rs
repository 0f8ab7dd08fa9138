//! K-quants, Q2_K to Q6_K: 256 weights in groups whose scales (and minima) are integers
//! themselves.

#![allow(clippy::needless_range_loop)] // indices say best where in a block something stands

use super::bits::*;

use super::blocks::*;

use super::fit::*;

blocks! {
    /// 256 weights in sixteen groups of 16:
    /// `scale · (scales[g] & 15) · quant − min_scale · (scales[g] >> 4)`.
    BlockQ2K, Q2_K {
        /// Scale and minimum of each group, four bits each.
        scales: [u8; 16],
        /// In each half of the block (32 bytes for 128 weights), byte i holds weights
        /// i, i + 32, i + 64 and i + 96, from the lowest bits up.
        quants: [u8; 64],
        /// Half-precision scale of the group scales.
        scale: [u8; 2],
        /// Half-precision scale of the group minima.
        min_scale: [u8; 2],
    }
    /// 256 weights in sixteen groups of 16: `scale · (scales[g] − 32) · (quant − 4)`.
    BlockQ3K, Q3_K {
        /// Bit b of byte i is the third bit of weight i + 32·b.
        high: [u8; 32],
        /// The low two bits, as in [`BlockQ2K`].
        quants: [u8; 64],
        /// Sixteen 6-bit scales: see [`BlockQ3K::group_scales`].
        scales: [u8; 12],
        /// Half-precision scale of the group scales.
        scale: [u8; 2],
    }
    /// 256 weights in eight groups of 32: `scale · scales[g] · quant − min_scale · mins[g]`.
    BlockQ4K, Q4_K {
        /// Half-precision scale of the group scales.
        scale: [u8; 2],
        /// Half-precision scale of the group minima.
        min_scale: [u8; 2],
        /// Eight 6-bit scales and eight 6-bit minima: see [`scales_and_mins`].
        scales: [u8; 12],
        /// Four runs of 32 bytes; run r holds group 2r in its low nibbles, group 2r + 1 in its
        /// high.
        quants: [u8; 128],
    }
    /// 256 weights in eight groups of 32: `scale · scales[g] · quant − min_scale · mins[g]`.
    BlockQ5K, Q5_K {
        /// Half-precision scale of the group scales.
        scale: [u8; 2],
        /// Half-precision scale of the group minima.
        min_scale: [u8; 2],
        /// Eight 6-bit scales and eight 6-bit minima: see [`scales_and_mins`].
        scales: [u8; 12],
        /// Bit g of byte i is the fifth bit of weight i + 32·g.
        high: [u8; 32],
        /// The low four bits, as in [`BlockQ4K`].
        quants: [u8; 128],
    }
    /// 256 weights in sixteen groups of 16: `scale · scales[g] · (quant − 32)`.
    BlockQ6K, Q6_K {
        /// Low four bits: in each half of the block (64 bytes for 128 weights), weights 0..64
        /// in the low nibbles and 64..128 in the high.
        low: [u8; 128],
        /// High two bits, as in [`BlockQ2K`].
        high: [u8; 64],
        /// Signed group scales.
        scales: [i8; 16],
        /// Half-precision scale of the group scales.
        scale: [u8; 2],
    }
}

/// The eight 6-bit scales and minima of Q4_K and Q5_K. Bytes 0..4 hold scales 0..4 and bytes
/// 4..8 minima 0..4 in their low six bits; bytes 8..12 hold the low four bits of scale and
/// minimum 4..8, whose high two bits are the top bits of the bytes before.
#[inline]
pub fn scales_and_mins(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for g in 0..4 {
        scales[g] = packed[g] & 63;
        mins[g] = packed[g + 4] & 63;
        scales[g + 4] = (packed[g + 8] & 15) | ((packed[g] >> 6) << 4);
        mins[g + 4] = (packed[g + 8] >> 4) | ((packed[g + 4] >> 6) << 4);
    }
    (scales, mins)
}

/// Packs eight 6-bit scales and minima: the inverse of [`scales_and_mins`].
pub fn pack_scales_and_mins(scales: [u8; 8], mins: [u8; 8]) -> [u8; 12] {
    core::array::from_fn(|i| match i {
        0..4 => (scales[i] & 63) | ((scales[i + 4] >> 4) << 6),
        4..8 => (mins[i - 4] & 63) | ((mins[i] >> 4) << 6),
        _ => (scales[i - 4] & 15) | ((mins[i - 4] & 15) << 4),
    })
}

impl BlockQ3K {
    /// The sixteen scales with a zero point of 32: byte i of the first eight holds the low four
    /// bits of scales i and i + 8; byte i of the last four the high two bits of scales
    /// i, i + 4, i + 8 and i + 12.
    #[inline]
    pub fn group_scales(&self) -> [u8; 16] {
        let mut scales = [0; 16];
        for (g, scale) in scales.iter_mut().enumerate() {
            let low = (self.scales[g % 8] >> (g / 8 * 4)) & 15;
            let high = (self.scales[8 + g % 4] >> (g / 4 * 2)) & 3;
            *scale = low | (high << 4);
        }
        scales
    }

    /// Packs sixteen scales: the inverse of [`BlockQ3K::group_scales`].
    pub fn pack_group_scales(scales: [u8; 16]) -> [u8; 12] {
        core::array::from_fn(|i| match i {
            0..8 => (scales[i] & 15) | ((scales[i + 8] & 15) << 4),
            _ => (0..4).fold(0, |byte, part| {
                byte | ((scales[i - 8 + 4 * part] >> 4) & 3) << (2 * part)
            }),
        })
    }
}

impl Block256 for BlockQ2K {
    const MINS: bool = true;

    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        two_bits(&self.quants, &mut out.quants);
        for g in 0..16 {
            out.scales[g] = i16::from(self.scales[g] & 15);
            out.mins[g] = i16::from(self.scales[g] >> 4);
        }
        out.scale = half(self.scale);
        out.min_scale = half(self.min_scale);
    }
}

impl Block256 for BlockQ3K {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        two_bits(&self.quants, &mut out.quants);
        for part in 0..8 {
            for i in 0..32 {
                let high = (self.high[i] >> part) & 1;
                out.quants[32 * part + i] += (high << 2).cast_signed() - 4;
            }
        }
        let scales = self.group_scales();
        for g in 0..16 {
            out.scales[g] = i16::from(scales[g]) - 32;
        }
        out.scale = half(self.scale);
    }
}

/// Four bits each: four runs of 32 bytes, low nibbles before high ones.
#[inline(always)]
fn runs_of_nibbles(bytes: &[u8; 128], quants: &mut [i8; 256]) {
    for run in 0..4 {
        for i in 0..32 {
            let byte = bytes[32 * run + i];
            quants[64 * run + i] = (byte & 15).cast_signed();
            quants[64 * run + 32 + i] = (byte >> 4).cast_signed();
        }
    }
}

/// Scales and minima of eight groups, each twice.
#[inline(always)]
fn scales_of_eight(packed: &[u8; 12], out: &mut Integers256) {
    let (scales, mins) = scales_and_mins(packed);
    for g in 0..16 {
        out.scales[g] = i16::from(scales[g / 2]);
        out.mins[g] = i16::from(mins[g / 2]);
    }
}

impl Block256 for BlockQ4K {
    const MINS: bool = true;

    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        runs_of_nibbles(&self.quants, &mut out.quants);
        scales_of_eight(&self.scales, out);
        out.scale = half(self.scale);
        out.min_scale = half(self.min_scale);
    }
}

impl Block256 for BlockQ5K {
    const MINS: bool = true;

    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        runs_of_nibbles(&self.quants, &mut out.quants);
        for group in 0..8 {
            for i in 0..32 {
                let high = (self.high[i] >> group) & 1;
                out.quants[32 * group + i] |= (high << 4).cast_signed();
            }
        }
        scales_of_eight(&self.scales, out);
        out.scale = half(self.scale);
        out.min_scale = half(self.min_scale);
    }
}

impl Block256 for BlockQ6K {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        two_bits(&self.high, &mut out.quants);
        for half in 0..2 {
            for i in 0..64 {
                let low = self.low[64 * half + i];
                for (at, low) in [(128 * half + i, low & 15), (128 * half + 64 + i, low >> 4)] {
                    out.quants[at] = ((out.quants[at] << 4) | low.cast_signed()) - 32;
                }
            }
        }
        for g in 0..16 {
            out.scales[g] = i16::from(self.scales[g]);
        }
        out.scale = half(self.scale);
    }
}

/// The inverse of [`runs_of_nibbles`].
fn pack_runs_of_nibbles(quants: &[u8; 256]) -> [u8; 128] {
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

pub(super) fn q2_k(values: &[f32; 256]) -> BlockQ2K {
    let block = affine_groups::<16, 16>(values, 3, 15);
    BlockQ2K {
        scales: core::array::from_fn(|g| block.scales[g] | block.mins[g] << 4),
        quants: pack_two_bits(&block.quants),
        scale: block.scale.to_le_bytes(),
        min_scale: block.min_scale.to_le_bytes(),
    }
}

pub(super) fn q4_k(values: &[f32; 256]) -> BlockQ4K {
    let block = affine_groups::<8, 32>(values, 15, 63);
    BlockQ4K {
        scale: block.scale.to_le_bytes(),
        min_scale: block.min_scale.to_le_bytes(),
        scales: pack_scales_and_mins(block.scales, block.mins),
        quants: pack_runs_of_nibbles(&block.quants),
    }
}

pub(super) fn q5_k(values: &[f32; 256]) -> BlockQ5K {
    let block = affine_groups::<8, 32>(values, 31, 63);
    BlockQ5K {
        scale: block.scale.to_le_bytes(),
        min_scale: block.min_scale.to_le_bytes(),
        scales: pack_scales_and_mins(block.scales, block.mins),
        high: bit_of_each(&block.quants, 4),
        quants: pack_runs_of_nibbles(&block.quants),
    }
}

pub(super) fn q3_k(values: &[f32; 256]) -> BlockQ3K {
    let block = symmetric_groups::<16, 16>(values, (-4, 3), (-32, 31));
    let quants = block.quants.map(|quant| (quant + 4).cast_unsigned());
    BlockQ3K {
        high: bit_of_each(&quants, 2),
        quants: pack_two_bits(&quants),
        scales: BlockQ3K::pack_group_scales(block.scales.map(|s| (s + 32).cast_unsigned())),
        scale: block.scale.to_le_bytes(),
    }
}

pub(super) fn q6_k(values: &[f32; 256]) -> BlockQ6K {
    let block = symmetric_groups::<16, 16>(values, (-32, 31), (-128, 127));
    let quants = block.quants.map(|quant| (quant + 32).cast_unsigned());
    BlockQ6K {
        low: core::array::from_fn(|i| {
            let first = i / 64 * 128 + i % 64;
            (quants[first] & 15) | (quants[first + 64] << 4)
        }),
        high: pack_two_bits(&quants.map(|quant| quant >> 4)),
        scales: block.scales,
        scale: block.scale.to_le_bytes(),
    }
}
