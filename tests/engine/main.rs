//! The engine computes what the authors' code computes, under every cut of the input, number
//! of threads, instruction set and operation on a session's state.
//!
//! `RILLM_ISA` forces one instruction set on the whole suite.

mod abort;
mod cuts;
mod endless;
mod generation;
mod kv_cache;
mod reference;
mod segments;
mod setup;
mod sharing;
mod snapshot;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod threads;
