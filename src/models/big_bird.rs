//! BigBird (Zaheer et al. 2020): BERT whose rows see blocks of rows.

use super::bert::{self, PostNormLayers, encoder_names};
use super::tables::{keys, names};
use super::task_heads::{POOLED, RANKED, Scores, TaskHeads, emit_ends};
use super::{Architecture, DECODER, Family, Only};
use crate::graph::blocks::{activation, mlp};
use crate::graph::{BlockSparse, BuildError, Builder, Config, Index, Mask, Role, Value};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "BigBird",
    gguf: &["big_bird"],
    hugging_face: &["big_bird"],
    family: Family::Encoder,
    keys: &[
        bert::KEYS,
        keys! {
            "attention_type" => "attention.type",
            "block_size" => "attention.block_size",
            "num_random_blocks" => "attention.random_blocks",
            "rescale_embeddings" => "rescale_embeddings",
            "sep_token_id" => "separator_token_id",
        },
    ],
    settled: &[
        // What there is of biases, the tensors say.
        ("use_bias", Only::Any),
    ],
    ties: true,
    names: &[
        names! {
            "cls.predictions.transform.dense.*" => "mlm_dense.*",
            "cls.predictions.transform.LayerNorm.*" => "mlm_norm.*",
            "cls.predictions.decoder.weight" => "output.weight",
            "cls.predictions.bias" => "output.bias",
            "cls.predictions.decoder.bias" => "output_copy.bias",
            "cls.seq_relationship.*" => "sentence_order.*",
            "classifier.dense.*" => "cls.*",
            "classifier.out_proj.*" => "cls.output.*",
            "classifier.*" => "classifier.*",
            "qa_classifier.intermediate.dense.*" => "qa.ffn_up.*",
            "qa_classifier.output.dense.*" => "qa.ffn_down.*",
            "qa_classifier.output.LayerNorm.*" => "qa.norm.*",
            "qa_classifier.qa_outputs.*" => "qa_outputs.*",
            "bert.pooler.*" => "pooler.*",
            "pooler.*" => "pooler.*",
        },
        encoder_names!("", "bert."),
    ],
    conversion: bert::CONVERSION,
    build,
    ..DECODER
};

/// The separator where `config.json` does not say it.
const SEPARATOR: u32 = 66;

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let encoder = PostNormLayers {
        function: activation(config, "hidden_act", "gelu_new")?,
        ..PostNormLayers::read(config, width, 1e-12)?
    };
    let scaled = config.flag("rescale_embeddings", false)?;
    let scale = if scaled { (width as f32).sqrt() } else { 1.0 };
    let sparse = block_sparse(config)?;
    let positions = model.rows("position_embd.weight")?;
    model.context(positions);

    let net = model.graph(Role::Encode);
    let table =
        |name: &str, index| Ok(net.embed(model.matrix(name, model.rows(name)?, width)?, index));
    let tokens: Value = net.scale(table("token_embd.weight", Index::Token)?, scale);
    let types: Value = table("token_types.weight", Index::TokenType)?;
    let x = net.add(tokens, types);
    let x = net.add(x, table("position_embd.weight", Index::Position)?);
    let mut x = net.layer_norm(x, "token_embd_norm", encoder.eps)?;
    for i in 0..config.count("block_count")? {
        let mask = match sparse {
            Some(sparse) => Mask::Blocks(BlockSparse {
                layer: i as u32,
                ..sparse
            }),
            None => Mask::Bidirectional,
        };
        x = encoder.masked_layer(&net, x, &format!("blk.{i}"), mask)?;
    }
    let heads = TaskHeads {
        classes: &["BigBird"],
        masked: (encoder.function, encoder.eps),
        sequence: Scores {
            function: encoder.function,
            ..RANKED
        },
        choice: POOLED,
    };
    match config.class() {
        Some("BigBirdForPreTraining") => heads.emit_pretraining(&net, x)?,
        Some("BigBirdForQuestionAnswering") => {
            model.ends_questions(config.token("separator_token_id")?.unwrap_or(SEPARATOR));
            // A feed-forward layer more.
            let f = mlp(&net, x, "qa", encoder.hidden, encoder.function)?;
            let x = net.layer_norm(net.add(x, f), "qa.norm", encoder.eps)?;
            emit_ends(&net, net.linear(x, "qa_outputs", 2)?);
        }
        _ => heads.emit(&net, x)?,
    }
    net.finish();
    Ok(())
}

/// Which blocks the first layer's rows see; `None`, if all rows see all.
pub(super) fn block_sparse(config: &Config<'_>) -> Result<Option<BlockSparse>, BuildError> {
    let key = "attention.type";
    match config.text(key)?.unwrap_or("block_sparse") {
        "original_full" => return Ok(None),
        "block_sparse" => {}
        _ => return Err(config.invalid(key, "block_sparse or original_full")),
    }
    let count = |key: &str, usual: usize| {
        let count = config.optional_count(key)?.unwrap_or(usual);
        u32::try_from(count).map_err(|_| config.invalid(key, "a smaller number"))
    };
    Ok(Some(BlockSparse {
        columns: count("attention.block_size", 64)?,
        random: count("attention.random_blocks", 3)?,
        layer: 0,
    }))
}
