//! Mistral (Jiang et al. 2023): LLaMA whose layers look through a sliding window. In GGUF it is
//! a `llama`.

use super::tables::{self, keys};
use super::{Architecture, DECODER, llama};

pub(super) const MISTRAL: Architecture = Architecture {
    title: "Mistral",
    gguf: &[],
    hugging_face: &["mistral"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "sliding_window" => "attention.sliding_window",
        },
    ],
    names: llama::NAMES,
    conversion: llama::CONVERSION,
    build: llama::build,
    ..DECODER
};

/// Some of whose layers may see everything.
pub(super) const MINISTRAL: Architecture = Architecture {
    title: "Ministral",
    hugging_face: &["ministral"],
    keys: &[tables::SIZES, tables::ROPE, tables::WINDOWS],
    ..MISTRAL
};
