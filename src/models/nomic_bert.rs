//! NomicBERT (Nussbaum et al. 2024): BERT with rotary positions, gated feed-forward layers, and no
//! biases in its layers; and its second version (Nussbaum & Duderstadt 2025), which has biases, no
//! gates, and a mixture of experts in every other layer.

use super::bert::{PostNormLayers, embeddings};
use super::tables::{self, keys, names};
use super::task_heads::{self, POOLED, TaskHeads};
use super::{Architecture, Conversion, DECODER, Family, Only, conversion};
use crate::graph::blocks::{activation, projections};
use crate::graph::experts::{Gating, Router};
use crate::graph::{
    BuildError, Builder, Index, Mask, Net, Pairing, Pointwise, PositionScheme, Role, Rope, Value,
};
use rillm_formats::manifest::Container;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "NomicBERT, NomicBERT MoE",
    gguf: &["nomic-bert", "nomic-bert-moe"],
    hugging_face: &["nomic_bert"],
    biased: &["ffn_exps"],
    family: Family::Encoder,
    keys: &[
        keys! {
            // Its authors': those of GPT-2, and some of their own.
            "n_embd" => "embedding_length",
            "n_layer" => "block_count",
            "n_inner" => "feed_forward_length",
            "n_head" => "attention.head_count",
            "n_positions" => "context_length",
            "layer_norm_epsilon" => "attention.layer_norm_epsilon",
            "rotary_emb_base" => "rope.freq_base",
            "rotary_emb_fraction" => "rope.partial_factor",
            "activation_function" => "activation_function",
            "num_experts" => "expert_count",
            "moe_top_k" => "expert_used_count",
            "moe_every_n_layers" => "moe_every_n_layers",
            "moe_normalize_expert_weights" => "expert_weights_norm",
            // transformers'.
            "hidden_size" => "embedding_length",
            "num_hidden_layers" => "block_count",
            "intermediate_size" => "feed_forward_length",
            "num_attention_heads" => "attention.head_count",
            "head_dim" => "attention.key_length",
            "max_position_embeddings" => "context_length",
            "layer_norm_eps" => "attention.layer_norm_epsilon",
            "hidden_act" => "hidden_act",
        },
        tables::ROPE,
    ],
    settled: &[
        ("add_pooling_layer", Only::Any),
        ("expert_choice_router", Only::Is(false)),
        ("ffn_div", Only::Number(1.0)),
        ("fused_bias_fc", Only::Any),
        ("fused_dropout_add_ln", Only::Any),
        ("max_trained_positions", Only::Any),
        // Tensors tell.
        ("mlp_fc1_bias", Only::Any),
        ("mlp_fc2_bias", Only::Any),
        ("qkv_proj_bias", Only::Any),
        ("moe_impl", Only::Any),
        ("moe_resid_pdrop", Only::Any),
        ("num_shared_experts", Only::Number(0.0)),
        ("pad_vocab_size_multiple", Only::Any),
        ("scale_attn_weights", Only::Is(true)),
        ("use_flash_attn", Only::Any),
    ],
    ties: true,
    names: &[names! {
        "embeddings.word_embeddings.weight" => "token_embd.weight",
        "embeddings.token_type_embeddings.weight" => "token_types.weight",
        "pooler.dense.*" => "pooler.*",
        "cls.predictions.transform.dense.*" => "mlm_dense.*",
        "cls.predictions.transform.layer_norm.*" => "mlm_norm.*",
        "cls.predictions.decoder.weight" => "output.weight",
        "cls.predictions.bias" => "output.bias",
        "cls.predictions.decoder.bias" => "output_copy.bias",
        "classifier.*" => "classifier.*",
        "emb_ln.*" => "token_embd_norm.*",
        "encoder.layers.{i}.attn.Wqkv.*" => "blk.{i}.attn_qkv.*",
        "encoder.layers.{i}.attn.out_proj.*" => "blk.{i}.attn_output.*",
        "encoder.layers.{i}.norm1.*" => "blk.{i}.attn_output_norm.*",
        "encoder.layers.{i}.mlp.fc11.weight" => "blk.{i}.ffn_up.weight",
        "encoder.layers.{i}.mlp.fc12.weight" => "blk.{i}.ffn_gate.weight",
        "encoder.layers.{i}.mlp.fc1.*" => "blk.{i}.ffn_up.*",
        "encoder.layers.{i}.mlp.fc2.*" => "blk.{i}.ffn_down.*",
        "encoder.layers.{i}.mlp.router.layer.weight" => "blk.{i}.ffn_gate_inp.weight",
        "encoder.layers.{i}.mlp.experts.mlp.w1" => "blk.{i}.ffn_up_exps.weight",
        "encoder.layers.{i}.mlp.experts.mlp.w2" => "blk.{i}.ffn_down_exps.weight" as Transposed,
        "encoder.layers.{i}.mlp.experts.bias" => "blk.{i}.ffn_exps.bias",
        "encoder.layers.{i}.norm2.*" => "blk.{i}.layer_output_norm.*",
    }],
    conversion: Conversion {
        keys: |keys| {
            task_heads::keys(keys);
            if keys.count("expert_count").is_some_and(|count| count > 0) {
                keys.architecture = "nomic-bert-moe";
            }
            // Tensors tell whether there are gates.
            if keys.values.str("activation_function") == Some("swiglu") {
                keys.remove(&["activation_function"]);
            }
        },
        tensor: conversion::expert_stacks,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let encoder = PostNormLayers::read(config, width, 1e-12)?;
    let rope = Rope::read_from(model, Pairing::Halves, encoder.heads.head_dim, 1000.0)?;
    let (gated, function) = function(model)?;
    let encoder = PostNormLayers {
        function,
        gated,
        position: PositionScheme::Rope(rope),
        ..encoder
    };
    let experts = NomicExperts::read(model, encoder.hidden)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Encode);
    let types = [("token_types.weight", Index::TokenType)];
    let mut x = embeddings(&net, width, &types, encoder.eps)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        x = match experts.filter(|experts| experts.are_in(i)) {
            Some(experts) => experts.layer(&net, x, &layer, &encoder)?,
            None => encoder.layer(&net, x, &layer)?,
        };
    }
    let heads = TaskHeads {
        classes: &["NomicBert"],
        masked: (encoder.function, encoder.eps),
        sequence: POOLED,
        choice: POOLED,
    };
    match config.class() {
        // Its authors' class predicts nothing but masked tokens.
        Some("NomicBertForPreTraining") => net.emit(heads.masked_tokens(&net, x)?, "logits"),
        _ => heads.emit(&net, x)?,
    }
    net.finish();
    Ok(())
}

/// Whether feed-forward layers are gated, and their function. The authors have one name for both;
/// their GGUF files tell by tensors.
fn function(model: &Builder<'_>) -> Result<(bool, Pointwise), BuildError> {
    let (config, key) = (model.config(), "activation_function");
    let has_gates = ["blk.0.ffn_gate.weight", "blk.1.ffn_gate.weight"]
        .iter()
        .any(|name| model.has(name));
    match (config.container, config.text(key)?) {
        (Container::Gguf, None) if !has_gates => Ok((false, Pointwise::GeluErf)),
        (_, None) => Ok((true, activation(config, "hidden_act", "silu")?)),
        (_, Some("swiglu")) => Ok((true, Pointwise::Silu)),
        (_, Some("geglu")) => Ok((true, Pointwise::GeluErf)),
        (_, Some("gelu")) => Ok((false, Pointwise::GeluErf)),
        (_, Some(_)) => Err(config.invalid(key, "swiglu, geglu or gelu")),
    }
}

/// Experts without gates in every so many layers.
#[derive(Clone, Copy)]
struct NomicExperts {
    router: Router,
    hidden: usize,
    every: usize,
}

impl NomicExperts {
    fn read(model: &Builder<'_>, hidden: usize) -> Result<Option<NomicExperts>, BuildError> {
        let config = model.config();
        let router = Router::read_some(config, &Gating::SOFTMAX)?;
        let every = config.feature("moe_every_n_layers")?;
        Ok(router.zip(every).map(|(router, every)| NomicExperts {
            router,
            hidden,
            every,
        }))
    }

    fn are_in(&self, layer: usize) -> bool {
        layer % self.every == 1
    }

    /// x ← LN(x + Attention(x)); x ← LN(x + experts(x) + b).
    fn layer(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        layer: &str,
        encoder: &PostNormLayers,
    ) -> Result<Value, BuildError> {
        let qkv = projections(net, x, layer, encoder.heads)?;
        let [q, k, v] = qkv;
        let a = net.attention(q, Some((k, v)), encoder.attention(Mask::Bidirectional));
        let x = encoder.attended(net, [x, a], layer)?;
        let (model, width, experts) = (net.builder, net.width(x), self.router.experts);
        let [up, down] = ["up", "down"].map(|part| format!("{layer}.ffn_{part}_exps.weight"));
        let (up, down) = match model.config().container {
            Container::Gguf => (
                model.experts(&up, experts, self.hidden, width)?,
                model.experts(&down, experts, width, self.hidden)?,
            ),
            Container::HuggingFace => (
                model.experts_below(&up, [experts, self.hidden, width])?,
                model.experts_beside(&down, [experts, width, self.hidden])?,
            ),
        };
        let route = self.router.route(net, x, layer)?;
        let inner = net.expert_matmul(x, route, (up, None));
        let inner = net.apply(inner, encoder.function);
        let routed = net.expert_sum(net.expert_matmul(inner, route, (down, None)), route);
        let bias = model.optional_vector(&format!("{layer}.ffn_exps.bias"), &[width])?;
        let f = bias.map_or(routed, |bias| net.add_vector(routed, bias));
        encoder.fed_forward(net, [x, f], layer)
    }
}
