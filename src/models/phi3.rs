//! Phi-3 and Phi-4 (Abdin et al. 2024).

use super::tables::{self, keys, names};
use super::{Architecture, DECODER, Only};
use crate::graph::blocks::{
    Heads, activation, attend, embedding, fused_gated_mlp, fused_projections, head,
};
use crate::graph::decoder::answer;
use crate::graph::{Attention, BuildError, Builder, Mask, Pairing, PositionScheme, Role, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Phi-3, Phi-4",
    gguf: &["phi3"],
    hugging_face: &["phi3"],
    off: tables::BIASES,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::PARTIAL_ROPE,
        keys! {
            "sliding_window" => "attention.sliding_window",
        },
    ],
    // Which layers see everything, and by how much positions are stretched: the authors' code does
    // not read it.
    settled: &[
        ("full_attn_mod", Only::Number(1.0)),
        ("interpolate_factor", Only::Number(1.0)),
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::GATED_MLP,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "self_attn.qkv_proj.weight" => "attn_qkv.weight",
                // Gates first, then what they let through.
                "mlp.gate_up_proj.weight" => "ffn_up.weight",
            }
        },
    ],
    build,
    ..DECODER
};

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)); projections of one input are fused.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
    let window = config.feature("attention.sliding_window")?;
    let attention = Attention {
        mask: Mask::Causal {
            window: window.map(|window| window as u64),
        },
        ..heads.causal(PositionScheme::Rope(rope))
    };
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = fused_projections(&net, h, &layer, heads)?;
        x = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, fused_gated_mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
