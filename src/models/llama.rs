//! LLaMA (Touvron et al. 2023; Grattafiori et al. 2024).

use super::known_shape::{ENDLESS, TINY, shapes};
use super::{Architecture, Conversion, DECODER, Only, Outline, Quantization, conversion, tables};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, attend, embedding, gated_mlp, head, projections,
};
use crate::graph::decoder::{answer, decoder_role};
use crate::graph::experts::{Gating, Router, gated_experts};
use crate::graph::{
    Attention, BuildError, Builder, Key, Mask, Name, Net, Pairing, PositionScheme, Rope, Value,
};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "LLaMA 1–3",
    gguf: &["llama"],
    hugging_face: &["llama"],
    off: tables::BIASES,
    keys: KEYS,
    // Falcon 3 says beside hidden_act what its function is as part of a layer.
    settled: &[("activation", Only::Text(&["swiglu"]))],
    names: NAMES,
    conversion: CONVERSION,
    quantization: Quantization {
        precise_values_at: Some(80),
        ..Quantization::USUAL
    },
    shapes: shapes! {
        "llama-3.2-1b", "LLaMA 3.2 1B", [128_256, 2048, 16, 131_072] => tied
            outline(&Transformer { heads: [32, 8], head_dim: 64, hidden: 8192, base: 5e5, ..PLAIN });
        "smollm-135m", "SmolLM2 135M", [49_152, 576, 30, 8192] => tied
            outline(&Transformer { heads: [9, 3], head_dim: 64, hidden: 1536, base: 1e5, ..PLAIN });
        "mistral-7b", "Mistral 7B", [32_000, 4096, 32, 32_768] => untied
            outline(&Transformer { heads: [32, 8], head_dim: 128, hidden: 14_336, ..PLAIN });
        "llama-370m", "a LLaMA of Mamba 370M's size", [50_280, 1024, 24, ENDLESS] => tied
            outline(&Transformer { heads: [16, 16], head_dim: 64, hidden: 2816, base: 5e5, ..PLAIN });
        "llama-gqa-370m", "the same with grouped heads", [50_280, 1024, 24, ENDLESS] => tied
            outline(&Transformer { heads: [16, 4], head_dim: 64, hidden: 3328, base: 5e5, ..PLAIN });
        "tiny-llama", "a LLaMA to try things out with", TINY => untied
            outline(&Transformer { heads: [4, 2], head_dim: 64, hidden: 512, ..PLAIN });
        "tiny-mixtral", "a mixture of experts to try things out with", TINY => untied
            outline(&Transformer { heads: [4, 2], head_dim: 64, hidden: 256, experts: Some([8, 2]), ..PLAIN });
    },
    build,
    ..DECODER
};

/// As LLaMA, whatever else the checkpoint calls itself.
pub(super) const CONVERSION: Conversion = Conversion {
    architecture: Some("llama"),
    ..conversion::NEIGHBOURS_PAIRED
};

pub(super) const KEYS: &[&[Key]] = &[tables::SIZES, tables::ROPE, tables::CAUSAL];

pub(super) const NAMES: &[&[Name]] = &[
    tables::ENDS,
    tables::NORMS,
    tables::ATTENTION,
    tables::GATED_MLP,
];

pub(super) fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    wire(model, &USUAL, &|_| true)
}

/// What a class takes for granted where `config.json` does not say it, and in what else it differs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    /// The norms' epsilon.
    pub eps: f32,
    /// Base of the rotation.
    pub base: f32,
    /// How far back layers look.
    pub window: Option<usize>,
    /// Elements of a head, if they do not share the width.
    pub head_dim: Option<usize>,
    /// What rotates together where files of both kinds have one order; not so LLaMA's.
    pub pairing: Option<Pairing>,
    /// What the norm before the feed-forward layer is called.
    pub ffn_norm: &'static str,
    /// Queries, keys and values of a row.
    pub projections: Projections,
}

/// q, k and v of a layer.
pub(super) type Projections =
    fn(&Net<'_, '_>, Value, &str, Heads) -> Result<[Value; 3], BuildError>;

pub(super) const USUAL: Usual = Usual {
    eps: 1e-6,
    base: 1e4,
    window: None,
    head_dim: None,
    pairing: None,
    ffn_norm: "ffn_norm",
    projections,
};

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)), where FFN is gated, or a mixture of gated
/// experts if there are any. Layers that are not `rotated` know no positions.
pub(super) fn wire(
    model: &Builder<'_>,
    usual: &Usual,
    rotated: &dyn Fn(usize) -> bool,
) -> Result<(), BuildError> {
    let config = model.config();
    let Usual {
        pairing,
        ffn_norm,
        projections,
        ..
    } = *usual;
    let usual = match config.container {
        Container::Gguf => &USUAL,
        Container::HuggingFace => usual,
    };
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", usual.eps)?;
    let router = Router::read_some(config, &Gating::CHOSEN_SOFTMAX)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read_wide(config, width, usual.head_dim)?;
    let rope = match pairing {
        Some(pairing) => Rope::read_from(model, pairing, heads.head_dim, usual.base)?,
        None => rotation(model, heads.head_dim, (1.0, usual.base))?,
    };
    let windows = Windows::read(config, layers, usual.window, WindowPattern::From(0))?;
    model.context(config.count("context_length")?);

    let net = model.graph(decoder_role(config)?);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let window = windows.of(i);
        let position = match rotated(i) {
            true => PositionScheme::Rope(rope.clone()),
            false => PositionScheme::None,
        };
        let attention = Attention {
            mask: Mask::Causal { window },
            ..heads.causal(position)
        };
        let qkv = projections(&net, h, &layer, heads)?;
        x = net.add(x, attend(&net, qkv, &layer, width, attention)?);

        let h = net.rms_norm(x, &format!("{layer}.{ffn_norm}"), eps)?;
        let f: Value = match &router {
            Some(router) => gated_experts(&net, h, &layer, (hidden, function), router)?,
            None => gated_mlp(&net, h, &layer, hidden, function)?,
        };
        x = net.add(x, f);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// LLaMA rotates halves of a head, or of a part of it, from a base that are usual if the files do
/// not say. GGUF's converter
/// permutes the rows of Q and K of this family so that neighbours pair up instead: of whole heads,
/// even where only a part of them rotates, whose pairs then lie further apart.
pub(super) fn rotation(
    model: &Builder<'_>,
    head_dim: usize,
    usual: (f64, f32),
) -> Result<Rope, BuildError> {
    if model.config().container == Container::HuggingFace {
        return Rope::read_whole(model, Pairing::Halves, head_dim, usual);
    }
    let mut rope = Rope::read_whole(model, Pairing::Interleaved, head_dim, usual)?;
    if rope.dims() < head_dim {
        if !head_dim.is_multiple_of(2) {
            let expected = "an even number, as converters make pairs of all elements";
            return Err(model.config().invalid("attention.key_length", expected));
        }
        rope.pairing = Pairing::Woven;
    }
    Ok(rope)
}

/// Sizes of a decoder of known shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transformer {
    /// Of queries, and of keys.
    pub heads: [u64; 2],
    pub head_dim: u64,
    pub hidden: u64,
    /// Base of the rotation.
    pub base: f32,
    /// Norms of each head of queries and keys.
    pub head_norms: bool,
    /// Instead of one feed-forward layer: how many there are, and how many a token takes.
    pub experts: Option<[u64; 2]>,
}

pub(super) const PLAIN: Transformer = Transformer {
    heads: [1, 1],
    head_dim: 64,
    hidden: 1,
    base: 10_000.0,
    head_norms: false,
    experts: None,
};

/// Keys and layers of a decoder.
pub(super) fn outline(model: &mut Outline, sizes: &Transformer) {
    let &Transformer {
        heads: [heads, kv_heads],
        head_dim,
        hidden,
        base,
        head_norms,
        experts,
    } = sizes;
    model.counts(&[
        ("feed_forward_length", hidden),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", head_dim),
        ("attention.value_length", head_dim),
        ("rope.dimension_count", head_dim),
    ]);
    model.put("rope.freq_base", MetadataValue::F32(base));
    if let Some([count, used]) = experts {
        model.counts(&[("expert_count", count), ("expert_used_count", used)]);
    }
    let width = model.shape.width;
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        model.norm(&name("attn_norm"), width);
        model.matrix(&name("attn_q"), &[heads * head_dim, width]);
        model.matrix(&name("attn_k"), &[kv_heads * head_dim, width]);
        model.matrix(&name("attn_v"), &[kv_heads * head_dim, width]);
        if head_norms {
            model.norm(&name("attn_q_norm"), head_dim);
            model.norm(&name("attn_k_norm"), head_dim);
        }
        model.matrix(&name("attn_output"), &[width, heads * head_dim]);
        model.norm(&name("ffn_norm"), width);
        match experts {
            None => model.gated_mlp(layer, hidden),
            Some([count, _]) => {
                model.matrix(&name("ffn_gate_inp"), &[count, width]);
                model.matrix(&name("ffn_gate_exps"), &[count, hidden, width]);
                model.matrix(&name("ffn_up_exps"), &[count, hidden, width]);
                model.matrix(&name("ffn_down_exps"), &[count, width, hidden]);
            }
        }
    }
}
