//! Rotary positions as GGUF says them: scaling by tensors of divisors, parts of heads by numbers of
//! elements.

use super::draft::{DraftTensor, TensorSource};
use crate::graph::DYNAMIC;
use crate::models::GgufKeys;
use rillm_formats::manifest::{DType, MetadataValue};
use std::f64::consts::PI;
use std::sync::Arc;

/// That positions are not scaled, GGUF says by saying nothing.
///
/// # Errors
/// Layers that look through a window have a scaling of their own: GGUF has no word for it.
pub(super) fn unscaled(keys: &mut GgufKeys<'_>) -> Result<(), String> {
    let plain = |keys: &GgufKeys<'_>, key: &str| {
        matches!(keys.values.str(key), None | Some("default" | "none"))
    };
    if plain(keys, "rope.scaling.type") {
        keys.remove(&["rope.scaling.type"]);
    }
    let own = |key: &str| {
        let theirs = key.replace("_swa", "");
        keys.values.value(key) != keys.values.value(&theirs)
    };
    let swa = |key: &String| key.starts_with("rope.scaling_swa.");
    let mut scaled = keys.values.0.keys().filter(|key| swa(key));
    if !plain(keys, "rope.scaling_swa.type") && scaled.any(|key| own(key)) {
        return Err(
            "rope_parameters.sliding_attention has a scaling of its own, which GGUF cannot hold"
                .to_string(),
        );
    }
    keys.values.0.retain(|key, _| !swa(key));
    keys.remove(&["rope.partial_factor_swa"]);
    Ok(())
}

/// Other readers of GGUF know no base that grows with the length of a text, and stop at the name of such
/// a scaling: for them there is none, and its factor has a key of its own.
pub(super) fn dynamic(keys: &mut GgufKeys<'_>) {
    if keys.values.str("rope.scaling.type") != Some("dynamic") {
        return;
    }
    if let Some(factor) = keys.values.0.remove("rope.scaling.factor") {
        keys.put(DYNAMIC, factor);
        let none = MetadataValue::String("none".into());
        keys.put("rope.scaling.type", none);
    }
}

/// A part of a head becomes a number of elements.
pub(super) fn rotated(keys: &mut GgufKeys<'_>) {
    let part = keys.float("rope.partial_factor");
    if let (Some(part), Some(dim)) = (part, keys.head_dim()) {
        let dims = (dim as f64 * part) as u32;
        keys.put("rope.dimension_count", MetadataValue::U32(dims));
    }
    keys.remove(&["rope.partial_factor"]);
}

/// llama3's scaling (Dubey et al. 2024) goes into a tensor that divides the frequencies: GGUF has
/// no such type of scaling.
pub(super) fn divisors(keys: &mut GgufKeys<'_>) -> Option<DraftTensor> {
    if keys.values.str("rope.scaling.type") != Some("llama3") {
        return None;
    }
    let scaling = |key: &str| keys.float(&format!("rope.scaling.{key}"));
    let (factor, trained) = (scaling("factor")?, scaling("original_context_length")?);
    let (low, high) = (scaling("low_freq_factor")?, scaling("high_freq_factor")?);
    let base = keys.float("rope.freq_base").unwrap_or(10_000.0);
    let part = keys.float("rope.partial_factor").unwrap_or(1.0);
    let dims = (keys.head_dim()? as f64 * part) as u64;
    let divisors = (0..dims / 2).map(|pair| {
        let wave = 2.0 * PI * base.powf(2.0 * pair as f64 / dims as f64);
        if wave < trained / high {
            1.0
        } else if wave > trained / low {
            factor
        } else {
            let smooth = (trained / wave - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    });
    let values: Vec<f32> = divisors.map(|divisor| divisor as f32).collect();
    let of_scaling = |key: &str| key.starts_with("rope.scaling.");
    keys.values.0.retain(|key, _| !of_scaling(key));
    Some(vector("rope_freqs.weight", values))
}

/// Of heads of which a part rotates as if all did: what stays is divided by so much that it does
/// not turn.
pub(super) fn proportion(keys: &mut GgufKeys<'_>) -> Option<DraftTensor> {
    let part = keys.float("rope.proportion")?;
    keys.remove(&["rope.proportion"]);
    let dim = keys.head_dim()?.min(1 << 16);
    let rotated = (dim as f64 * part / 2.0) as u64;
    let divisors = (0..dim / 2).map(|pair| if pair < rotated { 1.0 } else { 1e30 });
    Some(vector("rope_freqs.weight", divisors.collect()))
}

/// LongRoPE's tables go into tensors, and what the stretch makes of cos and sin into a key
/// (Ding et al. 2024, section 4).
pub(super) fn long_rope(keys: &mut GgufKeys<'_>) -> Vec<DraftTensor> {
    let mut tensors = Vec::new();
    for which in ["short", "long"] {
        let key = format!("rope.scaling.{which}_factor");
        if let Some(MetadataValue::Array(table)) = keys.values.0.remove(&key) {
            let numbers = (0..table.len()).filter_map(|index| table.f64(index));
            let values = numbers.map(|number| number as f32).collect();
            tensors.push(vector(&format!("rope_factors_{which}.weight"), values));
        }
    }
    let trained = keys.count("rope.scaling.original_context_length");
    if let (Some(trained), Some(context), false) =
        (trained, keys.count("context_length"), tensors.is_empty())
        && keys.float("rope.scaling.attn_factor").is_none()
    {
        let (trained, context) = (trained as f64, context as f64);
        let magnitude = (1.0 + (context / trained).ln() / trained.ln())
            .max(1.0)
            .sqrt();
        keys.put(
            "rope.scaling.attn_factor",
            MetadataValue::F32(magnitude as f32),
        );
    }
    tensors
}

fn vector(name: &str, values: Vec<f32>) -> DraftTensor {
    DraftTensor {
        name: name.to_string(),
        shape: vec![values.len() as u64],
        dtype: DType::F32,
        from: TensorSource::Made(Arc::new(values)),
    }
}
