//! StarCoder 2 (Lozhkov et al. 2024).

use super::tables::{self, keys, names};
use super::{Architecture, DECODER, Only};
use crate::graph::blocks::{Heads, activation, attend, embedding, head, mlp, projections};
use crate::graph::decoder::answer;
use crate::graph::{Attention, BuildError, Builder, Mask, Pairing, PositionScheme, Role, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "StarCoder 2",
    gguf: &["starcoder2"],
    hugging_face: &["starcoder2"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "norm_epsilon" => "attention.layer_norm_epsilon",
            "sliding_window" => "attention.sliding_window",
        },
    ],
    settled: &[
        // The authors' code reads hidden_act alone.
        ("activation_function", Only::Any),
        ("mlp_type", Only::Text(&["default"])),
        ("norm_type", Only::Text(&["layer_norm"])),
    ],
    ties: true,
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        names! {
            "model.norm.bias" => "output_norm.bias",
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.bias" => "attn_norm.bias",
                "post_attention_layernorm.bias" => "ffn_norm.bias",
                "mlp.c_fc.*" => "ffn_up.*",
                "mlp.c_proj.*" => "ffn_down.*",
            }
        },
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
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
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
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
