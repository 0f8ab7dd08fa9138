//! Weights of three values (Ma et al. 2024), as transformers holds them: four in a byte, or floats that
//! become such when they are read.

use super::read_float::ReadFloat;
use super::stored::{Scaled, ScaledTensor, Scales, find, matrix, no_scales, other_scales, place};
use crate::error::LoadError;
use crate::graph::three_valued;
use crate::quant;
use rillm_formats::manifest::{ForeignTensor, Manifest, Metadata, TensorInfo};

/// What of a `config.json` says which class a model's linear layers have.
const OBJECT: &str = "quantization_config";

/// Whether weights are stored as they were trained, and become of three values when they are read.
fn become_three(config: &Metadata) -> bool {
    let said = |key: &str| config.str(&format!("{OBJECT}.{key}"));
    // Their first models say it otherwise.
    said("quant_method").is_none()
        || said("linear_class") == Some("autobitlinear")
            && said("quantization_mode") == Some("online")
}

/// Why weights of three values are not read as transformers does it, if they are not.
pub(super) fn unread(config: &Metadata) -> Option<String> {
    let text = |key: &str| config.str(&format!("{OBJECT}.{key}"));
    let kept = config.array(&format!("{OBJECT}.modules_to_not_convert"));
    let kept = kept.and_then(|list| list.strings());
    let others = kept.is_some_and(|list| list.iter().any(|name| name != b"lm_head"));
    let known = |key: &str, values: &[&str]| {
        let found = text(key)?;
        (!values.contains(&found)).then(|| format!("{key} {found}"))
    };
    if config.bool(&format!("{OBJECT}.use_rms_norm")) == Some(true) {
        return Some("use_rms_norm".to_string());
    }
    if others {
        return Some("modules_to_not_convert".to_string());
    }
    // What rows meet by their choice is no linear layer.
    if config.0.keys().any(|key| key.contains("experts")) {
        return Some("experts".to_string());
    }
    known("linear_class", &["bitlinear", "autobitlinear"])
        .or_else(|| known("quantization_mode", &["offline", "online"]))
}

impl Scaled {
    /// Four values in a byte: row r of n in bits 2 · ⌊r / (n / 4)⌋ of row r mod n / 4.
    pub(super) fn read_trits<'a>(
        manifest: &'a Manifest,
        name: &'a str,
        tensor: &ForeignTensor,
    ) -> Result<Option<ScaledTensor<'a>>, LoadError> {
        let [rows, columns] = tensor.shape.0[..] else {
            return Ok(None);
        };
        let (scale_name, scales) = one_scale(manifest, name, [rows, columns])?;
        let scaled = Scaled {
            shape: vec![rows.saturating_mul(4), columns],
            form: ReadFloat::Trits,
            values: place(tensor.file, &tensor.range),
            scales: Some(scales),
            becomes_three: None,
        };
        Ok(Some(ScaledTensor {
            whole: name,
            scaled,
            scales: Some(scale_name),
        }))
    }

    /// The floats of a layer's matrix: what becomes of three values, or has been made so and has a
    /// scale.
    pub(super) fn read_three<'a>(
        manifest: &'a Manifest,
        name: &'a str,
        info: &TensorInfo,
    ) -> Result<Option<ScaledTensor<'a>>, LoadError> {
        let config = &manifest.metadata;
        let decode = quant::decode(info.dtype).filter(|_| info.dtype.block_elements() == 1);
        let (Some(decode), [rows, columns]) = (decode, &info.shape.0[..]) else {
            return Ok(None);
        };
        let mut scaled = Scaled {
            shape: info.shape.0.clone(),
            form: ReadFloat::Typed(decode, info.dtype.block_len() as usize),
            values: place(info.file, &info.range),
            scales: None,
            becomes_three: None,
        };
        if become_three(config) {
            scaled.becomes_three = Some(Default::default());
            return Ok(Some(ScaledTensor {
                whole: name,
                scaled,
                scales: None,
            }));
        }
        let (scale_name, scales) = one_scale(manifest, name, [*rows, *columns])?;
        scaled.scales = Some(scales);
        Ok(Some(ScaledTensor {
            whole: name,
            scaled,
            scales: Some(scale_name),
        }))
    }

    /// The mean size of all values.
    pub(super) fn mean(&self, bytes: &[u8]) -> f32 {
        let [rows, columns] = matrix(&self.shape);
        let (mut row, mut sum) = (vec![0.0; columns], 0.0);
        for index in 0..rows {
            self.form.read(bytes, index * columns, &mut row);
            sum += row.iter().map(|&value| f64::from(value).abs()).sum::<f64>();
        }
        (sum / (rows * columns).max(1) as f64) as f32
    }
}

/// Values of −1, 0 and 1 times the mean.
pub(super) fn to_three(values: &mut [f32], mean: f32) {
    let steps = 1.0 / mean.max(1e-5);
    for value in values {
        *value = (*value * steps).round_ties_even().clamp(-1.0, 1.0) / steps;
    }
}

/// Whether a tensor of the files is one of those that have three values: a matrix of a layer.
pub(super) fn is_matrix_of_three(manifest: &Manifest, canonical: &str, info: &TensorInfo) -> bool {
    three_valued(&manifest.metadata) && canonical.starts_with("blk.") && info.shape.0.len() == 2
}

/// The scale of a whole matrix, which one of the classes divides by.
fn one_scale(
    manifest: &Manifest,
    name: &str,
    [rows, columns]: [u64; 2],
) -> Result<(String, Scales), LoadError> {
    let scale_name = format!("{name}_scale");
    let Some((dtype, shape, place)) = find(manifest, &scale_name) else {
        return Err(no_scales(name, &scale_name));
    };
    if shape.iter().product::<u64>() != 1 {
        return Err(other_scales(&scale_name, shape, name, &[rows, columns]));
    }
    let class = manifest.metadata.str(&format!("{OBJECT}.linear_class"));
    let scales = Scales {
        dtype,
        place,
        divide: class != Some("autobitlinear"),
        block: [usize::MAX, columns.max(1) as usize],
        row: 1,
        matrix: 0,
    };
    Ok((scale_name, scales))
}
