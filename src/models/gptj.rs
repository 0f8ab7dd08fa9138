//! GPT-J (Wang & Komatsuzaki 2021).

use super::llama::Projections;
use super::tables::{keys, names};
use super::{Architecture, DECODER, Only};
use crate::graph::blocks::{Heads, activation, attend, embedding, head, mlp, projections};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Key, Name, Pairing, PositionScheme, Role, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "GPT-J",
    gguf: &["gptj"],
    hugging_face: &["gptj"],
    keys: KEYS,
    settled: &[
        ("rotary", Only::Is(true)),
        ("scale_attn_weights", Only::Is(true)),
    ],
    names: &[
        NAMES,
        names! {
            in "transformer.h.{i}." => "blk.{i}." {
                "attn.q_proj.weight" => "attn_q.weight",
                "attn.k_proj.weight" => "attn_k.weight",
                "attn.v_proj.weight" => "attn_v.weight",
            }
        },
    ],
    build: |model| build(model, projections),
    ..DECODER
};

pub(super) const KEYS: &[&[Key]] = &[keys! {
    "n_embd" => "embedding_length",
    "n_layer" => "block_count",
    "n_head" => "attention.head_count",
    "n_positions" => "context_length",
    "n_inner" => "feed_forward_length",
    "rotary_dim" => "rope.dimension_count",
    "layer_norm_epsilon" => "attention.layer_norm_epsilon",
    "activation_function" => "hidden_act",
}];

pub(super) const NAMES: &[Name] = names! {
    "transformer.wte.weight" => "token_embd.weight",
    "transformer.ln_f.*" => "output_norm.*",
    "lm_head.*" => "output.*",
    in "transformer.h.{i}." => "blk.{i}." {
        "ln_1.*" => "attn_norm.*",
        "attn.out_proj.weight" => "attn_output.weight",
        "mlp.fc_in.*" => "ffn_up.*",
        "mlp.fc_out.*" => "ffn_down.*",
    }
};

/// x ← x + Attention(LN(x)) + MLP(LN(x)), with one norm for both; neighbours rotate together.
pub(super) fn build(model: &Builder<'_>, projections: Projections) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = match config.optional_count("feed_forward_length")? {
        Some(hidden) => hidden,
        None => width.saturating_mul(4),
    };
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "gelu_new")?;
    let heads = Heads::read(config, width)?;
    let part = 64.0 / heads.head_dim as f64;
    let rope = Rope::read_part(model, Pairing::Interleaved, heads.head_dim, part)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = projections(&net, h, &layer, heads)?;
        let a = attend(&net, qkv, &layer, width, attention.clone())?;
        let f = mlp(&net, h, &layer, hidden, function)?;
        x = net.add(x, net.add(a, f));
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
