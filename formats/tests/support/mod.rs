//! Files made by hand, byte by byte, without the library's writers: what tests expect must not
//! come from the code they test.
#![allow(dead_code)]

pub mod seeds;
pub mod walk;

use rillm_formats::{ErrorKind, FormatError};

/// GGUF's value types, as its standard numbers them.
pub mod kind {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

/// GGUF's number for 32-bit floats.
pub const F32: u32 = 0;
/// GGUF's number for `Q8_0`: 32 elements in 34 bytes.
pub const Q8_0: u32 = 8;

/// Bytes of a little-endian file in the making.
#[derive(Clone, Default)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// A GGUF file's beginning.
    pub fn gguf(version: u32, tensors: u64, keys: u64) -> Raw {
        Raw::default()
            .bytes(b"GGUF")
            .u32(version)
            .u64(tensors)
            .u64(keys)
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Raw {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn u8(self, value: u8) -> Raw {
        self.bytes(&[value])
    }

    pub fn u16(self, value: u16) -> Raw {
        self.bytes(&value.to_le_bytes())
    }

    pub fn u32(self, value: u32) -> Raw {
        self.bytes(&value.to_le_bytes())
    }

    pub fn u64(self, value: u64) -> Raw {
        self.bytes(&value.to_le_bytes())
    }

    pub fn string(self, text: impl AsRef<[u8]>) -> Raw {
        let text = text.as_ref();
        self.u64(text.len() as u64).bytes(text)
    }

    /// A key and its value's type; the value follows.
    pub fn key(self, key: &str, kind: u32) -> Raw {
        self.string(key).u32(kind)
    }

    /// A key with an array's header; the elements follow.
    pub fn array(self, key: &str, kind: u32, count: u64) -> Raw {
        self.key(key, kind::ARRAY).u32(kind).u64(count)
    }

    /// A tensor info; extents as in the file, the contiguous one first.
    pub fn tensor(self, name: &str, extents: &[u64], dtype: u32, offset: u64) -> Raw {
        let start = self.string(name).u32(extents.len() as u32);
        let shaped = extents.iter().fold(start, |raw, extent| raw.u64(*extent));
        shaped.u32(dtype).u64(offset)
    }

    /// Zeros up to a multiple of `alignment`.
    pub fn pad(mut self, alignment: usize) -> Raw {
        while !self.0.len().is_multiple_of(alignment) {
            self.0.push(0);
        }
        self
    }

    /// `len` bytes that differ from their neighbours.
    pub fn data(self, len: usize) -> Raw {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + 1) as u8).collect();
        self.bytes(&bytes)
    }
}

/// A small valid GGUF file with a value of every type, keys in order, and two tensors; its last
/// byte is the last tensor's.
pub fn gguf_sample() -> Vec<u8> {
    Raw::gguf(3, 2, 17)
        .array("a.array", kind::ARRAY, 2)
        .u32(kind::U8)
        .u64(2)
        .bytes(&[7, 8])
        .u32(kind::STRING)
        .u64(1)
        .string("in")
        .array("a.bools", kind::BOOL, 2)
        .bytes(&[1, 0])
        .array("a.floats", kind::F32, 2)
        .u32(1.5f32.to_bits())
        .u32((-2.0f32).to_bits())
        .array("a.i16", kind::I16, 1)
        .u16(0xfffe)
        .array("a.strings", kind::STRING, 3)
        .string("ab")
        .string("")
        .string([0xff, 0x00])
        .key("general.architecture", kind::STRING)
        .string("llama")
        .key("v.bool", kind::BOOL)
        .u8(1)
        .key("v.f32", kind::F32)
        .u32(0.25f32.to_bits())
        .key("v.f64", kind::F64)
        .u64((-0.5f64).to_bits())
        .key("v.i16", kind::I16)
        .u16(0x8000)
        .key("v.i32", kind::I32)
        .u32(0xffff_ffff)
        .key("v.i64", kind::I64)
        .u64(0x8000_0000_0000_0000)
        .key("v.i8", kind::I8)
        .u8(0x80)
        .key("v.u16", kind::U16)
        .u16(0xffff)
        .key("v.u32", kind::U32)
        .u32(0x0102_0304)
        .key("v.u64", kind::U64)
        .u64(0x0102_0304_0506_0708)
        .key("v.u8", kind::U8)
        .u8(200)
        .tensor("blk.0.weight", &[32, 3], Q8_0, 0)
        .tensor("norm", &[5], F32, 128)
        .pad(32)
        .data(3 * 34)
        .pad(32)
        .data(5 * 4)
        .0
}

/// A safetensors file with this header and so many bytes of data.
pub fn safetensors(header: &str, data_len: usize) -> Vec<u8> {
    Raw::default().string(header).data(data_len).0
}

/// A small valid header; its tensors take 36 bytes.
pub const SAFETENSORS_HEADER: &str = concat!(
    r#"{"__metadata__":{"format":"pt"},"#,
    r#""b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#,
    r#""mask":{"dtype":"BOOL","shape":[4],"data_offsets":[24,28]},"#,
    r#""a":{"data_offsets":[28,36],"dtype":"BF16","shape":[4]}}"#
);

/// A small configuration with every kind of value.
pub const CONFIG: &str = r#"{
  "architectures": ["LlamaForCausalLM"],
  "model_type": "llama",
  "hidden_size": 64,
  "rms_norm_eps": 1e-05,
  "pad_token_id": null,
  "tie_word_embeddings": false,
  "offset": -3,
  "layer_types": ["full", "sliding"],
  "time_step_limit": [0.0, Infinity],
  "mlp_only_layers": [],
  "eos_token_id": [1, 2],
  "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "deep": {"er": true}},
  "mixed": [1, null, "x", {"k": 5}, [6, 7]]
}"#;

/// Asserts that the file was refused for this reason, in one line that says these words.
#[track_caller]
pub fn expect(error: FormatError, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains('\n'), "{text}");
}
