//! Plans: sound at every capacity, and their checker tells a sound one from every damage.

mod operations;
mod plans;
