//! Activations rounded to int8, the form in which quantized weights want their input, or to 16 bits.
//!
//! These layouts are ours: they never reach a file. Blocks carry the sums of their quants,
//! because a weight's constant offset (Q4_0's 8, Q6_K's 32, Q4_K's minima) then costs one
//! multiplication per group instead of one per element.

use half::{bf16, f16};
use rillm_formats::manifest::DType;

use super::types::{Float, Visitor, visit};
use super::{Block32, Block256};

/// The form in which a weight type wants its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(non_camel_case_types)] // the names of the formats
pub enum Activation {
    /// Floats.
    F32,
    /// Floats rounded to bf16, little-endian: for [`Precision::Native`](crate::Precision::Native).
    BF16,
    /// Blocks of 32 rounded to int8: [`ActivationQ8_0`].
    Q8_0,
    /// Blocks of 256 rounded to int8: [`ActivationQ8K`].
    Q8_K,
}

impl Activation {
    /// The form that a weight type is multiplied with at
    /// [`Precision::Reference`](crate::Precision::Reference), if it can be multiplied at all.
    pub fn of(weights: DType) -> Option<Activation> {
        visit(weights, ActivationForm)
    }

    /// Activations in one block: a row's length is a multiple of it.
    pub const fn block_elements(self) -> usize {
        match self {
            Activation::F32 | Activation::BF16 => 1,
            Activation::Q8_0 => ActivationQ8_0::ELEMENTS,
            Activation::Q8_K => ActivationQ8K::ELEMENTS,
        }
    }

    /// Bytes of one block.
    pub const fn block_len(self) -> usize {
        match self {
            Activation::F32 => size_of::<f32>(),
            Activation::BF16 => size_of::<bf16>(),
            Activation::Q8_0 => ActivationQ8_0::LEN,
            Activation::Q8_K => ActivationQ8K::LEN,
        }
    }

    /// Bytes of a row of `columns` activations: `None` if it is not whole blocks or the size
    /// overflows.
    pub const fn row_len(self, columns: usize) -> Option<usize> {
        if !columns.is_multiple_of(self.block_elements()) {
            return None;
        }
        (columns / self.block_elements()).checked_mul(self.block_len())
    }
}

struct ActivationForm;

impl Visitor for ActivationForm {
    type Output = Activation;

    fn floats(self, _: Float) -> Activation {
        Activation::F32
    }

    fn block32<B: Block32>(self) -> Activation {
        Activation::Q8_0
    }

    fn block256<B: Block256>(self) -> Activation {
        Activation::Q8_K
    }

    fn nvfp4(self) -> Activation {
        Activation::F32
    }
}

/// 32 activations: `scale · quant`.
///
/// Quants lie in −127..=127 (never −128): kernels rely on it to add two products of bytes in
/// sixteen bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ActivationQ8_0 {
    /// Scale, an f32 in little-endian order, rounded to half precision.
    pub scale: [u8; 4],
    /// Sum of the quants, an i32 in little-endian order.
    pub sum: [u8; 4],
    /// Signed quants.
    pub quants: [i8; 32],
}

/// 256 activations: `scale · quant`. Quants lie in −127..=127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ActivationQ8K {
    /// Scale, an f32 in little-endian order.
    pub scale: [u8; 4],
    /// Sums of sixteen quants each, i16 in little-endian order.
    pub sums: [[u8; 2]; 16],
    /// Signed quants.
    pub quants: [i8; 256],
}

const _: () = {
    assert!(size_of::<ActivationQ8_0>() == 40 && align_of::<ActivationQ8_0>() == 1);
    assert!(size_of::<ActivationQ8K>() == 292 && align_of::<ActivationQ8K>() == 1);
};

impl ActivationQ8_0 {
    /// Bytes of one block.
    pub const LEN: usize = size_of::<Self>();
    /// Activations in one block.
    pub const ELEMENTS: usize = 32;

    /// Rounds 32 activations.
    pub fn quantize(values: &[f32; 32]) -> Self {
        let (scale, quants) = round_to_bytes(values);
        let scale = half_scale(scale);
        let sum: i32 = quants.iter().map(|&quant| i32::from(quant)).sum();
        Self {
            scale: scale.to_le_bytes(),
            sum: sum.to_le_bytes(),
            quants,
        }
    }

    /// Reads one block.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        Self {
            scale: field::<0, 4, _>(bytes),
            sum: field::<4, 4, _>(bytes),
            quants: field::<8, 32, _>(bytes).map(u8::cast_signed),
        }
    }

    /// The block as it lies in memory.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.scale);
        bytes[4..8].copy_from_slice(&self.sum);
        bytes[8..].copy_from_slice(&self.quants.map(i8::cast_unsigned));
        bytes
    }

    /// The scale as a float.
    #[inline]
    pub fn scale(&self) -> f32 {
        f32::from_le_bytes(self.scale)
    }

    /// The sum of the quants.
    #[inline]
    pub fn sum(&self) -> i32 {
        i32::from_le_bytes(self.sum)
    }
}

impl ActivationQ8K {
    /// Bytes of one block.
    pub const LEN: usize = size_of::<Self>();
    /// Activations in one block.
    pub const ELEMENTS: usize = 256;

    /// Rounds 256 activations.
    pub fn quantize(values: &[f32; 256]) -> Self {
        let (scale, quants) = round_to_bytes(values);
        let (groups, _) = quants.as_chunks::<16>();
        let mut sums = [[0; 2]; 16];
        for (sum, group) in sums.iter_mut().zip(groups) {
            let total: i16 = group.iter().map(|&quant| i16::from(quant)).sum();
            *sum = total.to_le_bytes();
        }
        Self {
            scale: scale.to_le_bytes(),
            sums,
            quants,
        }
    }

    /// Reads one block.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let sums = field::<4, 32, _>(bytes);
        Self {
            scale: field::<0, 4, _>(bytes),
            sums: core::array::from_fn(|index| [sums[2 * index], sums[2 * index + 1]]),
            quants: field::<36, 256, _>(bytes).map(u8::cast_signed),
        }
    }

    /// The block as it lies in memory.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.scale);
        bytes[4..36].copy_from_slice(self.sums.as_flattened());
        bytes[36..].copy_from_slice(&self.quants.map(i8::cast_unsigned));
        bytes
    }

    /// The scale as a float.
    #[inline]
    pub fn scale(&self) -> f32 {
        f32::from_le_bytes(self.scale)
    }

    /// The sums of sixteen quants each.
    pub fn sums(&self) -> [i32; 16] {
        self.sums.map(|sum| i32::from(i16::from_le_bytes(sum)))
    }
}

/// `N` bytes of a longer array, from `AT` on. What does not fit does not compile.
fn field<const AT: usize, const N: usize, const LEN: usize>(bytes: &[u8; LEN]) -> [u8; N] {
    const { assert!(AT + N <= LEN) };
    core::array::from_fn(|index| bytes[AT + index])
}

/// Rounds a row to [`ActivationQ8_0`] blocks. `out` holds 40 bytes per 32 values; what is
/// beyond whole blocks of either is left alone.
pub fn quantize_q8_0(values: &[f32], out: &mut [u8]) {
    let (values, _) = values.as_chunks::<{ ActivationQ8_0::ELEMENTS }>();
    let (out, _) = out.as_chunks_mut::<{ ActivationQ8_0::LEN }>();
    debug_assert_eq!(values.len(), out.len());
    for (block, out) in values.iter().zip(out) {
        *out = ActivationQ8_0::quantize(block).to_bytes();
    }
}

/// Rounds a row to [`ActivationQ8K`] blocks. `out` holds 292 bytes per 256 values; what is
/// beyond whole blocks of either is left alone.
pub fn quantize_q8_k(values: &[f32], out: &mut [u8]) {
    let (values, _) = values.as_chunks::<{ ActivationQ8K::ELEMENTS }>();
    let (out, _) = out.as_chunks_mut::<{ ActivationQ8K::LEN }>();
    debug_assert_eq!(values.len(), out.len());
    for (block, out) in values.iter().zip(out) {
        *out = ActivationQ8K::quantize(block).to_bytes();
    }
}

/// Rounds a row to bf16, to nearest and ties to even. What is beyond the shorter of both is left
/// alone.
pub fn quantize_bf16(values: &[f32], out: &mut [u8]) {
    let (out, _) = out.as_chunks_mut();
    for (value, out) in values.iter().zip(out) {
        *out = bf16::from_f32(*value).to_le_bytes();
    }
}

/// The scale of a block whose largest magnitude is `largest`, and its inverse.
///
/// A block with an infinity or NaN gets a NaN scale: the products turn NaN, as they would have
/// in float, instead of hiding the fault. A block so small that its inverse scale would
/// overflow becomes zeros.
pub(crate) fn scale_of(largest: f32) -> (f32, f32) {
    // 127 / 2^-120 is just below f32's largest value.
    const SMALLEST: f32 = f32::from_bits(7 << 23);
    if !largest.is_finite() {
        (f32::NAN, 0.0)
    } else if largest < SMALLEST {
        (0.0, 0.0)
    } else {
        (largest / 127.0, 127.0 / largest)
    }
}

/// A scale with the precision that Q8_0 blocks in files have. Others round activations to that
/// very block; with the same scales, the same file gives the same text here and there. A scale
/// outside half precision's normal range keeps its value.
fn half_scale(scale: f32) -> f32 {
    let half = f16::from_f32(scale);
    if half.is_normal() {
        half.to_f32()
    } else {
        scale
    }
}

fn round_to_bytes<const N: usize>(values: &[f32; N]) -> (f32, [i8; N]) {
    // Magnitudes compared as integers, so that NaN, the largest of all, is not lost.
    let largest = values.iter().fold(0, |largest: u32, value| {
        largest.max(value.to_bits() & 0x7fff_ffff)
    });
    let (scale, inverse) = scale_of(f32::from_bits(largest));
    if inverse == 0.0 {
        return (scale, [0; N]);
    }
    // Adding 1.5·2^23 rounds to the nearest integer, ties to even, and leaves it in the low
    // bits: the same result as the vector instructions give, without a call into libm.
    const ROUND: f32 = 12_582_912.0;
    let quants = core::array::from_fn(|index| {
        let [byte, ..] = (values[index] * inverse + ROUND).to_bits().to_le_bytes();
        byte.cast_signed()
    });
    (scale, quants)
}
