//! Where a file's bytes come from.

use std::fs::File;
use std::path::Path;

/// The bytes of one file.
pub enum Source {
    /// Mapped: pages are read when touched, and shared between processes.
    Map(memmap2::Mmap),
    /// Part of the program.
    Static(&'static [u8]),
    /// In memory already.
    Owned(Vec<u8>),
}

impl Source {
    /// Maps a file.
    pub fn map(path: &Path) -> std::io::Result<Source> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            // An empty range cannot be mapped; the parsers say what is wrong with it.
            return Ok(Source::Static(&[]));
        }
        // SAFETY: the map is private and read-only. Should somebody truncate the file while it
        // is mapped, the system ends the process at the next touch, as for every mapping;
        // changed bytes only change results, since every value is valid for every type.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        // Where the system caches files in large pages, a file that is read from its disk now
        // comes in such: a core that streams through weights otherwise waits for translations
        // of addresses. A wish, which systems without them refuse.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Source::Map(map))
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Source::Map(map) => map,
            Source::Static(bytes) => bytes,
            Source::Owned(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({} bytes)", self.bytes().len())
    }
}
