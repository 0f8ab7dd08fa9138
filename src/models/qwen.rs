//! Qwen 2 (Yang et al. 2024) and Qwen 3 (Yang et al. 2025).

use super::known_shape::shapes;
use super::llama::Transformer;
use super::tables::{self, keys};
use super::{Architecture, DECODER, Only, Settled, llama};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, attend, gated_mlp, projections,
};
use crate::graph::decoder::{PreNormDecoder, decoder_role};
use crate::graph::{
    Attention, BuildError, Builder, Config, Key, Mask, Name, Net, Pairing, PositionScheme, Rope,
    Value,
};
use rillm_formats::manifest::Container;

pub(super) const QWEN_2: Architecture = Architecture {
    title: "Qwen 2, 2.5",
    gguf: &["qwen2"],
    hugging_face: &["qwen2"],
    biased: &["attn_q", "attn_k", "attn_v"],
    off: &["mlp_bias"],
    keys: KEYS,
    names: NAMES,
    settled: &[("attention_bias", Only::Any), LONGER],
    build: |model| build(model, HeadNorm::None),
    ..DECODER
};

pub(super) const QWEN_3: Architecture = Architecture {
    title: "Qwen 3",
    gguf: &["qwen3"],
    hugging_face: &["qwen3"],
    settled: &[LONGER],
    off: tables::BIASES,
    shapes: shapes! {
        "qwen3-0.6b", "Qwen 3 0.6B", [151_936, 1024, 28, 40_960] => tied
            llama::outline(&Transformer { heads: [16, 8], head_dim: 128, hidden: 3072, base: 1e6, head_norms: true, ..llama::PLAIN });
    },
    build: |model| build(model, HeadNorm::Rms),
    ..QWEN_2
};

/// How other programs read texts longer than those it was trained with.
const LONGER: Settled = ("dual_chunk_attention_config", Only::Any);

const KEYS: &[&[Key]] = &[
    tables::SIZES,
    tables::ROPE,
    tables::WINDOWS,
    tables::CAUSAL,
    WINDOWS,
];

/// Whether layers look through a window, and from which one on.
pub(super) const WINDOWS: &[Key] = keys! {
    "use_sliding_window" => "use_sliding_window",
    "max_window_layers" => "max_window_layers",
};

const NAMES: &[&[Name]] = &[
    tables::ENDS,
    tables::NORMS,
    tables::ATTENTION,
    tables::HEAD_NORMS,
    tables::GATED_MLP,
];

/// What happens to queries and keys before they are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadNorm {
    /// Nothing: Qwen 2 has biases instead.
    None,
    /// Each head is normalised by itself.
    Rms,
}

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)).
fn build(model: &Builder<'_>, head_norm: HeadNorm) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder {
        role: decoder_role(config)?,
        ..PreNormDecoder::read(config, 1e-6)?
    };
    let hidden = config.count("feed_forward_length")?;
    let function = activation(config, "hidden_act", "silu")?;
    let first = match config.value("max_window_layers") {
        Some(_) => config.feature("max_window_layers")?.unwrap_or(0),
        None => 28,
    };
    let usual = Some(WindowPattern::From(first));
    let usual_dim = (head_norm == HeadNorm::Rms).then_some(128);
    let heads = Heads::read_wide(config, decoder.width, usual_dim)?;
    let sizes = (decoder.width, decoder.layers);
    let attention = QwenAttention::read(model, heads, sizes, head_norm, usual)?;
    decoder.wire(
        model,
        &|net, h, layer, i| attention.wire(net, h, layer, i),
        &|net, h, layer, _| gated_mlp(net, h, layer, hidden, function),
    )
}

/// Attention whose heads may be normalised and whose layers may look through a window.
pub(super) struct QwenAttention {
    width: usize,
    heads: Heads,
    head_norm: HeadNorm,
    eps: f32,
    windows: Windows,
    causal: Attention,
}

impl QwenAttention {
    /// Reads what `layers` layers of these heads have; `usual` is whose turn at the window it is where
    /// no layers are listed.
    pub fn read(
        model: &Builder<'_>,
        heads: Heads,
        (width, layers): (usize, usize),
        head_norm: HeadNorm,
        usual: Option<WindowPattern>,
    ) -> Result<QwenAttention, BuildError> {
        let config = model.config();
        let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
        Ok(QwenAttention {
            width,
            heads,
            head_norm,
            eps: config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?,
            windows: windows(config, layers, usual)?,
            causal: heads.causal(PositionScheme::Rope(rope)),
        })
    }

    /// The attention of layer `i`.
    pub fn wire(
        &self,
        net: &Net<'_, '_>,
        h: Value,
        layer: &str,
        i: usize,
    ) -> Result<Value, BuildError> {
        let [mut q, mut k, v] = projections(net, h, layer, self.heads)?;
        if self.head_norm == HeadNorm::Rms {
            let dim = self.heads.head_dim;
            q = net.rms_norm_by(q, &format!("{layer}.attn_q_norm"), dim, self.eps)?;
            k = net.rms_norm_by(k, &format!("{layer}.attn_k_norm"), dim, self.eps)?;
        }
        let window = self.windows.of(i);
        let attention = Attention {
            mask: Mask::Causal { window },
            ..self.causal.clone()
        };
        attend(net, [q, k, v], layer, self.width, attention)
    }
}

/// Published configurations name a window that they do not use.
fn windows(
    config: &Config<'_>,
    layers: usize,
    usual: Option<WindowPattern>,
) -> Result<Windows, BuildError> {
    let width = match config.container {
        Container::Gguf => None,
        Container::HuggingFace => Some(4096),
    };
    let used = config.flag("use_sliding_window", config.container == Container::Gguf)?;
    let listed = config.value("attention.sliding_window_pattern").is_some();
    if usual.is_none() && used && !listed && config.value("attention.sliding_window").is_some() {
        let expected = "a kind of attention for each layer that looks through a window, or not";
        return Err(config.invalid("attention.sliding_window_pattern", expected));
    }
    let pattern = usual.unwrap_or(WindowPattern::From(layers));
    let windows = Windows::read(config, layers, width, pattern)?;
    Ok(Windows {
        window: windows.window.filter(|_| used),
        ..windows
    })
}
