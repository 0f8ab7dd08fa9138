//! Hugging Face folders as converters to GGUF write them.

use super::draft::{DraftTensor, Rows, TensorSource};
use super::state_space;
use crate::error::{LoadError, LoadErrorKind};
use crate::graph::View;
use crate::model::{open_tokenizer, used, wired};
use crate::models::{Architecture, Converted};
use crate::weights::{Files, Found};
use rillm_formats::manifest::{Array, DType, Manifest, Metadata, Value};
use std::f64::consts::PI;
use std::sync::Arc;

/// Keys and tensors of the file that a folder becomes, and what could not be brought along.
pub(super) fn converted(
    files: &Files,
) -> Result<(Metadata, Vec<DraftTensor>, Vec<String>), LoadError> {
    let manifest = &files.manifest;
    let (architecture, views, wiring) = wired(manifest)?;
    // Readers refuse what they do not use: second copies of what is shared, say.
    let used = used(&wiring);
    let name = gguf_name(manifest, architecture);
    let mut keys = Keys {
        name,
        metadata: metadata(name, architecture, manifest, &files.path),
    };
    let mut tensors = Vec::new();
    for (name, found) in views.iter() {
        let (Some(part), false) = (found.parts.first(), found.parts.is_empty()) else {
            continue;
        };
        if !used.contains(name) {
            continue;
        }
        if let Some(halves) = halves(name, found, &keys)? {
            tensors.extend(halves);
            continue;
        }
        let name = &without_experts(name, &keys);
        let mut shape = found.shape.clone();
        // What Qwen3-Next calls groups are heads of keys.
        if keys.name != "qwen3next" || name.ends_with("conv1d.weight") {
            let groups = keys.count("ssm.group_count");
            state_space::reshape(name, &mut shape, groups);
        }
        // Readers want no heads in it.
        if name.ends_with(".time_mix_r_k.weight") {
            shape = vec![shape.iter().product()];
        }
        let rows = rows(name, &shape, architecture.converted, &mut keys)?;
        let as_it_is =
            found.view == View::Plain && rows == Rows::AsStored && found.parts.len() == 1;
        tensors.push(DraftTensor {
            name: name.to_string(),
            shape,
            dtype: part.dtype,
            from: if as_it_is {
                TensorSource::Stored(part.clone())
            } else {
                TensorSource::Seen {
                    parts: found.parts.clone(),
                    view: found.view,
                    rows,
                }
            },
        });
    }
    if let (Some(heads), Some(dim)) = (
        keys.count("ssm.time_step_rank"),
        keys.count("ssm.value_head_size"),
    ) {
        keys.put("ssm.inner_size", Value::U32((heads * dim) as u32));
    }
    if keys.name == "rwkv7" {
        tensors.extend(unused_residuals(&tensors));
    }
    if matches!(keys.name, "rwkv6" | "rwkv7") {
        keys.put("attention.head_count", Value::U32(0));
    }
    if architecture.converted == Converted::NeighboursPaired {
        tensors.extend(keys.divisors());
    }
    tensors.extend(keys.long_rope());
    keys.rotated();
    keys.complete(&tensors);
    tensors.sort_by(|a, b| place(&a.name).cmp(&place(&b.name)));
    let notes = add_text(files, &mut keys.metadata);
    let embedding = tensors
        .iter()
        .find(|tensor| tensor.name == "token_embd.weight");
    if let Some(&rows) = embedding.and_then(|tensor| tensor.shape.first()) {
        pad_vocabulary(&mut keys.metadata, rows);
        if keys.metadata.value("tokenizer.ggml.model").is_none() {
            // Other readers insist on the one, and then on the other.
            let none = Value::String("none".into());
            keys.metadata.0.insert("tokenizer.ggml.model".into(), none);
            keys.put("vocab_size", Value::U32(rows as u32));
        }
    }
    Ok((keys.metadata, tensors, notes))
}

/// Embeddings may have more rows than there are tokens; in the file, each has a name.
fn pad_vocabulary(metadata: &mut Metadata, rows: u64) {
    /// The type of a token that is never written.
    const UNUSED: i32 = 5;
    let mut list = |name: &str| match metadata.0.get_mut(&format!("tokenizer.ggml.{name}")) {
        Some(Value::Array(array)) => Some(std::mem::replace(array, Array::U8(Vec::new()))),
        _ => None,
    };
    let lists = ["tokens", "token_type", "scores"].map(|name| (name, list(name)));
    for (name, list) in lists {
        let Some(mut list) = list else {
            continue;
        };
        for id in list.len() as u64..rows {
            match &mut list {
                Array::String(tokens) => tokens.push(format!("[PAD{id}]").as_bytes()),
                Array::I32(types) => types.push(UNUSED),
                Array::F32(scores) => scores.push(0.0),
                _ => {}
            }
        }
        let key = format!("tokenizer.ggml.{name}");
        metadata.0.insert(key, Value::Array(list));
    }
}

/// The vocabulary and the chat template.
fn add_text(files: &Files, metadata: &mut Metadata) -> Vec<String> {
    let mut notes = Vec::new();
    let without = "the file has no vocabulary, and runs on token ids";
    match open_tokenizer(&files.manifest, &files.tokenizer) {
        Ok(None) => notes.push(format!("the folder has no tokenizer: {without}")),
        Err(error) => notes.push(format!("{error}: {without}")),
        Ok(Some(tokenizer)) => match tokenizer.to_gguf() {
            Ok(vocabulary) => metadata.0.extend(vocabulary.0),
            Err(error) => notes.push(format!("{error}: {without}")),
        },
    }
    if let Some(template) = files.tokenizer.chat_template() {
        let key = "tokenizer.chat_template".to_string();
        metadata.0.insert(key, Value::String(template));
    }
    notes
}

/// RWKV-7's first layer has no values to mix its own with; readers want the tensors for it
/// nevertheless, as large as those of its learning rates, and do not use them.
fn unused_residuals(tensors: &[DraftTensor]) -> Vec<DraftTensor> {
    let of = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
    let parts = ["0", "1", "2"].into_iter().filter_map(|part| {
        let name = format!("blk.0.time_mix_v{part}.weight");
        let like = of(&format!("blk.0.time_mix_a{part}.weight"))?;
        of(&name).is_none().then(|| DraftTensor {
            name,
            ..like.clone()
        })
    });
    parts.collect()
}

/// Embeddings, then layer by layer, then what comes last.
fn place(name: &str) -> (u8, u64, &str) {
    let mut parts = name.split('.');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    match (first, second.and_then(|number| number.parse().ok())) {
        ("blk", Some(layer)) => (1, layer, name),
        ("token_embd" | "position_embd" | "token_types" | "token_embd_norm", _) => (0, 0, name),
        _ => (2, 0, name),
    }
}

/// `general.architecture`: Mistral and Mixtral are LLaMAs there, OLMo 3 is an OLMo 2, Bamba a
/// Granite 4.
fn gguf_name(manifest: &Manifest, architecture: &Architecture) -> &'static str {
    let class = match manifest.metadata.array("architectures") {
        Some(Array::String(names)) => names.get(0).unwrap_or_default(),
        _ => b"",
    };
    match architecture.gguf {
        ["t5", encoder, ..] if class == b"T5EncoderModel" => encoder,
        [name, ..] => name,
        [] if architecture.hugging_face.contains(&"olmo3") => "olmo2",
        [] if architecture.hugging_face.contains(&"bamba") => "granitehybrid",
        [] => "llama",
    }
}

/// Hyperparameters under their canonical names.
fn metadata(
    name: &str,
    architecture: &Architecture,
    manifest: &Manifest,
    path: &std::path::Path,
) -> Metadata {
    /// GGUF says it in another way, or not at all.
    const NOT_WRITTEN: &[&str] = &["feed_forward_proj"];
    /// Real numbers, even where a configuration writes whole ones.
    const REAL: &[&str] = &[
        "attention.clamp_kqv",
        "attention.layer_norm_epsilon",
        "attention.layer_norm_rms_epsilon",
        "attention.max_alibi_bias",
        "attention.scale",
        "attn_logit_softcapping",
        "embedding_scale",
        "final_logit_softcapping",
        "logit_scale",
        "query_pre_attn_scalar",
        "residual_scale",
        "rope.freq_base",
        "rope.freq_base_swa",
        "rope.partial_factor",
        "rope.scaling.attn_factor",
        "rope.scaling.factor",
        "rope.scaling.high_freq_factor",
        "rope.scaling.low_freq_factor",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
    ];
    let config = &manifest.metadata;
    let mut metadata = Metadata::default();
    let mut put = |key: String, value| {
        metadata.0.entry(key).or_insert(value);
    };
    put("general.architecture".into(), Value::String(name.into()));
    let folder = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    if let Some(folder) = folder.filter(|folder| !folder.is_empty()) {
        put("general.name".into(), Value::String(folder));
    }
    for &(canonical, theirs) in architecture.keys.iter().copied().flatten() {
        if NOT_WRITTEN.contains(&canonical) {
            continue;
        }
        let value = match config.value(theirs) {
            None => continue,
            Some(Value::F64(float)) => Value::F32(*float as f32),
            Some(Value::Array(Array::String(kinds))) if theirs == "layer_types" => {
                let special: [&[u8]; 2] = [b"sliding_attention", b"linear_attention"];
                let slides = kinds.iter().map(|kind| special.contains(&kind));
                Value::Array(Array::Bool(slides.collect()))
            }
            // Configurations write 10000 where they mean 10000.0; readers of GGUF are strict.
            Some(_) if REAL.contains(&canonical) && config.f64(theirs).is_some() => {
                Value::F32(config.f64(theirs).unwrap_or_default() as f32)
            }
            Some(other) => match config.u64(theirs).map(u32::try_from) {
                Some(Ok(count)) => Value::U32(count),
                _ => other.clone(),
            },
        };
        put(format!("{name}.{canonical}"), value);
    }
    if name == "bert"
        && let Some(classes) = config.value("architectures")
    {
        // Which head a checkpoint has is known by its class alone.
        put("architectures".into(), classes.clone());
    }
    state_space::complete(name, config, &mut metadata);
    metadata
}

/// Gates and what they let through, which some checkpoints keep in one matrix and converters do
/// not.
fn halves(name: &str, found: &Found, keys: &Keys) -> Result<Option<[DraftTensor; 2]>, LoadError> {
    let (true, Some(part)) = (name.contains(".ffn_gate_up_"), found.parts.first()) else {
        return Ok(None);
    };
    let mut shape = found.shape.clone();
    let place = shape.len().saturating_sub(2);
    let rows = match shape.get_mut(place) {
        Some(rows) if *rows >= 2 && rows.is_multiple_of(2) => {
            *rows /= 2;
            *rows as usize
        }
        _ => {
            let what = format!("tensor {name} of shape {shape:?} has no two halves");
            return Err(LoadError::new(LoadErrorKind::Tensor, what));
        }
    };
    let half = |kind: &str, second| DraftTensor {
        name: without_experts(&name.replace("ffn_gate_up", kind), keys),
        shape: shape.clone(),
        dtype: part.dtype,
        from: TensorSource::Seen {
            parts: found.parts.clone(),
            view: found.view,
            rows: Rows::Half { rows, second },
        },
    };
    Ok(Some([half("ffn_gate", false), half("ffn_up", true)]))
}

/// Where there are no experts, what all rows share is a feed-forward layer like any other.
fn without_experts(name: &str, keys: &Keys) -> String {
    match (keys.name, keys.count("expert_count")) {
        ("granitehybrid", None) => name.replace("_shexp.", "."),
        _ => name.to_string(),
    }
}

/// How a tensor's rows are to be arranged; notes how many heads of keys there turn out to be.
fn rows(
    name: &str,
    shape: &[u64],
    converted: Converted,
    keys: &mut Keys,
) -> Result<Rows, LoadError> {
    let part = name.split('.').nth(2).unwrap_or_default();
    let heads = keys.count("attention.head_count").unwrap_or(1).max(1);
    let count = shape.first().copied().unwrap_or(1);
    let wrong = || {
        let what = format!(
            "tensor {name} has {count} rows, which are not whole heads, or heads of odd size"
        );
        LoadError::new(LoadErrorKind::Tensor, what)
    };
    match (converted, part) {
        (Converted::NeighboursPaired, "attn_q" | "attn_k") => {
            let heads = match part {
                "attn_k" => keys.kv_heads().unwrap_or(heads).max(1),
                _ => heads,
            };
            // Converters make pairs of all of a head, even where only a part of it rotates.
            let dim = count / heads;
            if dim * heads != count || !dim.is_multiple_of(2) || dim == 0 {
                return Err(wrong());
            }
            Ok(Rows::Paired { dim: dim as usize })
        }
        (Converted::QueriesFirst, "attn_qkv") => {
            let dim = keys.count("embedding_length").unwrap_or(0) / heads;
            let all = count.checked_div(dim).unwrap_or(0);
            let kv_heads = all.saturating_sub(heads) / 2;
            if kv_heads == 0
                || dim * (heads + 2 * kv_heads) != count
                || !heads.is_multiple_of(kv_heads)
            {
                return Err(wrong());
            }
            keys.put("attention.head_count_kv", Value::U32(kv_heads as u32));
            Ok(Rows::QueriesFirst {
                dim: dim as usize,
                queries: (heads / kv_heads) as usize,
            })
        }
        _ => Ok(Rows::AsStored),
    }
}

/// Keys under the architecture's prefix.
struct Keys {
    name: &'static str,
    metadata: Metadata,
}

impl Keys {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn count(&self, key: &str) -> Option<u64> {
        self.metadata.u64(&self.full(key))
    }

    /// Heads of keys, of the layers that have some.
    fn kv_heads(&self) -> Option<u64> {
        let key = "attention.head_count_kv";
        match self.metadata.value(&self.full(key)) {
            Some(Value::Array(list)) => (0..list.len()).filter_map(|i| list.u64(i)).max(),
            _ => self.count(key),
        }
    }

    fn float(&self, key: &str) -> Option<f64> {
        self.metadata.f64(&self.full(key))
    }

    fn put(&mut self, key: &str, value: Value) {
        let key = self.full(key);
        self.metadata.0.insert(key, value);
    }

    fn head_dim(&self) -> Option<u64> {
        let heads = self.count("attention.head_count")?;
        let usual = || self.count("embedding_length")?.checked_div(heads);
        self.count("attention.key_length").or_else(usual)
    }

    /// A part of a head becomes a number of elements.
    fn rotated(&mut self) {
        let part = self.float("rope.partial_factor");
        if let (Some(part), Some(dim)) = (part, self.head_dim()) {
            let dims = (dim as f64 * part) as u32;
            self.put("rope.dimension_count", Value::U32(dims));
        }
        let key = self.full("rope.partial_factor");
        self.metadata.0.remove(&key);
    }

    /// What configurations leave to be known and other readers of GGUF insist on.
    fn complete(&mut self, tensors: &[DraftTensor]) {
        if let Some(dim) = self.count("attention.key_length") {
            self.put("attention.value_length", Value::U32(dim as u32));
        }
        let rows = |name: &str| -> Option<u32> {
            let tensor = tensors.iter().find(|tensor| tensor.name == name);
            u32::try_from(*tensor?.shape.first()?).ok()
        };
        let context = match self.name {
            // As converters write it for models that have no limit.
            "gla" | "mamba" | "retnet" | "rwkv4" | "rwkv6" | "rwkv7" => Some(1 << 20),
            "bloom" | "falcon" => Some(2048),
            "bert" => rows("position_embd.weight"),
            _ => None,
        };
        if let (None, Some(context)) = (self.count("context_length"), context) {
            self.put("context_length", Value::U32(context));
        }
        let down = tensors
            .iter()
            .find(|tensor| tensor.name == "blk.0.ffn_down.weight");
        let hidden = down.and_then(|tensor| tensor.shape.last());
        if let (None, Some(&hidden)) = (self.count("feed_forward_length"), hidden) {
            self.put("feed_forward_length", Value::U32(hidden as u32));
        }
        if self.name == "rwkv6" {
            let ranks = [
                ("time_mix_extra_dim", "time_mix_w1", 5),
                ("time_decay_extra_dim", "time_mix_decay_w1", 1),
                ("feed_forward_length", "channel_mix_key", 1),
            ];
            for (key, tensor, parts) in ranks {
                if let Some(rows) = rows(&format!("blk.0.{tensor}.weight")) {
                    self.put(key, Value::U32(rows / parts));
                }
            }
        }
        if self.name == "mpt" && self.float("attention.layer_norm_epsilon").is_none() {
            self.put("attention.layer_norm_epsilon", Value::F32(1e-5));
        }
    }

    /// llama3's scaling (Dubey et al. 2024) goes into a tensor that divides the frequencies.
    fn divisors(&mut self) -> Option<DraftTensor> {
        let kind = self.metadata.str(&self.full("rope.scaling.type"));
        if kind != Some("llama3") {
            return None;
        }
        let scaling = |key: &str| self.float(&format!("rope.scaling.{key}"));
        let (factor, trained) = (scaling("factor")?, scaling("original_context_length")?);
        let (low, high) = (scaling("low_freq_factor")?, scaling("high_freq_factor")?);
        let base = self.float("rope.freq_base").unwrap_or(10_000.0);
        let dims = self.head_dim()?;
        let divisors = (0..dims / 2).map(|pair| {
            let wave = 2.0 * PI * base.powf(2.0 * pair as f64 / dims as f64);
            if wave < trained / high {
                1.0
            } else if wave > trained / low {
                factor
            } else {
                let smooth = (trained / wave - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        });
        let values: Vec<f32> = divisors.map(|divisor| divisor as f32).collect();
        self.metadata
            .0
            .retain(|key, _| !key.contains(".rope.scaling."));
        Some(vector("rope_freqs.weight", values))
    }

    /// LongRoPE's tables go into tensors, and what the stretch makes of cos and sin into a key
    /// (Ding et al. 2024, section 4).
    fn long_rope(&mut self) -> Vec<DraftTensor> {
        let mut tensors = Vec::new();
        for which in ["short", "long"] {
            let key = self.full(&format!("rope.scaling.{which}_factor"));
            if let Some(Value::Array(table)) = self.metadata.0.remove(&key) {
                let numbers = (0..table.len()).filter_map(|index| table.f64(index));
                let values = numbers.map(|number| number as f32).collect();
                tensors.push(vector(&format!("rope_factors_{which}.weight"), values));
            }
        }
        let trained = self.count("rope.scaling.original_context_length");
        if let (Some(trained), Some(context), false) =
            (trained, self.count("context_length"), tensors.is_empty())
            && self.float("rope.scaling.attn_factor").is_none()
        {
            let (trained, context) = (trained as f64, context as f64);
            let magnitude = (1.0 + (context / trained).ln() / trained.ln())
                .max(1.0)
                .sqrt();
            self.put("rope.scaling.attn_factor", Value::F32(magnitude as f32));
        }
        tensors
    }
}

fn vector(name: &str, values: Vec<f32>) -> DraftTensor {
    DraftTensor {
        name: name.to_string(),
        shape: vec![values.len() as u64],
        dtype: DType::F32,
        from: TensorSource::Made(Arc::new(values)),
    }
}
