//! Float tensors of a safetensors file, by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rillm_formats::manifest::DType;
use rillm_formats::safetensors;

/// A shape, outermost extent first, and row-major values.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// Reads a file whose tensors are all F32.
pub fn read(path: &Path) -> BTreeMap<String, Tensor> {
    let bytes =
        fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let file =
        safetensors::parse(&bytes, 0).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let entry = |(name, info): &(String, rillm_formats::manifest::TensorInfo)| {
        assert_eq!(info.dtype, DType::F32, "{name} of {}", path.display());
        let range = info.range.start as usize..info.range.end as usize;
        let values = bytes[range]
            .chunks_exact(4)
            .map(|float| f32::from_le_bytes([float[0], float[1], float[2], float[3]]))
            .collect();
        let shape = info.shape.0.iter().map(|&extent| extent as usize).collect();
        (name.clone(), Tensor { shape, values })
    };
    file.tensors.iter().map(entry).collect()
}
