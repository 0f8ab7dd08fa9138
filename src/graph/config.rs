//! A model's configuration: its hyperparameters under their canonical (GGUF) names, whatever the
//! container calls them.

use super::BuildError;
use rillm_formats::manifest::{Array, Blank, Container, Manifest, Metadata, MetadataValue};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// A canonical name and `config.json`'s; several lines for several spellings.
pub type Key = (&'static str, &'static str);

/// The hyperparameters of a model of one architecture.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// Everything the files say.
    pub metadata: &'a Metadata,
    /// Decides the names.
    pub container: Container,
    /// Prefix of GGUF keys.
    pub architecture: &'a str,
    /// Tables of canonical names and `config.json`'s.
    pub keys: &'static [&'static [Key]],
    /// Keys of a `config.json` that are there without a value.
    pub blanks: &'a BTreeMap<String, Blank>,
    /// What the files' tensors have room for.
    pub bounds: Bounds,
    /// Whether a class's head is its embedding where `config.json` does not say.
    pub ties: bool,
    /// What the canonical names of the part that is read begin with.
    part: Cell<&'static str>,
    /// Canonical names that were asked for.
    asked: RefCell<BTreeSet<String>>,
    granted: RefCell<Metadata>,
    /// Of those, what was read as real numbers.
    reals: RefCell<BTreeSet<String>>,
}

/// What counts are held against before anything is reserved in proportion to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Elements of the largest tensor: no width and no number of heads or experts is above it.
    pub elements: u64,
    /// Layers of which there are tensors.
    pub layers: u64,
}

/// Counts that no tensor bears out: lengths of texts, distances, and how often something recurs.
const LENGTHS: &[&str] = &[
    "attention.chunk_size",
    "attention.relative_max_distance",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.temperature_length",
    "context_length",
    "decoder_start_token_id",
    "expert_every_n_layers",
    "full_attention_interval",
    "interleave_moe_layer_step",
    "max_window_layers",
    "memory.compressed",
    "memory.length",
    "memory.ratio",
    "memory.segment",
    "moe_every_n_layers",
    "nextn_predict_layers",
    "residual_attention",
    "rope.scaling.original_context_length",
    "rope.scaling_swa.original_context_length",
    "rope.unrotated_interval",
];

/// To how many bits what layers read is rounded, if it is: where their weights have three values.
pub const INPUT_BITS: &str = "input_bits";

/// Whether the weights of a folder's layers have three values, or become such when they are read.
pub fn three_valued(config: &Metadata) -> bool {
    config.u64(INPUT_BITS) == Some(8)
}

impl<'a> Config<'a> {
    /// The hyperparameters that a manifest holds under these keys.
    pub fn new(
        manifest: &'a Manifest,
        keys: &'static [&'static [Key]],
        bounds: Bounds,
    ) -> Config<'a> {
        Config {
            metadata: &manifest.metadata,
            container: manifest.container,
            architecture: &manifest.architecture,
            keys,
            blanks: &manifest.blanks,
            bounds,
            ties: false,
            part: Cell::default(),
            asked: RefCell::default(),
            granted: RefCell::default(),
            reals: RefCell::default(),
        }
    }

    /// What `read` makes of the hyperparameters of a part, whose canonical names begin with `part`.
    pub fn of_part<T>(&self, part: &'static str, read: impl FnOnce() -> T) -> T {
        let whole = self.part.replace(part);
        let made = read();
        self.part.set(whole);
        made
    }

    /// The canonical name of a key of the part that is read.
    fn whole(&self, key: &str) -> String {
        format!("{}{key}", self.part.get())
    }

    /// The canonical names that were asked for so far, whether or not the files have them.
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// The canonical names of real numbers that were read: configurations write 10000 where they mean
    /// 10000.0, and readers of GGUF are strict.
    pub fn reals(&self) -> BTreeSet<String> {
        self.reals.borrow().clone()
    }

    /// What a class takes for granted where its `config.json` does not say it, as far as it was
    /// asked for. Readers of GGUF take other things for granted, and have to be told.
    pub fn granted(&self) -> Metadata {
        self.granted.borrow().clone()
    }

    /// Notes what stands for a key of a folder that `config.json` does not have. What scaling makes
    /// of positions is worked out anew from the numbers that are there.
    pub fn grant(&self, key: &str, value: MetadataValue) {
        let whole = self.whole(key);
        let mut lines = self.keys.iter().copied().flatten();
        let read = lines.any(|(canonical, _)| *canonical == whole);
        if read && self.container == Container::HuggingFace && !key.starts_with("rope.scaling") {
            self.granted.borrow_mut().0.insert(whole, value);
        }
    }

    /// An error about a key that nothing is known of.
    pub fn unknown(&self, found: &str) -> BuildError {
        BuildError::Unknown {
            key: found.to_string(),
            found: self.found(found),
        }
    }

    /// Refuses an object in place of a value, and a value in place of an object: what stands
    /// where nobody looks would pass for absent.
    ///
    /// # Errors
    /// Names the key.
    pub fn check_forms(&self) -> Result<(), BuildError> {
        if self.container == Container::Gguf {
            return Ok(());
        }
        for (_, theirs) in self.keys.iter().copied().flatten() {
            if self.is_object(theirs) {
                return Err(BuildError::Invalid {
                    key: (*theirs).to_string(),
                    found: "an object, or a list of several kinds".to_string(),
                    expected: "a value".to_string(),
                });
            }
            for (dot, _) in theirs.match_indices('.') {
                let object = &theirs[..dot];
                if self.metadata.value(object).is_some() {
                    return Err(self.bad(object, "an object or null"));
                }
                if self.is_list(object) {
                    return Err(BuildError::Invalid {
                        key: object.to_string(),
                        found: "a list".to_string(),
                        expected: "an object or null".to_string(),
                    });
                }
            }
        }
        match self.metadata.value("architectures") {
            Some(MetadataValue::Array(list)) if list.is_empty() || list.strings().is_some() => {
                Ok(())
            }
            None if !self.is_object("architectures") => Ok(()),
            _ => Err(self.bad("architectures", "a list of names of classes")),
        }
    }

    /// Whether entries stand under a key of `config.json`, or none in an object.
    pub(crate) fn is_object(&self, theirs: &str) -> bool {
        self.blanks.get(theirs) == Some(&Blank::Object) || self.has_under(&format!("{theirs}."))
    }

    /// Whether a list of several kinds, of objects or of nulls stands under a key of `config.json`.
    fn is_list(&self, theirs: &str) -> bool {
        let first = format!("{theirs}.0");
        let is_there = self.metadata.value(&first).is_some() || self.blanks.contains_key(&first);
        is_there || self.has_under(&format!("{first}."))
    }

    fn has_under(&self, begin: &str) -> bool {
        let values = self.metadata.0.range(begin.to_string()..).next();
        let blanks = self.blanks.range(begin.to_string()..).next();
        values.is_some_and(|(key, _)| key.starts_with(begin))
            || blanks.is_some_and(|(key, _)| key.starts_with(begin))
    }

    /// Whether `config.json` says `null`, which may mean something else than to say nothing.
    pub fn is_null(&self, key: &str) -> bool {
        let whole = self.whole(key);
        let mut lines = self.keys.iter().copied().flatten();
        self.container == Container::HuggingFace
            && self.key(key).is_none()
            && lines.any(|(canonical, theirs)| {
                *canonical == whole && self.blanks.get(*theirs) == Some(&Blank::Null)
            })
    }

    /// Whether what layers read is rounded to int8, row by row, as their weights of three values were
    /// trained with.
    pub fn rounds_inputs(&self) -> bool {
        match self.container {
            Container::HuggingFace => three_valued(self.metadata),
            Container::Gguf => {
                let full = format!("{}.{INPUT_BITS}", self.architecture);
                self.metadata.u64(&full) == Some(8) && self.key(INPUT_BITS).is_some()
            }
        }
    }

    /// A positive whole number that must be there.
    pub fn count(&self, key: &str) -> Result<usize, BuildError> {
        match self.optional_count(key)? {
            Some(count) => Ok(count),
            None => Err(self.missing(key)),
        }
    }

    /// A positive whole number; absent is fine, anything else is an error.
    pub fn optional_count(&self, key: &str) -> Result<Option<usize>, BuildError> {
        let Some(found) = self.key(key) else {
            return Ok(None);
        };
        let count = match self.metadata.value(&found) {
            Some(MetadataValue::Array(list)) => Some(self.of_each_layer(key, &found, list)?),
            _ => self.metadata.u64(&found),
        };
        let count = count.filter(|&count| count > 0 && count <= u32::MAX.into());
        let Some(count) = count else {
            return Err(self.bad(&found, "a positive whole number below 2^32"));
        };
        let (most, what) = match key {
            // The first layer that is missing is named by its tensors.
            "block_count" | "decoder_block_count" => {
                let layers = self.bounds.layers;
                (
                    layers.saturating_add(1),
                    format!("the {layers} layers that are there"),
                )
            }
            _ if LENGTHS.contains(&key) => (u64::MAX, String::new()),
            _ => (
                self.bounds.elements,
                "what the tensors have room for".to_string(),
            ),
        };
        if count > most {
            return Err(self.bad(&found, &what));
        }
        Ok(usize::try_from(count).ok())
    }

    /// A count that is listed for each layer: the same for all.
    fn of_each_layer(&self, key: &str, found: &str, list: &Array) -> Result<u64, BuildError> {
        let layers = match key {
            "block_count" | "decoder_block_count" => None,
            _ => self.optional_count("block_count")?,
        };
        let whole = layers == Some(list.len());
        let first = list.u64(0).filter(|_| whole);
        let Some(first) = first else {
            return Err(self.bad(found, "a positive whole number below 2^32"));
        };
        match (1..list.len()).all(|layer| list.u64(layer) == Some(first)) {
            true => Ok(first),
            false => Err(self.bad(found, "the same number for each layer")),
        }
    }

    /// A whole number whose zero means "without", as its absence does: experts, a window.
    pub fn feature(&self, key: &str) -> Result<Option<usize>, BuildError> {
        let found = self.key(key).and_then(|found| self.metadata.u64(&found));
        if found == Some(0) {
            Ok(None)
        } else {
            self.optional_count(key)
        }
    }

    /// A token's id, of a list the least, which is what a reference takes that likes all of them
    /// equally; absent is fine.
    pub fn token(&self, key: &str) -> Result<Option<u32>, BuildError> {
        let Some(found) = self.key(key) else {
            return Ok(None);
        };
        let id = match self.metadata.value(&found) {
            Some(MetadataValue::Array(list)) => {
                let ids: Option<Vec<u64>> = (0..list.len()).map(|index| list.u64(index)).collect();
                ids.and_then(|ids| ids.into_iter().min())
            }
            _ => self.metadata.u64(&found),
        };
        match id.and_then(|id| u32::try_from(id).ok()) {
            Some(id) => Ok(Some(id)),
            None => Err(self.bad(&found, "a token's id")),
        }
    }

    /// What keeps a division from one by zero: a number that is not negative, or `default` if
    /// absent.
    pub fn epsilon(&self, key: &str, default: f32) -> Result<f32, BuildError> {
        let epsilon = self.float(key, default)?;
        if epsilon >= 0.0 && !self.is_null(key) {
            return Ok(epsilon);
        }
        Err(self.invalid(key, "a number that is not negative"))
    }

    /// A number above zero, or `default` if absent; `null` is none.
    pub fn positive(&self, key: &str, default: f32) -> Result<f32, BuildError> {
        let number = self.float(key, default)?;
        if number > 0.0 && !self.is_null(key) {
            return Ok(number);
        }
        Err(self.invalid(key, "a positive number"))
    }

    /// A finite number, or `default` if absent.
    pub fn float(&self, key: &str, default: f32) -> Result<f32, BuildError> {
        let number = self.double(key, f64::from(default))? as f32;
        self.reals.borrow_mut().insert(self.whole(key));
        match self.key(key) {
            Some(found) if !number.is_finite() => Err(self.bad(&found, "a finite number")),
            _ => Ok(number),
        }
    }

    /// The same, not rounded to a float: also what is a count, or none below zero.
    pub fn double(&self, key: &str, default: f64) -> Result<f64, BuildError> {
        let Some(found) = self.key(key) else {
            self.grant(key, MetadataValue::F32(default as f32));
            return Ok(default);
        };
        match self.metadata.f64(&found).filter(|n| n.is_finite()) {
            Some(number) => Ok(number),
            None => Err(self.bad(&found, "a finite number")),
        }
    }

    /// A truth value, or `default` if absent.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, BuildError> {
        let Some(found) = self.key(key) else {
            self.grant(key, MetadataValue::Bool(default));
            return Ok(default);
        };
        self.metadata
            .bool(&found)
            .ok_or_else(|| self.bad(&found, "true or false"))
    }

    /// A string, if present.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, BuildError> {
        let Some(found) = self.key(key) else {
            return Ok(None);
        };
        self.metadata
            .str(&found)
            .map(Some)
            .ok_or_else(|| self.bad(&found, "a string"))
    }

    /// A list, or anything else that is there, for the caller to judge.
    pub fn value(&self, key: &str) -> Option<&'a MetadataValue> {
        self.metadata.value(&self.key(key)?)
    }

    /// Exactly `len` finite numbers, if the key is there.
    pub fn floats(&self, key: &str, len: usize) -> Result<Option<Vec<f32>>, BuildError> {
        let Some(found) = self.key(key) else {
            return Ok(None);
        };
        let list = self.metadata.array(&found).filter(|list| list.len() == len);
        let number = |index| list?.f64(index).map(|n| n as f32).filter(|n| n.is_finite());
        let numbers: Option<Vec<f32>> = list.and_then(|_| (0..len).map(number).collect());
        match numbers {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(self.bad(&found, &format!("a list of {len} finite numbers"))),
        }
    }

    /// `architectures[0]` of a Hugging Face folder: tells which head was trained.
    pub fn class(&self) -> Option<&'a str> {
        let Array::String(names) = self.metadata.array("architectures")? else {
            return None;
        };
        core::str::from_utf8(names.get(0)?).ok()
    }

    /// The token that fills up texts of a batch, if there is one.
    pub fn padding(&self) -> Result<Option<u32>, BuildError> {
        const KEY: &str = "padding_token_id";
        let found = match self.container {
            Container::Gguf => return self.token(KEY),
            Container::HuggingFace => self.metadata.value("pad_token_id"),
        };
        let found = match found {
            None => None,
            Some(_) => match self.metadata.f64("pad_token_id") {
                Some(id) if id.fract() == 0.0 => Some(id),
                _ => return Err(self.bad("pad_token_id", "a token's id")),
            },
        };
        // A negative one is no token's.
        let found = found.filter(|id| (0.0..=f64::from(u32::MAX)).contains(id));
        let found = found.map(|id| id as u32);
        if let Some(id) = found {
            let value = MetadataValue::U32(id);
            self.granted.borrow_mut().0.insert(KEY.to_string(), value);
        }
        Ok(found)
    }

    /// `tie_word_embeddings` of a Hugging Face folder, if it says; GGUF has no such key.
    pub fn tied(&self) -> Result<Option<bool>, BuildError> {
        let key = "tie_word_embeddings";
        if self.container == Container::Gguf {
            return Ok(None);
        }
        match (self.metadata.value(key), self.metadata.bool(key)) {
            (None, _) if !self.is_object(key) => Ok(None),
            (_, Some(tied)) => Ok(Some(tied)),
            _ => Err(self.bad(key, "true or false")),
        }
    }

    /// An error about the class.
    pub fn invalid_class(&self, expected: &str) -> BuildError {
        BuildError::Invalid {
            key: "architectures".to_string(),
            found: self.class().unwrap_or("nothing").to_string(),
            expected: expected.to_string(),
        }
    }

    /// An error about the value under a canonical name.
    pub fn invalid(&self, key: &str, expected: &str) -> BuildError {
        let found = self.key(key).unwrap_or_else(|| self.spelling(key));
        self.bad(&found, expected)
    }

    /// An error about a value that should be there.
    pub fn missing(&self, key: &str) -> BuildError {
        BuildError::Missing {
            key: self.spelling(key),
        }
    }

    /// An error about the value under a key of the files.
    pub fn bad(&self, found: &str, expected: &str) -> BuildError {
        BuildError::Invalid {
            key: found.to_string(),
            found: self.found(found),
            expected: expected.to_string(),
        }
    }

    /// What stands under a key of the files, for people.
    fn found(&self, found: &str) -> String {
        match self.metadata.value(found) {
            Some(value) => show(value),
            None if self.is_object(found) => "an object".to_string(),
            None if self.blanks.contains_key(found) => "null".to_string(),
            None => "nothing".to_string(),
        }
    }

    /// The key under which the files hold `key`, if they do.
    fn key(&self, key: &str) -> Option<String> {
        let whole = self.whole(key);
        match self.container {
            Container::Gguf => {
                let full = format!("{}.{whole}", self.architecture);
                self.asked.borrow_mut().insert(whole);
                self.metadata.value(&full).map(|_| full)
            }
            Container::HuggingFace => self
                .keys
                .iter()
                .copied()
                .flatten()
                .filter(|(canonical, _)| *canonical == whole)
                .map(|(_, theirs)| *theirs)
                .find(|theirs| self.metadata.value(theirs).is_some())
                .map(str::to_string),
        }
    }

    /// How a user would have to write a missing key.
    fn spelling(&self, key: &str) -> String {
        let whole = self.whole(key);
        let mut keys = self.keys.iter().copied().flatten();
        let theirs = keys.find(|(canonical, _)| *canonical == whole);
        match (self.container, theirs) {
            (Container::HuggingFace, Some((_, theirs))) => (*theirs).to_string(),
            _ => format!("{}.{whole}", self.architecture),
        }
    }
}

/// A value as its file's author would write it, cut to a readable length.
fn show(value: &MetadataValue) -> String {
    let text = match value {
        MetadataValue::U8(v) => v.to_string(),
        MetadataValue::I8(v) => v.to_string(),
        MetadataValue::U16(v) => v.to_string(),
        MetadataValue::I16(v) => v.to_string(),
        MetadataValue::U32(v) => v.to_string(),
        MetadataValue::I32(v) => v.to_string(),
        MetadataValue::U64(v) => v.to_string(),
        MetadataValue::I64(v) => v.to_string(),
        MetadataValue::F32(v) => v.to_string(),
        MetadataValue::F64(v) => v.to_string(),
        MetadataValue::Bool(v) => v.to_string(),
        MetadataValue::String(v) => format!("{v:?}"),
        MetadataValue::Array(v) => format!("a list of {} values", v.len()),
    };
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
