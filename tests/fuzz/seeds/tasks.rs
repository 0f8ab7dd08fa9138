//! Hugging Face folders for tasks: a BERT under each of its heads, and a T5 that translates.

use std::collections::BTreeMap;

use super::folders::{BERT_TENSORS, Shapes, weights};
use crate::support::open_folder::packed;

/// What follows a model's kind, up to its labels.
const BERT: &str = r#""hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
 "intermediate_size": 4, "vocab_size": 5, "max_position_embeddings": 8, "type_vocab_size": 2,
 "layer_norm_eps": 1e-12, "hidden_act": "gelu""#;

const VOCABULARY: &[u8] = b"[PAD]\n[MASK]\n[CLS]\n[SEP]\na\n";

const SETTINGS: &[u8] =
    br#"{"tokenizer_class": "BertTokenizer", "do_lower_case": true, "unk_token":
 "[PAD]", "mask_token": "[MASK]", "model_max_length": 8}"#;

const MODULES: &[u8] = br#"[{"idx": 0, "name": "0", "path": "", "type":
 "sentence_transformers.models.Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type":
 "sentence_transformers.models.Pooling"}, {"idx": 2, "name": "2", "path": "2_Normalize", "type":
 "sentence_transformers.models.Normalize"}]"#;

const POOLING: &[u8] = br#"{"word_embedding_dimension": 4, "pooling_mode_cls_token": true,
 "pooling_mode_mean_tokens": true, "include_prompt": false}"#;

const SENTENCES: &[u8] =
    br#"{"prompts": {"query": "a ", "document": ""}, "default_prompt_name": null,
 "similarity_fn_name": "cosine"}"#;

/// Labels, and the tensors of a head beside those of the model.
const HEADS: &[(&str, &str, &str, &[Shapes])] = &[
    (
        "ok-classify",
        "BertForSequenceClassification",
        r#", "id2label": {"0": "entailment", "1": "b", "2": "c"}"#,
        &[("classifier.", &[("weight", &[3, 4]), ("bias", &[3])])],
    ),
    (
        "ok-rerank",
        "BertForSequenceClassification",
        r#", "id2label": {"0": "LABEL_0"}"#,
        &[("classifier.", &[("weight", &[1, 4]), ("bias", &[1])])],
    ),
    (
        "ok-tag",
        "BertForTokenClassification",
        r#", "id2label": {"0": "O", "1": "B-X", "2": "I-X"}"#,
        &[("classifier.", &[("weight", &[3, 4]), ("bias", &[3])])],
    ),
    (
        "ok-answer",
        "BertForQuestionAnswering",
        "",
        &[("qa_outputs.", &[("weight", &[2, 4]), ("bias", &[2])])],
    ),
    (
        "ok-fill-mask",
        "BertForMaskedLM",
        "",
        &[
            ("cls.predictions.", &[("bias", &[5])]),
            (
                "cls.predictions.transform.",
                &[
                    ("dense.weight", &[4, 4]),
                    ("dense.bias", &[4]),
                    ("LayerNorm.weight", &[4]),
                    ("LayerNorm.bias", &[4]),
                ],
            ),
        ],
    ),
];

const T5: &[u8] =
    br#"{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 4,
 "d_kv": 2, "d_ff": 4, "num_heads": 2, "num_layers": 1, "num_decoder_layers": 1, "vocab_size": 5,
 "relative_attention_num_buckets": 4, "relative_attention_max_distance": 6, "layer_norm_epsilon":
 1e-06, "feed_forward_proj": "relu", "decoder_start_token_id": 0, "eos_token_id": 3, "pad_token_id":
 0, "tie_word_embeddings": true, "task_specific_params": {"summarization": {"prefix": "a ",
 "num_beams": 2, "max_length": 6, "early_stopping": true, "length_penalty": 2.0},
 "translation_en_to_de": {"prefix": "a: ", "no_repeat_ngram_size": 2}}}"#;

const T5_ATTENTION: &[(&str, &[u64])] = &[
    ("q.weight", &[4, 4]),
    ("k.weight", &[4, 4]),
    ("v.weight", &[4, 4]),
    ("o.weight", &[4, 4]),
];

const T5_REACH: &[(&str, &[u64])] = &[
    (
        "block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        &[4, 2],
    ),
    ("final_layer_norm.weight", &[4]),
    ("block.0.layer.0.layer_norm.weight", &[4]),
    ("block.0.layer.1.layer_norm.weight", &[4]),
];

const T5_FEED_FORWARD: &[(&str, &[u64])] = &[("wi.weight", &[4, 4]), ("wo.weight", &[4, 4])];

const T5_TENSORS: &[Shapes] = &[
    ("shared.", &[("weight", &[5, 4])]),
    ("encoder.", T5_REACH),
    ("encoder.block.0.layer.0.SelfAttention.", T5_ATTENTION),
    ("encoder.block.0.layer.1.DenseReluDense.", T5_FEED_FORWARD),
    ("decoder.", T5_REACH),
    ("decoder.", &[("block.0.layer.2.layer_norm.weight", &[4])]),
    ("decoder.block.0.layer.0.SelfAttention.", T5_ATTENTION),
    ("decoder.block.0.layer.1.EncDecAttention.", T5_ATTENTION),
    ("decoder.block.0.layer.2.DenseReluDense.", T5_FEED_FORWARD),
];

fn config(architecture: &str, labels: &str) -> Vec<u8> {
    let kind = format!(r#""model_type": "bert", "architectures": ["{architecture}"]"#);
    format!("{{{kind}, {BERT}{labels}}}").into_bytes()
}

/// Tensors of a model that stands behind a prefix in what has a head.
fn headed(head: &[Shapes]) -> Vec<Shapes> {
    const PREFIXED: [&str; 3] = [
        "bert.embeddings.",
        "bert.encoder.layer.0.attention.",
        "bert.encoder.layer.0.",
    ];
    let base = PREFIXED.into_iter().zip(BERT_TENSORS);
    let base = base.map(|(prefix, (bare, tensors))| {
        assert_eq!(prefix.strip_prefix("bert."), Some(*bare));
        (prefix, *tensors)
    });
    let pooler = ("bert.pooler.", BERT_TENSORS[3].1);
    base.chain([pooler]).chain(head.iter().copied()).collect()
}

/// Every seed by file name.
pub fn all() -> BTreeMap<String, Vec<u8>> {
    let mut made = BTreeMap::new();
    for (name, architecture, labels, head) in HEADS {
        let (config, weights) = (config(architecture, labels), weights(&headed(head)));
        let files: [(&str, &[u8]); 4] = [
            ("config.json", &config),
            ("model.safetensors", &weights),
            ("vocab.txt", VOCABULARY),
            ("tokenizer_config.json", SETTINGS),
        ];
        made.insert((*name).to_owned(), packed(&files));
    }
    let (config, encoder) = (config("BertModel", ""), weights(BERT_TENSORS));
    let embed = packed(&[
        ("config.json", &config),
        ("model.safetensors", &encoder),
        ("vocab.txt", VOCABULARY),
        ("tokenizer_config.json", SETTINGS),
        ("modules.json", MODULES),
        ("1_Pooling/config.json", POOLING),
        (
            "sentence_bert_config.json",
            br#"{"max_seq_length": 6, "do_lower_case": false}"#,
        ),
        ("config_sentence_transformers.json", SENTENCES),
    ]);
    made.insert("ok-embed".to_owned(), embed);
    let translate = packed(&[
        ("config.json", T5),
        ("model.safetensors", &weights(T5_TENSORS)),
        ("vocab.txt", VOCABULARY),
        ("tokenizer_config.json", SETTINGS),
        (
            "generation_config.json",
            br#"{"eos_token_id": 3, "max_length": 5, "num_beams": 3}"#,
        ),
    ]);
    made.insert("ok-translate".to_owned(), translate);
    made
}
