//! From files to graphs: which architecture it is, and whether it uses all that the files hold.

use super::Limits;
use crate::error::{LoadError, LoadErrorKind};
use crate::graph::decoder::HEADLESS;
use crate::graph::{
    Bounds, Builder, Catalog, Config, Index, Op, Role, View, Wiring, fits, spelling,
};
use crate::models::{
    ARCHITECTURES, Architecture, Family, bare, canonical, check_flags, check_folder, check_gguf,
    find, layer_of,
};
use crate::weights::{MODULE_KEYS, Views};
use rillm_formats::manifest::{Array, Container, Manifest, MetadataValue, Strings};
use std::cell::RefCell;
use std::collections::HashSet;

/// Gives a model of a class with a head the class without one.
pub(crate) fn behead(manifest: &mut Manifest) {
    /// What the tensors of heads are called: GGUF files with tensors that nothing uses are refused.
    const HEADS: [&str; 8] = [
        "classifier.",
        "cls.",
        "mlm_dense.",
        "mlm_norm.",
        "output.",
        "output_copy.",
        "qa_outputs.",
        "sentence_order.",
    ];
    let class = class_of(manifest);
    let family = find(manifest.container, &manifest.architecture).map(|found| found.family);
    let base = match (
        family,
        class.as_deref().and_then(|class| class.split_once("For")),
    ) {
        (Some(Family::Encoder | Family::EncoderDecoder), Some((base, _))) => format!("{base}Model"),
        (None | Some(Family::Encoder | Family::EncoderDecoder), _) => return,
        (Some(Family::Decoder | Family::Recurrent | Family::MixtureOfExperts), _) => {
            HEADLESS.to_string()
        }
    };
    let mut classes = Strings::default();
    classes.push(base.as_bytes());
    let classes = MetadataValue::Array(Array::String(classes));
    manifest.metadata.0.insert("architectures".into(), classes);
    if manifest.container == Container::Gguf {
        let of_head = |name: &str| HEADS.iter().any(|begin| name.starts_with(begin));
        manifest.tensors.retain(|name, _| !of_head(name));
    }
}

/// What a manifest is a model of, its tensors under their canonical names, and the graphs.
pub(crate) fn wired(
    manifest: &Manifest,
) -> Result<(&'static Architecture, Views, Wiring), LoadError> {
    let architecture = find_architecture(manifest)?;
    let views = Views::new(manifest, architecture.names)?;
    let mut config = Config::new(manifest, architecture.keys, bounds(manifest, &views));
    config.ties = architecture.ties;
    config.check_forms()?;
    check_folder(&config, architecture)?;
    let catalog = Asked {
        views: &views,
        withheld: RefCell::default(),
    };
    let builder = Builder::new(config, &catalog);
    let built = (architecture.build)(&builder);
    if let Some(what) = catalog.withheld.take() {
        return Err(LoadError::new(LoadErrorKind::Tensor, what));
    }
    built.map_err(|error| {
        error.as_stored(|canonical| as_in_files(manifest, architecture, canonical))
    })?;
    let config = builder.config().clone();
    let wiring = builder.finish();
    check_gguf(&config, architecture)?;
    check_flags(&config, architecture, &used(&wiring))?;
    check_unknown(manifest, &views, architecture, &wiring)?;
    Ok((architecture, views, wiring))
}

/// What the files hold, and the first tensor asked for that they name and do not give: it may not
/// be done without, though others may.
struct Asked<'a> {
    views: &'a Views,
    withheld: RefCell<Option<String>>,
}

impl Catalog for Asked<'_> {
    fn shape(&self, name: &str) -> Option<&[u64]> {
        if let Some(why) = self.views.withheld(name) {
            let mut withheld = self.withheld.borrow_mut();
            withheld.get_or_insert_with(|| why.to_string());
        }
        self.views.shape(name)
    }

    fn holds(&self, name: &str) -> bool {
        self.views.shape(name).is_some()
    }
}

/// What the files' tensors have room for.
fn bounds(manifest: &Manifest, views: &Views) -> Bounds {
    let elements = manifest
        .tensors
        .values()
        .filter_map(|info| info.shape.elements());
    let layer = |(name, _): (&str, _)| {
        let mut parts = name.split('.');
        parts.find(|part| *part == "blk")?;
        parts.next()?.parse::<u32>().ok()
    };
    let layers: HashSet<u32> = views.iter().filter_map(layer).collect();
    // Where no layer is found, names tell what is amiss: but there are as many as tensors at most.
    let layers = match layers.len() {
        0 => manifest.tensors.len(),
        layers => layers,
    };
    Bounds {
        elements: elements.max().unwrap_or(0),
        layers: layers as u64,
    }
}

pub(crate) fn find_architecture(manifest: &Manifest) -> Result<&'static Architecture, LoadError> {
    let name = manifest.architecture.as_str();
    if let Some(found) = find(manifest.container, name) {
        return Ok(found);
    }
    let names = |known: &'static Architecture| known.names_in(manifest.container);
    let known = ARCHITECTURES.iter().flat_map(names).copied();
    let near = nearest(name, known);
    let near = match near.as_slice() {
        [] => "and none that is begins alike".to_string(),
        near => format!("the nearest that are: {}", near.join(", ")),
    };
    let class = class_of(manifest).map_or(String::new(), |class| format!(" (class {class})"));
    let other = match manifest.container {
        Container::HuggingFace => "a GGUF file of the model or a folder of another class",
        Container::Gguf => "a folder of the model",
    };
    let name = shortened(name);
    let what = format!(
        "architecture {name:?}{class} is not known, {near}; {other} may be (README.md lists all that are)"
    );
    Err(LoadError::new(LoadErrorKind::Architecture, what))
}

/// The class that a configuration names first.
fn class_of(manifest: &Manifest) -> Option<String> {
    let classes = manifest.metadata.array("architectures")?.strings()?;
    classes
        .get(0)
        .map(|class| shortened(&String::from_utf8_lossy(class)))
}

/// A name from a file, cut to what fits a line.
fn shortened(name: &str) -> String {
    const MOST: usize = 80;
    name.chars().take(MOST).collect()
}

/// At most three of the known names: those that begin as the name does, the longest beginning first.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    const MOST: usize = 3;
    const LEAST_COMMON: usize = 3;
    let letters = |name: &str| -> Vec<char> {
        let letters = name.chars().filter(|letter| letter.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let wanted = letters(name);
    let known = known.map(|name| {
        let letters = letters(name);
        let common = wanted.iter().zip(&letters);
        let common = common.take_while(|(one, other)| one == other).count();
        (core::cmp::Reverse(common), letters.len(), name)
    });
    let mut near: Vec<_> = known.filter(|near| near.0.0 >= LEAST_COMMON).collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MOST).map(|near| near.2).collect()
}

/// Names of the tensors that graphs use.
pub(crate) fn used(wiring: &Wiring) -> HashSet<&str> {
    let matrices = wiring.matrices.iter().map(|spec| spec.name.as_str());
    let vectors = wiring.vectors.iter().map(|spec| spec.name.as_str());
    matrices.chain(vectors).collect()
}

/// A GGUF tensor that the graphs do not use belongs to a variant of the architecture that they
/// do not describe. Of Hugging Face checkpoints, which carry buffers of many kinds, only layers
/// count: a layer's tensor that the table of names does not know.
fn check_unknown(
    manifest: &Manifest,
    views: &Views,
    architecture: &Architecture,
    wiring: &Wiring,
) -> Result<(), LoadError> {
    let gguf = manifest.container == Container::Gguf;
    let used = used(wiring);
    let first = first_left_out(manifest.container, wiring);
    let left_out =
        |layer: Option<usize>| first.is_some_and(|first| layer.is_some_and(|layer| layer >= first));
    let known = |name: &str| {
        used.contains(name)
            || left_out(canonical_layer(name))
            || !(gguf || name.contains("blk."))
            || gguf && name.starts_with(MODULE_KEYS)
            || architecture
                .unused
                .iter()
                .any(|pattern| fits(pattern, name))
    };
    // transformers saves a shared expert of no width where there is none.
    let filled = views.iter().filter(|(_, found)| !found.shape.contains(&0));
    let found = filled.map(|(name, _)| name).find(|name| !known(name));
    let stray = || {
        let typed = manifest
            .tensors
            .iter()
            .map(|(name, info)| (name, info.shape.0.len()));
        let foreign = manifest.unsupported.iter();
        // Masks that PyTorch used to save.
        let foreign = foreign.filter(|(_, tensor)| tensor.dtype != "BOOL");
        let foreign = foreign.map(|(name, tensor)| (name, tensor.shape.0.len()));
        let mut all = typed.chain(foreign).filter(|_| !gguf);
        let stray = all.find(|(name, extents)| {
            is_stray(architecture, name, *extents)
                && !left_out(layer_of(architecture.names, name))
                && !views.is_scaled_part(name)
        });
        stray.map(|(name, _)| name.as_str())
    };
    match found.or_else(stray) {
        None => Ok(()),
        Some(name) => {
            let what = format!(
                "tensor {name} is not used by architecture {} with these hyperparameters: results would be wrong",
                manifest.architecture
            );
            Err(LoadError::new(LoadErrorKind::Unsupported, what))
        }
    }
}

/// A word on layers that the files hold and no graph runs.
pub(super) fn left_out(
    manifest: &Manifest,
    architecture: &Architecture,
    wiring: &Wiring,
) -> Option<String> {
    // In a module of their own.
    let apart = || {
        manifest
            .tensors
            .keys()
            .any(|name| bare(name).starts_with("mtp"))
    };
    if wiring.notes.is_empty() && apart() {
        return Some("the layers that guess tokens after the next one are left out".to_string());
    }
    let first = first_left_out(manifest.container, wiring)?;
    let held = manifest.tensors.keys().any(|name| {
        let layer = match manifest.container {
            Container::Gguf => canonical_layer(name),
            Container::HuggingFace => layer_of(architecture.names, name),
        };
        layer.is_some_and(|layer| layer >= first)
    });
    let why = match wiring.layers_left_out {
        Some(_) => "guess tokens after the next one",
        None => "are more than the configuration counts",
    };
    held.then(|| format!("layers from number {first} on {why}: they are left out"))
}

/// A word on a head for a task that a checkpoint's class does not have.
pub(super) fn unread_head(
    manifest: &Manifest,
    architecture: &Architecture,
    views: &Views,
    wiring: &Wiring,
) -> Option<String> {
    const HEADS: [&str; 3] = [
        "classifier.weight",
        "cls.output.weight",
        "qa_outputs.weight",
    ];
    let used = used(wiring);
    let unread = |name: &&&str| views.shape(name).is_some() && !used.contains(**name);
    let canonical = HEADS.iter().find(unread)?;
    // As the checkpoint calls it.
    let names = manifest.tensors.keys().map(String::as_str);
    let called = |name: &&str| {
        let found = crate::models::canonical(architecture.names, name);
        found.is_some_and(|(to, ..)| to == **canonical)
    };
    let name = names.into_iter().find(called).unwrap_or(canonical);
    Some(format!(
        "tensor {name} is a head's that no class named here has: it is left out"
    ))
}

/// The number of the first layer that no graph runs: of a checkpoint, those that its configuration
/// does not count are none of its model's.
fn first_left_out(container: Container, wiring: &Wiring) -> Option<usize> {
    let behind = || {
        let layers = used(wiring).into_iter().filter_map(canonical_layer);
        layers.max().map(|last| last + 1)
    };
    match container {
        Container::Gguf => wiring.layers_left_out,
        Container::HuggingFace => wiring.layers_left_out.or_else(behind),
    }
}

/// The number of the layer that a tensor is a part of, by its canonical name.
fn canonical_layer(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// Whether a checkpoint's tensor is part of a layer, and neither one that the table of names
/// knows nor one of the buffers that modules of PyTorch used to save with their parameters.
fn is_stray(architecture: &Architecture, name: &str, extents: usize) -> bool {
    let buffer = name.ends_with("inv_freq")
        || name.ends_with(".masked_bias")
        // A triangle of ones.
        || (name.ends_with("attn.bias") || name.ends_with("attention.bias")) && extents == 4;
    let unused = || {
        let mut patterns = architecture.unused_in_checkpoints.iter();
        patterns.any(|pattern| fits(bare(pattern), bare(name)))
    };
    layer_of(architecture.names, name).is_some()
        && !buffer
        && !unused()
        && canonical(architecture.names, name).is_none()
}

/// Tables looked up by a row's facts bound them.
pub(crate) fn limits(wiring: &Wiring) -> Limits {
    let mut limits = Limits {
        vocabulary: u64::MAX,
        source_vocabulary: u64::MAX,
        positions: u64::MAX,
        source_positions: u64::MAX,
        token_types: u64::MAX,
    };
    let mut clusters = 0;
    let graphs = wiring.graphs.iter();
    let nodes = graphs.flat_map(|graph| graph.nodes.iter().map(|node| (graph.role, node)));
    for (role, node) in nodes {
        if let Op::Embed(embed) = &node.op {
            let (table, index) = (embed.table, embed.index);
            let rows = table.rows as u64;
            let positions = match role {
                Role::Encode => &mut limits.source_positions,
                _ => &mut limits.positions,
            };
            let (limit, rows) = match index {
                Index::Token if role == Role::Encode => (&mut limits.source_vocabulary, rows),
                Index::Token => (&mut limits.vocabulary, rows),
                Index::Position => (positions, rows),
                Index::PositionPast(padding) => {
                    let before = u64::from(padding) + 1;
                    (positions, rows.saturating_sub(before))
                }
                // Which has a row for every token.
                Index::TokenOrFirst => continue,
                Index::TokenType => (&mut limits.token_types, rows),
                // Each table has its share of the tokens.
                Index::TokenFrom(first) => {
                    clusters = clusters.max(u64::from(first) + table.rows as u64);
                    limits.vocabulary = clusters;
                    continue;
                }
            };
            *limit = (*limit).min(rows);
        }
        if let Op::DisentangledAttention(attention) = &node.op
            && let Some(apart) = attention.apart
        {
            // Any number is another segment.
            limits.token_types = limits.token_types.min(u64::from(u32::MAX));
            let positions = apart.positions.unwrap_or(u64::MAX);
            limits.source_positions = limits.source_positions.min(positions);
        }
    }
    // What a table's rows are is no limit of a text's.
    if wiring.graphs.iter().all(|graph| graph.role != Role::Decode) {
        limits.vocabulary = limits.source_vocabulary;
        limits.positions = limits.source_positions;
    }
    limits
}

/// A tensor's name and form as the user finds them in the files.
fn as_in_files(
    manifest: &Manifest,
    architecture: &Architecture,
    canonical: &str,
) -> Option<(String, View)> {
    if manifest.container == Container::Gguf {
        return None;
    }
    spelling(architecture.names, canonical, bare, |begin| {
        let names = manifest.tensors.keys();
        names
            .filter_map(|name| name.strip_prefix(begin))
            .any(|rest| rest.starts_with('.'))
    })
}
