//! One module for each room of the library, and `house` for the rules that hold them apart. One
//! program, since each would compile and link what it tests anew; what counts allocations or measures
//! memory needs a process of its own and stands beside.

mod blueprint;
#[cfg(feature = "chat")]
mod chat;
mod checksum;
mod convert;
mod engine;
mod exec;
mod fuzz;
mod generate;
mod graph;
mod house;
mod kernels;
mod models;
mod plan;
mod platform;
mod pool;
mod quantize;
mod residency;
mod sample;
mod state;
mod support;
mod synthetic;
mod tasks;
mod weights;
