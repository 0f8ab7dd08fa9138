//! row_order
