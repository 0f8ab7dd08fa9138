//! What a file of settings says: a key that is there is of the type it has to be, or refused by name.

use crate::error::{LoadError, LoadErrorKind};
use crate::json;
use crate::model::Model;
use serde_json::{Map, Value};
use std::fmt::Display;

/// The object of settings in a file of sentence-transformers.
#[derive(Clone, Debug)]
pub(super) struct ModuleSettings {
    file: String,
    keys: Map<String, Value>,
}

impl ModuleSettings {
    /// Reads a file of this name.
    pub(super) fn read(bytes: &[u8], file: &str) -> Result<ModuleSettings, LoadError> {
        match parsed(bytes, file)? {
            Value::Object(keys) => Ok(ModuleSettings::of(keys, file)),
            _ => Err(bad(format!("{file}: expected an object of settings"))),
        }
    }

    /// ModuleSettings that stand in a file of this name.
    pub(super) fn of(keys: Map<String, Value>, file: &str) -> ModuleSettings {
        let file = file.to_string();
        ModuleSettings { file, keys }
    }

    /// What is wrong with this file.
    pub(super) fn bad(&self, what: impl Display) -> LoadError {
        bad(format!("{}: {what}", self.file))
    }

    /// That there is no key that `knows` does not.
    pub(super) fn expect_known(&self, knows: impl Fn(&str) -> bool) -> Result<(), LoadError> {
        match self.keys.keys().find(|key| !knows(key)) {
            Some(key) => Err(self.bad(format_args!("key {key:?} is not known"))),
            None => Ok(()),
        }
    }

    /// A truth value, and what counts where it is not there.
    pub(super) fn flag(&self, key: &str, unsaid: bool) -> Result<bool, LoadError> {
        let found = self.found(key, "true or false", Value::as_bool)?;
        Ok(found.unwrap_or(unsaid))
    }

    /// A text, if it is there.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, LoadError> {
        self.found(key, "a text", Value::as_str)
    }

    /// A text or a list of them, if it is there.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, LoadError> {
        self.found(key, "a text or a list of texts", |value| match value {
            Value::Array(list) => list.iter().map(Value::as_str).collect(),
            one => Some(vec![one.as_str()?]),
        })
    }

    /// That a key, if it is there, is this one text that is understood.
    pub(super) fn expect(&self, key: &str, known: &str) -> Result<(), LoadError> {
        match self.text(key)? {
            Some(found) if found != known => {
                Err(self.bad(format_args!("{key} is {found:?}, expected {known:?}")))
            }
            _ => Ok(()),
        }
    }

    /// That a key that is not understood is not there, or asks for nothing.
    pub(super) fn expect_none(&self, key: &str) -> Result<(), LoadError> {
        match self.keys.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Object(inner)) if inner.is_empty() => Ok(()),
            Some(found) => Err(self.bad(format_args!("{key} is {found}, which is not known"))),
        }
    }

    /// A number from `least` on, if it is there.
    pub(super) fn count(&self, key: &str, least: usize) -> Result<Option<usize>, LoadError> {
        self.found(key, format_args!("a number from {least} on"), |value| {
            let count = usize::try_from(value.as_u64()?).ok()?;
            (count >= least).then_some(count)
        })
    }

    /// The same, which has to be there.
    pub(super) fn needed(&self, key: &str, least: usize) -> Result<usize, LoadError> {
        let found = self.count(key, least)?;
        found.ok_or_else(|| self.bad(format_args!("{key} is missing")))
    }

    /// Keys in a key, if they are there.
    pub(super) fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>, LoadError> {
        self.found(key, "an object", Value::as_object)
    }

    fn found<'a, T>(
        &'a self,
        key: &str,
        expected: impl Display,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        match self.keys.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(read) => Ok(Some(read)),
                None => Err(self.bad(format_args!("{key} is {value}, expected {expected}"))),
            },
        }
    }
}

/// The prompt that sentence-transformers' files put before all texts.
pub(super) fn default_prompt(model: &Model) -> Result<Option<String>, LoadError> {
    let Some(bytes) = &model.module_files().settings else {
        return Ok(None);
    };
    let settings = ModuleSettings::read(bytes, "config_sentence_transformers.json")?;
    let Some(name) = settings.text("default_prompt_name")? else {
        return Ok(None);
    };
    let prompt = settings
        .object("prompts")?
        .and_then(|prompts| prompts.get(name));
    let prompt = prompt.map(|prompt| {
        let text = prompt.as_str().map(str::to_string);
        let what = format!("prompt {name:?} is {prompt}, expected a text");
        text.ok_or_else(|| settings.bad(what))
    });
    prompt.transpose()
}

/// What sentence-transformers' files say of the transformer.
pub(super) fn transformer_settings(model: &Model) -> Result<Option<ModuleSettings>, LoadError> {
    let file = model.module_files().transformer.as_ref();
    file.map(|(name, bytes)| ModuleSettings::read(bytes, name))
        .transpose()
}

/// What a file of this name holds.
pub(super) fn parsed(bytes: &[u8], file: &str) -> Result<Value, LoadError> {
    json::parse(bytes).map_err(|error| bad(format!("{file}: {error}")))
}

pub(super) fn bad(what: String) -> LoadError {
    LoadError::new(LoadErrorKind::Format, what)
}
