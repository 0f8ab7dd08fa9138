//! From a path to mapped files and a manifest.

use super::Source;
use crate::error::{LoadError, LoadErrorKind};
use crate::models::recognise;
use rillm_formats::manifest::Manifest;
use rillm_formats::safetensors::ShardIndex;
use rillm_formats::{FormatError, gguf, hf_config, safetensors};
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
    /// The path that was asked for.
    pub path: PathBuf,
}

/// The tokenizer's files of a Hugging Face folder, as far as they are there.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // named as the files are
pub struct TokenizerFiles {
    pub tokenizer_json: Option<Vec<u8>>,
    pub tokenizer_model: Option<Vec<u8>>,
    pub rwkv_vocabulary: Option<Vec<u8>>,
    pub tokenizer_config: Option<Vec<u8>>,
    pub generation_config: Option<Vec<u8>>,
    pub special_tokens_map: Option<Vec<u8>>,
    pub chat_template: Option<Vec<u8>>,
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
    /// The chat template, from a file of its own or from `tokenizer_config.json`; of several,
    /// the default one.
    pub fn chat_template(&self) -> Option<String> {
        if let Some(bytes) = &self.chat_template {
            return String::from_utf8(bytes.clone()).ok();
        }
        let config = self.tokenizer_config.as_deref()?;
        let config: serde_json::Value = serde_json::from_slice(config).ok()?;
        match config.get("chat_template")? {
            serde_json::Value::String(template) => Some(template.clone()),
            serde_json::Value::Array(templates) => {
                let name = |template: &&serde_json::Value| {
                    template.get("name").is_some_and(|name| name == "default")
                };
                let found = templates.iter().find(name)?;
                found.get("template")?.as_str().map(str::to_string)
            }
            _ => None,
        }
    }
}

/// Opens a GGUF file (or the first of a split one), or a Hugging Face folder.
///
/// # Errors
/// Says which file is missing, unreadable or damaged, and how.
pub fn open(path: &Path) -> Result<Files, LoadError> {
    let facts = std::fs::metadata(path).map_err(|error| io(path, &error))?;
    if facts.is_dir() {
        folder(path)
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
    Ok(Files {
        manifest,
        sources: vec![source],
        tokenizer: TokenizerFiles::default(),
        path: PathBuf::new(),
    })
}

fn file(path: &Path) -> Result<Files, LoadError> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if name.ends_with(".safetensors") {
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if parent.join("config.json").is_file() {
            return folder(parent);
        }
        let what = "a safetensors file says nothing about its architecture, put it into a folder with its config.json";
        return Err(LoadError::new(LoadErrorKind::Format, what).at(path));
    }
    let paths = match gguf::split_names(name) {
        Some(names) => names.iter().map(|name| path.with_file_name(name)).collect(),
        None => vec![path.to_path_buf()],
    };
    let mut parsed = Vec::new();
    let mut sources = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let source = Source::map(path).map_err(|error| io(path, &error))?;
        if is_pickle(source.bytes()) {
            let what = format!("this looks like {PICKLE}");
            return Err(LoadError::new(LoadErrorKind::Format, what).at(path));
        }
        let part = gguf::parse(source.bytes(), index as u32);
        parsed.push(part.map_err(|error| format(error).at(path))?);
        sources.push(source);
    }
    let manifest = gguf::merge(parsed).map_err(|error| format(error).at(path))?;
    let tokenizer = TokenizerFiles::default();
    Ok(Files {
        manifest,
        sources,
        tokenizer,
        path: path.to_path_buf(),
    })
}

fn folder(folder: &Path) -> Result<Files, LoadError> {
    let config_path = folder.join("config.json");
    if !config_path.is_file() {
        return Err(no_config(folder));
    }
    let config = read(&config_path)?;
    // What is wrong with a file of JSON names it already.
    let mut config = hf_config::parse(&config).map_err(|error| format(error).at(folder))?;
    if config.model_type.is_none() {
        config.model_type = recognise(&config.metadata).map(str::to_string);
    }
    let generation_config = optional(&folder.join("generation_config.json"))?;
    if let Some(bytes) = &generation_config {
        hf_config::parse_generation(bytes, &mut config.metadata)
            .map_err(|error| format(error).at(folder))?;
    }
    let (paths, index) = shards(folder)?;
    let mut parsed = Vec::new();
    let mut sources = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let source = Source::map(path).map_err(|error| io(path, &error))?;
        let shard = safetensors::parse(source.bytes(), number as u32);
        parsed.push(shard.map_err(|error| format(error).at(path))?);
        sources.push(source);
    }
    let manifest = safetensors::merge(config, parsed, index.as_ref());
    let manifest = manifest.map_err(|error| format(error).at(folder))?;
    let tokenizer = TokenizerFiles {
        tokenizer_json: optional(&folder.join("tokenizer.json"))?,
        tokenizer_model: optional(&folder.join("tokenizer.model"))?,
        rwkv_vocabulary: rwkv_vocabulary(folder)?,
        tokenizer_config: optional(&folder.join("tokenizer_config.json"))?,
        chat_template: optional(&folder.join("chat_template.jinja"))?,
        generation_config,
        special_tokens_map: optional(&folder.join("special_tokens_map.json"))?,
    };
    let path = folder.to_path_buf();
    Ok(Files {
        manifest,
        sources,
        tokenizer,
        path,
    })
}

/// The weight files of a folder, and the index that names them if there is one.
fn shards(folder: &Path) -> Result<(Vec<PathBuf>, Option<ShardIndex>), LoadError> {
    let index_path = folder.join("model.safetensors.index.json");
    if index_path.is_file() {
        let index =
            ShardIndex::parse(&read(&index_path)?).map_err(|error| format(error).at(folder))?;
        let paths = index.files().iter().map(|name| folder.join(name)).collect();
        return Ok((paths, Some(index)));
    }
    let single = folder.join("model.safetensors");
    if single.is_file() {
        return Ok((vec![single], None));
    }
    let found = with_extension(folder, "safetensors")?;
    if let [only] = &found[..] {
        return Ok((vec![only.clone()], None));
    }
    let hint = match (found.len(), pickles(folder)?.first()) {
        (0, Some(pickle)) => {
            let name = pickle.file_name().unwrap_or_default().to_string_lossy();
            format!("no model.safetensors is here, but {name}, which looks like {PICKLE}")
        }
        (0, None) => "no model.safetensors is here".to_string(),
        _ => "several safetensors files are here, but no model.safetensors.index.json".to_string(),
    };
    Err(LoadError::new(LoadErrorKind::Io, hint).at(folder))
}

/// Files that are named as PyTorch's pickles are.
fn pickles(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let mut found = Vec::new();
    for extension in ["bin", "pth", "pt", "ckpt"] {
        found.extend(with_extension(folder, extension)?);
    }
    Ok(found)
}

fn no_config(folder: &Path) -> LoadError {
    let hint = match with_extension(folder, "gguf") {
        Ok(found) if !found.is_empty() => {
            format!(
                "folder has no config.json, did you mean {}?",
                found[0].display()
            )
        }
        _ => match pickles(folder).unwrap_or_default().first() {
            Some(pickle) => {
                let name = pickle.file_name().unwrap_or_default().to_string_lossy();
                format!("folder has no config.json, and {name} looks like {PICKLE}")
            }
            None => "folder has no config.json".to_string(),
        },
    };
    LoadError::new(LoadErrorKind::Format, hint).at(folder)
}

fn with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, LoadError> {
    let entries = std::fs::read_dir(folder).map_err(|error| io(folder, &error))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    Ok(found)
}

/// RWKV's vocabulary, the newest by its name.
fn rwkv_vocabulary(folder: &Path) -> Result<Option<Vec<u8>>, LoadError> {
    let mut texts = with_extension(folder, "txt")?;
    texts.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("rwkv_vocab")
    });
    texts.last().map_or(Ok(None), |path| optional(path))
}

/// What to do about weights that PyTorch has pickled: reading them would run what they say. Tensors
/// are cloned since `save_file` refuses those that share memory, as tied ones do.
const PICKLE: &str = "a pickle of PyTorch, which is not read here: save its tensors as model.safetensors \
     (safetensors.torch.save_file({k: v.contiguous().clone() for k, v in torch.load(PATH, \
     weights_only=True).items()}, \"model.safetensors\")) in a folder with their config.json";

/// Whether a file begins as `torch.save` writes it, in a zip archive or as pickles of old.
fn is_pickle(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 2..=5, ..])
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|error| io(path, &error))
}

fn optional(path: &Path) -> Result<Option<Vec<u8>>, LoadError> {
    if path.is_file() {
        read(path).map(Some)
    } else {
        Ok(None)
    }
}

fn io(path: &Path, error: &std::io::Error) -> LoadError {
    LoadError::new(LoadErrorKind::Io, error.to_string()).at(path)
}

fn format(error: FormatError) -> LoadError {
    LoadError::new(LoadErrorKind::Format, error.to_string())
}
