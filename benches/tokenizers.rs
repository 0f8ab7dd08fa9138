//! Tokenizers in bytes of text per second: one long text and many short ones, and the texts that
//! make quadratic algorithms show. The vocabularies are the tests' small ones; those in the
//! folder that `RILLM_VOCAB_DIR` names, as GGUF files or `tokenizer.json`s, come on top.

use criterion::{BenchmarkId, Criterion, Throughput};
use rillm_formats::gguf;
use rillm_formats::tokenizer::{EncodeOptions, HfFiles, Tokenizer};
use std::hint::black_box;
use std::path::Path;

fn open(path: &Path) -> Option<Tokenizer> {
    let bytes = std::fs::read(path).ok()?;
    let files = match path.extension()?.to_str()? {
        "gguf" => {
            let file = gguf::parse(&bytes, 0).ok()?;
            return Tokenizer::from_gguf(&file.metadata).ok()?;
        }
        "model" => HfFiles {
            tokenizer_model: Some(&bytes),
            ..HfFiles::default()
        },
        "json" => HfFiles {
            tokenizer_json: Some(&bytes),
            ..HfFiles::default()
        },
        _ => return None,
    };
    Tokenizer::from_hf(files).ok()?
}

/// This repository's own words, a megabyte of them.
fn prose() -> String {
    let files = ["README.md", "ARCHITECTURE.md", "src/lib.rs"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let texts = files.map(|file| std::fs::read_to_string(root.join(file)).unwrap_or_default());
    let text = texts.concat();
    text.repeat((1 << 20) / text.len().max(1) + 1)
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/tests/data/tokenizer");
    let folders = [
        Some(fixtures),
        std::env::var_os("RILLM_VOCAB_DIR").map(Into::into),
    ];
    let prose = prose();
    let lines: Vec<&str> = prose.split_inclusive('\n').collect();
    let runs = [
        ("letters", "a"),
        ("spaces", " "),
        ("digits", "7"),
        ("emoji", "👍🏽"),
    ];
    let runs = runs.map(|(name, run)| (name, run.repeat((1 << 20) / run.len())));
    let folders = folders.into_iter().flatten();
    let mut paths: Vec<_> = folders
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        let Some(tokenizer) = open(&path) else {
            continue;
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut group = criterion.benchmark_group(format!("encode/{name}"));
        group.sample_size(10);
        group.throughput(Throughput::Bytes(prose.len() as u64));
        group.bench_function("whole", |bencher| {
            bencher.iter(|| {
                tokenizer
                    .encode(black_box(&prose), EncodeOptions::default())
                    .expect("within bounds")
            });
        });
        group.bench_function("lines", |bencher| {
            bencher.iter(|| {
                for line in &lines {
                    black_box(
                        tokenizer
                            .encode(black_box(line), EncodeOptions::default())
                            .expect("within bounds"),
                    );
                }
            });
        });
        for (run, text) in &runs {
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::new("run", run), |bencher| {
                bencher.iter(|| {
                    tokenizer
                        .encode(black_box(text), EncodeOptions::default())
                        .expect("within bounds")
                });
            });
        }
    }
    criterion.final_summary();
}
