//! What a model's weights take: by type, by layer, and how they are read.

use super::Blueprint;
use crate::graph::Op;
use crate::graph::op::Work;
use crate::weights::Stored;
use rillm_formats::manifest::{DType, TensorInfo};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightFigures {
    /// In the files, which are mapped: what graphs use of them.
    pub mapped: u64,
    /// Of those, what is looked up row by row and never read as a whole: of a table of tokens, rows of
    /// those that a text has come into memory.
    pub looked_up: u64,
    /// Of those, what belongs to experts, of which a token reads some.
    pub experts: u64,
    /// Vectors as floats, beside the files.
    pub vectors: u64,
    /// By type, largest first.
    pub types: Vec<TypeWeights>,
    /// By layer: what belongs to none first.
    pub layers: Vec<LayerWeights>,
}

/// Weights of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeWeights {
    /// How they are stored.
    pub dtype: DType,
    /// Tensors.
    pub tensors: usize,
    /// Bytes.
    pub bytes: u64,
}

/// Weights of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerWeights {
    /// Its number, an encoder's layers before a decoder's; none for what belongs to no layer.
    pub layer: Option<u32>,
    /// Whether it is an encoder's, of a model that has both.
    pub of_encoder: bool,
    /// Bytes.
    pub bytes: u64,
}

impl Blueprint {
    /// Bytes of its weights.
    pub fn weights(&self) -> WeightFigures {
        let names = self.wiring.matrices.iter().map(|spec| spec.name.as_str());
        let vectors = self.wiring.vectors.iter();
        let stored = vectors.clone().map(|spec| spec.name.as_str());
        let used: BTreeSet<&str> = names
            .chain(stored)
            .filter(|name| !name.is_empty())
            .collect();
        let mut figures = WeightFigures {
            vectors: vectors.map(|spec| 4 * spec.len as u64).sum(),
            ..WeightFigures::default()
        };
        let (mut types, mut layers) = (BTreeMap::new(), BTreeMap::new());
        // Tensors that share their bytes stand for each other.
        let mut seen = BTreeSet::new();
        for name in used {
            for info in self.parts(name) {
                if !seen.insert((info.file, info.range.start)) {
                    continue;
                }
                let bytes = info.range.end - info.range.start;
                figures.mapped += bytes;
                let (tensors, sum) = types.entry(info.dtype).or_insert((0, 0));
                (*tensors, *sum) = (*tensors + 1, *sum + bytes);
                *layers.entry(layer(name)).or_insert(0) += bytes;
            }
        }
        let of = |ids: &BTreeSet<u32>| -> u64 {
            let specs = ids
                .iter()
                .filter_map(|&id| self.wiring.matrices.get(id as usize));
            let names: BTreeSet<&str> = specs.map(|spec| spec.name.as_str()).collect();
            let infos = names.into_iter().flat_map(|name| self.parts(name));
            infos.map(|info| info.range.end - info.range.start).sum()
        };
        let reads = self.reads();
        figures.experts = of(&reads.experts);
        figures.looked_up = of(&reads.looked_up.difference(&reads.whole).copied().collect());
        figures.types = types
            .into_iter()
            .map(|(dtype, (tensors, bytes))| TypeWeights {
                dtype,
                tensors,
                bytes,
            })
            .collect();
        figures
            .types
            .sort_by_key(|of_type| std::cmp::Reverse(of_type.bytes));
        let layers = layers.into_iter();
        let layers = layers.map(|((of_decoder, layer), bytes)| LayerWeights {
            layer,
            of_encoder: !of_decoder,
            bytes,
        });
        figures.layers = layers.collect();
        figures
    }

    /// The stored tensors that make up a canonical one.
    fn parts(&self, name: &str) -> impl Iterator<Item = &TensorInfo> {
        let found = self.views.find(name).ok();
        let parts = found.into_iter().flat_map(|found| &found.parts);
        parts.filter_map(|part| match part {
            Stored::Typed(info) => Some(info),
            Stored::Scaled(_) => None,
        })
    }

    fn reads(&self) -> MatrixReads {
        let mut reads = MatrixReads::default();
        for node in self.wiring.graphs.iter().flat_map(|graph| &graph.nodes) {
            match node.op.facts().work {
                Work::Product(matrix) => {
                    reads.whole.insert(matrix.id);
                }
                Work::Experts { experts, .. } => {
                    reads.whole.insert(experts.id);
                    reads.experts.insert(experts.id);
                }
                Work::Elements | Work::State(_) => {}
            }
            if let Op::Embed(embed) = &node.op {
                reads.looked_up.insert(embed.table.id);
            }
        }
        reads
    }
}

/// Matrices by how graphs read them.
#[derive(Default)]
struct MatrixReads {
    whole: BTreeSet<u32>,
    experts: BTreeSet<u32>,
    looked_up: BTreeSet<u32>,
}

/// Whether a tensor is a decoder's (or the only stack's), and its layer.
fn layer(name: &str) -> (bool, Option<u32>) {
    let (half, rest) = match name.split_once("blk.") {
        Some((half, rest)) => (half, rest.split('.').next()),
        None => (name, None),
    };
    let layer = rest.and_then(|number| number.parse().ok());
    (!half.starts_with("enc."), layer)
}
