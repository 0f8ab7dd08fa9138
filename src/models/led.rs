//! LED (Beltagy et al. 2020): BART whose encoder is Longformer's.

use super::bart_tables::{KEYS, NAMES, SETTLED_LIKE_BART, converted};
use super::beginnings::BEGINNINGS;
use super::encoder_decoder::{
    Arrangement, ClassDefaults, EmbeddingNorm, NormPlace, Positions, build, written_logits,
};
use super::longformer::window;
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family};
use crate::graph::GlobalRows;

const ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::Last,
    positions: Positions::Learned(0),
    embedding_norm: EmbeddingNorm::WithPositions,
    encoder_mask: window,
    usual: ClassDefaults {
        activation: "gelu",
        scales_embedding: false,
        padding: 1,
        start: Some(2),
        end: 2,
    },
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "LED",
    gguf: &["led"],
    hugging_face: &["led"],
    family: Family::EncoderDecoder,
    keys: &[
        KEYS,
        BEGINNINGS,
        keys! {
            "max_encoder_position_embeddings" => "context_length",
            "max_decoder_position_embeddings" => "decoder_context_length",
            "attention_window" => "attention.sliding_window",
        },
    ],
    settled: SETTLED_LIKE_BART,
    ties: true,
    names: &[
        names! {
            in "model.encoder.layers.{i}.self_attn." => "enc.blk.{i}." {
                "longformer_self_attn.query.*" => "attn_q.*",
                "longformer_self_attn.key.*" => "attn_k.*",
                "longformer_self_attn.value.*" => "attn_v.*",
                "longformer_self_attn.query_global.*" => "attn_q_global.*",
                "longformer_self_attn.key_global.*" => "attn_k_global.*",
                "longformer_self_attn.value_global.*" => "attn_v_global.*",
                "output.*" => "attn_o.*",
            }
        },
        NAMES,
    ],
    conversion: Conversion {
        keys: converted,
        ..Conversion::PLAIN
    },
    build: |model| {
        // As its authors advise where a text is written.
        model.global_rows(GlobalRows::First);
        build(model, &ARRANGEMENT, |net, x| written_logits(net, x, "LED"))
    },
    ..DECODER
};
