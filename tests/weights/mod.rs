//! Opening: the same model from every container and at every address; rows in the order that a
//! graph wants them.

mod addresses;
mod digest;
pub(crate) mod folder;
pub(crate) mod gguf;
mod lying;
mod row_order;
mod spellings;
