//! What a reader is willing to spend. Every count and length in a file is also held against the
//! bytes that are left, so these caps only matter for files large enough to carry that much.

use alloc::format;

use crate::error::{ErrorKind, FormatError};

/// While parsing, at most this many bytes of memory are held per byte of input (plus
/// [`MEMORY_BASE`]). The dearest input is a JSON object of one-letter keys and one-digit
/// values: 7 bytes that become a map entry of some 150.
pub const MEMORY_FACTOR: usize = 32;

/// What a parser may hold whatever the input's length: the first node of a map, an error's text.
pub const MEMORY_BASE: usize = 16 * 1024;

/// Bytes in a metadata key (GGUF's own bound is 2^16 − 1).
pub const KEY_LEN: u64 = 65_535;
/// Bytes in a tensor's name (ggml stops at 63, Hugging Face names reach about 150).
pub const TENSOR_NAME_LEN: u64 = 1024;
/// Bytes in one metadata string: some files embed a whole `tokenizer.json`.
pub const STRING_LEN: u64 = 256 << 20;
/// Key–value pairs in one file.
pub const KEYS: u64 = 1 << 16;
/// Tensors in one file: routed models with a tensor per expert reach 10^5. Each takes some 200 bytes
/// of memory, which no bytes of data need stand for.
pub const TENSORS: u64 = 1 << 18;
/// Tensors that an index of shards names.
pub const INDEXED_TENSORS: u64 = 1 << 20;
/// Elements in one metadata array.
pub const ARRAY_ELEMENTS: u64 = 1 << 28;
/// How deep arrays of arrays may nest in GGUF (1 = no array in an array).
pub const ARRAY_DEPTH: u32 = 4;
/// Extents of a GGUF tensor.
pub const GGUF_DIMENSIONS: usize = 4;
/// Extents of a safetensors tensor.
pub const SAFETENSORS_DIMENSIONS: usize = 8;
/// Largest `general.alignment`: huge pages have 2 MiB.
pub const ALIGNMENT: u64 = 16 << 20;
/// Files one model may be split into.
pub const FILES: u32 = 4096;
/// Bytes of a safetensors header (the format's own bound).
pub const SAFETENSORS_HEADER_LEN: u64 = 100_000_000;
/// Bytes of a JSON file: `config.json` has a few thousand, an index of shards some millions.
pub const JSON_LEN: u64 = 100_000_000;
/// Keys of a configuration: two for each label, and some models have as many labels as others have tokens.
pub const CONFIG_KEYS: u64 = 1 << 18;
/// Elements of all arrays of a configuration together: lists of layers, and of tokens that are not written.
pub const CONFIG_ELEMENTS: usize = 1 << 20;
/// How deep a configuration's objects and arrays may nest.
pub const CONFIG_DEPTH: u32 = 16;
/// Bytes in a shard's file name.
pub const FILE_NAME_LEN: usize = 255;

/// The share of [`MEMORY_FACTOR`] that map entries may take. The rest is for arrays: `1,` becomes
/// 8 bytes in a vector that, while it doubles, exists one and a half times over: 12 for one.
const BUDGET_FACTOR: usize = MEMORY_FACTOR - 12;

/// Memory still allowed for results whose size is not bounded by their bytes in the input alone:
/// a nested object's path is repeated in each of its keys.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    /// The budget for an input of `len` bytes.
    pub(crate) fn new(len: usize) -> Budget {
        Budget {
            left: len
                .saturating_mul(BUDGET_FACTOR)
                .saturating_add(MEMORY_BASE / 2),
        }
    }

    /// Takes `len` bytes for `what`.
    pub(crate) fn spend(&mut self, len: usize, what: &str) -> Result<(), FormatError> {
        match self.left.checked_sub(len) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(FormatError::new(
                ErrorKind::Limit,
                None,
                format!(
                    "{what} would take more memory than {MEMORY_FACTOR} times the file: \
                     shorten its nested keys or arrays"
                ),
            )),
        }
    }
}
