//! Lists as long as a file says, within what its bytes have room for: a sparse file has many bytes
//! and costs nothing, so that memory may still be refused, which is an error like others.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Display;

use crate::error::{ErrorKind, FormatError};

/// An empty list with room for `count` elements.
pub(crate) fn list<T>(count: usize, what: &dyn Display) -> Result<Vec<T>, FormatError> {
    let mut list = Vec::new();
    let reserved = list.try_reserve_exact(count);
    reserved.map(|()| list).map_err(|_| {
        let len = count.saturating_mul(size_of::<T>());
        let what = format!("{what} would take {len} bytes of memory, which the system refuses");
        FormatError::new(ErrorKind::Limit, None, what)
    })
}

/// What `values` gives.
pub(crate) fn collected<T>(
    values: impl ExactSizeIterator<Item = T>,
    what: &dyn Display,
) -> Result<Vec<T>, FormatError> {
    let mut list = list(values.len(), what)?;
    list.extend(values);
    Ok(list)
}
