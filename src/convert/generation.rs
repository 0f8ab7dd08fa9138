//! How texts are written, brought along: GGUF has no keys for it, so that those of
//! `generation_config.json` and of a `config.json`'s tasks stand there as they are.

use rillm_formats::manifest::Metadata;

/// What changes a text. The tokens that end it belong to the tokenizer.
const KEYS: &[&str] = &[
    "bad_words_ids",
    "begin_suppress_tokens",
    "decoder_start_token_id",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "min_p",
    "no_repeat_ngram_size",
    "num_beams",
    "num_return_sequences",
    "remove_invalid_values",
    "renormalize_logits",
    "repetition_penalty",
    "sequence_bias",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

/// What the folder's keys say of it, as keys of the GGUF file. A folder with a
/// `generation_config.json` has none of it in its `config.json`.
pub(super) fn generation(config: &Metadata) -> Metadata {
    let own = config.0.keys().any(|key| key.starts_with("generation."));
    let known = |key: &str| {
        let first = key.split('.').next().unwrap_or(key);
        KEYS.contains(&first)
    };
    let mut said = Metadata::default();
    for (key, value) in &config.0 {
        let name = match key.strip_prefix("generation.") {
            Some(key) => Some(key).filter(|key| known(key)),
            None => Some(key.as_str()).filter(|key| !own && known(key)),
        };
        if let Some(name) = name {
            said.0.insert(format!("generation.{name}"), value.clone());
        }
        if key.starts_with("task_specific_params.") {
            said.0.insert(key.clone(), value.clone());
        }
    }
    said
}
