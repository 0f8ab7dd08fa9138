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
pub mod error;
pub mod eval;
mod exec;
pub mod generate;
pub mod graph;
pub mod kernels;
pub mod knobs;
pub mod model;
pub mod models;
pub mod plan;
pub mod platform;
pub mod pool;
pub mod quant;
pub mod quantize;
pub mod sample;
pub mod session;
pub mod state;
pub mod weights;

pub use rillm_formats as formats;

pub use error::{LoadError, RunError};
pub use exec::{Event, Output, Row, Sink};
pub use model::{Model, ModelOptions};
pub use session::{Session, SessionOptions};
