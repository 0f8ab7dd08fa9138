//! What a folder says of its task, as keys of a GGUF file: labels, and what sentence-transformers does
//! with the model's output.

use super::draft::{DraftTensor, TensorSource};
use crate::weights::{Files, ModuleFiles, ModuleTensor};
use rillm_formats::manifest::{Array, DType, Metadata, MetadataValue, Strings};
use serde_json::Value;
use std::sync::Arc;

/// Keys of `config.json` that say what becomes of logits.
const SCORES: [&str; 3] = [
    "problem_type",
    "sentence_transformers.activation_fn",
    "sbert_ce_default_activation_function",
];

/// Those keys, for an architecture of this name, and what could not be brought along.
pub(super) fn keys(files: &Files, architecture: &str) -> (Metadata, Vec<String>) {
    let mut keys = Metadata::default();
    let mut notes = Vec::new();
    let mut put = |key: String, value: MetadataValue| keys.0.insert(key, value);
    let config = &files.manifest.metadata;
    let mut labels = Strings::default();
    while let Some(label) = config.str(&format!("id2label.{}", labels.len())) {
        labels.push(label.as_bytes());
    }
    if !labels.is_empty() {
        let labels = MetadataValue::Array(Array::String(labels));
        put(format!("{architecture}.classifier.output_labels"), labels);
    }
    for key in SCORES {
        if let Some(said) = config.str(key) {
            put(key.to_string(), MetadataValue::String(said.to_string()));
        }
    }
    if let Some(length) = files.tokenizer.model_max_length() {
        let key = "tokenizer.rillm.model_max_length".to_string();
        put(key, MetadataValue::U32(length));
    }
    for (key, text) in files.modules.texts() {
        put(key, MetadataValue::String(text));
    }
    if let Some(pooling) = pooling_type(&files.modules) {
        put(
            format!("{architecture}.pooling_type"),
            MetadataValue::U32(pooling),
        );
    }
    let (_, lost) = files.modules.tensors();
    if !lost.is_empty() {
        notes.push(format!(
            "the weights of {} cannot be read: the file is refused for embedding",
            lost.join(", ")
        ));
    }
    (keys, notes)
}

/// The tensors of what sentence-transformers does with the model's output.
pub(super) fn tensors(files: &Files) -> Vec<DraftTensor> {
    let (tensors, _) = files.modules.tensors();
    let draft = |tensor: ModuleTensor| DraftTensor {
        name: tensor.name,
        shape: tensor.shape,
        dtype: DType::F32,
        from: TensorSource::Made(Arc::new(tensor.values)),
    };
    tensors.into_iter().map(draft).collect()
}

/// What other readers know of pooling: 1 for the mean, 2 for the first token, 3 for the last.
fn pooling_type(modules: &ModuleFiles) -> Option<u32> {
    let configs = modules.configs.iter();
    let mut pooling = configs.filter(|(path, _)| path.ends_with("_Pooling"));
    let config: Value = serde_json::from_slice(pooling.next()?.1).ok()?;
    let asked = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
    let types = [
        ("pooling_mode_mean_tokens", 1),
        ("pooling_mode_cls_token", 2),
        ("pooling_mode_lasttoken", 3),
    ];
    let found = types.into_iter().find(|(key, _)| asked(key));
    found.map(|(_, number)| number)
}
