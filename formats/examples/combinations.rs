//! Holds the combinations that `tools/tokenizers/combinations.py` writes: which of them differ, and how.

use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Tokenizer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: combinations FILE.json")?;
    let file: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let mut out = std::io::stdout().lock();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let texts = file["texts"].as_array().ok_or("texts")?;
    for (number, combination) in file["combinations"]
        .as_array()
        .ok_or("combinations")?
        .iter()
        .enumerate()
    {
        let mut whole = combination.clone();
        let mut model = file["models"][combination["model"].as_str().ok_or("model")?].clone();
        for (key, value) in combination["options"].as_object().ok_or("options")? {
            model[key] = value.clone();
        }
        whole["model"] = model;
        whole["expected"] = Value::Null;
        let bytes = serde_json::to_vec(&whole)?;
        let files = HfFiles {
            tokenizer_json: Some(&bytes),
            ..HfFiles::default()
        };
        let tokenizer = match Tokenizer::from_hf(files) {
            Ok(found) => found.ok_or("no tokenizer")?,
            Err(error) => {
                *counts.entry("refused").or_default() += 1;
                writeln!(out, "{number} refused: {error}")?;
                continue;
            }
        };
        let mut what = None;
        let chosen = combination["texts"].as_array().ok_or("indices")?;
        let chosen = chosen
            .iter()
            .map(|index| &texts[index.as_u64().unwrap_or(0) as usize]);
        let expected = combination["expected"].as_array().ok_or("lists")?;
        for (text, expected) in chosen.zip(expected) {
            let text = text.as_str().ok_or("text")?;
            let encode = |options| match tokenizer.encode(text, options) {
                Ok(ids) => json!(ids),
                Err(error) => json!(error.to_string()),
            };
            let plain = encode(EncodeOptions::default());
            let body = encode(EncodeOptions::default().parse_special(true));
            let around = EncodeOptions::default()
                .parse_special(true)
                .add_special(true);
            let around = encode(around);
            let ids: Vec<u32> = serde_json::from_value(expected[1].clone())?;
            let back = tokenizer.decode_text(&ids, DecodeOptions::default());
            for (index, name, found) in [
                (0, "plain", plain),
                (1, "body", body),
                (2, "around", around),
                (3, "text", json!(back)),
            ] {
                let wanted = &expected[index];
                if *wanted != found && !wanted.is_null() && what.is_none() {
                    what = Some((
                        name,
                        format!("{text:?}\n   found {found}\n  wanted {wanted}"),
                    ));
                }
            }
        }
        let Some((name, what)) = what else {
            *counts.entry("same").or_default() += 1;
            continue;
        };
        *counts.entry(name).or_default() += 1;
        whole["model"] = combination["model"].clone();
        writeln!(out, "{number} {name} {what}\n  {whole}")?;
    }
    writeln!(out, "{counts:?}")?;
    Ok(())
}
