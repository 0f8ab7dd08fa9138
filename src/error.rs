//! What can go wrong, as values: the library never aborts, exits or prints.

pub use crate::kernels::{IsaError, UnknownPrecision};
pub use crate::plan::PlanError;
pub use crate::state::{StateError, UnknownKvType};

use crate::graph::BuildError;
use crate::reserve::OutOfMemory;
use rillm_formats::tokenizer::TokenizerError;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

/// Which part of loading failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// A file could not be read.
    Io,
    /// A file is not what it claims to be.
    Format,
    /// The model is of a kind that is not known.
    Architecture,
    /// A hyperparameter is missing or makes no sense.
    Hyperparameter,
    /// A tensor is missing or has the wrong shape.
    Tensor,
    /// Well formed, but outside what can be computed.
    Unsupported,
    /// The tokenizer's files are damaged.
    Tokenizer,
    /// The instruction set asked for is not available.
    Isa,
    /// The system refused memory.
    Memory,
}

/// Why a model could not be opened: one line, naming the file where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    kind: LoadErrorKind,
    path: Option<PathBuf>,
    what: String,
}

impl LoadError {
    /// An error not (yet) tied to a file.
    pub fn new(kind: LoadErrorKind, what: impl Into<String>) -> LoadError {
        LoadError {
            kind,
            path: None,
            what: what.into(),
        }
    }

    /// The same error about this file, unless it names one already.
    pub fn at(mut self, path: &Path) -> LoadError {
        self.path.get_or_insert_with(|| path.to_path_buf());
        self
    }

    /// What failed.
    pub fn kind(&self) -> LoadErrorKind {
        self.kind
    }
}

impl From<TokenizerError> for LoadError {
    fn from(error: TokenizerError) -> LoadError {
        LoadError::new(LoadErrorKind::Tokenizer, error.to_string())
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        OneLine(&self.what).fmt(f)
    }
}

/// What is said, in one line whatever a file's names contain.
pub(crate) struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character.is_control() {
                true => write!(f, "{}", character.escape_default())?,
                false => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

impl From<OutOfMemory> for LoadError {
    fn from(error: OutOfMemory) -> LoadError {
        let what = format!("cannot reserve {} bytes", error.bytes);
        LoadError::new(LoadErrorKind::Memory, what)
    }
}

impl From<BuildError> for LoadError {
    fn from(error: BuildError) -> LoadError {
        let kind = match error {
            BuildError::Missing { .. }
            | BuildError::Invalid { .. }
            | BuildError::Unknown { .. } => LoadErrorKind::Hyperparameter,
            _ => LoadErrorKind::Tensor,
        };
        LoadError::new(kind, error.to_string())
    }
}

/// Which part of running failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunErrorKind {
    /// Rows that the model cannot take.
    Input,
    /// A sequence that cannot be changed so.
    State,
    /// Not enough memory, or too large to plan.
    Memory,
    /// The caller aborted the run.
    Aborted,
    /// Weights could not be read.
    Weights,
    /// The model's arithmetic gave what is no number.
    NotFinite,
    /// A defect of this library.
    Internal,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// Rows that the model cannot take.
    Input(String),
    /// A sequence that cannot be changed so.
    State(StateError),
    /// The plan could not be made.
    Plan(PlanError),
    /// The operating system refused memory.
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// Weights, state and activations do not fit into the memory that they may take together.
    OverBudget {
        /// Bytes that they may take.
        budget: u64,
        /// The least number of bytes that works.
        least: u64,
    },
    /// Weights could not be read while the model ran: the file, the tensor and why.
    Weights(String),
    /// The caller aborted the run.
    Aborted,
    /// An output is NaN or infinite: which, and the first step or tensor at fault.
    NotFinite {
        /// transformers' name of the output.
        output: &'static str,
        /// Where it began.
        fault: String,
    },
    /// A worker panicked.
    Panicked,
}

impl RunError {
    /// What failed.
    pub fn kind(&self) -> RunErrorKind {
        match self {
            RunError::Input(_) => RunErrorKind::Input,
            RunError::State(_) => RunErrorKind::State,
            RunError::Plan(PlanError::TooLarge { .. })
            | RunError::OutOfMemory { .. }
            | RunError::OverBudget { .. } => RunErrorKind::Memory,
            RunError::Weights(_) => RunErrorKind::Weights,
            RunError::Aborted => RunErrorKind::Aborted,
            RunError::NotFinite { .. } => RunErrorKind::NotFinite,
            RunError::Plan(_) | RunError::Panicked => RunErrorKind::Internal,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Input(what) | RunError::Weights(what) => OneLine(what).fmt(f),
            RunError::State(error) => error.fmt(f),
            RunError::Plan(error) => error.fmt(f),
            RunError::OutOfMemory { bytes } => {
                write!(
                    f,
                    "cannot reserve {bytes} bytes, use a smaller context or batch"
                )
            }
            RunError::OverBudget { budget, least } => write!(
                f,
                "weights, state and activations do not fit into {budget} bytes, the least that works \
                 is {least}: raise the budget, or use a smaller context or batch"
            ),
            RunError::Aborted => f.write_str("aborted"),
            RunError::NotFinite { output, fault } => {
                write!(f, "{output} are not finite numbers: {}", OneLine(fault))
            }
            RunError::Panicked => f.write_str("internal error: a worker panicked"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<StateError> for RunError {
    fn from(error: StateError) -> RunError {
        RunError::State(error)
    }
}

impl From<PlanError> for RunError {
    fn from(error: PlanError) -> RunError {
        RunError::Plan(error)
    }
}

impl From<OutOfMemory> for RunError {
    fn from(error: OutOfMemory) -> RunError {
        RunError::OutOfMemory { bytes: error.bytes }
    }
}
