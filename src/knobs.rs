//! The one place that reads the environment, for the command line and the tests.

use crate::kernels::{Isa, IsaError};
use std::path::PathBuf;

/// Forces an instruction set: `scalar`, `avx2` …
pub const ISA: &str = "RILLM_ISA";

/// A file that `rillm tune` wrote.
pub const TUNING: &str = "RILLM_TUNING";

/// The file that [`TUNING`] names; `None` if it is unset or empty.
pub fn tuning_file() -> Option<PathBuf> {
    std::env::var_os(TUNING)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// The instruction set that [`ISA`] names; `None` if it is unset or empty.
///
/// # Errors
/// A name that is not known.
pub fn isa() -> Result<Option<Isa>, IsaError> {
    match std::env::var(ISA) {
        Ok(name) if !name.is_empty() => name.parse().map(Some),
        _ => Ok(None),
    }
}
