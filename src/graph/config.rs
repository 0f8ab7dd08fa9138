//! A model's configuration: its hyperparameters under their canonical (GGUF) names, whatever the
//! container calls them.

use super::BuildError;
use rillm_formats::manifest::{Array, Container, Metadata, MetadataValue};

/// A canonical name and `config.json`'s; several lines for several spellings.
pub type Key = (&'static str, &'static str);

/// The hyperparameters of a model of one architecture.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// Everything the files say.
    pub metadata: &'a Metadata,
    /// Decides the names.
    pub container: Container,
    /// Prefix of GGUF keys.
    pub architecture: &'a str,
    /// Tables of canonical names and `config.json`'s.
    pub keys: &'static [&'static [Key]],
}

impl<'a> Config<'a> {
    /// A positive whole number that must be there.
    pub fn count(&self, key: &str) -> Result<usize, BuildError> {
        match self.optional_count(key)? {
            Some(count) => Ok(count),
            None => Err(BuildError::Missing {
                key: self.spelling(key),
            }),
        }
    }

    /// A positive whole number; absent is fine, anything else is an error.
    pub fn optional_count(&self, key: &str) -> Result<Option<usize>, BuildError> {
        let Some(found) = self.key(key) else {
            return Ok(None);
        };
        let count = self
            .metadata
            .u64(&found)
            .filter(|&count| count > 0 && count <= u32::MAX.into());
        match count.and_then(|count| usize::try_from(count).ok()) {
            Some(count) => Ok(Some(count)),
            None => Err(self.bad(&found, "a positive whole number below 2^32")),
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

    /// A finite number, or `default` if absent.
    pub fn float(&self, key: &str, default: f32) -> Result<f32, BuildError> {
        let number = self.double(key, f64::from(default))? as f32;
        match self.key(key) {
            Some(found) if !number.is_finite() => Err(self.bad(&found, "a finite number")),
            _ => Ok(number),
        }
    }

    /// The same, not rounded to a float.
    pub fn double(&self, key: &str, default: f64) -> Result<f64, BuildError> {
        let Some(found) = self.key(key) else {
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

    /// `tie_word_embeddings` of a Hugging Face folder, if it says; GGUF has no such key.
    pub fn tied(&self) -> Result<Option<bool>, BuildError> {
        let key = "tie_word_embeddings";
        if self.container == Container::Gguf || self.metadata.value(key).is_none() {
            return Ok(None);
        }
        match self.metadata.bool(key) {
            Some(tied) => Ok(Some(tied)),
            None => Err(self.bad(key, "true or false")),
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

    fn bad(&self, found: &str, expected: &str) -> BuildError {
        let value = match self.metadata.value(found) {
            Some(value) => show(value),
            None => "nothing".to_string(),
        };
        BuildError::Invalid {
            key: found.to_string(),
            found: value,
            expected: expected.to_string(),
        }
    }

    /// The key under which the files hold `key`, if they do.
    fn key(&self, key: &str) -> Option<String> {
        match self.container {
            Container::Gguf => {
                let full = format!("{}.{key}", self.architecture);
                self.metadata.value(&full).map(|_| full)
            }
            Container::HuggingFace => self
                .keys
                .iter()
                .copied()
                .flatten()
                .filter(|(canonical, _)| *canonical == key)
                .map(|(_, theirs)| *theirs)
                .find(|theirs| self.metadata.value(theirs).is_some())
                .map(str::to_string),
        }
    }

    /// How a user would have to write a missing key.
    fn spelling(&self, key: &str) -> String {
        let mut keys = self.keys.iter().copied().flatten();
        let theirs = keys.find(|(canonical, _)| *canonical == key);
        match (self.container, theirs) {
            (Container::HuggingFace, Some((_, theirs))) => (*theirs).to_string(),
            _ => format!("{}.{key}", self.architecture),
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
