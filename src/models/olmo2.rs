//! OLMo 2 (OLMo Team 2024) and OLMo 3 (OLMo Team 2025), which adds windows.

use super::tables::{self, names};
use super::{Architecture, Conversion, DECODER};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, attend, embedding, gated_mlp, head, projections,
};
use crate::graph::decoder::answer;
use crate::graph::{Attention, BuildError, Builder, Mask, Pairing, PositionScheme, Role, Rope};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const OLMO_2: Architecture = Architecture {
    title: "OLMo 2",
    gguf: &["olmo2"],
    hugging_face: &["olmo2"],
    off: tables::BIASES,
    keys: &[tables::SIZES, tables::ROPE, tables::WINDOWS],
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        tables::HEAD_NORMS,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "post_attention_layernorm.weight" => "post_attention_norm.weight",
                "post_feedforward_layernorm.weight" => "post_ffw_norm.weight",
            }
        },
        tables::GATED_MLP,
    ],
    build: |model| build(model, None),
    ..DECODER
};

/// In GGUF it is an `olmo2` with a window.
pub(super) const OLMO_3: Architecture = Architecture {
    title: "OLMo 3",
    gguf: &[],
    hugging_face: &["olmo3"],
    keys: &[tables::SIZES, tables::ROPE_OF_EACH, tables::WINDOWS],
    conversion: Conversion {
        architecture: Some("olmo2"),
        keys: |keys| {
            let base = keys.float("rope.freq_base").unwrap_or(500_000.0) as f32;
            keys.put("rope.freq_base", MetadataValue::F32(base));
        },
        ..Conversion::PLAIN
    },
    build: |model| build(model, Some(4096)),
    ..OLMO_2
};

/// x ← x + RMS(Attention(x)); x ← x + RMS(FFN(x)); queries and keys are normalised over all
/// heads together. Three layers of four look through the window if there is one, with a rotation
/// that is never scaled.
fn build(model: &Builder<'_>, window: Option<usize>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    // Where the configuration has one base, it is that of both rotations.
    let usual = match (window, config.container) {
        (Some(_), Container::HuggingFace) => 500_000.0,
        _ => 10_000.0,
    };
    let bases = [usual, config.float("rope.freq_base", usual)?];
    let [rope, local] = Rope::read_both(model, Pairing::Halves, heads.head_dim, bases)?;
    let windows = Windows::read(config, layers, window, WindowPattern::AllButEvery(4))?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), eps);
        let [q, k, v] = projections(&net, x, &layer, heads)?;
        let qkv = [norm(q, "attn_q_norm")?, norm(k, "attn_k_norm")?, v];
        let window = windows.of(i);
        let rope = if window.is_some() { &local } else { &rope };
        let attention = Attention {
            mask: Mask::Causal { window },
            ..heads.causal(PositionScheme::Rope(rope.clone()))
        };
        let a = attend(&net, qkv, &layer, width, attention)?;
        x = net.add(x, norm(a, "post_attention_norm")?);
        let f = gated_mlp(&net, x, &layer, hidden, function)?;
        x = net.add(x, norm(f, "post_ffw_norm")?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
