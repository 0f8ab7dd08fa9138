//! Scalar decoding, bit-identical to the `gguf` package's.

use half::{bf16, f16};
use rillm_formats::manifest::DType;

use super::*;

/// Decodes a row: whole blocks in, floats out. Lengths that do not fit each other decode as
/// many whole blocks as both hold.
pub type Decode = fn(&[u8], &mut [f32]);

/// The decoder of a type, if there is one.
pub fn decode(dtype: DType) -> Option<Decode> {
    Some(match dtype {
        DType::F32 => |bytes, out| floats(bytes, out, f32::from_le_bytes),
        DType::F16 => |bytes, out| floats(bytes, out, |x| f16::from_le_bytes(x).to_f32()),
        DType::BF16 => |bytes, out| floats(bytes, out, |x| bf16::from_le_bytes(x).to_f32()),
        DType::Q4_0 => small::<BlockQ4_0>,
        DType::Q4_1 => small::<BlockQ4_1>,
        DType::Q5_0 => small::<BlockQ5_0>,
        DType::Q5_1 => small::<BlockQ5_1>,
        DType::Q8_0 => small::<BlockQ8_0>,
        DType::Q2_K => large::<BlockQ2K>,
        DType::Q3_K => large::<BlockQ3K>,
        DType::Q4_K => large::<BlockQ4K>,
        DType::Q5_K => large::<BlockQ5K>,
        DType::Q6_K => large::<BlockQ6K>,
        DType::IQ4_NL => small::<BlockIQ4NL>,
        DType::IQ4_XS => large::<BlockIQ4XS>,
        DType::MXFP4 => small::<BlockMXFP4>,
        DType::NVFP4 => nvfp4,
        DType::TQ1_0 => large::<BlockTQ1_0>,
        DType::TQ2_0 => large::<BlockTQ2_0>,
        DType::IQ2_XXS => large::<BlockIQ2XXS>,
        DType::IQ2_XS => large::<BlockIQ2XS>,
        DType::IQ2_S => large::<BlockIQ2S>,
        DType::IQ3_XXS => large::<BlockIQ3XXS>,
        DType::IQ3_S => large::<BlockIQ3S>,
        DType::IQ1_S => large::<BlockIQ1S>,
        DType::IQ1_M => large::<BlockIQ1M>,
        _ => return None,
    })
}

fn floats<const LEN: usize>(bytes: &[u8], out: &mut [f32], decode: impl Fn([u8; LEN]) -> f32) {
    let (values, _) = bytes.as_chunks::<LEN>();
    debug_assert_eq!(values.len(), out.len());
    for (value, out) in values.iter().zip(out) {
        *out = decode(*value);
    }
}

fn small<B: Block32>(bytes: &[u8], out: &mut [f32]) {
    each_block(bytes, out, |block: B, out| {
        let (groups, _) = out.as_chunks_mut::<32>();
        for (group, out) in groups.iter_mut().enumerate() {
            let group = block.integers(group);
            for (out, quant) in out.iter_mut().zip(group.quants) {
                *out = group.scale * f32::from(quant);
                if B::OFFSETS {
                    *out += group.offset;
                }
            }
        }
    });
}

fn large<B: Block256>(bytes: &[u8], out: &mut [f32]) {
    let mut integers = Integers256::ZERO;
    each_block(bytes, out, |block: B, out| {
        block.integers(&mut integers);
        let (groups, _) = integers.quants.as_chunks::<16>();
        let (out, _) = out.as_chunks_mut::<16>();
        for (g, (out, quants)) in out.iter_mut().zip(groups).enumerate() {
            let scale = integers.scale * f32::from(integers.scales[g]);
            let min = integers.min_scale * f32::from(integers.mins[g]);
            for (out, &quant) in out.iter_mut().zip(quants) {
                *out = scale * f32::from(quant);
                if B::MINS {
                    *out -= min;
                }
            }
        }
    });
}

fn nvfp4(bytes: &[u8], out: &mut [f32]) {
    each_block(bytes, out, |block: BlockNVFP4, out| {
        let scales = block.group_scales();
        for (i, (out, value)) in out.iter_mut().zip(block.values()).enumerate() {
            *out = scales[i / 16] * f32::from(value);
        }
    });
}

#[inline]
fn each_block<B: Block>(bytes: &[u8], out: &mut [f32], mut decode: impl FnMut(B, &mut [f32])) {
    let (blocks, out) = (
        bytes.chunks_exact(B::LEN),
        out.chunks_exact_mut(B::ELEMENTS),
    );
    debug_assert_eq!(blocks.len(), out.len());
    for (block, out) in blocks.zip(out) {
        decode(B::read(block), out);
    }
}
