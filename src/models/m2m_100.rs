//! M2M-100 (Fan et al. 2021) and NLLB (Costa-jussà et al. 2022).

use super::bart_tables::{KEYS, NAMES, SCALED, SETTLED_LIKE_PEGASUS, converted};
use super::beginnings::BEGINNINGS;
use super::encoder_decoder::{
    Arrangement, ClassDefaults, EmbeddingNorm, NormPlace, Positions, SEES_ALL, build,
    written_logits,
};
use super::{Architecture, Conversion, DECODER, Family};

pub(super) const ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::First,
    positions: Positions::CountedSinusoids,
    embedding_norm: EmbeddingNorm::None,
    encoder_mask: SEES_ALL,
    usual: ClassDefaults {
        activation: "relu",
        scales_embedding: true,
        padding: 1,
        start: Some(2),
        end: 2,
    },
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "M2M-100, NLLB",
    gguf: &["m2m_100"],
    hugging_face: &["m2m_100"],
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
            written_logits(net, x, "M2M100")
        })
    },
    ..DECODER
};
