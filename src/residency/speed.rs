//! How fast a disk gives what a bounded memory does not hold: read as the reader reads.

use super::reader::{CHUNK, DEPTH, DirectFile};
use super::units::PAGE;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes per second at which a file comes from its disk, past the system's cache where the file system
/// lets us: of the best pass over it that begins within `time`, as weights are read again and again.
///
/// # Errors
/// The file cannot be read, or is shorter than one read of the reader's.
pub fn disk_rate(file: &File, time: Duration) -> io::Result<f64> {
    let direct = DirectFile::of(file)?;
    let chunks = file.metadata()?.len() / CHUNK as u64;
    if chunks == 0 {
        return Err(io::Error::other("is too short to measure a disk with"));
    }
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while best.is_infinite() || begin.elapsed() < time {
        let pass = Instant::now();
        read_whole(&direct, chunks)?;
        best = best.min(pass.elapsed().as_secs_f64().max(1e-9));
    }
    Ok((chunks * CHUNK as u64) as f64 / best)
}

/// Reads so many chunks, some at a time.
fn read_whole(direct: &DirectFile, chunks: u64) -> io::Result<()> {
    let next = AtomicU64::new(0);
    let reader = || {
        let mut memory = vec![0; CHUNK + PAGE];
        // Direct reads want whole pages of memory.
        let skip = memory.as_ptr().align_offset(PAGE).min(PAGE);
        let buffer = &mut memory[skip..skip + CHUNK];
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            if chunk >= chunks {
                return Ok(());
            }
            direct.read(buffer, chunk * CHUNK as u64, CHUNK)?;
        }
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (1..DEPTH)
            .map_while(|_| std::thread::Builder::new().spawn_scoped(scope, reader).ok())
            .collect();
        // There may be no more threads: this one reads in any case.
        let own = reader();
        let ends = readers.into_iter().map(|reader| {
            let ended = reader.join();
            ended.unwrap_or_else(|_| Err(io::Error::other("its reader failed")))
        });
        own.and(ends.collect())
    })
}
