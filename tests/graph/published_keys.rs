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
        ("fla-hub/gla-1.3B-100B", "gla", json!({"conv_size": 4})),
        (
            "fla-hub/retnet-1.3B-100B",
            "retnet_fla",
            json!({"conv_size": 4}),
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
    ] {
        runs(publisher, name, |config| {
            for (key, value) in beside.as_object().expect("an object") {
                config[key] = value.clone();
            }
        });
    }
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
