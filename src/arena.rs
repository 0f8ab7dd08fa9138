//! One zeroed allocation, touched lazily by the operating system.

use crate::reserve::OutOfMemory;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Alignment of the first byte: a cache line.
const ALIGN: usize = 64;

/// What the allocator is asked for. Only up to this alignment does the system allocator get
/// zeroed pages without writing them, so the rest is aligned by hand.
const ASKED: usize = 16;

/// Bytes from which on the operating system is asked for large pages: what is rounded up to one
/// is little beside that. Without them each line of a long KV cache is in a page that the
/// processor has to look up.
#[cfg(target_os = "linux")]
const LARGE: usize = 8 << 20;

/// Zeroed bytes, aligned to a cache line, of fixed length.
///
/// Reserving is cheap: pages that nobody writes never become resident.
#[derive(Debug)]
pub struct Arena {
    memory: Memory,
    start: NonNull<u8>,
    len: usize,
}

/// Who is to get the bytes back.
#[derive(Debug)]
enum Memory {
    Allocator(NonNull<u8>, Layout),
    #[cfg(target_os = "linux")]
    System {
        /// Unmaps itself.
        _map: memmap2::MmapMut,
    },
}

// SAFETY: the arena owns its bytes and hands out only raw pointers; who dereferences them
// answers for their exclusiveness.
unsafe impl Send for Arena {}
// SAFETY: as above: a shared arena yields addresses and facts, never references.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves `len` zeroed bytes.
    pub fn new(len: usize) -> Result<Arena, OutOfMemory> {
        let error = OutOfMemory { bytes: len };
        #[cfg(target_os = "linux")]
        if len >= LARGE {
            return Arena::mapped(len).map_err(|_| error);
        }
        let padded = len.checked_add(ALIGN).ok_or(error)?;
        let layout = Layout::from_size_align(padded, ASKED).map_err(|_| error)?;
        // SAFETY: the layout's size is at least ALIGN, so not zero.
        let allocation = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(error)?;
        let skip = allocation.as_ptr().align_offset(ALIGN);
        // SAFETY: skip < ALIGN, and the allocation is ALIGN bytes longer than `len`.
        let start = unsafe { allocation.add(skip) };
        Ok(Arena {
            memory: Memory::Allocator(allocation, layout),
            start,
            len,
        })
    }

    /// The same in large pages, where the operating system has some.
    #[cfg(target_os = "linux")]
    fn mapped(len: usize) -> std::io::Result<Arena> {
        let mut map = memmap2::MmapMut::map_anon(len)?;
        // A system without them does as well without.
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = NonNull::from(&mut map[..]).cast();
        Ok(Arena {
            memory: Memory::System { _map: map },
            start,
            len,
        })
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of the first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        match self.memory {
            // SAFETY: allocated in `new` with this very layout.
            Memory::Allocator(allocation, layout) => unsafe {
                dealloc(allocation.as_ptr(), layout);
            },
            #[cfg(target_os = "linux")]
            Memory::System { .. } => {}
        }
    }
}
