//! Mixtral (Jiang et al. 2024): LLaMA whose feed-forward layers are mixtures of experts.
//! In GGUF it is a `llama` with an expert count.

use super::{Architecture, Family, llama};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Mixtral",
    gguf: &[],
    hugging_face: &["mixtral"],
    family: Family::MixtureOfExperts,
    keys: llama::KEYS,
    names: llama::NAMES,
    unused: &[],
    build: llama::build,
};
