//! A file written anew, as `rillm quantize` writes it.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use rillm::quantize::{Draft, QuantizeError, QuantizeOptions, QuantizePlan, write};

/// Nothing but the name of a mix.
pub fn options(mix: &str) -> QuantizeOptions {
    QuantizeOptions::new(mix.parse().expect("a mix"))
}

/// Plans and writes; asserts that everything planned was written.
pub fn run(
    input: &Draft,
    options: &QuantizeOptions,
    to: &Path,
    threads: usize,
) -> Result<QuantizePlan, QuantizeError> {
    let plan = QuantizePlan::new(input, options)?;
    let done = AtomicU64::new(0);
    let qualities = write(input, &plan, to, threads, &done)?;
    assert_eq!(qualities.len(), plan.tensors.len());
    assert_eq!(done.into_inner(), plan.elements());
    Ok(plan)
}
