//! Models with a KV cache or segment memory.

use rillm_formats::manifest::{Array, MetadataValue, Strings};

use super::Seed;

pub fn llama(name: &'static str, width: u64) -> Seed {
    let keys = [
        ("embedding_length", width as u32),
        ("block_count", 1),
        ("feed_forward_length", width as u32),
        ("context_length", 16),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ];
    let kv = width / 2;
    Seed::new(name, "llama", &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, width]),
                ("output_norm.weight", &[width]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[width]),
                ("attn_q.weight", &[width, width]),
                ("attn_k.weight", &[kv, width]),
                ("attn_v.weight", &[kv, width]),
                ("attn_output.weight", &[width, width]),
                ("ffn_norm.weight", &[width]),
                ("ffn_gate.weight", &[width, width]),
                ("ffn_up.weight", &[width, width]),
                ("ffn_down.weight", &[width, width]),
            ],
        )
}

/// One that knows words for its five tokens.
pub fn worded(seed: Seed) -> Seed {
    let mut tokens = Strings::default();
    for token in ["<unk>", "<s>", "</s>", "▁a", "b"] {
        tokens.push(token.as_bytes());
    }
    let array = MetadataValue::Array;
    seed.key(
        "tokenizer.ggml.model",
        MetadataValue::String("llama".into()),
    )
    .key("tokenizer.ggml.tokens", array(Array::String(tokens)))
    .key(
        "tokenizer.ggml.scores",
        array(Array::F32(vec![0.0, 0.0, 0.0, -1.0, -2.0])),
    )
    .key(
        "tokenizer.ggml.token_type",
        array(Array::I32(vec![2, 3, 3, 1, 1])),
    )
}

pub fn scaled(name: &'static str, kind: &str) -> Seed {
    llama(name, 4)
        .key(
            "llama.rope.scaling.type",
            MetadataValue::String(kind.into()),
        )
        .key("llama.rope.scaling.factor", MetadataValue::F32(4.0))
        .key(
            "llama.rope.scaling.original_context_length",
            MetadataValue::U32(4),
        )
        .key("llama.attention.sliding_window", MetadataValue::U32(2))
        .tensors(
            "",
            &[("rope_freqs.weight", &[1]), ("output.weight", &[5, 4])],
        )
}

pub fn mixtral() -> Seed {
    let mut seed = llama("ok-mixtral", 4)
        .key("llama.expert_count", MetadataValue::U32(3))
        .key("llama.expert_used_count", MetadataValue::U32(2))
        .tensors(
            "blk.0.",
            &[
                ("ffn_gate_inp.weight", &[3, 4]),
                ("ffn_gate_exps.weight", &[3, 4, 4]),
                ("ffn_up_exps.weight", &[3, 4, 4]),
                ("ffn_down_exps.weight", &[3, 4, 4]),
            ],
        );
    let dense = ["ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"];
    let is_dense = |name: &str| dense.iter().any(|dense| name.ends_with(dense));
    seed.gguf.tensors.retain(|name, _| !is_dense(name));
    seed
}

pub fn gpt2() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("attention.head_count", 2),
    ];
    Seed::new("ok-gpt2", "gpt2", &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("position_embd.weight", &[8, 4]),
                ("output_norm.weight", &[4]),
                ("output_norm.bias", &[4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_norm.bias", &[4]),
                ("attn_qkv.weight", &[12, 4]),
                ("attn_qkv.bias", &[12]),
                ("attn_output.weight", &[4, 4]),
                ("ffn_norm.weight", &[4]),
                ("ffn_up.weight", &[16, 4]),
                ("ffn_down.weight", &[4, 16]),
                ("ffn_down.bias", &[4]),
            ],
        )
}

pub fn bert(name: &'static str, class: &str) -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 4),
        ("attention.head_count", 2),
    ];
    let mut classes = Strings::default();
    classes.push(class.as_bytes());
    let head: &[(&str, &[u64])] = match class {
        "BertForMaskedLM" => &[
            ("mlm_dense.weight", &[4, 4]),
            ("mlm_norm.weight", &[4]),
            ("output.bias", &[5]),
        ],
        "BertForQuestionAnswering" => &[("qa_outputs.weight", &[2, 4])],
        "BertForSequenceClassification" => &[
            ("pooler.weight", &[4, 4]),
            ("pooler.bias", &[4]),
            ("classifier.weight", &[3, 4]),
        ],
        _ => &[("pooler.weight", &[4, 4]), ("pooler.bias", &[4])],
    };
    Seed::new(name, "bert", &keys)
        .key(
            "architectures",
            MetadataValue::Array(Array::String(classes)),
        )
        .tensors("", head)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("token_types.weight", &[2, 4]),
                ("position_embd.weight", &[8, 4]),
                ("token_embd_norm.weight", &[4]),
                ("token_embd_norm.bias", &[4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_q.weight", &[4, 4]),
                ("attn_k.weight", &[4, 4]),
                ("attn_v.weight", &[4, 4]),
                ("attn_output.weight", &[4, 4]),
                ("attn_output_norm.weight", &[4]),
                ("ffn_up.weight", &[4, 4]),
                ("ffn_down.weight", &[4, 4]),
                ("layer_output_norm.weight", &[4]),
            ],
        )
}

pub fn t5(name: &'static str, architecture: &str) -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 4),
        ("attention.head_count", 2),
        ("attention.key_length", 3),
        ("attention.relative_buckets_count", 4),
        ("attention.relative_max_distance", 6),
        ("decoder_start_token_id", 1),
    ];
    let layer: &[(&str, &[u64])] = &[
        ("attn_norm.weight", &[4]),
        ("attn_q.weight", &[6, 4]),
        ("attn_k.weight", &[6, 4]),
        ("attn_v.weight", &[6, 4]),
        ("attn_o.weight", &[4, 6]),
        ("attn_rel_b.weight", &[4, 2]),
        ("ffn_norm.weight", &[4]),
        ("ffn_up.weight", &[4, 4]),
        ("ffn_down.weight", &[4, 4]),
    ];
    let seed = Seed::new(name, architecture, &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("enc.output_norm.weight", &[4]),
            ],
        )
        .tensors("enc.blk.0.", layer);
    if architecture == "t5encoder" {
        return seed.tensors("enc.blk.0.", &[("ffn_gate.weight", &[4, 4])]);
    }
    seed.tensors("dec.blk.0.", layer)
        .tensors("", &[("dec.output_norm.weight", &[4])])
        .tensors(
            "dec.blk.0.",
            &[
                ("cross_attn_norm.weight", &[4]),
                ("cross_attn_q.weight", &[6, 4]),
                ("cross_attn_k.weight", &[6, 4]),
                ("cross_attn_v.weight", &[6, 4]),
                ("cross_attn_o.weight", &[4, 6]),
            ],
        )
}

pub fn transformer_xl() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 6),
        ("attention.head_count", 2),
        ("attention.key_length", 2),
        ("memory.length", 3),
        ("vocabulary.size", 5),
    ];
    Seed::new("ok-transformer-xl", "transfo-xl", &keys)
        .tensors(
            "",
            &[("token_embd.0.weight", &[5, 4]), ("output.0.bias", &[5])],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_qkv.weight", &[12, 4]),
                ("attn_distance.weight", &[4, 4]),
                ("attn_key_bias", &[2, 2]),
                ("attn_distance_bias", &[2, 2]),
                ("attn_output.weight", &[4, 4]),
                ("attn_norm.weight", &[4]),
                ("ffn_up.weight", &[6, 4]),
                ("ffn_down.weight", &[4, 6]),
                ("ffn_norm.weight", &[4]),
            ],
        )
}

pub fn compressive_transformer() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("attention.head_count", 2),
        ("memory.segment", 2),
        ("memory.length", 2),
        ("memory.ratio", 2),
        ("vocabulary.size", 5),
    ];
    let name = "compressive_transformer";
    Seed::new("ok-compressive-transformer", name, &keys)
        .key(
            &format!("{name}.residual.gated"),
            MetadataValue::Bool(false),
        )
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("position_embd.weight", &[2, 5, 2]),
                ("output.weight", &[5, 4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_q.weight", &[4, 4]),
                ("attn_kv.weight", &[8, 4]),
                ("attn_output.weight", &[4, 4]),
                ("compress.weight", &[4, 4, 2]),
                ("ffn_norm.weight", &[4]),
                ("ffn_up.weight", &[16, 4]),
                ("ffn_down.weight", &[4, 16]),
            ],
        )
}
