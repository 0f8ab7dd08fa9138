//! Loading: the same model from every container, type and address; hostile models refused in
//! one line; plans that their checker can prove.

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod containers;
mod heads;
mod hostile;
mod inconsistent;
mod plans;
mod quantized;
mod refused;
mod regressions;
mod row_order;
mod seeds;
mod snapshots;
