//! Vocabularies alone: what weights there are, and whether, is no matter to texts and tokens.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::folder::TempFolder;
use crate::text::well;
use crate::{failure, rillm};

/// A new folder with what of a tiny encoder's a closure wants.
fn folder(wanted: impl Fn(&str) -> bool) -> TempFolder {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tasks/classify");
    let copy = TempFolder::new("vocabulary");
    for entry in fs::read_dir(&whole).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_str().expect("text");
        if wanted(name) {
            fs::copy(&path, copy.join(name)).expect("a copy");
        }
    }
    copy
}

fn ids(model: &Path) -> String {
    let model = model.to_str().expect("text");
    well(&["tokenize", model, "A good film, no doubt.", "--ids"])
}

#[test]
fn tokens_need_no_weights() {
    let whole = folder(|_| true);
    let expected = ids(&whole);
    let without = |name: &str, bytes: &[u8]| {
        let folder = folder(|name| name != "model.safetensors");
        fs::write(folder.join(name), bytes).expect("a file");
        folder
    };
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for folder in [
        folder(|name| name != "model.safetensors"),
        folder(|name| name.starts_with("tokenizer")),
        without("model.safetensors", pointer),
        without("model.safetensors.index.json", b"{}"),
        without("pytorch_model.bin", b"PK\x03\x04"),
        without("config.json", b"{\"model_type\": \"nobody_knows\"}"),
        without(
            "config.json",
            b"{\"quantization_config\": {\"quant_method\": \"gptq\"}}",
        ),
    ] {
        assert_eq!(ids(&folder), expected);
        assert_eq!(ids(&folder.join("tokenizer.json")), expected);
        let name = folder.to_str().expect("text");
        let back: Vec<&str> = ["detokenize", name]
            .into_iter()
            .chain(expected.split_whitespace())
            .collect();
        assert!(well(&back).contains("good film"));
    }
    // Whoever wants more hears what is missing.
    let bare = folder(|name| name != "model.safetensors");
    let arguments = ["classify", bare.to_str().expect("text"), "A good film"];
    failure(&rillm(&arguments), 1, &["no model.safetensors is here"]);
    let unfetched = without("tokenizer.json", pointer);
    let arguments = ["tokenize", unfetched.to_str().expect("text"), "A"];
    failure(&rillm(&arguments), 1, &["tokenizer.json", "git lfs pull"]);
    let nothing = folder(|_| false);
    let arguments = ["tokenize", nothing.to_str().expect("text"), "A"];
    failure(&rillm(&arguments), 1, &["no config.json"]);
}

/// The header is all that a vocabulary is in: a download that has come so far will do, and so will the
/// first part of a split file.
#[test]
fn of_a_gguf_file_tokens_need_the_header() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.gguf");
    let expected = ids(&demo);
    let bytes = fs::read(&demo).expect("a file");
    let folder = TempFolder::new("header");
    let cut: PathBuf = folder.join("cut.gguf");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("a file");
    assert_eq!(ids(&cut), expected);
    let arguments = ["run", cut.to_str().expect("text"), "-p", "A", "-n", "1"];
    failure(&rillm(&arguments), 1, &["cut.gguf"]);
}
