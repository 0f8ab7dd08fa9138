//! Which keys of a configuration may be there although nobody reads them.
//!
//! A key that changes what a model computes and is not understood would make its results silently
//! wrong. So a key that is neither read nor known to be harmless is refused by name, if that name
//! speaks of what models compute ([`WORDS`]); of notes to people there is no end. What is known of
//! one architecture alone stands in its file ([`Architecture::settled`]); here stands what holds for
//! all.

use super::{Architecture, Family};
use crate::graph::{BuildError, Config};
use rillm_formats::manifest::{Array, Container, MetadataValue};
use std::collections::HashSet;

/// Which values of a key change nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Only {
    /// Any: the authors' code does not read it, or reads it for another purpose.
    Any,
    /// This truth value.
    Is(bool),
    /// This number.
    Number(f64),
    /// One of these texts.
    Text(&'static [&'static str]),
    /// None but `null` and what is empty.
    Nothing,
}

/// A key of `config.json` that no table of hyperparameters has, and its values that change nothing.
pub type Settled = (&'static str, Only);

/// Keys of `config.json` that change nothing in any architecture, whatever their values; what
/// stands in an object of that name included. So are those that begin with an underscore, which are
/// the library's own, and those of `generation_config.json`.
pub const HARMLESS: &[&str] = &[
    // What a model is called and who wrote its files.
    "architectures",
    "author",
    "auto_class",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "finetuning_task",
    "id2label",
    "implementation",
    "label2id",
    "license",
    "max_sequence_length",
    "model_max_length",
    "model_name",
    "model_type",
    "name",
    "name_or_path",
    "num_labels",
    "problem_type",
    "task_specific_params",
    "tokenizer_class",
    "tokenizer_model_max_length",
    "tokenizer_name",
    "torch_dtype",
    "transformers_version",
    "transformers.js_config",
    "unsloth_fixed",
    "unsloth_version",
    "version",
    // Tokens, and sizes that the tensors tell.
    "bos_token_id",
    "cls_token_id",
    "context_length",
    "decoder_start_token_id",
    "eod_token_id",
    "eos_token_id",
    "mask_token_id",
    "max_length",
    "max_position_embeddings",
    "n_ctx",
    "n_positions",
    "num_parameters",
    "pad_token_id",
    "seq_length",
    "sep_token_id",
    "type_vocab_size",
    "unk_token_id",
    "vocab_size",
    // How texts are generated.
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_lookbehind",
    "bad_words_ids",
    "begin_suppress_tokens",
    "cache_config",
    "cache_implementation",
    "constraints",
    "dia_guidance_top_k",
    "disable_compile",
    "diversity_penalty",
    "do_sample",
    "dola_layers",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "force_words_ids",
    "forced_bos_token_id",
    "forced_decoder_ids",
    "forced_eos_token_id",
    "guidance_scale",
    "is_assistant",
    "keys_to_ignore_at_inference",
    "length_penalty",
    "low_memory",
    "max_matching_ngram_size",
    "max_new_tokens",
    "max_time",
    "min_length",
    "min_new_tokens",
    "min_p",
    "no_repeat_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_logits_to_keep",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_past",
    "output_scores",
    "penalty_alpha",
    "prefill_chunk_size",
    "prefix",
    "prompt_lookup_num_tokens",
    "remove_invalid_values",
    "renormalize_logits",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "return_legacy_cache",
    "sequence_bias",
    "stop_strings",
    "suppress_tokens",
    "target_lookbehind",
    "temperature",
    "token_healing",
    "top_h",
    "top_k",
    "top_p",
    "typical_p",
    "use_cache",
    "watermarking_config",
    // Training: how parameters began, what was dropped, what was added to the loss.
    "activation_dropout",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_dropout",
    "attn_pdrop",
    "classifier_dropout",
    "dropout",
    "dropout_rate",
    "emb_pdrop",
    "embd_dropout",
    "embd_pdrop",
    "embedding_dropout",
    "embedding_fraction",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "init_config",
    "init_device",
    "init_method",
    "initializer_factor",
    "initializer_range",
    "layerdrop",
    "output_router_logits",
    "rescale_prenorm_residual",
    "resid_dropout",
    "resid_pdrop",
    "residual_dropout",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "router_z_loss_coef",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "time_step_floor",
    "time_step_init_scheme",
    "time_step_max",
    "time_step_min",
    "time_step_scale",
    "use_auxiliary_loss",
    "use_fused_cross_entropy",
    "use_l2warp",
    "z_loss_coefficient",
    // How the authors' code computes the same.
    "attn_implementation",
    "attn_mode",
    "chunk_size",
    "chunk_size_feed_forward",
    "experts_implementation",
    "ffn_config.ffn_type",
    "flash_attn_2_enabled",
    "fuse_cross_entropy",
    "fuse_linear_cross_entropy",
    "fuse_norm",
    "fuse_swiglu",
    "fused_add_norm",
    "is_encoder_decoder",
    "mamba_chunk_size",
    "pad_vocab_size_multiple",
    "pretraining_tp",
    "reorder_and_upcast_attn",
    "residual_in_fp32",
    "return_all_logits",
    "slow_but_exact",
    "tf_legacy_loss",
    "tie_embeddings",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "torchscript",
    "use_associative_scan",
    "use_bfloat16",
    "use_falcon_mambapy",
    ("use_bias", "bias", MIXER),
    ("use_conv_bias", "bias", CONVOLUTION),
    ("mamba_conv_bias", "bias", CONVOLUTION),
    ("mamba_proj_bias", "bias", MIXER),
    "use_flash_attention",
    "use_flash_attention_2",
    "use_flash_attn",
    "use_mamba_kernels",
    "use_mambapy",
const MIXER: &[&str] = &["ssm_in", "ssm_out"];
const CONVOLUTION: &[&str] = &["ssm_conv1d"];
    "verbose",
    // Tensors tell which layers are normalised or have biases, and those that a flag denies are
    // refused.
    "attention_bias",
    "bias",
    "mamba_conv_bias",
    "mamba_proj_bias",
    "mlp_bias",
    "no_bias",
    "qk_layernorm",
    "use_bias",
    "use_conv_bias",
    "use_qk_norm",
    // Weights of fewer bits are known by their types.
    "quantization",
    "quantization_config",
    "rope_scaling.finetuned",
    // What stands beside the part of a model that reads texts.
    "image_token_id",
    "image_token_index",
    "neftune_noise_alpha",
    "perceiver_config",
    "pixel_shuffle_factor",
    "use_resampler",
    "video_token_id",
    "vision_config",
    "vision_end_token_id",
    "vision_start_token_id",
    "vision_token_id",
];

/// Keys that change nothing in any architecture as long as they have these values.
const SETTLED: &[Settled] = &[
    ("add_cross_attention", Only::Is(false)),
    ("alibi", Only::Is(false)),
    ("clip_qkv", Only::Nothing),
    ("cross_attention_hidden_size", Only::Nothing),
    ("is_causal", Only::Is(true)),
    ("is_decoder", Only::Any),
    ("per_layer_config", Only::Nothing),
    ("position_embedding_type", Only::Text(&["absolute", "rope"])),
    ("pruned_heads", Only::Nothing),
    ("qk_layer_norms", Only::Is(false)),
    ("rotary", Only::Is(true)),
    ("use_bidirectional_attention", Only::Is(false)),
    ("use_mrope", Only::Is(false)),
    ("use_parallel_residual", Only::Is(false)),
    ("use_sliding_window", Only::Is(false)),
];

/// What the words of a key begin with that speaks of what a model computes: layers, sizes,
/// functions, positions, norms, routing, states.
pub const WORDS: &[&str] = &[
    "act",
    "alibi",
    "attend",
    "attention",
    "attn",
    "band",
    "base",
    "beta",
    "bias",
    "bidirectional",
    "block",
    "cap",
    "causal",
    "channel",
    "chunk",
    "clamp",
    "clip",
    "codebook",
    "conv",
    "cross",
    "decay",
    "decoder",
    "deep",
    "delta",
    "depth",
    "dilat",
    "dim",
    "dt",
    "embed",
    "embd",
    "encoder",
    "eps",
    "expan",
    "expert",
    "factor",
    "feature",
    "feed",
    "ffn",
    "freq",
    "fuse",
    "gamma",
    "gat",
    "gelu",
    "glu",
    "group",
    "head",
    "hidden",
    "inner",
    "interleav",
    "intermediate",
    "interval",
    "kernel",
    "key",
    "kv",
    "lambda",
    "latent",
    "layer",
    "linear",
    "ln",
    "local",
    "logit",
    "loop",
    "lora",
    "lru",
    "mamba",
    "mask",
    "mem",
    "mix",
    "mla",
    "mlp",
    "moe",
    "mrope",
    "mtp",
    "multipl",
    "mup",
    "nextn",
    "nope",
    "norm",
    "ntk",
    "num",
    "offset",
    "order",
    "parallel",
    "pattern",
    "period",
    "pool",
    "pos",
    "power",
    "projection",
    "qk",
    "quer",
    "rank",
    "recurren",
    "relative",
    "resid",
    "rms",
    "rope",
    "rot",
    "rout",
    "scal",
    "segment",
    "share",
    "shift",
    "size",
    "skip",
    "sliding",
    "slope",
    "softcap",
    "softmax",
    "sink",
    "sparse",
    "sparsity",
    "ssm",
    "state",
    "stride",
    "temperature",
    "theta",
    "tie",
    "topk",
    "upcast",
    "value",
    "width",
    "window",
    "xpos",
    "yarn",
];

/// Whether a key's name speaks of what a model computes.
fn speaks_of_arithmetic(key: &str) -> bool {
    let mut words = key.split(['_', '.', '-']);
    words.any(|word| WORDS.iter().any(|begin| word.starts_with(begin)))
}

/// Keys of GGUF files, after the architecture's name, that change nothing: sizes that the tensors
/// tell, and what describes how a file was made.
const HARMLESS_IN_GGUF: &[&str] = &[
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "context_length",
    "decoder_start_token_id",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "expert_used_count",
    "feed_forward_length",
    "pooling_type",
    "rope.dimension_count",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "ssm.inner_size",
    "tensor_data_layout",
    "vocab_size",
];

/// Refuses what stands in a `config.json` and is not understood.
pub(crate) fn check_folder(
    config: &Config<'_>,
    architecture: &Architecture,
) -> Result<(), BuildError> {
    if config.container == Container::Gguf {
        return Ok(());
    }
    let read = |key: &str| {
        let mut lines = architecture.keys.iter().copied().flatten();
        lines.any(|(_, theirs)| *theirs == key)
    };
    // A window that is switched off may be as wide as it likes.
    let unused_window = config.metadata.bool("use_sliding_window") == Some(false);
    for (key, value) in &config.metadata.0 {
        let of_windows = matches!(
            key.as_str(),
            "sliding_window" | "sliding_window_pattern" | "max_window_layers"
        );
        // A configuration of its own, as some have for attention.
        let inner = key.strip_prefix("attn_config.").unwrap_or(key);
        if key.starts_with('_')
            || read(key)
            || within(key, "generation")
            || unused_window && of_windows
            || HARMLESS
                .iter()
                .any(|harmless| within(key, harmless) || within(inner, harmless))
        {
            continue;
        }
        let lists = [architecture.settled, SETTLED];
        let mut settled = lists.iter().copied().flatten();
        match settled.find(|(known, _)| within(key, known)) {
            Some((_, only)) => {
                if let Some(expected) = only.expected(value) {
                    return Err(config.bad(key, &expected));
                }
            }
            None if is_off(value) || !speaks_of_arithmetic(key) => {}
            None => return Err(config.unknown(key)),
        }
    }
    Ok(())
}

/// Flags that deny what tensors may nevertheless bring, and the parts of a layer that then have
/// none.
const DENIED: &[(&str, &str, &[&str])] = &[
    ("attention_bias", "bias", ATTENTION),
    ("mlp_bias", "bias", MLP),
    ("bias", "bias", ATTENTION),
    ("bias", "bias", MLP),
    ("use_bias", "bias", ATTENTION),
    ("use_bias", "bias", MLP),
    ("qk_layernorm", "weight", HEAD_NORMS),
    ("use_qk_norm", "weight", HEAD_NORMS),
];
const ATTENTION: &[&str] = &["attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output"];
const MLP: &[&str] = &["ffn_gate", "ffn_up", "ffn_down"];
const HEAD_NORMS: &[&str] = &["attn_q_norm", "attn_k_norm"];

/// Refuses a flag of a `config.json` that the tensors which graphs use contradict: the authors'
/// code would leave them out.
pub(crate) fn check_flags(
    config: &Config<'_>,
    architecture: &Architecture,
    used: &HashSet<&str>,
) -> Result<(), BuildError> {
    if config.container == Container::Gguf {
        return Ok(());
    }
    for (key, parameter, parts) in DENIED {
        let mut settled = architecture.settled.iter();
        if settled.any(|(known, _)| known == key) {
            continue;
        }
        let there = used.iter().find(|name| {
            let mut words = name.split('.').skip(2);
            words.next().is_some_and(|part| parts.contains(&part))
                && words.next() == Some(parameter)
        });
        let norms = *parameter == "weight";
        match (config.metadata.value(key), there) {
            (Some(MetadataValue::Bool(false)), Some(name)) => {
                return Err(config.bad(key, &format!("true, for there is {name}")));
            }
            (Some(MetadataValue::Bool(true)), None) if norms => {
                return Err(config.bad(key, "false, for no layer has norms of queries and keys"));
            }
            (None | Some(MetadataValue::Bool(_)), _) => {}
            (Some(_), _) => return Err(config.bad(key, "true or false")),
        }
    }
    Ok(())
}

/// Refuses what stands in a GGUF file and no graph has asked for.
pub(crate) fn check_gguf(
    config: &Config<'_>,
    architecture: &Architecture,
) -> Result<(), BuildError> {
    if config.container == Container::HuggingFace {
        return Ok(());
    }
    let begin = format!("{}.", config.architecture);
    let asked = config.asked();
    for (full, value) in config.metadata.0.range(begin.clone()..) {
        let Some(key) = full.strip_prefix(&begin) else {
            break;
        };
        let mut lines = architecture.keys.iter().copied().flatten();
        let known = asked.contains(key)
            || lines.any(|(canonical, _)| *canonical == key)
            || HARMLESS_IN_GGUF.contains(&key)
            || architecture.harmless_in_gguf.contains(&key);
        // Who looks at whom, which only decoders that may be encoders are asked.
        let causal = key == "attention.causal" && !asked.contains(key);
        let encoder = architecture.family == Family::Encoder;
        if causal && *value != MetadataValue::Bool(!encoder) {
            return Err(config.bad(full, &(!encoder).to_string()));
        }
        if !known && !causal && !is_neutral(value) {
            return Err(config.unknown(full));
        }
    }
    Ok(())
}

/// Whether a key is this one, or stands in the object of that name.
fn within(key: &str, name: &str) -> bool {
    let rest = key.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_empty(value: &MetadataValue) -> bool {
    match value {
        MetadataValue::Array(list) => list.is_empty(),
        MetadataValue::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Whether a value of a configuration means that a feature is not used.
fn is_off(value: &MetadataValue) -> bool {
    is_empty(value) || matches!(value, MetadataValue::Bool(false) | MetadataValue::U64(0))
}

/// Whether a value means that a feature is not used: nothing, none of it, or a factor of one.
fn is_neutral(value: &MetadataValue) -> bool {
    let number = |number: f64| number == 0.0 || number == 1.0;
    match value {
        MetadataValue::Bool(on) => !on,
        MetadataValue::F32(value) => number(f64::from(*value)),
        MetadataValue::F64(value) => number(*value),
        MetadataValue::U8(0)
        | MetadataValue::I8(0)
        | MetadataValue::U16(0)
        | MetadataValue::I16(0)
        | MetadataValue::U32(0)
        | MetadataValue::I32(0)
        | MetadataValue::U64(0)
        | MetadataValue::I64(0) => true,
        MetadataValue::Array(Array::Bool(list)) => !list.contains(&true),
        value => is_empty(value),
    }
}

impl Only {
    /// What would have to stand in place of a value, if it is none of these.
    fn expected(self, value: &MetadataValue) -> Option<String> {
        let number = match value {
            MetadataValue::U64(number) => Some(*number as f64),
            MetadataValue::I64(number) => Some(*number as f64),
            MetadataValue::F64(number) => Some(*number),
            _ => None,
        };
        let (holds, expected) = match (self, value) {
            (Only::Any, _) => (true, String::new()),
            (Only::Is(only), MetadataValue::Bool(is)) => (*is == only, only.to_string()),
            (Only::Is(only), _) => (false, only.to_string()),
            (Only::Number(only), _) => (number == Some(only), only.to_string()),
            (Only::Text(known), MetadataValue::String(text)) => {
                (known.contains(&text.as_str()), known.join(" or "))
            }
            (Only::Text(known), _) => (false, known.join(" or ")),
            (Only::Nothing, value) => (is_empty(value), "null".to_string()),
        };
        (!holds).then_some(expected)
    }
}
