//! What sentence-transformers keeps beside a model: the modules that its output goes through, and how
//! texts are put to it.

use super::Source;
use super::folder::{file, name_of, with_extension};
use crate::error::LoadError;
use crate::quant;
use rillm_formats::manifest::{DType, Manifest, MetadataValue, TensorInfo};
use rillm_formats::safetensors::{self, write::TensorSpec, write::header};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// The files that sentence-transformers wrote into a folder, as far as they are there.
#[derive(Clone, Debug, Default)]
pub struct ModuleFiles {
    /// `modules.json`: which modules there are, in their order.
    pub modules: Option<Vec<u8>>,
    /// `config_sentence_transformers.json`: prompts, and how vectors are compared.
    pub settings: Option<Vec<u8>>,
    /// The folder of the model itself, if it is one within.
    pub home: String,
    /// How long a text may be, and the name of the file that says it, which is called after the kind of
    /// transformer.
    pub transformer: Option<(String, Vec<u8>)>,
    /// By the folders that `modules.json` names: `config.json`.
    pub configs: BTreeMap<String, Vec<u8>>,
    /// By the folders of modules that have weights of their own: `model.safetensors`.
    pub weights: BTreeMap<String, Vec<u8>>,
    /// Matrices that a GGUF file has instead, in the order in which vectors go through them.
    pub dense: Vec<DenseTensor>,
}

/// A matrix through which vectors go.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // as the file says
pub struct DenseTensor {
    pub name: &'static str,
    pub shape: Vec<u64>,
    pub dtype: DType,
    pub bytes: Vec<u8>,
}

/// Modules behind the transformer that have weights.
const WEIGHTED: [&str; 2] = [".Dense", ".LayerNorm"];

/// What llama.cpp calls them in GGUF files.
const DENSE: [&str; 2] = ["dense_2.weight", "dense_3.weight"];

/// Before their names in GGUF files, where the files are texts, and the modules' tensors are tensors.
pub const KEYS: &str = "sentence_transformers.";

/// A module's tensor on its way into a GGUF file.
pub(crate) struct ModuleTensor {
    /// As the file will call it.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl ModuleFiles {
    /// The files as keys and texts of a GGUF file.
    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        let transformer = self.transformer.as_ref().map(|(_, bytes)| bytes);
        let named = [
            ("modules", self.modules.as_ref()),
            ("settings", self.settings.as_ref()),
            ("transformer", transformer),
        ];
        let named = named.into_iter();
        let named = named.filter_map(|(name, bytes)| Some((name.to_string(), bytes?)));
        let configs = self.configs.iter();
        let configs = configs.map(|(path, bytes)| (format!("config.{path}"), bytes));
        let texts = named.chain(configs).map(|(name, bytes)| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            (format!("{KEYS}{name}"), text)
        });
        texts.collect()
    }

    /// The modules' tensors as those of a GGUF file, and the folders whose weights cannot be read.
    pub(crate) fn tensors(&self) -> (Vec<ModuleTensor>, Vec<&str>) {
        let (mut tensors, mut lost) = (Vec::new(), Vec::new());
        for (path, bytes) in &self.weights {
            match of_module(path, bytes) {
                Some(read) => tensors.extend(read),
                None => lost.push(path.as_str()),
            }
        }
        (tensors, lost)
    }

    /// The files that a GGUF file holds as texts, and its modules' matrices.
    pub(super) fn of_gguf(manifest: &Manifest, sources: &[Source]) -> ModuleFiles {
        let mut files = ModuleFiles::default();
        let dense = DENSE.iter().filter_map(|name| {
            let info = manifest.tensors.get(*name)?;
            let file = sources.get(info.file as usize)?.bytes();
            Some(DenseTensor {
                name,
                shape: info.shape.0.clone(),
                dtype: info.dtype,
                bytes: bytes_of(info, file)?.to_vec(),
            })
        });
        files.dense = dense.collect();
        for (key, value) in manifest.metadata.0.range(KEYS.to_string()..) {
            let (Some(name), MetadataValue::String(text)) = (key.strip_prefix(KEYS), value) else {
                break;
            };
            let bytes = text.clone().into_bytes();
            match (name, name.strip_prefix("config.")) {
                ("modules", _) => files.modules = Some(bytes),
                ("settings", _) => files.settings = Some(bytes),
                ("transformer", _) => files.transformer = Some((key.clone(), bytes)),
                (_, Some(path)) => {
                    files.configs.insert(path.to_string(), bytes);
                }
                _ => {}
            }
        }
        let modules = files.modules.as_deref().unwrap_or_default();
        files.home = transformer_path(modules).unwrap_or_default();
        for path in files.configs.keys() {
            if let Some(weights) = stored_weights(path, manifest, sources) {
                files.weights.insert(path.clone(), weights);
            }
        }
        files
    }

    /// Reads what is there around a model, whose own folder may be one within. Whether it makes sense is
    /// for those to say who use it.
    pub(super) fn read(folder: &Path, model: &Path) -> Result<ModuleFiles, LoadError> {
        let mut files = ModuleFiles {
            modules: file(folder, "modules.json")?,
            settings: file(folder, "config_sentence_transformers.json")?,
            ..ModuleFiles::default()
        };
        if model != folder {
            let modules = files.modules.as_deref().unwrap_or_default();
            files.home = transformer_path(modules).unwrap_or_default();
        }
        let settings = with_extension(model, "json")?.into_iter().find(|path| {
            let name = name_of(path);
            name.starts_with("sentence_") && name.ends_with("_config.json")
        });
        if let Some(name) = settings.as_deref().map(name_of) {
            files.transformer = file(model, &name)?.map(|bytes| (name, bytes));
        }
        let modules = files.modules.as_deref().unwrap_or_default();
        let modules: Value = serde_json::from_slice(modules).unwrap_or_default();
        for module in modules.as_array().into_iter().flatten() {
            let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
            let (path, class) = (text("path"), text("type"));
            if !is_below(path) || path == files.home {
                continue;
            }
            let inner = folder.join(path);
            if let Some(config) = file(&inner, "config.json")? {
                files.configs.insert(path.to_string(), config);
            }
            if WEIGHTED.iter().any(|end| class.ends_with(end))
                && let Some(weights) = file(&inner, "model.safetensors")?
            {
                files.weights.insert(path.to_string(), weights);
            }
        }
        Ok(files)
    }
}

/// The tensors of the module in this folder, whose `model.safetensors` that is.
fn of_module(path: &str, bytes: &[u8]) -> Option<Vec<ModuleTensor>> {
    let parsed = safetensors::parse(bytes, 0).ok()?;
    let tensors = parsed.tensors.iter().map(|(name, info)| {
        let (decode, stored) = (quant::decode(info.dtype)?, bytes_of(info, bytes)?);
        let elements = info.shape.0.iter().product::<u64>();
        let mut values = vec![0.0; usize::try_from(elements).ok()?];
        decode(stored, &mut values);
        Some(ModuleTensor {
            name: format!("{KEYS}{path}.{name}"),
            shape: info.shape.0.clone(),
            values,
        })
    });
    tensors.collect()
}

/// The `model.safetensors` of the module in this folder, of the tensors that a GGUF file has of it.
fn stored_weights(path: &str, manifest: &Manifest, sources: &[Source]) -> Option<Vec<u8>> {
    let begin = format!("{KEYS}{path}.");
    let (mut specs, mut data) = (Vec::new(), Vec::new());
    for (name, info) in manifest.tensors.range(begin.clone()..) {
        let Some(name) = name.strip_prefix(&begin) else {
            break;
        };
        data.extend_from_slice(bytes_of(info, sources.get(info.file as usize)?.bytes())?);
        specs.push(TensorSpec {
            name: name.to_string(),
            dtype: info.dtype,
            shape: info.shape.clone(),
        });
    }
    let whole = header(&specs).ok().filter(|_| !specs.is_empty())?;
    Some([whole, data].concat())
}

/// A tensor's bytes among those of its file.
fn bytes_of<'a>(info: &TensorInfo, file: &'a [u8]) -> Option<&'a [u8]> {
    let (start, end) = (info.range.start, info.range.end);
    file.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

/// The folder within, in which a list of modules says that the model is.
pub(super) fn transformer_path(modules: &[u8]) -> Option<String> {
    let modules: Value = serde_json::from_slice(modules).ok()?;
    let first = modules.as_array()?.first()?;
    let path = first.get("path")?.as_str().filter(|path| is_below(path))?;
    let class = first.get("type")?.as_str()?;
    class.ends_with(".Transformer").then(|| path.to_string())
}

/// Whether a path leads to a folder below: its names may come from anybody.
fn is_below(path: &str) -> bool {
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    !path.is_empty() && Path::new(path).components().all(normal)
}
