//! What the configurations and checkpoints of many Hugging Face decoders have in common.

use crate::graph::{Key, Name};

/// Sizes, heads and the norm's epsilon.
pub(super) const SIZES: &[Key] = &[
    ("embedding_length", "hidden_size"),
    ("block_count", "num_hidden_layers"),
    ("feed_forward_length", "intermediate_size"),
    ("context_length", "max_position_embeddings"),
    ("attention.head_count", "num_attention_heads"),
    ("attention.head_count_kv", "num_key_value_heads"),
    ("attention.key_length", "head_dim"),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ("hidden_act", "hidden_act"),
];

/// Keys of a RoPE's scaling, which are nested in one object.
macro_rules! rope_scaling {
    ($object:literal) => {
        &[
            ("rope.freq_base", concat!($object, ".rope_theta")),
            (
                "rope.partial_factor",
                concat!($object, ".partial_rotary_factor"),
            ),
            ("rope.scaling.type", concat!($object, ".rope_type")),
            ("rope.scaling.type", concat!($object, ".type")),
            ("rope.scaling.factor", concat!($object, ".factor")),
            (
                "rope.scaling.original_context_length",
                concat!($object, ".original_max_position_embeddings"),
            ),
            (
                "rope.scaling.attn_factor",
                concat!($object, ".attention_factor"),
            ),
            (
                "rope.scaling.yarn_beta_fast",
                concat!($object, ".beta_fast"),
            ),
            (
                "rope.scaling.yarn_beta_slow",
                concat!($object, ".beta_slow"),
            ),
            ("rope.scaling.mscale", concat!($object, ".mscale")),
            (
                "rope.scaling.mscale_all_dim",
                concat!($object, ".mscale_all_dim"),
            ),
            ("rope.scaling.truncate", concat!($object, ".truncate")),
            (
                "rope.scaling.low_freq_factor",
                concat!($object, ".low_freq_factor"),
            ),
            (
                "rope.scaling.high_freq_factor",
                concat!($object, ".high_freq_factor"),
            ),
            (
                "rope.scaling.short_factor",
                concat!($object, ".short_factor"),
            ),
            ("rope.scaling.long_factor", concat!($object, ".long_factor")),
        ]
    };
}

/// The base and the part of a head that is rotated.
pub(super) const ROPE: &[Key] = &[
    ("rope.freq_base", "rope_theta"),
    ("rope.partial_factor", "partial_rotary_factor"),
    (
        "rope.scaling.original_context_length",
        "original_max_position_embeddings",
    ),
];
/// Scaling as configurations up to 2025 say it, and later ones.
pub(super) const ROPE_SCALING: &[Key] = rope_scaling!("rope_scaling");
pub(super) const ROPE_PARAMETERS: &[Key] = rope_scaling!("rope_parameters");

/// How far back layers look, and which of them.
pub(super) const WINDOWS: &[Key] = &[
    ("attention.sliding_window", "sliding_window"),
    ("attention.sliding_window_pattern", "layer_types"),
    ("attention.sliding_window_pattern", "sliding_window_pattern"),
];

/// Embedding, last norm and head.
pub(super) const ENDS: &[Name] = &[
    Name::plain("model.embed_tokens.weight", "token_embd.weight"),
    Name::plain("model.norm.weight", "output_norm.weight"),
    Name::plain("lm_head.weight", "output.weight"),
];

/// Projections of attention, with biases where there are some.
pub(super) const ATTENTION: &[Name] = &[
    Name::plain(
        "model.layers.{i}.self_attn.q_proj.weight",
        "blk.{i}.attn_q.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.k_proj.weight",
        "blk.{i}.attn_k.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.v_proj.weight",
        "blk.{i}.attn_v.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.o_proj.weight",
        "blk.{i}.attn_output.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.q_proj.bias",
        "blk.{i}.attn_q.bias",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.k_proj.bias",
        "blk.{i}.attn_k.bias",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.v_proj.bias",
        "blk.{i}.attn_v.bias",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.o_proj.bias",
        "blk.{i}.attn_output.bias",
    ),
];

/// Norms of queries and keys.
pub(super) const HEAD_NORMS: &[Name] = &[
    Name::plain(
        "model.layers.{i}.self_attn.q_norm.weight",
        "blk.{i}.attn_q_norm.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.k_norm.weight",
        "blk.{i}.attn_k_norm.weight",
    ),
];

/// Norms before attention and before the feed-forward layer.
pub(super) const NORMS: &[Name] = &[
    Name::plain(
        "model.layers.{i}.input_layernorm.weight",
        "blk.{i}.attn_norm.weight",
    ),
    Name::plain(
        "model.layers.{i}.post_attention_layernorm.weight",
        "blk.{i}.ffn_norm.weight",
    ),
];

/// The gated feed-forward layer.
pub(super) const GATED_MLP: &[Name] = &[
    Name::plain(
        "model.layers.{i}.mlp.gate_proj.weight",
        "blk.{i}.ffn_gate.weight",
    ),
    Name::plain(
        "model.layers.{i}.mlp.up_proj.weight",
        "blk.{i}.ffn_up.weight",
    ),
    Name::plain(
        "model.layers.{i}.mlp.down_proj.weight",
        "blk.{i}.ffn_down.weight",
    ),
    Name::plain(
        "model.layers.{i}.mlp.gate_proj.bias",
        "blk.{i}.ffn_gate.bias",
    ),
    Name::plain("model.layers.{i}.mlp.up_proj.bias", "blk.{i}.ffn_up.bias"),
    Name::plain(
        "model.layers.{i}.mlp.down_proj.bias",
        "blk.{i}.ffn_down.bias",
    ),
];
