//! What the folders of BART and of what descends from it have in common: keys, tensors, and what
//! becomes of them in GGUF.

use super::beginnings::single_tokens;
use super::tables::{keys, names};
use super::{GgufKeys, Only, Settled, task_heads};
use crate::graph::{Key, Name};

/// Hyperparameters of its folders.
pub(super) const KEYS: &[Key] = keys! {
    "d_model" => "embedding_length",
    "hidden_size" => "embedding_length",
    "encoder_layers" => "block_count",
    "num_hidden_layers" => "block_count",
    "decoder_layers" => "decoder_block_count",
    "encoder_ffn_dim" => "feed_forward_length",
    "decoder_ffn_dim" => "decoder_feed_forward_length",
    "encoder_attention_heads" => "attention.head_count",
    "num_attention_heads" => "attention.head_count",
    "decoder_attention_heads" => "decoder_attention.head_count",
    "max_position_embeddings" => "context_length",
    "activation_function" => "hidden_act",
    "share_encoder_decoder_embeddings" => "share_encoder_decoder_embeddings",
    "decoder_vocab_size" => "decoder_vocab_size",
    "pad_token_id" => "padding_token_id",
    "eos_token_id" => "eos_token_id",
    "is_decoder" => "is_decoder",
};

/// Of which all but LED's read whether embeddings are multiplied by the root of their width.
pub(super) const SCALED: &[Key] = keys! {
    "scale_embedding" => "scale_embedding",
};

/// What folders of early versions say beside it, and transformers does not read, of an arrangement
/// whose norms come first and whose embedding is normalised, or not.
macro_rules! settled {
    ($norms_first:literal, $embedding_norm:literal) => {
        &[
            ("add_bias_logits", Only::Is(false)),
            ("add_final_layer_norm", Only::Is($norms_first)),
            ("decoder_layerdrop", Only::Any),
            ("do_blenderbot_90_layernorm", Only::Any),
            ("encoder_layerdrop", Only::Any),
            ("extra_pos_embeddings", Only::Any),
            ("layernorm_variant", Only::Any),
            ("normalize_before", Only::Is($norms_first)),
            ("normalize_embedding", Only::Is($embedding_norm)),
            ("static_position_embeddings", Only::Any),
        ]
    };
}

/// Norms come after each sum, and the embedding has one: BART.
pub(super) const SETTLED_LIKE_BART: &[Settled] = settled!(false, true);
/// Norms come first, and the embedding has one: mBART.
pub(super) const SETTLED_LIKE_MBART: &[Settled] = settled!(true, true);
/// Norms come after each sum, and the embedding has none: Marian.
pub(super) const SETTLED_LIKE_MARIAN: &[Settled] = settled!(false, false);
/// Norms come first, and the embedding has none: Pegasus.
pub(super) const SETTLED_LIKE_PEGASUS: &[Settled] = settled!(true, false);

/// Tensors of its checkpoints.
pub(super) const NAMES: &[Name] = names! {
    "model.shared.weight" => "token_embd.weight",
    "final_logits_bias" => "output.bias",
    "lm_head.weight" => "output.weight",
    "classification_head.dense.*" => "cls.*",
    "classification_head.out_proj.*" => "cls.output.*",
    "qa_outputs.*" => "qa_outputs.*",
    in "model.encoder." => "enc." {
        "embed_tokens.weight" => "token_embd.weight",
        "embed_positions.weight" => "position_embd.weight",
        "layernorm_embedding.*" => "token_embd_norm.*",
        "layer_norm.*" => "output_norm.*",
    }
    in "model.decoder." => "dec." {
        "embed_tokens.weight" => "token_embd.weight",
        "embed_positions.weight" => "position_embd.weight",
        "layernorm_embedding.*" => "token_embd_norm.*",
        "layer_norm.*" => "output_norm.*",
    }
    in "model.encoder.layers.{i}." => "enc.blk.{i}." {
        "self_attn.q_proj.*" => "attn_q.*",
        "self_attn.k_proj.*" => "attn_k.*",
        "self_attn.v_proj.*" => "attn_v.*",
        "self_attn.out_proj.*" => "attn_o.*",
        "self_attn_layer_norm.*" => "attn_norm.*",
        "fc1.*" => "ffn_up.*",
        "fc2.*" => "ffn_down.*",
        "final_layer_norm.*" => "ffn_norm.*",
    }
    in "model.decoder.layers.{i}." => "dec.blk.{i}." {
        "self_attn.q_proj.*" => "attn_q.*",
        "self_attn.k_proj.*" => "attn_k.*",
        "self_attn.v_proj.*" => "attn_v.*",
        "self_attn.out_proj.*" => "attn_o.*",
        "self_attn_layer_norm.*" => "attn_norm.*",
        "encoder_attn.q_proj.*" => "cross_attn_q.*",
        "encoder_attn.k_proj.*" => "cross_attn_k.*",
        "encoder_attn.v_proj.*" => "cross_attn_v.*",
        "encoder_attn.out_proj.*" => "cross_attn_o.*",
        "encoder_attn_layer_norm.*" => "cross_attn_norm.*",
        "fc1.*" => "ffn_up.*",
        "fc2.*" => "ffn_down.*",
        "final_layer_norm.*" => "ffn_norm.*",
    }
};

/// What GGUF says in another way: the class by its name, and tokens as numbers.
pub(super) fn converted(keys: &mut GgufKeys<'_>) {
    task_heads::keys(keys);
    single_tokens(keys);
    keys.remove(&["is_decoder"]);
}
