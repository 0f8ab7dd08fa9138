//! What the configurations and checkpoints of many Hugging Face decoders have in common.

use crate::graph::{Key, Name};
use rillm_formats::hf_config::HfConfig;

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

/// What rotary positions depend on: entries of objects, where those of windowed layers may stand by
/// themselves, and entries beside them.
macro_rules! rotation {
    ($($object:literal => $scaling:literal $end:literal,)*) => {
        &[
            // The one entry that counts beside an object that has it as well.
            (
                "rope.scaling.original_context_length",
                "original_max_position_embeddings",
            ),
            $(
                (concat!("rope.freq_base", $end), concat!($object, "rope_theta")),
                (concat!($scaling, "type"), concat!($object, "rope_type")),
                (concat!($scaling, "type"), concat!($object, "type")),
                (concat!($scaling, "factor"), concat!($object, "factor")),
                (
                    concat!($scaling, "original_context_length"),
                    concat!($object, "original_max_position_embeddings"),
                ),
                (
                    concat!($scaling, "attn_factor"),
                    concat!($object, "attention_factor"),
                ),
                (
                    concat!($scaling, "yarn_beta_fast"),
                    concat!($object, "beta_fast"),
                ),
                (
                    concat!($scaling, "yarn_beta_slow"),
                    concat!($object, "beta_slow"),
                ),
                (concat!($scaling, "mscale"), concat!($object, "mscale")),
                (
                    concat!($scaling, "mscale_all_dim"),
                    concat!($object, "mscale_all_dim"),
                ),
                (concat!($scaling, "truncate"), concat!($object, "truncate")),
                (
                    concat!($scaling, "low_freq_factor"),
                    concat!($object, "low_freq_factor"),
                ),
                (
                    concat!($scaling, "high_freq_factor"),
                    concat!($object, "high_freq_factor"),
                ),
                (
                    concat!($scaling, "short_factor"),
                    concat!($object, "short_factor"),
                ),
                (
                    concat!($scaling, "long_factor"),
                    concat!($object, "long_factor"),
                ),
            )*
            ("rope.freq_base", "rope_theta"),
        ]
    };
}

/// Configurations up to 2025 call the object otherwise than later ones, which may have one for each
/// type of layers.
pub(super) const ROPE: &[Key] = rotation! {
    "rope_scaling." => "rope.scaling." "",
    "rope_parameters." => "rope.scaling." "",
    "rope_parameters.full_attention." => "rope.scaling." "",
    "rope_parameters.sliding_attention." => "rope.scaling_swa." "_swa",
};

/// The same of classes that have two rotations: what stands in the object itself they do not read.
pub(super) const ROPE_OF_EACH: &[Key] = rotation! {
    "rope_scaling." => "rope.scaling." "",
    "rope_parameters.full_attention." => "rope.scaling." "",
    "rope_parameters.sliding_attention." => "rope.scaling_swa." "_swa",
};

/// How much of a head rotates, of classes that do not rotate all of it whatever is said.
pub(super) const PARTIAL_ROPE: &[Key] = keys! {
    "rope_scaling.partial_rotary_factor" => "rope.partial_factor",
    "rope_parameters.partial_rotary_factor" => "rope.partial_factor",
    "partial_rotary_factor" => "rope.partial_factor",
};

/// Leaves one of two objects that say how positions turn: where the earlier name says anything, the
/// later one is not read.
pub fn without_second_rotation(config: &mut HfConfig) {
    let says = |key: &String| key.starts_with("rope_scaling.");
    if config.metadata.0.keys().any(says) {
        let other = |key: &String| !key.starts_with("rope_parameters.");
        config.metadata.0.retain(|key, _| other(key));
        config.blanks.retain(|key, _| other(key));
    }
}

/// How far back layers look, and which of them.
pub(super) const WINDOWS: &[Key] = keys! {
    "sliding_window" => "attention.sliding_window",
    "layer_types" => "attention.sliding_window_pattern",
    "sliding_window_pattern" => "attention.sliding_window_pattern",
};

/// Whether rows see those before them alone.
pub(super) const CAUSAL: &[Key] = keys! {
    "is_causal" => "attention.causal",
};

/// Embedding, last norm and head.
pub(super) const ENDS: &[Name] = names! {
    "model.embed_tokens.weight" => "token_embd.weight",
    "model.norm.weight" => "output_norm.weight",
    "lm_head.weight" => "output.weight",
};

/// Heads of classes that judge texts, of decoders and of T5's kin.
pub(super) const HEADS: &[Name] = names! {
    "score.*" => "cls.output.*",
    "classification_head.dense.*" => "cls.*",
    "classification_head.out_proj.*" => "cls.output.*",
    "classifier.*" => "cls.output.*",
    "qa_outputs.*" => "qa_outputs.*",
};

/// Whether projections have biases, and those of feed-forward layers.
pub(super) const BIASES: &[&str] = &["attention_bias", "mlp_bias"];

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

/// The router and its experts, each with tensors of its own.
pub(super) const EXPERTS: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "mlp.gate.weight" => "ffn_gate_inp.weight",
        "mlp.experts.{e}.gate_proj.*" => "ffn_gate_exps.*",
        "mlp.experts.{e}.up_proj.*" => "ffn_up_exps.*",
        "mlp.experts.{e}.down_proj.*" => "ffn_down_exps.*",
        // As transformers 5 holds them in memory: gates first, then what they let through.
        "mlp.experts.gate_up_proj" => "ffn_gate_up_exps.weight",
        "mlp.experts.down_proj" => "ffn_down_exps.weight",
    }
};
