//! StableLM (Bellagente et al. 2024).

use super::tables::{self, keys, names};
use super::{Architecture, DECODER};
use crate::graph::blocks::{
    Heads, activation, attend, embedding, gated_mlp, head, head_norms, projections,
};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Pairing, PositionScheme, Role, Rope};
use rillm_formats::manifest::Container;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "StableLM",
    gguf: &["stablelm"],
    hugging_face: &["stablelm"],
    off: &["qk_layernorm", "use_qkv_bias"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::PARTIAL_ROPE,
        keys! {
            "layer_norm_eps" => "attention.layer_norm_epsilon",
            "use_parallel_residual" => "use_parallel_residual",
        },
    ],
    // Tensors tell.
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        tables::GATED_MLP,
        names! {
            "model.norm.bias" => "output_norm.bias",
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.*" => "attn_norm.*",
                "post_attention_layernorm.*" => "ffn_norm.*",
                "self_attn.q_layernorm.norms.{e}.weight" => "attn_q_norm.weight",
                "self_attn.k_layernorm.norms.{e}.weight" => "attn_k_norm.weight",
            }
        },
    ],
    build,
    ..DECODER
};

/// x ← x + Attention(LN(x)); x ← x + FFN(LN(x)), or both at once, with one norm.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    let rope = Rope::read_part(model, Pairing::Halves, heads.head_dim, 0.25)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    let parallel = match config.container {
        // A file tells by the norm that it has not.
        Container::Gguf => !model.has("blk.0.ffn_norm.weight") && !model.has("blk.0.ffn_norm.bias"),
        Container::HuggingFace => config.flag("use_parallel_residual", false)?,
    };
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let [mut q, mut k, v] = projections(&net, h, &layer, heads)?;
        if head_norms(model, &layer) {
            // A weight for each element of every head.
            let norm = |x, name: &str, count| {
                net.layer_norm_by(x, &format!("{layer}.{name}"), &[count, heads.head_dim], eps)
            };
            q = norm(q, "attn_q_norm", heads.heads)?;
            k = norm(k, "attn_k_norm", heads.kv_heads)?;
        }
        let a = attend(&net, [q, k, v], &layer, width, attention.clone())?;
        if parallel {
            let f = gated_mlp(&net, h, &layer, hidden, function)?;
            x = net.add(net.add(x, a), f);
        } else {
            x = net.add(x, a);
            let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), eps)?;
            x = net.add(x, gated_mlp(&net, h, &layer, hidden, function)?);
        }
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
