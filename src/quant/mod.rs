//! What each weight format means: block layouts, and scalar code that decodes and encodes them.
//!
//! This is the truth that kernels are tested against. Decoding gives the same bits as the `gguf`
//! package; encoding is judged by its error. Nothing here knows a model, a thread or an
//! instruction set.

mod activation;
mod blocks;
mod decode;
mod encode;

pub use activation::{ActivationQ8_0, ActivationQ8K, quantize_q8_0, quantize_q8_k};
#[cfg(target_arch = "x86_64")]
pub(crate) use activation::{half_scale, scale_of};
pub use blocks::{BlockQ4_0, BlockQ4K, BlockQ6K, BlockQ8_0};
pub use decode::{
    Decode, decode, decode_bf16, decode_f16, decode_f32, decode_q4_0, decode_q4_k, decode_q6_k,
    decode_q8_0,
};
pub use encode::{Encode, encode};
