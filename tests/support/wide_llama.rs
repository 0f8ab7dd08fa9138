//! A LLaMA of random weights that is large enough for quantized types.

use rillm::Model;
use rillm::internals::eval::Cut;
use rillm_formats::manifest::{Metadata, MetadataValue};
use serde_json::json;

use super::evaluate::evaluate;
use super::generator;
use super::tensors::Tensor;
use super::to_gguf::{Floats, Gguf};

const WIDTH: u64 = 256;
const HIDDEN: u64 = 512;
const VOCABULARY: u64 = 101;
const HEADS: u32 = 8;
const KV_HEADS: u32 = 2;
const LAYERS: u64 = 2;

/// A LLaMA whose rows are whole blocks of every type.
pub fn gguf() -> Gguf {
    let kv = WIDTH / u64::from(HEADS / KV_HEADS);
    let mut shapes = vec![
        ("token_embd.weight".to_owned(), vec![VOCABULARY, WIDTH]),
        ("output.weight".to_owned(), vec![VOCABULARY, WIDTH]),
        ("output_norm.weight".to_owned(), vec![WIDTH]),
    ];
    for i in 0..LAYERS {
        for (name, shape) in [
            ("attn_norm", vec![WIDTH]),
            ("attn_q", vec![WIDTH, WIDTH]),
            ("attn_k", vec![kv, WIDTH]),
            ("attn_v", vec![kv, WIDTH]),
            ("attn_output", vec![WIDTH, WIDTH]),
            ("ffn_norm", vec![WIDTH]),
            ("ffn_gate", vec![HIDDEN, WIDTH]),
            ("ffn_up", vec![HIDDEN, WIDTH]),
            ("ffn_down", vec![WIDTH, HIDDEN]),
        ] {
            shapes.push((format!("blk.{i}.{name}.weight"), shape));
        }
    }
    let tensors = shapes.into_iter().map(|(name, shape)| {
        let count = shape.iter().product::<u64>() as usize;
        // Matrices keep a row's variance, norms are about one.
        let (scale, shift) = match shape.as_slice() {
            [_] => (0.3, 1.0),
            [_, columns] => ((3.0 / *columns as f32).sqrt(), 0.0),
            _ => unreachable!("vectors and matrices"),
        };
        let values = generator::tensor(7, &name, count, scale, shift);
        (name, Floats { shape, values })
    });
    let number = |key: &str, value: u64| {
        let value = MetadataValue::U32(u32::try_from(value).unwrap());
        (format!("llama.{key}"), value)
    };
    let keys = [
        (
            "general.architecture".to_owned(),
            MetadataValue::String("llama".into()),
        ),
        number("embedding_length", WIDTH),
        number("feed_forward_length", HIDDEN),
        number("block_count", LAYERS),
        number("context_length", 64),
        number("attention.head_count", HEADS.into()),
        number("attention.head_count_kv", KV_HEADS.into()),
    ];
    Gguf {
        metadata: Metadata(keys.into()),
        tensors: tensors.collect(),
    }
}

/// Logits of a fixed input, cut like this.
pub fn logits_cut(model: &Model, cut: Cut) -> Tensor {
    let ids: Vec<u64> = (0..23).map(|i| i * 37 % VOCABULARY).collect();
    let mut outputs = evaluate(model, &json!({ "input_ids": [ids] }), cut).unwrap();
    outputs.remove("logits").unwrap()
}

/// Logits of a fixed input.
pub fn logits(model: &Model) -> Tensor {
    logits_cut(model, Cut::Whole)
}
