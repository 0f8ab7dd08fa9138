//! Models with a state of constant size.

use rillm_formats::manifest::{Array, MetadataValue};

use super::Seed;

pub fn mamba() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("ssm.inner_size", 6),
        ("ssm.state_size", 2),
        ("ssm.conv_kernel", 3),
        ("ssm.time_step_rank", 1),
    ];
    Seed::new("ok-mamba", "mamba", &keys)
        .tensors(
            "",
            &[("token_embd.weight", &[5, 4]), ("output_norm.weight", &[4])],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("ssm_in.weight", &[12, 4]),
                ("ssm_conv1d.weight", &[6, 3]),
                ("ssm_conv1d.bias", &[6]),
                ("ssm_x.weight", &[5, 6]),
                ("ssm_dt.weight", &[6, 1]),
                ("ssm_dt.bias", &[6]),
                ("ssm_a", &[6, 2]),
                ("ssm_d", &[6]),
                ("ssm_out.weight", &[4, 6]),
            ],
        )
}

pub fn mamba2() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("ssm.inner_size", 8),
        ("ssm.state_size", 2),
        ("ssm.conv_kernel", 3),
        ("ssm.time_step_rank", 2),
        ("ssm.group_count", 1),
    ];
    Seed::new("ok-mamba2", "mamba2", &keys)
        .tensors(
            "",
            &[("token_embd.weight", &[5, 4]), ("output_norm.weight", &[4])],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("ssm_in.weight", &[22, 4]),
                ("ssm_conv1d.weight", &[12, 3]),
                ("ssm_conv1d.bias", &[12]),
                ("ssm_dt.bias", &[2]),
                ("ssm_a", &[2, 1]),
                ("ssm_d", &[2, 1]),
                ("ssm_norm.weight", &[1, 8]),
                ("ssm_out.weight", &[4, 8]),
            ],
        )
}

/// A layer of Mamba-2, and one of attention that rotates half of a head.
pub fn hybrid() -> Seed {
    let keys = [
        ("embedding_length", 8),
        ("block_count", 2),
        ("feed_forward_length", 6),
        ("context_length", 16),
        ("attention.head_count", 2),
        ("rope.dimension_count", 2),
        ("ssm.inner_size", 16),
        ("ssm.state_size", 2),
        ("ssm.conv_kernel", 3),
        ("ssm.time_step_rank", 2),
        ("ssm.group_count", 1),
    ];
    let feed_forward: &[(&str, &[u64])] = &[
        ("attn_norm.weight", &[8]),
        ("ffn_norm.weight", &[8]),
        ("ffn_gate.weight", &[6, 8]),
        ("ffn_up.weight", &[6, 8]),
        ("ffn_down.weight", &[8, 6]),
    ];
    Seed::new("ok-hybrid", "granitehybrid", &keys)
        .key(
            "granitehybrid.attention.head_count_kv",
            MetadataValue::Array(Array::U32(vec![0, 1])),
        )
        .key(
            "granitehybrid.rope.scaling.finetuned",
            MetadataValue::Bool(true),
        )
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 8]),
                ("output_norm.weight", &[8]),
                ("output.weight", &[5, 8]),
            ],
        )
        .tensors("blk.0.", feed_forward)
        .tensors(
            "blk.0.",
            &[
                ("ssm_in.weight", &[38, 8]),
                ("ssm_conv1d.weight", &[20, 3]),
                ("ssm_dt.bias", &[2]),
                ("ssm_a", &[2, 1]),
                ("ssm_d", &[2, 1]),
                ("ssm_norm.weight", &[1, 16]),
                ("ssm_out.weight", &[8, 16]),
            ],
        )
        .tensors("blk.1.", feed_forward)
        .tensors(
            "blk.1.",
            &[
                ("attn_q.weight", &[8, 8]),
                ("attn_k.weight", &[4, 8]),
                ("attn_v.weight", &[4, 8]),
                ("attn_output.weight", &[8, 8]),
            ],
        )
}

pub fn retnet() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 6),
        ("retention.head_count", 2),
        ("retention.value_length", 8),
    ];
    Seed::new("ok-retnet", "retnet", &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("output_norm.weight", &[4]),
                ("output.weight", &[5, 4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_q.weight", &[4, 4]),
                ("attn_k.weight", &[4, 4]),
                ("attn_v.weight", &[8, 4]),
                ("attn_gate.weight", &[8, 4]),
                ("attn_output.weight", &[4, 8]),
                ("ffn_norm.weight", &[4]),
                ("ffn_gate.weight", &[6, 4]),
                ("ffn_up.weight", &[6, 4]),
                ("ffn_down.weight", &[4, 6]),
            ],
        )
}

/// What the generations of RWKV have in common.
pub fn rwkv(name: &'static str, architecture: &str) -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 6),
        ("wkv.head_size", 2),
    ];
    Seed::new(name, architecture, &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("token_embd_norm.weight", &[4]),
                ("token_embd_norm.bias", &[4]),
                ("output_norm.weight", &[4]),
                ("output_norm.bias", &[4]),
                ("output.weight", &[5, 4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_norm.bias", &[4]),
                ("attn_norm_2.weight", &[4]),
                ("attn_norm_2.bias", &[4]),
                ("time_mix_receptance.weight", &[4, 4]),
                ("time_mix_key.weight", &[4, 4]),
                ("time_mix_value.weight", &[4, 4]),
                ("time_mix_output.weight", &[4, 4]),
                ("channel_mix_lerp_k.weight", &[1, 1, 4]),
                ("channel_mix_key.weight", &[6, 4]),
                ("channel_mix_value.weight", &[4, 6]),
            ],
        )
}

pub fn rwkv4() -> Seed {
    rwkv("ok-rwkv4", "rwkv4").tensors(
        "blk.0.",
        &[
            ("time_mix_decay.weight", &[4]),
            ("time_mix_first.weight", &[4]),
            ("time_mix_lerp_k.weight", &[1, 1, 4]),
            ("time_mix_lerp_v.weight", &[1, 1, 4]),
            ("time_mix_lerp_r.weight", &[1, 1, 4]),
            ("channel_mix_lerp_r.weight", &[1, 1, 4]),
            ("channel_mix_receptance.weight", &[4, 4]),
        ],
    )
}

pub fn rwkv7() -> Seed {
    rwkv("ok-rwkv7", "rwkv7").tensors(
        "blk.0.",
        &[
            ("time_mix_lerp_fused.weight", &[6, 1, 1, 4]),
            ("time_mix_w0.weight", &[1, 1, 4]),
            ("time_mix_w1.weight", &[2, 4]),
            ("time_mix_w2.weight", &[4, 2]),
            ("time_mix_a0.weight", &[1, 1, 4]),
            ("time_mix_a1.weight", &[2, 4]),
            ("time_mix_a2.weight", &[4, 2]),
            ("time_mix_g1.weight", &[2, 4]),
            ("time_mix_g2.weight", &[4, 2]),
            ("time_mix_k_k.weight", &[1, 1, 4]),
            ("time_mix_k_a.weight", &[1, 1, 4]),
            ("time_mix_r_k.weight", &[4]),
            ("time_mix_ln.weight", &[4]),
            ("time_mix_ln.bias", &[4]),
        ],
    )
}

pub fn linear_transformer() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 6),
        ("attention.head_count", 2),
    ];
    Seed::new("ok-linear-transformer", "linear_transformer", &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("position_embd.weight", &[8, 4]),
                ("output_norm.weight", &[4]),
                ("output.weight", &[5, 4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_q.weight", &[4, 4]),
                ("attn_k.weight", &[4, 4]),
                ("attn_v.weight", &[4, 4]),
                ("attn_output.weight", &[4, 4]),
                ("ffn_norm.weight", &[4]),
                ("ffn_up.weight", &[6, 4]),
                ("ffn_down.weight", &[4, 6]),
            ],
        )
}
