//! From a checkpoint's names to canonical ones.

use super::missing;
use super::stored::{FP4_NAMES, Scaled, ScaledTensor, Stored};
use super::three_values::is_matrix_of_three;
use crate::error::{LoadError, LoadErrorKind};
use crate::graph::{Catalog, Name, View, transpose};
use crate::models::canonical;
use rillm_formats::manifest::{Container, DType, Manifest};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A canonical tensor: what it looks like and which stored tensors make it up.
#[derive(Clone, Debug)]
pub struct Found {
    /// Extents as seen, outermost first.
    pub shape: Vec<u64>,
    /// How it is stored.
    pub view: View,
    /// Stored tensors: one, or one per expert.
    pub parts: Vec<Stored>,
}

/// Every tensor under its canonical name.
#[derive(Clone, Debug, Default)]
pub struct Views {
    found: BTreeMap<String, Found>,
    /// What the files name and do not give, by canonical name, and why.
    withheld: BTreeMap<String, String>,
    /// Scales of small floats, and those where they are called otherwise than what they make up, as
    /// the files call them.
    scaled: BTreeSet<String>,
}

/// Whose place a tensor takes that alone is stored of several that share their values.
const SHARED: [(&str, &[&str]); 2] = [
    (
        "token_embd.weight",
        &["enc.token_embd.weight", "dec.token_embd.weight"],
    ),
    ("output.bias", &["output_copy.bias"]),
];

impl Views {
    /// Applies an architecture's table. Tensors that no line names are left out: checkpoints
    /// carry buffers that nobody needs.
    ///
    /// # Errors
    /// A tensor that is there under two names, experts that are not numbered through, scales that
    /// do not fit their values.
    pub fn new(manifest: &Manifest, names: &[&[Name]]) -> Result<Views, LoadError> {
        let mut views = Views::default();
        let mut parts = Parts::default();
        for (name, info) in &manifest.tensors {
            let typed = Stored::Typed(info.clone());
            if manifest.container == Container::Gguf {
                parts.add(name, (name.clone(), None, View::Plain), typed)?;
                continue;
            }
            let Some(to) = canonical(names, name) else {
                continue;
            };
            let three = match is_matrix_of_three(manifest, &to.0, info) {
                true => Scaled::read_three(manifest, name, info)?,
                false => None,
            };
            let stored = match three {
                Some(three) => {
                    views.scaled.extend(three.scales);
                    Stored::Scaled(three.scaled)
                }
                None if info.dtype == DType::F64 => Stored::Scaled(Scaled::doubles(info)),
                None => typed,
            };
            parts.add(name, to, stored)?;
        }
        for (name, tensor) in &manifest.unsupported {
            match Scaled::read(manifest, name, tensor)? {
                Some(ScaledTensor {
                    whole,
                    scaled,
                    scales,
                }) => {
                    let values = (whole != name).then(|| name.clone());
                    views.scaled.extend(scales.into_iter().chain(values));
                    if let Some((to, part, view)) = canonical(names, whole) {
                        // Each row of blocks is one of results, however the whole is stored.
                        let view = if whole == name { view } else { View::Plain };
                        parts.add(name, (to, part, view), Stored::Scaled(scaled))?;
                    }
                }
                None => {
                    if let Some((to, ..)) = canonical(names, name) {
                        let dtype = &tensor.dtype;
                        let what = format!("tensor {name} has type {dtype}, which is not read");
                        views.withheld.insert(to, what);
                    }
                }
            }
        }
        for (name, file) in &manifest.lacking {
            // Values in four bits stand for what they make up.
            let whole = name.strip_suffix(FP4_NAMES.0).unwrap_or(name);
            if let Some((to, ..)) = canonical(names, whole) {
                let what = format!("tensor {name} is in {file}, says the index, and is not there");
                views.withheld.insert(to, what);
            }
        }
        views.found = parts.whole()?;
        if manifest.container == Container::HuggingFace {
            views.share(manifest.metadata.bool("tie_word_embeddings"));
        }
        let found = &views.found;
        views.withheld.retain(|name, _| !found.contains_key(name));
        Ok(views)
    }

    /// Lets tensors that share their values stand for each other: a head for the embedding as well,
    /// unless the configuration says that they are not `tied`.
    fn share(&mut self, tied: Option<bool>) {
        let mut put = |name: &str, like: &str| {
            if let (None, Some(like)) = (self.found.get(name), self.found.get(like)) {
                let like = like.clone();
                self.found.insert(name.to_string(), like);
            }
        };
        for (name, others) in SHARED {
            others.iter().for_each(|other| put(name, other));
        }
        if tied != Some(false) {
            put("token_embd.weight", "output.weight");
        }
    }

    /// A tensor that must be there.
    pub fn find(&self, name: &str) -> Result<&Found, LoadError> {
        self.found.get(name).ok_or_else(|| missing(name))
    }

    /// All tensors by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Found)> {
        self.found
            .iter()
            .map(|(name, found)| (name.as_str(), found))
    }

    /// Why the files do not give a tensor that they name.
    pub fn withheld(&self, name: &str) -> Option<&str> {
        self.withheld.get(name).map(String::as_str)
    }

    /// What a used tensor that is converted before it runs is called, if there is one, and the mix that
    /// conversion makes of it.
    pub fn converted(&self, used: &HashSet<&str>) -> Option<(&'static str, &'static str)> {
        let found = self.iter().filter(|(name, _)| used.contains(name));
        let parts = found.flat_map(|(_, found)| &found.parts);
        let mut scaled = parts.filter_map(|part| match part {
            Stored::Scaled(scaled) => Some(scaled),
            Stored::Typed(_) => None,
        });
        scaled
            .next()
            .map(|scaled| (scaled.name(), scaled.becomes()))
    }

    /// Whether the files' tensor of this name is a part of small floats with scales: values, or
    /// scales, also those of activations, which are computed with as they are.
    pub fn is_scaled_part(&self, name: &str) -> bool {
        const OF_ACTIVATIONS: [&str; 6] = [
            "input_scale",
            "input_scale_ub",
            "output_scale",
            "q_scale",
            "k_scale",
            "v_scale",
        ];
        let last = name.rsplit('.').next().unwrap_or(name);
        self.scaled.contains(name) || !self.scaled.is_empty() && OF_ACTIVATIONS.contains(&last)
    }
}

impl Catalog for Views {
    fn shape(&self, name: &str) -> Option<&[u64]> {
        self.found.get(name).map(|found| found.shape.as_slice())
    }
}

/// Canonical tensors while they are gathered.
#[derive(Default)]
struct Parts {
    whole: BTreeMap<String, Found>,
    /// Parts by number.
    stacks: BTreeMap<String, (View, NumberedParts)>,
}

/// With the files' names.
type NumberedParts = BTreeMap<u32, (String, Stored)>;

impl Parts {
    fn add(
        &mut self,
        name: &str,
        (to, part, view): (String, Option<u32>, View),
        mut stored: Stored,
    ) -> Result<(), LoadError> {
        let view = match view {
            View::HeadsTransposed => {
                stored.join_heads();
                View::Transposed
            }
            View::HeadsJoined => {
                stored.join_heads();
                View::Plain
            }
            view => view,
        };
        let twice = |to: String, other: &str| {
            let what = format!("tensor {to} is there twice, once as {name}{other}");
            Err(LoadError::new(LoadErrorKind::Tensor, what))
        };
        if let Some(part) = part {
            let stack = self.stacks.entry(to.clone());
            let stack = stack.or_insert_with(|| (view, BTreeMap::new()));
            return match stack.1.insert(part, (name.to_string(), stored)) {
                Some((other, _)) => twice(to, &format!(", once as {other}")),
                None => Ok(()),
            };
        }
        let mut shape = stored.shape().to_vec();
        if view == View::Transposed {
            transpose(&mut shape);
        }
        let parts = vec![stored];
        match self.whole.insert(to.clone(), Found { shape, view, parts }) {
            Some(_) => twice(to, ""),
            None => Ok(()),
        }
    }

    fn whole(self) -> Result<BTreeMap<String, Found>, LoadError> {
        let mut views = self.whole;
        for (name, (view, parts)) in self.stacks {
            let refuse = |what: String| {
                let what = format!("tensor {name}: {what}");
                Err(LoadError::new(LoadErrorKind::Tensor, what))
            };
            let whole = parts.keys().copied().eq(0..parts.len() as u32);
            let first = parts.values().next();
            let shape = first.map(|(_, part)| part.shape().to_vec());
            let Some(mut shape) = shape.filter(|_| whole) else {
                let count = parts.len();
                return refuse(format!("experts are not numbered 0 to {count}"));
            };
            let other = parts.iter().find(|(_, (_, part))| part.shape() != shape);
            if let Some((expert, (_, part))) = other {
                return refuse(format!(
                    "expert {expert} has shape {:?}, expert 0 has {shape:?}",
                    part.shape()
                ));
            }
            if view == View::Transposed {
                transpose(&mut shape);
            }
            let shape = std::iter::once(parts.len() as u64).chain(shape).collect();
            let parts = parts.into_values().map(|(_, part)| part).collect();
            if views
                .insert(name.clone(), Found { shape, view, parts })
                .is_some()
            {
                return refuse("it is there as a whole and in parts".to_string());
            }
        }
        Ok(views)
    }
}
