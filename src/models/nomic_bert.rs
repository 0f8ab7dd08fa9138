//! NomicBERT (Nussbaum et al. 2024): BERT with rotary positions, gated feed-forward layers, and no
//! biases in its layers.

use super::bert::{PostNormLayers, embeddings};
use super::tables::{self, keys, names};
use super::task_heads::{self, POOLED, TaskHeads};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::activation;
use crate::graph::{BuildError, Builder, Index, Pairing, PositionScheme, Role, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "NomicBERT",
    gguf: &["nomic-bert"],
    hugging_face: &["nomic_bert"],
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
        ("activation_function", Only::Text(&["swiglu"])),
        ("fused_bias_fc", Only::Any),
        ("fused_dropout_add_ln", Only::Any),
        ("max_trained_positions", Only::Any),
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
        "encoder.layers.{i}.attn.Wqkv.weight" => "blk.{i}.attn_qkv.weight",
        "encoder.layers.{i}.attn.out_proj.weight" => "blk.{i}.attn_output.weight",
        "encoder.layers.{i}.norm1.*" => "blk.{i}.attn_output_norm.*",
        "encoder.layers.{i}.mlp.fc11.weight" => "blk.{i}.ffn_up.weight",
        "encoder.layers.{i}.mlp.fc12.weight" => "blk.{i}.ffn_gate.weight",
        "encoder.layers.{i}.mlp.fc2.weight" => "blk.{i}.ffn_down.weight",
        "encoder.layers.{i}.norm2.*" => "blk.{i}.layer_output_norm.*",
    }],
    conversion: Conversion {
        keys: task_heads::keys,
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
    let encoder = PostNormLayers {
        function: activation(config, "hidden_act", "silu")?,
        gated: true,
        position: PositionScheme::Rope(rope),
        ..encoder
    };
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Encode);
    let types = [("token_types.weight", Index::TokenType)];
    let x = embeddings(&net, width, &types, encoder.eps)?;
    let x = encoder.run(&net, x)?;
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
