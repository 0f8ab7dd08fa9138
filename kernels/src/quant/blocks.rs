//! Blocks of quantized weights as they lie in a file: bytes only, so that any address will do.
//!
//! The layouts are llama.cpp's; numbers of more than one byte are little endian.

use half::f16;
pub(super) use rillm_formats::manifest::DType;

/// A byte of a block, with or without a sign.
pub(super) trait Byte {
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

pub(super) use blocks;

/// A half-precision number.
#[inline]
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

/// 32 weights: `scale · quants[i] + offset`.
#[derive(Clone, Copy, Debug)]
pub struct Integers32 {
    /// Signed quants.
    pub quants: [i8; 32],
    /// What they are multiplied with.
    pub scale: f32,
    /// What is added; zero unless the type [has offsets](Block32::OFFSETS).
    pub offset: f32,
}

/// 256 weights in sixteen groups: `scale · scales[g] · quants[i] − min_scale · mins[g]`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Integers256 {
    /// Signed quants; from zero on if the type [has minima](Block256::MINS).
    pub quants: [i8; 256],
    /// Factors of sixteen weights each, within a byte's range.
    pub scales: [i16; 16],
    /// Minima of sixteen weights each; zero unless the type has any.
    pub mins: [i16; 16],
    /// Factor of `scales`.
    pub scale: f32,
    /// Factor of `mins`.
    pub min_scale: f32,
}

impl Integers256 {
    /// Nothing yet.
    pub const ZERO: Integers256 = Integers256 {
        quants: [0; 256],
        scales: [0; 16],
        mins: [0; 16],
        scale: 0.0,
        min_scale: 0.0,
    };
}

/// A block of one or more groups of 32 weights, a float scale for each.
pub trait Block32: Block {
    /// Groups in one block.
    const GROUPS: usize = Self::ELEMENTS / 32;
    /// Whether weights have an offset beside their scale.
    const OFFSETS: bool = false;

    /// One group as integers.
    fn integers(&self, group: usize) -> Integers32;
}

/// A block of 256 weights whose groups have integer scales.
pub trait Block256: Block {
    /// Whether groups have minima beside their scales.
    const MINS: bool = false;

    /// The block as integers. What the type does not have stays as it is in `out`: start from
    /// [`Integers256::ZERO`].
    fn integers(&self, out: &mut Integers256);
}
