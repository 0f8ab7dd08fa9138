//! What the configurations and checkpoints of many Hugging Face decoders have in common.

use crate::graph::{Key, Name};

/// A table of tensors, a line for each: the checkpoint's name, GGUF's, and how it is stored. `*`
/// stands for `weight` and for `bias`, `{i}` for a layer's number, `{e}` for an expert's; what
/// stands after `in` begins both names of each line.
macro_rules! names {
    (@view) => { $crate::graph::View::Plain };
    (@view $view:ident) => { $crate::graph::View::$view };
    (@part) => { None };
    (@part $part:literal) => { Some($part) };
    (
        $($theirs:literal => $ours:literal $(as $view:ident)? $(part $part:literal)?,)*
        $(in $from:literal => $to:literal {
            $($their:literal => $our:literal $(as $viewed:ident)? $(part $number:literal)?,)*
        })*
    ) => {
        &[
            $($crate::graph::Name {
                from: $theirs,
                to: $ours,
                view: names!(@view $($view)?),
                part: names!(@part $($part)?),
            },)*
            $($($crate::graph::Name {
                from: concat!($from, $their),
                to: concat!($to, $our),
                view: names!(@view $($viewed)?),
                part: names!(@part $($number)?),
            },)*)*
        ]
    };
}

/// A table of hyperparameters, a line for each: `config.json`'s key and GGUF's.
macro_rules! keys {
    (
        $($theirs:literal => $ours:literal,)*
        $(in $from:literal => $to:literal { $($their:literal => $our:literal,)* })*
    ) => {
        &[
            $(($ours, $theirs),)*
            $($((concat!($to, $our), concat!($from, $their)),)*)*
        ]
    };
}

pub(super) use {keys, names};

/// Sizes, heads and the norm's epsilon.
pub(super) const SIZES: &[Key] = keys! {
    "hidden_size" => "embedding_length",
    "num_hidden_layers" => "block_count",
    "intermediate_size" => "feed_forward_length",
    "max_position_embeddings" => "context_length",
    "num_attention_heads" => "attention.head_count",
    "num_key_value_heads" => "attention.head_count_kv",
    "head_dim" => "attention.key_length",
    "rms_norm_eps" => "attention.layer_norm_rms_epsilon",
    "hidden_act" => "hidden_act",
};

/// The base, the part of a head that is rotated, and scaling: nested in an object, which
/// configurations up to 2025 call differently from later ones.
macro_rules! rope {
    ($($object:literal),*) => {
        keys! {
            "rope_theta" => "rope.freq_base",
            "partial_rotary_factor" => "rope.partial_factor",
            "original_max_position_embeddings" => "rope.scaling.original_context_length",
            $(in $object => "rope." {
                "rope_theta" => "freq_base",
                "partial_rotary_factor" => "partial_factor",
                "rope_type" => "scaling.type",
                "type" => "scaling.type",
                "factor" => "scaling.factor",
                "original_max_position_embeddings" => "scaling.original_context_length",
                "attention_factor" => "scaling.attn_factor",
                "beta_fast" => "scaling.yarn_beta_fast",
                "beta_slow" => "scaling.yarn_beta_slow",
                "mscale" => "scaling.mscale",
                "mscale_all_dim" => "scaling.mscale_all_dim",
                "truncate" => "scaling.truncate",
                "low_freq_factor" => "scaling.low_freq_factor",
                "high_freq_factor" => "scaling.high_freq_factor",
                "short_factor" => "scaling.short_factor",
                "long_factor" => "scaling.long_factor",
            })*
        }
    };
}

/// What rotary positions depend on.
pub(super) const ROPE: &[Key] = rope!("rope_scaling.", "rope_parameters.");

/// How far back layers look, and which of them.
pub(super) const WINDOWS: &[Key] = keys! {
    "sliding_window" => "attention.sliding_window",
    "layer_types" => "attention.sliding_window_pattern",
    "sliding_window_pattern" => "attention.sliding_window_pattern",
};

/// Embedding, last norm and head.
pub(super) const ENDS: &[Name] = names! {
    "model.embed_tokens.weight" => "token_embd.weight",
    "model.norm.weight" => "output_norm.weight",
    "lm_head.weight" => "output.weight",
};

/// Projections of attention, with biases where there are some.
pub(super) const ATTENTION: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "self_attn.q_proj.*" => "attn_q.*",
        "self_attn.k_proj.*" => "attn_k.*",
        "self_attn.v_proj.*" => "attn_v.*",
        "self_attn.o_proj.*" => "attn_output.*",
    }
};

/// Norms of queries and keys.
pub(super) const HEAD_NORMS: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "self_attn.q_norm.weight" => "attn_q_norm.weight",
        "self_attn.k_norm.weight" => "attn_k_norm.weight",
    }
};

/// Norms before attention and before the feed-forward layer.
pub(super) const NORMS: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "input_layernorm.weight" => "attn_norm.weight",
        "post_attention_layernorm.weight" => "ffn_norm.weight",
    }
};

/// The gated feed-forward layer.
pub(super) const GATED_MLP: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "mlp.gate_proj.*" => "ffn_gate.*",
        "mlp.up_proj.*" => "ffn_up.*",
        "mlp.down_proj.*" => "ffn_down.*",
    }
};
