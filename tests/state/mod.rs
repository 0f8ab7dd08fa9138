//! What a session keeps: every operation on its sequences leaves the bits that a replay leaves.
//!
//! `RILLM_ISA` forces one instruction set on the whole suite.

mod endless;
mod kv_cache;
mod reuse;
mod segments;
mod sequences;
mod sharing;
mod snapshot;
mod written;
