//! Hugging Face folders become GGUF files.

mod folders;
mod names;
#[path = "../support/mod.rs"]
mod support;
