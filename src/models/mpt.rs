//! MPT (MosaicML 2023). The strength of ALiBi is read as the authors' own code reads it;
//! transformers knows none but 8.

use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Only};
use crate::graph::blocks::{Heads, alibi, attend, cap, embedding, head, mlp};
use crate::graph::decoder::answer;
use crate::graph::{Attention, BuildError, Builder, Index, Pointwise, PositionScheme, Role};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "MPT",
    gguf: &["mpt"],
    hugging_face: &["mpt"],
    keys: &[keys! {
        "d_model" => "embedding_length",
        "n_layers" => "block_count",
        "n_heads" => "attention.head_count",
        "max_seq_len" => "context_length",
        "layer_norm_epsilon" => "attention.layer_norm_epsilon",
        "hidden_size" => "embedding_length",
        "num_hidden_layers" => "block_count",
        "num_attention_heads" => "attention.head_count",
        "attn_config.alibi" => "attention.alibi",
        "attn_config.alibi_bias_max" => "attention.max_alibi_bias",
        "attn_config.clip_qkv" => "attention.clamp_kqv",
        "attn_config.softmax_scale" => "attention.scale",
    }],
    settled: &[
        ("attn_config.attn_impl", Only::Any),
        ("attn_config.attn_pdrop", Only::Any),
        (
            "attn_config.attn_type",
            Only::Text(&["multihead_attention"]),
        ),
        ("attn_config.attn_uses_sequence_id", Only::Is(false)),
        ("attn_config.fused_qkv", Only::Is(true)),
        ("attn_config.model_type", Only::Any),
        ("attn_config.prefix_lm", Only::Is(false)),
        ("attn_config.qk_ln", Only::Is(false)),
        // Nothing turns: what rotations would be like is no matter.
        ("attn_config.rope", Only::Is(false)),
        ("attn_config.rope_dail_config", Only::Any),
        ("attn_config.rope_hf_config", Only::Any),
        ("attn_config.rope_impl", Only::Any),
        ("attn_config.rope_theta", Only::Any),
        ("attn_config.sliding_window_size", Only::Number(-1.0)),
        ("expansion_ratio", Only::Number(4.0)),
        ("ffn_config.fc_type", Only::Any),
        ("learned_pos_emb", Only::Any),
        ("logit_scale", Only::Nothing),
        ("norm_eps", Only::Number(1e-5)),
        (
            "norm_type",
            Only::Text(&["low_precision_layernorm", "layernorm"]),
        ),
        ("use_pad_tok_in_ffn", Only::Any),
    ],
    ties: true,
    names: &[names! {
        "transformer.wte.weight" => "token_embd.weight",
        "lm_head.weight" => "output.weight",
        "transformer.norm_f.*" => "output_norm.*",
        in "transformer.blocks.{i}." => "blk.{i}." {
            "norm_1.*" => "attn_norm.*",
            "attn.Wqkv.*" => "attn_qkv.*",
            "attn.out_proj.*" => "attn_output.*",
            "norm_2.*" => "ffn_norm.*",
            "ffn.up_proj.*" => "ffn_up.*",
            "ffn.down_proj.*" => "ffn_down.*",
        }
    }],
    conversion: Conversion {
        keys: |keys| {
            if keys.values.bool("attention.alibi") == Some(false) {
                keys.put("attention.max_alibi_bias", MetadataValue::F32(0.0));
            }
            keys.remove(&["attention.alibi"]);
        },
        complete: |keys, _| {
            if keys.float("attention.layer_norm_epsilon").is_none() {
                keys.put("attention.layer_norm_epsilon", MetadataValue::F32(1e-5));
            }
        },
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// x ← x + Attention(LN(x)); x ← x + MLP(LN(x)); projections within bounds.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.optional_count("feed_forward_length")?;
    let hidden = hidden.unwrap_or(4 * width);
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let limit = cap(config, "attention.clamp_kqv", None)?;
    let heads = Heads::read(config, width)?;
    let max = config.float("attention.max_alibi_bias", 8.0)?;
    let slopes = config.flag("attention.alibi", true)?;
    // Where nothing else tells positions, transformers' class has slopes whatever is said.
    if !slopes && !model.has("position_embd.weight") {
        return Err(config.invalid("attention.alibi", "true, for no positions are learned"));
    }
    let position = if max > 0.0 && slopes {
        PositionScheme::Alibi(alibi(heads.heads, max))
    } else {
        PositionScheme::None
    };
    let scale = cap(config, "attention.scale", None)?;
    let usual = heads.causal(position);
    let attention = Attention {
        scale: scale.unwrap_or(usual.scale),
        ..usual
    };
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    if model.has("position_embd.weight") {
        let positions = model.rows("position_embd.weight")?;
        let table = model.matrix("position_embd.weight", positions, width)?;
        x = net.add(x, net.embed(table, Index::Position));
    }
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let (q, kv) = (width, heads.kv_heads * heads.head_dim);
        let qkv = net.linear(h, &format!("{layer}.attn_qkv"), q + 2 * kv)?;
        let qkv = net.clamp(qkv, limit);
        let qkv = [
            net.slice(qkv, 0, q),
            net.slice(qkv, q, kv),
            net.slice(qkv, q + kv, kv),
        ];
        x = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, mlp(&net, h, &layer, hidden, Pointwise::GeluErf)?);
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}
