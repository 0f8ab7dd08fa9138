//! Tokenizers against their reference implementations.

mod cases;
mod combinations;
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
mod vocabularies;
