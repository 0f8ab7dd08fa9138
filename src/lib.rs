//! Language models on plain CPUs.

pub mod kernels;
pub mod quant;
