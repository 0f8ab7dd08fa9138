//! Opens a folder that may be hostile, and does with it what users do: runs it, tokenizes, chats.
//! Uses nothing but the library, so that the fuzz target shares it.

use std::fs;
use std::path::Path;

use rillm::chat::{ChatTemplate, Message};
use rillm::formats::tokenizer::{DecodeOptions, EncodeOptions};
use rillm::{Model, ModelOptions};

use super::exercise::{exercise, one_line};
use super::render::render;

/// What may lie in a folder.
pub const FILES: [&str; 17] = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-00001-of-00001.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];

/// Stands, with a file's name and a line's end after it, before that file's bytes.
const MARK: &[u8] = b"\n=== ";

/// Text with the ends of words, numbers, bytes above ASCII and what looks like control tokens.
const TEXT: &str = "Hello  World's 1234 <s>[MASK]\t\r\n\u{e9}\u{2581}\u{1f600}</s>";

/// The bytes of a folder of these files.
pub fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let file = |(name, bytes): &(&str, &[u8])| [MARK, name.as_bytes(), b"\n", bytes].concat();
    files.iter().flat_map(file).collect()
}

/// The files that these bytes hold.
fn unpacked(bytes: &[u8]) -> Vec<(&'static str, &[u8])> {
    let named = |at: usize| {
        let rest = bytes[at..].strip_prefix(MARK)?;
        let name = FILES.iter().find(|name| {
            rest.strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.starts_with(b"\n"))
        })?;
        Some((at, *name, at + MARK.len() + name.len() + 1))
    };
    let marks: Vec<_> = (0..bytes.len()).filter_map(named).collect();
    let ends = marks.iter().skip(1).map(|mark| mark.0).chain([bytes.len()]);
    let files = marks.iter().zip(ends);
    // Of two marks that overlap the first file is empty.
    files
        .map(|(&(_, name, start), end)| (name, bytes.get(start..end).unwrap_or_default()))
        .collect()
}

/// Writes the files that these bytes hold into `folder`.
pub fn unpack(bytes: &[u8], folder: &Path) {
    for (name, bytes) in unpacked(bytes) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder to write to");
        fs::write(path, bytes).expect("a folder to write to");
    }
}

/// Unpacks the files into `folder`, which is empty, and opens it. Panics if there is a defect;
/// returns whether it opened.
pub fn open_folder(bytes: &[u8], folder: &Path) -> bool {
    unpack(bytes, folder);
    let model = match Model::open(folder, ModelOptions::default().threads(1)) {
        Ok(model) => model,
        Err(error) => {
            one_line(&error);
            return false;
        }
    };
    exercise(&model);
    match model.tokenizer() {
        Ok(tokenizer) => {
            for special in [false, true] {
                let options = EncodeOptions::default();
                let options = options.add_special(special).parse_special(special);
                match tokenizer.encode(TEXT, options) {
                    Ok(ids) => drop(tokenizer.decode_text(&ids, DecodeOptions::default())),
                    Err(error) => one_line(&error),
                }
            }
        }
        Err(error) => one_line(&error),
    }
    if let Some(source) = ChatTemplate::of(&model) {
        render(&source, &[Message::new("user", TEXT)]);
    }
    true
}
