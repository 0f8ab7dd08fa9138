//! Reads of whole units by threads of their own, past the system's file cache where it lets us.

use super::units::{PAGE, Unit, asks};
use crate::arena::Arena;
use crate::pool::lock;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Bytes of one read: what a disk serves at its full speed if some are under way.
pub const CHUNK: usize = 1 << 20;

/// Reads that are under way at a time.
pub const DEPTH: usize = 8;

/// How long somebody who waits for a read goes without looking whether he still should.
const PATIENCE: Duration = Duration::from_millis(20);

/// Why a weight could not be read.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which file, and where in it.
    pub place: Option<(usize, u64)>,
    /// One line.
    pub what: String,
}

/// Threads that read.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<ReaderShared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct ReaderShared {
    files: Vec<DirectFile>,
    units: Arc<[Unit]>,
    memory: Arc<Arena>,
    queue: Mutex<Queue>,
    /// There is work, or the end.
    more: Condvar,
    /// Bytes that each slot still waits for.
    left: Vec<AtomicUsize>,
    fault: Mutex<Option<Fault>>,
    /// Some slot has all its bytes.
    arrived: Condvar,
    read: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    jobs: VecDeque<Fetch>,
    quit: bool,
}

/// A unit on its way into a slot.
#[derive(Clone, Copy, Debug)]
struct Fetch {
    slot: usize,
    /// Where in memory the slot begins.
    at: usize,
    unit: u32,
    /// Which of its pieces.
    pieces: u64,
    /// How far it has been handed out: a piece, and bytes of that.
    piece: usize,
    done: usize,
}

/// Part of a piece.
#[derive(Clone, Copy, Debug)]
struct FetchChunk {
    slot: usize,
    file: usize,
    offset: u64,
    len: usize,
    /// Bytes that must be there: the last page of a file may be shorter.
    needed: usize,
    at: usize,
}

impl Reader {
    /// Threads for these files, which bring `units` into `slots` places of a memory.
    ///
    /// # Errors
    /// The system refuses the first thread.
    pub fn new(
        files: Vec<DirectFile>,
        units: Arc<[Unit]>,
        memory: Arc<Arena>,
        slots: usize,
    ) -> io::Result<Reader> {
        let shared = Arc::new(ReaderShared {
            files,
            units,
            memory,
            queue: Mutex::new(Queue {
                // A slot has at most two jobs: its unit's, and more of its pieces.
                jobs: VecDeque::with_capacity(2 * slots),
                quit: false,
            }),
            more: Condvar::new(),
            left: (0..slots).map(|_| AtomicUsize::new(0)).collect(),
            fault: Mutex::new(None),
            arrived: Condvar::new(),
            read: AtomicU64::new(0),
        });
        let mut reader = Reader {
            threads: Vec::with_capacity(DEPTH),
            shared,
        };
        for index in 0..DEPTH {
            let shared = Arc::clone(&reader.shared);
            let thread = std::thread::Builder::new()
                .name(format!("rillm-read-{index}"))
                .stack_size(STACK);
            match thread.spawn(move || shared.serve()) {
                Ok(thread) => reader.threads.push(thread),
                Err(error) if index == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(reader)
    }

    /// Begins to read pieces of a unit into a slot that begins at byte `at` of the memory.
    ///
    /// # Safety
    ///
    /// Nobody else touches those bytes until [`Reader::is_there`], and no other slot has them.
    pub unsafe fn fetch(&self, (slot, at): (usize, usize), unit: u32, pieces: u64) {
        let shared = &self.shared;
        let bytes = shared.units[unit as usize].bytes(pieces);
        shared.left[slot].fetch_add(bytes, Ordering::Relaxed);
        let job = Fetch {
            slot,
            at,
            unit,
            pieces,
            piece: 0,
            done: 0,
        };
        lock(&shared.queue).jobs.push_back(job);
        shared.more.notify_all();
    }

    /// Whether a slot has all that was asked for, or an error stands in its place.
    pub fn is_there(&self, slot: usize) -> bool {
        self.shared.left[slot].load(Ordering::Acquire) == 0
    }

    /// Waits until `there`, or until somebody raises `abort`. `false`: what was waited for will not
    /// come.
    pub fn wait(&self, abort: &AtomicBool, mut there: impl FnMut() -> bool) -> bool {
        let mut fault = lock(&self.shared.fault);
        loop {
            if fault.is_some() || abort.load(Ordering::Relaxed) {
                return false;
            }
            if there() {
                return true;
            }
            let waited = self.shared.arrived.wait_timeout(fault, PATIENCE);
            fault = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Says of a run that it must not go on.
    pub fn fail(&self, fault: Fault) {
        lock(&self.shared.fault).get_or_insert(fault);
    }

    /// Why a read failed, if one did; forgotten then.
    pub fn take_fault(&self) -> Option<Fault> {
        lock(&self.shared.fault).take()
    }

    /// Whether a read has failed.
    pub fn has_failed(&self) -> bool {
        lock(&self.shared.fault).is_some()
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.shared.read.load(Ordering::Relaxed)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.shared.queue).quit = true;
        self.shared.more.notify_all();
        for thread in self.threads.drain(..) {
            // It does not panic: what may fail is an error there.
            let _ = thread.join();
        }
    }
}

/// A reading thread calls the system and little else.
const STACK: usize = 256 << 10;

impl ReaderShared {
    fn serve(&self) {
        while let Some(chunk) = self.next() {
            // SAFETY: the slot is this read's alone (`Reader::fetch`), and the chunk lies within it.
            let buffer = unsafe {
                let start = self.memory.as_ptr().add(chunk.at);
                std::slice::from_raw_parts_mut(start, chunk.len)
            };
            let file = &self.files[chunk.file];
            match file.read(buffer, chunk.offset, chunk.needed) {
                Ok(()) => {
                    self.read.fetch_add(chunk.len as u64, Ordering::Relaxed);
                }
                Err(error) => {
                    lock(&self.fault).get_or_insert(Fault {
                        place: Some((chunk.file, chunk.offset)),
                        what: error.to_string(),
                    });
                }
            }
            let before = self.left[chunk.slot].fetch_sub(chunk.len, Ordering::Release);
            if before == chunk.len {
                // Who waits looks under this lock.
                drop(lock(&self.fault));
                self.arrived.notify_all();
            }
        }
    }

    fn next(&self) -> Option<FetchChunk> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.quit {
                return None;
            }
            if let Some(chunk) = queue.chunk(&self.units) {
                return Some(chunk);
            }
            queue = self
                .more
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    fn chunk(&mut self, units: &[Unit]) -> Option<FetchChunk> {
        loop {
            let job = self.jobs.front_mut()?;
            let pieces = &units[job.unit as usize].pieces;
            let asked = asks(job.pieces, job.piece);
            match pieces.get(job.piece) {
                Some(piece) if asked && job.done < piece.len => {
                    let len = CHUNK.min(piece.len - job.done);
                    let chunk = FetchChunk {
                        slot: job.slot,
                        file: piece.file,
                        offset: piece.start + job.done as u64,
                        len,
                        needed: len.min(piece.needed.saturating_sub(job.done)),
                        at: job.at + piece.at + job.done,
                    };
                    job.done += len;
                    return Some(chunk);
                }
                Some(_) => (job.piece, job.done) = (job.piece + 1, 0),
                None => drop(self.jobs.pop_front()),
            }
        }
    }
}

/// A file that is read past the system's cache.
#[derive(Debug)]
pub struct DirectFile {
    /// Opened so that reads go to the disk, if the file system can do that.
    direct: Option<File>,
    /// Whether they still do.
    is_direct: AtomicBool,
    plain: File,
    /// Its length, and when it was written to last.
    was: (u64, Option<SystemTime>),
}

impl DirectFile {
    /// Another handle of a file.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn of(file: &File) -> io::Result<DirectFile> {
        let direct = direct(file);
        Ok(DirectFile {
            is_direct: AtomicBool::new(direct.is_some()),
            direct,
            plain: file.try_clone()?,
            was: facts(file)?,
        })
    }

    /// Reads whole pages, of which `needed` bytes must be there.
    pub fn read(&self, buffer: &mut [u8], offset: u64, needed: usize) -> io::Result<()> {
        let done = self.fill(buffer, offset, needed);
        // Numbers of another file are not this model's, nor are those written while they were read.
        match facts(&self.plain)? == self.was {
            true => done,
            false => Err(io::Error::other("was changed after it was opened")),
        }
    }

    fn fill(&self, buffer: &mut [u8], offset: u64, needed: usize) -> io::Result<()> {
        if let Some(direct) = &self.direct
            && self.is_direct.load(Ordering::Relaxed)
        {
            match fill(direct, buffer, offset, needed) {
                // Some file systems take the wish and refuse the reads.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.is_direct.store(false, Ordering::Relaxed);
                }
                done => return done,
            }
        }
        fill(&self.plain, buffer, offset, needed)?;
        forget(&self.plain, offset, buffer.len());
        Ok(())
    }
}

fn facts(file: &File) -> io::Result<(u64, Option<SystemTime>)> {
    let facts = file.metadata()?;
    Ok((facts.len(), facts.modified().ok()))
}

/// Reads until `needed` bytes are there.
fn fill(file: &File, buffer: &mut [u8], offset: u64, needed: usize) -> io::Result<()> {
    let mut filled = 0;
    while filled < needed {
        match read_at(file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => return Err(io::Error::other("ends before its weights do")),
            // Of a direct read only whole pages count, but at the file's end.
            Ok(count) if filled + count >= needed => return Ok(()),
            Ok(count) => filled += count / PAGE * PAGE + if count < PAGE { count } else { 0 },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// The same file, whatever its path names by now, for reads past the cache.
#[cfg(target_os = "linux")]
fn direct(file: &File) -> Option<File> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    let flag = rustix::fs::OFlags::DIRECT.bits();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut options = File::options();
    options.read(true).custom_flags(i32::try_from(flag).ok()?);
    options.open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn direct(_: &File) -> Option<File> {
    None
}

/// What was read does not stay in the system's cache, where it would stand beside ours.
#[cfg(target_os = "linux")]
fn forget(file: &File, offset: u64, len: usize) {
    let len = std::num::NonZeroU64::new(len as u64);
    // A wish.
    let _ = rustix::fs::fadvise(file, offset, len, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File, _: u64, _: usize) {}
