//! Gemma (Gemma Team 2024a), the first generation: no windows, no caps, no norms after layers.

use super::tables::{self, keys, names};
use super::{Architecture, DECODER, Only};
use crate::graph::blocks::{Heads, activation, attend, embedding, gated_mlp, head, projections};
use crate::graph::decoder::{answer, decoder_role};
use crate::graph::{BuildError, Builder, Pairing, Pointwise, PositionScheme, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Gemma",
    gguf: &["gemma"],
    hugging_face: &["gemma"],
    off: tables::BIASES,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::CAUSAL,
        keys! {
            "use_bidirectional_attention" => "use_bidirectional_attention",
        },
    ],
    // Some files name the function a second time.
    settled: &[(
        "hidden_activation",
        Only::Text(&["gelu_pytorch_tanh", "gelu"]),
    )],
    ties: true,
    names: &[
        names! {
            // Checkpoints store w where the weight is 1 + w; GGUF stores the weight.
            "model.norm.weight" => "output_norm.weight" as PlusOne,
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.weight" => "attn_norm.weight" as PlusOne,
                "post_attention_layernorm.weight" => "ffn_norm.weight" as PlusOne,
            }
        },
        tables::ENDS,
        tables::ATTENTION,
        tables::GATED_MLP,
    ],
    build,
    ..DECODER
};

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)); embeddings times √d.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?;
    // The first files say gelu and mean the form with tanh.
    let function = match config.text("hidden_act")? {
        Some("gelu") => Pointwise::GeluTanh,
        _ => activation(config, "hidden_act", "gelu_pytorch_tanh")?,
    };
    if config.flag("use_bidirectional_attention", false)? {
        return Err(config.invalid("use_bidirectional_attention", "false: this is a decoder"));
    }
    let heads = Heads::read_wide(config, width, Some(256))?;
    let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    model.context(config.count("context_length")?);

    let net = model.graph(decoder_role(config)?);
    let mut x = net.scale(embedding(&net, width)?, (width as f32).sqrt());
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = projections(&net, h, &layer, heads)?;
        x = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, gated_mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
