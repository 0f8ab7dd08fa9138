//! Hugging Face folders as converters to GGUF write them. What an architecture says in GGUF in
//! other words is its own affair ([`Conversion`](crate::models::Conversion)); here stands what
//! all of them share.

use super::draft::{DraftTensor, TensorSource, first_number};
use super::generation::generation;
use super::{scaling, tasks};
use crate::error::{LoadError, LoadErrorKind};
use crate::graph::{Catalog, INPUT_BITS, View, three_valued};
use crate::model::{hf_files, open_tokenizer, used, wired};
use crate::models::{Architecture, Family, GgufKeys, Written, WrittenRows};
use crate::weights::{Files, Found, Stored, Views};
use rillm_formats::manifest::{Array, DType, Manifest, Metadata, MetadataValue};
use std::collections::BTreeSet;

/// Keys and tensors of the file that a folder becomes, and what could not be brought along.
pub(super) fn converted(
    files: &Files,
) -> Result<(Metadata, Vec<DraftTensor>, Vec<String>), LoadError> {
    let manifest = &files.manifest;
    let (architecture, views, wiring) = wired(manifest)?;
    let conversion = &architecture.conversion;
    let mut keys = translated(architecture, manifest, &wiring.reals);
    for (key, value) in &wiring.granted.0 {
        keys.put_usual(key, value.clone());
    }
    if three_valued(&manifest.metadata) {
        keys.put(INPUT_BITS, MetadataValue::U32(8));
    }
    (conversion.keys)(&mut keys);
    if let (true, Some(classes)) = (
        wiring.class_counts,
        manifest.metadata.value("architectures"),
    ) {
        keys.bare.0.insert("architectures".into(), classes.clone());
    }
    scaling::unscaled(&mut keys)
        .map_err(|what| LoadError::new(LoadErrorKind::Unsupported, what))?;
    // Readers refuse what they do not use: second copies of what is shared, say.
    let used = used(&wiring);
    for (part, key) in conversion.listed {
        let numbers = listed(files, &views, part);
        let numbers = MetadataValue::Array(Array::F32(numbers));
        keys.bare.0.insert(key.to_string(), numbers);
    }
    let is_tensor = |name: &str| {
        let part = name.split('.').nth(2).unwrap_or_default();
        used.contains(name) && conversion.listed.iter().all(|(listed, _)| *listed != part)
    };
    let mut tensors = Vec::new();
    for (name, found) in views.iter().filter(|(name, _)| is_tensor(name)) {
        let written = Written {
            name: name.to_string(),
            shape: written_shape(name, &found.shape),
            rows: WrittenRows::AsStored,
            factors: Vec::new(),
        };
        let written = (conversion.tensor)(&mut keys, written);
        let written = written.map_err(|what| LoadError::new(LoadErrorKind::Tensor, what))?;
        tensors.extend(
            written
                .into_iter()
                .filter_map(|tensor| draft(tensor, found)),
        );
    }
    for (name, like) in conversion.copies {
        if let (None, Some(like)) = (find(&tensors, name), find(&tensors, like)) {
            let name = (*name).to_string();
            let copy = DraftTensor {
                name,
                ..like.clone()
            };
            tensors.push(copy);
        }
    }
    tensors.extend(scaling::divisors(&mut keys));
    tensors.extend(scaling::proportion(&mut keys));
    tensors.extend(scaling::long_rope(&mut keys));
    scaling::dynamic(&mut keys);
    scaling::rotated(&mut keys);
    complete(&mut keys, &tensors);
    (conversion.complete)(&mut keys, &Drafted(&tensors));
    tensors.extend(tasks::tensors(files));
    tensors.sort_by(|a, b| place(&a.name).cmp(&place(&b.name)));

    let embedding = find(&tensors, "token_embd.weight");
    let rows = embedding.and_then(|tensor| tensor.shape.first()).copied();
    let (vocabulary, more) = text(files, rows.unwrap_or(0));
    let notes: Vec<String> = files.notes.iter().cloned().chain(more).collect();
    if let (Some(rows), None) = (rows, vocabulary.value("tokenizer.ggml.model")) {
        // Other readers insist on the one, and then on the other.
        let none = MetadataValue::String("none".into());
        keys.bare.0.insert("tokenizer.ggml.model".into(), none);
        keys.put("vocab_size", MetadataValue::U32(rows as u32));
    }
    if architecture.family == Family::Encoder {
        // Where nothing is said, other readers take a text's last token for what stands for all of it.
        let decodes = keys.config.bool("is_decoder") == Some(true);
        keys.put_usual("attention.causal", MetadataValue::Bool(decodes));
    }
    let (task, lost) = tasks::keys(files, keys.architecture);
    let mut metadata = named(keys, files);
    if architecture.family == Family::EncoderDecoder {
        metadata.0.extend(generation(&manifest.metadata).0);
    }
    metadata.0.extend(vocabulary.0);
    metadata.0.extend(task.0);
    Ok((metadata, tensors, [notes, lost].concat()))
}

/// The number that each layer has under this name, layer by layer.
fn listed(files: &Files, views: &Views, part: &str) -> Vec<f32> {
    let of = |layer: usize| {
        let found = views.find(&format!("blk.{layer}.{part}")).ok()?;
        first_number(files, found.parts.first()?)
    };
    (0..).map_while(of).collect()
}

/// Counts that configurations may list for each layer, the same for all, and GGUF says once.
const OF_ALL_LAYERS: [&str; 4] = [
    "expert_count",
    "expert_used_count",
    "expert_shared_count",
    "expert_feed_forward_length",
];

/// Hyperparameters under their canonical names.
fn translated<'a>(
    architecture: &Architecture,
    manifest: &'a Manifest,
    reals: &BTreeSet<String>,
) -> GgufKeys<'a> {
    let config = &manifest.metadata;
    let mut keys = GgufKeys {
        architecture: architecture.written_as(),
        config,
        values: Metadata::default(),
        bare: Metadata::default(),
    };
    for &(canonical, theirs) in architecture.keys.iter().copied().flatten() {
        let value = match config.value(theirs) {
            None => continue,
            Some(MetadataValue::Array(list)) if OF_ALL_LAYERS.contains(&canonical) => {
                match list.u64(0).and_then(|count| u32::try_from(count).ok()) {
                    Some(count) => MetadataValue::U32(count),
                    None => continue,
                }
            }
            Some(MetadataValue::F64(float)) => MetadataValue::F32(*float as f32),
            Some(MetadataValue::Array(Array::String(kinds))) if theirs.ends_with("layer_types") => {
                let special: [&[u8]; 3] = [
                    b"sliding_attention",
                    b"linear_attention",
                    b"chunked_attention",
                ];
                let slides = kinds.iter().map(|kind| special.contains(&kind));
                MetadataValue::Array(Array::Bool(slides.collect()))
            }
            Some(_) if reals.contains(canonical) && config.f64(theirs).is_some() => {
                MetadataValue::F32(config.f64(theirs).unwrap_or_default() as f32)
            }
            Some(other) => match config.u64(theirs).map(u32::try_from) {
                Some(Ok(count)) => MetadataValue::U32(count),
                _ => other.clone(),
            },
        };
        keys.put_usual(canonical, value);
    }
    keys
}

/// A convolution's `[channels, 1, width]` is a matrix.
fn written_shape(name: &str, shape: &[u64]) -> Vec<u64> {
    match *shape {
        [channels, 1, width]
            if name.contains(".ssm_conv1d.") || name.contains(".shortconv.conv.") =>
        {
            vec![channels, width]
        }
        _ => shape.to_vec(),
    }
}

/// A written tensor and where its values are; nothing for one that has none.
fn draft(written: Written, found: &Found) -> Option<DraftTensor> {
    let as_it_is = found.view == View::Plain
        && written.rows == WrittenRows::AsStored
        && written.factors.is_empty();
    let (dtype, from) = match &found.parts[..] {
        [] => return None,
        [Stored::Typed(info)] if as_it_is => (info.dtype, TensorSource::Stored(info.clone())),
        parts @ [first, ..] => {
            let dtype = match first {
                Stored::Typed(info) => info.dtype,
                // No smaller type holds all products of values and scales.
                Stored::Scaled(_) => DType::F32,
            };
            let from = TensorSource::Seen {
                parts: parts.to_vec(),
                view: found.view,
                rows: written.rows,
                factors: written.factors,
            };
            (dtype, from)
        }
    };
    Some(DraftTensor {
        name: written.name,
        shape: written.shape,
        dtype,
        from,
    })
}

fn find<'a>(tensors: &'a [DraftTensor], name: &str) -> Option<&'a DraftTensor> {
    tensors.iter().find(|tensor| tensor.name == name)
}

/// The extents of tensors that are to be written.
struct Drafted<'a>(&'a [DraftTensor]);

impl Catalog for Drafted<'_> {
    fn shape(&self, name: &str) -> Option<&[u64]> {
        find(self.0, name).map(|tensor| tensor.shape.as_slice())
    }
}

/// What configurations leave to be known and other readers of GGUF insist on.
fn complete(keys: &mut GgufKeys<'_>, tensors: &[DraftTensor]) {
    if let Some(dim) = keys.count("attention.key_length") {
        keys.put("attention.value_length", MetadataValue::U32(dim as u32));
    }
    let types = find(tensors, "token_types.weight");
    if let Some(&types) = types.and_then(|tensor| tensor.shape.first()) {
        let types = MetadataValue::U32(types as u32);
        let key = "tokenizer.ggml.token_type_count".to_string();
        keys.bare.0.insert(key, types);
    }
    let down = find(tensors, "blk.0.ffn_down.weight");
    let hidden = down.and_then(|tensor| tensor.shape.last());
    // A list of widths is there as well.
    let said = keys.values.value("feed_forward_length").is_some();
    if let (false, Some(&hidden)) = (said, hidden) {
        keys.put("feed_forward_length", MetadataValue::U32(hidden as u32));
    }
}

/// The keys with the architecture's name before them, and what the model is called.
fn named(keys: GgufKeys<'_>, files: &Files) -> Metadata {
    let mut metadata = keys.bare;
    let mut put = |key: &str, text: String| {
        metadata.0.insert(key.into(), MetadataValue::String(text));
    };
    put("general.architecture", keys.architecture.into());
    let folder = files.path.file_name();
    let folder = folder.map(|name| name.to_string_lossy().into_owned());
    if let Some(folder) = folder.filter(|folder| !folder.is_empty()) {
        put("general.name", folder);
    }
    let values = keys.values.0.into_iter();
    let full = values.map(|(key, value)| (format!("{}.{key}", keys.architecture), value));
    metadata.0.extend(full);
    metadata
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

/// The vocabulary, a name for each of `rows` embeddings, and the chat template.
fn text(files: &Files, rows: u64) -> (Metadata, Vec<String>) {
    let mut notes = Vec::new();
    let mut metadata = Metadata::default();
    let without = "the file has no vocabulary, and runs on token ids";
    match open_tokenizer(&files.manifest, &files.tokenizer) {
        Ok(None) => notes.push(format!("the folder has no tokenizer: {without}")),
        Err(error) => notes.push(format!("{error}: {without}")),
        Ok(Some(tokenizer)) => {
            let mut written = tokenizer.to_gguf();
            if !written.is_exact
                && let Ok(Some(json)) = hf_files(&files.tokenizer).tokenizer_json()
            {
                written.add_tokenizer_json(&json);
            }
            if !written.losses.is_empty() {
                notes.push(format!(
                    "the keys of GGUF do not hold all of the tokenizer ({}): rillm reads what else \
                     the file holds, other programs may tokenize differently",
                    written.losses.join(", ")
                ));
            }
            metadata = written.metadata;
        }
    }
    for (key, value) in files.tokenizer.chat_templates_of_gguf() {
        metadata.0.insert(key, value);
    }
    pad_vocabulary(&mut metadata, rows);
    without_unknown_ends(&mut metadata);
    (metadata, notes)
}

/// What configurations say of ends that are no tokens ends no text, and readers refuse.
fn without_unknown_ends(metadata: &mut Metadata) {
    let tokens = metadata
        .array("tokenizer.ggml.tokens")
        .map_or(0, Array::len) as u64;
    let other = "tokenizer.ggml.eot_token_id";
    if metadata.u64(other).is_some_and(|id| id >= tokens) {
        metadata.0.remove(other);
    }
    let ends = metadata.0.get_mut("tokenizer.rillm.end_token_ids");
    if let Some(MetadataValue::Array(Array::U32(ends))) = ends {
        ends.retain(|id| u64::from(*id) < tokens);
    }
}

/// Embeddings may have more rows than there are tokens; in the file, each has a name.
fn pad_vocabulary(metadata: &mut Metadata, rows: u64) {
    /// The type of a token that is never written.
    const UNUSED: i32 = 5;
    for name in ["tokens", "token_type", "scores"] {
        let Some(MetadataValue::Array(list)) =
            metadata.0.get_mut(&format!("tokenizer.ggml.{name}"))
        else {
            continue;
        };
        for id in list.len() as u64..rows {
            match list {
                Array::String(tokens) => tokens.push(format!("[PAD{id}]").as_bytes()),
                Array::I32(types) => types.push(UNUSED),
                Array::F32(scores) => scores.push(0.0),
                _ => {}
            }
        }
    }
}
