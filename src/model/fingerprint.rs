//! A number that tells a model from others.

use super::Model;
use crate::checksum::Checksum;
use crate::kernels::Precision;
use rillm_formats::manifest::{Array, Metadata, MetadataValue};

/// Bytes taken in at each end of a tensor.
const END: usize = 256;

/// Beginnings of keys that decide nothing a graph does.
const BESIDE_THE_GRAPH: [&str; 6] = [
    "tokenizer.",
    "general.",
    "split.",
    "generation.",
    "transformers_version",
    "_name_or_path",
];

/// Last words of keys of `config.json` that decide nothing a graph does either, in a configuration
/// within it as well.
const CHOICES: [&str; 4] = ["eos_token_id", "torch_dtype", "dtype", "use_cache"];

fn is_beside_the_graph(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    CHOICES.contains(&last) || BESIDE_THE_GRAPH.iter().any(|begin| key.starts_with(begin))
}

impl Model {
    /// A number that tells this model from others, on every machine: of its architecture and
    /// hyperparameters (all that the files say, as it may have been overridden, but the
    /// vocabulary, words about the model, how to choose tokens and when to end, and what
    /// transformers is told about its types and caches), and of its tensors' names, types, shapes
    /// and the ends of their bytes. Models that differ in the middle of tensors alone are taken for
    /// one: [`Model::weights_digest`] tells them apart, for which it reads all weights. A model whose
    /// [`precision`](Model::precision) is another makes other numbers, and has another one.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint_at(self.precision())
    }

    /// What it is, or would be, at a precision.
    pub(crate) fn fingerprint_at(&self, precision: Precision) -> u64 {
        let mut sum = Checksum::START;
        let manifest = self.manifest();
        sum.add(manifest.architecture.as_bytes());
        for (key, value) in &manifest.metadata.0 {
            if !is_beside_the_graph(key) {
                add_text(&mut sum, key.as_bytes());
                add_value(&mut sum, value, (&manifest.metadata, key));
            }
        }
        for (name, info) in &manifest.tensors {
            sum.add(name.as_bytes());
            sum.add(info.dtype.name().as_bytes());
            for extent in &info.shape.0 {
                sum.add(&extent.to_le_bytes());
            }
            let bytes = self.weights().bytes(info);
            sum.add(&bytes[..bytes.len().min(END)]);
            sum.add(&bytes[bytes.len().saturating_sub(END)..]);
        }
        if precision != Precision::Reference {
            sum.add(precision.name().as_bytes());
        }
        sum.0
    }
}

fn add_value(sum: &mut Checksum, value: &MetadataValue, (metadata, key): (&Metadata, &str)) {
    match value {
        MetadataValue::String(text) => add_text(sum, text.as_bytes()),
        MetadataValue::Bool(flag) => sum.add(&[u8::from(*flag)]),
        MetadataValue::Array(list) => add_list(sum, list),
        _ => add_number(sum, metadata.f64(key)),
    }
}

fn add_list(sum: &mut Checksum, list: &Array) {
    sum.add(&(list.len() as u64).to_le_bytes());
    match list {
        Array::String(texts) => texts.iter().for_each(|text| add_text(sum, text)),
        Array::Bool(flags) => flags.iter().for_each(|flag| sum.add(&[u8::from(*flag)])),
        Array::Array(lists) => sum.add(lists.bytes()),
        _ => (0..list.len()).for_each(|index| add_number(sum, list.f64(index))),
    }
}

fn add_text(sum: &mut Checksum, text: &[u8]) {
    sum.add(&(text.len() as u64).to_le_bytes());
    sum.add(text);
}

/// The same number is the same whatever it is stored as.
fn add_number(sum: &mut Checksum, number: Option<f64>) {
    sum.add(&number.unwrap_or_default().to_bits().to_le_bytes());
}
