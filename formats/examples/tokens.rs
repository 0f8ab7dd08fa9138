//! Encodes a list of texts and writes what became of them, or how long it took: what
//! `tools/tokenizers/compare.py` holds against the reference libraries.
//!
//! ```sh
//! tokens VOCABULARY TEXTS.json [--special] [--around]   # a JSON line for each text: ids, text
//! tokens VOCABULARY TEXTS.json --time                   # seconds for all of them, best of five
//! ```

use rillm_formats::gguf;
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Tokenizer};
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

fn open(path: &Path) -> Result<Option<Tokenizer>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let extension = path.extension().unwrap_or_default();
    Ok(if extension == "gguf" {
        Tokenizer::from_gguf(&gguf::parse(&bytes, 0)?.metadata)?
    } else if extension == "model" {
        Tokenizer::from_hf(HfFiles {
            tokenizer_model: Some(&bytes),
            ..HfFiles::default()
        })?
    } else {
        Tokenizer::from_hf(HfFiles {
            tokenizer_json: Some(&bytes),
            ..HfFiles::default()
        })?
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [vocabulary, texts, flags @ ..] = arguments.as_slice() else {
        return Err("usage: tokens VOCABULARY TEXTS.json [--special] [--around] [--time]".into());
    };
    let has = |name: &str| flags.iter().any(|flag| flag == name);
    let tokenizer = open(vocabulary.as_ref())?.ok_or("the file has no vocabulary")?;
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(texts)?)?;
    let options = EncodeOptions::default()
        .add_special(has("--around"))
        .parse_special(has("--special"));
    let mut out = std::io::stdout().lock();
    if has("--time") {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            for text in &texts {
                std::hint::black_box(tokenizer.encode(text, options)?);
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        writeln!(out, "{best}")?;
        return Ok(());
    }
    for text in &texts {
        let ids = tokenizer.encode(text, options)?;
        let back = tokenizer.decode_text(&ids, DecodeOptions::default());
        writeln!(out, "{}", serde_json::json!({ "ids": ids, "text": back }))?;
    }
    Ok(())
}
