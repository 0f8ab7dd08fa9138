//! CodeGen (Nijkamp et al. 2022): GPT-J whose projections are fused in four blocks. In GGUF it is a
//! `gptj`.

use super::gptj::{self, KEYS};
use super::tables::names;
use super::{Architecture, Conversion, DECODER, Only, Written, WrittenRows};
use crate::graph::blocks::Heads;
use crate::graph::{BuildError, Net, RowOrder, Value};

/// Machines that the authors trained on, each of which had a part of the heads.
const BLOCKS: usize = 4;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "CodeGen",
    gguf: &[],
    hugging_face: &["codegen"],
    keys: KEYS,
    settled: &[
        ("rotary", Only::Is(true)),
        ("scale_attn_weights", Only::Is(true)),
    ],
    names: &[
        gptj::NAMES,
        names! {
            in "transformer.h.{i}." => "blk.{i}." {
                "attn.qkv_proj.weight" => "attn_qkv.weight",
            }
        },
    ],
    unused_in_checkpoints: &["transformer.h.{i}.attn.causal_mask"],
    conversion: Conversion {
        architecture: Some("gptj"),
        tensor: |_, tensor| apart(tensor),
        ..Conversion::PLAIN
    },
    build: |model| gptj::build(model, projections),
    ..DECODER
};

/// Of each block its queries, its values, its keys.
fn projections(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    heads: Heads,
) -> Result<[Value; 3], BuildError> {
    let rows = heads.heads.saturating_mul(heads.head_dim);
    let config = net.builder.config();
    if !rows.is_multiple_of(BLOCKS) {
        return Err(config.invalid("attention.head_count", "heads that four blocks share"));
    }
    let block = rows / BLOCKS;
    let part = |place: usize| {
        let order = RowOrder::Blocks {
            block,
            stride: 3 * block,
            offset: place * block,
        };
        let name = format!("{layer}.attn_qkv.weight");
        let stored = (rows.saturating_mul(3), net.width(h));
        let weight = net.builder.matrix_rows(&name, stored, rows, order)?;
        Ok::<Value, BuildError>(net.matmul(h, weight, None))
    };
    Ok([part(0)?, part(2)?, part(1)?])
}

fn apart(tensor: Written) -> Result<Vec<Written>, String> {
    if tensor.part() != "attn_qkv" {
        return Ok(vec![tensor]);
    }
    let Some(&rows) = tensor.shape.first() else {
        return Ok(vec![tensor]);
    };
    let block = rows as usize / 3 / BLOCKS;
    let part = |name: &str, place: usize| {
        let mut part = tensor.clone();
        part.name = part.name.replace("attn_qkv", name);
        part.shape[0] = rows / 3;
        part.rows = WrittenRows::Part {
            block,
            stride: 3 * block,
            offset: place * block,
            paired: None,
        };
        part
    };
    Ok(vec![
        part("attn_q", 0),
        part("attn_k", 2),
        part("attn_v", 1),
    ])
}
