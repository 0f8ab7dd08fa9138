//! What is shown of a model's files.

use std::fs;

use serde_json::json;

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::text::DEMO;
use crate::{failure, path, rillm, text};

#[test]
fn inspect_draws_what_is_there() {
    let folder = TempFolder::new("drawing");
    let file = folder.join("out.svg");
    for (name, parts) in [
        (
            "gemma2",
            &[
                "layer 0, 2 (2 ×)",
                "window 6, rope",
                "Arena of plan prefill",
            ][..],
        ),
        (
            "t5",
            &[
                "encoding, s rows",
                "cross-attention",
                "both ways, buckets",
                "cross",
            ],
        ),
        ("mixtral", &["route, the best", "ffn_up_exps", "expert_sum"]),
        ("mamba", &["conv", "scan", "ssm_in", "× conv"]),
    ] {
        let model = Fixture::load(name).folder();
        let output = rillm(&["inspect", path(&model), "--graph", path(&file)]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let drawing = fs::read_to_string(&file).expect("a drawing");
        assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));
        for part in parts {
            assert!(drawing.contains(part), "{name}: {part}");
        }
        assert!(
            !drawing.contains("NaN") && !drawing.contains("inf"),
            "{name}"
        );
    }
    let missing = folder.join("no").join("out.svg");
    let model = Fixture::load("llama").folder();
    let output = rillm(&["inspect", path(&model), "--graph", path(&missing)]);
    failure(&output, 1, &["out.svg"]);
    // Nothing is written under a name that promises something else.
    let other = folder.join("out.png");
    let output = rillm(&["inspect", path(&model), "--graph", path(&other)]);
    failure(&output, 2, &["out.png", ".svg"]);
    assert!(!other.exists());
    let output = rillm(&["inspect", path(&model), "--graph", "-"]);
    let drawing = text(&output.stdout);
    assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));
}

#[test]
fn inspect_shows_what_is_there() {
    let fixture = Fixture::load("llama");
    let folder = fixture.folder();
    let output = rillm(&["inspect", path(&folder), "--tensors", "-c", "77"]);
    let shown = text(&output.stdout);
    assert!(output.status.success());
    // A longer context than the trained one is allowed, and said.
    assert!(text(&output.stderr).contains("warning: context 77 is more than the"));
    for part in [
        "llama",
        "decoder",
        "num_key_value_heads = 2",
        "model.layers.1.self_attn.k_proj.bias",
        "F32",
        "context of 77",
        "arena",
        "state per 1K tokens",
        "no tokenizer.json",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    // Nothing is encoded.
    assert!(!shown.contains("sources of"), "{shown}");
    let shown = rillm(&["inspect", path(&Fixture::load("t5").folder())]);
    assert!(text(&shown.stdout).contains("sources of"));

    // A decoder has no source that could be too long.
    let output = rillm(&["inspect", DEMO, "-c", "4294967295"]);
    let told = text(&output.stderr);
    assert!(
        output.status.success() && !told.contains("source"),
        "{told}"
    );

    let output = rillm(&["inspect", "-m", path(&folder), "--json", "-c", "20"]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["architecture"], "llama");
    let lacks = shown["tokenizer"]["error"].as_str().expect("text");
    assert!(lacks.contains("no tokenizer.json"), "{lacks}");
    let demo = rillm(&["inspect", DEMO, "--json"]);
    let demo: serde_json::Value = serde_json::from_slice(&demo.stdout).expect("JSON");
    let tokens = demo["metadata"]["tokenizer.ggml.tokens"]["values"].clone();
    assert_eq!(demo["tokenizer"]["tokens"], tokens);
    assert_eq!(shown["memory"]["context"], 20);
    let weights = fixture.weights();
    let floats: usize = weights.iter().map(|weight| weight.values.len()).sum();
    assert_eq!(shown["memory"]["weights_bytes"], json!(4 * floats));
    let tensors = shown["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), weights.len());
    // Two layers of keys and values for 1,024 positions of 2 heads of 10 halves, and at most
    // what positions themselves take.
    let layers = fixture.config()["num_hidden_layers"].as_u64().unwrap();
    let kv_cache = layers * 2 * 2 * 10 * 2 * 1024;
    let found = shown["memory"]["state_per_1k_bytes"].as_u64().unwrap();
    assert!(
        (kv_cache..=kv_cache + 8 * 1024 + 4096).contains(&found),
        "{found}"
    );
}

/// Of five experts in each of two layers, a token meets two.
#[test]
fn inspect_counts_experts_and_what_a_token_meets() {
    let fixture = Fixture::load("mixtral");
    let model = fixture.folder();
    let output = rillm(&["inspect", path(&model)]);
    let shown = text(&output.stdout);
    assert!(
        shown.contains("active: 2 of 5 experts in 2 layers"),
        "{shown}"
    );
    let output = rillm(&["inspect", path(&model), "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let weights = fixture.weights();
    let sizes = weights.iter().map(|weight| weight.values.len() as u64);
    let of_experts = weights
        .iter()
        .filter(|weight| weight.name.contains("experts."));
    let of_experts: u64 = of_experts.map(|weight| weight.values.len() as u64).sum();
    let all: u64 = sizes.sum();
    assert_eq!(shown["parameters"], json!(all));
    assert_eq!(shown["active_parameters"], json!(all - of_experts / 5 * 3));
    assert_eq!(
        shown["experts"],
        json!({"count": 5, "used": 2, "layers": 2})
    );
    let output = rillm(&["inspect", path(&Fixture::load("llama").folder()), "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["parameters"], shown["active_parameters"]);
    assert_eq!(shown["experts"], json!(null));
}
