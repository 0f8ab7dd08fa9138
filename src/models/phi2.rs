//! Phi-1, Phi-1.5 and Phi-2 (Gunasekar et al. 2023).

use super::tables::{self, keys, names};
use super::{Architecture, DECODER};
use crate::graph::blocks::{
    Heads, activation, attend, embedding, head, head_norms, mlp, projections,
};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Pairing, PositionScheme, Role, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Phi-1, Phi-2",
    gguf: &["phi2"],
    hugging_face: &["phi"],
    biased: &[
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_up",
        "ffn_down",
    ],
    off: &["qk_layernorm"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::PARTIAL_ROPE,
        keys! {
            "layer_norm_eps" => "attention.layer_norm_epsilon",
        },
    ],
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        names! {
            "lm_head.bias" => "output.bias",
            "model.final_layernorm.*" => "output_norm.*",
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.*" => "attn_norm.*",
                "self_attn.dense.*" => "attn_output.*",
                "self_attn.q_layernorm.*" => "attn_q_norm.*",
                "self_attn.k_layernorm.*" => "attn_k_norm.*",
                "mlp.fc1.*" => "ffn_up.*",
                "mlp.fc2.*" => "ffn_down.*",
            }
        },
    ],
    build,
    ..DECODER
};

/// x ← x + Attention(LN(x)) + MLP(LN(x)), with one norm for both.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "gelu_new")?;
    let heads = Heads::read(config, width)?;
    let rope = Rope::read_part(model, Pairing::Halves, heads.head_dim, 0.5)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let [mut q, mut k, v] = projections(&net, h, &layer, heads)?;
        if head_norms(model, &layer) {
            let shape = [heads.head_dim];
            q = net.layer_norm_by(q, &format!("{layer}.attn_q_norm"), &shape, eps)?;
            k = net.layer_norm_by(k, &format!("{layer}.attn_k_norm"), &shape, eps)?;
        }
        let a = attend(&net, [q, k, v], &layer, width, attention.clone())?;
        let f = mlp(&net, h, &layer, hidden, function)?;
        x = net.add(x, net.add(a, f));
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
