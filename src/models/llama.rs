//! LLaMA (Touvron et al. 2023; Grattafiori et al. 2024) and Mistral (Jiang et al. 2023).

use super::{Architecture, Family};
use crate::graph::blocks::{Tied, gated_experts, gated_mlp, head};
use crate::graph::{
    Attention, BuildError, Builder, Index, Keys, Mask, Name, Pairing, Pointwise, PositionScheme,
    Role, Rope, StateKind, Value,
};
use rillm_formats::manifest::Container;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "LLaMA 1–3, Mistral",
    gguf: &["llama"],
    hugging_face: &["llama", "mistral"],
    family: Family::Decoder,
    keys: KEYS,
    names: NAMES,
    unused: &[],
    build,
};

/// Dense and Mixtral's: a checkpoint has the ones or the others.
pub(super) const NAMES: &[Name] = &[
    Name::plain("model.embed_tokens.weight", "token_embd.weight"),
    Name::plain("model.norm.weight", "output_norm.weight"),
    Name::plain("lm_head.weight", "output.weight"),
    Name::plain(
        "model.layers.{i}.input_layernorm.weight",
        "blk.{i}.attn_norm.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.q_proj.weight",
        "blk.{i}.attn_q.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.k_proj.weight",
        "blk.{i}.attn_k.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.v_proj.weight",
        "blk.{i}.attn_v.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.o_proj.weight",
        "blk.{i}.attn_output.weight",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.q_proj.bias",
        "blk.{i}.attn_q.bias",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.k_proj.bias",
        "blk.{i}.attn_k.bias",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.v_proj.bias",
        "blk.{i}.attn_v.bias",
    ),
    Name::plain(
        "model.layers.{i}.self_attn.o_proj.bias",
        "blk.{i}.attn_output.bias",
    ),
    Name::plain(
        "model.layers.{i}.post_attention_layernorm.weight",
        "blk.{i}.ffn_norm.weight",
    ),
    Name::plain(
        "model.layers.{i}.mlp.gate_proj.weight",
        "blk.{i}.ffn_gate.weight",
    ),
    Name::plain(
        "model.layers.{i}.mlp.up_proj.weight",
        "blk.{i}.ffn_up.weight",
    ),
    Name::plain(
        "model.layers.{i}.mlp.down_proj.weight",
        "blk.{i}.ffn_down.weight",
    ),
    Name::plain(
        "model.layers.{i}.mlp.gate_proj.bias",
        "blk.{i}.ffn_gate.bias",
    ),
    Name::plain("model.layers.{i}.mlp.up_proj.bias", "blk.{i}.ffn_up.bias"),
    Name::plain(
        "model.layers.{i}.mlp.down_proj.bias",
        "blk.{i}.ffn_down.bias",
    ),
    Name::plain(
        "model.layers.{i}.block_sparse_moe.gate.weight",
        "blk.{i}.ffn_gate_inp.weight",
    ),
    Name::plain(
        "model.layers.{i}.block_sparse_moe.experts.{e}.w1.weight",
        "blk.{i}.ffn_gate_exps.weight",
    ),
    Name::plain(
        "model.layers.{i}.block_sparse_moe.experts.{e}.w3.weight",
        "blk.{i}.ffn_up_exps.weight",
    ),
    Name::plain(
        "model.layers.{i}.block_sparse_moe.experts.{e}.w2.weight",
        "blk.{i}.ffn_down_exps.weight",
    ),
];

pub(super) const KEYS: &[(&str, &str)] = &[
    ("embedding_length", "hidden_size"),
    ("block_count", "num_hidden_layers"),
    ("feed_forward_length", "intermediate_size"),
    ("context_length", "max_position_embeddings"),
    ("attention.head_count", "num_attention_heads"),
    ("attention.head_count_kv", "num_key_value_heads"),
    ("attention.key_length", "head_dim"),
    ("attention.sliding_window", "sliding_window"),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ("hidden_act", "hidden_act"),
    ("expert_count", "num_local_experts"),
    ("expert_used_count", "num_experts_per_tok"),
    ("rope.freq_base", "rope_theta"),
    ("rope.freq_base", "rope_parameters.rope_theta"),
    ("rope.scaling.type", "rope_scaling.rope_type"),
    ("rope.scaling.type", "rope_scaling.type"),
    ("rope.scaling.type", "rope_parameters.rope_type"),
    ("rope.scaling.factor", "rope_scaling.factor"),
    ("rope.scaling.factor", "rope_parameters.factor"),
    (
        "rope.scaling.original_context_length",
        "rope_scaling.original_max_position_embeddings",
    ),
    (
        "rope.scaling.original_context_length",
        "rope_parameters.original_max_position_embeddings",
    ),
    ("rope.scaling.attn_factor", "rope_scaling.attention_factor"),
    (
        "rope.scaling.attn_factor",
        "rope_parameters.attention_factor",
    ),
    ("rope.scaling.yarn_beta_fast", "rope_scaling.beta_fast"),
    ("rope.scaling.yarn_beta_fast", "rope_parameters.beta_fast"),
    ("rope.scaling.yarn_beta_slow", "rope_scaling.beta_slow"),
    ("rope.scaling.yarn_beta_slow", "rope_parameters.beta_slow"),
    ("rope.scaling.mscale", "rope_scaling.mscale"),
    ("rope.scaling.mscale", "rope_parameters.mscale"),
    ("rope.scaling.mscale_all_dim", "rope_scaling.mscale_all_dim"),
    (
        "rope.scaling.mscale_all_dim",
        "rope_parameters.mscale_all_dim",
    ),
    ("rope.scaling.truncate", "rope_scaling.truncate"),
    ("rope.scaling.truncate", "rope_parameters.truncate"),
    (
        "rope.scaling.low_freq_factor",
        "rope_scaling.low_freq_factor",
    ),
    (
        "rope.scaling.low_freq_factor",
        "rope_parameters.low_freq_factor",
    ),
    (
        "rope.scaling.high_freq_factor",
        "rope_scaling.high_freq_factor",
    ),
    (
        "rope.scaling.high_freq_factor",
        "rope_parameters.high_freq_factor",
    ),
];

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)), where FFN is gated, or a mixture of gated
/// experts if there are any.
pub(super) fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let hyper = model.hyper();
    let width = hyper.count("embedding_length")?;
    let hidden = hyper.count("feed_forward_length")?;
    let eps = hyper.float("attention.layer_norm_rms_epsilon", 1e-6)?;
    let experts = hyper.feature("expert_count")?;
    let function = match hyper.text("hidden_act")?.unwrap_or("silu") {
        "silu" | "swish" => Pointwise::Silu,
        _ => return Err(hyper.invalid("hidden_act", "silu")),
    };
    if !hyper.flag("attention.causal", true)? {
        return Err(hyper.invalid("attention.causal", "true: this is a decoder"));
    }
    let attention = attention_of(model, width)?;
    model.context(hyper.count("context_length")?);

    let net = model.graph(Role::Decode);
    let vocabulary = model.rows("token_embd.weight")?;
    let mut x = net.embed(
        model.matrix("token_embd.weight", vocabulary, width)?,
        Index::Token,
    );
    for i in 0..hyper.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let (kv_heads, head_dim) = (attention.kv_heads, attention.head_dim);
        let kv_width = kv_heads * head_dim;
        let q = net.linear(h, &format!("{layer}.attn_q"), attention.heads * head_dim)?;
        let k = net.linear(h, &format!("{layer}.attn_k"), kv_width)?;
        let v = net.linear(h, &format!("{layer}.attn_v"), kv_width)?;
        let keys = Keys::History(model.state(StateKind::Kv { kv_heads, head_dim }));
        let a = net.attention(
            q,
            Some((k, v)),
            Attention {
                keys,
                ..attention.clone()
            },
        );
        x = net.add(x, net.linear(a, &format!("{layer}.attn_output"), width)?);

        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        let f: Value = match experts {
            Some(experts) => {
                let used = hyper.count("expert_used_count")?;
                if used > experts {
                    return Err(hyper.invalid("expert_used_count", "at most the expert count"));
                }
                gated_experts(&net, h, &layer, hidden, (experts, used))?
            }
            None => gated_mlp(&net, h, &layer, hidden, function)?,
        };
        x = net.add(x, f);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    net.emit(head(&net, x, Tied::OnRequest)?, "logits");
    net.finish();
    Ok(())
}

/// Grouped-query attention with rotated queries and keys; `keys` is set layer by layer.
fn attention_of(model: &Builder<'_>, width: usize) -> Result<Attention, BuildError> {
    let hyper = model.hyper();
    let heads = hyper.count("attention.head_count")?;
    let kv_heads = hyper
        .optional_count("attention.head_count_kv")?
        .unwrap_or(heads);
    if !heads.is_multiple_of(kv_heads) {
        return Err(hyper.invalid("attention.head_count_kv", "a divisor of the head count"));
    }
    let head_dim = match hyper.optional_count("attention.key_length")? {
        Some(head_dim) => head_dim,
        None if width.is_multiple_of(heads) => width / heads,
        None => return Err(hyper.invalid("attention.head_count", "a divisor of the width")),
    };
    // GGUF's converter has permuted the rows of Q and K so that neighbours pair up.
    let pairing = match hyper.container {
        Container::Gguf => Pairing::Interleaved,
        Container::HuggingFace => Pairing::Halves,
    };
    let window = hyper
        .feature("attention.sliding_window")?
        .map(|window| window as u64);
    Ok(Attention {
        heads,
        kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        mask: Mask::Causal { window },
        position: PositionScheme::Rope(Rope::read(model, pairing, head_dim)?),
        keys: Keys::Rows,
    })
}
