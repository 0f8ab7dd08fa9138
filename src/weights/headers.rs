//! What a model's files say before its weights are there: a GGUF header, or that of a split file's first
//! part; a folder whose shards have their headers alone, or an index, or nothing but `config.json`.

use super::elsewhere;
use super::folder::{self, configured, holder};
use super::open::{begins_as_gguf, beside, format, io, is_pointer, other_kind};
use super::{Files, ModuleFiles, TokenizerFiles, quantized, regular};
use crate::error::{LoadError, LoadErrorKind};
use rillm_formats::manifest::Manifest;
use rillm_formats::safetensors::{Safetensors, ShardIndex};
use rillm_formats::{gguf, safetensors};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What is read of a file at first; a header that is longer is read as far as it goes.
const FIRST: u64 = 4 << 20;

/// The most that is read of a file for its header.
const MOST: u64 = 1 << 30;

/// What a model's files say, as far as they are there.
#[derive(Clone, Debug)]
pub struct ModelHeaders {
    /// What they say.
    pub manifest: Manifest,
    /// Whether there may be tensors that they do not name.
    pub partial: bool,
    /// What of it could not be read and is done without, and what that means: a line each.
    pub notes: Vec<String>,
}

/// What a `config.json` says by itself.
///
/// # Errors
/// As [`headers`].
pub fn headers_of_config(config: &[u8]) -> Result<ModelHeaders, LoadError> {
    of_config(config, Path::new("config.json"))
}

fn of_config(config: &[u8], path: &Path) -> Result<ModelHeaders, LoadError> {
    let config = folder::configuration(config, path, None)?;
    let manifest = safetensors::merge(config, Vec::new(), None);
    let manifest = manifest.map_err(|error| format(error).at(path))?;
    Ok(ModelHeaders {
        manifest,
        partial: true,
        notes: Vec::new(),
    })
}

/// Reads headers of a GGUF file (of the parts of a split one that are there, from the first on), or what
/// a Hugging Face folder or its `config.json` says. No weights are looked at, nor missed.
///
/// # Errors
/// Says which file is missing, unreadable or damaged, and how.
pub fn headers(path: &Path) -> Result<ModelHeaders, LoadError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    let facts = std::fs::metadata(path).map_err(|error| io(path, &error))?;
    if facts.is_dir() {
        return of_folder(path);
    }
    if name.ends_with(".json") && !name.ends_with(".index.json") && name != "config.json" {
        return of_config(&folder::read(path)?, path);
    }
    if name.ends_with(".json") || name.ends_with(".safetensors") {
        return of_folder(beside(path));
    }
    of_gguf(path, name)
}

/// Opens what bears on text, of a GGUF file its header: no weights are looked at, nor missed, and what is
/// opened has none.
///
/// # Errors
/// As [`headers`].
pub fn open_texts(path: &Path) -> Result<Files, LoadError> {
    let facts = std::fs::metadata(path).map_err(|error| io(path, &error))?;
    if facts.is_dir() {
        return folder::open_texts(path);
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    if (name.ends_with(".json") || name.ends_with(".safetensors")) && !begins_as_gguf(path) {
        return folder::open_texts(beside(path));
    }
    let mut manifest = of_gguf(path, name)?.manifest;
    manifest.tensors.clear();
    Ok(Files {
        manifest,
        sources: Vec::new(),
        tokenizer: TokenizerFiles::default(),
        modules: ModuleFiles::default(),
        path: path.to_path_buf(),
        notes: Vec::new(),
    })
}

fn of_gguf(path: &Path, name: &str) -> Result<ModelHeaders, LoadError> {
    let paths: Vec<PathBuf> = match gguf::split_names(name) {
        Some(names) => names.iter().map(|name| path.with_file_name(name)).collect(),
        None => vec![path.to_path_buf()],
    };
    let there = paths.iter().take_while(|path| path.exists()).count().max(1);
    let mut parsed = Vec::new();
    for (number, path) in (0..).zip(paths.iter().take(there)) {
        let part = begun(path, |bytes| {
            if let Some(what) = other_kind(bytes) {
                return Err(LoadError::new(LoadErrorKind::Format, what));
            }
            gguf::parse_header(bytes, None, number).map_err(format)
        })?;
        parsed.push(part);
    }
    let partial = there < paths.len();
    if partial {
        // What is left is whole by itself, as far as joining them is concerned.
        parsed.truncate(1);
        parsed.iter_mut().for_each(|part| part.split = None);
    }
    let mut manifest = gguf::merge(parsed).map_err(|error| format(error).at(path))?;
    if partial {
        manifest
            .metadata
            .0
            .retain(|key, _| !key.starts_with("split."));
    }
    Ok(ModelHeaders {
        manifest,
        partial,
        notes: Vec::new(),
    })
}

fn of_folder(path: &Path) -> Result<ModelHeaders, LoadError> {
    let folder = &holder(path).ok_or_else(|| elsewhere::no_config(path))?;
    let mut notes = Vec::new();
    let config = configured(folder, &mut notes)?.config;
    let (shards, index) = shard_headers(folder)?;
    let partial = shards.is_empty() && index.is_none();
    let manifest = safetensors::merge(config, shards, index.as_ref());
    let manifest = manifest.map_err(|error| format(error).at(folder))?;
    quantized::refuse_names(&manifest).map_err(|error| error.at(folder))?;
    Ok(ModelHeaders {
        manifest,
        partial,
        notes,
    })
}

/// The headers of the shards that are there, if all are, and the index, if there is one.
fn shard_headers(folder: &Path) -> Result<(Vec<Safetensors>, Option<ShardIndex>), LoadError> {
    let index = folder.join("model.safetensors.index.json");
    let (paths, index) = match folder::shards(folder) {
        Ok(found) => found,
        Err(_) if !regular::is_there(&index) => return Ok((Vec::new(), None)),
        Err(error) => return Err(error),
    };
    // What Git has not fetched is not there either.
    if !paths
        .iter()
        .all(|path| path.exists() && !is_unfetched(path))
    {
        return Ok((Vec::new(), index));
    }
    let header = |(number, path): (u32, &PathBuf)| {
        begun(path, |bytes| {
            safetensors::parse_header(bytes, None, number).map_err(format)
        })
    };
    let shards = (0..).zip(&paths).map(header).collect::<Result<_, _>>()?;
    Ok((shards, index))
}

/// Whether a pointer of Git LFS stands in the place of a file.
pub(super) fn is_unfetched(path: &Path) -> bool {
    let mut begin = [0; 64];
    let read = regular::open(path).and_then(|mut file| file.read(&mut begin));
    read.is_ok_and(|len| is_pointer(&begin[..len]))
}

/// What `parse` makes of the beginning of a file: of more and more of it, until it holds the header.
fn begun<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, LoadError>) -> Result<T, LoadError> {
    let unreadable = |error: std::io::Error| io(path, &error);
    let mut file = regular::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let mut more = FIRST;
    loop {
        let read = (&mut file).take(more).read_to_end(&mut bytes);
        let ended = (read.map_err(unreadable)? as u64) < more;
        match parse(&bytes) {
            Err(_) if !ended && (bytes.len() as u64) < MOST => more = bytes.len() as u64,
            parsed => return parsed.map_err(|error| error.at(path)),
        }
    }
}
