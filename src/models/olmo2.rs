//! OLMo 2 (OLMo Team 2024).

use super::{Architecture, Converted, Family, tables};
use crate::graph::blocks::{
    Heads, Tied, activation, attend, embedding, gated_mlp, head, projections,
};
use crate::graph::{BuildError, Builder, Name, Pairing, PositionScheme, Role, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "OLMo 2",
    gguf: &["olmo2"],
    hugging_face: &["olmo2"],
    family: Family::Decoder,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::ROPE_SCALING,
        tables::ROPE_PARAMETERS,
    ],
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        tables::HEAD_NORMS,
        &[
            Name::plain(
                "model.layers.{i}.post_attention_layernorm.weight",
                "blk.{i}.post_attention_norm.weight",
            ),
            Name::plain(
                "model.layers.{i}.post_feedforward_layernorm.weight",
                "blk.{i}.post_ffw_norm.weight",
            ),
        ],
        tables::GATED_MLP,
    ],
    unused: &[],
    converted: Converted::AsStored,
    build,
};

/// x ← x + RMS(Attention(x)); x ← x + RMS(FFN(x)); queries and keys are normalised over all
/// heads together.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let hyper = model.hyper();
    let width = hyper.count("embedding_length")?;
    let hidden = hyper.count("feed_forward_length")?;
    let layers = hyper.count("block_count")?;
    let eps = hyper.float("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(hyper, "hidden_act", "silu")?;
    let heads = Heads::read(hyper, width)?;
    let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    model.context(hyper.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), eps);
        let [q, k, v] = projections(&net, x, &layer, heads)?;
        let qkv = [norm(q, "attn_q_norm")?, norm(k, "attn_k_norm")?, v];
        let a = attend(&net, qkv, &layer, width, attention.clone())?;
        x = net.add(x, norm(a, "post_attention_norm")?);
        let f = gated_mlp(&net, x, &layer, hidden, function)?;
        x = net.add(x, norm(f, "post_ffw_norm")?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x, Tied::OnRequest)?, "logits");
    net.finish();
    Ok(())
}
