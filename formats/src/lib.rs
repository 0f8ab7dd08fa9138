//! Model file formats and tokenizers: bytes in, checked facts out.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod manifest;
pub mod tokenizer;
