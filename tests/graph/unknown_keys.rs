//! Keys that nobody knows, or of the wrong form: refused by name, never taken for absent. Keys that
//! are known to be harmless: no matter.

use std::collections::BTreeSet;
use std::fs;

use rillm::LoadError;
use rillm::error::LoadErrorKind;
use rillm::internals::models::{ARCHITECTURES, HARMLESS};
use rillm_formats::manifest::MetadataValue;
use serde_json::{Value as Json, json};

use crate::support::evaluate::{check_all, open, open_bytes};
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::to_gguf::Gguf;

/// A fixture's folder, whose configuration is written anew again and again.
struct Folder {
    fixture: Fixture,
    folder: TempFolder,
}

impl Folder {
    fn of(name: &str) -> Folder {
        let fixture = Fixture::load(name);
        let folder = fixture.folder();
        Folder { fixture, folder }
    }

    /// What opening says with the configuration changed.
    fn with(&self, change: impl Fn(&mut Json)) -> Result<(), LoadError> {
        let mut config = self.fixture.config();
        change(&mut config);
        fs::write(self.folder.join("config.json"), config.to_string()).unwrap();
        open(&self.folder).map(|_| ())
    }

    #[track_caller]
    fn refuses(&self, changes: &Json, key: &str) {
        let label = format!("{}: {changes}", self.fixture.name);
        let outcome = self.with(|config| {
            for (key, value) in changes.as_object().unwrap() {
                config[key] = value.clone();
            }
        });
        let error = outcome.expect_err(&label);
        let kind = error.kind();
        assert_eq!(kind, LoadErrorKind::Hyperparameter, "{label}: {error}");
        assert!(error.to_string().contains(key), "{label}: {error}");
    }
}

#[track_caller]
fn refused(name: &str, changes: &Json, key: &str) {
    Folder::of(name).refuses(changes, key);
}

#[test]
fn what_changes_the_results_and_is_not_understood_is_refused() {
    for (name, changes, key) in [
        (
            "llama",
            json!({"final_logit_softcapping": 30.0}),
            "final_logit_softcapping",
        ),
        (
            "llama",
            json!({"embedding_multiplier": 12.0}),
            "embedding_multiplier",
        ),
        ("llama", json!({"sliding_window": 4}), "sliding_window"),
        // Each token by itself, and not none but the whole text.
        (
            "modernbert",
            json!({"local_attention": 0}),
            "local_attention",
        ),
        (
            "embedding_gemma",
            json!({"sliding_window": 0}),
            "sliding_window",
        ),
        ("gemma2", json!({"sliding_window": 0}), "sliding_window"),
        ("llama", json!({"clip_qkv": 8.0}), "clip_qkv"),
        ("llama", json!({"alibi": true}), "alibi"),
        (
            "switch",
            json!({"router_dtype": "bfloat16"}),
            "router_dtype",
        ),
        (
            "nllb_moe",
            json!({"router_dtype": "float16"}),
            "router_dtype",
        ),
        ("phi3", json!({"is_causal": false}), "is_causal"),
        (
            "llama",
            json!({"per_layer_config": {"1": {"head_dim": 4}}}),
            "per_layer_config",
        ),
        ("llama", json!({"pruned_heads": {"0": [1]}}), "pruned_heads"),
        (
            "llama",
            json!({"attn_temperature_tuning": 4}),
            "attn_temperature_tuning",
        ),
        ("llama", json!({"attention_bias": false}), "attention_bias"),
        ("mamba", json!({"use_conv_bias": false}), "use_conv_bias"),
        ("mamba_bias", json!({"use_bias": false}), "use_bias"),
        (
            "bamba",
            json!({"mamba_conv_bias": false}),
            "mamba_conv_bias",
        ),
        (
            "granite_hybrid_dense",
            json!({"mamba_proj_bias": false}),
            "mamba_proj_bias",
        ),
        (
            "bamba",
            json!({"partial_rotary_factor": 1.0}),
            "partial_rotary_factor",
        ),
        ("llama", json!({"mlp_bias": false}), "mlp_bias"),
        (
            "llama_llama3",
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "alpha": 1000.0}}),
            "alpha",
        ),
        (
            "gemma",
            json!({"use_bidirectional_attention": true}),
            "use_bidirectional_attention",
        ),
        (
            "gemma2",
            json!({"use_bidirectional_attention": true}),
            "use_bidirectional_attention",
        ),
        ("mpt", json!({"logit_scale": 0.5}), "logit_scale"),
        ("mpt", json!({"expansion_ratio": 2}), "expansion_ratio"),
        (
            "phi2_head_norms",
            json!({"qk_layernorm": false}),
            "qk_layernorm",
        ),
        ("phi2", json!({"qk_layernorm": true}), "qk_layernorm"),
        (
            "cohere2",
            json!({"use_parallel_block": false}),
            "use_parallel_block",
        ),
        ("starcoder2", json!({"norm_type": "rms_norm"}), "norm_type"),
        (
            "bert",
            json!({"add_cross_attention": true}),
            "add_cross_attention",
        ),
        ("t5", json!({"is_decoder": true}), "is_decoder"),
        (
            "bart",
            json!({"normalize_before": true}),
            "normalize_before",
        ),
        (
            "mbart",
            json!({"normalize_before": false}),
            "normalize_before",
        ),
        (
            "marian",
            json!({"normalize_embedding": true}),
            "normalize_embedding",
        ),
        (
            "jamba",
            json!({"mamba_inner_layernorms": false}),
            "mamba_inner_layernorms",
        ),
        ("qwen2", json!({"use_mrope": true}), "use_mrope"),
    ] {
        refused(name, &changes, key);
    }
}

/// A part's configuration is saved with what all configurations have.
#[test]
fn what_any_configuration_has_is_no_matter_in_a_part_of_one() {
    let folder = Folder::of("dbrx");
    let opened = folder.with(|config| {
        for part in ["attn_config", "ffn_config"] {
            for (key, value) in [
                ("id2label", json!({"0": "LABEL_0", "1": "LABEL_1"})),
                ("label2id", json!({"LABEL_0": 0, "LABEL_1": 1})),
                ("output_attentions", json!(false)),
                ("chunk_size_feed_forward", json!(0)),
            ] {
                config[part][key] = value;
            }
        }
    });
    opened.expect("a model");
}

/// What is stored and asked for by nothing, the reference leaves out: it is off where no flag says
/// otherwise.
#[test]
fn flags_that_say_nothing_are_off() {
    for (name, key) in [
        ("llama", "attention_bias"),
        ("llama", "mlp_bias"),
        ("qwen3_moe", "attention_bias"),
        ("bamba", "mlp_bias"),
        ("cohere_head_norms", "use_qk_norm"),
        ("phi2_head_norms", "qk_layernorm"),
        ("mamba_bias", "use_bias"),
        ("apertus_bias", "attention_bias"),
        ("ernie4_5_bias", "use_bias"),
        ("ernie4_5_moe_bias", "use_bias"),
    ] {
        let folder = Folder::of(name);
        folder.refuses(&json!({key: null}), key);
        let outcome = folder.with(|config| {
            config.as_object_mut().expect("an object").remove(key);
        });
        let error = outcome.expect_err(name).to_string();
        assert!(error.contains(key), "{name}: {error}");
    }
}

/// What the reference's class does not read is not applied.
#[test]
fn keys_of_other_classes_are_not_applied() {
    let flat = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 1000.0});
    let flat = json!({"rope_scaling": null, "rope_parameters": flat});
    let part = json!({"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5});
    for (name, changes, key) in [
        ("gemma3", flat.clone(), "rope_parameters"),
        ("gemma3n", flat.clone(), "rope_parameters"),
        ("modernbert", flat.clone(), "rope_parameters"),
        ("olmo3", flat, "rope_parameters"),
        (
            "falcon",
            json!({"rope_parameters": part}),
            "partial_rotary_factor",
        ),
        ("mpt", json!({"attn_config": {"alibi": false}}), "alibi"),
        ("led", json!({"scale_embedding": true}), "scale_embedding"),
    ] {
        refused(name, &changes, key);
    }
    for name in [
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "cohere",
        "cohere2",
        "starcoder2",
    ] {
        let key = "partial_rotary_factor";
        refused(name, &json!({key: 0.5}), key);
    }
}

/// GPT-NeoX has a name of its own for RoPE's base, and reads it first.
#[test]
fn of_two_names_the_class_s_own_counts() {
    let fixture = Fixture::load("gpt_neox");
    let mut config = fixture.config();
    config["rope_theta"] = json!(77.0);
    let folder = fixture.folder_of(&config, &fixture.weights());
    check_all(&fixture, &open(&folder).expect("a model"));
}

/// A class whose head is not read is refused by its name.
#[test]
fn classes_with_other_heads_are_refused() {
    for (name, class) in [
        ("gpt2", "GPT2DoubleHeadsModel"),
        ("llama", "LlamaForMultipleChoice"),
    ] {
        refused(name, &json!({"architectures": [class]}), class);
    }
}

#[test]
fn a_scaling_says_what_it_needs() {
    let scaling = |entries: Json| json!({"rope_scaling": entries});
    for (name, entries, key) in [
        (
            "llama",
            json!({"rope_type": "linear"}),
            "rope_scaling.factor",
        ),
        ("llama", json!({"type": "dynamic"}), "rope_scaling.factor"),
        ("llama", json!({"rope_type": "yarn"}), "rope_scaling.factor"),
        (
            "llama",
            json!({"rope_type": "linear", "factor": null}),
            "rope_scaling.factor",
        ),
        (
            "llama",
            json!({"rope_type": "linear", "factor": "2"}),
            "rope_scaling.factor",
        ),
        (
            "llama",
            json!({"rope_type": "linear", "factor": [2]}),
            "rope_scaling.factor",
        ),
        (
            "llama",
            json!({"rope_type": "linear", "factor": true}),
            "rope_scaling.factor",
        ),
        (
            "llama",
            json!({"rope_type": "linear", "factor": -2}),
            "rope_scaling.factor",
        ),
        (
            "llama",
            json!({"rope_type": "linear", "factor": {}}),
            "rope_scaling.factor",
        ),
        ("llama", json!({"factor": 2.0}), "rope_scaling.rope_type"),
        (
            "llama",
            json!({"rope_type": 3, "factor": 2.0}),
            "rope_scaling.rope_type",
        ),
        (
            "llama",
            json!({"rope_type": "proportional", "factor": 2.0}),
            "rope_scaling.rope_type",
        ),
        (
            "llama",
            json!({"rope_type": "longrope", "factor": 2.0}),
            "rope_scaling.rope_type",
        ),
        (
            "llama",
            json!({"rope_type": "llama3", "factor": 2.0, "high_freq_factor": 4.0}),
            "rope_scaling.low_freq_factor",
        ),
        (
            "llama",
            json!({"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4.0}),
            "rope_scaling.high_freq_factor",
        ),
        ("llama", json!("yarn"), "rope_scaling"),
        ("llama", json!(["yarn"]), "rope_scaling"),
        ("llama", json!(4), "rope_scaling"),
        (
            "llama",
            json!({"full_attention": {"rope_type": "default"}}),
            "rope_scaling.full_attention",
        ),
    ] {
        refused(name, &scaling(entries), key);
    }
}

#[test]
fn rotations_by_layer_type() {
    let parameters = |full: Json, sliding: Json| json!({"rope_theta": null, "rope_parameters": {"full_attention": full, "sliding_attention": sliding}});
    let (one, other) = (json!({"rope_theta": 1e4}), json!({"rope_theta": 1e3}));
    // Where all layers rotate alike, there is one rotation however often it is said.
    refused(
        "llama",
        &parameters(one.clone(), other.clone()),
        "sliding_attention",
    );
    let folder = Folder::of("llama");
    let same = parameters(one.clone(), one.clone());
    let outcome = folder.with(|config| {
        config.as_object_mut().unwrap().remove("rope_theta");
        config["rope_parameters"] = same["rope_parameters"].clone();
    });
    outcome.unwrap();
    for (name, entries, key) in [
        (
            "olmo3",
            json!({"rope_theta": 1e4, "rope_type": "yarn"}),
            "sliding_attention.factor",
        ),
        (
            "olmo3",
            json!({"rope_theta": -1.0}),
            "sliding_attention.rope_theta",
        ),
        (
            "olmo3",
            json!({"rope_theta": "1"}),
            "sliding_attention.rope_theta",
        ),
        (
            "olmo3",
            json!("default"),
            "rope_parameters.sliding_attention",
        ),
    ] {
        let changes = json!({"rope_scaling": null, "rope_parameters": {"full_attention": one, "sliding_attention": entries}});
        refused(name, &changes, key);
    }
    let changes = json!({"rope_parameters": {"chunked_attention": other}});
    refused("llama", &changes, "chunked_attention");
}

/// Whatever key a table has: an object, or a list of lists, is no value.
#[test]
fn no_key_takes_an_object_or_lists_of_lists() {
    let mut seen = BTreeSet::new();
    for name in Fixture::all() {
        let folder = Folder::of(&name);
        let config = folder.fixture.config();
        let known = ARCHITECTURES.iter().find(|it| {
            let model_type = config["model_type"].as_str();
            model_type.is_some_and(|model_type| it.hugging_face.contains(&model_type))
        });
        let Some(known) = known else {
            continue;
        };
        for (_, key) in known.keys.iter().copied().flatten() {
            // Each once for all models of a type, which read it alike.
            let model_type = config["model_type"].to_string();
            if config.get(*key).is_none() || !seen.insert((model_type, key)) {
                continue;
            }
            for value in [json!({}), json!([[]]), json!({"a": 1}), json!([null])] {
                folder.refuses(&json!({*key: value}), key);
            }
        }
    }
}

#[test]
fn values_of_another_type_are_refused() {
    for (name, key, values) in [
        (
            "llama",
            "rms_norm_eps",
            json!(["1e-5", true, null, -1e-5, [1e-5]]),
        ),
        ("llama", "rope_theta", json!(["1e4", true, null, 0, -1])),
        ("llama", "hidden_act", json!([7, true, ["silu"]])),
        (
            "llama",
            "num_attention_heads",
            json!(["6", 6.0, 6.5, -6, 0, true, [6]]),
        ),
        ("llama", "head_dim", json!(["10", 10.5, -10, 0, false])),
        (
            "llama",
            "tie_word_embeddings",
            json!(["false", 0, 1, [false]]),
        ),
        (
            "llama",
            "architectures",
            json!(["LlamaForCausalLM", 5, [5], true]),
        ),
        (
            "llama",
            "attention_bias",
            json!(["true", 1, [[]], {}, [null]]),
        ),
        ("llama", "use_sliding_window", json!([{}, [null]])),
        (
            "bert",
            "vocab_size",
            json!(["x", 1.5, [99], {}, {"a": 1}, [null]]),
        ),
        ("bert", "type_vocab_size", json!(["x", {}, true])),
        (
            "roberta",
            "max_position_embeddings",
            json!(["x", {}, [null]]),
        ),
        ("mamba", "use_conv_bias", json!([{}, [null], 1])),
        ("bert", "layer_norm_eps", json!(["1e-5", -1e-5, null])),
        ("bert", "architectures", json!(["BertForMaskedLM"])),
        (
            "gemma2",
            "attn_logit_softcapping",
            json!(["50", true, -1.0, 0]),
        ),
        ("gemma2", "sliding_window", json!(["6", 6.5, -6])),
        (
            "smollm3",
            "no_rope_layers",
            json!([5, "x", [1, 1], [1, 2, 1, 1, 0]]),
        ),
        ("qwen3_next", "mlp_only_layers", json!([5, ["x"], [-1]])),
        ("qwen2", "use_sliding_window", json!([1, "true"])),
        ("mamba", "time_step_rank", json!(["automatic", 2.5, true])),
        ("t5", "decoder_start_token_id", json!(["0", -1, 0.5, true])),
        ("falcon", "multi_query", json!([1, "yes"])),
        ("granite", "logits_scaling", json!(["8", 0.0, true])),
        ("llama_linear", "rope_scaling", json!([[null], [[]], 5])),
        ("gemma4", "rope_parameters", json!([[null], [[]], "x"])),
    ] {
        for value in values.as_array().unwrap() {
            refused(name, &json!({key: value}), key);
        }
    }
}

/// What all configurations carry along.
#[test]
fn what_is_harmless_does_not_matter() {
    let values = [
        json!(7),
        json!(0.5),
        json!("x"),
        json!([1, 2]),
        json!({"a": {"b": null}}),
    ];
    for name in [
        "llama",
        "gpt2",
        "t5",
        "mamba",
        "bert",
        "qwen3_next",
        "rwkv4",
    ] {
        let folder = Folder::of(name);
        let model_type = folder.fixture.config()["model_type"]
            .as_str()
            .unwrap()
            .to_string();
        let known = ARCHITECTURES
            .iter()
            .find(|it| it.hugging_face.contains(&model_type.as_str()))
            .unwrap();
        let read = |key: &str| {
            known
                .keys
                .iter()
                .copied()
                .flatten()
                .any(|(_, it)| *it == key)
        };
        let special = [
            "architectures",
            "attention_bias",
            "bias",
            "mamba_conv_bias",
            "mamba_proj_bias",
            // Counts, which must be numbers.
            "max_position_embeddings",
            "mlp_bias",
            "model_type",
            "qk_layernorm",
            "tie_word_embeddings",
            "type_vocab_size",
            "use_bias",
            "use_conv_bias",
            "use_qk_norm",
            "use_qkv_bias",
            "vocab_size",
        ];
        let outcome = folder.with(|config| {
            let keys = HARMLESS
                .iter()
                .filter(|key| !read(key) && !special.contains(key));
            for (key, value) in keys.zip(values.iter().cycle()) {
                if !key.contains('.') {
                    config[*key] = value.clone();
                }
            }
            config["_private"] = json!("x");
            config["attention_unheard_of"] = json!(null);
            config["rope_interleaved"] = json!(false);
            config["is_llama_config"] = json!(true);
            config["training_run"] = json!("7b");
            config["use_sliding_window"] = json!(false);
            config["output_hidden_states"] = json!(true);
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// A count of layers, heads or experts that no tensor bears out ends before anything is reserved.
#[test]
fn counts_are_held_against_the_tensors() {
    for name in Fixture::all() {
        let folder = Folder::of(&name);
        let config = folder.fixture.config();
        for key in [
            "num_hidden_layers",
            "n_layer",
            "n_layers",
            "num_layers",
            "num_decoder_layers",
            "decoder_layers",
            "depth",
        ] {
            // An encoder alone has no decoder whose layers could be counted.
            let alone =
                matches!(&*name, "t5_encoder" | "t5_heads_token") && key == "num_decoder_layers";
            // Where the encoder's layers are counted, this count is not read.
            let unread = key == "num_hidden_layers" && config.get("encoder_layers").is_some();
            if alone || unread || config.get(key).is_none_or(|value| !value.is_u64()) {
                continue;
            }
            // Of layers that share their weights there may be many.
            let few = match config.get("num_hidden_groups") {
                Some(_) => 1 << 12,
                None => 100,
            };
            for value in [u32::MAX, 1 << 31, 1 << 20, few] {
                let outcome = folder.with(|config| {
                    config[key] = json!(value);
                    for list in ["layer_types", "no_rope_layers", "attn_layer_indices"] {
                        config.as_object_mut().unwrap().remove(list);
                    }
                });
                let error = outcome.expect_err(&name).to_string();
                assert!(error.contains(key), "{name}: {error}");
            }
        }
        let mut gguf = Gguf::of(&folder.fixture);
        let layers = gguf.key("block_count");
        gguf.metadata.0.insert(layers, MetadataValue::U32(u32::MAX));
        let error = open_bytes(gguf.bytes()).map(|_| ()).expect_err(&name);
        assert!(error.to_string().contains("block_count"), "{name}: {error}");
    }
}

#[test]
fn a_count_may_be_listed_for_each_layer() {
    let folder = Folder::of("llama");
    for key in [
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
    ] {
        let count = folder.fixture.config()[key].clone();
        let listed = folder.with(|config| config[key] = json!([count, count]));
        listed.unwrap_or_else(|error| panic!("{key}: {error}"));
        for wrong in [
            json!([count]),
            json!([count, 1]),
            json!([]),
            json!([count, "x"]),
        ] {
            refused("llama", &json!({key: wrong}), key);
        }
    }
}

/// Keys that readers of GGUF know and no graph has asked for.
#[test]
fn keys_of_gguf_that_change_the_results_are_refused() {
    let fixture = Fixture::load("llama");
    for (key, value) in [
        ("final_logit_softcapping", MetadataValue::F32(30.0)),
        ("attn_logit_softcapping", MetadataValue::F32(50.0)),
        ("embedding_scale", MetadataValue::F32(12.0)),
        ("attention.clamp_kqv", MetadataValue::F32(8.0)),
        ("attention.scale", MetadataValue::F32(0.25)),
        ("attention.max_alibi_bias", MetadataValue::F32(8.0)),
        ("expert_gating_func", MetadataValue::U32(2)),
        ("expert_shared_count", MetadataValue::U32(1)),
        ("rope.scaling.alpha", MetadataValue::F32(1000.0)),
        ("swin_norm", MetadataValue::Bool(true)),
        ("nobody_knows", MetadataValue::String("this".into())),
    ] {
        let mut gguf = Gguf::of(&fixture);
        let full = gguf.key(key);
        gguf.metadata.0.insert(full, value);
        let error = open_bytes(gguf.bytes()).map(|_| ()).expect_err(key);
        assert!(error.to_string().contains(key), "{error}");
    }
    for (key, value) in [
        ("vocab_size", MetadataValue::U32(101)),
        (
            "tensor_data_layout",
            MetadataValue::String("Meta AI original pth".into()),
        ),
        ("final_logit_softcapping", MetadataValue::F32(0.0)),
        ("expert_count", MetadataValue::U32(0)),
        ("swin_norm", MetadataValue::Bool(false)),
    ] {
        let mut gguf = Gguf::of(&fixture);
        let full = gguf.key(key);
        gguf.metadata.0.insert(full, value);
        open_bytes(gguf.bytes()).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

/// Keys of published configurations that no class of transformers reads, and fixtures made by it lack.
#[test]
fn published_configurations_open() {
    for (name, changes) in [
        ("apertus", json!({"post_norm": false, "qk_norm": true})),
        (
            "blenderbot",
            json!({"do_blenderbot_90_layernorm": true, "layernorm_variant": "prelayernorm"}),
        ),
        (
            "ernie4_5_moe",
            json!({"num_nextn_predict_layers": 1, "use_rmsnorm": true}),
        ),
        ("eurobert", json!({"mask_token": "<|mask|>"})),
        (
            "hunyuan",
            json!({"mask_init_id": 12, "org_vocab_size": 90, "vit_norm_type": "fused"}),
        ),
        (
            "hunyuan_moe",
            json!({
                "anyres_pooling_size": 2, "mask_init_id": 12, "n_group": false,
                "routed_scaling_factor": false, "topk_group": false, "vit_norm_type": "fused",
            }),
        ),
        (
            "minimax_m2",
            json!({"layernorm_mlp_beta": 1.0, "mlp_intermediate_size": 8192, "shared_moe_mode": "sigmoid"}),
        ),
        // Its first folders say MiniMax-01.
        ("minimax_m2", json!({"model_type": "minimax"})),
        ("minimax_published", json!({"model_type": "minimax_m1"})),
        ("nemotron_h", json!({"num_query_groups": 8})),
        ("nllb_moe", json!({"router_type": "tokens_masked"})),
        (
            "qwen3_moe",
            json!({"qkv_bias": false, "shared_expert_intermediate_size": 0, "use_qk_norm": true}),
        ),
        ("umt5", json!({"scalable_attention": true})),
    ] {
        let folder = Folder::of(name);
        let opened = folder.with(|config| {
            for (key, value) in changes.as_object().unwrap() {
                config[key] = value.clone();
            }
        });
        opened.unwrap_or_else(|error| panic!("{name}: {changes}: {error}"));
    }
    refused("apertus", &json!({"qk_norm": false}), "qk_norm");
    refused("apertus", &json!({"post_norm": true}), "post_norm");
    refused(
        "minimax_m2",
        &json!({"layernorm_mlp_beta": 2.0}),
        "layernorm_mlp_beta",
    );
    for (key, value) in [
        ("attn_type_list", json!([0, 1])),
        ("attn_type_list", json!([0, 2, 0])),
        ("postnorm", json!(false)),
        ("shared_intermediate_size", json!(8)),
    ] {
        refused("minimax_published", &json!({key: value}), key);
    }
    let kinds = ["full_attention", "linear_attention", "full_attention"];
    let other = json!({"layer_types": kinds});
    refused("minimax_published", &other, "attn_type_list");
    // transformers' class turns whole heads.
    refused("minimax", &json!({"rotary_dim": 6}), "rotary_dim");
    let half = json!({"partial_rotary_factor": 0.5});
    refused("minimax", &half, "partial_rotary_factor");
}
