//! Hugging Face folders become GGUF files.

mod folders;
#[path = "../support/mod.rs"]
mod support;
