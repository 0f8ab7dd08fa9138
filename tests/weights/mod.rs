//! Opening: the same model from every container and at every address; rows in the order that a
//! graph wants them.

mod addresses;
mod digest;
mod folder;
mod gguf;
mod lying;
mod row_order;
mod spellings;
