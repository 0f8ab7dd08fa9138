//! Hugging Face configurations: `config.json` and `generation_config.json` become [`Metadata`]
//! under their own keys.
//!
//! Nested objects are flattened with dots (`rope_scaling.factor`, `text_config.hidden_size`).
//! Whole numbers are `U64`, or `I64` if negative; others `F64`. Arrays of one kind of scalar
//! become an array (`I64`, `F64`, `Bool` or `String`; an empty one is `I64`); elements of mixed
//! arrays, and objects and arrays in arrays, get keys of their own (`key.0`, `key.1`). Nulls and
//! objects without entries are no values; [`HfConfig::blanks`] tells where they stood. Numbers that
//! JSON has no word for are read as Python writes them (`Infinity`) and as transformers 5 does
//! (`{"__float__": "Infinity"}`). Translating names is each architecture's business.

mod elements;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::{ErrorKind, FormatError, Quoted};
use crate::json::{self, Context};
use crate::limits::{self, Budget};
use crate::manifest::{Blank, Metadata, MetadataValue};
use elements::{Elements, Scalar, integer};

/// What `config.json` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HfConfig {
    /// `model_type`, if the file has it.
    pub model_type: Option<String>,
    /// Every key of the file, flattened.
    pub metadata: Metadata,
    /// Keys that are there without a value.
    pub blanks: BTreeMap<String, Blank>,
}

/// Reads `config.json`.
///
/// # Errors
/// What is not a JSON object, nests too deep, names a key twice (also through flattening), holds
/// numbers no float can, or whose `model_type` is no string.
pub fn parse(bytes: &[u8]) -> Result<HfConfig, FormatError> {
    let mut metadata = Metadata::default();
    let mut blanks = BTreeMap::new();
    flatten(
        bytes,
        "config.json",
        String::new(),
        &mut metadata,
        &mut blanks,
    )?;
    let model_type = match metadata.value("model_type") {
        None => None,
        Some(MetadataValue::String(name)) => Some(name.clone()),
        Some(value) => {
            return Err(FormatError::new(
                ErrorKind::Type,
                None,
                format!(
                    "config.json: key \"model_type\" is {}, expected a string",
                    value.type_name()
                ),
            ));
        }
    };
    Ok(HfConfig {
        model_type,
        metadata,
        blanks,
    })
}

/// Adds `generation_config.json` to `metadata`, each key prefixed with `generation.`.
///
/// # Errors
/// As [`parse`].
pub fn parse_generation(bytes: &[u8], metadata: &mut Metadata) -> Result<(), FormatError> {
    let prefix = "generation".to_owned();
    let blanks = &mut BTreeMap::new();
    flatten(bytes, "generation_config.json", prefix, metadata, blanks)
}

fn flatten(
    bytes: &[u8],
    name: &str,
    path: String,
    metadata: &mut Metadata,
    blanks: &mut BTreeMap<String, Blank>,
) -> Result<(), FormatError> {
    if bytes.len() as u64 > limits::JSON_LEN {
        return Err(FormatError::new(
            ErrorKind::Limit,
            None,
            format!(
                "{name} has {} bytes, at most {} are accepted",
                bytes.len(),
                limits::JSON_LEN
            ),
        ));
    }
    let context = Context::default();
    let text = json::without_python_numbers(bytes);
    let mut state = Flattener {
        context: &context,
        budget: Budget::new(bytes.len()),
        elements: 0,
        path,
        metadata,
        blanks,
    };
    json::parse(&text, 0, name, &context, Root(&mut state))
}

/// What the visitors share while they flatten a file.
struct Flattener<'a> {
    context: &'a Context,
    budget: Budget,
    /// Elements of arrays so far.
    elements: usize,
    /// Key of the value being read.
    path: String,
    metadata: &'a mut Metadata,
    blanks: &'a mut BTreeMap<String, Blank>,
}

/// The key of an object that stands for a number which JSON has no word for.
const FLOAT: &str = "__float__";

/// Bytes of a map entry beside its text: key and value in a node that is half full.
const ENTRY_LEN: usize = 144;

impl Flattener<'_> {
    /// Runs `read` one level down the path.
    fn within<T>(&mut self, step: fmt::Arguments<'_>, read: impl FnOnce(&mut Self) -> T) -> T {
        let len = self.path.len();
        if len > 0 {
            self.path.push('.');
        }
        // Writing to a string cannot fail.
        let _ = self.path.write_fmt(step);
        let result = read(self);
        self.path.truncate(len);
        result
    }

    fn insert<E: de::Error>(&mut self, value: MetadataValue) -> Result<(), E> {
        let text_len = match &value {
            MetadataValue::String(text) => text.len(),
            _ => 0,
        };
        self.spend(text_len)?;
        match self.metadata.0.entry(self.path.clone()) {
            Entry::Vacant(entry) if !self.blanks.contains_key(&self.path) => {
                entry.insert(value);
                Ok(())
            }
            _ => Err(self.twice()),
        }
    }

    fn insert_blank<E: de::Error>(&mut self, blank: Blank) -> Result<(), E> {
        self.spend(0)?;
        match self.blanks.entry(self.path.clone()) {
            Entry::Vacant(entry) if !self.metadata.0.contains_key(&self.path) => {
                entry.insert(blank);
                Ok(())
            }
            _ => Err(self.twice()),
        }
    }

    fn twice<E: de::Error>(&self) -> E {
        let what = format!("key {} appears twice", Quoted(&self.path));
        self.context.refuse(ErrorKind::Duplicate, what)
    }

    /// Takes the memory of an entry under this path.
    fn spend<E: de::Error>(&mut self, text_len: usize) -> Result<(), E> {
        if self.path.len() as u64 > limits::KEY_LEN {
            let key = Quoted(&self.path);
            let what = format!("key {key} is longer than {} bytes", limits::KEY_LEN);
            return Err(self.context.refuse(ErrorKind::Limit, what));
        }
        let entries = self.metadata.0.len().saturating_add(self.blanks.len());
        if entries as u64 >= limits::CONFIG_KEYS {
            let what = format!("more than {} keys", limits::CONFIG_KEYS);
            return Err(self.context.refuse(ErrorKind::Limit, what));
        }
        let len = ENTRY_LEN
            .saturating_add(self.path.len())
            .saturating_add(text_len);
        let what = format!("key {}", Quoted(&self.path));
        self.budget
            .spend(len, &what)
            .map_err(|error| self.context.refuse(error.kind(), error.what()))
    }

    fn insert_scalar<E: de::Error>(&mut self, scalar: Scalar) -> Result<(), E> {
        self.insert(match scalar {
            Scalar::Null => return Ok(()),
            Scalar::Bool(v) => MetadataValue::Bool(v),
            Scalar::Unsigned(v) => MetadataValue::U64(v),
            Scalar::Negative(v) => MetadataValue::I64(v),
            Scalar::Float(v) => MetadataValue::F64(v),
            Scalar::Text(v) => MetadataValue::String(v),
        })
    }

    fn expect_depth<E: de::Error>(&self, depth: u32) -> Result<(), E> {
        if depth <= limits::CONFIG_DEPTH {
            return Ok(());
        }
        let what = format!(
            "key {} nests deeper than {}",
            Quoted(&self.path),
            limits::CONFIG_DEPTH
        );
        Err(self.context.refuse(ErrorKind::Limit, what))
    }

    /// Reads an object's entries, or the number that it stands for.
    fn read_object<'de, A: MapAccess<'de>>(
        &mut self,
        mut map: A,
        depth: u32,
    ) -> Result<Option<Scalar>, A::Error> {
        self.expect_depth(depth)?;
        let context = self.context;
        let key_seed = || json::Text {
            context,
            limit: limits::KEY_LEN,
            what: &"a key",
        };
        let mut entries = 0usize;
        let mut number = None;
        while let Some(key) = map.next_key_seed(key_seed())? {
            if json::stand_in(&key).is_some() {
                let what = format!("a key under {} is not in quotes", Quoted(&self.path));
                return Err(context.refuse(ErrorKind::Syntax, what));
            }
            if key.is_empty() {
                let what = format!("an empty key under {}", Quoted(&self.path));
                return Err(context.refuse(ErrorKind::Value, what));
            }
            self.within(format_args!("{key}"), |state| {
                match map.next_value_seed(ConfigValue {
                    state,
                    depth,
                    index: None,
                })? {
                    Some(Scalar::Text(text)) if key == FLOAT && entries == 0 => {
                        number = json::python_number(&text);
                        match number {
                            Some(_) => Ok(()),
                            None => state.insert_scalar(Scalar::Text(text)),
                        }
                    }
                    Some(Scalar::Null) => state.insert_blank(Blank::Null),
                    Some(scalar) => state.insert_scalar(scalar),
                    None => Ok(()),
                }
            })?;
            entries = entries.saturating_add(1);
        }
        match number {
            Some(number) if entries == 1 => Ok(Some(Scalar::Float(number))),
            Some(_) => {
                let what = format!("key {FLOAT:?} under {} is not alone", Quoted(&self.path));
                Err(context.refuse(ErrorKind::Value, what))
            }
            None if entries == 0 && !self.path.is_empty() => {
                self.insert_blank(Blank::Object)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn read_array<'de, A: SeqAccess<'de>>(
        &mut self,
        mut seq: A,
        depth: u32,
    ) -> Result<(), A::Error> {
        self.expect_depth(depth)?;
        let mut elements = Elements::Empty;
        for index in 0usize.. {
            let item = ConfigValue {
                state: self,
                depth,
                index: Some(index),
            };
            let Some(item) = seq.next_element_seed(item)? else {
                break;
            };
            self.elements = self.elements.saturating_add(1);
            if self.elements > limits::CONFIG_ELEMENTS {
                let what = format!(
                    "key {} and those before it have more than {} elements",
                    Quoted(&self.path),
                    limits::CONFIG_ELEMENTS
                );
                return Err(self.context.refuse(ErrorKind::Limit, what));
            }
            let rejected = match item {
                Some(scalar) => elements.push(scalar).err().map(Some),
                // An object or array, which is flattened already.
                None => Some(None),
            };
            if let Some(scalar) = rejected {
                for (earlier, scalar) in core::mem::replace(&mut elements, Elements::Apart)
                    .into_scalars()
                    .enumerate()
                {
                    self.within(format_args!("{earlier}"), |state| {
                        state.insert_scalar(scalar)
                    })?;
                }
                self.within(format_args!("{index}"), |state| match scalar {
                    Some(Scalar::Null) => state.insert_blank(Blank::Null),
                    Some(scalar) => state.insert_scalar(scalar),
                    None => Ok(()),
                })?;
            }
        }
        match elements.into_array() {
            Some(array) => self.insert(MetadataValue::Array(array)),
            None => Ok(()),
        }
    }
}

/// The file's outermost value.
struct Root<'a, 'b>(&'a mut Flattener<'b>);

impl<'de> DeserializeSeed<'de> for Root<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Root<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.read_object(map, 1).map(|_| ())
    }
}

/// A value: its visitor returns a scalar, and flattens objects and arrays at once.
struct ConfigValue<'a, 'b> {
    state: &'a mut Flattener<'b>,
    depth: u32,
    /// Its index, if it is an array's element.
    index: Option<usize>,
}

impl ConfigValue<'_, '_> {
    fn descend<T>(self, read: impl FnOnce(&mut Flattener<'_>, u32) -> T) -> T {
        let depth = self.depth.saturating_add(1);
        match self.index {
            None => read(self.state, depth),
            Some(index) => self
                .state
                .within(format_args!("{index}"), |state| read(state, depth)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ConfigValue<'_, '_> {
    type Value = Option<Scalar>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ConfigValue<'_, '_> {
    type Value = Option<Scalar>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of key {}", Quoted(&self.state.path))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Bool(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Unsigned(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(integer(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Float(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(match json::stand_in(value) {
            Some(number) => Scalar::Float(number),
            None => Scalar::Text(value.to_owned()),
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.descend(|state, depth| state.read_object(map, depth))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        self.descend(|state, depth| state.read_array(seq, depth))?;
        Ok(None)
    }
}
