//! What each weight format means: block layouts, and scalar code that decodes and encodes them.
//!
//! This is the truth that kernels are tested against. Decoding gives the same bits as the `gguf`
//! package; encoding is judged by its error. Nothing here knows a model, a thread or an
//! instruction set.
//!
//! A type is a row of [`types`] and a few items in the file of its family: the layout of its block,
//! what that is as integers, and its encoder.

mod activation;
mod bits;
mod blocks;
mod decode;
mod encode;
mod fit;
mod fp4;
pub(crate) mod grids;
mod i_quants;
mod iq4;
mod k_quants;
mod legacy_quants;
mod ternary;
pub mod types;

#[cfg(target_arch = "x86_64")]
pub(crate) use activation::scale_of;
pub use activation::{
    Activation, ActivationQ8_0, ActivationQ8K, quantize_bf16, quantize_q8_0, quantize_q8_k,
};
pub use blocks::*;
pub use decode::{Decode, decode};
pub use encode::Encode;
pub use fp4::*;
pub use i_quants::*;
pub use iq4::*;
pub use k_quants::*;
pub use legacy_quants::*;
pub use ternary::*;
pub use types::encode;
