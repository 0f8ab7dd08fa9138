//! Opening whatever comes: refused in one line or run, without a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rillm::{LoadError, Model};

use super::exercise::exercise;

/// Opens and runs; says how opening went. Panics with `label` if anything panicked.
pub fn survives(label: &str, open: impl FnOnce() -> Result<Model, LoadError>) -> Option<String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| match open() {
        Ok(model) => {
            exercise(&model);
            None
        }
        Err(error) => Some(error.to_string()),
    }));
    let error = outcome.unwrap_or_else(|_| panic!("{label} panicked"));
    if let Some(error) = &error {
        assert!(
            !error.is_empty() && !error.contains('\n'),
            "{label}: {error:?}"
        );
    }
    error
}
