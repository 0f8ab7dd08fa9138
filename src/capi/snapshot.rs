//! Sequences as bytes, in memory and in files.

use super::arguments::{borrow, free, hand_over, put, put_if, slice, string};
use super::error::{CallError, Failure, Status};
use super::session::{SessionHandle, with_session};
use crate::session::Session;
use std::ffi::c_char;
use std::io::{self, Write};
use std::path::Path;

/// Bytes that the library made.
pub struct Bytes(Vec<u8>);

/// Grows as far as there is memory.
struct Growing<'a>(&'a mut Vec<u8>);

impl Write for Growing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.try_reserve(bytes.len()).is_err() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a sequence to memory, with `count` tokens that the caller wants back with it. Any
/// session of the same model can bring it back, on any machine; of a model that differs in a single
/// byte of its weights none does. The first snapshot of a model, or the first that is brought back,
/// reads all weights for that, which takes seconds for some GiB. After an error `*bytes` is null.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_snapshot(
    session: *const SessionHandle,
    sequence: u32,
    tokens: *const u32,
    count: usize,
    bytes: *mut *mut Bytes,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        with_session(session, error, |inner| {
            hand_over(bytes, "bytes", || {
                let tokens = slice(tokens, count, "tokens")?;
                let mut written = Vec::new();
                let mut out = Growing(&mut written);
                inner.session.snapshot(sequence, tokens, &mut out)?;
                Ok(Bytes(written))
            })
        })
    }
}

/// As rillm_session_snapshot, to a file; one that is there is replaced once the new one is whole.
/// Links are followed and stay, and devices and pipes are written to: nothing but a regular file is
/// ever replaced. The file notes lengths and times of the model's files: as long as none of them
/// changes, rillm_session_restore_file does not read all weights.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_snapshot_file(
    session: *const SessionHandle,
    sequence: u32,
    tokens: *const u32,
    count: usize,
    path: *const c_char,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        with_session(session, error, |inner| {
            let tokens = slice(tokens, count, "tokens")?;
            let path = Path::new(string(path, "path")?);
            let written = inner.session.snapshot_file(sequence, tokens, path);
            written.map_err(|error| Failure::from(error).at(path))
        })
    }
}

/// Makes a sequence what a snapshot holds. `*tokens` and `*count` learn which tokens were noted
/// in it, until the session next restores or is freed; both may be null. A snapshot of another
/// model, or of one with other weights, is refused with RILLM_STATUS_MISMATCH. Once the bytes were
/// seen to be of this model, the sequence is empty after an error.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_restore(
    session: *const SessionHandle,
    sequence: u32,
    data: *const u8,
    len: usize,
    tokens: *mut *const u32,
    count: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        restore(session, tokens, count, error, |session| {
            Ok(session.restore(sequence, &mut slice(data, len, "data")?)?)
        })
    }
}

/// As rillm_session_restore, from a file.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_restore_file(
    session: *const SessionHandle,
    sequence: u32,
    path: *const c_char,
    tokens: *mut *const u32,
    count: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        restore(session, tokens, count, error, |session| {
            let path = Path::new(string(path, "path")?);
            let restored = session.restore_file(sequence, path);
            restored.map_err(|error| Failure::from(error).at(path))
        })
    }
}

/// # Safety
/// The contract of this module.
unsafe fn restore(
    session: *const SessionHandle,
    tokens: *mut *const u32,
    count: *mut usize,
    error: *mut CallError,
    from: impl FnOnce(&mut Session) -> Result<Vec<u32>, Failure>,
) -> Status {
    // SAFETY: the caller's.
    unsafe {
        with_session(session, error, |inner| {
            put_if(tokens, std::ptr::null(), "tokens")?;
            put_if(count, 0, "count")?;
            inner.restored = Vec::new();
            inner.restored = from(&mut inner.session)?;
            put_if(tokens, inner.restored.as_ptr(), "tokens")?;
            put_if(count, inner.restored.len(), "count")
        })
    }
}

/// Where bytes lie and how many they are, until they are freed.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_bytes_data(
    bytes: *const Bytes,
    data: *mut *const u8,
    len: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        super::error::enter(error, || {
            let bytes = borrow(bytes, "bytes")?;
            put(data, bytes.0.as_ptr(), "data")?;
            put(len, bytes.0.len(), "len")
        })
    }
}

/// Frees bytes; null is allowed.
/// Threads: any, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_bytes_free(bytes: *mut Bytes) {
    // SAFETY: the contract of this module.
    unsafe { free(bytes, |_| false) }
}
