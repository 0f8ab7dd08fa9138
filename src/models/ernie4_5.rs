//! ERNIE 4.5 without experts (Baidu 2025): LLaMA, but neighbours rotate together.

use super::{Architecture, Conversion, DECODER, llama};
use crate::graph::Pairing;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "ERNIE 4.5",
    gguf: &["ernie4_5"],
    hugging_face: &["ernie4_5"],
    off: &["use_bias"],
    keys: llama::KEYS,
    ties: true,
    names: llama::NAMES,
    conversion: Conversion::PLAIN,
    build: |model| llama::wire(model, &USUAL, &|_| true),
    ..DECODER
};

const USUAL: llama::Usual = llama::Usual {
    eps: 1e-5,
    base: 5e5,
    head_dim: Some(128),
    pairing: Some(Pairing::Interleaved),
    ..llama::USUAL
};
