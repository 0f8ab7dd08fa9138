//! Checkpoints whose weights are quantized in a form that is not read: refused by its name, with the
//! way out.

use super::three_values;
use crate::error::{LoadError, LoadErrorKind};
use rillm_formats::manifest::{Container, Manifest, Metadata};
use std::path::Path;

/// Where configurations say how weights are quantized.
const OBJECTS: [&str; 2] = ["quantization_config", "compression_config"];

/// Refuses what the configuration says, or a file beside it in its folder, unless its weights are read:
/// small floats with scales.
pub(super) fn refuse(config: &Metadata, folder: Option<&Path>) -> Result<(), LoadError> {
    let form = match OBJECTS.iter().find_map(|object| said(config, object)) {
        Some(form) => form.err(),
        None => beside(config, folder),
    };
    let Some(error) = form.map(|form| refused(&form)) else {
        return Ok(());
    };
    Err(match folder {
        Some(folder) => error.at(folder),
        None => error,
    })
}

/// Whether the configuration says that linear layers are transformers' of three values.
pub(super) fn has_three_values(config: &Metadata) -> bool {
    config.str("quantization_config.quant_method") == Some("bitnet")
}

/// What an object of the configuration says, if there is one: that weights are small floats with
/// scales, or what people call another form.
fn said(config: &Metadata, object: &str) -> Option<Result<(), String>> {
    let begin = format!("{object}.");
    config.0.keys().find(|key| key.starts_with(&begin))?;
    let text = |key: &str| config.str(&format!("{begin}{key}"));
    let flag = |key: &str| config.bool(&format!("{begin}{key}")) == Some(true);
    let bits = config.u64(&format!("{begin}bits"));
    let with_bits = |name: &str| match bits {
        Some(bits) => format!("{name} ({bits} bits)"),
        None => name.to_string(),
    };
    let method = match text("quant_method") {
        Some(method) => method.to_ascii_lowercase(),
        // Before methods were written down there was one.
        None if flag("load_in_4bit") || flag("load_in_8bit") => "bitsandbytes".to_string(),
        None if object == "compression_config" => "compressed-tensors".to_string(),
        // Which says the same in another object, or in this one alone.
        None if config.u64("quantization.bits").is_some() => "mlx".to_string(),
        None => "a method without a name".to_string(),
    };
    Some(match method.as_str() {
        "bitnet" => match three_values::unread(config) {
            None => Ok(()),
            Some(what) => Err(format!("BitNet ({what})")),
        },
        "fp8" | "fbgemm_fp8" | "mxfp8" | "mxfp4" => Ok(()),
        "compressed-tensors" | "compressed_tensors" | "sparseml" => {
            let format = text("format").unwrap_or("unknown");
            // Groups of layers say of what their weights are.
            let groups = format!("{begin}config_groups.");
            let keys = || config.0.keys().filter(|key| key.starts_with(&groups));
            let mut types = keys().filter(|key| key.ends_with(".weights.type"));
            let mut widths = keys().filter(|key| key.ends_with(".weights.num_bits"));
            let floats = types.all(|key| config.str(key) == Some("float"));
            let bytes = widths.all(|key| config.u64(key) == Some(8));
            match text("sparsity_config.format") {
                None | Some("dense") => {}
                Some(sparse) => return Some(Err(format!("compressed-tensors ({sparse})"))),
            }
            match format {
                "dense" => Ok(()),
                "float-quantized" | "naive-quantized" if floats && bytes => Ok(()),
                "unknown" => Err("compressed-tensors".to_string()),
                _ => Err(format!("compressed-tensors ({format})")),
            }
        }
        "modelopt" if text("quant_algo") == Some("FP8") => Ok(()),
        "modelopt" => Err(match text("quant_algo") {
            Some(what) => format!("NVIDIA's ModelOpt ({what})"),
            None => "NVIDIA's ModelOpt".to_string(),
        }),
        "bitsandbytes" => Err(match flag("load_in_4bit") {
            true => "bitsandbytes (4 bits)".to_string(),
            false => "bitsandbytes (8 bits)".to_string(),
        }),
        "gptq" => Err(with_bits("GPTQ")),
        "awq" => Err(with_bits("AWQ")),
        "mlx" => Err(with_bits("MLX")),
        "hqq" => Err("HQQ".to_string()),
        "eetq" => Err("EETQ".to_string()),
        "aqlm" => Err("AQLM".to_string()),
        other => Err(other.to_string()),
    })
}

/// The mix that conversion makes of what is read and not computed with, where the configuration says that
/// weights are that, and what it calls it.
pub fn published_as(config: &Metadata) -> Option<(&str, &'static str)> {
    let method = config.str("quantization_config.quant_method")?;
    said(config, OBJECTS[0])?.ok()?;
    Some(match method {
        "mxfp4" => (method, "MXFP4_MOE"),
        "bitnet" => (method, "TQ2_0"),
        _ => (method, "Q8_0"),
    })
}

/// What files beside a configuration that says nothing, or an object of MLX's, say.
fn beside(config: &Metadata, folder: Option<&Path>) -> Option<String> {
    let has = |name: &str| folder.is_some_and(|folder| folder.join(name).is_file());
    if has("quantize_config.json") {
        return Some("GPTQ (quantize_config.json)".to_string());
    }
    if has("quant_config.json") {
        return Some("AWQ (quant_config.json)".to_string());
    }
    let bits = config.u64("quantization.bits")?;
    Some(format!("MLX ({bits} bits)"))
}

/// Last parts of names that the tensors of such a form alone have.
const NAMES: [(&str, &str); 9] = [
    (".qweight", "GPTQ or AWQ"),
    (".g_idx", "GPTQ"),
    (".weight.absmax", "bitsandbytes (4 bits)"),
    (".weight.quant_map", "bitsandbytes (4 bits)"),
    (".SCB", "bitsandbytes (8 bits)"),
    (".W_q", "HQQ"),
    (".codebooks", "AQLM"),
    (".weight_packed", "compressed-tensors (packed)"),
    (".qweight_scales", "EETQ"),
];

/// Refuses tensors that are called as those of such a form are, and names of the authors' original
/// format.
pub(super) fn refuse_names(manifest: &Manifest) -> Result<(), LoadError> {
    if manifest.container != Container::HuggingFace {
        return Ok(());
    }
    let names = || manifest.tensors.keys().chain(manifest.unsupported.keys());
    let form = names().find_map(|name| NAMES.iter().find(|(end, _)| name.ends_with(end)));
    if let Some((_, form)) = form {
        return Err(refused(form));
    }
    // Others call their embedding so, but queries and keys are in one matrix there.
    let original = ["tok_embeddings.weight", "layers.0.attention.wq.weight"];
    if original
        .iter()
        .all(|name| manifest.tensors.contains_key(*name))
    {
        let what = "tensor tok_embeddings.weight is named as in the authors' original format: take \
                    the files for transformers (model.safetensors), or make them with its converter";
        return Err(LoadError::new(LoadErrorKind::Unsupported, what));
    }
    Ok(())
}

fn refused(form: &str) -> LoadError {
    let what = format!(
        "weights are quantized by {form}, which is not read here: take the checkpoint that they were \
         made of, and make it smaller with rillm quantize"
    );
    LoadError::new(LoadErrorKind::Unsupported, what)
}
