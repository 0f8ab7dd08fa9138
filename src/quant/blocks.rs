//! Blocks of quantized weights as they lie in a file: bytes only, so that any address will do.

use half::f16;
use rillm_formats::manifest::DType;

/// 32 weights: `scale · quant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BlockQ8_0 {
    /// Half-precision scale, little endian.
    pub scale: [u8; 2],
    /// Signed quants.
    pub quants: [i8; 32],
}

/// 32 weights: `scale · (quant − 8)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BlockQ4_0 {
    /// Half-precision scale, little endian.
    pub scale: [u8; 2],
    /// Weight i in the low half of byte i, weight i + 16 in its high half.
    pub quants: [u8; 16],
}

/// 256 weights in eight groups of 32: `scale · scales[g] · quant − min_scale · mins[g]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BlockQ4K {
    /// Half-precision scale of the group scales, little endian.
    pub scale: [u8; 2],
    /// Half-precision scale of the group minima, little endian.
    pub min_scale: [u8; 2],
    /// Eight 6-bit scales and eight 6-bit minima: see [`BlockQ4K::scales_and_mins`].
    pub scales: [u8; 12],
    /// Four runs of 32 bytes; run r holds group 2r in its low halves, group 2r + 1 in its high.
    pub quants: [u8; 128],
}

/// 256 weights in sixteen groups of 16: `scale · scales[g] · (quant − 32)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BlockQ6K {
    /// Low four bits: in each half of the block (64 bytes for 128 weights), weights 0..64 in
    /// the low halves and 64..128 in the high.
    pub low: [u8; 128],
    /// High two bits: in each half of the block (32 bytes), byte i holds those of weights
    /// i, i + 32, i + 64 and i + 96, from the lowest bits up.
    pub high: [u8; 64],
    /// Signed group scales.
    pub scales: [i8; 16],
    /// Half-precision scale of the group scales, little endian.
    pub scale: [u8; 2],
}

const _: () = {
    assert!(size_of::<BlockQ8_0>() as u64 == DType::Q8_0.block_len());
    assert!(size_of::<BlockQ4_0>() as u64 == DType::Q4_0.block_len());
    assert!(size_of::<BlockQ4K>() as u64 == DType::Q4_K.block_len());
    assert!(size_of::<BlockQ6K>() as u64 == DType::Q6_K.block_len());
    assert!(align_of::<BlockQ8_0>() == 1 && align_of::<BlockQ4_0>() == 1);
    assert!(align_of::<BlockQ4K>() == 1 && align_of::<BlockQ6K>() == 1);
};

/// `N` bytes of a longer array, from `AT` on. What does not fit does not compile.
pub(super) fn field<const AT: usize, const N: usize, const LEN: usize>(
    bytes: &[u8; LEN],
) -> [u8; N] {
    const { assert!(AT + N <= LEN) };
    core::array::from_fn(|index| bytes[AT + index])
}

impl BlockQ8_0 {
    /// Bytes of one block.
    pub const LEN: usize = size_of::<Self>();
    /// Weights in one block.
    pub const ELEMENTS: usize = 32;

    /// Reads one block.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        Self {
            scale: field::<0, 2, _>(bytes),
            quants: field::<2, 32, _>(bytes).map(u8::cast_signed),
        }
    }

    /// The block as it lies in a file.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(&self.scale);
        bytes[2..].copy_from_slice(&self.quants.map(i8::cast_unsigned));
        bytes
    }

    /// The scale as a float.
    pub fn scale(&self) -> f32 {
        f16::from_le_bytes(self.scale).to_f32()
    }
}

impl BlockQ4_0 {
    /// Bytes of one block.
    pub const LEN: usize = size_of::<Self>();
    /// Weights in one block.
    pub const ELEMENTS: usize = 32;

    /// Reads one block.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        Self {
            scale: field::<0, 2, _>(bytes),
            quants: field::<2, 16, _>(bytes),
        }
    }

    /// The block as it lies in a file.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(&self.scale);
        bytes[2..].copy_from_slice(&self.quants);
        bytes
    }

    /// The scale as a float.
    pub fn scale(&self) -> f32 {
        f16::from_le_bytes(self.scale).to_f32()
    }

    /// The quants in order, 0..=15.
    pub fn unpacked(&self) -> [u8; 32] {
        core::array::from_fn(|index| match index {
            0..16 => self.quants[index] & 15,
            _ => self.quants[index - 16] >> 4,
        })
    }
}

impl BlockQ4K {
    /// Bytes of one block.
    pub const LEN: usize = size_of::<Self>();
    /// Weights in one block.
    pub const ELEMENTS: usize = 256;

    /// Reads one block.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        Self {
            scale: field::<0, 2, _>(bytes),
            min_scale: field::<2, 2, _>(bytes),
            scales: field::<4, 12, _>(bytes),
            quants: field::<16, 128, _>(bytes),
        }
    }

    /// The block as it lies in a file.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(&self.scale);
        bytes[2..4].copy_from_slice(&self.min_scale);
        bytes[4..16].copy_from_slice(&self.scales);
        bytes[16..].copy_from_slice(&self.quants);
        bytes
    }

    /// The scale of the group scales as a float.
    pub fn scale(&self) -> f32 {
        f16::from_le_bytes(self.scale).to_f32()
    }

    /// The scale of the group minima as a float.
    pub fn min_scale(&self) -> f32 {
        f16::from_le_bytes(self.min_scale).to_f32()
    }

    /// The eight 6-bit scales and minima. Bytes 0..4 hold scales 0..4 and bytes 4..8 minima
    /// 0..4 in their low six bits; bytes 8..12 hold the low four bits of scale and minimum
    /// 4..8, whose high two bits are the top bits of the bytes before.
    pub fn scales_and_mins(&self) -> ([u8; 8], [u8; 8]) {
        let s = &self.scales;
        let scales = core::array::from_fn(|g| match g {
            0..4 => s[g] & 63,
            _ => (s[g + 4] & 15) | ((s[g - 4] >> 6) << 4),
        });
        let mins = core::array::from_fn(|g| match g {
            0..4 => s[g + 4] & 63,
            _ => (s[g + 4] >> 4) | ((s[g] >> 6) << 4),
        });
        (scales, mins)
    }

    /// Packs eight 6-bit scales and minima: the inverse of [`BlockQ4K::scales_and_mins`].
    pub fn pack_scales(scales: [u8; 8], mins: [u8; 8]) -> [u8; 12] {
        core::array::from_fn(|i| match i {
            0..4 => (scales[i] & 63) | ((scales[i + 4] >> 4) << 6),
            4..8 => (mins[i - 4] & 63) | ((mins[i] >> 4) << 6),
            _ => (scales[i - 4] & 15) | ((mins[i - 4] & 15) << 4),
        })
    }

    /// The quants in order, 0..=15.
    pub fn unpacked(&self) -> [u8; 256] {
        core::array::from_fn(|index| {
            let byte = self.quants[index / 64 * 32 + index % 32];
            if index % 64 < 32 {
                byte & 15
            } else {
                byte >> 4
            }
        })
    }
}

impl BlockQ6K {
    /// Bytes of one block.
    pub const LEN: usize = size_of::<Self>();
    /// Weights in one block.
    pub const ELEMENTS: usize = 256;

    /// Reads one block.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        Self {
            low: field::<0, 128, _>(bytes),
            high: field::<128, 64, _>(bytes),
            scales: field::<192, 16, _>(bytes).map(u8::cast_signed),
            scale: field::<208, 2, _>(bytes),
        }
    }

    /// The block as it lies in a file.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..128].copy_from_slice(&self.low);
        bytes[128..192].copy_from_slice(&self.high);
        bytes[192..208].copy_from_slice(&self.scales.map(i8::cast_unsigned));
        bytes[208..].copy_from_slice(&self.scale);
        bytes
    }

    /// The scale of the group scales as a float.
    pub fn scale(&self) -> f32 {
        f16::from_le_bytes(self.scale).to_f32()
    }

    /// The quants in order, with 32 taken off: −32..=31.
    pub fn unpacked(&self) -> [i8; 256] {
        core::array::from_fn(|index| {
            let (half, within) = (index / 128, index % 128);
            let low = self.low[half * 64 + within % 64];
            let low = if within < 64 { low & 15 } else { low >> 4 };
            let high = (self.high[half * 32 + within % 32] >> (within / 32 * 2)) & 3;
            (low | (high << 4)).cast_signed() - 32
        })
    }

    /// Packs quants in −32..=31: the inverse of [`BlockQ6K::unpacked`].
    pub fn pack_quants(quants: &[i8; 256]) -> ([u8; 128], [u8; 64]) {
        let bits = |index: usize| (quants[index] + 32).cast_unsigned() & 63;
        let low = core::array::from_fn(|i| {
            let first = i / 64 * 128 + i % 64;
            (bits(first) & 15) | ((bits(first + 64) & 15) << 4)
        });
        let high = core::array::from_fn(|i| {
            let first = i / 32 * 128 + i % 32;
            (0..4).fold(0, |byte, part| {
                byte | ((bits(first + 32 * part) >> 4) << (2 * part))
            })
        });
        (low, high)
    }
}
