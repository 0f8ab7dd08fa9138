//! Language models on plain CPUs.
