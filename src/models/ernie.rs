//! ERNIE (Sun et al. 2019, 2020): BERT, of which some have an embedding for the task as well.

use super::bert::{self, PostNormLayers, encoder_names};
use super::tables::{keys, names};
use super::task_heads::{self, POOLED, TaskHeads};
use super::{Architecture, Family, Only};
use crate::graph::{BuildError, Builder, Index};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "ERNIE",
    gguf: &["ernie"],
    hugging_face: &["ernie"],
    family: Family::Encoder,
    keys: &[
        bert::KEYS,
        keys! {
            "use_task_id" => "task_types",
        },
    ],
    settled: &[
        // The tensor tells.
        ("task_type_vocab_size", Only::Any),
        ("fuse", Only::Any),
    ],
    harmless_in_gguf: &[],
    names: &[
        bert::HEADS,
        encoder_names!("", "ernie."),
        names! {
            "ernie.embeddings.task_type_embeddings.weight" => "task_types.weight",
        },
    ],
    build,
    ..bert::ARCHITECTURE
};

/// LN(token + type + position + the first task's row), which stands for all where none is said.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let encoder = PostNormLayers::read(config, width, 1e-12)?;
    model.context(model.rows("position_embd.weight")?);

    let net = model.graph(encoder.role());
    let table = |name: &str| model.matrix(name, model.rows(name)?, width);
    let mut x = net.embed(table("token_embd.weight")?, Index::Token);
    x = net.add(x, net.embed(table("token_types.weight")?, Index::TokenType));
    x = net.add(
        x,
        net.embed(table("position_embd.weight")?, Index::Position),
    );
    if config.flag("task_types", false)? {
        let tasks = model.rows("task_types.weight")?;
        let first = model.vector_range("task_types.weight", &[tasks, width], (0, width))?;
        x = net.add_vector(x, first);
    }
    let x = net.layer_norm(x, "token_embd_norm", encoder.eps)?;
    let x = encoder.run(&net, x)?;
    let heads = TaskHeads {
        classes: &["Ernie"],
        masked: (encoder.function, encoder.eps),
        sequence: POOLED,
        choice: POOLED,
    };
    match config.class() {
        Some("ErnieForPreTraining") => heads.emit_pretraining(&net, x)?,
        Some("ErnieForNextSentencePrediction") => {
            net.emit(task_heads::follows(&net, x)?, "logits");
        }
        _ => heads.emit(&net, x)?,
    }
    net.finish();
    Ok(())
}
