//! Tokenizers against their reference implementations.

mod cases;
mod gguf;
mod hf;
mod properties;
mod seeds;
mod trials;
mod vocabularies;
