//! Mixtures of experts as converters write them.

use crate::support::evaluate::{check_all, open_bytes};
use crate::support::fixture::Fixture;
use crate::support::to_gguf::Gguf;

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
