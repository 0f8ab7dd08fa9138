//! Models in several files: `model.safetensors.index.json` says which file has which tensor.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::Safetensors;
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::hf_config::HfConfig;
use crate::json::{self, Context, Text};
use crate::limits;
use crate::manifest::{Container, Manifest, by_name};

/// Which shard holds which tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    files: Vec<String>,
    weight_map: BTreeMap<String, u32>,
}

impl ShardIndex {
    /// Reads `model.safetensors.index.json`.
    ///
    /// # Errors
    /// What is not such an index; a tensor named twice; a file name that is not plain (a path,
    /// `..`, control characters) or not a safetensors file's.
    pub fn parse(bytes: &[u8]) -> Result<ShardIndex, FormatError> {
        if bytes.len() as u64 > limits::JSON_LEN {
            return Err(FormatError::new(
                ErrorKind::Limit,
                None,
                format!(
                    "model.safetensors.index.json has {} bytes, at most {} are accepted",
                    bytes.len(),
                    limits::JSON_LEN
                ),
            ));
        }
        let context = Context::default();
        let visitor = IndexVisitor { context: &context };
        json::parse(bytes, 0, "model.safetensors.index.json", &context, visitor)
    }

    /// The shards' file names, sorted: plain names in the index's own folder. A tensor's
    /// `TensorInfo::file` is a place in this list.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Number (in [`ShardIndex::files`]) of the shard that holds the tensor.
    pub fn file_of(&self, tensor: &str) -> Option<u32> {
        self.weight_map.get(tensor).copied()
    }

    /// Every tensor's name with the number of its shard.
    pub fn weight_map(&self) -> &BTreeMap<String, u32> {
        &self.weight_map
    }
}

/// Joins a Hugging Face folder into one manifest: its configuration, and its shards in the order
/// of [`ShardIndex::files`] (one shard if there is no index). What the shards hold counts: a tensor
/// that the index promises and its shard lacks is noted in [`Manifest::lacking`].
///
/// # Errors
/// No `model_type`, or a tensor in two shards.
pub fn merge(
    config: HfConfig,
    shards: Vec<Safetensors>,
    index: Option<&ShardIndex>,
) -> Result<Manifest, FormatError> {
    let Some(architecture) = config.model_type else {
        return Err(FormatError::new(
            ErrorKind::Missing,
            None,
            "key \"model_type\" is missing in config.json: add the architecture's name".to_owned(),
        ));
    };
    let (mut tensors, mut unsupported) = (Vec::new(), Vec::new());
    for (number, shard) in (0u32..).zip(shards) {
        tensors.extend(shard.tensors.into_iter().map(|(name, mut tensor)| {
            tensor.file = number;
            (name, tensor)
        }));
        unsupported.extend(shard.unsupported.into_iter().map(|(name, mut tensor)| {
            tensor.file = number;
            (name, tensor)
        }));
    }
    let mut manifest = Manifest {
        architecture,
        container: Container::HuggingFace,
        metadata: config.metadata,
        blanks: config.blanks,
        tensors: by_name(tensors).map_err(|(name, _)| in_two_shards(&name))?,
        unsupported: by_name(unsupported).map_err(|(name, _)| in_two_shards(&name))?,
        lacking: BTreeMap::new(),
    };
    let both = manifest
        .unsupported
        .keys()
        .find(|name| manifest.tensors.contains_key(*name));
    if let Some(name) = both {
        return Err(in_two_shards(name));
    }
    for (name, number) in index.map(ShardIndex::weight_map).into_iter().flatten() {
        let found = manifest.tensors.contains_key(name) || manifest.unsupported.contains_key(name);
        let file = index.and_then(|index| index.files.get(usize::try_from(*number).ok()?));
        if let (false, Some(file)) = (found, file) {
            manifest.lacking.insert(name.clone(), file.clone());
        }
    }
    Ok(manifest)
}

fn in_two_shards(name: &str) -> FormatError {
    FormatError::new(
        ErrorKind::Duplicate,
        None,
        format!("tensor {} is in two shards", Quoted(name)),
    )
}

struct IndexVisitor<'a> {
    context: &'a Context,
}

impl<'de> DeserializeSeed<'de> for IndexVisitor<'_> {
    type Value = ShardIndex;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ShardIndex, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for IndexVisitor<'_> {
    type Value = ShardIndex;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with weight_map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ShardIndex, A::Error> {
        let context = self.context;
        let mut index = None;
        let key_seed = || Text {
            context,
            limit: limits::KEY_LEN,
            what: &"a key of the index",
        };
        while let Some(key) = map.next_key_seed(key_seed())? {
            if key != "weight_map" {
                map.next_value::<IgnoredAny>()?;
            } else if index
                .replace(map.next_value_seed(WeightMap { context })?)
                .is_some()
            {
                let what = "key \"weight_map\" appears twice";
                return Err(context.refuse(ErrorKind::Duplicate, what));
            }
        }
        index.ok_or_else(|| context.refuse(ErrorKind::Missing, "key \"weight_map\" is missing"))
    }
}

struct WeightMap<'a> {
    context: &'a Context,
}

impl<'de> DeserializeSeed<'de> for WeightMap<'_> {
    type Value = ShardIndex;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ShardIndex, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WeightMap<'_> {
    type Value = ShardIndex;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key \"weight_map\" to be an object of file names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ShardIndex, A::Error> {
        let context = self.context;
        // File name to number, in the order of appearance.
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        let mut weight_map = BTreeMap::new();
        let name_seed = || Text {
            context,
            limit: limits::TENSOR_NAME_LEN,
            what: &"a tensor's name",
        };
        while let Some(name) = map.next_key_seed(name_seed())? {
            let quoted = Quoted(&name);
            let file = map.next_value_seed(Text {
                context,
                limit: limits::KEY_LEN,
                what: &format_args!("the file of tensor {quoted}"),
            })?;
            if let Err(why) = expect_plain(&file) {
                let file = Quoted(&file);
                let what = format!("tensor {quoted} is in file {file}, {why}");
                return Err(context.refuse(ErrorKind::Value, what));
            }
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(file).or_insert(next);
            if number >= limits::FILES {
                let what = format!("more than {} files", limits::FILES);
                return Err(context.refuse(ErrorKind::Limit, what));
            }
            if weight_map.len() as u64 >= limits::INDEXED_TENSORS {
                let what = format!("more than {} tensors", limits::INDEXED_TENSORS);
                return Err(context.refuse(ErrorKind::Limit, what));
            }
            match weight_map.entry(name) {
                Entry::Vacant(entry) => entry.insert(number),
                Entry::Occupied(entry) => {
                    let what = format!("tensor {} appears twice", Quoted(entry.key()));
                    return Err(context.refuse(ErrorKind::Duplicate, what));
                }
            };
        }
        // From the order of appearance to the sorted one.
        let mut sorted: Vec<u32> = alloc::vec![0; numbers.len()];
        for (place, number) in (0u32..).zip(numbers.values()) {
            if let Some(slot) = sorted.get_mut(*number as usize) {
                *slot = place;
            }
        }
        for number in weight_map.values_mut() {
            *number = sorted.get(*number as usize).copied().unwrap_or_default();
        }
        Ok(ShardIndex {
            files: numbers.into_keys().collect(),
            weight_map,
        })
    }
}

/// A shard lies beside its index: its name must not lead anywhere else, on any system.
fn expect_plain(name: &str) -> Result<(), &'static str> {
    if name.len() > limits::FILE_NAME_LEN {
        return Err("whose name is too long");
    }
    if name.contains(['/', '\\', ':']) || name.contains(char::is_control) || name.starts_with("..")
    {
        return Err("expected a plain file name, not a path");
    }
    if !name.ends_with(".safetensors") {
        return Err("expected a name that ends with .safetensors (convert other files first)");
    }
    Ok(())
}
