//! What the recorder holds a file to: hyperparameters that can be true together, tensors that are
//! there and have the shape that a graph needs.

mod activations;
mod hyperparameters;
mod names;
mod published_keys;
mod rope;
mod segments;
mod sparse;
mod tensors;
mod unknown_keys;
