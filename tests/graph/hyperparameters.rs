//! Hyperparameters that cannot be true together: an error that names the key.

use std::fs;

use rillm::error::LoadErrorKind;
use rillm_formats::manifest::{DType, Shape};
use rillm_formats::safetensors::write::{TensorSpec, header};
use serde_json::{Value as Json, json};

use crate::support::evaluate::open;
use crate::support::fixture::Fixture;

#[test]
fn inconsistent_hyperparameters_are_named() {
    let cases: &[(&str, &str, Json)] = &[
        // Heads that do not divide.
        ("gpt2", "n_head", json!(4)),
        ("bert", "num_attention_heads", json!(2)),
        ("linear_transformer", "num_heads", json!(5)),
        ("llama_tied", "num_attention_heads", json!(9)),
        ("llama", "num_key_value_heads", json!(4)),
        ("mixtral", "num_key_value_heads", json!(5)),
        // Rotation wants pairs.
        ("llama", "head_dim", json!(9)),
        // Two bases, of which transformers 4 reads one and transformers 5 the other.
        ("dbrx", "rope_parameters", json!({"rope_theta": 10000.0})),
        // The class would scale.
        ("gpt_oss", "rope_scaling", json!(null)),
        // More experts chosen than there are.
        ("mixtral", "num_experts_per_tok", json!(6)),
        // Latent attention has no groups of heads; the authors' code and transformers' differ, or
        // it is not known what is meant.
        ("deepseek_v2", "num_key_value_heads", json!(2)),
        ("deepseek_v2", "partial_rotary_factor", json!(0.5)),
        ("deepseek_v2", "norm_topk_prob", json!(true)),
        ("deepseek_v2", "topk_method", json!("noaux_tc")),
        ("deepseek_v2", "topk_group", json!(5)),
        ("deepseek_v2", "topk_group", json!(0)),
        ("deepseek_v3", "n_group", json!(3)),
        ("deepseek_v3", "routed_scaling_factor", json!(null)),
        ("deepseek_kimi", "scoring_func", json!("cubic")),
        ("deepseek_kimi", "topk_method", json!("greedy")),
        (
            "deepseek_glm",
            "mlp_layer_types",
            json!(["sparse", "dense", "sparse"]),
        ),
        ("gpt_oss", "hidden_act", json!("gelu")),
        ("gpt_oss", "swiglu_limit", json!(-1.0)),
        // Buckets in two halves, and room between near and far.
        ("t5", "relative_attention_num_buckets", json!(7)),
        ("t5", "relative_attention_num_buckets", json!(2)),
        ("t5", "relative_attention_max_distance", json!(1)),
        (
            "t5",
            "relative_attention_max_distance",
            json!(4_000_000_000u32),
        ),
        ("t5", "decoder_start_token_id", json!(100_000)),
        ("t5", "feed_forward_proj", json!("cubic")),
        ("bart", "decoder_attention_heads", json!(4)),
        ("bart", "decoder_start_token_id", json!(61)),
        ("bart", "is_decoder", json!(true)),
        ("bart", "architectures", json!(["BartForCausalLM"])),
        ("marian", "architectures", json!(["MarianForCausalLM"])),
        // Functions and forms that do not run.
        ("gpt2", "activation_function", json!("cubic")),
        ("llama", "hidden_act", json!("cubic")),
        ("llama", "hidden_act", json!("prelu")),
        ("bert", "hidden_act", json!("xielu")),
        ("t5", "feed_forward_proj", json!("gated-prelu")),
        ("t5", "feed_forward_proj", json!("silu-gated")),
        ("mamba", "hidden_act", json!("relu")),
        ("bert", "position_embedding_type", json!("relative_key")),
        ("bert", "is_decoder", json!(true)),
        ("bert", "architectures", json!(["BertLMHeadModel"])),
        ("roberta", "pad_token_id", json!(39)),
        ("decoder_sequence", "pad_token_id", json!("2")),
        ("decoder_sequence", "pad_token_id", json!([2])),
        ("decoder_sequence", "pad_token_id", json!(1.5)),
        (
            "modernbert",
            "rope_scaling",
            json!({"rope_type": "linear", "factor": 2.0}),
        ),
        ("modernbert_mean", "classifier_pooling", json!("max")),
        (
            "modernbert",
            "architectures",
            json!(["ModernBertForCausalLM"]),
        ),
        ("nomic_bert", "hidden_act", json!("cubic")),
        ("eurobert_late", "classifier_pooling", json!("max")),
        (
            "embedding_gemma",
            "architectures",
            json!(["Gemma3ForMultipleChoice"]),
        ),
        ("linear_transformer", "feature_map", json!("relu")),
        // Sliding-window layers: letters that do not end with the last layer, or in another order,
        // and a null where not every layer is listed as global.
        ("exaone4_letters", "sliding_window_pattern", json!("LLLG")),
        ("exaone4_letters", "sliding_window_pattern", json!("GLL")),
        ("exaone4_pattern", "sliding_window", json!(null)),
        (
            "exaone4",
            "layer_types",
            json!(["sliding_attention", "full_attention"]),
        ),
        // Numbers that are none.
        ("llama", "rope_theta", json!(0)),
        ("llama", "rope_theta", json!(-10000.0)),
        ("llama", "rms_norm_eps", json!(1e308)),
        ("llama", "num_hidden_layers", json!(0)),
        ("llama", "hidden_size", json!(-36)),
        ("llama", "intermediate_size", json!("50")),
        ("llama", "max_position_embeddings", json!(1u64 << 32)),
        ("mamba", "state_size", json!(2.5)),
        ("mamba", "conv_kernel", json!([4])),
    ];
    for (name, key, value) in cases {
        let fixture = Fixture::load(name);
        let folder = fixture.folder();
        let mut config = fixture.config();
        config[*key] = value.clone();
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let label = format!("{name}: {key} = {value}");
        let error = match open(&folder) {
            Ok(_) => panic!("{label} opens"),
            Err(error) => error,
        };
        assert_eq!(
            error.kind(),
            LoadErrorKind::Hyperparameter,
            "{label}: {error}"
        );
        // Two facts that contradict each other may be named by either.
        let either = match *key {
            "relative_attention_max_distance" => "relative_attention_",
            key => key,
        };
        assert!(error.to_string().contains(either), "{label}: {error}");
    }
}

#[test]
fn a_missing_hyperparameter_is_named() {
    for (name, keys) in [
        ("gpt2", &["n_embd", "n_layer", "n_head"][..]),
        (
            "llama",
            &[
                "hidden_size",
                "num_hidden_layers",
                "intermediate_size",
                "num_attention_heads",
                "max_position_embeddings",
            ],
        ),
        ("mixtral", &["num_experts_per_tok"]),
        (
            "bert",
            &[
                "hidden_size",
                "num_hidden_layers",
                "intermediate_size",
                "num_attention_heads",
            ],
        ),
        (
            "t5",
            &["d_model", "num_layers", "d_ff", "d_kv", "num_heads"],
        ),
        (
            "mamba",
            &[
                "hidden_size",
                "num_hidden_layers",
                "intermediate_size",
                "state_size",
                "conv_kernel",
                "time_step_rank",
            ],
        ),
        (
            "linear_transformer",
            &[
                "hidden_size",
                "num_layers",
                "intermediate_size",
                "num_heads",
            ],
        ),
    ] {
        let fixture = Fixture::load(name);
        let folder = fixture.folder();
        for key in keys {
            let mut config = fixture.config();
            config.as_object_mut().unwrap().remove(*key).expect(key);
            fs::write(folder.join("config.json"), config.to_string()).unwrap();
            let error = open(&folder).map(|_| ()).unwrap_err();
            assert_eq!(
                error.kind(),
                LoadErrorKind::Hyperparameter,
                "{name}: {error}"
            );
            assert!(
                error.to_string().contains(&format!("{key} is missing")),
                "{name}: {error}"
            );
        }
    }
}

/// Safetensors may hold tensors without elements: no model has one.
#[test]
fn tensors_without_elements_are_named() {
    let fixture = Fixture::load("llama_tied");
    let folder = fixture.folder();
    for empty in [
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.1.mlp.up_proj.weight",
    ] {
        for axis in [0, 1] {
            let weights = fixture.weights();
            let shape_of = |name: &str, shape: &[u64]| {
                let mut shape = shape.to_vec();
                if name == empty {
                    let last = shape.len() - 1;
                    shape[axis.min(last)] = 0;
                }
                Shape(shape)
            };
            let specs: Vec<TensorSpec> = weights
                .iter()
                .map(|weight| TensorSpec {
                    name: weight.name.clone(),
                    dtype: DType::F32,
                    shape: shape_of(&weight.name, &weight.shape),
                })
                .collect();
            let mut bytes = header(&specs).unwrap();
            let kept = weights.iter().filter(|weight| weight.name != empty);
            bytes.extend(kept.flat_map(|w| &w.values).flat_map(|v| v.to_le_bytes()));
            fs::write(folder.join("model.safetensors"), bytes).unwrap();
            let error = open(&folder).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(empty), "{error}");
        }
    }
}

#[test]
fn a_missing_tensor_has_the_checkpoint_s_own_name() {
    for (name, key, says) in [
        ("gpt2", "n_layer", "transformer.h.9.ln_1.weight"),
        (
            "llama",
            "num_hidden_layers",
            "model.layers.9.input_layernorm.weight",
        ),
        (
            "bert_question",
            "num_hidden_layers",
            "bert.encoder.layer.9.",
        ),
    ] {
        let fixture = Fixture::load(name);
        let folder = fixture.folder();
        let mut config = fixture.config();
        let layers = config[key].as_u64().unwrap();
        config[key] = json!(layers + 1);
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let error = open(&folder).expect_err("a layer too many").to_string();
        let says = says.replace('9', &layers.to_string());
        assert!(error.contains(&says), "{name}: {error}");
    }
}
