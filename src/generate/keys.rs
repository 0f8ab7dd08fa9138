//! A `generation_config.json`'s keys as the files have them, with the errors that name them.

use super::config::EarlyStopping;
use crate::error::{LoadError, LoadErrorKind};
use rillm_formats::manifest::{Array, Metadata, MetadataValue};

/// The prefix of `generation_config.json`'s keys, there and in GGUF files.
const PREFIX: &str = "generation.";

/// Most sequences that are not written: more would make each token slow.
const MOST_BAD_WORDS: usize = 4096;

/// The keys as the files have them.
pub(super) struct GenerationKeys<'a> {
    metadata: &'a Metadata,
    /// What comes before a task's keys, which go before the others.
    task: String,
    prefix: &'static str,
}

impl<'a> GenerationKeys<'a> {
    /// Those of a task, if one is named.
    pub(super) fn of_task(metadata: &'a Metadata, task: &str) -> GenerationKeys<'a> {
        let mut own = metadata.0.range(PREFIX.to_owned()..);
        let own = own.next().is_some_and(|(key, _)| key.starts_with(PREFIX));
        GenerationKeys {
            metadata,
            task: format!("task_specific_params.{task}."),
            prefix: if own { PREFIX } else { "" },
        }
    }

    /// The key in full, a task's if there is one.
    pub(super) fn full(&self, key: &str) -> String {
        let of_task = format!("{}{key}", self.task);
        match self.metadata.value(&of_task) {
            Some(_) => of_task,
            None => format!("{}{key}", self.prefix),
        }
    }

    fn value(&self, key: &str) -> Option<&'a MetadataValue> {
        self.metadata.value(&self.full(key))
    }

    pub(super) fn bad(&self, key: &str, expected: &str) -> LoadError {
        let full = self.full(key);
        let found = match self.metadata.value(&full) {
            Some(MetadataValue::Array(list)) => format!("a list of {}", list.len()),
            Some(MetadataValue::String(text)) => format!("{text:?}"),
            Some(_) => match self.metadata.f64(&full) {
                Some(number) => number.to_string(),
                None => "a flag".to_owned(),
            },
            None => "nothing".to_owned(),
        };
        let what = format!("key {full} is {found}, expected {expected}");
        LoadError::new(LoadErrorKind::Hyperparameter, what)
    }

    pub(super) fn optional_count(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let Some(_) = self.value(key) else {
            return Ok(None);
        };
        let found = self.metadata.u64(&self.full(key));
        let count = found.and_then(|count| usize::try_from(count).ok());
        match count {
            Some(_) => Ok(count),
            None => Err(self.bad(key, "a whole number")),
        }
    }

    pub(super) fn count(&self, key: &str, count: &mut usize) -> Result<(), LoadError> {
        *count = self.optional_count(key)?.unwrap_or(*count);
        Ok(())
    }

    pub(super) fn float(&self, key: &str, float: &mut f32) -> Result<(), LoadError> {
        if self.value(key).is_some() {
            let found = self.metadata.f64(&self.full(key));
            let finite = found.map(|value| value as f32).filter(|f| f.is_finite());
            *float = finite.ok_or_else(|| self.bad(key, "a number"))?;
        }
        Ok(())
    }

    pub(super) fn share(&self, key: &str, share: &mut f32) -> Result<(), LoadError> {
        self.float(key, share)?;
        match (0.0..=1.0).contains(share) {
            true => Ok(()),
            false => Err(self.bad(key, "a number from 0 to 1")),
        }
    }

    pub(super) fn flag(&self, key: &str, flag: &mut bool) -> Result<(), LoadError> {
        if self.value(key).is_some() {
            let found = self.metadata.bool(&self.full(key));
            *flag = found.ok_or_else(|| self.bad(key, "true or false"))?;
        }
        Ok(())
    }

    pub(super) fn early_stopping(&self) -> Result<EarlyStopping, LoadError> {
        const KEY: &str = "early_stopping";
        match self.value(KEY) {
            None | Some(MetadataValue::Bool(false)) => Ok(EarlyStopping::Likely),
            Some(MetadataValue::Bool(true)) => Ok(EarlyStopping::Always),
            Some(MetadataValue::String(never)) if never == "never" => Ok(EarlyStopping::Never),
            Some(_) => Err(self.bad(KEY, "true, false or never")),
        }
    }

    /// A token or a list of them.
    pub(super) fn tokens(&self, key: &str) -> Result<Vec<u32>, LoadError> {
        self.tokens_if(key, |_| true)
    }

    /// The same without negative ones, which are no tokens and suppress none.
    pub(super) fn suppressed(&self, key: &str) -> Result<Vec<u32>, LoadError> {
        self.tokens_if(key, |id| id.is_none_or(|id| id >= 0.0))
    }

    fn tokens_if(
        &self,
        key: &str,
        is_meant: impl Fn(Option<f64>) -> bool,
    ) -> Result<Vec<u32>, LoadError> {
        let token = |id: Option<u64>| {
            let id = id.and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| self.bad(key, "a token or a list of tokens"))
        };
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(MetadataValue::Array(list)) => (0..list.len())
                .filter(|&index| is_meant(list.f64(index)))
                .map(|index| token(list.u64(index)))
                .collect(),
            Some(_) => {
                let id = self.metadata.u64(&self.full(key));
                Ok(vec![token(id)?])
            }
        }
    }

    /// A list of lists of tokens; each stands under a key of its own.
    pub(super) fn sequences(&self, key: &str) -> Result<Vec<Vec<u32>>, LoadError> {
        let mut found = Vec::new();
        for index in 0.. {
            let inner = format!("{key}.{index}");
            if self.value(&inner).is_none() {
                break;
            }
            if index == MOST_BAD_WORDS {
                let expected = format!("at most {MOST_BAD_WORDS} lists");
                return Err(self.bad(key, &expected));
            }
            found.push(self.tokens(&inner)?);
        }
        match self.value(key) {
            Some(MetadataValue::Array(list)) if list.is_empty() => Ok(found),
            Some(_) => Err(self.bad(key, "a list of lists of tokens")),
            None => Ok(found),
        }
    }

    /// Pairs of a list of tokens and a number; each of either stands under a key of its own.
    pub(super) fn biases(&self) -> Result<Vec<(Vec<u32>, f32)>, LoadError> {
        const KEY: &str = "sequence_bias";
        let wrong = || self.bad(KEY, "a list of pairs: tokens and a number");
        let mut found = Vec::new();
        for index in 0.. {
            let inner = format!("{KEY}.{index}.0");
            if self.value(&inner).is_none() {
                break;
            }
            if index == MOST_BAD_WORDS {
                let expected = format!("at most {MOST_BAD_WORDS} pairs");
                return Err(self.bad(KEY, &expected));
            }
            let mut bias = f32::NAN;
            self.float(&format!("{KEY}.{index}.1"), &mut bias)?;
            let tokens = self.tokens(&inner)?;
            if bias.is_nan() || tokens.is_empty() {
                return Err(wrong());
            }
            found.push((tokens, bias));
        }
        let rest = self.value(&format!("{KEY}.{}", found.len()));
        // What is keyed by tokens is none in the reference either.
        let inner = self.full(&format!("{KEY}."));
        if found.is_empty() && self.metadata.0.keys().any(|key| key.starts_with(&inner)) {
            return Err(wrong());
        }
        match self.value(KEY).or(rest) {
            Some(MetadataValue::Array(list)) if list.is_empty() => Ok(found),
            Some(_) => Err(wrong()),
            None => Ok(found),
        }
    }

    /// A pair of a length and a factor.
    pub(super) fn decay(&self) -> Result<Option<(usize, f32)>, LoadError> {
        const KEY: &str = "exponential_decay_length_penalty";
        let wrong = || self.bad(KEY, "a number of tokens and a factor");
        // A whole number and a fraction are no list of one kind.
        let of_mixed = |index: usize| {
            let key = self.full(&format!("{KEY}.{index}"));
            self.metadata.f64(&key)
        };
        let pair = match self.value(KEY) {
            Some(MetadataValue::Array(list)) if list.len() == 2 => {
                let at = |index| match list {
                    Array::F64(_) | Array::F32(_) => list.f64(index),
                    _ => list.u64(index).map(|value| value as f64),
                };
                [at(0), at(1)]
            }
            Some(_) => return Err(wrong()),
            None => [of_mixed(0), of_mixed(1)],
        };
        match pair {
            [None, None] => Ok(None),
            [Some(start), Some(factor)] if start >= 0.0 && start.fract() == 0.0 => {
                Ok(Some((start as usize, factor as f32)))
            }
            _ => Err(wrong()),
        }
    }

    /// Refuses what would make another text and is not understood.
    pub(super) fn none_of(&self, ways: &[(&str, f64)]) -> Result<(), LoadError> {
        for &(key, unused) in ways {
            let full = self.full(key);
            let within = format!("{full}.");
            let mut inner = self.metadata.0.range(within.clone()..);
            let is_object = inner
                .next()
                .is_some_and(|(key, _)| key.starts_with(&within));
            let is_off = match self.value(key) {
                None => !is_object,
                Some(MetadataValue::Array(list)) => list.is_empty(),
                Some(MetadataValue::Bool(on)) => !on,
                Some(_) => self.metadata.f64(&full) == Some(unused),
            };
            if !is_off {
                let what = format!("key {full} asks for a way to write texts that is not known");
                return Err(LoadError::new(LoadErrorKind::Unsupported, what));
            }
        }
        Ok(())
    }
}
