//! GPT-2 (Radford et al. 2019).

use super::tables::{keys, names};
use super::{Architecture, DECODER, Only};
use crate::graph::blocks::{activation, head, mlp};
use crate::graph::decoder::answer;
use crate::graph::{
    Attention, BuildError, Builder, Index, Keys, KvCache, Mask, PositionScheme, Role,
};

/// Hugging Face names, with and without the language model's prefix. Its Conv1D layers store
/// matrices [in, out].
macro_rules! table {
    ($($prefix:literal),*) => {
        names! {
            "lm_head.weight" => "output.weight",
            $(in $prefix => "" {
                "wte.weight" => "token_embd.weight",
                "wpe.weight" => "position_embd.weight",
                "ln_f.*" => "output_norm.*",
                "h.{i}.ln_1.*" => "blk.{i}.attn_norm.*",
                "h.{i}.attn.c_attn.weight" => "blk.{i}.attn_qkv.weight" as Transposed,
                "h.{i}.attn.c_attn.bias" => "blk.{i}.attn_qkv.bias",
                "h.{i}.attn.c_proj.weight" => "blk.{i}.attn_output.weight" as Transposed,
                "h.{i}.attn.c_proj.bias" => "blk.{i}.attn_output.bias",
                "h.{i}.ln_2.*" => "blk.{i}.ffn_norm.*",
                "h.{i}.mlp.c_fc.weight" => "blk.{i}.ffn_up.weight" as Transposed,
                "h.{i}.mlp.c_fc.bias" => "blk.{i}.ffn_up.bias",
                "h.{i}.mlp.c_proj.weight" => "blk.{i}.ffn_down.weight" as Transposed,
                "h.{i}.mlp.c_proj.bias" => "blk.{i}.ffn_down.bias",
            })*
        }
    };
}

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "GPT-2",
    gguf: &["gpt2"],
    hugging_face: &["gpt2"],
    keys: &[keys! {
        "n_embd" => "embedding_length",
        "hidden_size" => "embedding_length",
        "n_layer" => "block_count",
        "num_hidden_layers" => "block_count",
        "n_inner" => "feed_forward_length",
        "n_positions" => "context_length",
        "n_head" => "attention.head_count",
        "num_attention_heads" => "attention.head_count",
        "layer_norm_epsilon" => "attention.layer_norm_epsilon",
        "activation_function" => "hidden_act",
        "scale_attn_weights" => "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx" => "scale_attn_by_inverse_layer_idx",
    }],
    // Of Megatron: the same in other words.
    settled: &[("normalize_attention_scores", Only::Is(true))],
    ties: true,
    names: &[table!("transformer.", "")],
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
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
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
            keys: Keys::Cache(model.state(KvCache::new(heads, head_dim))),
            sinks: None,
        };
        let a = net.attention(q, Some((k, v)), attention);
        x = net.add(x, net.linear(a, &format!("{layer}.attn_output"), width)?);
        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
