//! Where a file's bytes come from.

use super::{FileStamp, regular};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that a thread copies at a time.
const PIECE: usize = 8 << 20;

/// The bytes of one file.
pub enum Source {
    /// Mapped: pages are read when touched, and shared between processes.
    Map(memmap2::Mmap, SourceFile),
    /// Copied from a mapped file. With what that was like when it was opened.
    Copy(memmap2::Mmap, Option<FileStamp>),
    /// Part of the program.
    Static(&'static [u8]),
    /// In memory already.
    Owned(Vec<u8>),
}

/// The file behind a map.
#[derive(Debug)]
pub struct SourceFile {
    /// Open for reading: it stays this one, whatever its path comes to name.
    pub file: File,
    /// Its path, for messages.
    pub path: PathBuf,
    /// What it was like when it was opened, if that tells whether it is still the same.
    stamp: Option<FileStamp>,
}

impl Source {
    /// Maps a file.
    ///
    /// # Errors
    /// It cannot be read, or is no regular file.
    pub fn map(path: &Path) -> io::Result<Source> {
        let file = regular::open(path)?;
        let facts = file.metadata()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.ok().and_then(|now| u64::try_from(now.as_nanos()).ok());
        let stamp = now.and_then(|now| FileStamp::of(&facts, now));
        if facts.len() == 0 {
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
        let path = path.to_path_buf();
        Ok(Source::Map(map, SourceFile { file, path, stamp }))
    }

    /// A mapped file's bytes in memory of this process's own, which comes in large pages where the
    /// system has them, as a cached file rarely does; `None` for what is not mapped. `done` counts
    /// bytes.
    ///
    /// # Errors
    /// There is not so much memory.
    pub fn copied(&self, threads: usize, done: &AtomicU64) -> io::Result<Option<Source>> {
        let Source::Map(map, file) = self else {
            return Ok(None);
        };
        let mut copy = memmap2::MmapMut::map_anon(map.len())?;
        // A wish, as above.
        #[cfg(target_os = "linux")]
        let _ = copy.advise(memmap2::Advice::HugePage);
        let pieces = Mutex::new(copy.chunks_mut(PIECE).zip(map.chunks(PIECE)));
        let next = || pieces.lock().ok()?.next();
        std::thread::scope(|scope| {
            let work = || {
                while let Some((to, from)) = next() {
                    to.copy_from_slice(from);
                    done.fetch_add(from.len() as u64, Ordering::Relaxed);
                }
            };
            for _ in 1..threads {
                // Without another thread this one does it all.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        Ok(Some(Source::Copy(copy.make_read_only()?, file.stamp)))
    }

    /// The file that is mapped.
    pub fn file(&self) -> Option<&SourceFile> {
        match self {
            Source::Map(_, file) => Some(file),
            Source::Copy(..) | Source::Static(_) | Source::Owned(_) => None,
        }
    }

    /// Lets the system take back what it has read of a mapped file, which counts as this process's
    /// memory until then.
    pub fn release(&self) {
        #[cfg(unix)]
        if let Source::Map(map, _) = self {
            // SAFETY: the map is of a file and read-only: what is touched again is read again.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }

    /// What the file was like when it was opened, if that tells whether it is still the same.
    pub fn stamp(&self) -> Option<FileStamp> {
        match self {
            Source::Map(_, file) => file.stamp,
            Source::Copy(_, stamp) => *stamp,
            Source::Static(_) | Source::Owned(_) => None,
        }
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Source::Map(map, _) | Source::Copy(map, _) => map,
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
