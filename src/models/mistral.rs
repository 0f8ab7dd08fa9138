//! Mistral (Jiang et al. 2023): LLaMA whose layers look through a sliding window. In GGUF it is
//! a `llama`.

use super::tables::{self, keys};
use super::{Architecture, DECODER, Only, llama};

pub(super) const MISTRAL: Architecture = Architecture {
    title: "Mistral",
    gguf: &[],
    hugging_face: &["mistral"],
    off: tables::BIASES,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::CAUSAL,
        keys! {
            "sliding_window" => "attention.sliding_window",
        },
    ],
    names: llama::NAMES,
    conversion: llama::CONVERSION,
    // The authors' code does not read which layers should have the window.
    settled: &[("layer_types", Only::Any)],
    build: |model| llama::wire(model, &USUAL, &|_| true),
    ..DECODER
};

const USUAL: llama::Usual = llama::Usual {
    window: Some(4096),
    ..llama::USUAL
};

/// Some of whose layers may see everything.
pub(super) const MINISTRAL: Architecture = Architecture {
    title: "Ministral",
    hugging_face: &["ministral"],
    keys: &[tables::SIZES, tables::ROPE, tables::WINDOWS, tables::CAUSAL],
    ..MISTRAL
};
