//! What the fuzzers start from, and what they have found: none of it panics. `cargo test --test rooms fuzz -- --ignored` writes the seeds.

mod model;
mod seeds;
mod small;
mod snapshot;
