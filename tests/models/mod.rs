//! The architectures: each computes what its authors' code computes, and a file that lies is
//! refused in one line.
//!
//! `RILLM_ISA` forces one instruction set on the whole suite.

mod converters;
mod encoders;
mod fixtures;
mod heads;
mod hostile;
mod latent_attention;
mod mixtures;
mod prefixes;
mod reference;
mod second_reading;
mod transformers5;
