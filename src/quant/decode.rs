//! Scalar decoding, bit-identical to the `gguf` package's.

use half::{bf16, f16};
use rillm_formats::manifest::DType;

use super::{BlockQ4_0, BlockQ4K, BlockQ6K, BlockQ8_0};

/// Decodes a row: whole blocks in, floats out. Lengths that do not fit each other decode as
/// many whole blocks as both hold.
pub type Decode = fn(&[u8], &mut [f32]);

/// The decoder of a type, if there is one.
pub fn decode(dtype: DType) -> Option<Decode> {
    match dtype {
        DType::F32 => Some(decode_f32),
        DType::F16 => Some(decode_f16),
        DType::BF16 => Some(decode_bf16),
        DType::Q8_0 => Some(decode_q8_0),
        DType::Q4_0 => Some(decode_q4_0),
        DType::Q4_K => Some(decode_q4_k),
        DType::Q6_K => Some(decode_q6_k),
        _ => None,
    }
}

/// F32: a copy.
pub fn decode_f32(bytes: &[u8], out: &mut [f32]) {
    each_block(bytes, out, |block: &[u8; 4], out: &mut [f32; 1]| {
        *out = [f32::from_le_bytes(*block)];
    });
}

/// F16, exactly.
pub fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    each_block(bytes, out, |block: &[u8; 2], out: &mut [f32; 1]| {
        *out = [f16::from_le_bytes(*block).to_f32()];
    });
}

/// BF16, exactly.
pub fn decode_bf16(bytes: &[u8], out: &mut [f32]) {
    each_block(bytes, out, |block: &[u8; 2], out: &mut [f32; 1]| {
        *out = [bf16::from_le_bytes(*block).to_f32()];
    });
}

/// Q8_0: `scale · quant`.
pub fn decode_q8_0(bytes: &[u8], out: &mut [f32]) {
    each_block(bytes, out, |block, out: &mut [f32; 32]| {
        let block = BlockQ8_0::from_bytes(block);
        let scale = block.scale();
        *out = block.quants.map(|quant| scale * f32::from(quant));
    });
}

/// Q4_0: `scale · (quant − 8)`.
pub fn decode_q4_0(bytes: &[u8], out: &mut [f32]) {
    each_block(bytes, out, |block, out: &mut [f32; 32]| {
        let block = BlockQ4_0::from_bytes(block);
        let scale = block.scale();
        *out = block
            .unpacked()
            .map(|quant| scale * (f32::from(quant) - 8.0));
    });
}

/// Q4_K: `scale · scales[g] · quant − min_scale · mins[g]`.
pub fn decode_q4_k(bytes: &[u8], out: &mut [f32]) {
    each_block(bytes, out, |block, out: &mut [f32; 256]| {
        let block = BlockQ4K::from_bytes(block);
        let (scale, min_scale) = (block.scale(), block.min_scale());
        let (scales, mins) = block.scales_and_mins();
        let scales = scales.map(|group| scale * f32::from(group));
        let mins = mins.map(|group| min_scale * f32::from(group));
        let quants = block.unpacked();
        *out = core::array::from_fn(|i| scales[i / 32] * f32::from(quants[i]) - mins[i / 32]);
    });
}

/// Q6_K: `scale · scales[g] · (quant − 32)`.
pub fn decode_q6_k(bytes: &[u8], out: &mut [f32]) {
    each_block(bytes, out, |block, out: &mut [f32; 256]| {
        let block = BlockQ6K::from_bytes(block);
        let scale = block.scale();
        let scales = block.scales.map(|group| scale * f32::from(group));
        let quants = block.unpacked();
        *out = core::array::from_fn(|i| scales[i / 16] * f32::from(quants[i]));
    });
}

#[inline]
fn each_block<const LEN: usize, const ELEMENTS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; LEN], &mut [f32; ELEMENTS]),
) {
    let (blocks, _) = bytes.as_chunks::<LEN>();
    let (out, _) = out.as_chunks_mut::<ELEMENTS>();
    debug_assert_eq!(blocks.len(), out.len());
    for (block, out) in blocks.iter().zip(out) {
        decode(block, out);
    }
}
