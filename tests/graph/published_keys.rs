//! What published configurations say beside what is read: those of the models named run.

use serde_json::{Value as Json, json};

use crate::support::evaluate::{check_all, open};
use crate::support::fixture::Fixture;

#[test]
fn what_publishers_write_beside_does_not_matter() {
    for (publisher, name, beside) in [
        (
            "state-spaces/mamba-130m-hf",
            "mamba",
            json!({
                "d_inner": 1536,
                "fused_add_norm": true,
                "pad_vocab_size_multiple": 8,
                "rms_norm": true,
                "ssm_cfg": {}
            }),
        ),
        (
            "microsoft/Phi-4-mini-instruct",
            "phi3",
            json!({"full_attn_mod": 1, "interpolate_factor": 1, "lm_head_bias": false}),
        ),
        (
            "google/gemma-2-9b",
            "gemma2",
            json!({"cache_implementation": "hybrid", "sliding_window_size": 4096}),
        ),
        (
            "EleutherAI/polyglot-ko-5.8b",
            "gpt_neox",
            json!({"num_steps": "global_step320000"}),
        ),
        (
            "cointegrated/rubert-tiny2",
            "bert",
            json!({"emb_size": 312}),
        ),
        (
            "Qwen/Qwen2.5-7B-Instruct-1M",
            "qwen2",
            json!({"dual_chunk_attention_config": {
                "chunk_size": 262_144,
                "local_size": 8192,
                "original_max_position_embeddings": 262_144
            }}),
        ),
        (
            "deepseek-ai/DeepSeek-V2-Lite",
            "deepseek_v2_lite",
            json!({
                "aux_loss_alpha": 0.001,
                "ep_size": 1,
                "moe_layer_freq": 1,
                "pretraining_tp": 1,
                "scoring_func": "softmax",
                "seq_aux": true
            }),
        ),
        (
            "deepseek-ai/DeepSeek-R1",
            "deepseek_v3",
            json!({
                "ep_size": 1,
                "moe_layer_freq": 1,
                "num_nextn_predict_layers": 1,
                "scoring_func": "sigmoid",
                "topk_method": "noaux_tc"
            }),
        ),
        (
            "deepseek-ai/deepseek-moe-16b-base",
            "deepseek_moe",
            json!({
                "aux_loss_alpha": 0.001,
                "pretraining_tp": 1,
                "seq_aux": true
            }),
        ),
        (
            "zai-org/GLM-4.7-Flash",
            "deepseek_glm",
            json!({
                "first_k_dense_replace": 1,
                "num_nextn_predict_layers": 1,
                "partial_rotary_factor": 1.0,
                "topk_method": "noaux_tc"
            }),
        ),
        (
            "fla-hub/gla-1.3B-100B",
            "gla",
            json!({
                "conv_size": 4,
                "rms_norm_eps": 1e-6,
                "share_conv_kernel": true,
                "use_short_conv": false
            }),
        ),
        (
            "fla-hub/retnet-1.3B-100B",
            "retnet_fla",
            json!({"conv_size": 4, "share_conv_kernel": true, "use_short_conv": false}),
        ),
        (
            "fla-hub/rwkv7-1.5B-world",
            "rwkv7_fla",
            json!({"num_heads": 2, "value_dim": [128, 128]}),
        ),
        (
            "RWKV/v6-Finch-1B6-HF",
            "rwkv6_halved",
            json!({"num_attention_heads": 4}),
        ),
        (
            "bigcode/starcoder2-7b",
            "starcoder2",
            json!({
                "activation_function": "gelu",
                "attention_softmax_in_fp32": true,
                "scale_attention_softmax_in_fp32": true,
                "scale_attn_weights": true
            }),
        ),
        (
            "tiiuae/falcon-11B",
            "falcon_groups",
            json!({"ff_factor": 4, "num_ln_in_parallel_attn": 1}),
        ),
        (
            "tiiuae/Falcon3-7B-Instruct",
            "llama",
            json!({"activation": "swiglu"}),
        ),
        (
            "cross-encoder/ms-marco-MiniLM-L6-v2",
            "bert_sequence",
            json!({
                "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
                "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}
            }),
        ),
        (
            "zhihan1996/DNA_bert_6",
            "bert",
            json!({
                "num_rnn_layer": 1,
                "rnn": "lstm",
                "rnn_dropout": 0.0,
                "rnn_hidden": 768,
                "split": 10
            }),
        ),
        (
            "AI-Sweden-Models/gpt-sw3-126m",
            "gpt2",
            json!({"apply_query_key_layer_scaling": true, "normalize_attention_scores": true}),
        ),
        (
            "databricks/dolly-v2-3b",
            "gpt_neox",
            json!({"attention_softmax_in_fp32": true}),
        ),
        (
            "AntonV/mamba2-780m-av",
            "mamba2",
            json!({"tie_embedding_weights": true, "use_triton_kernels": true}),
        ),
        (
            "microsoft/phi-1_5",
            "phi2",
            json!({"flash_attn": true, "flash_rotary": true, "fused_dense": true}),
        ),
        (
            "llm-foundry",
            "mpt",
            json!({"ffn_config": {"fc_type": "torch", "ffn_type": "mptmlp"},
            "norm_eps": 1e-5, "use_pad_tok_in_ffn": true, "attn_config.": {
                "fused_qkv": true,
                "kv_n_heads": 6,
                "rope": false,
                "rope_dail_config": {"pos_idx_in_fp32": true, "type": "original"},
                "rope_hf_config": {"factor": 1.0, "type": "no_scaling"},
                "rope_impl": "dail",
                "rope_theta": 10_000,
                "sliding_window_size": -1
            }}),
        ),
    ] {
        runs(publisher, name, |config| {
            for (key, value) in beside.as_object().expect("an object") {
                match (key.strip_suffix('.'), value.as_object()) {
                    (Some(object), Some(entries)) => {
                        let object = config[object].as_object_mut().expect("an object");
                        object.extend(entries.clone());
                    }
                    _ => config[key] = value.clone(),
                }
            }
        });
    }
}

/// What is read, once more under the name that another family has for it: nothing new as long as
/// both say the same.
#[test]
fn what_is_said_twice_does_not_matter() {
    for (publisher, name, read, other) in [
        (
            "state-spaces/mamba-130m-hf",
            "mamba",
            "intermediate_size",
            "d_inner",
        ),
        (
            "state-spaces/mamba-130m-hf",
            "mamba",
            "hidden_size",
            "d_model",
        ),
        (
            "google/gemma-2-9b",
            "gemma2",
            "sliding_window",
            "sliding_window_size",
        ),
        (
            "bigcode/starcoder2-7b",
            "starcoder2",
            "norm_epsilon",
            "layer_norm_epsilon",
        ),
        ("fla-hub/gla-2.7B-100B", "gla", "norm_eps", "rms_norm_eps"),
        (
            "google/muril-base-cased",
            "bert",
            "hidden_size",
            "embedding_size",
        ),
        ("Meta's names", "llama", "num_key_value_heads", "n_kv_heads"),
        ("Meta's names", "llama", "rms_norm_eps", "norm_eps"),
        ("GPT-2's names", "phi2", "num_hidden_layers", "n_layer"),
        ("GPT-2's names", "phi2", "hidden_act", "activation_function"),
        ("LLaMA's names", "t5", "d_ff", "intermediate_size"),
    ] {
        runs(publisher, name, |config| {
            config[other] = config[read].clone();
        });
    }
    let fixture = Fixture::load("llama");
    let mut config = fixture.config();
    config["n_kv_heads"] = json!(3);
    let folder = fixture.folder_with(&config, Vec::new());
    let error = open(&folder).expect_err("another count of heads");
    assert!(error.to_string().contains("n_kv_heads is 3"), "{error}");
}

/// Counts of experts under the name that the other family gives them, as transformers reads them.
#[test]
fn experts_are_counted_under_either_name() {
    for (name, key, other) in [
        ("mixtral", "num_local_experts", "num_experts"),
        ("jamba", "num_experts", "num_local_experts"),
    ] {
        runs(other, name, |config| {
            config[other] = config[key].take();
            config.as_object_mut().expect("an object").remove(key);
        });
    }
}

/// Of two objects that say how positions turn, transformers reads the one of the earlier name.
#[test]
fn a_second_rotation_is_not_read() {
    for name in [
        "llama_linear",
        "llama_dynamic",
        "llama_llama3",
        "llama_yarn",
        "llama_yarn_mscale",
        "arcee_yarn",
        "phi3_longrope",
    ] {
        for second in [
            json!({"rope_type": "default", "rope_theta": 77.0}),
            json!({"rope_type": "linear", "factor": 9.0, "rope_theta": 77.0}),
            json!({"partial_rotary_factor": 0.25}),
            json!({"full_attention": {"rope_type": "default", "rope_theta": 77.0}}),
        ] {
            runs(&second.to_string(), name, |config| {
                assert!(config["rope_scaling"].is_object(), "{name}");
                config["rope_parameters"] = second.clone();
            });
        }
    }
}

/// A fixture's outputs under another configuration.
fn runs(label: &str, name: &str, change: impl Fn(&mut Json)) {
    let fixture = Fixture::load(name);
    let mut config = fixture.config();
    change(&mut config);
    let folder = fixture.folder_with(&config, Vec::new());
    match open(&folder) {
        Ok(model) => check_all(&fixture, &model),
        Err(error) => panic!("{label}: {error}"),
    }
}
