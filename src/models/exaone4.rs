//! EXAONE 4 (LG AI Research 2025).

use super::{Architecture, DECODER, olmo2, tables};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, attend, embedding, gated_mlp, head, projections,
};
use crate::graph::decoder::{answer, nextn_layers};
use crate::graph::{
    Attention, BuildError, Builder, Config, Mask, Pairing, PositionScheme, Role, Rope,
};
use rillm_formats::manifest::{Container, MetadataValue};

/// Its keys and tensors have OLMo 2's names.
pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "EXAONE 4",
    gguf: &["exaone4"],
    hugging_face: &["exaone4"],
    off: tables::BIASES,
    keys: olmo2::OLMO_2.keys,
    names: olmo2::OLMO_2.names,
    build,
    ..DECODER
};

/// x ← x + RMS(Attention(x)); x ← x + RMS(FFN(x)); RMS normalises each head of queries and keys.
/// A hybrid model applies RoPE in its sliding-window layers and NoPE in its global ones; a model
/// without a window applies RoPE in every layer.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = nextn_layers(model)?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
    // GGUF lists those that guess as well.
    let windows = windows(config, config.count("block_count")?)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), eps);
        let head_norm =
            |x, name: &str| net.rms_norm_by(x, &format!("{layer}.{name}"), heads.head_dim, eps);
        let [q, k, v] = projections(&net, x, &layer, heads)?;
        let qkv = [
            head_norm(q, "attn_q_norm")?,
            head_norm(k, "attn_k_norm")?,
            v,
        ];
        let window = windows.of(i);
        let position = match windows.window {
            Some(_) if window.is_none() => PositionScheme::None,
            _ => PositionScheme::Rope(rope.clone()),
        };
        let attention = Attention {
            mask: Mask::Causal { window },
            ..heads.causal(position)
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

/// The sliding window and the layers that have it: a list, a period, or the letters of a pattern.
/// The defaults are the class's: all layers but every fourth.
fn windows(config: &Config<'_>, layers: usize) -> Result<Windows, BuildError> {
    let (size, pattern) = (
        "attention.sliding_window",
        "attention.sliding_window_pattern",
    );
    let usual = (config.container == Container::HuggingFace).then_some(4096);
    let windows = match config.value(pattern) {
        Some(MetadataValue::String(letters)) => {
            let expected = "letters such as LLLG, repeated up to the last layer";
            let period =
                period(letters, layers).ok_or_else(|| config.invalid(pattern, expected))?;
            Windows {
                window: Windows::width(config, usual)?,
                pattern: WindowPattern::AllButEvery(period),
            }
        }
        _ => Windows::read(config, layers, usual, WindowPattern::AllButEvery(4))?,
    };
    // GGUF omits the window of a model that has none. A configuration says null, and lists every
    // layer as global; otherwise it must say how wide the window is.
    let global = matches!(&windows.pattern, WindowPattern::Listed(list) if !list.contains(&true));
    if config.container == Container::HuggingFace && windows.window.is_none() && !global {
        config.count(size)?;
    }
    Ok(windows)
}

/// "LLLG" makes every fourth layer global. The pattern must end with the last layer:
/// transformers documents that layer as global, converters repeat the letters.
fn period(letters: &str, layers: usize) -> Option<usize> {
    let local = letters.strip_suffix('G')?;
    let known = local.bytes().all(|letter| letter == b'L');
    (known && layers.is_multiple_of(letters.len())).then_some(letters.len())
}
