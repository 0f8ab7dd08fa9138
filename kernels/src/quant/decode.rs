//! Scalar decoding, bit-identical to the `gguf` package's.

use half::{bf16, f16};
use rillm_formats::manifest::DType;

use super::types::{Float, Visitor, visit};
use super::{Block, Block32, Block256, BlockNVFP4, Integers256};

/// Decodes a row: whole blocks in, floats out. Lengths that do not fit each other decode as
/// many whole blocks as both hold.
pub type Decode = fn(&[u8], &mut [f32]);

/// The decoder of a type, if there is one.
pub fn decode(dtype: DType) -> Option<Decode> {
    visit(dtype, Decoders)
}

struct Decoders;

impl Visitor for Decoders {
    type Output = Decode;

    fn floats(self, float: Float) -> Decode {
        match float {
            Float::F32 => |bytes, out| floats(bytes, out, f32::from_le_bytes),
            Float::F16 => |bytes, out| floats(bytes, out, |x| f16::from_le_bytes(x).to_f32()),
            Float::BF16 => |bytes, out| floats(bytes, out, |x| bf16::from_le_bytes(x).to_f32()),
        }
    }

    fn block32<B: Block32>(self) -> Decode {
        block32::<B>
    }

    fn block256<B: Block256>(self) -> Decode {
        block256::<B>
    }

    fn nvfp4(self) -> Decode {
        nvfp4
    }
}

fn floats<const LEN: usize>(bytes: &[u8], out: &mut [f32], decode: impl Fn([u8; LEN]) -> f32) {
    let (values, _) = bytes.as_chunks::<LEN>();
    debug_assert_eq!(values.len(), out.len());
    for (value, out) in values.iter().zip(out) {
        *out = decode(*value);
    }
}

fn block32<B: Block32>(bytes: &[u8], out: &mut [f32]) {
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

fn block256<B: Block256>(bytes: &[u8], out: &mut [f32]) {
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
