//! BigBird-Pegasus (Zaheer et al. 2020): Pegasus with learned positions, whose encoder sees blocks.

use super::bart_tables::{KEYS, NAMES, SCALED, SETTLED_LIKE_PEGASUS, converted};
use super::beginnings::BEGINNINGS;
use super::big_bird::block_sparse;
use super::encoder_decoder::{
    Arrangement, ClassDefaults, EmbeddingNorm, NormPlace, Positions, build, written_logits,
};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family};
use crate::graph::{BlockSparse, Mask};

const ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::First,
    positions: Positions::Learned(0),
    embedding_norm: EmbeddingNorm::None,
    encoder_mask: |config, layer, _| {
        Ok(match block_sparse(config)? {
            None => Mask::Bidirectional,
            Some(sparse) => Mask::Blocks(BlockSparse {
                layer: layer as u32,
                ..sparse
            }),
        })
    },
    usual: ClassDefaults {
        activation: "gelu_new",
        scales_embedding: true,
        padding: 0,
        start: Some(2),
        end: 1,
    },
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "BigBird-Pegasus",
    gguf: &["bigbird_pegasus"],
    hugging_face: &["bigbird_pegasus"],
    family: Family::EncoderDecoder,
    keys: &[
        KEYS,
        BEGINNINGS,
        SCALED,
        keys! {
            "attention_type" => "attention.type",
            "block_size" => "attention.block_size",
            "num_random_blocks" => "attention.random_blocks",
        },
    ],
    settled: SETTLED_LIKE_PEGASUS,
    ties: true,
    names: &[
        names! {
            // So called, it comes after the last layer.
            "model.encoder.layernorm_embedding.*" => "enc.output_norm.*",
            "model.decoder.layernorm_embedding.*" => "dec.output_norm.*",
            in "model.encoder.layers.{i}.self_attn." => "enc.blk.{i}." {
                "self.query.*" => "attn_q.*",
                "self.key.*" => "attn_k.*",
                "self.value.*" => "attn_v.*",
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
        build(model, &ARRANGEMENT, |net, x| {
            written_logits(net, x, "BigBirdPegasus")
        })
    },
    ..DECODER
};
