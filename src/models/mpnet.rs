//! MPNet (Song et al. 2020): BERT without token types, whose layers all see distances through one
//! table of biases beside the positions that count from behind padding's.

use super::bert::{self, PostNormLayers, embeddings};
use super::roberta::{CONVERSION, HEADS, PADDING, padded_positions};
use super::tables::names;
use super::task_heads::{POOLED, RANKED, TaskHeads};
use super::{Architecture, DECODER, Family, Only};
use crate::graph::{Buckets, BuildError, Builder, Pointwise, PositionScheme, Role};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "MPNet",
    gguf: &["mpnet"],
    hugging_face: &["mpnet"],
    family: Family::Encoder,
    keys: &[bert::KEYS],
    // The authors' code takes so many whatever is said.
    settled: &[(
        "relative_attention_num_buckets",
        Only::Number(BUCKETS as f64),
    )],
    ties: true,
    names: &[
        HEADS,
        names! {
            in "mpnet." => "" {
                "embeddings.word_embeddings.weight" => "token_embd.weight",
                "embeddings.position_embeddings.weight" => "position_embd.weight",
                "embeddings.LayerNorm.*" => "token_embd_norm.*",
                "encoder.relative_attention_bias.weight" => "attn_rel_b.weight",
                "encoder.layer.{i}.attention.attn.q.*" => "blk.{i}.attn_q.*",
                "encoder.layer.{i}.attention.attn.k.*" => "blk.{i}.attn_k.*",
                "encoder.layer.{i}.attention.attn.v.*" => "blk.{i}.attn_v.*",
                "encoder.layer.{i}.attention.attn.o.*" => "blk.{i}.attn_output.*",
                "encoder.layer.{i}.attention.LayerNorm.*" => "blk.{i}.attn_output_norm.*",
                "encoder.layer.{i}.intermediate.dense.*" => "blk.{i}.ffn_up.*",
                "encoder.layer.{i}.output.dense.*" => "blk.{i}.ffn_down.*",
                "encoder.layer.{i}.output.LayerNorm.*" => "blk.{i}.layer_output_norm.*",
                "pooler.dense.*" => "pooler.*",
            }
        },
    ],
    conversion: CONVERSION,
    build,
    ..DECODER
};

/// Distances share so many biases, and those from the farthest on one.
const BUCKETS: usize = 32;
const FARTHEST: usize = 128;

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let mut encoder = PostNormLayers::read(config, width, 1e-12)?;
    let table = model.vector("attn_rel_b.weight", &[BUCKETS, encoder.heads.heads])?;
    // Padding counts in distances, while positions are those of tokens.
    let distances = Buckets::new(table, BUCKETS, FARTHEST, true).by_columns();
    encoder.position = PositionScheme::Buckets(distances);
    let position = padded_positions(model, width, PADDING)?;

    let net = model.graph(Role::Encode);
    let tables = [("position_embd.weight", position)];
    let x = embeddings(&net, width, &tables, encoder.eps)?;
    let x = encoder.run(&net, x)?;
    let heads = TaskHeads {
        classes: &["MPNet"],
        masked: (Pointwise::GeluErf, encoder.eps),
        sequence: RANKED,
        choice: POOLED,
    };
    heads.emit(&net, x)?;
    net.finish();
    Ok(())
}
