//! The fuzzers' seeds. `cargo run -p rillm-formats --example seeds` writes them to `fuzz/seeds`;
//! names that begin with `ok-` are accepted, with `bad-` refused.

use super::{CONFIG, F32, Raw, SAFETENSORS_HEADER, gguf_sample, kind, safetensors};

/// Target, name and content of every seed.
pub fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let split = Raw::gguf(3, 1, 3)
        .key("split.count", kind::U16)
        .u16(2)
        .key("split.no", kind::U16)
        .u16(1)
        .key("split.tensors.count", kind::I32)
        .u32(3)
        .tensor("t", &[2], F32, 0)
        .pad(32)
        .data(8);
    let aligned = Raw::gguf(2, 1, 1)
        .key("general.alignment", kind::U32)
        .u32(64)
        .tensor("t", &[2, 1, 2], 26, 0)
        .pad(64)
        .data(16);
    let wraps = Raw::gguf(3, 1, 0)
        .tensor("t", &[1 << 32, 1 << 32], F32, 0)
        .pad(32)
        .data(64);
    let big = Raw::default()
        .bytes(b"GGUF\0\0\0\x03")
        .bytes(&[0; 7])
        .u8(1)
        .bytes(&[0; 8]);
    let index = r#"{"metadata":{"total_size":8},"weight_map":{"a":"m-1.safetensors"}}"#;
    vec![
        ("gguf", "ok-sample", gguf_sample()),
        ("gguf", "ok-split", split.0),
        ("gguf", "ok-aligned-v2", aligned.0),
        ("gguf", "ok-empty", Raw::gguf(3, 0, 0).0),
        ("gguf", "bad-wraps", wraps.0),
        ("gguf", "bad-big-endian", big.0),
        (
            "safetensors",
            "ok-sample",
            safetensors(SAFETENSORS_HEADER, 36),
        ),
        ("safetensors", "ok-empty", safetensors("{}", 0)),
        ("safetensors", "bad-index", index.into()),
        (
            "safetensors",
            "bad-hole",
            safetensors(SAFETENSORS_HEADER, 37),
        ),
        ("hf_config", "ok-sample", CONFIG.into()),
        ("hf_config", "ok-empty", b"{}".to_vec()),
        ("hf_config", "bad-array", b"[1]".to_vec()),
        (
            "hf_config",
            "bad-twice",
            br#"{"a.b":1,"a":{"b":2}}"#.to_vec(),
        ),
    ]
}
