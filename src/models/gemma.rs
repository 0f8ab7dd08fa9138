//! Gemma 2 (Gemma Team 2024), Gemma 3 (Gemma Team 2025), and EmbeddingGemma (Vera et al. 2025).

use super::tables::{self, keys, names};
use super::{Architecture, DECODER, Family, Only};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, attend, cap, embedding, gated_mlp, head,
    projections, soft_cap,
};
use crate::graph::decoder::answer;
use crate::graph::{
    Attention, BuildError, Builder, Config, Key, Mask, Name, Pairing, PositionScheme, Role, Rope,
};
use rillm_formats::manifest::Container;

pub(super) const GEMMA_2: Architecture = Architecture {
    title: "Gemma 2",
    gguf: &["gemma2"],
    hugging_face: &["gemma2"],
    off: tables::BIASES,
    keys: &[tables::SIZES, tables::ROPE, tables::WINDOWS, KEYS],
    // The authors' code reads hidden_activation and sliding_window alone.
    settled: &[
        ("hidden_act", Only::Any),
        ("sliding_window_size", Only::Any),
        ("use_qk_norm", Only::Any),
    ],
    ties: true,
    names: NAMES,
    build: |model| build(model, &SECOND),
    ..DECODER
};

pub(super) const GEMMA_3: Architecture = Architecture {
    title: "Gemma 3 (text)",
    gguf: &["gemma3"],
    hugging_face: &["gemma3_text"],
    keys: &[tables::SIZES, tables::ROPE_OF_EACH, tables::WINDOWS, KEYS],
    build: |model| build(model, &THIRD),
    ..GEMMA_2
};

/// Gemma 3 of which each row sees those behind it as well. Its files for transformers say Gemma 3, and
/// that it is one.
pub(super) const EMBEDDING_GEMMA: Architecture = Architecture {
    title: "EmbeddingGemma",
    gguf: &["gemma-embedding"],
    hugging_face: &["gemma_embedding"],
    recognises: |config| {
        config.str("model_type") == Some("gemma3_text")
            && config.bool("use_bidirectional_attention") == Some(true)
    },
    family: Family::Encoder,
    // How wide the layers are that its vectors go through, which these say themselves.
    harmless_in_gguf: &[
        "dense_2_feat_in",
        "dense_2_feat_out",
        "dense_3_feat_in",
        "dense_3_feat_out",
    ],
    unused: &["dense_2.weight", "dense_3.weight"],
    build: |model| build(model, &EMBEDDING),
    ..GEMMA_3
};

/// What differs between the generations.
struct Generation {
    /// Layers up to one that sees everything.
    period: usize,
    /// Base of the rotation.
    base: f32,
    /// Base of the windowed layers' own rotation, which is never scaled, if they have one.
    local_base: Option<f32>,
    /// Whether queries and keys are normalised, each head by itself.
    head_norms: bool,
    /// What its graph is for: of an encoder each row sees those behind it as well.
    role: Role,
    /// Caps of scores and logits where the files do not say.
    caps: (Option<f32>, Option<f32>),
    /// The size whose scale GGUF leaves to be known: 27 billion, by its layers.
    layers_of_27b: usize,
}

const SECOND: Generation = Generation {
    period: 2,
    base: 1e4,
    local_base: None,
    head_norms: false,
    role: Role::Decode,
    caps: (Some(50.0), Some(30.0)),
    layers_of_27b: 46,
};

const THIRD: Generation = Generation {
    period: 6,
    base: 1e6,
    local_base: Some(1e4),
    head_norms: true,
    role: Role::Decode,
    caps: (None, None),
    layers_of_27b: 62,
};

const EMBEDDING: Generation = Generation {
    role: Role::Encode,
    ..THIRD
};

const KEYS: &[Key] = keys! {
    "hidden_activation" => "hidden_activation",
    "query_pre_attn_scalar" => "query_pre_attn_scalar",
    "attn_logit_softcapping" => "attn_logit_softcapping",
    "final_logit_softcapping" => "final_logit_softcapping",
    "rope_local_base_freq" => "rope.freq_base_swa",
    "use_bidirectional_attention" => "use_bidirectional_attention",
    "_sliding_window_pattern" => "attention.sliding_window_pattern",
};

const NAMES: &[&[Name]] = &[
    names! {
        // Checkpoints store w where the weight is 1 + w; GGUF stores the weight.
        "model.norm.weight" => "output_norm.weight" as PlusOne,
        in "model.layers.{i}." => "blk.{i}." {
            "input_layernorm.weight" => "attn_norm.weight" as PlusOne,
            "post_attention_layernorm.weight" => "post_attention_norm.weight" as PlusOne,
            "pre_feedforward_layernorm.weight" => "ffn_norm.weight" as PlusOne,
            "post_feedforward_layernorm.weight" => "post_ffw_norm.weight" as PlusOne,
            "self_attn.q_norm.weight" => "attn_q_norm.weight" as PlusOne,
            "self_attn.k_norm.weight" => "attn_k_norm.weight" as PlusOne,
        }
    },
    tables::ENDS,
    tables::ATTENTION,
    tables::GATED_MLP,
];

/// x ← x + RMS(Attention(RMS(x))); x ← x + RMS(FFN(RMS(x))); embeddings times √d; windows in
/// all layers but every so many, from Gemma 3 on with a rotation of their own.
fn build(model: &Builder<'_>, generation: &Generation) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?;
    let function = activation(config, "hidden_activation", "gelu_pytorch_tanh")?;
    let encodes = generation.role == Role::Encode;
    if config.flag("use_bidirectional_attention", encodes)? != encodes {
        let expected = format!("{encodes}");
        return Err(config.invalid("use_bidirectional_attention", &expected));
    }
    let heads = Heads::read_wide(config, width, Some(256))?;
    let (pairing, head_dim) = (Pairing::Halves, heads.head_dim);
    let [rope, local] = match generation.local_base {
        Some(base) => Rope::read_both(model, pairing, head_dim, [generation.base, base])?,
        None => {
            let rope = Rope::read_from(model, pairing, head_dim, generation.base)?;
            [rope.clone(), rope]
        }
    };
    let pattern = WindowPattern::AllButEvery(generation.period);
    let windows = Windows::read(config, layers, Some(4096), pattern)?;
    Windows::check_width(config)?;
    let (of_scores, of_logits) = generation.caps;
    let of_logits = cap(config, "final_logit_softcapping", of_logits)?;
    let attention = Attention {
        scale: scale(config, width, heads, layers == generation.layers_of_27b)?,
        // The later generation's code does not read it.
        softcap: match of_scores {
            Some(_) => cap(config, "attn_logit_softcapping", of_scores)?,
            None => None,
        },
        ..heads.causal(PositionScheme::None)
    };
    model.context(config.count("context_length")?);

    let net = model.graph(generation.role);
    let mut x = net.scale(embedding(&net, width)?, (width as f32).sqrt());
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), eps);
        let h = norm(x, "attn_norm")?;
        let [mut q, mut k, v] = projections(&net, h, &layer, heads)?;
        if generation.head_norms {
            q = net.rms_norm_by(q, &format!("{layer}.attn_q_norm"), heads.head_dim, eps)?;
            k = net.rms_norm_by(k, &format!("{layer}.attn_k_norm"), heads.head_dim, eps)?;
        }
        let window = windows.of(i);
        let rope = if window.is_some() { &local } else { &rope };
        let attention = Attention {
            mask: Mask::Causal {
                // An encoder's window is as wide as both its sides.
                window: window.map(|window| if encodes { window / 2 } else { window }),
            },
            position: PositionScheme::Rope(rope.clone()),
            ..attention.clone()
        };
        let a = attend(&net, [q, k, v], &layer, width, attention)?;
        x = net.add(x, norm(a, "post_attention_norm")?);
        let h = norm(x, "ffn_norm")?;
        let f = gated_mlp(&net, h, &layer, hidden, function)?;
        x = net.add(x, norm(f, "post_ffw_norm")?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| Ok(soft_cap(&net, head(&net, x)?, of_logits)))?;
    net.finish();
    Ok(())
}

/// Scores are divided by √d of the heads, but in the largest size by √(width / heads).
/// `config.json` says it, GGUF does not.
fn scale(
    config: &Config<'_>,
    width: usize,
    heads: Heads,
    largest: bool,
) -> Result<f32, BuildError> {
    let known = match config.container {
        Container::Gguf if largest => width as f32 / heads.heads as f32,
        Container::Gguf => heads.head_dim as f32,
        Container::HuggingFace => 256.0,
    };
    let scalar = config.positive("query_pre_attn_scalar", known)?;
    Ok(f64::from(scalar).powf(-0.5) as f32)
}
