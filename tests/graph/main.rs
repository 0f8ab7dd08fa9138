//! What the recorder holds a file to: hyperparameters that can be true together, tensors that are
//! there and have the shape that a graph needs.

mod hyperparameters;
#[path = "../support/mod.rs"]
mod support;
mod tensors;
