//! Tokens that templates know by name, as transformers' `special_tokens_map` has them.

use crate::model::Model;
use rillm_formats::manifest::Container;
use serde_json::{Map, Value};

/// A name, and the key under which GGUF files keep the token's number.
const NAMES: [(&str, &str); 7] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("sep_token", "tokenizer.ggml.seperator_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
    ("cls_token", "tokenizer.ggml.cls_token_id"),
    ("mask_token", "tokenizer.ggml.mask_token_id"),
];

/// The special tokens that a model's files name, by the names that templates have for them.
pub fn special_tokens(model: &Model) -> Vec<(String, String)> {
    let tokenizer = model.tokenizer().ok();
    let piece = |id: u32| {
        let piece = tokenizer.and_then(|tokenizer| tokenizer.piece(id))?;
        Some(String::from_utf8_lossy(piece).into_owned())
    };
    let mut tokens: Vec<(String, String)> = Vec::new();
    let mut known: Vec<String> = Vec::new();
    if model.manifest().container == Container::Gguf {
        let metadata = &model.manifest().metadata;
        for (name, key) in NAMES {
            let id = metadata.u64(key).and_then(|id| u32::try_from(id).ok());
            tokens.extend(id.and_then(piece).map(|text| (name.to_string(), text)));
        }
    } else {
        let files = model.tokenizer_files();
        let config = object(files.tokenizer_config.as_deref());
        let map = object(files.special_tokens_map.as_deref());
        (tokens, known) = of_folder(&config, &map);
    }
    // What no file names, a tokenizer's kind may imply.
    let implied = [
        ("bos_token", tokenizer.and_then(|tokenizer| tokenizer.bos())),
        ("eos_token", tokenizer.and_then(|tokenizer| tokenizer.eos())),
    ];
    for (name, id) in implied {
        let said = known.iter().any(|known| known == name);
        if !said && !tokens.iter().any(|(known, _)| known == name) {
            tokens.extend(id.and_then(piece).map(|text| (name.to_string(), text)));
        }
    }
    tokens
}

fn object(bytes: Option<&[u8]>) -> Map<String, Value> {
    let parsed = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
    parsed.unwrap_or_default()
}

/// A token's text, which may stand with its properties.
fn text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// The tokens that a folder's files name, and the names that they speak of.
fn of_folder(
    config: &Map<String, Value>,
    map: &Map<String, Value>,
) -> (Vec<(String, String)>, Vec<String>) {
    let (mut tokens, mut known) = (Vec::new(), Vec::new());
    take(config, &mut tokens, &mut known);
    // Newer files list the tokens in the configuration itself, and the map no longer counts.
    if !config.contains_key("added_tokens_decoder") {
        take(map, &mut tokens, &mut known);
    }
    (tokens, known)
}

/// Takes the tokens that a file names; `known` are those that it says of that they are not there,
/// as well.
fn take(config: &Map<String, Value>, tokens: &mut Vec<(String, String)>, known: &mut Vec<String>) {
    let own = config.iter().filter(|(name, _)| name.ends_with("_token"));
    let extra = config
        .get("extra_special_tokens")
        .and_then(Value::as_object);
    for (name, value) in own.chain(extra.into_iter().flatten()) {
        if value.is_null() || text(value).is_some() {
            tokens.retain(|(known, _)| known != name);
            known.push(name.clone());
        }
        tokens.extend(text(value).map(|text| (name.clone(), text.to_string())));
    }
}
