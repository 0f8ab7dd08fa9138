//! Texts that end where they are told to, whatever the tokens that they are made of.

use crate::{rillm, text};
use rillm_formats::manifest::{Array, MetadataValue, Strings};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::to_gguf::Gguf;

/// A model that goes on from "$" with these tokens, one after the other.
pub fn reciting(folder: &Path, pieces: &[&[u8]]) -> PathBuf {
    let mut gguf = Gguf::of(&Fixture::load("llama_mqa"));
    // The layers add nothing: what comes next depends on the last token alone.
    for (name, floats) in &mut gguf.tensors {
        if name.contains("attn_output") || name.contains("ffn_down") {
            floats.values.fill(0.0);
        }
        if name == "output_norm.weight" {
            floats.values.fill(1.0);
        }
    }
    let rows = &gguf.tensors["token_embd.weight"];
    let (count, width) = (rows.shape[0] as usize, rows.shape[1] as usize);
    let unit = |row: &[f32]| -> Vec<f32> {
        let len = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter().map(|x| x / len).collect()
    };
    let mut next: Vec<f32> = rows.values.chunks(width).flat_map(unit).collect();
    // Each token is the likeliest after the one before it.
    next.rotate_right(width);
    gguf.tensors
        .get_mut("output.weight")
        .expect("an output of its own")
        .values = next;
    let mut tokens = Strings::default();
    for piece in [b"".as_slice(), b"$"].iter().chain(pieces) {
        let escaped = piece.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "\\x{byte:02x}");
            text
        });
        tokens.push(escaped.as_bytes());
    }
    for number in tokens.len()..count {
        tokens.push(format!("({number})").as_bytes());
    }
    for (key, value) in [
        ("model", MetadataValue::String("rwkv".into())),
        ("tokens", MetadataValue::Array(Array::String(tokens))),
    ] {
        let key = format!("tokenizer.ggml.{key}");
        gguf.metadata.0.insert(key, value);
    }
    let path = folder.join("reciting.gguf");
    fs::write(&path, gguf.bytes()).expect("a file");
    path
}

/// What the model writes, and why it stopped.
fn written(model: &Path, more: &[&str]) -> (String, String) {
    let model = crate::path(model);
    let base = ["run", model, "-p", "$", "--temp", "0", "-n", "60"];
    let plain = rillm(&[&base[..], &["--no-display-prompt"], more].concat());
    assert!(plain.status.success(), "{}", text(&plain.stderr));
    let json = rillm(&[&base[..], &["--json"], more].concat());
    let json = text(&json.stdout);
    let mut lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let whole = lines.pop().expect("a line for the whole");
    let string = |line: &serde_json::Value, key: &str| line[key].as_str().expect(key).to_string();
    let all = string(&whole, "text");
    let shown: String = lines.iter().map(|line| string(line, "text")).collect();
    let stop = string(&whole, "stop");
    // What comes last may be held back until it is known not to begin a stop string.
    assert!(all.starts_with(&shown), "{all:?} {shown:?}");
    assert_eq!(text(&plain.stdout), format!("{all}\n"));
    (all, stop)
}

#[test]
fn a_stop_string_may_begin_and_end_inside_tokens_and_characters() {
    let all = " schön ☃Ha☃Halt☃é und Ende 終わり.";
    let bytes = all.as_bytes();
    let folder = TempFolder::new("reciting");
    let mut cuts: Vec<Vec<&[u8]>> = [1, 2, 3, 4, 5, 7]
        .map(|len| bytes.chunks(len).collect())
        .into();
    // A token that ends inside the stop string's first character, and one that begins inside.
    let at = all.find("☃Halt").expect("it is there");
    let (first, rest) = bytes.split_at(at + 1);
    let (second, third) = rest.split_at(1);
    cuts.push(vec![first, second, third]);
    for pieces in cuts {
        let model = reciting(&folder, &pieces);
        for stop in ["☃Halt", "ö", "☃é", "é", "n ☃", "終", "り.", "☃Halt☃é und"] {
            let before = &all[..all.find(stop).expect("it is there")];
            let expected = (before.to_string(), "stop string".to_string());
            assert_eq!(
                written(&model, &["-r", stop]),
                expected,
                "{stop:?} {pieces:?}"
            );
        }
        // Of several, the one that is complete first.
        let several = ["-r", "Ende", "-r", "☃Halt", "-r", "☃X"];
        let (found, _) = written(&model, &several);
        assert_eq!(found, &all[..at], "{pieces:?}");
        // What only begins like one is shown; nothing is lost or doubled.
        let in_vain = written(&model, &["-r", "☃Hz", "-r", "終わるX"]);
        assert!(in_vain.0.starts_with(all), "{in_vain:?}");
        assert_eq!(in_vain.1, "length reached");
    }
}
