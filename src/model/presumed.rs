//! What a model's files do not say before they are all there: which tensors there are, their extents and
//! types. An architecture's own wiring asks for its tensors with the extents that hyperparameters
//! imply, so a model is wired without any, and what it asked for is what its files will hold. Whether
//! a tensor that not every checkpoint has is there, configurations say, or custom.

use super::find_architecture;
use crate::error::{LoadError, LoadErrorKind};
use crate::graph::{Bounds, Builder, Catalog, Config, View, transpose};
use crate::models::Architecture;

use crate::weights::{ModelHeaders, Views, published_as};
use rillm_formats::manifest::{Container, DType, Manifest, Shape, TensorInfo};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// No width and no number of heads of a configuration is above it, where no tensor bears it out.
const WIDEST: u64 = 1 << 20;
/// The same of heads, of each of which something may be worked out.
const HEADS: usize = 1 << 14;
/// The same of layers.
const LAYERS: u64 = 1 << 9;
/// The same of a tensor's elements.
const ELEMENTS: u64 = 1 << 40;
/// The same of tensors under their canonical names.
const NAMED: usize = 1 << 13;
/// The same of all that files would hold.
const TENSORS: u64 = 1 << 17;

/// What of a model was presumed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presumed {
    /// Tensors that no file names.
    pub tensors: usize,
    /// Tensors that an index names, and of which the shapes and types are presumed.
    pub shapes: usize,
    /// The type that those are taken to have.
    pub dtype: Option<DType>,
}

impl Presumed {
    /// Whether all is as the files say.
    pub fn is_nothing(&self) -> bool {
        self.tensors + self.shapes == 0
    }
}

/// The manifest of all tensors that a model is wired from: those of the files, and those presumed.
pub(crate) fn completed(headers: ModelHeaders) -> Result<(Manifest, Presumed), LoadError> {
    let ModelHeaders {
        mut manifest,
        partial,
        ..
    } = headers;
    if !partial && manifest.lacking.is_empty() {
        return Ok((manifest, Presumed::default()));
    }
    let architecture = find_architecture(&manifest)?;
    let views = Views::new(&manifest, architecture.names)?;
    let bounds = Bounds {
        elements: WIDEST,
        layers: LAYERS,
    };
    let mut config = Config::new(&manifest, architecture.keys, bounds);
    config.ties = architecture.ties;
    config.check_forms()?;
    for key in ["attention.head_count", "attention.head_count_kv"] {
        if matches!(config.optional_count(key), Ok(Some(heads)) if heads > HEADS) {
            return Err(config.invalid(key, &format!("{HEADS} at most")).into());
        }
    }
    let asked = PresumedTensors {
        manifest: &manifest,
        architecture,
        views: &views,
        partial,
        tensors: RefCell::default(),
    };
    let builder = Builder::new(config, &asked);
    (architecture.build)(&builder)?;
    drop(builder);
    let asked = asked.tensors.into_inner();
    let mut presumed = Presumed::default();
    let mut added = BTreeMap::new();
    let mut end = 0;
    for (name, extents) in asked {
        match views.withheld(&name) {
            Some(_) => presumed.shapes += 1,
            None => presumed.tensors += 1,
        }
        let dtype = usual_type(&manifest, &views, &name, &extents);
        presumed.dtype = presumed.dtype.max(Some(dtype));
        for (name, extents) in stored(&manifest, architecture, &name, extents) {
            let elements = extents.iter().product::<u64>();
            let columns = extents.last().copied().unwrap_or(1);
            let rows = elements / columns.max(1);
            let fits = dtype.row_len(columns).is_some();
            let dtype = if fits { dtype } else { DType::F16 };
            let len = dtype.row_len(columns).unwrap_or(0) * rows;
            let info = TensorInfo {
                dtype,
                shape: Shape(extents),
                file: 0,
                range: end..end + len,
            };
            end += len;
            added.insert(name, info);
            if added.len() as u64 > TENSORS {
                let what = format!("more than {TENSORS} tensors");
                return Err(LoadError::new(LoadErrorKind::Hyperparameter, what));
            }
        }
    }
    manifest.tensors.extend(added);
    manifest.lacking.clear();
    Ok((manifest, presumed))
}

/// The files' tensors that make up a canonical one, as the first line of the table says.
fn stored(
    manifest: &Manifest,
    architecture: &Architecture,
    name: &str,
    mut extents: Vec<u64>,
) -> Vec<(String, Vec<u64>)> {
    if manifest.container == Container::Gguf {
        return vec![(name.to_string(), extents)];
    }
    let lines = architecture.spellings(name);
    let Some((first, line)) = lines.first() else {
        return vec![(name.to_string(), extents)];
    };
    if matches!(line.view, View::Transposed | View::HeadsTransposed) {
        transpose(&mut extents);
    }
    let parts: BTreeMap<u32, &String> = match line.part {
        Some(_) => {
            let numbered = lines.iter().rev();
            let parts = numbered.filter_map(|(name, line)| Some((line.part?, name)));
            parts.collect()
        }
        None => BTreeMap::new(),
    };
    let each = extents.get(1..).unwrap_or_default().to_vec();
    if !parts.is_empty() {
        let parts = parts.into_values();
        return parts.map(|name| (name.clone(), each.clone())).collect();
    }
    if first.contains("{e}") {
        let experts = 0..extents.first().copied().unwrap_or(0).min(TENSORS);
        let name = |expert: u64| first.replace("{e}", &expert.to_string());
        return experts.map(|expert| (name(expert), each.clone())).collect();
    }
    vec![(first.clone(), extents)]
}

/// The type of a tensor that no file describes: that of one like it in another layer, or what the
/// whole is said to be of.
fn usual_type(manifest: &Manifest, views: &Views, name: &str, extents: &[u64]) -> DType {
    let matrix = extents.iter().filter(|extent| **extent > 1).count() > 1;
    if manifest.container == Container::HuggingFace {
        let said = ["dtype", "torch_dtype"]
            .iter()
            .find_map(|key| manifest.metadata.str(key));
        return match said {
            Some("bfloat16") => DType::BF16,
            Some("float16") => DType::F16,
            // Nobody writes single precision in fewer bits and leaves out to say so.
            None if published_as(&manifest.metadata).is_some() => DType::BF16,
            _ => DType::F32,
        };
    }
    let alike = alike(views, name).and_then(|found| manifest.tensors.get(found));
    if let Some(info) = alike {
        return info.dtype;
    }
    match most_common(manifest) {
        Some(dtype) if matrix => dtype,
        _ => DType::F32,
    }
}

/// The type of most bytes of a file.
fn most_common(manifest: &Manifest) -> Option<DType> {
    let mut types: BTreeMap<DType, u64> = BTreeMap::new();
    for info in manifest.tensors.values() {
        *types.entry(info.dtype).or_default() += info.range.end - info.range.start;
    }
    let most = types.into_iter().max_by_key(|(_, bytes)| *bytes);
    most.map(|(dtype, _)| dtype)
}

/// What stands behind a layer's number.
fn part_of_layer(name: &str) -> Option<&str> {
    Some(name.split_once("blk.")?.1.split_once('.')?.1)
}

/// The same tensor of another layer, of which the files speak.
fn alike<'a>(views: &'a Views, name: &str) -> Option<&'a str> {
    let part = part_of_layer(name)?;
    let mut names = views.iter().map(|(name, _)| name);
    names.find(|name| part_of_layer(name) == Some(part))
}

/// What the files hold, and what was asked for beside it.
struct PresumedTensors<'a> {
    manifest: &'a Manifest,
    architecture: &'static Architecture,
    views: &'a Views,
    partial: bool,
    tensors: RefCell<BTreeMap<String, Vec<u64>>>,
}

impl Catalog for PresumedTensors<'_> {
    fn shape(&self, name: &str) -> Option<&[u64]> {
        self.views.shape(name)
    }

    fn holds(&self, name: &str) -> bool {
        self.views.shape(name).is_some() || self.views.withheld(name).is_some()
    }

    fn has(&self, name: &str) -> bool {
        self.views.shape(name).is_some()
            || self.views.withheld(name).is_some()
            || self.partial && self.is_usual(name)
    }

    fn presumes(&self, name: &str, extents: &[u64]) -> bool {
        let elements = extents.iter().try_fold(1u64, |all, &n| all.checked_mul(n));
        if self.views.shape(name).is_some()
            || !self.partial && self.views.withheld(name).is_none()
            || elements.is_none_or(|elements| elements > ELEMENTS)
        {
            return false;
        }
        let mut tensors = self.tensors.borrow_mut();
        tensors.insert(name.to_string(), extents.to_vec());
        tensors.len() <= NAMED
    }

    fn presumed_rows(&self, name: &str) -> Option<u64> {
        match self.views.shape(name) {
            Some(_) => None,
            None => {
                let config = &self.manifest.metadata;
                self.architecture
                    .usual_rows(config, name, |name| self.has(name))
            }
        }
    }
}

impl PresumedTensors<'_> {
    /// Whether a tensor that not every checkpoint has is presumed to be in this one.
    fn is_usual(&self, name: &str) -> bool {
        if self.manifest.container == Container::Gguf {
            // The layers that are there tell of those that are not.
            return match part_of_layer(name) {
                Some(_) => alike(self.views, name).is_some(),
                None => name == "output.weight",
            };
        }
        let config = &self.manifest.metadata;
        self.architecture.usually_holds(config, name)
    }
}
