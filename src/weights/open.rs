//! From a path to mapped files and a manifest.

use super::elsewhere;
use super::folder::{self, holder};
use super::{ModuleFiles, Source, regular};
use crate::error::{LoadError, LoadErrorKind};
use rillm_formats::manifest::{Array, Manifest, Metadata, MetadataValue, Strings};
use rillm_formats::{FormatError, gguf};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

/// A model's files, mapped and parsed.
#[derive(Debug)]
pub struct Files {
    /// What they say.
    pub manifest: Manifest,
    /// Their bytes; tensors name them by index.
    pub sources: Vec<Source>,
    /// Where the tokenizer is, if it is not in the metadata.
    pub tokenizer: TokenizerFiles,
    /// What sentence-transformers keeps beside it.
    pub modules: ModuleFiles,
    /// The path that was asked for.
    pub path: PathBuf,
    /// What of it could not be read and is done without, and what that means: a line each.
    pub notes: Vec<String>,
}

/// The tokenizer's files of a Hugging Face folder, as far as they are there.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // named as the files are
pub struct TokenizerFiles {
    pub tokenizer_json: Option<Vec<u8>>,
    pub tokenizer_model: Option<Vec<u8>>,
    pub source_spm: Option<Vec<u8>>,
    pub target_vocab_json: Option<Vec<u8>>,
    pub vocab_json: Option<Vec<u8>>,
    pub merges_txt: Option<Vec<u8>>,
    pub vocab_txt: Option<Vec<u8>>,
    pub added_tokens: Option<Vec<u8>>,
    pub rwkv_vocabulary: Option<Vec<u8>>,
    pub tokenizer_config: Option<Vec<u8>>,
    pub generation_config: Option<Vec<u8>>,
    pub config: Option<Vec<u8>>,
    pub special_tokens_map: Option<Vec<u8>>,
    pub chat_template: Option<Vec<u8>>,
    pub additional_chat_templates: BTreeMap<String, Vec<u8>>,
}

impl Files {
    /// Copies what is mapped into memory of this process's own: opening takes as long as reading
    /// all of it, which other processes then no longer share, and running is faster where the
    /// system caches files in small pages. `done` counts bytes.
    ///
    /// # Errors
    /// There is not so much memory.
    pub fn copy(&mut self, threads: usize, done: &AtomicU64) -> Result<(), LoadError> {
        for source in &mut self.sources {
            let copied = source.copied(threads, done);
            if let Some(copied) = copied.map_err(|error| io(&self.path, &error))? {
                *source = copied;
            }
        }
        Ok(())
    }
}

impl TokenizerFiles {
    /// The most tokens of a text that the tokenizer's settings say, those around it among them.
    pub fn model_max_length(&self) -> Option<u32> {
        let config = self.tokenizer_config.as_deref()?;
        let config: Value = serde_json::from_slice(config).ok()?;
        let length = config.get("model_max_length")?.as_f64()?;
        // Where nobody set it, it is a number without a meaning, of thirty digits.
        (1.0..=f64::from(u32::MAX))
            .contains(&length)
            .then_some(length as u32)
    }

    /// From which language to which a translator of these two translates.
    pub fn language_pair(&self) -> Option<[String; 2]> {
        let config = self.tokenizer_config.as_deref()?;
        let config: Value = serde_json::from_slice(config).ok()?;
        let said = |key| config.get(key)?.as_str().map(str::to_owned);
        Some([said("source_lang")?, said("target_lang")?])
    }

    /// Chat templates by their names: from files of their own, or, if there are none, from
    /// `tokenizer_config.json`. One that stands there alone is the default.
    pub fn chat_templates(&self) -> BTreeMap<String, String> {
        let usual = self
            .chat_template
            .iter()
            .map(|bytes| (DEFAULT_TEMPLATE, bytes));
        let more = self.additional_chat_templates.iter();
        let files = more
            .map(|(name, bytes)| (name.as_str(), bytes))
            .chain(usual);
        let text = |(name, bytes): (&str, &Vec<u8>)| {
            let text = std::str::from_utf8(bytes).ok()?;
            Some((name.to_string(), text.to_string()))
        };
        let files: BTreeMap<String, String> = files.filter_map(text).collect();
        match files.is_empty() {
            true => self.configured_templates().unwrap_or_default(),
            false => files,
        }
    }

    /// The same as keys of GGUF: the default one, the others by their names, and a list of those.
    pub fn chat_templates_of_gguf(&self) -> Vec<(String, MetadataValue)> {
        let mut keys = Vec::new();
        let mut names = Strings::default();
        for (name, template) in self.chat_templates() {
            let key = match name.as_str() {
                DEFAULT_TEMPLATE => CHAT_TEMPLATE.to_string(),
                name => {
                    let plain = |char: char| match char.is_ascii_alphanumeric() {
                        true => char,
                        false => '_',
                    };
                    let name: String = name.chars().map(plain).collect();
                    names.push(name.as_bytes());
                    format!("{CHAT_TEMPLATE}.{name}")
                }
            };
            keys.push((key, MetadataValue::String(template)));
        }
        if !names.is_empty() {
            let names = MetadataValue::Array(Array::String(names));
            keys.push(("tokenizer.chat_templates".to_string(), names));
        }
        keys
    }

    fn configured_templates(&self) -> Option<BTreeMap<String, String>> {
        let config: Value = serde_json::from_slice(self.tokenizer_config.as_deref()?).ok()?;
        let named = |name: &str, template: &Value| {
            let template = template.as_str()?;
            Some((name.to_string(), template.to_string()))
        };
        Some(match config.get("chat_template")? {
            template @ Value::String(_) => named(DEFAULT_TEMPLATE, template).into_iter().collect(),
            Value::Object(templates) => {
                let all = templates.iter();
                all.filter_map(|(name, template)| named(name, template))
                    .collect()
            }
            Value::Array(templates) => {
                let one = |one: &Value| named(one.get("name")?.as_str()?, one.get("template")?);
                templates.iter().filter_map(one).collect()
            }
            _ => return None,
        })
    }
}

/// The name of the chat template that counts where several are named.
pub const DEFAULT_TEMPLATE: &str = "default";

/// The key of that template in GGUF; others follow it, a dot between.
const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

/// Chat templates of a GGUF file by their names.
pub fn chat_templates_of(metadata: &Metadata) -> BTreeMap<String, String> {
    let keys = metadata.0.range(CHAT_TEMPLATE.to_string()..);
    let keys = keys.map_while(|(key, value)| Some((key.strip_prefix(CHAT_TEMPLATE)?, value)));
    let named = keys.filter_map(|(rest, value)| {
        let name = match rest {
            "" => DEFAULT_TEMPLATE,
            _ => rest.strip_prefix('.')?,
        };
        match value {
            MetadataValue::String(text) => Some((name.to_string(), text.clone())),
            _ => None,
        }
    });
    named.collect()
}

/// Opens a GGUF file (or the first of a split one), or a Hugging Face folder.
///
/// # Errors
/// Says which file is missing, unreadable or damaged, and how.
pub fn open(path: &Path) -> Result<Files, LoadError> {
    let facts = std::fs::metadata(path).map_err(|error| io(path, &error))?;
    if facts.is_dir() {
        folder::open(path)
    } else {
        file(path)
    }
}

/// Opens a GGUF file whose bytes are at hand.
///
/// # Errors
/// As [`open`].
pub fn open_source(source: Source) -> Result<Files, LoadError> {
    let parsed = gguf::parse(source.bytes(), 0).map_err(format)?;
    let manifest = gguf::merge(vec![parsed]).map_err(format)?;
    let sources = vec![source];
    Ok(Files {
        modules: ModuleFiles::of_gguf(&manifest, &sources),
        manifest,
        sources,
        tokenizer: TokenizerFiles::default(),
        path: PathBuf::new(),
        notes: Vec::new(),
    })
}

fn file(path: &Path) -> Result<Files, LoadError> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let other = name.ends_with(".safetensors") || name.ends_with(".json");
    if other && !begins_as_gguf(path) {
        let parent = beside(path);
        if holder(parent).is_some() {
            return folder::open(parent);
        }
        // Weights of another kind, which what lies beside them tells.
        let others = ["adapter_config.json", "params.json"];
        if others.iter().any(|name| parent.join(name).is_file()) {
            return Err(elsewhere::no_config(parent));
        }
        if name.ends_with(".safetensors") {
            return Err(LoadError::new(LoadErrorKind::Format, ALONE).at(path));
        }
    }
    let paths = match gguf::split_names(name) {
        Some(names) => names.iter().map(|name| path.with_file_name(name)).collect(),
        None => vec![path.to_path_buf()],
    };
    let mut parsed = Vec::new();
    let mut sources = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let source = Source::map(path).map_err(|error| io(path, &error))?;
        if let Some(what) = other_kind(source.bytes()) {
            return Err(LoadError::new(LoadErrorKind::Format, what).at(path));
        }
        let part = gguf::parse(source.bytes(), index as u32);
        parsed.push(part.map_err(|error| format(error).at(path))?);
        sources.push(source);
    }
    let manifest = gguf::merge(parsed).map_err(|error| format(error).at(path))?;
    let tokenizer = TokenizerFiles::default();
    Ok(Files {
        modules: ModuleFiles::of_gguf(&manifest, &sources),
        manifest,
        sources,
        tokenizer,
        path: path.to_path_buf(),
        notes: Vec::new(),
    })
}

/// The folder that a file lies in.
pub(super) fn beside(file: &Path) -> &Path {
    let parent = file.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

/// Whether a file is GGUF whatever it is called. One that cannot be read is not.
pub(super) fn begins_as_gguf(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = regular::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && &magic == b"GGUF"
}

/// What a file is that is no GGUF file, if it can be told, and what to do about it.
pub(super) fn other_kind(bytes: &[u8]) -> Option<String> {
    if is_pickle(bytes) {
        return Some(format!("this looks like {PICKLE}"));
    }
    if is_pointer(bytes) {
        return Some(POINTER.to_string());
    }
    // A length of eight bytes, of which no header needs more than four, and JSON.
    matches!(bytes, [_, _, _, _, 0, 0, 0, 0, b'{', ..]).then(|| ALONE.to_string())
}

const ALONE: &str = "a safetensors file says nothing about its architecture: put it into a folder with its \
                     config.json, and give the folder";

/// What to do about weights that PyTorch has pickled: reading them would run what they say. Tensors
/// are cloned since `save_file` refuses those that share memory, as tied ones do.
pub(super) const PICKLE: &str = "a pickle of PyTorch, which is not read here: save its tensors as model.safetensors \
     (safetensors.torch.save_file({k: v.contiguous().clone() for k, v in torch.load(PATH, \
     weights_only=True).items()}, \"model.safetensors\")) in a folder with their config.json";

/// Whether a file begins as `torch.save` writes it, in a zip archive or as pickles of old.
fn is_pickle(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 2..=5, ..])
}

/// What Git leaves in the place of a large file that it has not fetched.
pub(super) const POINTER: &str =
    "this is a pointer of Git LFS, and not the file: run git lfs pull in its folder";

/// Whether a file is such a pointer.
pub(super) fn is_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

pub(super) fn io(path: &Path, error: &std::io::Error) -> LoadError {
    LoadError::new(LoadErrorKind::Io, error.to_string()).at(path)
}

pub(super) fn format(error: FormatError) -> LoadError {
    LoadError::new(LoadErrorKind::Format, error.to_string())
}
