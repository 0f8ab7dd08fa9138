//! What each weight format means: block layouts, and scalar code that decodes and encodes them.
//!
//! This is the truth that kernels are tested against. Decoding gives the same bits as the `gguf`
//! package; encoding is judged by its error. Nothing here knows a model, a thread or an
//! instruction set.

mod activation;
mod blocks;
mod decode;
mod encode;
mod grid;
pub(crate) mod grids;
mod integers;

#[cfg(target_arch = "x86_64")]
pub(crate) use activation::scale_of;
pub use activation::{ActivationQ8_0, ActivationQ8K, quantize_q8_0, quantize_q8_k};
pub use blocks::*;
pub use decode::{Decode, decode};
pub use encode::{Encode, encode};
pub use integers::{Block32, Block256, IQuantBlock, Integers32, Integers256, NVFP4_SCALES};
