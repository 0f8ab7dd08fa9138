//! What a GGUF file is to hold, before it is written: a GGUF file's own keys and tensors, or those
//! that a Hugging Face folder becomes.

mod draft;
mod generation;
mod hugging_face;
mod scaling;
mod tasks;

pub use draft::{Draft, ValueSource};
pub(crate) use draft::{DraftTensor, TensorSource};
