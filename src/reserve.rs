//! Lists whose length a caller or a file says: memory that the system does not have is an error
//! there, not the end of the process.

/// The operating system refused an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub bytes: usize,
}

/// An empty list with room for `count` elements.
pub fn list<T>(count: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut list = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    let reserved = list.try_reserve_exact(count);
    reserved.map(|()| list).map_err(|_| OutOfMemory { bytes })
}

/// `count` times the same.
pub fn filled<T: Clone>(value: T, count: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut list = list(count)?;
    list.resize(count, value);
    Ok(list)
}
