//! Mistral (Jiang et al. 2023): LLaMA whose layers look through a sliding window. In GGUF it is
//! a `llama`.

use super::{Architecture, DECODER, llama, tables};

pub(super) const MISTRAL: Architecture = Architecture {
    title: "Mistral",
    gguf: &[],
    hugging_face: &["mistral"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::ROPE_SCALING,
        tables::ROPE_PARAMETERS,
        &[("attention.sliding_window", "sliding_window")],
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
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::ROPE_SCALING,
        tables::ROPE_PARAMETERS,
        tables::WINDOWS,
    ],
    ..MISTRAL
};
