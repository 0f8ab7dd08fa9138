//! Steps that are held by themselves; all of them are held by the models' goldens.

mod experts;
mod linear_attention;
mod output;
mod random_blocks;
