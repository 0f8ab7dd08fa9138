//! ALBERT (Lan et al. 2020): BERT with an embedding narrower than the model, whose layers share the
//! weights of a few.

use super::bert::{CONVERSION, PostNormLayers, embeddings};
use super::tables::{keys, names};
use super::task_heads::{POOLED, TaskHeads};
use super::{Architecture, DECODER, Family, Only};
use crate::graph::blocks::activation;
use crate::graph::{BuildError, Builder, Index, Role};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "ALBERT",
    gguf: &["albert"],
    hugging_face: &["albert"],
    family: Family::Encoder,
    // A block is a group of layers whose weights are stored.
    keys: &[keys! {
        "hidden_size" => "embedding_length",
        "embedding_size" => "token_embedding_length",
        "num_hidden_layers" => "layer_count",
        "num_hidden_groups" => "block_count",
        "inner_group_num" => "block_length",
        "intermediate_size" => "feed_forward_length",
        "num_attention_heads" => "attention.head_count",
        "layer_norm_eps" => "attention.layer_norm_epsilon",
        "hidden_act" => "hidden_act",
        "position_embedding_type" => "position_embedding_type",
        "is_decoder" => "is_decoder",
    }],
    // Left over from models that were tried.
    settled: &[
        ("down_scale_factor", Only::Number(1.0)),
        ("gap_size", Only::Number(0.0)),
        ("num_memory_blocks", Only::Number(0.0)),
    ],
    ties: true,
    names: &[names! {
        "predictions.dense.*" => "mlm_dense.*",
        "predictions.LayerNorm.*" => "mlm_norm.*",
        "predictions.decoder.weight" => "output.weight",
        "predictions.bias" => "output.bias",
        "predictions.decoder.bias" => "output_copy.bias",
        "sop_classifier.classifier.*" => "sentence_order.*",
        "classifier.*" => "classifier.*",
        "qa_outputs.*" => "qa_outputs.*",
        in "albert." => "" {
            "embeddings.word_embeddings.weight" => "token_embd.weight",
            "embeddings.position_embeddings.weight" => "position_embd.weight",
            "embeddings.token_type_embeddings.weight" => "token_types.weight",
            "embeddings.LayerNorm.*" => "token_embd_norm.*",
            "encoder.embedding_hidden_mapping_in.*" => "token_embd_project.*",
            "pooler.*" => "pooler.*",
        }
        in "albert.encoder.albert_layer_groups.{i}.albert_layers.{j}." => "blk.{i}.{j}." {
            "attention.query.*" => "attn_q.*",
            "attention.key.*" => "attn_k.*",
            "attention.value.*" => "attn_v.*",
            "attention.dense.*" => "attn_output.*",
            "attention.LayerNorm.*" => "attn_output_norm.*",
            "ffn.*" => "ffn_up.*",
            "ffn_output.*" => "ffn_down.*",
            "full_layer_layer_norm.*" => "layer_output_norm.*",
        }
    }],
    conversion: CONVERSION,
    build,
    ..DECODER
};

/// Most layers: nothing in the weights bounds what a configuration may claim.
const DEEPEST: usize = 1 << 10;

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let token_width = config.optional_count("token_embedding_length")?;
    let token_width = token_width.unwrap_or(128);
    let groups = config.optional_count("block_count")?.unwrap_or(1);
    let inner = config.optional_count("block_length")?.unwrap_or(1);
    let layers = config.count("layer_count")?;
    if layers.saturating_mul(inner) > DEEPEST {
        return Err(config.invalid("layer_count", &format!("{DEEPEST} at most")));
    }
    let encoder = PostNormLayers {
        function: activation(config, "hidden_act", "gelu_new")?,
        ..PostNormLayers::read(config, width, 1e-12)?
    };
    model.context(model.rows("position_embd.weight")?);

    let net = model.graph(Role::Encode);
    let tables = [
        ("token_types.weight", Index::TokenType),
        ("position_embd.weight", Index::Position),
    ];
    let x = embeddings(&net, token_width, &tables, encoder.eps)?;
    let mut x = net.linear(x, "token_embd_project", width)?;
    for i in 0..layers {
        // As the authors divide: what stands just below a whole number stays there.
        let group = (i as f64 / (layers as f64 / groups as f64)) as usize;
        for j in 0..inner {
            x = encoder.layer(&net, x, &format!("blk.{group}.{j}"))?;
        }
    }
    let heads = TaskHeads {
        classes: &["Albert"],
        masked: (encoder.function, encoder.eps),
        sequence: POOLED,
        choice: POOLED,
    };
    match config.class() {
        Some("AlbertForPreTraining") => {
            net.emit(heads.masked_tokens(&net, x)?, "prediction_logits");
            // Whether two sentences stand in their order.
            let labels = model.rows("sentence_order.weight")?;
            let order = net.linear(POOLED.hidden(&net, x)?, "sentence_order", labels)?;
            net.emit(order, "sop_logits");
        }
        _ => heads.emit(&net, x)?,
    }
    net.finish();
    Ok(())
}
