//! What llama.cpp's converter writes otherwise than we do, and leaves out.

use rillm_formats::manifest::MetadataValue;

use crate::support::evaluate::{check_all, open_bytes};
use crate::support::fixture::Fixture;
use crate::support::to_gguf::{Floats, Gguf};

/// A fixture's file, changed, computes what the fixture does.
fn still_runs(name: &str, change: impl Fn(&mut Gguf)) {
    let fixture = Fixture::load(name);
    let mut gguf = Gguf::of(&fixture);
    change(&mut gguf);
    let model = open_bytes(gguf.bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
    check_all(&fixture, &model);
}

/// A key after its architecture's name.
fn key(gguf: &Gguf, key: &str) -> String {
    let architecture = gguf.metadata.str("general.architecture");
    format!("{}.{key}", architecture.expect("an architecture"))
}

/// Ends of the keys that say which layers have experts.
const WHICH: [&str; 7] = [
    ".leading_dense_block_count",
    ".last_expert_block",
    ".interleave_moe_layer_step",
    ".expert_every_n_layers",
    ".expert_every_nth_layer",
    ".expert_less_layers",
    ".expert_layers",
];

/// Converters say it of layers at the beginning alone, and llama.cpp's says it of some as if there were
/// none.
#[test]
fn which_layers_have_experts_is_told_by_tensors() {
    let mut mixed = Vec::new();
    for name in Fixture::all() {
        let fixture = Fixture::load(&name);
        let mut gguf = Gguf::of(&fixture);
        let has = |layer: usize, part: &str| {
            let name = format!("blk.{layer}.{part}.weight");
            gguf.tensors.contains_key(&name)
        };
        let routed = (0..8).any(|layer| has(layer, "ffn_gate_inp"));
        let plain = (0..8).any(|layer| has(layer, "ffn_up") && !has(layer, "ffn_gate_inp"));
        if !routed || !plain {
            continue;
        }
        gguf.metadata
            .0
            .retain(|key, _| !WHICH.iter().any(|end| key.ends_with(end)));
        let model = open_bytes(gguf.bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_all(&fixture, &model);
        mixed.push(name);
    }
    assert!(mixed.len() >= 15, "{mixed:?}");
}

/// Gates and what they let through stand in `ffn_up`, in the order of the checkpoint.
#[test]
fn fused_gates_of_jina_bert_are_called_up() {
    for (name, first, second) in [
        ("jina_bert", "ffn_gate", "ffn_up"),
        ("jina_bert_masked_lm", "ffn_gate", "ffn_up"),
        ("jina_bert_code", "ffn_up", "ffn_gate"),
    ] {
        still_runs(name, |gguf| {
            for layer in 0..2 {
                let of = |part: &str| format!("blk.{layer}.{part}.weight");
                let mut half = |part: &str| gguf.tensors.remove(&of(part)).expect(part);
                let (first, second) = (half(first), half(second));
                let both = Floats {
                    shape: vec![2 * first.shape[0], first.shape[1]],
                    values: [first.values, second.values].concat(),
                };
                gguf.tensors.insert(of("ffn_up"), both);
            }
        });
    }
}

/// It says how a class pools of bare encoders as well.
#[test]
fn modernbert_may_say_how_others_pool() {
    for name in ["modernbert", "modernbert_masked_lm", "modernbert_token"] {
        still_runs(name, |gguf| {
            let pooling = key(gguf, "classifier.pooling_type");
            gguf.metadata.0.insert(pooling, MetadataValue::U32(2));
        });
    }
}

/// Nemotron-H's RMS norms have the epsilon of LayerNorms.
#[test]
fn the_epsilon_of_nemotron_h_has_another_name() {
    for name in ["nemotron_h", "nemotron_h_moe", "nemotron_h_latent"] {
        still_runs(name, |gguf| {
            let ours = key(gguf, "attention.layer_norm_rms_epsilon");
            let value = gguf.metadata.0.remove(&ours).expect("an epsilon");
            let theirs = key(gguf, "attention.layer_norm_epsilon");
            gguf.metadata.0.insert(theirs, value);
        });
    }
}

/// The elements of a head, where others have those of the latent.
#[test]
fn values_of_latent_attention_may_be_said_to_have_another_length() {
    for name in ["kimi_linear", "kimi_linear_published", "deepseek_v3"] {
        still_runs(name, |gguf| {
            let length = key(gguf, "attention.value_length");
            gguf.metadata.0.insert(length, MetadataValue::U32(6));
        });
    }
}

/// A base of rotation though nothing rotates.
#[test]
fn kimi_linear_may_say_a_base() {
    for name in ["kimi_linear", "kimi_linear_published"] {
        still_runs(name, |gguf| {
            let base = key(gguf, "rope.freq_base");
            gguf.metadata.0.insert(base, MetadataValue::F32(1e4));
        });
    }
}

/// Without experts, what all rows share is the feed-forward layer, and its width that of the shared one.
#[test]
fn granite_hybrids_without_experts_say_both_widths() {
    still_runs("granite_hybrid_dense", |gguf| {
        let [hidden, shared] = ["feed_forward_length", "expert_shared_feed_forward_length"];
        let (hidden, shared) = (key(gguf, hidden), key(gguf, shared));
        let width = gguf.metadata.0.insert(hidden, MetadataValue::U32(14));
        gguf.metadata.0.insert(shared, width.expect("a width"));
        let none = key(gguf, "expert_count");
        gguf.metadata.0.insert(none, MetadataValue::U32(0));
    });
}
