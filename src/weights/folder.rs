//! Hugging Face folders, as they lie about: which of their files count, and what those are for that
//! are none.

use super::elsewhere::{ADAPTER, adapter, instead, no_config};
use super::modules::transformer_path;
use super::open::{POINTER, format, io as unreadable, is_pointer};
use super::regular::{self, is_there};
use super::{Files, ModuleFiles, Source, TokenizerFiles, quantized};
use crate::error::{LoadError, LoadErrorKind};
use crate::graph::INPUT_BITS;
use crate::models::{forced_once, recognise, unwrap_config, without_second_rotation};
use rillm_formats::hf_config::HfConfig;
use rillm_formats::json::other_text;
use rillm_formats::manifest::{Metadata, MetadataValue};
use rillm_formats::safetensors::ShardIndex;
use rillm_formats::{hf_config, safetensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Opens a folder, or that of a hub's cache that keeps it.
pub(super) fn open(path: &Path) -> Result<Files, LoadError> {
    let (folder, around) = &match modules_around(path) {
        Some(found) => found,
        None => match holder(path) {
            Some(folder) => (folder.clone(), folder),
            None => return Err(no_config(path)),
        },
    };
    let mut notes = Vec::new();
    let Configured {
        config,
        config_bytes,
        generation_config,
    } = configured(folder, &mut notes)?;
    let (paths, index) = shards(folder)?;
    if is_there(&folder.join(ADAPTER)) {
        let path = folder.join(ADAPTER);
        let what = format!(
            "{} is not applied: it is {}",
            path.display(),
            adapter(folder)
        );
        notes.push(what);
    }
    let mut parsed = Vec::new();
    let mut sources = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let source = Source::map(path).map_err(|error| unreadable(path, &error))?;
        if is_pointer(source.bytes()) {
            return Err(LoadError::new(LoadErrorKind::Format, POINTER).at(path));
        }
        let shard = safetensors::parse(source.bytes(), number as u32);
        parsed.push(shard.map_err(|error| format(error).at(path))?);
        sources.push(source);
    }
    let manifest = safetensors::merge(config, parsed, index.as_ref());
    let manifest = manifest.map_err(|error| format(error).at(folder))?;
    if manifest.tensors.is_empty() && manifest.unsupported.is_empty() {
        return Err(LoadError::new(LoadErrorKind::Tensor, "has no tensors").at(folder));
    }
    quantized::refuse_names(&manifest).map_err(|error| error.at(folder))?;
    let tokenizer = TokenizerFiles {
        generation_config,
        config: Some(config_bytes),
        ..tokenizer_files(folder, &mut notes)?
    };
    Ok(Files {
        manifest,
        sources,
        tokenizer,
        modules: ModuleFiles::read(around, folder)?,
        path: path.to_path_buf(),
        notes,
    })
}

/// What of a folder bears on text. Its configuration may be of a model that is not known, or missing:
/// vocabularies are published alone as well.
pub(super) fn open_texts(path: &Path) -> Result<Files, LoadError> {
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json"];
    let found = names.iter().find_map(|name| holder_of(path, name));
    let folder = &found.ok_or_else(|| no_config(path))?;
    let mut notes = Vec::new();
    let tokenizer = TokenizerFiles {
        generation_config: optional(folder, "generation_config.json", &mut notes, is_object),
        config: optional(folder, "config.json", &mut notes, is_object),
        ..tokenizer_files(folder, &mut notes)?
    };
    let unnamed = HfConfig {
        model_type: Some(String::new()),
        ..HfConfig::default()
    };
    let manifest = safetensors::merge(unnamed, Vec::new(), None);
    Ok(Files {
        manifest: manifest.map_err(format)?,
        sources: Vec::new(),
        tokenizer,
        modules: ModuleFiles::default(),
        path: path.to_path_buf(),
        notes,
    })
}

/// The files of its vocabulary; configurations are left to the caller.
fn tokenizer_files(folder: &Path, notes: &mut Vec<String>) -> Result<TokenizerFiles, LoadError> {
    let tokenizer_json = file(folder, "tokenizer.json")?;
    let tokenizer_config = match tokenizer_json {
        Some(_) => optional(folder, "tokenizer_config.json", notes, is_object),
        // Other vocabularies leave added tokens to it.
        None => file(folder, "tokenizer_config.json")?,
    };
    Ok(TokenizerFiles {
        tokenizer_json,
        tokenizer_model: sentencepiece(folder)?,
        source_spm: file(folder, "source.spm")?,
        target_vocab_json: file(folder, "target_vocab.json")?,
        vocab_json: file(folder, "vocab.json")?,
        merges_txt: file(folder, "merges.txt")?,
        vocab_txt: file(folder, "vocab.txt")?,
        added_tokens: file(folder, "added_tokens.json")?,
        rwkv_vocabulary: rwkv_vocabulary(folder)?,
        tokenizer_config,
        chat_template: optional(folder, "chat_template.jinja", notes, is_text),
        additional_chat_templates: additional_templates(folder, notes)?,
        special_tokens_map: optional(folder, "special_tokens_map.json", notes, is_object),
        generation_config: None,
        config: None,
    })
}

/// What the configurations of a folder say.
pub(super) struct Configured {
    pub config: HfConfig,
    config_bytes: Vec<u8>,
    generation_config: Option<Vec<u8>>,
}

pub(super) fn configured(folder: &Path, notes: &mut Vec<String>) -> Result<Configured, LoadError> {
    let config_bytes = read(&folder.join("config.json"))?;
    let mut config = configuration(&config_bytes, &folder.join("config.json"), Some(folder))?;
    let mut generation = Metadata::default();
    let generation_config = optional(folder, "generation_config.json", notes, |bytes| {
        let mut said = Metadata::default();
        hf_config::parse_generation(bytes, &mut said).map_err(|error| error.to_string())?;
        generation = said;
        Ok(())
    });
    forced_once(&mut config, &generation);
    config.metadata.0.extend(generation.0);
    Ok(Configured {
        config,
        config_bytes,
        generation_config,
    })
}

/// What the file at `path`, a `config.json`, says, and what lies beside it in its folder, if it has one.
pub(super) fn configuration(
    bytes: &[u8],
    path: &Path,
    folder: Option<&Path>,
) -> Result<HfConfig, LoadError> {
    let refused = |kind, what: &str| {
        let what = what.strip_prefix("config.json: ").unwrap_or(what);
        LoadError::new(kind, what).at(path)
    };
    if let Some(what) = other_text(bytes) {
        return Err(refused(LoadErrorKind::Format, what));
    }
    let mut config = hf_config::parse(bytes)
        .map_err(|error| refused(LoadErrorKind::Format, &error.to_string()))?;
    quantized::refuse(&config.metadata, folder).map_err(|error| error.at(path))?;
    if quantized::has_three_values(&config.metadata) {
        let bits = MetadataValue::U64(8);
        config.metadata.0.insert(INPUT_BITS.to_string(), bits);
    }
    if let Some(recognised) = recognise(&config.metadata) {
        config.model_type = Some(recognised.to_string());
    }
    unwrap_config(&mut config).map_err(|what| refused(LoadErrorKind::Architecture, &what))?;
    without_second_rotation(&mut config);
    Ok(config)
}

/// The folder with the configuration: this one, or of the hub's cache of a model the snapshot that
/// its main branch is, or the only one.
pub(super) fn holder(path: &Path) -> Option<PathBuf> {
    holder_of(path, "config.json")
}

/// The same for another file than the configuration.
fn holder_of(path: &Path, name: &str) -> Option<PathBuf> {
    let holds = |folder: &PathBuf| is_there(&folder.join(name));
    let path = path.to_path_buf();
    if holds(&path) {
        return Some(path);
    }
    let snapshots = path.join("snapshots");
    let main = regular::read(&path.join("refs").join("main")).unwrap_or_default();
    let main = String::from_utf8(main).unwrap_or_default();
    let name = main.trim();
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    let main = is_plain.then(|| snapshots.join(name)).filter(holds);
    main.or_else(|| {
        let mut all = folders(&snapshots);
        all.retain(holds);
        (all.len() == 1).then(|| all.remove(0))
    })
}

/// A model's folder within that of sentence-transformers, which once kept it apart from the files that
/// say what becomes of its output.
fn modules_around(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let around = holder_of(path, "modules.json")?;
    let modules = regular::read(&around.join("modules.json")).ok()?;
    let inner = around.join(transformer_path(&modules)?);
    is_there(&inner.join("config.json")).then_some((inner, around))
}

/// The weight files of a folder, as far as it can be told which count.
pub fn weight_files(folder: &Path) -> Vec<PathBuf> {
    shards(folder).map_or(Vec::new(), |(paths, _)| paths)
}

/// The weight files of a folder, and the index that names them if it counts.
pub(super) fn shards(folder: &Path) -> Result<(Vec<PathBuf>, Option<ShardIndex>), LoadError> {
    let single = folder.join("model.safetensors");
    // An index beside it is left over from another time.
    if is_there(&single) {
        return Ok((vec![single], None));
    }
    let index_path = folder.join("model.safetensors.index.json");
    if is_there(&index_path) {
        let index = read(&index_path)?;
        let index = ShardIndex::parse(&index).map_err(|error| format(error).at(folder))?;
        let named = index.files().iter().map(|name| folder.join(name));
        let (there, absent): (Vec<_>, Vec<_>) = named.partition(|path| is_there(path));
        // What an absent one held may be of no use here. If it is, it is named.
        let paths = if there.is_empty() { absent } else { there };
        return Ok((paths, Some(index)));
    }
    let mut found = with_extension(folder, "safetensors")?;
    let adapter = folder.join("adapter_model.safetensors");
    found.retain(|path| *path != adapter);
    if let [only] = &found[..]
        && numbered(&name_of(only)).is_none_or(|(_, count)| count == 1)
    {
        return Ok((vec![only.clone()], None));
    }
    if let Some(paths) = complete(&found) {
        return Ok((paths, None));
    }
    let what = match &found[..] {
        [] => format!("no model.safetensors is here{}", instead(folder)?),
        [first, ..] => format!(
            "{} of several safetensors files are here ({} …), but no model.safetensors.index.json \
             and no complete set of model-00001-of-0000N.safetensors",
            found.len(),
            name_of(first)
        ),
    };
    Err(LoadError::new(LoadErrorKind::Io, what).at(folder))
}

/// Files that are numbered through, if all that are numbered are of one set.
fn complete(found: &[PathBuf]) -> Option<Vec<PathBuf>> {
    let mut set: Vec<&PathBuf> = Vec::new();
    let mut facts = None;
    for path in found {
        let name = name_of(path);
        let Some(((stem, number), count)) = numbered(&name) else {
            continue;
        };
        let (stem, count) = (stem.to_string(), count);
        if facts.get_or_insert((stem.clone(), count)) != &(stem, count) || number != set.len() + 1 {
            return None;
        }
        set.push(path);
    }
    let (_, count) = facts?;
    (set.len() == count).then(|| set.into_iter().cloned().collect())
}

/// `model`, 2 and 3 of `model-00002-of-00003.safetensors`.
fn numbered(name: &str) -> Option<((&str, usize), usize)> {
    let name = name.strip_suffix(".safetensors")?;
    let (rest, count) = name.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    Some(((stem, number.parse().ok()?), count.parse().ok()?))
}

/// SentencePiece's file, under the names it has in one model's folder or another's.
fn sentencepiece(folder: &Path) -> Result<Option<Vec<u8>>, LoadError> {
    const NAMES: [&str; 4] = [
        "tokenizer.model",
        "spiece.model",
        "sentencepiece.bpe.model",
        "spm.model",
    ];
    let there = NAMES.iter().find(|name| is_there(&folder.join(name)));
    there.map_or(Ok(None), |name| file(folder, name))
}

/// RWKV's vocabulary, the newest by its name.
fn rwkv_vocabulary(folder: &Path) -> Result<Option<Vec<u8>>, LoadError> {
    let mut texts = with_extension(folder, "txt")?;
    texts.retain(|path| name_of(path).starts_with("rwkv_vocab"));
    texts.last().map_or(Ok(None), |path| read(path).map(Some))
}

pub(super) fn with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, LoadError> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    Ok(found)
}

/// Folders in a folder, by name.
pub(super) fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A file that is done without if it is not there.
pub(super) fn file(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, LoadError> {
    let path = folder.join(name);
    if is_there(&path) {
        read(&path).map(Some)
    } else {
        Ok(None)
    }
}

/// A file that is done without, and then noted, also if it cannot be read or is not what `check`
/// expects.
fn optional(
    folder: &Path,
    name: &str,
    notes: &mut Vec<String>,
    check: impl FnOnce(&[u8]) -> Result<(), String>,
) -> Option<Vec<u8>> {
    let path = folder.join(name);
    if !is_there(&path) {
        return None;
    }
    let bytes = regular::read(&path).map_err(|error| error.to_string());
    let bytes = bytes.and_then(|bytes| match check(&bytes) {
        Ok(()) => Ok(bytes),
        Err(_) if is_pointer(&bytes) => Err(POINTER.to_string()),
        Err(what) => Err(other_text(&bytes).map_or(what, str::to_string)),
    });
    match bytes {
        Ok(bytes) => Some(bytes),
        Err(what) => {
            let what = what.strip_prefix(&format!("{name}: ")).unwrap_or(&what);
            notes.push(format!("{} is done without: {what}", path.display()));
            None
        }
    }
}

/// Chat templates beside the usual one, which may be among them, and their names.
fn additional_templates(
    folder: &Path,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, Vec<u8>>, LoadError> {
    let folder = folder.join("additional_chat_templates");
    if !folder.is_dir() {
        if is_there(&folder) {
            notes.push(format!(
                "{} is done without: is no folder",
                folder.display()
            ));
        }
        return Ok(BTreeMap::new());
    }
    let mut found = BTreeMap::new();
    for path in with_extension(&folder, "jinja")? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if let Some(bytes) = optional(&folder, &name_of(&path), notes, is_text) {
            found.insert(name.into_owned(), bytes);
        }
    }
    Ok(found)
}

fn is_text(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes);
    text.map(|_| ()).map_err(|error| error.to_string())
}

fn is_object(bytes: &[u8]) -> Result<(), String> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(_)) => Ok(()),
        Ok(_) => Err("expected an object of settings".to_string()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let bytes = regular::read(path).map_err(|error| unreadable(path, &error))?;
    match is_pointer(&bytes) {
        true => Err(LoadError::new(LoadErrorKind::Format, POINTER).at(path)),
        false => Ok(bytes),
    }
}
