//! Helium (Kyutai 2025): LLaMA, but neighbours rotate together. In GGUF it is a `llama`, whose rows
//! are in that order.

use super::{Architecture, Conversion, DECODER, llama, tables};
use crate::graph::Pairing;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Helium",
    gguf: &[],
    hugging_face: &["helium"],
    off: tables::BIASES,
    keys: llama::KEYS,
    names: llama::NAMES,
    conversion: Conversion {
        architecture: Some("llama"),
        ..Conversion::PLAIN
    },
    build: |model| llama::wire(model, &USUAL, &|_| true),
    ..DECODER
};

const USUAL: llama::Usual = llama::Usual {
    eps: 1e-8,
    base: 1e5,
    head_dim: Some(128),
    pairing: Some(Pairing::Interleaved),
    ..llama::USUAL
};
