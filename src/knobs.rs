//! The one place that reads the environment, for the command line and the tests.

use crate::kernels::{Isa, IsaError};

/// Forces an instruction set: `scalar`, `avx2` …
pub const ISA: &str = "RILLM_ISA";

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
