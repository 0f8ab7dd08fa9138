//! Published vocabularies against the ids their reference implementation gives. The files
//! are too large to be kept here: name their folder in `RILLM_VOCAB_DIR`.

use rillm_formats::gguf;
use rillm_formats::manifest::Metadata;
use rillm_formats::tokenizer::{DecodeOptions, Encode, Tokenizer, TokenizerErrorKind};
use std::path::PathBuf;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("RILLM_VOCAB_DIR").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: RILLM_VOCAB_DIR names no folder of vocabularies");
    }
    folder
}

fn metadata(name: &str) -> Option<Metadata> {
    let bytes = std::fs::read(folder()?.join(name)).expect(name);
    Some(gguf::parse(&bytes, 0).expect(name).metadata)
}

fn agrees(name: &str) {
    let Some(metadata) = metadata(name) else {
        return;
    };
    let folder = folder().expect("checked above");
    let texts = std::fs::read_to_string(folder.join(format!("{name}.inp"))).expect("texts");
    let ids = std::fs::read_to_string(folder.join(format!("{name}.out"))).expect("ids");
    let tokenizer = Tokenizer::from_gguf(&metadata)
        .expect("a tokenizer")
        .expect("a vocabulary");
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let ids: Vec<Vec<u32>> = ids
        .lines()
        .map(|line| {
            line.split_whitespace()
                .map(|id| id.parse().expect("an id"))
                .collect()
        })
        .collect();
    assert!(ids.len() > 40);
    for (text, expected) in texts.iter().zip(&ids) {
        let found = tokenizer.encode(text, Encode::default());
        assert_eq!(&found, expected, "{name}: {text:?}");
        let back = tokenizer.decode(&found, DecodeOptions::default());
        assert_eq!(std::str::from_utf8(&back), Ok(*text), "{name}");
    }
}

#[test]
fn llama_spm() {
    agrees("ggml-vocab-llama-spm.gguf");
}

#[test]
fn llama_bpe() {
    agrees("ggml-vocab-llama-bpe.gguf");
}

#[test]
fn gpt_2() {
    agrees("ggml-vocab-gpt-2.gguf");
}

#[test]
fn deepseek_llm() {
    agrees("ggml-vocab-deepseek-llm.gguf");
}

#[test]
fn wordpiece_is_refused_by_name() {
    let Some(metadata) = metadata("ggml-vocab-bert-bge.gguf") else {
        return;
    };
    let error = Tokenizer::from_gguf(&metadata).expect_err("not supported");
    assert_eq!(error.kind(), TokenizerErrorKind::Unsupported);
    assert!(error.to_string().contains("WordPiece"), "{error}");
}
