//! Blocks of quantized weights as they lie in a file: bytes only, so that any address will do.
//!
//! The layouts are llama.cpp's; numbers of more than one byte are little endian.

use half::f16;
use rillm_formats::manifest::DType;

/// A byte of a block, with or without a sign.
trait Byte {
    fn from_byte(byte: u8) -> Self;
    fn to_byte(self) -> u8;
}

impl Byte for u8 {
    fn from_byte(byte: u8) -> Self {
        byte
    }

    fn to_byte(self) -> u8 {
        self
    }
}

impl Byte for i8 {
    fn from_byte(byte: u8) -> Self {
        byte.cast_signed()
    }

    fn to_byte(self) -> u8 {
        self.cast_unsigned()
    }
}

/// A block of weights: bytes with alignment 1, every pattern of which is valid.
pub trait Block: Copy {
    /// Bytes of one block.
    const LEN: usize;
    /// Weights in one block.
    const ELEMENTS: usize;
    /// The type it is a block of.
    const DTYPE: DType;

    /// Reads one block.
    ///
    /// # Panics
    /// If `bytes` is not [`Block::LEN`] long.
    fn read(bytes: &[u8]) -> Self;

    /// Writes the block as it lies in a file.
    ///
    /// # Panics
    /// If `bytes` is not [`Block::LEN`] long.
    fn write(&self, bytes: &mut [u8]);
}

macro_rules! blocks {
    ($(
        $(#[$about:meta])*
        $name:ident, $dtype:ident {
            $($(#[$field_about:meta])* $field:ident: [$byte:ident; $count:literal],)*
        }
    )*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_about])* pub $field: [$byte; $count],)*
        }

        const _: () = {
            assert!(size_of::<$name>() as u64 == DType::$dtype.block_len());
            assert!(align_of::<$name>() == 1);
        };

        impl Block for $name {
            const LEN: usize = size_of::<Self>();
            const ELEMENTS: usize = DType::$dtype.block_elements() as usize;
            const DTYPE: DType = DType::$dtype;

            #[inline]
            fn read(bytes: &[u8]) -> Self {
                assert_eq!(bytes.len(), Self::LEN);
                let mut block = Self { $($field: [0; $count],)* };
                $(
                    let at = core::mem::offset_of!(Self, $field);
                    for (to, &from) in block.$field.iter_mut().zip(&bytes[at..at + $count]) {
                        *to = Byte::from_byte(from);
                    }
                )*
                block
            }

            #[inline]
            fn write(&self, bytes: &mut [u8]) {
                assert_eq!(bytes.len(), Self::LEN);
                $(
                    let at = core::mem::offset_of!(Self, $field);
                    for (to, &from) in bytes[at..at + $count].iter_mut().zip(&self.$field) {
                        *to = Byte::to_byte(from);
                    }
                )*
            }
        }
    )*};
}

blocks! {
    /// 32 weights: `scale · (quant − 8)`.
    BlockQ4_0, Q4_0 {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Weight i in the low half of byte i, weight i + 16 in its high half.
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
        /// Four runs of 32 bytes; run r holds group 2r in its low halves, group 2r + 1 in its
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
        /// in the low halves and 64..128 in the high.
        low: [u8; 128],
        /// High two bits, as in [`BlockQ2K`].
        high: [u8; 64],
        /// Signed group scales.
        scales: [i8; 16],
        /// Half-precision scale of the group scales.
        scale: [u8; 2],
    }
    /// 32 weights: `scale · VALUES[quant]`, with the values of [`IQ4_VALUES`].
    BlockIQ4NL, IQ4_NL {
        /// Half-precision scale.
        scale: [u8; 2],
        /// As in [`BlockQ4_0`].
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
        /// Sixteen bytes for each group, as in [`BlockQ4_0`].
        quants: [u8; 128],
    }
    /// 32 weights: `2^(exponent − 128) · VALUES[quant]`, with the values of [`FP4_VALUES`].
    BlockMXFP4, MXFP4 {
        /// Exponent, 128 above itself (the values are twice what the OCP's standard says).
        exponent: [u8; 1],
        /// As in [`BlockQ4_0`].
        quants: [u8; 16],
    }
    /// 64 weights in four groups of 16: `scales[g] · VALUES[quant]`, with the values of
    /// [`FP4_VALUES`].
    BlockNVFP4, NVFP4 {
        /// Unsigned E4M3 floats.
        scales: [u8; 4],
        /// Eight bytes for each group: weight i in the low half of byte i, weight i + 8 in its
        /// high half.
        quants: [u8; 32],
    }
    /// 256 weights: `scale · (trit − 1)`.
    BlockTQ1_0, TQ1_0 {
        /// Five trits to a byte, 256/243 of their number rounded up: 32 bytes for the first 160
        /// weights, byte i holding weights i, i + 32 … i + 128; 16 bytes for the next 80.
        quants: [u8; 48],
        /// Four trits to a byte, for the last 16 weights.
        high: [u8; 4],
        /// Half-precision scale.
        scale: [u8; 2],
    }
    /// 256 weights: `scale · (quant − 1)`.
    BlockTQ2_0, TQ2_0 {
        /// As in [`BlockQ2K`].
        quants: [u8; 64],
        /// Half-precision scale.
        scale: [u8; 2],
    }
    /// 256 weights in eight groups of 32: `scale/8 · (2 · scales[g] + 1) · ±grid`.
    BlockIQ2XXS, IQ2_XXS {
        /// Half-precision scale.
        scale: [u8; 2],
        /// For each group four indices of eight weights each, and a u32: four times seven bits
        /// of signs (an eighth makes their number even) and the group's scale.
        quants: [u8; 64],
    }
    /// 256 weights in sixteen groups of 16: `scale/8 · (2 · scales[g] + 1) · ±grid`.
    BlockIQ2XS, IQ2_XS {
        /// Half-precision scale.
        scale: [u8; 2],
        /// For each eight weights a u16: nine bits of index, seven of signs.
        quants: [u8; 64],
        /// Four bits for each group.
        scales: [u8; 8],
    }
    /// 256 weights in sixteen groups of 16: `scale/8 · (2 · scales[g] + 1) · ±grid`.
    BlockIQ2S, IQ2_S {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Eight bits of index for each eight weights.
        quants: [u8; 32],
        /// A bit for each weight.
        signs: [u8; 32],
        /// Two high bits of each index.
        high: [u8; 8],
        /// Four bits for each group.
        scales: [u8; 8],
    }
    /// 256 weights in eight groups of 32: `scale/4 · (2 · scales[g] + 1) · ±grid`.
    BlockIQ3XXS, IQ3_XXS {
        /// Half-precision scale.
        scale: [u8; 2],
        /// An index for each four weights.
        quants: [u8; 64],
        /// Signs and scale of each group, as in [`BlockIQ2XXS`].
        signs_and_scales: [u8; 32],
    }
    /// 256 weights in eight groups of 32: `scale · (2 · scales[g] + 1) · ±grid`.
    BlockIQ3S, IQ3_S {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Eight bits of index for each four weights.
        quants: [u8; 64],
        /// The ninth bit of each index.
        high: [u8; 8],
        /// A bit for each weight.
        signs: [u8; 32],
        /// Four bits for each group.
        scales: [u8; 4],
    }
    /// 256 weights in eight groups of 32: `scale/8 · (2 · scales[g] + 1) · (8 · grid ± 1)`.
    BlockIQ1S, IQ1_S {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Eight bits of index for each eight weights.
        quants: [u8; 32],
        /// A u16 for each group: four times three high bits of indices, three bits of scale,
        /// one for the sign of the offset.
        high: [u8; 16],
    }
    /// 256 weights in sixteen groups of 16: `scale/8 · (2 · scales[g] + 1) · (8 · grid ± 1)`,
    /// the offset's sign being one for each eight weights.
    BlockIQ1M, IQ1_M {
        /// Eight bits of index for each eight weights.
        quants: [u8; 32],
        /// For each eight weights, four bits: three high bits of the index, the offset's sign.
        high: [u8; 16],
        /// Four u16, each of four times three bits of scale; their top four bits together are
        /// the half-precision scale.
        scales: [u8; 8],
    }
}

/// What the sixteen quants of IQ4_NL and IQ4_XS stand for.
pub const IQ4_VALUES: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// Twice what the sixteen quants of four-bit floats (E2M1) stand for.
pub const FP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// A half-precision number.
#[inline]
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
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
    /// The sixteen scales, 32 above themselves: byte i of the first eight holds the low four
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
