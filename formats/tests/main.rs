//! Files and vocabularies: what is read is what the bytes say, and what lies is refused.

mod gguf;
mod hf_config;
mod memory;
mod safetensors;
mod seeds;
mod support;
mod tokenizer;
