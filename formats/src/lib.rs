//! Model file formats and tokenizers: bytes in, checked facts out.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod dtype;
pub mod manifest;
mod metadata;
