//! Models: opening them, what they are, what a session of theirs would take.

use super::arguments::{Versioned, borrow, free, hand_over, init, put, read, slice, string, write};
use super::error::{CallError, Failure, Status, enter};
use super::session::{SessionSettings, session_options};
use crate::blueprint::{Blueprint, Fitting};
use crate::graph::{Index, Op, Role};
use crate::model::{Isa, Model, ModelOptions, Precision};
use crate::session::{MemoryPlan, Session};
use std::borrow::Cow;
use std::ffi::{CString, c_char};
use std::fmt::Display;
use std::mem::offset_of;
use std::path::Path;
use std::str::FromStr;

/// A model: immutable, and shared by the sessions, decoders and samplers made from it, which
/// keep what they need of it: it may be freed before them.
pub struct ModelHandle {
    pub(super) model: Model,
    architecture: CString,
    title: CString,
}

/// How a model is opened. Zeros and nulls are the defaults.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ModelSettings {
    /// sizeof(rillm_model_options).
    pub size: usize,
    /// Workers; 0 for one per physical core, as far as sharing the work pays.
    pub threads: usize,
    /// Instruction set: "scalar", "avx2" ...; null for the best that this CPU has.
    pub isa: *const c_char,
    /// How F16 and BF16 weights are multiplied: "reference", or "native" for the CPU's own 16-bit
    /// arithmetic, which is faster where it has some; null for "reference".
    pub precision: *const c_char,
}

// SAFETY: `repr(C)`, the size first, integers and pointers.
unsafe impl Versioned for ModelSettings {
    const NAME: &'static str = "rillm_model_options";
    const FIRST: usize = offset_of!(ModelSettings, precision);
}

/// The library keeps a copy of the bytes.
pub const MEMORY_COPY: u32 = 0;

/// The library reads the caller's bytes where they lie: they must stay, unchanged, until the
/// model and everything made from it is freed.
pub const MEMORY_BORROW: u32 = 1;

/// What a model is. 0 stands where it does not say.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ModelFacts {
    /// sizeof(rillm_model_facts).
    pub size: usize,
    /// Tokens are below this; so many logits has a row.
    pub vocabulary: u64,
    /// Positions it was trained for.
    pub context: u64,
    /// Positions are below this, however long the session; 0 for any.
    pub positions: u64,
    /// Width of its embeddings.
    pub embedding: u64,
    /// Numbers in its tensors.
    pub parameters: u64,
    /// Bytes of its tensors, in the file.
    pub weights: u64,
    /// Workers.
    pub threads: u64,
    /// 1 if it predicts tokens: rillm_session_feed, rillm_generate.
    pub decodes: u32,
    /// 1 if it encodes whole texts: rillm_session_encode_rows.
    pub encodes: u32,
}

// SAFETY: `repr(C)`, the size first, integers.
unsafe impl Versioned for ModelFacts {
    const NAME: &'static str = "rillm_model_facts";
    const FIRST: usize = size_of::<ModelFacts>();
}

/// Bytes that a session takes, by the arithmetic that reserves them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MemoryFigures {
    /// sizeof(rillm_memory).
    pub size: usize,
    /// Weights, mapped from the file: shared by all sessions and processes.
    pub weights: u64,
    /// Activations.
    pub arena: u64,
    /// State, reserved whole and touched as sequences grow.
    pub state: u64,
    /// State that one sequence holds whatever its length.
    pub state_fixed: u64,
    /// State for each 1,024 positions of a sequence.
    pub state_per_1k: u64,
    /// Tensors of which no file says what they are like, where they were planned without weights: with
    /// any, what stands above is an estimate.
    pub presumed: u64,
    /// Vectors of weights, which are kept as floats beside the file.
    pub vectors: u64,
}

// SAFETY: `repr(C)`, the size first, integers.
unsafe impl Versioned for MemoryFigures {
    const NAME: &'static str = "rillm_memory";
    const FIRST: usize = offset_of!(MemoryFigures, presumed);
}

impl ModelHandle {
    fn new(model: Model) -> Result<ModelHandle, Failure> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| Failure::new(Status::Format, "a name holds a NUL"))
        };
        Ok(ModelHandle {
            architecture: text(&model.manifest().architecture)?,
            title: text(model.title())?,
            model,
        })
    }

    fn facts(&self) -> ModelFacts {
        let model = &self.model;
        let limits = model.limits();
        let known = |limit: u64| if limit == u64::MAX { 0 } else { limit };
        let roles = [Role::Decode, Role::Encode];
        let graphs = roles.iter().filter_map(|&role| model.graph(role));
        let embedding = graphs
            .flat_map(|graph| &graph.nodes)
            .find_map(|node| match &node.op {
                Op::Embed(embed) if embed.index == Index::Token => Some(embed.table.columns as u64),
                _ => None,
            });
        let tensors = model.manifest().tensors.values();
        ModelFacts {
            size: size_of::<ModelFacts>(),
            vocabulary: known(limits.vocabulary),
            context: model.context().unwrap_or(0) as u64,
            positions: known(limits.positions),
            embedding: embedding.unwrap_or(0),
            parameters: tensors
                .map(|info| info.shape.0.iter().product::<u64>())
                .sum(),
            weights: weights(model),
            threads: model.threads() as u64,
            decodes: u32::from(model.decodes()),
            encodes: u32::from(model.encodes()),
        }
    }
}

fn weights(model: &Model) -> u64 {
    let tensors = model.manifest().tensors.values();
    tensors
        .map(|info| model.weights().bytes(info).len() as u64)
        .sum()
}

/// # Safety
/// As [`read`]; names that are not null end with a NUL.
unsafe fn model_options(options: *const ModelSettings) -> Result<ModelOptions, Failure> {
    let defaults = ModelSettings {
        size: size_of::<ModelSettings>(),
        threads: 0,
        isa: std::ptr::null(),
        precision: std::ptr::null(),
    };
    // SAFETY: the caller's.
    unsafe {
        let given = read(options, defaults)?;
        let isa: Option<Isa> = named(given.isa, "isa")?;
        let precision: Option<Precision> = named(given.precision, "precision")?;
        let threads = Some(given.threads).filter(|&threads| threads > 0);
        Ok(ModelOptions::default()
            .isa(isa)
            .threads(threads)
            .precision(precision.unwrap_or_default()))
    }
}

/// What a name stands for; `None` for null.
///
/// # Safety
/// A name that is not null ends with a NUL.
unsafe fn named<T>(name: *const c_char, what: &str) -> Result<Option<T>, Failure>
where
    T: FromStr<Err: Display>,
{
    if name.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's.
    let name = unsafe { string(name, what)? };
    let found = name.parse();
    let found = found.map_err(|error| Failure::new(Status::InvalidArgument, error))?;
    Ok(Some(found))
}

/// Writes the defaults into options of the size given.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_model_options_init(
    options: *mut ModelSettings,
    size: usize,
) -> Status {
    let defaults = ModelSettings {
        size,
        threads: 0,
        isa: std::ptr::null(),
        precision: std::ptr::null(),
    };
    // SAFETY: the contract of this module.
    unsafe { enter(std::ptr::null_mut(), || init(options, size, &defaults)) }
}

/// Opens a GGUF file (of a split one: the first) or a Hugging Face folder. The file is mapped and
/// must stay as it is while in use. Null options are the defaults; after an error `*model` is
/// null.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_model_open(
    path: *const c_char,
    options: *const ModelSettings,
    model: *mut *mut ModelHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            hand_over(model, "model", || {
                let path = Path::new(string(path, "path")?);
                ModelHandle::new(Model::open(path, model_options(options)?)?)
            })
        })
    }
}

/// Opens a GGUF file whose bytes are at hand. `memory` is RILLM_MEMORY_COPY or
/// RILLM_MEMORY_BORROW and says whose they are afterwards. Any alignment will do.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_model_open_memory(
    data: *const u8,
    len: usize,
    memory: u32,
    options: *const ModelSettings,
    model: *mut *mut ModelHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module; borrowed bytes outlive the model, which is what
    // `MEMORY_BORROW` asks of the caller.
    unsafe {
        enter(error, || {
            hand_over(model, "model", || {
                let bytes: &'static [u8] = slice(data, len, "data")?;
                let bytes = match memory {
                    MEMORY_BORROW => Cow::Borrowed(bytes),
                    MEMORY_COPY => {
                        let mut copy = Vec::new();
                        copy.try_reserve_exact(len)?;
                        copy.extend_from_slice(bytes);
                        Cow::Owned(copy)
                    }
                    _ => {
                        let what = format!("memory is {memory}, expected 0 (copy) or 1 (borrow)");
                        return Err(Failure::new(Status::InvalidArgument, what));
                    }
                };
                ModelHandle::new(Model::from_bytes(bytes, model_options(options)?)?)
            })
        })
    }
}

/// Frees a model; null is allowed. What was made from it lives on.
/// Threads: any, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_model_free(model: *mut ModelHandle) {
    // SAFETY: the contract of this module.
    unsafe { free(model, |_| false) }
}

/// What a model is.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_model_describe(
    model: *const ModelHandle,
    facts: *mut ModelFacts,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe { enter(error, || write(facts, &borrow(model, "model")?.facts())) }
}

/// Architecture as the files name it, such as "llama". It lives as long as the handle.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_model_architecture(
    model: *const ModelHandle,
    name: *mut *const c_char,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let model = borrow(model, "model")?;
            put(name, model.architecture.as_ptr(), "name")
        })
    }
}

/// Architecture as people name it, such as "Qwen 3". It lives as long as the handle.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_model_title(
    model: *const ModelHandle,
    title: *mut *const c_char,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let model = borrow(model, "model")?;
            put(title, model.title.as_ptr(), "title")
        })
    }
}

/// The bytes that a session with these options would take, without reserving them. Null options
/// are the defaults.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_memory_plan(
    model: *const ModelHandle,
    options: *const SessionSettings,
    memory: *mut MemoryFigures,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let model = &borrow(model, "model")?.model;
            let plan = Session::memory_plan(model, session_options(options)?)?;
            let vectors = model.weights().vectors_len() as u64;
            write(memory, &figures((weights(model), vectors), &plan, 0))
        })
    }
}

/// The same of a model whose weights need not be there: `path` is that of a GGUF file, of which the
/// header is enough (of a split one, its first part's), of a Hugging Face folder, of which
/// config.json is, or of that. Weights are what graphs use of them; of those in FP8 or MXFP4, which are
/// converted before they run, what they become.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_plan(
    path: *const c_char,
    options: *const ModelSettings,
    session: *const SessionSettings,
    memory: *mut MemoryFigures,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let path = string(path, "path")?;
            let planned = Blueprint::open(path, model_options(options)?)?;
            let plan = planned.memory_plan(session_options(session)?)?;
            let presumed = planned.presumed();
            let presumed = (presumed.tensors + presumed.shapes) as u64;
            let weights = planned.weights();
            let weights = (weights.mapped, weights.vectors);
            write(memory, &figures(weights, &plan, presumed))
        })
    }
}

/// The longest context that fits into `bytes` of memory together with all else that a session with these
/// options takes, the context they name left out of account: `*positions` of each sequence, at most those
/// that the model was trained for; of a model that only reads, of a text. 0: none fits. UINT64_MAX: any
/// does, as what is kept does not grow. What `path` may be stands at rillm_plan.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_plan_longest(
    path: *const c_char,
    options: *const ModelSettings,
    session: *const SessionSettings,
    bytes: u64,
    positions: *mut u64,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let path = string(path, "path")?;
            let planned = Blueprint::open(path, model_options(options)?)?;
            let longest = planned.longest_context(session_options(session)?, bytes)?;
            let found = match longest {
                Fitting::Positions(fit) | Fitting::Trained(fit) => fit as u64,
                Fitting::AnyLength => u64::MAX,
                Fitting::Nothing => 0,
            };
            put(positions, found, "positions")
        })
    }
}

fn figures((weights, vectors): (u64, u64), plan: &MemoryPlan, presumed: u64) -> MemoryFigures {
    MemoryFigures {
        size: size_of::<MemoryFigures>(),
        weights,
        arena: plan.arena as u64,
        state: plan.state as u64,
        state_fixed: plan.state_fixed as u64,
        state_per_1k: plan.state_per_1k as u64,
        presumed,
        vectors,
    }
}
