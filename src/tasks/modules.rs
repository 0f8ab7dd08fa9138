//! What sentence-transformers does with a model's output, as the files beside the model say.

use super::dense::DenseLayer;
use super::pooling::Pooling;
use super::settings::{ModuleSettings, bad, parsed, transformer_settings};
use super::similar::Similarity;
use crate::error::LoadError;
use crate::model::Model;
use crate::quant;
use crate::weights::ModuleFiles;
use rillm_formats::manifest::Container;
use rillm_formats::safetensors;
use serde_json::Value;
use std::collections::BTreeMap;

/// From a text to its vector, around the model.
#[derive(Clone, Debug)]
pub(super) struct Modules {
    /// One, or several whose vectors stand side by side.
    pub(super) poolings: Vec<Pooling>,
    /// Whether a prompt's tokens are pooled as well.
    pub(super) includes_prompt: bool,
    pub(super) layers: Vec<VectorLayer>,
    /// By name.
    pub(super) prompts: BTreeMap<String, String>,
    pub(super) default_prompt_name: Option<String>,
    pub(super) similarity: Similarity,
    pub(super) max_seq_length: Option<usize>,
    /// How many dimensions are kept.
    pub(super) truncate_dim: Option<usize>,
    pub(super) lowercases: bool,
}

/// A module that changes a vector.
#[derive(Clone, Debug)]
pub(super) enum VectorLayer {
    /// To length 1.
    Normalize,
    Dense(DenseLayer),
    LayerNorm {
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
}

impl Default for Modules {
    /// What sentence-transformers makes of a model that it knows nothing of.
    fn default() -> Modules {
        let names = ["query", "document"];
        Modules {
            poolings: vec![Pooling::Mean],
            includes_prompt: true,
            layers: Vec::new(),
            prompts: names.map(|name| (name.to_string(), String::new())).into(),
            default_prompt_name: None,
            similarity: Similarity::Cosine,
            max_seq_length: None,
            truncate_dim: None,
            lowercases: false,
        }
    }
}

impl Modules {
    /// What a model's files say; `width` is that of its output.
    pub(super) fn of(model: &Model, width: usize) -> Result<Modules, LoadError> {
        let files = model.module_files();
        let mut modules = Modules::default();
        if let Some(bytes) = &files.settings {
            modules.settings(&ModuleSettings::read(
                bytes,
                "config_sentence_transformers.json",
            )?)?;
        }
        if let Some(config) = transformer_settings(model)? {
            modules.transformer(&config)?;
        }
        match &files.modules {
            Some(bytes) => modules.list(bytes, model, width)?,
            None if model.manifest().container == Container::Gguf => modules.gguf(model, width)?,
            // A decoder that was not trained for it has no usual way.
            None if model.decodes() => modules.poolings.clear(),
            None => {}
        }
        Ok(modules)
    }

    fn settings(&mut self, settings: &ModuleSettings) -> Result<(), LoadError> {
        for (name, prompt) in settings.object("prompts")?.into_iter().flatten() {
            let text = prompt.as_str().ok_or_else(|| {
                settings.bad(format_args!("prompt {name:?} is {prompt}, expected a text"))
            })?;
            self.prompts.insert(name.clone(), text.to_string());
        }
        if let Some(name) = settings.text("similarity_fn_name")? {
            let similarity = name.parse();
            self.similarity = similarity
                .map_err(|error| settings.bad(format_args!("similarity_fn_name: {error}")))?;
        }
        if let Some(name) = settings.text("default_prompt_name")? {
            if !self.prompts.contains_key(name) {
                return Err(settings.bad(format_args!(
                    "default_prompt_name is {name:?}, which is none of its prompts"
                )));
            }
            self.default_prompt_name = Some(name.to_string());
        }
        self.truncate_dim = settings.count("truncate_dim", 1)?;
        Ok(())
    }

    /// What is said of the transformer: how texts are put to it, and what is taken of it.
    fn transformer(&mut self, config: &ModuleSettings) -> Result<(), LoadError> {
        self.max_seq_length = config.count("max_seq_length", 1)?;
        self.lowercases = config.flag("do_lower_case", false)?;
        config.expect("transformer_task", "feature-extraction")?;
        config.expect("module_output_name", "token_embeddings")?;
        // What those of several vectors a text, and of pictures, have.
        for key in ["query_length", "document_length", "query_expansion"] {
            config.expect_none(key)?;
        }
        config.expect_none("processing_kwargs")
    }

    /// The modules of `modules.json`: a transformer, a pooling, and what changes the vector.
    fn list(&mut self, bytes: &[u8], model: &Model, width: usize) -> Result<(), LoadError> {
        const FILE: &str = "modules.json";
        let files = model.module_files();
        let Value::Array(list) = parsed(bytes, FILE)? else {
            return Err(bad(format!("{FILE}: expected a list of modules")));
        };
        self.poolings.clear();
        let mut width = width;
        for (index, module) in list.into_iter().enumerate() {
            let Value::Object(module) = module else {
                let what = format!("{FILE}: module {index} is {module}, expected an object");
                return Err(bad(what));
            };
            let module = ModuleSettings::of(module, FILE);
            let path = module.text("path")?.unwrap_or_default();
            let class = module.text("type")?.unwrap_or_default();
            let kind = class.rsplit('.').next().unwrap_or_default();
            let file = format!("{path}/config.json");
            let config = || match files.configs.get(path) {
                Some(bytes) => ModuleSettings::read(bytes, &file),
                None => Err(bad(format!(
                    "{FILE} has a module {kind}, but there is no {file}"
                ))),
            };
            match (index, kind) {
                (0, "Transformer") if path == files.home => {}
                (1.., "Pooling") if self.poolings.is_empty() => {
                    self.pooling(&config()?, width)?;
                    width *= self.poolings.len();
                }
                (_, "Normalize") if !self.poolings.is_empty() => {
                    if files.configs.contains_key(path) {
                        expect_vector(&config()?)?;
                    }
                    self.layers.push(VectorLayer::Normalize);
                }
                (_, "Dense") if !self.poolings.is_empty() => {
                    let dense = DenseLayer::read(&config()?, model, path, width)?;
                    width = dense.rows();
                    self.layers.push(VectorLayer::Dense(dense));
                }
                (_, "LayerNorm") if !self.poolings.is_empty() => {
                    let tensor = |name: &str| tensor(files, path, name, &[width]);
                    let (weight, bias) = (tensor("norm.weight")?, tensor("norm.bias")?);
                    self.layers.push(VectorLayer::LayerNorm { weight, bias });
                }
                (1.., "Dropout") => {}
                _ => {
                    return Err(bad(format!(
                        "{FILE}: module {index} is {class:?} in {path:?}, expected a Transformer in \
                         \"\", a Pooling, and then Dense, LayerNorm or Normalize"
                    )));
                }
            }
        }
        match self.poolings.is_empty() {
            true => Err(bad(format!("{FILE} has no module Pooling"))),
            false => Ok(()),
        }
    }

    /// What a pooling's configuration says about values of this width.
    fn pooling(&mut self, config: &ModuleSettings, width: usize) -> Result<(), LoadError> {
        const WIDTHS: [&str; 2] = ["word_embedding_dimension", "embedding_dimension"];
        const MODE: &str = "pooling_mode";
        const PROMPT: &str = "include_prompt";
        config.expect_known(|key| {
            let modes = Pooling::ALL.map(Pooling::key);
            [MODE, PROMPT].contains(&key) || WIDTHS.contains(&key) || modes.contains(&key)
        })?;
        for key in WIDTHS {
            if let Some(found) = config.count(key, 1)?.filter(|found| *found != width) {
                return Err(config.bad(format_args!(
                    "{key} is {found}, but the model gives {width} values for a token"
                )));
            }
        }
        self.poolings = match config.texts(MODE)? {
            Some(names) => {
                let named = names.into_iter().map(str::parse);
                let named: Result<Vec<Pooling>, _> = named.collect();
                named.map_err(|error| config.bad(error))?
            }
            None => {
                let mut asked = Vec::new();
                for pooling in Pooling::ALL {
                    // Files from before the others were there say nothing of them.
                    if config.flag(pooling.key(), pooling == Pooling::Mean)? {
                        asked.push(pooling);
                    }
                }
                asked
            }
        };
        if self.poolings.is_empty() {
            return Err(config.bad("it asks for no way of pooling"));
        }
        self.includes_prompt = config.flag(PROMPT, true)?;
        Ok(())
    }

    /// What GGUF files say: how to pool. Their vectors have length 1, as llama.cpp gives them.
    fn gguf(&mut self, model: &Model, mut width: usize) -> Result<(), LoadError> {
        let manifest = model.manifest();
        let key = format!("{}.pooling_type", manifest.architecture);
        let decodes = model.decodes();
        let said = manifest.metadata.value(&key);
        let number = manifest.metadata.u64(&key);
        if let (Some(value), None) = (said, number) {
            let kind = value.type_name();
            return Err(bad(format!("{key} is {kind}, expected a number from 0 on")));
        }
        self.poolings = match number {
            None | Some(0) if decodes => Vec::new(),
            None | Some(0 | 1) => vec![Pooling::Mean],
            Some(2) => vec![Pooling::Cls],
            Some(3) => vec![Pooling::LastToken],
            Some(4) => {
                return Err(bad(format!(
                    "{key} is 4: this model ranks texts and does not embed them"
                )));
            }
            Some(other) => {
                return Err(bad(format!(
                    "{key} is {other}, expected 1 (mean), 2 (cls) or 3 (last)"
                )));
            }
        };
        for tensor in &model.module_files().dense {
            let dense = DenseLayer::of_gguf(tensor, model, width)?;
            width = dense.rows();
            self.layers.push(VectorLayer::Dense(dense));
        }
        self.layers.push(VectorLayer::Normalize);
        Ok(())
    }
}

impl VectorLayer {
    pub(super) fn apply(&self, vector: &mut Vec<f32>) {
        match self {
            VectorLayer::Normalize => normalize(vector),
            VectorLayer::Dense(dense) => *vector = dense.apply(vector),
            VectorLayer::LayerNorm { weight, bias } => {
                const EPSILON: f64 = 1e-5;
                let count = vector.len().max(1) as f64;
                let mean = vector.iter().copied().map(f64::from).sum::<f64>() / count;
                let centred = |x: f32| f64::from(x) - mean;
                let variance = vector.iter().map(|x| centred(*x).powi(2)).sum::<f64>() / count;
                let scale = 1.0 / (variance + EPSILON).sqrt();
                for ((x, w), b) in vector.iter_mut().zip(weight).zip(bias) {
                    *x = (centred(*x) * scale * f64::from(*w) + f64::from(*b)) as f32;
                }
            }
        }
    }
}

/// That a module takes a text's vector and gives another.
pub(super) fn expect_vector(config: &ModuleSettings) -> Result<(), LoadError> {
    for key in ["module_input_name", "module_output_name"] {
        config.expect(key, "sentence_embedding")?;
    }
    Ok(())
}

/// To length 1; a vector of zeros stays as it is.
pub(super) fn normalize(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let length = square.sqrt().max(1e-12);
    for x in vector {
        *x = (f64::from(*x) / length) as f32;
    }
}

/// A module's tensor of this shape, as floats.
pub(super) fn tensor(
    files: &ModuleFiles,
    path: &str,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, LoadError> {
    let file = format!("{path}/model.safetensors");
    let bytes = files
        .weights
        .get(path)
        .ok_or_else(|| bad(format!("there is no {file}, which modules.json asks for")))?;
    let parsed = safetensors::parse(bytes, 0).map_err(|error| bad(format!("{file}: {error}")))?;
    let found = parsed.tensors.iter().find(|(other, _)| other == name);
    let (_, info) = found.ok_or_else(|| bad(format!("{file}: tensor {name} is missing")))?;
    let extents: Vec<usize> = info.shape.0.iter().map(|extent| *extent as usize).collect();
    if extents != shape {
        return Err(bad(format!(
            "{file}: tensor {name} has shape {extents:?}, expected {shape:?}"
        )));
    }
    let decode = quant::decode(info.dtype);
    let stored = usize::try_from(info.range.start)
        .ok()
        .zip(usize::try_from(info.range.end).ok())
        .and_then(|(start, end)| bytes.get(start..end));
    let (decode, stored) = decode.zip(stored).ok_or_else(|| {
        bad(format!(
            "{file}: tensor {name} is of type {}",
            info.dtype.name()
        ))
    })?;
    let mut values = vec![0.0; shape.iter().product()];
    decode(stored, &mut values);
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(bad(format!(
            "{file}: tensor {name} holds a value that is not finite"
        ))),
    }
}
