//! Hugging Face folders become GGUF files.

mod defaults;
mod folders;
mod names;
mod small_floats;
mod three_values;
