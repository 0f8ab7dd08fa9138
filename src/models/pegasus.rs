//! Pegasus (Zhang et al. 2020).

use super::bart_tables::{KEYS, NAMES, SCALED, SETTLED_LIKE_PEGASUS, converted};
use super::beginnings::BEGINNINGS;
use super::encoder_decoder::{
    Arrangement, ClassDefaults, EmbeddingNorm, NormPlace, Positions, SEES_ALL, build,
    written_logits,
};
use super::{Architecture, Conversion, DECODER, Family};

const ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::First,
    positions: Positions::Sinusoids,
    embedding_norm: EmbeddingNorm::None,
    encoder_mask: SEES_ALL,
    usual: ClassDefaults {
        activation: "gelu",
        scales_embedding: false,
        padding: 0,
        start: Some(0),
        end: 1,
    },
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Pegasus",
    gguf: &["pegasus"],
    hugging_face: &["pegasus"],
    family: Family::EncoderDecoder,
    keys: &[KEYS, BEGINNINGS, SCALED],
    settled: SETTLED_LIKE_PEGASUS,
    ties: true,
    names: &[NAMES],
    conversion: Conversion {
        keys: converted,
        ..Conversion::PLAIN
    },
    build: |model| {
        build(model, &ARRANGEMENT, |net, x| {
            written_logits(net, x, "Pegasus")
        })
    },
    ..DECODER
};
