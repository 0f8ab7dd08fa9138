//! RoFormer (Su et al. 2021): BERT whose queries and keys are rotated by their positions, with an
//! embedding that may be narrower than the model.

use super::bert::{self, PostNormLayers, embeddings, encoder_names};
use super::tables::{keys, names};
use super::task_heads::{RANKED, Scores, TaskHeads};
use super::{Architecture, DECODER, Family, Only};
use crate::graph::{BuildError, Builder, Index, Pairing, PositionScheme, Rope};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RoFormer",
    gguf: &["roformer"],
    hugging_face: &["roformer"],
    family: Family::Encoder,
    keys: &[
        bert::KEYS,
        keys! {
            "embedding_size" => "token_embedding_length",
            "max_position_embeddings" => "context_length",
        },
    ],
    settled: &[("rotary_value", Only::Is(false))],
    ties: true,
    names: &[
        names! {
            "cls.predictions.transform.dense.*" => "mlm_dense.*",
            "cls.predictions.transform.LayerNorm.*" => "mlm_norm.*",
            "cls.predictions.decoder.weight" => "output.weight",
            "cls.predictions.bias" => "output.bias",
            "cls.predictions.decoder.bias" => "output_copy.bias",
            "classifier.dense.*" => "cls.*",
            "classifier.out_proj.*" => "cls.output.*",
            "classifier.*" => "classifier.*",
            "qa_outputs.*" => "qa_outputs.*",
            "roformer.embeddings_project.*" => "token_embd_project.*",
        },
        encoder_names!("", "roformer."),
    ],
    conversion: bert::CONVERSION,
    build,
    ..DECODER
};

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let token_width = config.optional_count("token_embedding_length")?;
    let token_width = token_width.unwrap_or(width);
    let mut encoder = PostNormLayers::read(config, width, 1e-12)?;
    let rope = Rope::read(model, Pairing::Interleaved, encoder.heads.head_dim)?;
    encoder.position = PositionScheme::Rope(rope);
    model.context(config.count("context_length")?);

    let net = model.graph(encoder.role());
    let types = [("token_types.weight", Index::TokenType)];
    let mut x = embeddings(&net, token_width, &types, encoder.eps)?;
    if token_width != width {
        x = net.linear(x, "token_embd_project", width)?;
    }
    let x = encoder.run(&net, x)?;
    let scores = Scores {
        function: encoder.function,
        ..RANKED
    };
    if config.class() == Some("RoFormerForMultipleChoice") {
        // It scores the last column, whatever stands there.
        return Err(config.invalid_class("a class that does not choose"));
    }
    let heads = TaskHeads {
        classes: &["RoFormer"],
        masked: (encoder.function, encoder.eps),
        sequence: scores,
        choice: scores,
    };
    heads.emit(&net, x)?;
    net.finish();
    Ok(())
}
