//! Which types tensors get, as llama-quantize gives them: `mixes.txt`, by
//! `tools/quant/mixes.py`.

use super::{file, input};
use crate::support::rewrite::options;
use rillm::formats::manifest::{Metadata, MetadataValue};
use rillm::internals::synthetic::shapes;
use rillm::quantize::QuantizePlan;
use std::collections::BTreeMap;

const GIVEN: &str = include_str!("../data/mixes.txt");
const LAYERS: usize = 16;

/// Architecture, heads of keys and values (of four), experts, hidden width, whether untied.
fn shape(case: &str) -> (&'static str, u32, u32, u64, bool) {
    match case {
        "grouped" => ("llama", 1, 0, 512, true),
        "single" => ("llama", 4, 0, 512, true),
        "tied" => ("llama", 2, 0, 512, false),
        "experts" => ("llama", 2, 8, 256, true),
        "narrow" => ("llama", 4, 0, 288, true),
        "odd" => ("llama", 4, 0, 40, true),
        "falcon" => ("falcon", 1, 0, 512, true),
        _ => panic!("no such case"),
    }
}

fn model(case: &str) -> Vec<u8> {
    let (architecture, kv_heads, experts, hidden, untied) = shape(case);
    let mut metadata = Metadata::default();
    let mut key = |key: &str, value: MetadataValue| metadata.0.insert(key.to_string(), value);
    key(
        "general.architecture",
        MetadataValue::String(architecture.into()),
    );
    for (name, value) in [
        ("block_count", LAYERS as u32),
        ("attention.head_count", 4),
        ("attention.head_count_kv", kv_heads),
        ("expert_count", experts),
    ] {
        key(&format!("{architecture}.{name}"), MetadataValue::U32(value));
    }
    let kv = 64 * u64::from(kv_heads);
    let experts = u64::from(experts);
    let mut tensors: Vec<(String, Vec<u64>)> = vec![("token_embd.weight".into(), vec![64, 256])];
    if untied {
        tensors.push(("output.weight".into(), vec![64, 256]));
    }
    for i in 0..LAYERS {
        let mut tensor = |part: &str, shape: &[u64]| {
            tensors.push((format!("blk.{i}.{part}.weight"), shape.to_vec()));
        };
        if architecture == "falcon" {
            tensor("attn_qkv", &[256 + 2 * kv, 256]);
        } else {
            tensor("attn_q", &[256, 256]);
            tensor("attn_k", &[kv, 256]);
            tensor("attn_v", &[kv, 256]);
        }
        tensor("attn_output", &[256, 256]);
        if experts > 0 {
            tensor("ffn_gate_inp", &[experts, 256]);
            tensor("ffn_gate_exps", &[experts, hidden, 256]);
            tensor("ffn_up_exps", &[experts, hidden, 256]);
            tensor("ffn_down_exps", &[experts, 256, hidden]);
        } else {
            tensor("ffn_gate", &[hidden, 256]);
            tensor("ffn_up", &[hidden, 256]);
            tensor("ffn_down", &[256, hidden]);
        }
    }
    let tensors: Vec<(&str, &[u64])> = tensors
        .iter()
        .map(|(n, s)| (n.as_str(), s.as_slice()))
        .collect();
    file(metadata, &tensors)
}

#[test]
fn a_name_means_the_same_types_as_for_llama_quantize() {
    let mut models = BTreeMap::new();
    let mut plans: BTreeMap<(&str, &str), QuantizePlan> = BTreeMap::new();
    let mut seen = 0;
    for line in GIVEN.lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("four words");
        let (case, mix, part) = (word(), word(), word());
        let types: Vec<&str> = words.collect();
        let input = models.entry(case).or_insert_with(|| input(model(case)));
        let plan = plans
            .entry((case, mix))
            .or_insert_with(|| QuantizePlan::new(input, &options(mix)).expect("a plan"));
        let layers = if part.starts_with("token") || part.starts_with("output") {
            1
        } else {
            LAYERS
        };
        for layer in 0..layers {
            let name = match layers {
                1 => part.to_string(),
                _ => format!("blk.{layer}.{part}"),
            };
            let expected = match types.as_slice() {
                ["all", same] => same,
                each => each[layer],
            };
            let found = plan.tensors.iter().find(|tensor| tensor.name == name);
            let found = found.expect("every tensor is planned").to.name();
            assert_eq!(found, expected, "{case}, {mix}: {name}");
            seen += 1;
        }
    }
    assert!(seen > 10_000, "{seen}");
}

/// What scans, decays and mixtures are made of is small, and stays as it is; what is around them
/// is quantized.
#[test]
fn parameters_of_scans_stay_floats() {
    let small = |name: &str| {
        let part = name.splitn(3, '.').nth(2).unwrap_or(name);
        ["ssm_d.", "ssm_conv1d", "attn_decay_", "time_mix_lerp", "time_mix_first"]
            .iter()
            .any(|begin| part.starts_with(begin))
            || part == "ssm_a"
            || part.starts_with("time_mix_decay")
            // Low-rank matrices, and what goes with them: w0, w1, w2 and so on.
            || part.strip_prefix("time_mix_").is_some_and(|rest| {
                rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
            })
    };
    let mut seen = 0;
    for shape in shapes().filter(|shape| shape.name.starts_with("tiny-")) {
        let plan =
            QuantizePlan::new(&shape.draft(0).expect("a model"), &options("q4_0")).expect("a plan");
        for tensor in &plan.tensors {
            let (name, to) = (&tensor.name, tensor.to);
            if small(name) {
                assert_eq!(tensor.wanted, None, "{}: {name}", shape.name);
                assert_eq!(to, tensor.from, "{}: {name}", shape.name);
                seen += 1;
            }
            if ["ssm_in.", "ssm_out.", "attn_gate.", "time_mix_key."]
                .iter()
                .any(|large| name.contains(large))
            {
                assert_ne!(to, tensor.from, "{}: {name}", shape.name);
            }
        }
    }
    assert!(seen > 50, "{seen} parameters");
}
