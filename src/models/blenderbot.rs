//! Blenderbot (Roller et al. 2021), and its small sibling, whose norms come after each sum.

use super::bart_tables::{KEYS, NAMES, SCALED, SETTLED_LIKE_BART, SETTLED_LIKE_PEGASUS, converted};
use super::beginnings::BEGINNINGS;
use super::encoder_decoder::{
    Arrangement, ClassDefaults, EmbeddingNorm, NormPlace, Positions, SEES_ALL, build,
    written_logits,
};
use super::{Architecture, Conversion, DECODER, Family};

const ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::First,
    positions: Positions::Learned(0),
    embedding_norm: EmbeddingNorm::None,
    encoder_mask: SEES_ALL,
    usual: ClassDefaults {
        activation: "gelu",
        scales_embedding: false,
        padding: 0,
        start: Some(1),
        end: 2,
    },
};

const SMALL_ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::Last,
    embedding_norm: EmbeddingNorm::WithPositionsOrBefore,
    ..ARRANGEMENT
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Blenderbot",
    gguf: &["blenderbot"],
    hugging_face: &["blenderbot"],
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
            written_logits(net, x, "Blenderbot")
        })
    },
    ..DECODER
};

pub(super) const SMALL: Architecture = Architecture {
    title: "Blenderbot Small",
    gguf: &["blenderbot-small"],
    hugging_face: &["blenderbot-small"],
    settled: SETTLED_LIKE_BART,
    build: |model| {
        build(model, &SMALL_ARRANGEMENT, |net, x| {
            written_logits(net, x, "BlenderbotSmall")
        })
    },
    ..ARCHITECTURE
};
