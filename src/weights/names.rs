//! From a checkpoint's names to canonical ones.

use super::missing;
use crate::error::{LoadError, LoadErrorKind};
use crate::graph::{Catalog, Name, View, transpose};
use rillm_formats::manifest::{Container, Manifest, TensorInfo};
use std::collections::BTreeMap;

/// A canonical tensor: what it looks like and which stored tensors make it up.
#[derive(Clone, Debug)]
pub struct Found {
    /// Extents as seen, outermost first.
    pub shape: Vec<u64>,
    /// How it is stored.
    pub view: View,
    /// Stored tensors: one, or one per expert.
    pub parts: Vec<TensorInfo>,
}

/// Every tensor under its canonical name.
#[derive(Clone, Debug, Default)]
pub struct Views(BTreeMap<String, Found>);

impl Views {
    /// Applies an architecture's table. Tensors that no line names are left out: checkpoints
    /// carry buffers that nobody needs.
    pub fn new(manifest: &Manifest, names: &[&[Name]]) -> Result<Views, LoadError> {
        let mut views: BTreeMap<String, Found> = BTreeMap::new();
        let mut stacks: BTreeMap<String, (View, BTreeMap<u32, TensorInfo>)> = BTreeMap::new();
        for (name, info) in &manifest.tensors {
            let canonical =
                match manifest.container {
                    Container::Gguf => Some((name.clone(), None, View::Plain)),
                    Container::HuggingFace => names.iter().copied().flatten().find_map(|line| {
                        line.apply(name).map(|(to, expert)| (to, expert, line.view))
                    }),
                };
            match canonical {
                None => {}
                Some((to, Some(expert), view)) => {
                    let stack = stacks.entry(to).or_insert((view, BTreeMap::new()));
                    stack.1.insert(expert, info.clone());
                }
                Some((to, None, view)) => {
                    let mut shape = info.shape.0.clone();
                    if view == View::Transposed {
                        transpose(&mut shape);
                    }
                    let found = Found {
                        shape,
                        view,
                        parts: vec![info.clone()],
                    };
                    if views.insert(to.clone(), found).is_some() {
                        let what = format!("tensor {to} is there twice, once as {name}");
                        return Err(LoadError::new(LoadErrorKind::Tensor, what));
                    }
                }
            }
        }
        for (name, (view, parts)) in stacks {
            let whole = parts.keys().copied().eq(0..parts.len() as u32);
            let shape = parts.values().next().map(|part| part.shape.clone());
            let Some(shape) = shape.filter(|_| whole) else {
                let what = format!(
                    "tensor {name}: experts are not numbered 0 to {}",
                    parts.len()
                );
                return Err(LoadError::new(LoadErrorKind::Tensor, what));
            };
            if let Some((expert, part)) = parts.iter().find(|(_, part)| part.shape != shape) {
                let what = format!(
                    "tensor {name}: expert {expert} has shape {:?}, expert 0 has {:?}",
                    part.shape.0, shape.0
                );
                return Err(LoadError::new(LoadErrorKind::Tensor, what));
            }
            let shape = std::iter::once(parts.len() as u64).chain(shape.0).collect();
            views.insert(
                name,
                Found {
                    shape,
                    view,
                    parts: parts.into_values().collect(),
                },
            );
        }
        Ok(Views(views))
    }

    /// A tensor that must be there.
    pub fn find(&self, name: &str) -> Result<&Found, LoadError> {
        self.0.get(name).ok_or_else(|| missing(name))
    }

    /// All tensors by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Found)> {
        self.0.iter().map(|(name, found)| (name.as_str(), found))
    }
}

impl Catalog for Views {
    fn shape(&self, name: &str) -> Option<&[u64]> {
        self.0.get(name).map(|found| found.shape.as_slice())
    }
}
