//! Scalar encoding of weights, judged by the squared error of what is decoded again. How a type is
//! encoded stands with its blocks.

use super::blocks::Block;

/// Encodes a row of finite weights into whole blocks. Lengths that do not fit each other
/// encode as many whole blocks as both hold.
pub type Encode = fn(&[f32], &mut [u8]);

/// A row of floats, one by one.
pub(super) fn each_float<const LEN: usize>(
    values: &[f32],
    out: &mut [u8],
    encode: impl Fn(f32) -> [u8; LEN],
) {
    let (out, _) = out.as_chunks_mut::<LEN>();
    debug_assert_eq!(values.len(), out.len());
    for (value, out) in values.iter().zip(out) {
        *out = encode(*value);
    }
}

/// A row of blocks.
pub(super) fn each_block<const ELEMENTS: usize, B: Block>(
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
