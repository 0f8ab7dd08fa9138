//! MiniCPM (Hu et al. 2024): LLaMA with factors that follow from the sizes of a smaller model.

use super::granite::{self, Factors};
use super::tables::{self, keys};
use super::{Architecture, Conversion, DECODER, GgufKeys, Only, conversion, llama};
use crate::graph::{BuildError, Builder};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "MiniCPM",
    gguf: &["minicpm"],
    hugging_face: &["minicpm"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "scale_emb" => "embedding_scale",
            "scale_depth" => "depth_scale",
            "dim_model_base" => "embedding_length_base",
        },
    ],
    settled: &[
        ("mup_denominator", Only::Any),
        ("num_experts", Only::Number(0.0)),
        ("sparse_config", Only::Nothing),
    ],
    ties: true,
    names: llama::NAMES,
    conversion: Conversion {
        keys: factors_as_keys,
        ..conversion::NEIGHBOURS_PAIRED
    },
    build,
    ..DECODER
};

/// Embeddings times a factor, what is added to the residual times depth / √layers, logits divided
/// by how much wider the model is than the one its rates were found for.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let factors = match config.container {
        Container::Gguf => Factors {
            embedding: config.float("embedding_scale", 1.0)?,
            scores: None,
            residual: config.float("residual_scale", 1.0)?,
            logits: granite::divisor(config, "logit_scale")?,
        },
        Container::HuggingFace => {
            let width = config.count("embedding_length")?;
            let layers = config.count("block_count")?;
            let base = config.optional_count("embedding_length_base")?.unwrap_or(1);
            let depth = config.float("depth_scale", 1.0)?;
            Factors {
                embedding: config.float("embedding_scale", 1.0)?,
                scores: None,
                residual: depth / (layers as f32).sqrt(),
                logits: width as f32 / base as f32,
            }
        }
    };
    granite::dense(model, &factors)
}

fn factors_as_keys(keys: &mut GgufKeys<'_>) {
    let count = |key: &str| keys.count(key).unwrap_or(1).max(1) as f32;
    let depth = keys.float("depth_scale").unwrap_or(1.0) as f32;
    let residual = depth / count("block_count").sqrt();
    let logits = count("embedding_length") / count("embedding_length_base");
    keys.put("residual_scale", MetadataValue::F32(residual));
    keys.put("logit_scale", MetadataValue::F32(logits));
    keys.put_usual("embedding_scale", MetadataValue::F32(1.0));
    keys.remove(&["depth_scale", "embedding_length_base"]);
}
