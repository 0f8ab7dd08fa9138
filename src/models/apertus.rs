//! Apertus (Swiss AI 2025): LLaMA with norms of queries and keys, and xIELU (Huang & Schlag 2025)
//! in plain feed-forward layers.

use super::tables::{self, names};
use super::{Architecture, Conversion, DECODER, GgufKeys, Only};
use crate::graph::blocks::{Heads, attend, embedding, head, projections};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Name, Pairing, PositionScheme, Role, Rope, Vector};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Apertus",
    gguf: &["apertus"],
    hugging_face: &["apertus"],
    off: tables::BIASES,
    // What the class does says nothing of itself: queries and keys are normed, and nothing behind.
    settled: &[("post_norm", Only::Is(false)), ("qk_norm", Only::Is(true))],
    keys: &[tables::SIZES, tables::ROPE],
    harmless_in_gguf: &["xielu.alpha_p", "xielu.alpha_n", "xielu.beta", "xielu.eps"],
    names: &[tables::ENDS, tables::ATTENTION, tables::HEAD_NORMS, NAMES],
    conversion: Conversion {
        keys: usual_rotation,
        listed: &[
            ("xielu_alpha_p", "xielu.alpha_p"),
            ("xielu_alpha_n", "xielu.alpha_n"),
            ("xielu_beta", "xielu.beta"),
            ("xielu_eps", "xielu.eps"),
        ],
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

const NAMES: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "attention_layernorm.weight" => "attn_norm.weight",
        "feedforward_layernorm.weight" => "ffn_norm.weight",
        "mlp.up_proj.*" => "ffn_up.*",
        "mlp.down_proj.*" => "ffn_down.*",
        "mlp.act_fn.alpha_p" => "xielu_alpha_p",
        "mlp.act_fn.alpha_n" => "xielu_alpha_n",
        "mlp.act_fn.beta" => "xielu_beta",
        "mlp.act_fn.eps" => "xielu_eps",
    }
};

/// a₊, a₋, β and ε.
const PARAMETERS: [&str; 4] = ["alpha_p", "alpha_n", "beta", "eps"];

/// x ← x + Attention(RMS(x)); x ← x + down(xIELU(up RMS(x))).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    if !matches!(config.text("hidden_act")?, None | Some("xielu")) {
        return Err(config.invalid("hidden_act", "xielu"));
    }
    let heads = Heads::read(config, width)?;
    Rope::expect_scaling(config)?;
    let rope = Rope::read_from(model, Pairing::Halves, heads.head_dim, 12e6)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let head_norm =
            |x, name: &str| net.rms_norm_by(x, &format!("{layer}.{name}"), heads.head_dim, eps);
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let [q, k, v] = projections(&net, h, &layer, heads)?;
        let qkv = [
            head_norm(q, "attn_q_norm")?,
            head_norm(k, "attn_k_norm")?,
            v,
        ];
        x = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        let up = net.linear(h, &format!("{layer}.ffn_up"), hidden)?;
        let inner = net.xielu(up, parameters(model, i, layers)?);
        x = net.add(x, net.linear(inner, &format!("{layer}.ffn_down"), width)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// Tensors in a folder, and in GGUF entries of lists, which converters write without the architecture's
/// name before it.
fn parameters(model: &Builder<'_>, layer: usize, layers: usize) -> Result<[Vector; 4], BuildError> {
    let config = model.config();
    let mut found = Vec::new();
    for name in PARAMETERS {
        found.push(match config.container {
            Container::HuggingFace => model.vector(&format!("blk.{layer}.xielu_{name}"), &[1])?,
            Container::Gguf => {
                let key = format!("xielu.{name}");
                let number = match config.metadata.array(&key) {
                    None => config.floats(&key, layers)?.map(|list| list[layer]),
                    Some(list) if list.len() == layers => {
                        let number = list.f64(layer).map(|number| number as f32);
                        number.filter(|number| number.is_finite())
                    }
                    Some(_) => return Err(config.bad(&key, "a number for each layer")),
                };
                model.constant([number.ok_or_else(|| config.missing(&key))?])
            }
        });
    }
    let found: [Vector; 4] = std::array::from_fn(|place| found[place]);
    Ok(found)
}

/// What the class takes for granted where nothing is said of positions.
fn usual_rotation(keys: &mut GgufKeys<'_>) {
    keys.put_usual("rope.freq_base", MetadataValue::F32(12e6));
}
