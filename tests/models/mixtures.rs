//! Mixtures of experts that say their counts in other ways: none, or one for each layer.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::support::evaluate::{check_all, open};
use crate::support::fixture::{Fixture, Weight};
use crate::support::folder::TempFolder;
use crate::support::rewrite::{options, run};
use rillm::internals::draft;
use rillm::internals::weights;
use rillm_formats::manifest::MetadataValue;

/// A folder as a GGUF file.
fn converted(from: &Path, files: &TempFolder) -> PathBuf {
    let input = draft(weights::open(from).expect("a folder")).expect("an input");
    let path = files.join("model.gguf");
    run(&input, &options("f32"), &path, 1).expect("a file");
    path
}

/// transformers' classes have feed-forward layers instead, and are those without experts.
#[test]
fn a_class_with_no_experts_is_the_one_without() {
    let files = TempFolder::new("none");
    for (name, class, model_type, beside) in [
        (
            "qwen2",
            "Qwen2MoeForCausalLM",
            "qwen2_moe",
            json!({"layer_types": ["full_attention", "full_attention", "sliding_attention"]}),
        ),
        (
            "qwen3",
            "Qwen3MoeForCausalLM",
            "qwen3_moe",
            json!({"num_local_experts": 0}),
        ),
    ] {
        let fixture = Fixture::load(name);
        let mut config = fixture.config();
        config["architectures"] = json!([class]);
        config["model_type"] = json!(model_type);
        config["num_experts"] = json!(0);
        config["num_experts_per_tok"] = json!(8);
        config["moe_intermediate_size"] = json!(14);
        config["shared_expert_intermediate_size"] = json!(18);
        for (key, value) in beside.as_object().expect("keys") {
            config[key] = value.clone();
        }
        let folder = fixture.folder_of(&config, &fixture.weights());
        check_all(&fixture, &open(&folder).expect(class));
        check_all(&fixture, &open(&converted(&folder, &files)).expect(class));
        // To say nothing is another thing.
        for key in ["num_experts", "num_local_experts"] {
            config.as_object_mut().expect("keys").remove(key);
        }
        let folder = fixture.folder_of(&config, &fixture.weights());
        let error = open(&folder).map(|_| ()).expect_err(class).to_string();
        assert!(error.contains("num_experts"), "{error}");
    }
}

/// As Hunyuan's configurations have them.
const COUNTS: [&str; 6] = [
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "num_experts_per_tok",
    "moe_topk",
    "moe_intermediate_size",
];

/// The lists of a configuration, the last number raised by `other`, if it has counts.
fn listed(config: &Json, other: u64) -> Option<Json> {
    let layers = config["num_hidden_layers"].as_u64()? as usize;
    let mut listed = config.clone();
    for key in COUNTS {
        if let Some(count) = config[key].as_u64() {
            let mut list = vec![count; layers];
            list[layers - 1] += other;
            listed[key] = json!(list);
        }
    }
    (listed != *config).then_some(listed)
}

#[test]
fn counts_listed_for_each_layer_are_one_count() {
    let files = TempFolder::new("listed");
    let mut found = 0;
    for name in Fixture::all() {
        let fixture = Fixture::load(&name);
        let of_experts = |weight: &Weight| {
            ["expert", "moe"]
                .iter()
                .any(|part| weight.name.contains(part))
        };
        // A class that may have some need not.
        if !fixture.weights().iter().any(of_experts) {
            continue;
        }
        let Some(config) = listed(&fixture.config(), 0) else {
            continue;
        };
        found += 1;
        let from = fixture.folder_of(&config, &fixture.weights());
        let model = open(&from).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_all(&fixture, &model);
        // Other readers of GGUF know no lists of them.
        let model = open(&converted(&from, &files)).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_all(&fixture, &model);
        for (key, value) in &model.manifest().metadata.0 {
            let count = key.ends_with("_count") || key.ends_with("_length");
            let list =
                count && key.contains(".expert_") && matches!(value, MetadataValue::Array(_));
            assert!(!list, "{name}: {key} is a list");
        }
        let other = listed(&fixture.config(), 1).expect("lists");
        let from = fixture.folder_of(&other, &fixture.weights());
        let error = open(&from).map(|_| ()).expect_err(&name).to_string();
        let named = COUNTS.iter().any(|key| error.contains(key));
        assert!(named && error.contains("for each layer"), "{name}: {error}");
    }
    assert!(found > 20, "{found} mixtures");
}
