//! LongT5 (Guo et al. 2022): T5 whose encoder's rows see those nearby, and summaries of blocks.

use super::beginnings::BEGINNINGS;
use super::t5::{KEYS, T5, Variant, build};
use super::tables::{keys, names};
use super::{Architecture, Conversion};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "LongT5",
    gguf: &["longt5"],
    hugging_face: &["longt5"],
    keys: &[
        keys! {
            "local_radius" => "attention.local_radius",
            "global_block_size" => "attention.global_block_size",
            "encoder_attention_type" => "encoder_attention_type",
        },
        KEYS,
        BEGINNINGS,
    ],
    names: &[
        names! {
            in "encoder.block.{i}.layer.0.LocalSelfAttention." => "enc.blk.{i}." {
                "q.weight" => "attn_q.weight",
                "k.weight" => "attn_k.weight",
                "v.weight" => "attn_v.weight",
                "o.weight" => "attn_o.weight",
                "relative_attention_bias.weight" => "attn_rel_b.weight",
            }
            in "encoder.block.{i}.layer.0.TransientGlobalSelfAttention." => "enc.blk.{i}." {
                "q.weight" => "attn_q.weight",
                "k.weight" => "attn_k.weight",
                "v.weight" => "attn_v.weight",
                "o.weight" => "attn_o.weight",
                "relative_attention_bias.weight" => "attn_rel_b.weight",
                "global_relative_attention_bias.weight" => "attn_global_rel_b.weight",
                "global_input_layer_norm.weight" => "attn_global_norm.weight",
            }
        },
        T5.names[0],
    ],
    conversion: Conversion {
        architecture: None,
        ..T5.conversion
    },
    build: |model| build(model, Variant::LongT5),
    ..T5
};
