//! InternLM 2 and 3 (Shanghai AI Laboratory 2024, 2025): LLaMA, of which the former fuses
//! projections group by group. In GGUF the latter is a `llama`.

use super::tables::names;
use super::{Architecture, Conversion, DECODER, GgufKeys, Only, Written, WrittenRows, llama};
use crate::graph::blocks::{Heads, interleaved_projections, projections};
use crate::graph::{BuildError, Net, Value};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const INTERNLM_2: Architecture = Architecture {
    title: "InternLM 2",
    gguf: &["internlm2"],
    hugging_face: &["internlm2"],
    keys: llama::KEYS,
    settled: &[("bias", Only::Any)],
    names: &[names! {
        "model.tok_embeddings.weight" => "token_embd.weight",
        "model.norm.weight" => "output_norm.weight",
        "output.weight" => "output.weight",
        in "model.layers.{i}." => "blk.{i}." {
            "attention_norm.weight" => "attn_norm.weight",
            "ffn_norm.weight" => "ffn_norm.weight",
            "attention.wqkv.*" => "attn_qkv.*",
            "attention.wo.*" => "attn_output.*",
            "feed_forward.w1.*" => "ffn_gate.*",
            "feed_forward.w3.*" => "ffn_up.*",
            "feed_forward.w2.*" => "ffn_down.*",
        }
    }],
    conversion: Conversion {
        tensor: apart,
        ..Conversion::PLAIN
    },
    build: |model| llama::wire(model, &SECOND, &|_| true),
    ..DECODER
};

pub(super) const INTERNLM_3: Architecture = Architecture {
    title: "InternLM 3",
    gguf: &[],
    hugging_face: &["internlm3"],
    keys: llama::KEYS,
    // Tensors tell which projections have biases.
    settled: &[("bias", Only::Any), ("qkv_bias", Only::Any)],
    names: llama::NAMES,
    conversion: llama::CONVERSION,
    build: |model| llama::wire(model, &THIRD, &|_| true),
    ..DECODER
};

const SECOND: llama::Usual = llama::Usual {
    projections: by_groups,
    ..llama::USUAL
};

const THIRD: llama::Usual = llama::Usual {
    eps: 1e-5,
    head_dim: Some(128),
    ..llama::USUAL
};

/// Of each head of keys its queries, its keys and its values.
fn by_groups(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    heads: Heads,
) -> Result<[Value; 3], BuildError> {
    match net.builder.config().container {
        Container::HuggingFace => interleaved_projections(net, h, layer, heads),
        Container::Gguf => projections(net, h, layer, heads),
    }
}

/// Queries, keys and values are tensors of their own, of the former two neighbours rotate together.
fn apart(keys: &mut GgufKeys<'_>, tensor: Written) -> Result<Vec<Written>, String> {
    if tensor.part() != "attn_qkv" {
        return Ok(vec![tensor]);
    }
    let heads = keys.heads() as usize;
    let kv_heads = keys.kv_heads().unwrap_or(heads as u64).max(1) as usize;
    let rows = tensor.shape.first().copied().unwrap_or(0) as usize;
    let dim = rows / (heads + 2 * kv_heads);
    let queries = heads / kv_heads;
    if !dim.is_multiple_of(2) || dim * (queries + 2) * kv_heads != rows {
        let name = &tensor.name;
        return Err(format!(
            "tensor {name} has {rows} rows, which are not whole groups of heads"
        ));
    }
    keys.put_usual(
        "attention.head_count_kv",
        MetadataValue::U32(kv_heads as u32),
    );
    let part = |name: &str, offset: usize, block: usize, paired: Option<usize>| {
        let mut part = tensor.clone();
        part.name = part.name.replace("attn_qkv", name);
        part.shape[0] = (block * kv_heads) as u64;
        part.rows = WrittenRows::Part {
            block,
            stride: (queries + 2) * dim,
            offset,
            paired,
        };
        part
    };
    Ok(vec![
        part("attn_q", 0, queries * dim, Some(dim)),
        part("attn_k", queries * dim, dim, Some(dim)),
        part("attn_v", (queries + 1) * dim, dim, None),
    ])
}
