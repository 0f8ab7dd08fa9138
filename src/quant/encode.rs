//! Scalar encoding of weights, judged by the squared error of what is decoded again.

use half::{bf16, f16};
use rillm_formats::manifest::DType;

use super::blocks::Block;
use super::{fp4::*, iq4::*, k_quants::*, legacy_quants::*, ternary::*};

/// Encodes a row of finite weights into whole blocks. Lengths that do not fit each other
/// encode as many whole blocks as both hold.
pub type Encode = fn(&[f32], &mut [u8]);

/// The encoder of a type, if there is one.
pub fn encode(dtype: DType) -> Option<Encode> {
    Some(match dtype {
        DType::F32 => |values, out| floats(values, out, f32::to_le_bytes),
        DType::F16 => |values, out| floats(values, out, |x| f16::from_f32(x).to_le_bytes()),
        DType::BF16 => |values, out| floats(values, out, |x| bf16::from_f32(x).to_le_bytes()),
        DType::Q4_0 => |values, out| each_block(values, out, q4_0),
        DType::Q4_1 => |values, out| each_block(values, out, q4_1),
        DType::Q5_0 => |values, out| each_block(values, out, q5_0),
        DType::Q5_1 => |values, out| each_block(values, out, q5_1),
        DType::Q8_0 => |values, out| each_block(values, out, q8_0),
        DType::Q2_K => |values, out| each_block(values, out, q2_k),
        DType::Q3_K => |values, out| each_block(values, out, q3_k),
        DType::Q4_K => |values, out| each_block(values, out, q4_k),
        DType::Q5_K => |values, out| each_block(values, out, q5_k),
        DType::Q6_K => |values, out| each_block(values, out, q6_k),
        DType::IQ4_NL => |values, out| each_block(values, out, iq4_nl),
        DType::IQ4_XS => |values, out| each_block(values, out, iq4_xs),
        DType::MXFP4 => |values, out| each_block(values, out, mxfp4),
        DType::TQ1_0 => |values, out| each_block(values, out, tq1_0),
        DType::TQ2_0 => |values, out| each_block(values, out, tq2_0),
        _ => return None,
    })
}

/// One by one.
fn floats<const LEN: usize>(values: &[f32], out: &mut [u8], encode: impl Fn(f32) -> [u8; LEN]) {
    let (out, _) = out.as_chunks_mut::<LEN>();
    debug_assert_eq!(values.len(), out.len());
    for (value, out) in values.iter().zip(out) {
        *out = encode(*value);
    }
}

fn each_block<const ELEMENTS: usize, B: Block>(
    values: &[f32],
    out: &mut [u8],
    encode: impl Fn(&[f32; ELEMENTS]) -> B,
) {
    let (values, _) = values.as_chunks::<ELEMENTS>();
    let out = out.chunks_exact_mut(B::LEN);
    debug_assert_eq!(values.len(), out.len());
    for (block, out) in values.iter().zip(out) {
        encode(block).write(out);
    }
}
