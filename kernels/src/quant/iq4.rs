//! IQ4_NL and IQ4_XS: four bits that choose from a table of values.

#![allow(clippy::needless_range_loop)] // indices say best where in a block something stands

use half::f16;

use super::bits::*;
use super::blocks::*;
use super::fit::*;

blocks! {
    /// 32 weights: `scale · VALUES[quant]`, with the values of [`IQ4_VALUES`].
    BlockIQ4NL, IQ4_NL {
        /// Half-precision scale.
        scale: [u8; 2],
        /// As in [`BlockQ4_0`](super::BlockQ4_0).
        quants: [u8; 16],
    }
    /// 256 weights in eight groups of 32: `scale · (scales[g] − 32) · VALUES[quant]`, with the
    /// values of [`IQ4_VALUES`].
    BlockIQ4XS, IQ4_XS {
        /// Half-precision scale of the group scales.
        scale: [u8; 2],
        /// A u16 with the two high bits of each group's scale, from the lowest bits up.
        scales_high: [u8; 2],
        /// The four low bits, two groups to a byte.
        scales_low: [u8; 4],
        /// Sixteen bytes for each group, as in [`BlockQ4_0`](super::BlockQ4_0).
        quants: [u8; 128],
    }
}

/// What the sixteen quants of IQ4_NL and IQ4_XS stand for.
pub const IQ4_VALUES: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

impl Block32 for BlockIQ4NL {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: looked_up(nibbles(&self.quants), &IQ4_VALUES),
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

impl BlockIQ4XS {
    /// The eight group scales.
    #[inline(always)]
    pub fn group_scales(&self) -> [i16; 8] {
        let high = u16::from_le_bytes(self.scales_high);
        let mut scales = [0; 8];
        for (g, scale) in scales.iter_mut().enumerate() {
            let low = (self.scales_low[g / 2] >> (g % 2 * 4)) & 15;
            let high = (high >> (2 * g)) & 3;
            *scale = i16::from(low) + (high << 4).cast_signed() - 32;
        }
        scales
    }
}

impl Block256 for BlockIQ4XS {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        let (groups, _) = self.quants.as_chunks::<16>();
        let (quants, _) = out.quants.as_chunks_mut::<32>();
        for g in 0..8 {
            quants[g] = looked_up(nibbles(&groups[g]), &IQ4_VALUES);
        }
        let scales = self.group_scales();
        for g in 0..16 {
            out.scales[g] = scales[g / 2];
        }
        out.scale = half(self.scale);
    }
}

pub(super) fn iq4_nl(values: &[f32; 32]) -> BlockIQ4NL {
    let scale = f16::from_f32(table_scale(values, &IQ4_VALUES));
    let (_, quants, ..) = nearest_in_table(values, scale.to_f32(), &IQ4_VALUES);
    BlockIQ4NL {
        scale: scale.to_le_bytes(),
        quants: pack_nibbles(&quants.map(i8::cast_unsigned)),
    }
}

pub(super) fn iq4_xs(values: &[f32; 256]) -> BlockIQ4XS {
    let block: Symmetric<8> = signed_groups(
        values,
        (-32, 31),
        |group: &[f32; 32]| table_scale(group, &IQ4_VALUES),
        |group, scale| nearest_in_table(group, scale, &IQ4_VALUES).0,
        |group, scale| nearest_in_table(group, scale, &IQ4_VALUES).1,
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
