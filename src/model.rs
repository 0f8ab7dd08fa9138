//! A model: immutable, shared, cheap to clone.

mod cost;
mod digest;
mod fingerprint;

pub use cost::{Cost, ExpertCounts, Parameters};
pub use digest::digest_of;

use crate::error::{LoadError, LoadErrorKind};
use crate::graph::state::Lifetime;
use crate::graph::{
    Bounds, Builder, Catalog, Config, Counting, Forced, GlobalRows, Graph, Index, Matrix, Op, Role,
    SecondReading, Segments, StateKind, Vector, View, Wiring, fits, spelling,
};
use crate::kernels::{Isa, Kernels, Layout};
use crate::models::{
    ARCHITECTURES, Architecture, bare, canonical, check_flags, check_folder, check_gguf, find,
    layer_of,
};
use crate::pool::Pool;
use crate::setters::setters;
use crate::weights::{
    Files, ModuleFiles, Source, TokenizerFiles, Views, Weights, open, open_source,
};
use rillm_formats::manifest::{Array, Container, Manifest, MetadataValue, Strings};
use rillm_formats::tokenizer::{HfFiles, Tokenizer};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// How a model is opened.
///
/// ```
/// use rillm::{Isa, ModelOptions};
///
/// let options = ModelOptions::default().threads(2).isa(Isa::Scalar);
/// assert_eq!(options.threads, Some(2));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ModelOptions {
    /// The instruction set; `None` for the best that this CPU has.
    pub isa: Option<Isa>,
    /// Workers, all of which then work at every run; `None` for one per physical core that this
    /// process may use, as far as sharing the work pays.
    pub threads: Option<usize>,
    /// Without the head that its class has: what the encoder itself gives, as `AutoModel` does.
    pub headless: bool,
}

setters! {
    ModelOptions {
        isa: impl Into<Option<Isa>>,
        threads: impl Into<Option<usize>>,
        headless: bool,
    }
}

/// A loaded model: immutable, shared by its sessions and among threads, cheap to clone.
///
/// ```
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
/// println!("{} on {}, {} threads", model.title(), model.isa(), model.threads());
/// let begin = model.tokenizer()?.encode("Once upon a time", Default::default())?;
/// assert_eq!(begin.len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    architecture: &'static Architecture,
    manifest: Manifest,
    wiring: Wiring,
    weights: Weights,
    kernels: &'static Kernels,
    pool: Pool,
    threads_asked: bool,
    tokenizer_files: TokenizerFiles,
    module_files: ModuleFiles,
    /// Built when first asked for: a large vocabulary takes longer than all the rest.
    tokenizer: OnceLock<Result<Option<Tokenizer>, LoadError>>,
    limits: Limits,
    notes: Vec<String>,
    /// Of all weights, once somebody has asked for it.
    weights_digest: OnceLock<u128>,
}

/// What rows a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Tokens are below this, those that a decoder reads and writes if there is one.
    pub vocabulary: u64,
    /// Tokens that an encoder reads are below this.
    pub source_vocabulary: u64,
    /// Positions are below this.
    pub positions: u64,
    /// Token types are below this.
    pub token_types: u64,
}

impl Model {
    /// Opens a GGUF file or a Hugging Face folder.
    ///
    /// # Errors
    /// One line that names the file and the key or tensor at fault.
    pub fn open(path: impl AsRef<Path>, options: ModelOptions) -> Result<Model, LoadError> {
        let path = path.as_ref();
        Model::from_files(open(path)?, options).map_err(|error| error.at(path))
    }

    /// Opens a GGUF file whose bytes are at hand: part of the program (`include_bytes!`), or in
    /// memory.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(
        bytes: impl Into<Cow<'static, [u8]>>,
        options: ModelOptions,
    ) -> Result<Model, LoadError> {
        let source = match bytes.into() {
            Cow::Borrowed(bytes) => Source::Static(bytes),
            Cow::Owned(bytes) => Source::Owned(bytes),
        };
        Model::from_files(open_source(source)?, options)
    }

    /// The model that these files describe.
    ///
    /// # Errors
    /// As [`Model::open`].
    #[doc(hidden)]
    pub fn from_files(files: Files, options: ModelOptions) -> Result<Model, LoadError> {
        let kernels = Kernels::select(options.isa)
            .map_err(|error| LoadError::new(LoadErrorKind::Isa, error.to_string()))?;
        let Files {
            mut manifest,
            sources,
            tokenizer,
            modules,
            notes,
            ..
        } = files;
        if options.headless {
            behead(&mut manifest);
        }
        let (architecture, views, wiring) = wired(&manifest)?;
        let weights = Weights::resolve(&wiring, &views, sources, kernels)?;
        let limits = limits(&wiring);
        let threads = options
            .threads
            .unwrap_or_else(crate::platform::default_threads);
        let pool = Pool::new(threads);
        let inner = Inner {
            architecture,
            manifest,
            wiring,
            weights,
            kernels,
            pool,
            threads_asked: options.threads.is_some(),
            tokenizer_files: tokenizer,
            module_files: modules,
            tokenizer: OnceLock::new(),
            limits,
            notes,
            weights_digest: OnceLock::new(),
        };
        Ok(Model {
            inner: Arc::new(inner),
        })
    }

    /// The architecture's name, for people: `LLaMA 1–3`.
    pub fn title(&self) -> &'static str {
        self.inner.architecture.title
    }

    /// Whether it predicts tokens: [`Session::feed`](crate::Session::feed) runs it.
    pub fn decodes(&self) -> bool {
        self.graph(Role::Decode).is_some()
    }

    /// Whether it encodes whole texts: [`Session::encode`](crate::Session::encode) runs it. An
    /// encoder–decoder model does both.
    pub fn encodes(&self) -> bool {
        self.graph(Role::Encode).is_some()
    }

    /// The instruction set whose kernels run it.
    pub fn isa(&self) -> Isa {
        self.inner.kernels.isa
    }

    /// Its workers.
    pub fn threads(&self) -> usize {
        self.inner.pool.threads()
    }

    /// The architecture.
    #[doc(hidden)]
    pub fn architecture(&self) -> &'static Architecture {
        self.inner.architecture
    }

    /// What the files say: metadata, and the tensors' types, shapes and places.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The tokenizer's files of a Hugging Face folder.
    #[doc(hidden)]
    pub fn tokenizer_files(&self) -> &TokenizerFiles {
        &self.inner.tokenizer_files
    }

    /// What sentence-transformers keeps beside it in a Hugging Face folder.
    #[doc(hidden)]
    pub fn module_files(&self) -> &ModuleFiles {
        &self.inner.module_files
    }

    /// The graph for a role, if the model has one.
    #[doc(hidden)]
    pub fn graph(&self, role: Role) -> Option<&Graph> {
        self.inner
            .wiring
            .graphs
            .iter()
            .find(|graph| graph.role == role)
    }

    /// The tensor that an operation multiplies by or looks rows up in, if there is one.
    #[doc(hidden)]
    pub fn tensor_of(&self, op: &Op) -> Option<&str> {
        let wiring = &self.inner.wiring;
        let name = match parameter_of(op)? {
            Parameter::Matrix(matrix) => &wiring.matrices[matrix.id as usize].name,
            Parameter::Vector(vector) => &wiring.vectors[vector.id as usize].name,
        };
        // What no file holds has no name.
        Some(name.as_str()).filter(|name| !name.is_empty())
    }

    /// Whether all numbers of that tensor are finite, where they are known one by one.
    pub(crate) fn has_finite_tensor(&self, op: &Op) -> bool {
        let weights = self.weights();
        match parameter_of(op) {
            Some(Parameter::Matrix(matrix)) if weights.matrix(matrix).layout == Layout::Rows => {
                let mut row = vec![0.0; matrix.columns];
                (0..matrix.rows * matrix.stack).all(|index| {
                    weights.decode_row(matrix, index, &mut row);
                    row.iter().all(|value| value.is_finite())
                })
            }
            Some(Parameter::Vector(vector)) => {
                let mut values = weights.vector(vector).iter();
                values.all(|value| value.is_finite())
            }
            Some(Parameter::Matrix(_)) | None => true,
        }
    }

    /// Pieces of state.
    #[doc(hidden)]
    pub fn states(&self) -> &[StateKind] {
        &self.inner.wiring.states
    }

    /// Whether its sequences have a KV cache, which a context bounds; recurrent models have none.
    pub fn has_kv_cache(&self) -> bool {
        let mut kinds = self.states().iter();
        kinds.any(|kind| kind.lifetime() == Lifetime::Positions)
    }

    /// Positions that the model was trained for, if it says.
    pub fn context(&self) -> Option<usize> {
        self.inner.wiring.context
    }

    /// The token that the decoder of an encoder–decoder model starts from.
    #[doc(hidden)]
    pub fn decoder_start(&self) -> Option<u32> {
        self.inner.wiring.decoder_start
    }

    /// What its decoder reads where it is given no text, if it reads one at all then.
    #[doc(hidden)]
    pub fn second_reading(&self) -> Option<SecondReading> {
        self.inner.wiring.second_reading
    }

    /// Tokens that the texts of an encoder–decoder model have whatever it predicts.
    pub(crate) fn forced(&self) -> Forced {
        self.inner.wiring.forced
    }

    /// What transformers counts positions over.
    #[doc(hidden)]
    pub fn counting(&self) -> Counting {
        self.inner.wiring.counting
    }

    /// How its sequences fall into segments, if they do.
    #[doc(hidden)]
    pub fn segments(&self) -> Option<Segments> {
        self.inner.wiring.segments
    }

    /// Which rows are global where nobody says, if rows may be global.
    #[doc(hidden)]
    pub fn global_rows(&self) -> Option<GlobalRows> {
        self.inner.wiring.global_rows
    }

    /// What of its files could not be read and is done without, and what that means: a line each.
    pub fn notes(&self) -> &[String] {
        &self.inner.notes
    }

    /// What rows it accepts.
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// The tokenizer, built at the first call.
    ///
    /// # Errors
    /// The files hold none, or one that cannot be used; the model itself still runs.
    pub fn tokenizer(&self) -> Result<&Tokenizer, LoadError> {
        let built = self
            .inner
            .tokenizer
            .get_or_init(|| open_tokenizer(&self.inner.manifest, &self.inner.tokenizer_files));
        match built {
            Ok(Some(tokenizer)) => Ok(tokenizer),
            Ok(None) => Err(no_tokenizer(self.inner.manifest.container)),
            Err(error) => Err(error.clone()),
        }
    }

    /// The parameters.
    #[doc(hidden)]
    pub fn weights(&self) -> &Weights {
        &self.inner.weights
    }

    /// The kernels in use.
    #[doc(hidden)]
    pub fn kernels(&self) -> &'static Kernels {
        self.inner.kernels
    }

    /// Whether the number of workers was asked for, rather than chosen.
    #[doc(hidden)]
    pub fn threads_asked(&self) -> bool {
        self.inner.threads_asked
    }

    /// The workers.
    #[doc(hidden)]
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }
}

/// Gives a model of a class with a head the class without one.
fn behead(manifest: &mut Manifest) {
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
    let classes = manifest.metadata.0.get_mut("architectures");
    let Some(MetadataValue::Array(Array::String(classes))) = classes else {
        return;
    };
    let class = classes.get(0).map(String::from_utf8_lossy);
    let Some((base, _)) = class.as_deref().and_then(|class| class.split_once("For")) else {
        return;
    };
    let base = format!("{base}Model");
    *classes = Strings::default();
    classes.push(base.as_bytes());
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

fn find_architecture(manifest: &Manifest) -> Result<&'static Architecture, LoadError> {
    let name = manifest.architecture.as_str();
    if let Some(found) = find(manifest.container, name) {
        return Ok(found);
    }
    let names = |known: &'static Architecture| known.names_in(manifest.container);
    let known: Vec<&str> = ARCHITECTURES.iter().flat_map(names).copied().collect();
    let what = format!(
        "architecture {name:?} is not known, this version runs {}",
        known.join(", ")
    );
    Err(LoadError::new(LoadErrorKind::Architecture, what))
}

/// Names of the tensors that graphs use.
pub(crate) fn used(wiring: &Wiring) -> HashSet<&str> {
    let matrices = wiring.matrices.iter().map(|spec| spec.name.as_str());
    let vectors = wiring.vectors.iter().map(|spec| spec.name.as_str());
    matrices.chain(vectors).collect()
}

/// A GGUF tensor that the graphs do not use belongs to a variant of the architecture that they
/// do not describe. Of Hugging Face checkpoints, which carry buffers of many kinds, only layers
/// count: a layer beyond those the configuration says, and a layer's tensor that the table of
/// names does not know.
fn check_unknown(
    manifest: &Manifest,
    views: &Views,
    architecture: &Architecture,
    wiring: &Wiring,
) -> Result<(), LoadError> {
    let gguf = manifest.container == Container::Gguf;
    let used = used(wiring);
    let left_out = |layer: Option<usize>| {
        let first = wiring.layers_left_out;
        first.is_some_and(|first| layer.is_some_and(|layer| layer >= first))
    };
    let layer = |name: &str| {
        let number = name.strip_prefix("blk.")?.split('.').next()?;
        number.parse().ok()
    };
    let known = |name: &str| {
        used.contains(name)
            || left_out(layer(name))
            || !(gguf || name.contains("blk."))
            || architecture
                .unused
                .iter()
                .any(|pattern| fits(pattern, name))
    };
    let found = views.iter().map(|(name, _)| name).find(|name| !known(name));
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
fn limits(wiring: &Wiring) -> Limits {
    let mut limits = Limits {
        vocabulary: u64::MAX,
        source_vocabulary: u64::MAX,
        positions: u64::MAX,
        token_types: u64::MAX,
    };
    let mut clusters = 0;
    let graphs = wiring.graphs.iter();
    let nodes = graphs.flat_map(|graph| graph.nodes.iter().map(|node| (graph.role, node)));
    for (role, node) in nodes {
        if let Op::Embed(embed) = &node.op {
            let (table, index) = (embed.table, embed.index);
            let rows = table.rows as u64;
            let (limit, rows) = match index {
                Index::Token if role == Role::Encode => (&mut limits.source_vocabulary, rows),
                Index::Token => (&mut limits.vocabulary, rows),
                Index::Position => (&mut limits.positions, rows),
                Index::PositionPast(padding) => {
                    let before = u64::from(padding) + 1;
                    (&mut limits.positions, rows.saturating_sub(before))
                }
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
    }
    if wiring.graphs.iter().all(|graph| graph.role == Role::Encode) {
        limits.vocabulary = limits.source_vocabulary;
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

impl Files {
    /// The tokenizer, whether or not there are weights or an architecture that is known.
    ///
    /// # Errors
    /// The files hold none, or one that cannot be used.
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        open_tokenizer(&self.manifest, &self.tokenizer)?
            .ok_or_else(|| no_tokenizer(self.manifest.container))
    }
}

fn no_tokenizer(container: Container) -> LoadError {
    let what = match container {
        Container::Gguf => {
            "model has no vocabulary, only token ids can be given to it (rillm eval)"
        }
        Container::HuggingFace => {
            "there is no tokenizer.json, nor another vocabulary (tokenizer.model, spiece.model, \
             vocab.json with merges.txt, vocab.txt, rwkv_vocab_*.txt), copy it from where the checkpoint came from; token ids alone can be run by rillm eval"
        }
    };
    LoadError::new(LoadErrorKind::Tokenizer, what)
}

/// The files that bear on text.
pub(crate) fn hf_files(files: &TokenizerFiles) -> HfFiles<'_> {
    HfFiles {
        tokenizer_json: files.tokenizer_json.as_deref(),
        tokenizer_model: files.tokenizer_model.as_deref(),
        source_spm: files.source_spm.as_deref(),
        target_vocab_json: files.target_vocab_json.as_deref(),
        vocab_json: files.vocab_json.as_deref(),
        merges_txt: files.merges_txt.as_deref(),
        vocab_txt: files.vocab_txt.as_deref(),
        added_tokens: files.added_tokens.as_deref(),
        rwkv_vocabulary: files.rwkv_vocabulary.as_deref(),
        tokenizer_config: files.tokenizer_config.as_deref(),
        generation_config: files.generation_config.as_deref(),
        special_tokens_map: files.special_tokens_map.as_deref(),
        config: files.config.as_deref(),
    }
}

pub(crate) fn open_tokenizer(
    manifest: &Manifest,
    files: &TokenizerFiles,
) -> Result<Option<Tokenizer>, LoadError> {
    let found = match manifest.container {
        Container::Gguf => Tokenizer::from_gguf(&manifest.metadata),
        Container::HuggingFace => Tokenizer::from_hf(hf_files(files)),
    };
    Ok(found?)
}

/// What an operation multiplies by or looks rows up in.
enum Parameter {
    Matrix(Matrix),
    Vector(Vector),
}

fn parameter_of(op: &Op) -> Option<Parameter> {
    match op {
        Op::Embed(embed) => Some(Parameter::Matrix(embed.table)),
        Op::DenseMatMul(product) => Some(Parameter::Matrix(product.weight)),
        Op::HeadMatMul(product) => Some(Parameter::Matrix(product.weights)),
        Op::ExpertMatMul(product) => Some(Parameter::Matrix(product.experts)),
        Op::Norm(norm) => Some(Parameter::Vector(norm.weight)),
        Op::Conv(conv) => Some(Parameter::Vector(conv.weight)),
        Op::SelectiveScan(scan) => Some(Parameter::Vector(scan.a)),
        _ => None,
    }
}
