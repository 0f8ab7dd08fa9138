//! `--override-kv`: another value for a key of the model's files.

use super::warn;
use clap::Args;
use rillm::formats::manifest::{Container, Manifest, MetadataValue};
use rillm::internals::models;

#[derive(Args, Clone, Debug)]
pub struct OverrideArguments {
    /// Another value for a key of the model's files, as in llama.rope.freq_base=float:5e3 (types:
    /// int, float, bool, str); may be given several times
    #[arg(
        long = "override-kv",
        value_name = "KEY=TYPE:VALUE",
        value_delimiter = ',',
        value_parser = pair
    )]
    pairs: Vec<(String, MetadataValue)>,
}

impl OverrideArguments {
    /// Keys that are new are added; what nobody reads is told.
    pub fn apply(&self, manifest: &mut Manifest) {
        for (key, value) in &self.pairs {
            if !manifest.metadata.0.contains_key(key) && !is_read(manifest, key) {
                warn(&format!(
                    "--override-kv: the model's files have no key {key}, and nothing reads it"
                ));
            }
            manifest.metadata.0.insert(key.clone(), value.clone());
        }
    }
}

/// Whether files of this kind may have such a key.
fn is_read(manifest: &Manifest, key: &str) -> bool {
    let architecture = &manifest.architecture;
    match manifest.container {
        Container::Gguf => {
            let rooms = [architecture.as_str(), "general", "tokenizer"];
            let room = key.split('.').next().unwrap_or_default();
            rooms.contains(&room)
        }
        Container::HuggingFace => {
            let found = models::find(manifest.container, architecture);
            let mut keys = found
                .into_iter()
                .flat_map(|found| found.keys.iter().copied().flatten());
            keys.any(|(_, theirs)| *theirs == key)
        }
    }
}

fn pair(text: &str) -> Result<(String, MetadataValue), String> {
    let wrong = || "expected KEY=TYPE:VALUE, where TYPE is int, float, bool or str".to_string();
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let (kind, value) = value.split_once(':').ok_or_else(wrong)?;
    let bad = |what: &str| format!("{value:?} is not {what}");
    let value = match kind {
        "int" => MetadataValue::I64(value.parse().map_err(|_| bad("a whole number"))?),
        "float" => MetadataValue::F64(value.parse().map_err(|_| bad("a number"))?),
        "bool" => MetadataValue::Bool(value.parse().map_err(|_| bad("true or false"))?),
        "str" => MetadataValue::String(value.to_string()),
        _ => return Err(wrong()),
    };
    match key {
        "" => Err(wrong()),
        key => Ok((key.to_string(), value)),
    }
}
