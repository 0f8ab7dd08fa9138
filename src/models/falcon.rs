//! Falcon (Almazrouei et al. 2023).

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Only, Quantization, conversion};
use crate::graph::blocks::{
    Heads, activation, alibi, attend, embedding, head, interleaved_projections, mlp,
};
use crate::graph::decoder::answer;
use crate::graph::{
    Alibi, BuildError, Builder, Config, Counting, Pairing, PositionScheme, Role, Rope,
};
use rillm_formats::manifest::Container;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Falcon",
    gguf: &["falcon"],
    hugging_face: &["falcon"],
    off: &["bias"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "n_embed" => "embedding_length",
            "n_layer" => "block_count",
            "n_head" => "attention.head_count",
            "num_kv_heads" => "attention.head_count_kv",
            "n_head_kv" => "attention.head_count_kv",
            "ffn_hidden_size" => "feed_forward_length",
            "layer_norm_epsilon" => "attention.layer_norm_epsilon",
            "activation" => "activation",
            "alibi" => "alibi",
            "multi_query" => "multi_query",
            "parallel_attn" => "parallel_attn",
            "new_decoder_architecture" => "new_decoder_architecture",
        },
    ],
    settled: &[
        // The authors' code reads ffn_hidden_size alone.
        ("ff_factor", Only::Any),
        ("num_ln_in_parallel_attn", Only::Any),
        ("rotary", Only::Any),
    ],
    ties: true,
    names: &[names! {
        "transformer.word_embeddings.weight" => "token_embd.weight",
        "lm_head.weight" => "output.weight",
        "transformer.ln_f.*" => "output_norm.*",
        in "transformer.h.{i}." => "blk.{i}." {
            "input_layernorm.*" => "attn_norm.*",
            "ln_mlp.*" => "attn_norm.*",
            "ln_attn.*" => "attn_norm_2.*",
            "post_attention_layernorm.*" => "ffn_norm.*",
            "self_attention.query_key_value.*" => "attn_qkv.*",
            "self_attention.dense.*" => "attn_output.*",
            "mlp.dense_h_to_4h.*" => "ffn_up.*",
            "mlp.dense_4h_to_h.*" => "ffn_down.*",
        }
    }],
    conversion: Conversion {
        tensor: conversion::queries_first,
        complete: |keys, _| keys.put_usual_context(2048),
        ..Conversion::PLAIN
    },
    quantization: Quantization {
        even: true,
        ..Quantization::USUAL
    },
    build,
    ..DECODER
};

/// x ← x + Attention(LN(x)) + MLP(LN(x)), with one norm for both or one for each; the oldest
/// models do one after the other.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.optional_count("feed_forward_length")?;
    let hidden = hidden.unwrap_or(4 * width);
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let function = activation(config, "activation", "gelu")?;
    let parallel = config.flag("parallel_attn", true)?;
    let heads = heads(config, width)?;
    let attention = heads.causal(match config.flag("alibi", false)? {
        true => rounded_alibi(model, heads),
        false => PositionScheme::Rope(Rope::read(model, Pairing::Halves, heads.head_dim)?),
    });
    model.context(config.optional_count("context_length")?.unwrap_or(2048));

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.layer_norm(x, &format!("{layer}.{name}"), eps);
        let own = model.has(&format!("{layer}.attn_norm_2.weight"));
        let h = norm(x, if own { "attn_norm_2" } else { "attn_norm" })?;
        let qkv = interleaved_projections(&net, h, &layer, heads)?;
        let attended = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let h = match (parallel, own) {
            (true, true) => norm(x, "attn_norm")?,
            (true, false) => h,
            (false, _) => norm(attended, "ffn_norm")?,
        };
        x = net.add(attended, mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// softmax((q · k + a(p)) / √d) for a key at position p, of which a(p) is its head's slope times p in
/// bfloat16, whatever the model computes in. Positions skip what is masked.
fn rounded_alibi(model: &Builder<'_>, heads: Heads) -> PositionScheme {
    model.counts_positions(Counting::Unmasked);
    PositionScheme::Alibi(Alibi {
        rounded: Some((heads.head_dim as f32).sqrt().recip()),
        ..alibi(heads.heads, 8.0)
    })
}

/// The count of key heads in `config.json` holds for the newer models alone: of the older ones,
/// all heads share one, or none does.
fn heads(config: &Config<'_>, width: usize) -> Result<Heads, BuildError> {
    let newer = config.flag("new_decoder_architecture", false)?;
    if config.container == Container::Gguf || newer {
        return Heads::read(config, width);
    }
    let heads = config.count("attention.head_count")?;
    if !width.is_multiple_of(heads) {
        return Err(config.invalid("attention.head_count", "a divisor of the width"));
    }
    let shared = config.flag("multi_query", true)?;
    Ok(Heads {
        heads,
        kv_heads: if shared { 1 } else { heads },
        head_dim: width / heads,
    })
}
