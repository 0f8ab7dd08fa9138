//! The C interface: what `include/rillm.h` declares.
//!
//! That header is made from these files by `tools/capi/header.sh`, comments included, so what
//! they say is said to C programmers. The crate `capi/` makes libraries of it.
//!
//! Nothing here computes: every function checks what C gave it, calls the library and turns what
//! comes back into a status. No panic leaves a function ([`enter`](error::enter)), and what a
//! panic may have left half done refuses further use. A handle is only ever borrowed shared, with
//! a lock inside that is tried and never waited for: two threads in one session, or a callback
//! that calls its own session, are told so instead of racing.
//!
//! # Safety
//!
//! Every function trusts its caller in what no program can check: a pointer that is not null
//! points to as much memory as its type or the count beside it says; a handle comes from this
//! library and was not freed; and nothing is freed while a call is using it.

// The contract above is every function's; repeating it fifty times would hide what differs.
#![allow(clippy::missing_safety_doc)]

mod arguments;
mod error;
mod generate;
mod model;
mod outputs;
mod sequences;
mod session;
mod snapshot;
mod text;
mod writer;

pub use error::*;
pub use generate::*;
pub use model::*;
pub use sequences::*;
pub use session::*;
pub use snapshot::*;
pub use text::*;
pub use writer::*;

use std::ffi::c_char;

/// Version of this interface. Functions and fields at the ends of structs may be added under the
/// same number, nothing else changes under it.
pub const ABI: u32 = 1;

/// Stands where there is no token.
pub const NO_TOKEN: u32 = u32::MAX;

/// RILLM_ABI of the library; a program compares it with that of its header.
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn rillm_abi() -> u32 {
    ABI
}

/// Version of the library, such as "0.1.0".
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn rillm_version() -> *const c_char {
    const { concat!(env!("CARGO_PKG_VERSION"), "\0") }
        .as_ptr()
        .cast()
}
