//! SmolLM3 (Hugging Face 2025): LLaMA of which every fourth layer knows no positions.

use super::{Architecture, DECODER, conversion, llama, tables};
use crate::graph::{BuildError, Builder};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "SmolLM3",
    gguf: &["smollm3"],
    hugging_face: &["smollm3"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        &[
            (ROTATED, "no_rope_layers"),
            (INTERVAL, "no_rope_layer_interval"),
            ("use_sliding_window", "use_sliding_window"),
        ],
    ],
    names: llama::NAMES,
    conversion: conversion::NEIGHBOURS_PAIRED,
    build,
    ..DECODER
};

/// A list in which 1 says that a layer rotates, whatever its name says.
const ROTATED: &str = "rope.rotated_layers";
const INTERVAL: &str = "rope.unrotated_interval";

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    if config.flag("use_sliding_window", false)? {
        return Err(config.invalid("use_sliding_window", "false"));
    }
    let layers = config.count("block_count")?;
    let rotated: Vec<bool> = match config.value(ROTATED) {
        Some(MetadataValue::Array(list)) if list.len() == layers => {
            (0..layers).map(|i| list.u64(i) != Some(0)).collect()
        }
        Some(MetadataValue::Array(_)) => {
            let expected = format!("an entry for each of {layers} layers");
            return Err(config.invalid(ROTATED, &expected));
        }
        _ => {
            let interval = config.optional_count(INTERVAL)?.unwrap_or(4);
            let rotates = |layer: usize| !(layer + 1).is_multiple_of(interval);
            (0..layers).map(rotates).collect()
        }
    };
    llama::wire(model, &|layer| rotated[layer])
}
