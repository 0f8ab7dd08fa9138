//! Tokenizers against their reference implementations.

mod cases;
mod folders;
mod gguf;
mod hf;
mod offsets;
mod parts;
mod patterns;
mod properties;
mod seeds;
mod settings;
mod slow;
mod swell;
mod trials;
mod vocabularies;
