//! The engine computes the same bits under every cut of the input and number of threads, stays
//! near floats where weights are quantized, and writes what it should.
//!
//! `RILLM_ISA` forces one instruction set on the whole suite.

mod abort;
mod configured;
mod cuts;
mod demo;
mod generation;
mod native;
mod not_finite;
mod quantized;
mod sparse;
mod threads;
