//! Language models on plain CPUs: mapped weights, memory planned before the first token, no
//! allocation per token.
//!
//! A file becomes a [`Model`] once; a [`Session`] is its working memory; rows go in and outputs
//! come out. See `ARCHITECTURE.md` for the house.

mod arena;
#[cfg(feature = "capi")]
pub mod capi;
#[cfg(feature = "chat")]
pub mod chat;
mod checksum;
mod convert;
pub mod error;
mod eval;
mod exec;
pub mod generate;
mod graph;
mod kernels;
mod knobs;
mod model;
mod models;
mod plan;
mod platform;
mod pool;
mod quant;
pub mod quantize;
pub mod sample;
pub mod session;
mod state;
mod synthetic;
mod weights;

pub use rillm_formats as formats;

pub use error::{LoadError, RunError};
pub use exec::{Event, Output, Row, Sink};
pub use model::{Model, ModelOptions};
pub use session::{Session, SessionOptions};

/// What the command line, tests, benches and fuzz targets reach besides: no part of the library's
/// promise, and free to change.
#[doc(hidden)]
pub mod internals {
    macro_rules! open {
        ($($room:ident)*) => {$(
            #[allow(missing_docs)]
            pub mod $room {
                pub use crate::$room::*;
            }
        )*};
    }

    open! { eval graph kernels knobs model models plan platform pool quant state synthetic weights }
}
