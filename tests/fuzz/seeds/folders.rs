//! Hugging Face folders: their files one behind another.

use std::collections::BTreeMap;

use rillm_formats::safetensors::write::floats;

use crate::support::generator;
use crate::support::open_folder::packed;

const LLAMA: &[u8] =
    br#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4,
 "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 4,
 "vocab_size": 6, "max_position_embeddings": 16, "rms_norm_eps": 1e-05, "hidden_act": "silu",
 "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "tie_word_embeddings": false,
 "eos_token_id": 5, "bos_token_id": 4, "dtype": "float32"}"#;

const GPT2: &[u8] = br#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 4,
 "n_layer": 1, "n_head": 2, "n_positions": 8, "vocab_size": 5, "layer_norm_epsilon": 1e-05,
 "activation_function": "gelu_new", "eos_token_id": 4}"#;

const BERT: &[u8] = br#"{"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 4,
 "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4, "vocab_size": 5,
 "max_position_embeddings": 8, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}"#;

const TOKENIZER: &[u8] = br#"{"added_tokens": [{"id": 4, "content": "<s>", "special": true},
 {"id": 5, "content": "</s>", "special": true}], "normalizer": {"type": "Sequence", "normalizers":
 [{"type": "Prepend", "prepend": "_"}, {"type": "Replace", "pattern": {"String": " "}, "content": "_"}]},
 "pre_tokenizer": null, "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken":
 {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens":
 {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}}, "decoder": {"type": "Sequence", "decoders":
 [{"type": "Replace", "pattern": {"String": "_"}, "content": " "}, {"type": "ByteFallback"},
 {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}, "model": {"type": "BPE",
 "unk_token": "<unk>", "byte_fallback": true, "vocab": {"<unk>": 0, "_": 1, "a": 2, "_a": 3},
 "merges": [["_", "a"]]}}"#;

const SETTINGS: &[u8] = br#"{"tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "bos_token":
 "<s>", "eos_token": {"content": "</s>"}, "chat_template": "{% for m in messages %}{{ m['role'] + ': ' +
 m['content'] | trim }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"}"#;

const INDEX: &[u8] = br#"{"metadata": {"total_size": 1}, "weight_map": {"wte.weight":
 "model-00001-of-00001.safetensors"}}"#;

/// Files by name.
type Named<'a> = &'a [(&'a str, &'a [u8])];

/// Tensors of a name and its extents, behind a prefix.
pub type Shapes = (&'static str, &'static [(&'static str, &'static [u64])]);

const LLAMA_TENSORS: &[Shapes] = &[
    (
        "model.",
        &[("embed_tokens.weight", &[6, 4]), ("norm.weight", &[4])],
    ),
    ("", &[("lm_head.weight", &[6, 4])]),
    (
        "model.layers.0.",
        &[
            ("input_layernorm.weight", &[4]),
            ("self_attn.q_proj.weight", &[4, 4]),
            ("self_attn.k_proj.weight", &[2, 4]),
            ("self_attn.v_proj.weight", &[2, 4]),
            ("self_attn.o_proj.weight", &[4, 4]),
            ("post_attention_layernorm.weight", &[4]),
            ("mlp.gate_proj.weight", &[4, 4]),
            ("mlp.up_proj.weight", &[4, 4]),
            ("mlp.down_proj.weight", &[4, 4]),
        ],
    ),
];

const GPT2_TENSORS: &[Shapes] = &[
    (
        "",
        &[
            ("wte.weight", &[5, 4]),
            ("wpe.weight", &[8, 4]),
            ("ln_f.weight", &[4]),
            ("ln_f.bias", &[4]),
        ],
    ),
    (
        "h.0.",
        &[
            ("ln_1.weight", &[4]),
            ("ln_1.bias", &[4]),
            ("attn.c_attn.weight", &[4, 12]),
            ("attn.c_attn.bias", &[12]),
            ("attn.c_proj.weight", &[4, 4]),
            ("attn.c_proj.bias", &[4]),
            ("ln_2.weight", &[4]),
            ("ln_2.bias", &[4]),
            ("mlp.c_fc.weight", &[4, 16]),
            ("mlp.c_fc.bias", &[16]),
            ("mlp.c_proj.weight", &[16, 4]),
            ("mlp.c_proj.bias", &[4]),
        ],
    ),
];

pub const BERT_TENSORS: &[Shapes] = &[
    (
        "embeddings.",
        &[
            ("word_embeddings.weight", &[5, 4]),
            ("position_embeddings.weight", &[8, 4]),
            ("token_type_embeddings.weight", &[2, 4]),
            ("LayerNorm.weight", &[4]),
            ("LayerNorm.bias", &[4]),
        ],
    ),
    (
        "encoder.layer.0.attention.",
        &[
            ("self.query.weight", &[4, 4]),
            ("self.query.bias", &[4]),
            ("self.key.weight", &[4, 4]),
            ("self.key.bias", &[4]),
            ("self.value.weight", &[4, 4]),
            ("self.value.bias", &[4]),
            ("output.dense.weight", &[4, 4]),
            ("output.dense.bias", &[4]),
            ("output.LayerNorm.weight", &[4]),
            ("output.LayerNorm.bias", &[4]),
        ],
    ),
    (
        "encoder.layer.0.",
        &[
            ("intermediate.dense.weight", &[4, 4]),
            ("intermediate.dense.bias", &[4]),
            ("output.dense.weight", &[4, 4]),
            ("output.dense.bias", &[4]),
            ("output.LayerNorm.weight", &[4]),
            ("output.LayerNorm.bias", &[4]),
        ],
    ),
    (
        "pooler.",
        &[("dense.weight", &[4, 4]), ("dense.bias", &[4])],
    ),
];

pub fn weights(shapes: &[Shapes]) -> Vec<u8> {
    let mut tensors = Vec::new();
    for (prefix, shapes) in shapes {
        for (name, shape) in *shapes {
            let name = format!("{prefix}{name}");
            let count = shape.iter().product::<u64>() as usize;
            let values = generator::tensor(1, &name, count, 0.5, 0.0);
            tensors.push((name, *shape, values));
        }
    }
    let listed = tensors.iter();
    let listed: Vec<(&str, &[u64], &[f32])> = listed
        .map(|(name, shape, values)| (name.as_str(), *shape, values.as_slice()))
        .collect();
    floats(&listed).expect("a file")
}

/// Every seed by file name.
pub fn all() -> BTreeMap<String, Vec<u8>> {
    let [llama, gpt2, bert] = [LLAMA_TENSORS, GPT2_TENSORS, BERT_TENSORS].map(weights);
    let folders: [(&str, Named); 3] = [
        (
            "ok-llama",
            &[
                ("config.json", LLAMA),
                ("model.safetensors", &llama),
                ("tokenizer.json", TOKENIZER),
                ("tokenizer_config.json", SETTINGS),
                ("generation_config.json", br#"{"eos_token_id": [5, 0]}"#),
                ("special_tokens_map.json", br#"{"unk_token": "<unk>"}"#),
            ],
        ),
        (
            "ok-gpt2",
            &[
                ("config.json", GPT2),
                ("model.safetensors.index.json", INDEX),
                ("model-00001-of-00001.safetensors", &gpt2),
                (
                    "vocab.json",
                    "{\"a\": 0, \"b\": 1, \"ab\": 2, \"Ġ\": 3, \"<|endoftext|>\": 4}".as_bytes(),
                ),
                ("merges.txt", b"#version: 0.2\na b\n"),
                (
                    "chat_template.jinja",
                    b"{{ messages[0].content }}{{ eos_token }}",
                ),
            ],
        ),
        (
            "ok-bert",
            &[
                ("config.json", BERT),
                ("model.safetensors", &bert),
                ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n"),
                (
                    "tokenizer_config.json",
                    br#"{"tokenizer_class": "BertTokenizer", "do_lower_case": true}"#,
                ),
            ],
        ),
    ];
    let packed = folders.map(|(name, files)| (name.to_owned(), packed(files)));
    packed.into_iter().collect()
}
