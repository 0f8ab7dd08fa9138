//! The C libraries: everything in them is `rillm::capi`, and `include/rillm.h` declares it.

pub use rillm::capi::*;
