//! Published vocabularies against the ids their reference implementation gives. The files
//! are too large to be kept here: name their folder in `RILLM_VOCAB_DIR`.

use rillm_formats::manifest::{Array, Metadata, Strings, Value};
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
    Some(Reader(&bytes).metadata())
}

/// Reads the metadata of a GGUF file that is trusted to be well-formed.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("enough bytes");
        self.0 = rest;
        *head
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
    fn text(&mut self) -> &[u8] {
        let len = self.u64() as usize;
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        text
    }
    fn metadata(&mut self) -> Metadata {
        assert_eq!(&self.take::<4>(), b"GGUF");
        let (_version, _tensors, pairs) = (self.u32(), self.u64(), self.u64());
        let mut metadata = Metadata::default();
        for _ in 0..pairs {
            let key = String::from_utf8(self.text().to_vec()).expect("a key");
            let value = self.value();
            metadata.0.insert(key, value);
        }
        metadata
    }
    fn value(&mut self) -> Value {
        match self.u32() {
            4 => Value::U32(self.u32()),
            5 => Value::I32(self.u32() as i32),
            6 => Value::F32(f32::from_bits(self.u32())),
            7 => Value::Bool(self.take::<1>() != [0]),
            8 => Value::String(String::from_utf8(self.text().to_vec()).expect("text")),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                Value::Array(match kind {
                    5 => Array::I32((0..count).map(|_| self.u32() as i32).collect()),
                    6 => Array::F32((0..count).map(|_| f32::from_bits(self.u32())).collect()),
                    8 => {
                        let mut strings = Strings::default();
                        for _ in 0..count {
                            strings.push(self.text());
                        }
                        Array::String(strings)
                    }
                    other => panic!("array of type {other}"),
                })
            }
            other => panic!("value of type {other}"),
        }
    }
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
