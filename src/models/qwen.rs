//! Qwen 2 (Yang et al. 2024) and Qwen 3 (Yang et al. 2025).

use super::known_shape::shapes;
use super::llama::Transformer;
use super::tables::{self, keys};
use super::{Architecture, DECODER, Only, llama};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, attend, embedding, gated_mlp, head, projections,
};
use crate::graph::{
    Attention, BuildError, Builder, Key, Mask, Name, Pairing, PositionScheme, Role, Rope,
};
use rillm_formats::manifest::Container;

pub(super) const QWEN_2: Architecture = Architecture {
    title: "Qwen 2, 2.5",
    gguf: &["qwen2"],
    hugging_face: &["qwen2"],
    keys: KEYS,
    names: NAMES,
    settled: &[
        ("attention_bias", Only::Any),
        // How other programs read texts longer than those it was trained with.
        ("dual_chunk_attention_config", Only::Any),
        ("use_mrope", Only::Is(false)),
    ],
    build: |model| build(model, HeadNorm::None),
    ..DECODER
};

pub(super) const QWEN_3: Architecture = Architecture {
    title: "Qwen 3",
    gguf: &["qwen3"],
    hugging_face: &["qwen3"],
    shapes: shapes! {
        "qwen3-0.6b", "Qwen 3 0.6B", [151_936, 1024, 28, 40_960] => tied
            llama::outline(&Transformer { heads: [16, 8], head_dim: 128, hidden: 3072, base: 1e6, head_norms: true, ..llama::PLAIN });
    },
    build: |model| build(model, HeadNorm::Rms),
    ..QWEN_2
};

const KEYS: &[&[Key]] = &[
    tables::SIZES,
    tables::ROPE,
    tables::WINDOWS,
    keys! {
        "use_sliding_window" => "use_sliding_window",
        "max_window_layers" => "max_window_layers",
    },
];

const NAMES: &[&[Name]] = &[
    tables::ENDS,
    tables::NORMS,
    tables::ATTENTION,
    tables::HEAD_NORMS,
    tables::GATED_MLP,
];

/// What happens to queries and keys before they are rotated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HeadNorm {
    /// Nothing: Qwen 2 has biases instead.
    None,
    /// Each head is normalised by itself.
    Rms,
}

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)).
fn build(model: &Builder<'_>, head_norm: HeadNorm) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?;
    let function = activation(config, "hidden_act", "silu")?;
    let usual = (head_norm == HeadNorm::Rms).then_some(128);
    let heads = Heads::read_wide(config, width, usual)?;
    let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    let windows = windows(model, layers)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let [mut q, mut k, v] = projections(&net, h, &layer, heads)?;
        if head_norm == HeadNorm::Rms {
            q = net.rms_norm_by(q, &format!("{layer}.attn_q_norm"), heads.head_dim, eps)?;
            k = net.rms_norm_by(k, &format!("{layer}.attn_k_norm"), heads.head_dim, eps)?;
        }
        let window = windows.of(i);
        let attention = Attention {
            mask: Mask::Causal { window },
            ..attention.clone()
        };
        x = net.add(x, attend(&net, [q, k, v], &layer, width, attention)?);
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, gated_mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x)?, "logits");
    net.finish();
    Ok(())
}

/// Published configurations name a window that they do not use.
fn windows(model: &Builder<'_>, layers: usize) -> Result<Windows, BuildError> {
    let config = model.config();
    let first = match config.value("max_window_layers") {
        Some(_) => config.feature("max_window_layers")?.unwrap_or(0),
        None => 28,
    };
    let usual = match config.container {
        Container::Gguf => None,
        Container::HuggingFace => Some(4096),
    };
    let windows = Windows::read(config, layers, usual, WindowPattern::From(first))?;
    let used = config.flag("use_sliding_window", config.container == Container::Gguf)?;
    Ok(Windows {
        window: windows.window.filter(|_| used),
        ..windows
    })
}
