//! Models that read images or hear as well, of which only the part that reads and writes texts is run: its
//! configuration stands in `text_config`, its tensors behind a prefix that is no matter, and it is an
//! architecture that is known. A text without images takes no other way through such a model.

use rillm_formats::hf_config::HfConfig;
use rillm_formats::manifest::MetadataValue;

/// A `model_type` that wraps others.
struct Wrapper {
    model_type: &'static str,
    /// What its text part may be, and the architecture that computes the same.
    text: &'static [(&'static str, &'static str)],
}

/// Decoders whose logits are the plain product with their head.
const PLAIN: &[(&str, &str)] = &[
    ("llama", "llama"),
    ("mistral", "mistral"),
    ("phi3", "phi3"),
    ("qwen2", "qwen2"),
    ("qwen3", "qwen3"),
];

const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        model_type: "audioflamingo3",
        text: &[("qwen2", "qwen2")],
    },
    Wrapper {
        model_type: "deepseek_vl",
        text: &[("llama", "llama")],
    },
    Wrapper {
        model_type: "exaone4_5",
        text: &[("exaone4", "exaone4")],
    },
    Wrapper {
        model_type: "gemma3",
        text: &[("gemma3_text", "gemma3_text")],
    },
    Wrapper {
        model_type: "gemma3n",
        text: &[("gemma3n_text", "gemma3n_text")],
    },
    Wrapper {
        model_type: "gemma4",
        text: &[("gemma4_text", "gemma4_text")],
    },
    Wrapper {
        model_type: "got_ocr2",
        text: &[("qwen2", "qwen2")],
    },
    Wrapper {
        model_type: "idefics2",
        text: &[("mistral", "mistral")],
    },
    Wrapper {
        model_type: "idefics3",
        text: &[("llama", "llama")],
    },
    Wrapper {
        model_type: "internvl",
        text: PLAIN,
    },
    Wrapper {
        model_type: "janus",
        text: &[("llama", "llama")],
    },
    Wrapper {
        model_type: "lfm2_vl",
        text: &[("lfm2", "lfm2"), ("lfm2_moe", "lfm2_moe")],
    },
    Wrapper {
        model_type: "lighton_ocr",
        text: &[("qwen3", "qwen3")],
    },
    Wrapper {
        model_type: "llama4",
        text: &[("llama4_text", "llama4_text")],
    },
    Wrapper {
        model_type: "llava",
        text: PLAIN,
    },
    Wrapper {
        model_type: "llava_next",
        text: PLAIN,
    },
    Wrapper {
        model_type: "llava_next_video",
        text: PLAIN,
    },
    Wrapper {
        model_type: "llava_onevision",
        text: PLAIN,
    },
    Wrapper {
        model_type: "mistral3",
        text: &[("mistral", "mistral"), ("ministral3", "ministral3")],
    },
    Wrapper {
        model_type: "qwen2_5_vl",
        text: &[("qwen2_5_vl_text", "qwen2"), ("qwen2_5_vl", "qwen2")],
    },
    Wrapper {
        model_type: "qwen2_audio",
        text: &[("qwen2", "qwen2")],
    },
    Wrapper {
        model_type: "qwen2_vl",
        text: &[("qwen2_vl_text", "qwen2"), ("qwen2_vl", "qwen2")],
    },
    Wrapper {
        model_type: "qwen3_5",
        text: &[("qwen3_5_text", "qwen3_5_text")],
    },
    Wrapper {
        model_type: "qwen3_5_moe",
        text: &[("qwen3_5_moe_text", "qwen3_5_moe_text")],
    },
    Wrapper {
        model_type: "qwen3_vl",
        text: &[("qwen3_vl_text", "qwen3")],
    },
    Wrapper {
        model_type: "smolvlm",
        text: &[("llama", "llama")],
    },
    Wrapper {
        model_type: "video_llama_3",
        text: &[("qwen2", "qwen2")],
    },
    Wrapper {
        model_type: "video_llava",
        text: PLAIN,
    },
    Wrapper {
        model_type: "vipllava",
        text: PLAIN,
    },
    Wrapper {
        model_type: "voxtral",
        text: PLAIN,
    },
];

/// What the classes of text parts take for granted: such configurations leave out what is usual.
const USUAL: &[(&str, &[(&str, u64)])] = &[
    ("llama", LLAMA),
    (
        "mistral",
        &[
            ("hidden_size", 4096),
            ("intermediate_size", 14_336),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 8),
            ("max_position_embeddings", 131_072),
        ],
    ),
    (
        "phi3",
        &[
            ("hidden_size", 3072),
            ("intermediate_size", 8192),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("max_position_embeddings", 4096),
        ],
    ),
    ("qwen2", QWEN),
    ("qwen3", QWEN),
    ("qwen2_vl_text", QWEN_VL),
    ("qwen2_5_vl_text", QWEN_VL),
    (
        "qwen3_vl_text",
        &[
            ("hidden_size", 4096),
            ("intermediate_size", 22_016),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 32),
            ("max_position_embeddings", 128_000),
        ],
    ),
    (
        "gemma3n_text",
        &[
            ("hidden_size", 2048),
            ("intermediate_size", 16_384),
            ("num_hidden_layers", 35),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 2),
            ("hidden_size_per_layer_input", 256),
            ("max_position_embeddings", 32_768),
        ],
    ),
    (
        "gemma4_text",
        &[
            ("hidden_size", 2304),
            ("intermediate_size", 9216),
            ("num_hidden_layers", 30),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("max_position_embeddings", 131_072),
        ],
    ),
    (
        "lfm2",
        &[
            ("hidden_size", 2560),
            ("intermediate_size", 12_288),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 8),
            ("max_position_embeddings", 128_000),
        ],
    ),
    (
        "ministral3",
        &[
            ("hidden_size", 4096),
            ("intermediate_size", 14_336),
            ("num_hidden_layers", 34),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 8),
            ("max_position_embeddings", 262_144),
        ],
    ),
    (
        "qwen3_5_text",
        &[
            ("hidden_size", 4096),
            ("intermediate_size", 12_288),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 16),
            ("num_key_value_heads", 4),
            ("linear_conv_kernel_dim", 4),
            ("linear_key_head_dim", 128),
            ("linear_value_head_dim", 128),
            ("linear_num_key_heads", 16),
            ("linear_num_value_heads", 32),
            ("max_position_embeddings", 32_768),
        ],
    ),
    (
        "gemma3_text",
        &[
            ("hidden_size", 2304),
            ("intermediate_size", 9216),
            ("num_hidden_layers", 26),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("max_position_embeddings", 131_072),
        ],
    ),
];

const LLAMA: &[(&str, u64)] = &[
    ("hidden_size", 4096),
    ("intermediate_size", 11_008),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
    ("max_position_embeddings", 2048),
];

const QWEN: &[(&str, u64)] = &[
    ("hidden_size", 4096),
    ("intermediate_size", 22_016),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
    ("num_key_value_heads", 32),
    ("max_position_embeddings", 32_768),
];

const QWEN_VL: &[(&str, u64)] = &[
    ("hidden_size", 8192),
    ("intermediate_size", 29_568),
    ("num_hidden_layers", 80),
    ("num_attention_heads", 64),
    ("num_key_value_heads", 8),
    ("max_position_embeddings", 32_768),
];

/// The object that holds the text part's configuration.
const OBJECT: &str = "text_config.";

/// Keys of the whole that hold for its text part as well, what stands in objects of these names
/// included.
const SHARED: &[&str] = &[
    "architectures",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "pad_token_id",
    "quantization_config",
    "torch_dtype",
    "transformers_version",
];

/// Makes the configuration of a model that wraps a text part that of its text part, if it is one.
/// Returns whether it was.
///
/// # Errors
/// The text part is of another kind than those that run.
pub fn unwrap_config(config: &mut HfConfig) -> Result<bool, String> {
    let whole = config.model_type.as_deref();
    let Some(wrapper) = WRAPPERS.iter().find(|it| Some(it.model_type) == whole) else {
        return Ok(false);
    };
    let nested = config.metadata.0.keys().any(|key| key.starts_with(OBJECT));
    if nested {
        hoist(config);
    } else {
        let beside = |key: &String| !key.starts_with("vision_config.");
        config.metadata.0.retain(|key, _| beside(key));
        config.blanks.retain(|key, _| beside(key));
    }
    // The first is what a class takes for granted.
    let text = config.metadata.str("model_type");
    let text = text.or(wrapper.text.first().map(|(text, _)| *text));
    let found = wrapper.text.iter().find(|(known, _)| Some(*known) == text);
    let Some(&(text, architecture)) = found else {
        let known: Vec<&str> = wrapper.text.iter().map(|(text, _)| *text).collect();
        return Err(format!(
            "the text part of this {} is of type {:?}, this version runs {}",
            wrapper.model_type,
            text.unwrap_or_default(),
            known.join(", ")
        ));
    };
    let usual = USUAL.iter().find(|(known, _)| *known == text && nested);
    for (key, count) in usual.map_or(&[][..], |(_, keys)| keys) {
        if !config.blanks.contains_key(*key) {
            let entry = config.metadata.0.entry((*key).to_string());
            entry.or_insert(MetadataValue::U64(*count));
        }
    }
    flatten_positions(config);
    let name = MetadataValue::String(architecture.to_string());
    config.metadata.0.insert("model_type".to_string(), name);
    config.model_type = Some(architecture.to_string());
    Ok(true)
}

/// Puts the entries of `text_config` where those of the whole were.
fn hoist(config: &mut HfConfig) {
    let tied = |key: &str| config.metadata.bool(key);
    let tied = [
        tied("tie_word_embeddings"),
        tied("text_config.tie_word_embeddings"),
    ];
    let shared = |key: &str| {
        let stands = |rest: &str| rest.is_empty() || rest.starts_with('.');
        let mut names = SHARED.iter();
        names.any(|name| key.strip_prefix(name).is_some_and(stands))
    };
    let whole = std::mem::take(&mut config.metadata.0);
    let (text, whole): (Vec<_>, Vec<_>) =
        (whole.into_iter()).partition(|(key, _)| key.starts_with(OBJECT));
    for (key, value) in whole.into_iter().filter(|(key, _)| shared(key)) {
        config.metadata.0.insert(key, value);
    }
    for (key, value) in text {
        config
            .metadata
            .0
            .insert(key[OBJECT.len()..].to_string(), value);
    }
    let blanks = std::mem::take(&mut config.blanks);
    for (key, blank) in blanks {
        if let Some(key) = key.strip_prefix(OBJECT) {
            config.blanks.insert(key.to_string(), blank);
        }
    }
    // Either of them says it.
    if let Some(tied) = tied.into_iter().flatten().reduce(|a, b| a || b) {
        let tied = MetadataValue::Bool(tied);
        config
            .metadata
            .0
            .insert("tie_word_embeddings".to_string(), tied);
    }
}

/// Positions in three dimensions are one and the same in a text.
fn flatten_positions(config: &mut HfConfig) {
    for object in ["rope_scaling.", "rope_parameters."] {
        for key in ["mrope_section", "mrope_interleaved"] {
            config.metadata.0.remove(&format!("{object}{key}"));
        }
        for key in ["type", "rope_type"] {
            let key = format!("{object}{key}");
            if config.metadata.str(&key) == Some("mrope") {
                let plain = MetadataValue::String("default".to_string());
                config.metadata.0.insert(key, plain);
            }
        }
    }
}
