//! DistilBERT (Sanh et al. 2019): BERT with half the layers, no token types and no pooler.

use super::bert::{CONVERSION, PostNormLayers, embeddings};
use super::tables::{keys, names};
use super::task_heads::{Scores, TaskHeads};
use super::{Architecture, DECODER, Family, Only};
use crate::graph::{BuildError, Builder, Index, Pointwise, Role};

/// Hugging Face names: the bare model has no prefix.
macro_rules! table {
    ($($prefix:literal),*) => {
        names! {
            "vocab_transform.*" => "mlm_dense.*",
            "vocab_layer_norm.*" => "mlm_norm.*",
            "vocab_projector.*" => "output.*",
            "pre_classifier.*" => "cls.*",
            "classifier.*" => "classifier.*",
            "qa_outputs.*" => "qa_outputs.*",
            $(in $prefix => "" {
                "embeddings.word_embeddings.weight" => "token_embd.weight",
                "embeddings.position_embeddings.weight" => "position_embd.weight",
                "embeddings.LayerNorm.*" => "token_embd_norm.*",
                "embeddings.LayerNorm.gamma" => "token_embd_norm.weight",
                "embeddings.LayerNorm.beta" => "token_embd_norm.bias",
                "transformer.layer.{i}.attention.q_lin.*" => "blk.{i}.attn_q.*",
                "transformer.layer.{i}.attention.k_lin.*" => "blk.{i}.attn_k.*",
                "transformer.layer.{i}.attention.v_lin.*" => "blk.{i}.attn_v.*",
                "transformer.layer.{i}.attention.out_lin.*" => "blk.{i}.attn_output.*",
                "transformer.layer.{i}.sa_layer_norm.*" => "blk.{i}.attn_output_norm.*",
                "transformer.layer.{i}.ffn.lin1.*" => "blk.{i}.ffn_up.*",
                "transformer.layer.{i}.ffn.lin2.*" => "blk.{i}.ffn_down.*",
                "transformer.layer.{i}.output_layer_norm.*" => "blk.{i}.layer_output_norm.*",
            })*
        }
    };
}

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "DistilBERT",
    gguf: &["distilbert"],
    hugging_face: &["distilbert"],
    family: Family::Encoder,
    keys: &[keys! {
        "dim" => "embedding_length",
        "n_layers" => "block_count",
        "hidden_dim" => "feed_forward_length",
        "n_heads" => "attention.head_count",
        "activation" => "hidden_act",
    }],
    settled: &[
        // The table is stored, whatever it began with; the head is the one that is stored.
        ("sinusoidal_pos_embds", Only::Any),
        ("tie_weights_", Only::Any),
    ],
    ties: true,
    names: &[table!("", "distilbert.")],
    conversion: CONVERSION,
    build,
    ..DECODER
};

/// Of every norm; no configuration says it.
const EPS: f32 = 1e-12;

/// V relu(W x).
const SCORES: Scores = Scores {
    dense: Some("cls"),
    function: Pointwise::Relu,
    scores: "classifier",
};

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let encoder = PostNormLayers::read(config, width, EPS)?;
    model.context(model.rows("position_embd.weight")?);

    let net = model.graph(Role::Encode);
    let tables = [("position_embd.weight", Index::Position)];
    let x = embeddings(&net, width, &tables, encoder.eps)?;
    let x = encoder.run(&net, x)?;
    let heads = TaskHeads {
        classes: &["DistilBert"],
        masked: (encoder.function, encoder.eps),
        sequence: SCORES,
        choice: SCORES,
    };
    heads.emit(&net, x)?;
    net.finish();
    Ok(())
}
