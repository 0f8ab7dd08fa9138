//! A model: immutable, shared, cheap to clone.

mod cost;
mod digest;
mod fingerprint;
mod hold;
mod presumed;
mod vocabulary;
mod wiring;

pub use crate::kernels::{Isa, Precision};
pub use cost::{Cost, ExpertCounts, Parameters};
pub use digest::digest_of;
pub use hold::SessionBytes;
pub use presumed::Presumed;
pub(crate) use presumed::completed;
pub(crate) use vocabulary::{hf_files, open_tokenizer};
pub(crate) use wiring::{behead, find_architecture, limits, used, wired};

use crate::error::{LoadError, LoadErrorKind};
use crate::graph::state::Lifetime;
use crate::graph::{
    Activation, Counting, Forced, GlobalRows, Graph, Matrix, Op, ReadAt, Role, SecondReading,
    Segments, StateKind, Vector, Wiring,
};
use crate::kernels::{Kernels, Layout, Tuning, fastest};
use crate::models::Architecture;
use crate::pool::Pool;
use crate::residency::Residency;
use crate::setters::setters;
use crate::weights::{Files, ModuleFiles, Source, TokenizerFiles, Weights, open, open_source};
use rillm_formats::manifest::Manifest;
use rillm_formats::tokenizer::Tokenizer;
use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use vocabulary::no_tokenizer;
use wiring::{left_out, unread_head};

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
    /// How kernels ask for the weights that come next, which changes no result; `None` for what is
    /// known of this CPU, or is fastest in a few milliseconds where nothing is.
    pub tuning: Option<Tuning>,
    /// How F16 and BF16 weights are multiplied: `Native` is faster where the CPU has instructions for
    /// it, and further from the reference; see [`Model::precision`].
    pub precision: Precision,
    /// Without the head that its class has: what the encoder itself gives, as `AutoModel` does.
    pub headless: bool,
}

setters! {
    ModelOptions {
        isa: impl Into<Option<Isa>>,
        threads: impl Into<Option<usize>>,
        tuning: impl Into<Option<Tuning>>,
        precision: Precision,
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
    /// Bytes that its sessions keep within where their options do not say.
    memory: Option<u64>,
    /// Who is told what is held, once it is.
    on_placement: Option<hold::PlacementListener>,
}

#[derive(Debug)]
struct Inner {
    architecture: &'static Architecture,
    manifest: Manifest,
    wiring: Wiring,
    weights: Weights,
    /// Which weights are in memory, once that is bounded.
    residency: OnceLock<Residency>,
    holding: Mutex<()>,
    kernels: &'static Kernels,
    tuning: Tuning,
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
    /// Positions of an encoder's rows are below it.
    pub source_positions: u64,
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
    pub(crate) fn from_files(files: Files, options: ModelOptions) -> Result<Model, LoadError> {
        let kernels = Kernels::select(options.isa)
            .map_err(|error| LoadError::new(LoadErrorKind::Isa, error.to_string()))?;
        let Files {
            mut manifest,
            sources,
            tokenizer,
            modules,
            mut notes,
            ..
        } = files;
        if options.headless {
            behead(&mut manifest);
        }
        let (architecture, views, wiring) = wired(&manifest)?;
        notes.extend(left_out(&manifest, architecture, &wiring));
        if !options.headless {
            notes.extend(unread_head(&manifest, architecture, &views, &wiring));
        }
        let mut weights = Weights::resolve(&wiring, &views, sources, (kernels, options.precision))?;
        let tuning = options.tuning.or_else(|| Tuning::known(kernels.isa));
        let timed = || fastest(&weights.time_tunings(kernels, Duration::ZERO)?);
        let tuning = tuning.or_else(timed);
        let tuning = tuning.unwrap_or_else(|| Tuning::of(kernels.isa));
        weights.tune(tuning);
        let notes = notes.into_iter().chain(wiring.notes.iter().cloned());
        let notes = notes.collect();
        let limits = limits(&wiring);
        let threads = options
            .threads
            .unwrap_or_else(crate::platform::default_threads);
        let pool = Pool::new(threads, Duration::from_micros(tuning.spin as u64));
        let inner = Inner {
            architecture,
            manifest,
            wiring,
            weights,
            residency: OnceLock::new(),
            holding: Mutex::new(()),
            kernels,
            tuning,
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
            memory: None,
            on_placement: None,
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

    /// How its kernels ask for the weights that come next.
    pub fn tuning(&self) -> Tuning {
        self.inner.tuning
    }

    /// How its F16 and BF16 weights are multiplied: `Native` if that was asked for and makes a
    /// difference, because this CPU has instructions for it and some matrix is of such a type.
    pub fn precision(&self) -> Precision {
        let mut matrices = self.weights().matrices().iter();
        match matrices.any(|weight| weight.kernel.activation == Activation::BF16) {
            true => Precision::Native,
            false => Precision::Reference,
        }
    }

    /// Its workers.
    pub fn threads(&self) -> usize {
        self.inner.pool.threads()
    }

    /// The architecture.
    pub(crate) fn architecture(&self) -> &'static Architecture {
        self.inner.architecture
    }

    /// What the files say: metadata, and the tensors' types, shapes and places.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The tokenizer's files of a Hugging Face folder.
    pub(crate) fn tokenizer_files(&self) -> &TokenizerFiles {
        &self.inner.tokenizer_files
    }

    /// What sentence-transformers keeps beside it in a Hugging Face folder.
    pub(crate) fn module_files(&self) -> &ModuleFiles {
        &self.inner.module_files
    }

    /// Its graphs and states.
    pub(crate) fn wiring(&self) -> &Wiring {
        &self.inner.wiring
    }

    /// The graph for a role, if the model has one.
    pub(crate) fn graph(&self, role: Role) -> Option<&Graph> {
        self.inner.wiring.graph(role)
    }

    /// The tensor that an operation multiplies by or looks rows up in, if there is one.
    pub(crate) fn tensor_of(&self, op: &Op) -> Option<&str> {
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
    pub(crate) fn states(&self) -> &[StateKind] {
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
    pub(crate) fn decoder_start(&self) -> Option<u32> {
        self.inner.wiring.decoder_start
    }

    /// What its decoder reads where it is given no text, if it reads one at all then.
    pub(crate) fn second_reading(&self) -> Option<SecondReading> {
        self.inner.wiring.second_reading
    }

    /// Where its only output for a text is, if there is not one for each token.
    pub(crate) fn read_at(&self) -> Option<ReadAt> {
        self.inner.wiring.read_at
    }

    /// Tokens that the texts of an encoder–decoder model have whatever it predicts.
    pub(crate) fn forced(&self) -> Forced {
        self.inner.wiring.forced
    }

    /// What transformers counts positions over.
    pub(crate) fn counting(&self) -> Counting {
        self.inner.wiring.counting
    }

    /// How its sequences fall into segments, if they do.
    pub(crate) fn segments(&self) -> Option<Segments> {
        self.inner.wiring.segments
    }

    /// Which rows are global where nobody says, if rows may be global.
    pub(crate) fn global_rows(&self) -> Option<GlobalRows> {
        self.inner.wiring.global_rows
    }

    /// The token that ends a question, if the model tells the tokens of one by it.
    pub(crate) fn question_separator(&self) -> Option<u32> {
        self.inner.wiring.question_separator
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
    pub(crate) fn weights(&self) -> &Weights {
        &self.inner.weights
    }

    /// The kernels in use.
    pub(crate) fn kernels(&self) -> &'static Kernels {
        self.inner.kernels
    }

    /// Whether the number of workers was asked for, rather than chosen.
    pub(crate) fn threads_asked(&self) -> bool {
        self.inner.threads_asked
    }

    /// The workers.
    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }
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
