//! Hugging Face folders become GGUF files.

mod folders;
mod names;
mod small_floats;
