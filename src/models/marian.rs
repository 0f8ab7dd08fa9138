//! Marian (Junczys-Dowmunt et al. 2018), as the models of OPUS-MT have it.

use super::bart_tables::{KEYS, NAMES, SCALED, SETTLED_LIKE_MARIAN, converted};
use super::beginnings::BEGINNINGS;
use super::encoder_decoder::{
    Arrangement, ClassDefaults, EmbeddingNorm, NormPlace, Positions, SEES_ALL, build,
    written_logits,
};
use super::{Architecture, Conversion, DECODER, Family};

const ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::Last,
    positions: Positions::Sinusoids,
    embedding_norm: EmbeddingNorm::None,
    encoder_mask: SEES_ALL,
    usual: ClassDefaults {
        activation: "gelu",
        scales_embedding: false,
        padding: 58100,
        start: Some(58100),
        end: 0,
    },
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Marian, OPUS-MT",
    gguf: &["marian"],
    hugging_face: &["marian"],
    family: Family::EncoderDecoder,
    keys: &[KEYS, BEGINNINGS, SCALED],
    settled: SETTLED_LIKE_MARIAN,
    ties: true,
    names: &[NAMES],
    conversion: Conversion {
        keys: converted,
        ..Conversion::PLAIN
    },
    build: |model| {
        build(model, &ARRANGEMENT, |net, x| {
            written_logits(net, x, "Marian")
        })
    },
    ..DECODER
};
