//! What the fuzzers start from: the smallest file of every architecture, a snapshot of most, folders,
//! and what is done with them.

mod attention;
pub mod folders;
mod recurrent;
pub mod small;
pub mod tasks;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rillm_formats::manifest::{DType, Metadata, MetadataValue};

use super::snapshot;
use crate::support::generator;
use crate::support::to_gguf::{Floats, Gguf};

use attention::{
    bert, compressive_transformer, gpt2, llama, mixtral, scaled, t5, transformer_xl, worded,
};
use recurrent::{hybrid, linear_transformer, mamba, mamba2, retnet, rwkv4, rwkv7};

/// A model under construction.
struct Seed {
    name: &'static str,
    gguf: Gguf,
    dtype: DType,
}

impl Seed {
    fn new(name: &'static str, architecture: &str, keys: &[(&str, u32)]) -> Seed {
        let mut metadata = Metadata::default();
        let value = MetadataValue::String(architecture.into());
        metadata.0.insert("general.architecture".into(), value);
        for &(key, value) in keys {
            let key = format!("{architecture}.{key}");
            metadata.0.insert(key, MetadataValue::U32(value));
        }
        let tensors = BTreeMap::new();
        let gguf = Gguf { metadata, tensors };
        Seed {
            name,
            gguf,
            dtype: DType::F32,
        }
    }

    fn key(mut self, key: &str, value: MetadataValue) -> Seed {
        self.gguf.metadata.0.insert(key.into(), value);
        self
    }

    fn stored(mut self, dtype: DType) -> Seed {
        self.dtype = dtype;
        self
    }

    fn tensors(mut self, prefix: &str, tensors: &[(&str, &[u64])]) -> Seed {
        for &(name, shape) in tensors {
            let name = format!("{prefix}{name}");
            let shift = if name.contains("norm") { 1.0 } else { 0.0 };
            let count = shape.iter().product::<u64>() as usize;
            let values = generator::tensor(1, &name, count, 0.5, shift);
            let shape = shape.to_vec();
            self.gguf.tensors.insert(name, Floats { shape, values });
        }
        self
    }
}

/// Every seed by file name.
pub fn all() -> BTreeMap<String, Vec<u8>> {
    let seeds = [
        llama("ok-llama", 4),
        worded(llama("ok-llama-words", 4)),
        llama("ok-llama-q8", 32).stored(DType::Q8_0),
        llama("ok-llama-q4", 32).stored(DType::Q4_0),
        llama("ok-llama-half", 4).stored(DType::BF16),
        scaled("ok-yarn", "yarn"),
        scaled("ok-dynamic", "dynamic"),
        scaled("ok-llama3", "llama3"),
        mixtral(),
        gpt2(),
        bert("ok-bert", "BertModel"),
        bert("ok-bert-masked", "BertForMaskedLM"),
        bert("ok-bert-question", "BertForQuestionAnswering"),
        bert("ok-bert-sequence", "BertForSequenceClassification"),
        t5("ok-t5", "t5"),
        worded(t5("ok-t5-words", "t5")),
        t5("ok-t5-encoder", "t5encoder"),
        mamba(),
        linear_transformer(),
        transformer_xl(),
        compressive_transformer(),
        mamba2(),
        hybrid(),
        retnet(),
        rwkv4(),
        rwkv7(),
    ];
    let file = |seed: Seed| (seed.name.to_owned(), seed.gguf.bytes_as(seed.dtype));
    seeds.into_iter().map(file).collect()
}

/// A folder of a fuzzer's files: its seeds or its regressions.
fn folder(kind: &str, target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    root.join(kind).join(target)
}

/// The files of such a folder by name.
pub fn files(kind: &str, target: &str) -> BTreeMap<String, Vec<u8>> {
    // Without regressions there is no folder.
    let Ok(entries) = fs::read_dir(folder(kind, target)) else {
        return BTreeMap::new();
    };
    let entries = entries.map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn write(target: &str, files: impl Iterator<Item = (String, Vec<u8>)>) {
    let folder = folder("seeds", target);
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

#[test]
#[ignore = "writes the seeds into fuzz/seeds/model"]
fn write_seeds() {
    write("model", all().into_iter());
}

#[test]
#[ignore = "writes the seeds of all that starts from few bytes"]
fn write_small_seeds() {
    for (target, files) in small_seeds() {
        write(target, files.into_iter());
    }
}

/// By target, every seed by file name.
pub fn small_seeds() -> [(&'static str, BTreeMap<String, Vec<u8>>); 8] {
    [
        ("folder", folders::all()),
        ("tasks", tasks::all()),
        ("eval_input", small::evaluations()),
        ("quantize", small::mixes(&all())),
        ("plan", small::damages()),
        ("normalizer", small::normalizers()),
        ("chat_template", small::templates()),
        ("c_calls", small::calls()),
    ]
}

#[test]
#[ignore = "writes the seeds into fuzz/seeds/snapshot"]
fn write_snapshot_seeds() {
    let saved = snapshot::models().map(|(name, model)| (name.to_owned(), snapshot::saved(&model)));
    write("snapshot", saved);
}
