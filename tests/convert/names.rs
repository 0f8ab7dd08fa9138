//! Converted tensors have the names that the usual converters give them.

use crate::support::fixture::Fixture;
use crate::support::to_gguf::Gguf;

/// What the usual converters call the tensors, written down from their lists and not from ours.
#[test]
fn converted_names_are_the_converters_names() {
    let llama: &[&str] = &[
        "attn_norm.weight",
        "attn_q.weight",
        "attn_k.weight",
        "attn_v.weight",
        "attn_output.weight",
        "ffn_norm.weight",
        "ffn_gate.weight",
        "ffn_up.weight",
        "ffn_down.weight",
    ];
    let gpt2: &[&str] = &[
        "attn_norm.weight",
        "attn_norm.bias",
        "attn_qkv.weight",
        "attn_qkv.bias",
        "attn_output.weight",
        "attn_output.bias",
        "ffn_norm.weight",
        "ffn_norm.bias",
        "ffn_up.weight",
        "ffn_up.bias",
        "ffn_down.weight",
        "ffn_down.bias",
    ];
    let mixtral: &[&str] = &[
        "attn_norm.weight",
        "attn_q.weight",
        "attn_k.weight",
        "attn_v.weight",
        "attn_output.weight",
        "ffn_norm.weight",
        "ffn_gate_inp.weight",
        "ffn_gate_exps.weight",
        "ffn_up_exps.weight",
        "ffn_down_exps.weight",
    ];
    let bert: &[&str] = &[
        "attn_q.weight",
        "attn_q.bias",
        "attn_k.weight",
        "attn_k.bias",
        "attn_v.weight",
        "attn_v.bias",
        "attn_output.weight",
        "attn_output.bias",
        "attn_output_norm.weight",
        "attn_output_norm.bias",
        "ffn_up.weight",
        "ffn_up.bias",
        "ffn_down.weight",
        "ffn_down.bias",
        "layer_output_norm.weight",
        "layer_output_norm.bias",
    ];
    let mamba: &[&str] = &[
        "attn_norm.weight",
        "ssm_in.weight",
        "ssm_conv1d.weight",
        "ssm_conv1d.bias",
        "ssm_x.weight",
        "ssm_dt.weight",
        "ssm_dt.bias",
        "ssm_a",
        "ssm_d",
        "ssm_out.weight",
    ];
    let decoder = &[
        "attn_norm.weight",
        "attn_q.weight",
        "attn_k.weight",
        "attn_v.weight",
        "attn_o.weight",
        "cross_attn_norm.weight",
        "cross_attn_q.weight",
        "cross_attn_k.weight",
        "cross_attn_v.weight",
        "cross_attn_o.weight",
        "ffn_norm.weight",
        "ffn_up.weight",
        "ffn_down.weight",
    ];
    for (name, prefix, expected) in [
        ("llama_mqa", "blk.1.", llama),
        ("gpt2", "blk.1.", gpt2),
        ("mixtral", "blk.1.", mixtral),
        ("bert", "blk.1.", bert),
        ("mamba", "blk.1.", mamba),
        ("t5", "dec.blk.1.", decoder),
    ] {
        let gguf = Gguf::of(&Fixture::load(name));
        let mut found: Vec<&str> = gguf
            .tensors
            .keys()
            .filter_map(|name| name.strip_prefix(prefix))
            .filter(|name| !(name.ends_with(".bias") && prefix == "blk.1." && expected == llama))
            .collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
    let t5 = Gguf::of(&Fixture::load("t5"));
    for name in [
        "token_embd.weight",
        "enc.output_norm.weight",
        "dec.output_norm.weight",
        "enc.blk.0.attn_rel_b.weight",
        "dec.blk.0.attn_rel_b.weight",
    ] {
        assert!(t5.tensors.contains_key(name), "{name}");
    }
}
