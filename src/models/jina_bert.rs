//! JinaBERT of Jina's second embeddings (Günther et al. 2023): BERT whose scores fade with distance to
//! both sides, with gated feed-forward layers; and what followed it for code and other languages,
//! which normalises queries and keys, and each layer's input once more.

use super::bert::{self, embeddings, encoder_names};
use super::conversion::{gates_apart, halves_apart};
use super::tables::{keys, names};
use super::task_heads::{self, POOLED, TaskHeads};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::{Heads, activation, alibi, gated_mlp, projections};
use crate::graph::{
    Attention, BuildError, Builder, Config, Index, Mask, Net, Pointwise, PositionScheme, Role,
    Value,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "JinaBERT v2",
    gguf: &["jina-bert-v2"],
    hugging_face: &["jina_bert"],
    // Its folders say BERT, and bring code of their own.
    recognises: |config| {
        let says = |key: &str, text: &str| config.str(key) == Some(text);
        says("model_type", "bert") && says("position_embedding_type", "alibi")
    },
    family: Family::Encoder,
    keys: &[keys! {
        "hidden_size" => "embedding_length",
        "num_hidden_layers" => "block_count",
        "intermediate_size" => "feed_forward_length",
        "max_position_embeddings" => "context_length",
        "num_attention_heads" => "attention.head_count",
        "layer_norm_eps" => "attention.layer_norm_epsilon",
        "hidden_act" => "hidden_act",
        "feed_forward_type" => "feed_forward_type",
    }],
    settled: &[
        // What sentences become, their own folder says as well.
        ("emb_pooler", Only::Any),
        ("is_decoder", Only::Is(false)),
        ("position_embedding_type", Only::Text(&["alibi"])),
    ],
    ties: true,
    names: &[
        names! {
            "cls.predictions.transform.dense.*" => "mlm_dense.*",
            "cls.predictions.transform.LayerNorm.*" => "mlm_norm.*",
            "cls.predictions.decoder.weight" => "output.weight",
            "cls.predictions.bias" => "output.bias",
            "cls.predictions.decoder.bias" => "output_copy.bias",
            "classifier.*" => "classifier.*",
            "qa_outputs.*" => "qa_outputs.*",
            in "bert.encoder.layer.{i}." => "blk.{i}." {
                "mlp.gated_layers.weight" => "ffn_gate_up.weight",
                "mlp.wo.*" => "ffn_down.*",
                "mlp.layernorm.*" => "layer_output_norm.*",
                "attention.self.layer_norm_q.*" => "attn_q_norm.*",
                "attention.self.layer_norm_k.*" => "attn_k_norm.*",
                "layer_norm_1.*" => "attn_norm_2.*",
                "mlp.up_gated_layer.weight" => "ffn_up_gate.weight",
                "mlp.down_layer.*" => "ffn_down.*",
                "layer_norm_2.*" => "layer_output_norm.*",
            }
        },
        encoder_names!("", "bert."),
    ],
    conversion: Conversion {
        keys: task_heads::keys,
        tensor: |_, tensor| match tensor.part() {
            "ffn_gate_up" => gates_apart(tensor),
            "ffn_up_gate" => halves_apart(tensor, "ffn_up_gate", ["ffn_up", "ffn_gate"]),
            _ => Ok(vec![tensor]),
        },
        ..bert::CONVERSION
    },
    build,
    ..DECODER
};

/// x ← LN(x + Attention(x)), in later ones once more LN of x and that; x ← LN(x + FFN(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-12)?;
    let gate = gate(config)?;
    let heads = Heads::read(config, width)?;
    let attention = Attention {
        mask: Mask::Bidirectional,
        ..heads.causal(PositionScheme::Alibi(alibi(heads.heads, 8.0)))
    };
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Encode);
    let types = [("token_types.weight", Index::TokenType)];
    let mut x = embeddings(&net, width, &types, eps)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.layer_norm(x, &format!("{layer}.{name}"), eps);
        let has = |name: &&str| model.has(&format!("{layer}.{name}.weight"));
        let is_later = ["attn_q_norm", "attn_k_norm", "attn_norm_2"]
            .iter()
            .any(has);
        let [mut q, mut k, v] = projections(&net, x, &layer, heads)?;
        if is_later {
            (q, k) = (norm(q, "attn_q_norm")?, norm(k, "attn_k_norm")?);
        }
        let a = net.attention(q, Some((k, v)), attention.clone());
        let a = net.linear(a, &format!("{layer}.attn_output"), width)?;
        let mut h = norm(net.add(x, a), "attn_output_norm")?;
        if is_later {
            h = norm(net.add(x, h), "attn_norm_2")?;
        }
        let up_first = is_later;
        let f = feed_forward(&net, h, &layer, (hidden, gate), up_first)?;
        x = norm(net.add(h, f), "layer_output_norm")?;
    }
    let heads = TaskHeads {
        classes: &["JinaBert"],
        masked: (activation(config, "hidden_act", "gelu")?, eps),
        sequence: POOLED,
        choice: POOLED,
    };
    heads.emit(&net, x)?;
    net.finish();
    Ok(())
}

/// The function of gates.
fn gate(config: &Config<'_>) -> Result<Pointwise, BuildError> {
    match config.text("feed_forward_type")?.unwrap_or("geglu") {
        "geglu" => Ok(Pointwise::GeluErf),
        "reglu" => Ok(Pointwise::Relu),
        _ => Err(config.invalid("feed_forward_type", "geglu or reglu")),
    }
}

/// down(f(gate x) ⊙ up x), whose first two may be halves of one matrix, in either order. Converters
/// call that `ffn_up`, whatever the order.
fn feed_forward(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    (hidden, function): (usize, Pointwise),
    up_first: bool,
) -> Result<Value, BuildError> {
    let model = net.builder;
    let has = |name: &str| model.has(&format!("{layer}.{name}.weight"));
    let both = hidden.saturating_mul(2);
    let up_is_both = || {
        let rows = has("ffn_up") && !has("ffn_gate");
        Ok::<bool, BuildError>(rows && model.rows(&format!("{layer}.ffn_up.weight"))? == both)
    };
    let (name, up_first) = if has("ffn_gate_up") {
        ("ffn_gate_up", false)
    } else if has("ffn_up_gate") {
        ("ffn_up_gate", true)
    } else if up_is_both()? {
        ("ffn_up", up_first)
    } else {
        return gated_mlp(net, x, layer, hidden, function);
    };
    let both = net.linear(x, &format!("{layer}.{name}"), both)?;
    let [gate, up] = if up_first { [hidden, 0] } else { [0, hidden] };
    let gate = net.apply(net.slice(both, gate, hidden), function);
    let inner = net.mul(gate, net.slice(both, up, hidden));
    net.linear(inner, &format!("{layer}.ffn_down"), net.width(x))
}
