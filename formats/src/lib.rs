//! Model file formats and tokenizers: bytes in, checked facts out.
//!
//! Every reader takes a slice, never trusts a number in it, never panics, and spends time and
//! memory in proportion to the slice ([`limits::MEMORY_FACTOR`]). The containers are
//! [`gguf`] and [`safetensors`] (with [`hf_config`] beside it); both end in a
//! [`manifest::Manifest`].
//!
//! ```
//! use rillm_formats::gguf;
//! use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};
//!
//! let bytes = std::fs::read("../assets/demo.gguf")?;
//! let manifest = gguf::merge(vec![gguf::parse(&bytes, 0)?])?;
//! assert_eq!(manifest.architecture, "llama");
//! for tensor in manifest.tensors.values().take(3) {
//!     println!("{:?} {:?} at {:?}", tensor.dtype, tensor.shape, tensor.range);
//! }
//! let tokenizer = Tokenizer::from_gguf(&manifest.metadata)?.ok_or("no vocabulary")?;
//! let ids = tokenizer.encode("Once upon a time", EncodeOptions::default())?;
//! let text = tokenizer.decode_text(&ids, DecodeOptions::default());
//! assert_eq!(text.trim_start(), "Once upon a time");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod cursor;
mod dtype;
pub mod error;
pub mod gguf;
pub mod hf_config;
pub mod json;
pub mod limits;
pub mod manifest;
mod metadata;
mod reserve;
pub mod safetensors;
pub mod tokenizer;

pub use error::{ErrorKind, FormatError};
