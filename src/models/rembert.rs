//! RemBERT (Chung et al. 2021): BERT whose embedding is narrower than the model, and apart from what
//! predicts tokens, which is wider.

use super::bert::{self, PostNormLayers, embeddings, encoder_names};
use super::tables::{keys, names};
use super::task_heads::{self, POOLED, TaskHeads};
use super::{Architecture, DECODER, Family, Only};
use crate::graph::{BuildError, Builder, Index};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RemBERT",
    gguf: &["rembert"],
    hugging_face: &["rembert"],
    family: Family::Encoder,
    keys: &[
        bert::KEYS,
        keys! { "input_embedding_size" => "token_embedding_length", },
    ],
    // The tensor tells.
    settled: &[("output_embedding_size", Only::Any)],
    names: &[
        names! {
            "cls.predictions.dense.*" => "mlm_dense.*",
            "cls.predictions.LayerNorm.*" => "mlm_norm.*",
            "cls.predictions.decoder.*" => "output.*",
            "classifier.*" => "classifier.*",
            "qa_outputs.*" => "qa_outputs.*",
            in "" => "" { "encoder.embedding_hidden_mapping_in.*" => "token_embd_project.*", }
            in "rembert." => "" { "encoder.embedding_hidden_mapping_in.*" => "token_embd_project.*", }
        },
        encoder_names!("", "rembert."),
    ],
    conversion: bert::CONVERSION,
    build,
    ..DECODER
};

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let token_width = config.optional_count("token_embedding_length")?;
    let layers = PostNormLayers::read(config, width, 1e-12)?;
    model.context(model.rows("position_embd.weight")?);

    let net = model.graph(layers.role());
    let tables = [
        ("token_types.weight", Index::TokenType),
        ("position_embd.weight", Index::Position),
    ];
    let x = embeddings(&net, token_width.unwrap_or(256), &tables, layers.eps)?;
    let x = layers.run(&net, net.linear(x, "token_embd_project", width)?)?;
    let heads = TaskHeads {
        classes: &["RemBert"],
        masked: (layers.function, layers.eps),
        sequence: POOLED,
        choice: POOLED,
    };
    if task_heads::task(config, heads.classes) != "Model" && model.has("mlm_dense.weight") {
        // Unlike elsewhere, what predicts tokens is never their embedding.
        model.rows("output.weight")?;
    }
    heads.emit(&net, x)?;
    net.finish();
    Ok(())
}
