//! Whether a file is still what it was, without reading it.

use std::fs::Metadata;
use std::time::Duration;

/// A file that was changed less long ago than this has no stamp: it may be changed once more, and
/// its times stay as they are, as systems count time in steps.
const SETTLED: Duration = Duration::from_secs(10);

/// Device, inode, length, when the contents were changed last, and when anything of the file was,
/// in nanoseconds. Programs can set the former time, and none the latter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp(pub [u64; 5]);

impl FileStamp {
    /// Bytes of a stamp.
    pub const LEN: usize = 40;

    /// Of a file with these facts at the time `now`, in nanoseconds since 1970; `None` if it was
    /// changed but now, or where the system tells too little.
    #[cfg(unix)]
    pub fn of(facts: &Metadata, now: u64) -> Option<FileStamp> {
        use std::os::unix::fs::MetadataExt;
        let nanos = |seconds: i64, nanos: i64| {
            let whole = u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?;
            whole.checked_add(u64::try_from(nanos).ok()?)
        };
        let modified = nanos(facts.mtime(), facts.mtime_nsec())?;
        let changed = nanos(facts.ctime(), facts.ctime_nsec())?;
        let settled = u128::from(now.checked_sub(changed)?) >= SETTLED.as_nanos();
        let stamp = [facts.dev(), facts.ino(), facts.len(), modified, changed];
        settled.then_some(FileStamp(stamp))
    }

    /// Of a file with these facts; `None`, as the system tells too little.
    #[cfg(not(unix))]
    pub fn of(_: &Metadata, _: u64) -> Option<FileStamp> {
        let _ = SETTLED;
        None
    }

    /// As bytes.
    pub fn bytes(self) -> [u8; FileStamp::LEN] {
        let mut bytes = [0; FileStamp::LEN];
        for (bytes, number) in bytes.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}
