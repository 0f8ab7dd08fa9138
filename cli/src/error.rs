//! Why a command failed: one line, and an exit code.

use rillm::error::IsaError;
use rillm::formats::tokenizer::TokenizerError;
use rillm::{LoadError, RunError};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug)]
pub enum CliError {
    Load(LoadError),
    Run(RunError),
    Isa(IsaError),
    /// A file of the user's, and what is wrong with it.
    File(PathBuf, String),
    Usage(String),
    /// What was to hold and does not.
    Check(String),
    Output(io::Error),
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Load(error) => error.fmt(f),
            CliError::Run(error) => error.fmt(f),
            CliError::Isa(error) => write!(f, "{}: {error}", rillm::internals::knobs::ISA),
            CliError::File(path, what) => write!(f, "{}: {what}", path.display()),
            CliError::Usage(what) | CliError::Check(what) => f.write_str(what),
            CliError::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl From<TokenizerError> for CliError {
    fn from(error: TokenizerError) -> CliError {
        CliError::Load(error.into())
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> CliError {
        CliError::Load(error)
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> CliError {
        CliError::Run(error)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        CliError::Output(error)
    }
}
