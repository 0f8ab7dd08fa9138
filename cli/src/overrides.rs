//! `--override-kv`: another value for a key of the model's files.

use clap::Args;
use rillm::formats::manifest::{Metadata, MetadataValue};

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
    /// Keys that are new are added.
    pub fn apply(&self, metadata: &mut Metadata) {
        metadata.0.extend(self.pairs.iter().cloned());
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
