//! What must hold for everything a parser accepts. The fuzz targets and the replay of their
//! corpora both walk results with these.

use rillm_formats::manifest::{Array, Metadata, MetadataValue, TensorInfo};
use rillm_formats::{gguf, hf_config, safetensors};

/// Parses GGUF; whatever is accepted must keep its promises. Says whether it was.
pub fn gguf(bytes: &[u8]) -> bool {
    let file = match gguf::parse(bytes, 7) {
        Ok(file) => file,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    metadata(&file.metadata);
    let mut ranges = Vec::new();
    for (name, info) in &file.tensors {
        assert!(!name.is_empty());
        assert_eq!(info.file, 7);
        assert_eq!(
            info.range.start % file.alignment,
            file.data_offset % file.alignment
        );
        assert!(info.range.start >= file.data_offset);
        tensor(info, bytes);
        ranges.push((info.range.start, info.range.end));
    }
    ranges.sort();
    assert!(ranges.is_sorted_by(|a, b| a.1 <= b.0), "ranges overlap");

    // What can be read can be written and read again.
    if file.alignment <= 4096 {
        let specs: Vec<gguf::write::TensorSpec> = file
            .tensors
            .iter()
            .map(|(name, info)| gguf::write::TensorSpec {
                name: name.clone(),
                dtype: info.dtype,
                shape: info.shape.clone(),
            })
            .collect();
        let layout = gguf::write::layout(&file.metadata, &specs).expect("accepted by the reader");
        let again =
            gguf::parse_header(&layout.header, Some(layout.file_len), 7).expect("just written");
        assert_eq!(again.metadata.0.len(), file.metadata.0.len());
        assert_eq!(again.split, file.split);
        for ((a, info), (b, other)) in again.tensors.iter().zip(&file.tensors) {
            assert_eq!((a, info.dtype, &info.shape), (b, other.dtype, &other.shape));
        }
    }
    if let Err(error) = gguf::merge(vec![file]) {
        refused(&error);
    }
    true
}

/// The same for safetensors, and for the index that may lie beside it.
pub fn safetensors(bytes: &[u8]) -> bool {
    match safetensors::ShardIndex::parse(bytes) {
        Ok(index) => {
            for file in index.weight_map().values() {
                assert!((*file as usize) < index.files().len());
            }
            assert!(index.files().iter().all(|file| !file.contains(['/', '\\'])));
        }
        Err(error) => refused(&error),
    }
    let file = match safetensors::parse(bytes, 7) {
        Ok(file) => file,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    for (_, info) in &file.tensors {
        assert_eq!(info.file, 7);
        tensor(info, bytes);
    }
    let config = hf_config::HfConfig {
        model_type: Some("x".into()),
        metadata: Metadata::default(),
        blanks: Default::default(),
    };
    safetensors::merge(config, vec![file], None).expect("names were unique");
    true
}

/// The same for `config.json` and `generation_config.json`.
pub fn hf_config(bytes: &[u8]) -> bool {
    let mut other = Metadata::default();
    let generation = hf_config::parse_generation(bytes, &mut other);
    match hf_config::parse(bytes) {
        Ok(config) => {
            metadata(&config.metadata);
            if generation.is_ok() {
                assert_eq!(config.metadata.0.len(), other.0.len());
            }
            true
        }
        Err(error) => {
            refused(&error);
            false
        }
    }
}

fn refused(error: &rillm_formats::FormatError) {
    let text = error.to_string();
    assert!(
        !text.contains(char::is_control),
        "more than a line: {text:?}"
    );
    assert!(text.len() < 1000, "too long: {text}");
}

fn tensor(info: &TensorInfo, bytes: &[u8]) {
    assert!(info.range.start <= info.range.end);
    assert!(info.range.end <= bytes.len() as u64);
    let elements = match info.shape.0.contains(&0) {
        true => 0,
        false => info.shape.elements().expect("checked"),
    };
    let len = info.dtype.row_len(elements).expect("checked");
    assert_eq!(info.range.end - info.range.start, len);
}

fn metadata(metadata: &Metadata) {
    for (key, value) in &metadata.0 {
        assert!(!key.is_empty());
        let _ = (metadata.u64(key), metadata.f64(key), value.type_name());
        if let MetadataValue::Array(values) = value {
            array(values);
        }
    }
}

fn array(values: &Array) {
    if let Some(strings) = values.strings() {
        assert_eq!(strings.iter().count(), values.len());
    }
    if let Array::Array(nested) = values {
        assert!(nested.len() <= nested.bytes().len());
    }
    if let Some(last) = values.len().checked_sub(1) {
        let _ = (values.u64(last), values.f64(last));
    }
    assert_eq!(values.u64(values.len()), None);
}
