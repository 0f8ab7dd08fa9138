//! One zeroed allocation, touched lazily by the operating system.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Alignment of the first byte: a cache line.
const ALIGN: usize = 64;

/// What the allocator is asked for. Only up to this alignment does the system allocator get
/// zeroed pages without writing them, so the rest is aligned by hand.
const ASKED: usize = 16;

/// Zeroed bytes, aligned to a cache line, of fixed length.
///
/// Reserving is cheap: pages that nobody writes never become resident.
#[derive(Debug)]
pub struct Arena {
    allocation: NonNull<u8>,
    start: NonNull<u8>,
    layout: Layout,
    len: usize,
}

// SAFETY: the arena owns its bytes and hands out only raw pointers; who dereferences them
// answers for their exclusiveness.
unsafe impl Send for Arena {}
// SAFETY: as above: a shared arena yields addresses and facts, never references.
unsafe impl Sync for Arena {}

/// The operating system refused an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub bytes: usize,
}

impl Arena {
    /// Reserves `len` zeroed bytes.
    pub fn new(len: usize) -> Result<Arena, OutOfMemory> {
        let error = OutOfMemory { bytes: len };
        let padded = len.checked_add(ALIGN).ok_or(error)?;
        let layout = Layout::from_size_align(padded, ASKED).map_err(|_| error)?;
        // SAFETY: the layout's size is at least ALIGN, so not zero.
        let allocation = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(error)?;
        let skip = allocation.as_ptr().align_offset(ALIGN);
        // SAFETY: skip < ALIGN, and the allocation is ALIGN bytes longer than `len`.
        let start = unsafe { allocation.add(skip) };
        Ok(Arena {
            allocation,
            start,
            layout,
            len,
        })
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Address of the first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) }
    }
}
