//! What the fuzzers of models and of snapshots start from, and what they have found: none of it
//! panics. `cargo test --test rooms fuzz -- --ignored` writes the seeds.

mod model;
mod seeds;
mod snapshot;
