//! The architectures: one value in one file each, wiring and nothing else.
//!
//! An architecture names its hyperparameters and tensors, and records its graphs on a
//! [`Builder`]. It sees no bytes, no threads and no instruction sets.

mod bert;
mod bloom;
mod cohere;
mod compressive_transformer;
mod falcon;
mod fla;
mod gemma;
mod gemma1;
mod gla;
mod glm4;
mod gpt2;
mod gpt_neox;
mod granite;
mod granite_hybrid;
mod jamba;
mod linear_transformer;
mod llama;
mod mamba;
mod mamba2;
mod mistral;
mod mixtral;
mod mpt;
mod olmo2;
mod phi2;
mod phi3;
mod qwen;
mod qwen3_next;
mod retnet;
mod rwkv4;
mod rwkv6;
mod rwkv7;
mod smollm3;
mod starcoder2;
mod t5;
mod tables;
mod transfo_xl;

use crate::graph::{BuildError, Builder, Key, Name};

/// Families, as users speak of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Predicts the next token.
    Decoder,
    /// Encodes a text.
    Encoder,
    /// Encodes one text and writes another.
    EncoderDecoder,
    /// Predicts the next token from a state of constant size.
    Recurrent,
    /// A decoder with routed experts.
    MixtureOfExperts,
}

impl Family {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Family::Decoder => "decoder",
            Family::Encoder => "encoder",
            Family::EncoderDecoder => "encoder-decoder",
            Family::Recurrent => "recurrent",
            Family::MixtureOfExperts => "mixture of experts",
        }
    }
}

/// How converters to GGUF arrange rows that a Hugging Face checkpoint has in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converted {
    /// In the same.
    AsStored,
    /// Queries and keys so that elements that rotate together are neighbours.
    NeighboursPaired,
    /// Projections that are fused head by head: all queries, all keys, all values.
    QueriesFirst,
}

/// One architecture.
#[derive(Clone, Copy, Debug)]
pub struct Architecture {
    /// What it is called in the README's table.
    pub title: &'static str,
    /// GGUF's `general.architecture` values it answers to.
    pub gguf: &'static [&'static str],
    /// `config.json`'s `model_type` values it answers to.
    pub hugging_face: &'static [&'static str],
    /// What kind of model it is.
    pub family: Family,
    /// Hyperparameters of a Hugging Face folder.
    pub keys: &'static [&'static [Key]],
    /// Tensors of a Hugging Face checkpoint; the first line that fits counts.
    pub names: &'static [&'static [Name]],
    /// Tensors that GGUF files may carry and nobody needs. Any other unknown one is an error:
    /// the file is of a variant whose results would be wrong.
    pub unused: &'static [&'static str],
    /// How converters to GGUF arrange the rows of its projections.
    pub converted: Converted,
    /// Records the graphs.
    pub build: fn(&Builder<'_>) -> Result<(), BuildError>,
}

/// Every architecture.
pub const ARCHITECTURES: &[Architecture] = &[
    gpt2::ARCHITECTURE,
    llama::ARCHITECTURE,
    mistral::MISTRAL,
    mistral::MINISTRAL,
    mixtral::ARCHITECTURE,
    qwen::QWEN_2,
    qwen::QWEN_3,
    gemma1::ARCHITECTURE,
    gemma::GEMMA_2,
    gemma::GEMMA_3,
    granite::ARCHITECTURE,
    olmo2::OLMO_2,
    olmo2::OLMO_3,
    smollm3::ARCHITECTURE,
    phi3::ARCHITECTURE,
    starcoder2::ARCHITECTURE,
    glm4::ARCHITECTURE,
    cohere::COMMAND_R,
    cohere::COMMAND_R7B,
    phi2::ARCHITECTURE,
    falcon::ARCHITECTURE,
    gpt_neox::ARCHITECTURE,
    bloom::ARCHITECTURE,
    mpt::ARCHITECTURE,
    bert::ARCHITECTURE,
    t5::ARCHITECTURE,
    mamba::ARCHITECTURE,
    mamba2::ARCHITECTURE,
    qwen3_next::ARCHITECTURE,
    retnet::ARCHITECTURE,
    gla::ARCHITECTURE,
    rwkv4::ARCHITECTURE,
    rwkv6::ARCHITECTURE,
    rwkv7::ARCHITECTURE,
    jamba::ARCHITECTURE,
    granite_hybrid::GRANITE_4,
    granite_hybrid::BAMBA,
    linear_transformer::ARCHITECTURE,
    transfo_xl::ARCHITECTURE,
    compressive_transformer::ARCHITECTURE,
];
