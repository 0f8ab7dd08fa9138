//! Model file formats and tokenizers: bytes in, checked facts out.
//!
//! Every reader takes a slice, never trusts a number in it, never panics, and spends time and
//! memory in proportion to the slice ([`limits::MEMORY_FACTOR`]). The containers are
//! [`gguf`] and [`safetensors`] (with [`hf_config`] beside it); both end in a
//! [`manifest::Manifest`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod cursor;
mod dtype;
pub mod error;
pub mod gguf;
pub mod hf_config;
mod json;
pub mod limits;
pub mod manifest;
mod metadata;
mod reserve;
pub mod safetensors;
pub mod tokenizer;

pub use error::{ErrorKind, FormatError};
