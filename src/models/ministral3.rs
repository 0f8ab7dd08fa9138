//! Ministral 3 and the texts of Mistral 3 (Mistral AI 2025): LLaMA whose queries grow with the
//! number of trained lengths before them.

use super::tables::{self, keys};
use super::{Architecture, Conversion, DECODER, Only, conversion, llama};
use crate::graph::blocks::{Heads, activation, attend, embedding, gated_mlp, head, projections};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Config, PositionScheme, Role, Rope};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Ministral 3",
    gguf: &["mistral3"],
    hugging_face: &["ministral3"],
    off: tables::BIASES,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "rope_parameters.llama_4_scaling_beta" => "attention.temperature_scale",
            "sliding_window" => "attention.sliding_window",
        },
    ],
    settled: &[
        // The authors' code does not read which layers should have a window.
        ("layer_types", Only::Any),
        ("rope_parameters.max_position_embeddings", Only::Any),
    ],
    names: llama::NAMES,
    conversion: Conversion {
        architecture: None,
        keys: |keys| {
            if let Some(multiplier) = keys.float("rope.scaling.mscale_all_dim") {
                let multiplier = MetadataValue::F32(multiplier as f32);
                keys.put(LOG_MULTIPLIER, multiplier);
            }
            keys.remove(&["rope.scaling.mscale", "rope.scaling.mscale_all_dim"]);
        },
        ..conversion::NEIGHBOURS_PAIRED
    },
    build,
    ..DECODER
};

const LOG_MULTIPLIER: &str = "rope.scaling.yarn_log_multiplier";

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)), queries times 1 + β ln(1 + ⌊position /
/// trained length⌋).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read_wide(config, width, Some(128))?;
    let attention = heads.causal(PositionScheme::Rope(rotation(model, heads.head_dim)?));
    let growth = growth(config)?;
    if config.feature("attention.sliding_window")?.is_some() {
        return Err(config.invalid("attention.sliding_window", "none"));
    }
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let [mut q, k, v] = projections(&net, h, &layer, heads)?;
        if let Some((slope, length)) = growth {
            q = net.scale_by_position(q, slope, (0, length));
        }
        x = net.add(
            x,
            attend(&net, [q, k, v], &layer, width, attention.clone())?,
        );
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, gated_mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// YaRN's factor on cos and sin is a quotient of two. In GGUF the file says the lower one alone, as a
/// whole and not as a tenth, and the upper one's m is 1.
fn rotation(model: &Builder<'_>, head_dim: usize) -> Result<Rope, BuildError> {
    let config = model.config();
    Rope::expect_scaling(config)?;
    let mut rope = llama::rotation(model, head_dim, (1.0, 1e6))?;
    if config.container == Container::Gguf && config.value(LOG_MULTIPLIER).is_some() {
        let multiplier = config.float(LOG_MULTIPLIER, 0.0)?;
        let stretch = config.positive("rope.scaling.factor", 1.0)?.max(1.0).ln();
        rope.magnitude *= (0.1 * stretch + 1.0) / (0.1 * multiplier * stretch + 1.0);
    }
    Ok(rope)
}

/// β and the trained length, if queries grow.
fn growth(config: &Config<'_>) -> Result<Option<(f32, u32)>, BuildError> {
    let slope = config.float("attention.temperature_scale", 0.0)?;
    if slope == 0.0 {
        return Ok(None);
    }
    let length = config.count("rope.scaling.original_context_length")?;
    Ok(Some((slope, u32::try_from(length).unwrap_or(u32::MAX))))
}
