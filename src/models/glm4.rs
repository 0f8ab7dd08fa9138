//! GLM-4 (Team GLM 2024), in the form of its release of April 2025.

use super::tables::{self, names};
use super::{Architecture, DECODER};
use crate::graph::blocks::{
    Heads, activation, attend, embedding, fused_gated_mlp, head, projections,
};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Pairing, PositionScheme, Role, Rope};
use rillm_formats::manifest::Container;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "GLM-4 (0414)",
    gguf: &["glm4"],
    hugging_face: &["glm4"],
    keys: &[tables::SIZES, tables::ROPE, tables::PARTIAL_ROPE],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::GATED_MLP,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "post_self_attn_layernorm.weight" => "post_attention_norm.weight",
                "post_mlp_layernorm.weight" => "post_ffw_norm.weight",
                "mlp.gate_up_proj.weight" => "ffn_up.weight",
            }
        },
    ],
    build,
    ..DECODER
};

/// x ← x + RMS(Attention(RMS(x))); x ← x + RMS(FFN(RMS(x))); neighbours rotate together, in
/// half of each head.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1.5625e-7)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read_wide(config, width, Some(128))?;
    let part = match config.container {
        Container::Gguf => 1.0,
        Container::HuggingFace => 0.5,
    };
    let rope = Rope::read_part(model, Pairing::Interleaved, heads.head_dim, part)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), eps);
        let qkv = projections(&net, norm(x, "attn_norm")?, &layer, heads)?;
        let a = attend(&net, qkv, &layer, width, attention.clone())?;
        x = net.add(x, norm(a, "post_attention_norm")?);
        let h = norm(x, "ffn_norm")?;
        let f = fused_gated_mlp(&net, h, &layer, hidden, function)?;
        x = net.add(x, norm(f, "post_ffw_norm")?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
