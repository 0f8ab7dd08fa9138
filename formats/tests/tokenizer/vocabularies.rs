//! Published vocabularies against the ids their reference implementation gives. The files
//! are too large to be kept here: name their folder in `RILLM_VOCAB_DIR`.

use rillm_formats::gguf;
use rillm_formats::manifest::Metadata;
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};
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

/// What is encoded, comes back.
fn agrees(name: &str) {
    for (tokenizer, text, found) in encodes_as(name) {
        let back = tokenizer.decode(&found, DecodeOptions::default());
        assert_eq!(std::str::from_utf8(&back), Ok(text.as_str()), "{name}");
    }
}

fn encodes_as(name: &str) -> Vec<(std::rc::Rc<Tokenizer>, String, Vec<u32>)> {
    let Some(metadata) = metadata(name) else {
        return Vec::new();
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
    let tokenizer = std::rc::Rc::new(tokenizer);
    let check = |(text, expected): (&&str, &Vec<u32>)| {
        let found = tokenizer
            .encode(text, EncodeOptions::default())
            .expect("within bounds");
        assert_eq!(&found, expected, "{name}: {text:?}");
        (std::rc::Rc::clone(&tokenizer), (*text).to_string(), found)
    };
    texts.iter().zip(&ids).map(check).collect()
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
fn bert_bge() {
    encodes_as("ggml-vocab-bert-bge.gguf");
}
