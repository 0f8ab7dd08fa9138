//! StarCoder 2 (Lozhkov et al. 2024).

use super::{Architecture, DECODER, tables};
use crate::graph::blocks::{Heads, Tied, activation, attend, embedding, head, mlp, projections};
use crate::graph::{
    Attention, BuildError, Builder, Mask, Name, Pairing, PositionScheme, Role, Rope,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "StarCoder 2",
    gguf: &["starcoder2"],
    hugging_face: &["starcoder2"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::ROPE_SCALING,
        tables::ROPE_PARAMETERS,
        &[
            ("attention.layer_norm_epsilon", "norm_epsilon"),
            ("attention.sliding_window", "sliding_window"),
        ],
    ],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        &[
            Name::plain("model.norm.bias", "output_norm.bias"),
            Name::plain(
                "model.layers.{i}.input_layernorm.bias",
                "blk.{i}.attn_norm.bias",
            ),
            Name::plain(
                "model.layers.{i}.post_attention_layernorm.bias",
                "blk.{i}.ffn_norm.bias",
            ),
            Name::plain("model.layers.{i}.mlp.c_fc.weight", "blk.{i}.ffn_up.weight"),
            Name::plain("model.layers.{i}.mlp.c_fc.bias", "blk.{i}.ffn_up.bias"),
            Name::plain(
                "model.layers.{i}.mlp.c_proj.weight",
                "blk.{i}.ffn_down.weight",
            ),
            Name::plain("model.layers.{i}.mlp.c_proj.bias", "blk.{i}.ffn_down.bias"),
        ],
    ],
    build,
    ..DECODER
};

/// x ← x + Attention(LN(x)); x ← x + MLP(LN(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.float("attention.layer_norm_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "gelu_pytorch_tanh")?;
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
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = projections(&net, h, &layer, heads)?;
        x = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x, Tied::ByDefault)?, "logits");
    net.finish();
    Ok(())
}
