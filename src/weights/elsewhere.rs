//! What a folder is that has no model to read, and where there is one.

use super::folder::{folders, holder, name_of, with_extension};
use super::headers::is_unfetched;
use super::open::{PICKLE, POINTER};
use super::regular;
use crate::error::{LoadError, LoadErrorKind};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What says that a folder has an adapter.
pub(super) const ADAPTER: &str = "adapter_config.json";

/// What there is in a folder that has no weights to read, or in one within it.
pub(super) fn instead(folder: &Path) -> Result<String, LoadError> {
    let own = other_weights(folder)?;
    if !own.is_empty() {
        return Ok(own);
    }
    for inner in folders(folder) {
        let found = other_weights(&inner)?;
        if !found.is_empty() {
            return Ok(format!(" (in {}{found})", name_of(&inner)));
        }
    }
    Ok(own)
}

/// The same of this folder alone.
fn other_weights(folder: &Path) -> Result<String, LoadError> {
    if folder.join(ADAPTER).is_file() {
        return Ok(format!(", but {}", adapter(folder)));
    }
    for extension in ["incomplete", "part", "crdownload", "aria2"] {
        if let Some(part) = with_extension(folder, extension)?.first() {
            let part = name_of(part);
            return Ok(format!(
                ", but {part}, a download that did not end: fetch it again"
            ));
        }
    }
    if let Some(gguf) = with_extension(folder, "gguf")?.first() {
        return Ok(format!(", did you mean {}?", gguf.display()));
    }
    let pickles = pickles(folder)?;
    let is_openvino = folder.join("openvino_model.xml").is_file();
    if let Some(pickle) = pickles.first().filter(|_| !is_openvino) {
        if is_unfetched(pickle) {
            return Ok(format!(", and of {} {POINTER}", name_of(pickle)));
        }
        return Ok(format!(
            ", but {}, which looks like {PICKLE}",
            name_of(pickle)
        ));
    }
    for (extension, kind) in [
        ("h5", "TensorFlow"),
        ("msgpack", "Flax"),
        ("onnx", "ONNX"),
        ("npz", "NumPy"),
        ("xml", "OpenVINO"),
    ] {
        if let Some(other) = with_extension(folder, extension)?.first() {
            return Ok(format!(
                ", but {}, which is {kind}'s and not read here: open it with transformers and \
                 save_pretrained",
                name_of(other)
            ));
        }
    }
    Ok(String::new())
}

/// What a folder with `adapter_config.json` is, and what to do about it.
pub(super) fn adapter(folder: &Path) -> String {
    let config = regular::read(&folder.join(ADAPTER)).unwrap_or_default();
    let config: Value = serde_json::from_slice(&config).unwrap_or_default();
    let of = config
        .get("base_model_name_or_path")
        .and_then(Value::as_str);
    format!(
        "an adapter (LoRA) of {}, which is not a model by itself: merge it (peft's \
         merge_and_unload, then save_pretrained)",
        of.filter(|of| !of.is_empty()).unwrap_or("another model")
    )
}

/// Why a folder is not one of a model: there is no configuration.
pub(super) fn no_config(folder: &Path) -> LoadError {
    let has = |name: &str| folder.join(name).is_file();
    let hint = if has(ADAPTER) {
        format!("folder has no config.json, it is {}", adapter(folder))
    } else if has("params.json") {
        "folder has no config.json, but params.json: this is the authors' original format, take the \
         files for transformers (config.json, model.safetensors), or make them with its converter"
            .to_string()
    } else if has("model_index.json") {
        "folder has no config.json, but model_index.json: this is a pipeline of diffusers, which makes \
         pictures, sounds or films, and no language model"
            .to_string()
    } else if folder.join("snapshots").is_dir() {
        let found = folders(&folder.join("snapshots"));
        let names: Vec<String> = found.iter().map(|path| name_of(path)).collect();
        format!(
            "folder has no config.json, and of its snapshots ({}) not exactly one has",
            names.join(", ")
        )
    } else {
        let gguf = with_extension(folder, "gguf").unwrap_or_default();
        let mut inner = folders(folder).into_iter();
        let inner = inner.find(|inner| holder(inner).is_some());
        match (
            gguf.first(),
            pickles(folder).unwrap_or_default().first(),
            inner,
        ) {
            (Some(found), ..) => {
                format!(
                    "folder has no config.json, did you mean {}?",
                    found.display()
                )
            }
            (_, _, Some(inner)) => {
                format!(
                    "folder has no config.json, did you mean {}?",
                    inner.display()
                )
            }
            (_, Some(pickle), _) => {
                let name = name_of(pickle);
                format!("folder has no config.json, and {name} looks like {PICKLE}")
            }
            _ => "folder has no config.json".to_string(),
        }
    };
    LoadError::new(LoadErrorKind::Format, hint).at(folder)
}

/// Files that are named as PyTorch's pickles are, weights first.
fn pickles(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let mut found = Vec::new();
    for extension in ["bin", "pth", "pt", "ckpt"] {
        found.extend(with_extension(folder, extension)?);
    }
    // What a training leaves beside them is called so as well.
    let beside = [
        "training_args",
        "optimizer",
        "scheduler",
        "rng_state",
        "scaler",
    ];
    found.sort_by_key(|path| beside.iter().any(|begin| name_of(path).starts_with(begin)));
    Ok(found)
}
