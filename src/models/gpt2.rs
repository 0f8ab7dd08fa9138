//! GPT-2 (Radford et al. 2019).

use super::{Architecture, DECODER};
use crate::graph::blocks::{Tied, activation, head, mlp};
use crate::graph::{
    Attention, BuildError, Builder, Index, Keys, Mask, Name, PositionScheme, Role, StateKind, View,
};

/// Hugging Face names, with and without the language model's prefix. Its Conv1D layers store
/// matrices [in, out].
macro_rules! names {
    ($($prefix:literal),*) => {
        &[$(
            Name::plain(concat!($prefix, "wte.weight"), "token_embd.weight"),
            Name::plain(concat!($prefix, "wpe.weight"), "position_embd.weight"),
            Name::plain(concat!($prefix, "ln_f.weight"), "output_norm.weight"),
            Name::plain(concat!($prefix, "ln_f.bias"), "output_norm.bias"),
            Name::plain(concat!($prefix, "h.{i}.ln_1.weight"), "blk.{i}.attn_norm.weight"),
            Name::plain(concat!($prefix, "h.{i}.ln_1.bias"), "blk.{i}.attn_norm.bias"),
            Name::viewed(concat!($prefix, "h.{i}.attn.c_attn.weight"), "blk.{i}.attn_qkv.weight", View::Transposed),
            Name::plain(concat!($prefix, "h.{i}.attn.c_attn.bias"), "blk.{i}.attn_qkv.bias"),
            Name::viewed(concat!($prefix, "h.{i}.attn.c_proj.weight"), "blk.{i}.attn_output.weight", View::Transposed),
            Name::plain(concat!($prefix, "h.{i}.attn.c_proj.bias"), "blk.{i}.attn_output.bias"),
            Name::plain(concat!($prefix, "h.{i}.ln_2.weight"), "blk.{i}.ffn_norm.weight"),
            Name::plain(concat!($prefix, "h.{i}.ln_2.bias"), "blk.{i}.ffn_norm.bias"),
            Name::viewed(concat!($prefix, "h.{i}.mlp.c_fc.weight"), "blk.{i}.ffn_up.weight", View::Transposed),
            Name::plain(concat!($prefix, "h.{i}.mlp.c_fc.bias"), "blk.{i}.ffn_up.bias"),
            Name::viewed(concat!($prefix, "h.{i}.mlp.c_proj.weight"), "blk.{i}.ffn_down.weight", View::Transposed),
            Name::plain(concat!($prefix, "h.{i}.mlp.c_proj.bias"), "blk.{i}.ffn_down.bias"),
        )*
            Name::plain("lm_head.weight", "output.weight"),
        ]
    };
}

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "GPT-2",
    gguf: &["gpt2"],
    hugging_face: &["gpt2"],
    keys: &[&[
        ("embedding_length", "n_embd"),
        ("block_count", "n_layer"),
        ("feed_forward_length", "n_inner"),
        ("context_length", "n_positions"),
        ("attention.head_count", "n_head"),
        ("attention.layer_norm_epsilon", "layer_norm_epsilon"),
        ("hidden_act", "activation_function"),
        ("scale_attn_weights", "scale_attn_weights"),
        (
            "scale_attn_by_inverse_layer_idx",
            "scale_attn_by_inverse_layer_idx",
        ),
    ]],
    names: &[names!("transformer.", "")],
    build,
    ..DECODER
};

/// x ← x + Attention(LN(x)); x ← x + MLP(LN(x)); learned positions.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config
        .optional_count("feed_forward_length")?
        .unwrap_or(4 * width);
    let heads = config.count("attention.head_count")?;
    if !width.is_multiple_of(heads) {
        return Err(config.invalid("attention.head_count", "a divisor of the width"));
    }
    let head_dim = width / heads;
    let eps = config.float("attention.layer_norm_epsilon", 1e-5)?;
    let scaled = config.flag("scale_attn_weights", true)?;
    let by_layer = config.flag("scale_attn_by_inverse_layer_idx", false)?;
    let function = activation(config, "hidden_act", "gelu_new")?;
    let positions = model.rows("position_embd.weight")?;
    model.context(positions);

    let net = model.graph(Role::Decode);
    let vocabulary = model.rows("token_embd.weight")?;
    let tokens = model.matrix("token_embd.weight", vocabulary, width)?;
    let mut x = net.add(
        net.embed(tokens, Index::Token),
        net.embed(
            model.matrix("position_embd.weight", positions, width)?,
            Index::Position,
        ),
    );
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let qkv = net.linear(h, &format!("{layer}.attn_qkv"), 3 * width)?;
        let [q, k, v] = [0, 1, 2].map(|part| net.slice(qkv, part * width, width));
        let mut scale = if scaled {
            1.0 / (head_dim as f32).sqrt()
        } else {
            1.0
        };
        if by_layer {
            scale /= (i + 1) as f32;
        }
        let attention = Attention {
            heads,
            kv_heads: heads,
            head_dim,
            scale,
            softcap: None,
            mask: Mask::Causal { window: None },
            position: PositionScheme::None,
            keys: Keys::Cache(model.state(StateKind::KvCache {
                kv_heads: heads,
                head_dim,
            })),
        };
        let a = net.attention(q, Some((k, v)), attention);
        x = net.add(x, net.linear(a, &format!("{layer}.attn_output"), width)?);
        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x, Tied::ByDefault)?, "logits");
    net.finish();
    Ok(())
}
