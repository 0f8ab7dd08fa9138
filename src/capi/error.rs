//! Statuses, the text that goes with them, and the door that no panic passes.

use crate::error::{LoadError, LoadErrorKind, RunError, RunErrorKind};
use crate::session::SnapshotError;
use crate::state::StateError;
use std::ffi::c_char;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How a call ended. Later versions may add values: what is not RILLM_STATUS_OK is an error.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// A null pointer, a size or flag that is not known, text that is not UTF-8.
    InvalidArgument = 1,
    /// A file could not be read or written.
    Io = 2,
    /// A model's file or a snapshot is damaged or not what it claims to be.
    Format = 3,
    /// Well formed, but nothing this version can run.
    Unsupported = 4,
    /// Tokens, positions or sizes that the model or the session does not take.
    Input = 5,
    /// The sequence cannot be changed so: no such sequence, no checkpoint, nothing encoded.
    State = 6,
    /// The sequence has as many positions as its session was made for.
    ContextFull = 7,
    /// The system refused memory.
    OutOfMemory = 8,
    /// rillm_session_cancel or rillm_writer_cancel ended the call.
    Cancelled = 9,
    /// The buffer is too small; its count says what is needed.
    BufferTooSmall = 10,
    /// Another call is using this handle, perhaps the one whose callback this is.
    Busy = 11,
    /// A snapshot of another model, or of another version of the format.
    Mismatch = 12,
    /// A defect of the library. The handles of the call only take being freed.
    Panicked = 13,
    /// The model's arithmetic gave NaN or an infinity; the text names the first step at fault.
    NotFinite = 14,
}

/// Bytes of an error's text, the NUL included.
pub const ERROR_TEXT_LEN: usize = 1020;

/// What went wrong, in one line. Functions that can fail take a pointer to one, which the caller
/// owns, and fill it, also when all is well; a null pointer asks for the status alone.
///
/// It belongs to the call, neither to a thread nor to a handle: there is none yet when opening
/// fails, and where threads are lent out (as goroutines are) the next call may come from another.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CallError {
    /// The status that the function returned.
    pub status: Status,
    /// UTF-8 with a NUL at the end; empty if all is well. Longer texts are cut.
    pub text: [c_char; ERROR_TEXT_LEN],
}

/// Why a call fails.
#[derive(Debug)]
#[doc(hidden)]
pub struct Failure {
    pub status: Status,
    what: String,
}

impl Failure {
    pub fn new(status: Status, what: impl Display) -> Failure {
        Failure {
            status,
            what: what.to_string(),
        }
    }

    /// The same about this file.
    pub fn at(self, path: &Path) -> Failure {
        Failure::new(self.status, format!("{}: {}", path.display(), self.what))
    }
}

/// Runs a function's body, reports how it ended and lets no panic out.
///
/// # Safety
/// If `error` is not null there is room for a [`CallError`].
#[doc(hidden)]
pub unsafe fn enter(error: *mut CallError, body: impl FnOnce() -> Result<(), Failure>) -> Status {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let what = "internal error: the library panicked";
        Err(Failure::new(Status::Panicked, what))
    });
    let (mut status, what) = match &result {
        Ok(()) => (Status::Ok, ""),
        Err(failure) => (failure.status, failure.what.as_str()),
    };
    if !error.is_null() {
        if error.is_aligned() {
            // SAFETY: not null and aligned; the caller vouches for the room.
            unsafe { report(error, status, what) };
        } else {
            status = Status::InvalidArgument;
        }
    }
    status
}

/// # Safety
/// There is room for a [`CallError`].
unsafe fn report(error: *mut CallError, status: Status, what: &str) {
    let most = what.len().min(ERROR_TEXT_LEN - 1);
    let end = (0..=most).rfind(|&at| what.is_char_boundary(at));
    let end = end.unwrap_or(0);
    // SAFETY: the caller's; the text and its NUL fit.
    unsafe {
        (&raw mut (*error).status).write(status);
        let text = (&raw mut (*error).text).cast::<u8>();
        text.copy_from_nonoverlapping(what.as_ptr(), end);
        text.add(end).write(0);
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        let status = match error.kind() {
            LoadErrorKind::Io => Status::Io,
            LoadErrorKind::Memory => Status::OutOfMemory,
            LoadErrorKind::Architecture
            | LoadErrorKind::Unsupported
            | LoadErrorKind::Isa
            | LoadErrorKind::Tokenizer => Status::Unsupported,
            LoadErrorKind::Format | LoadErrorKind::Hyperparameter | LoadErrorKind::Tensor => {
                Status::Format
            }
        };
        Failure::new(status, error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        let status = match error.kind() {
            RunErrorKind::Input => Status::Input,
            RunErrorKind::State => match error {
                RunError::State(StateError::ContextFull { .. }) => Status::ContextFull,
                _ => Status::State,
            },
            RunErrorKind::Memory => Status::OutOfMemory,
            RunErrorKind::Weights => Status::Io,
            RunErrorKind::Aborted => Status::Cancelled,
            RunErrorKind::NotFinite => Status::NotFinite,
            RunErrorKind::Internal => Status::Panicked,
        };
        Failure::new(status, error)
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Failure {
        let status = match error {
            SnapshotError::Run(error) => return error.into(),
            SnapshotError::Io(ref error) => return Failure::of_io(error),
            SnapshotError::Damaged(_) => Status::Format,
            SnapshotError::Other(_) => Status::Mismatch,
        };
        Failure::new(status, error)
    }
}

impl Failure {
    fn of_io(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::new(Status::Format, "snapshot ends early"),
            io::ErrorKind::OutOfMemory => Failure::out_of_memory(),
            _ => Failure::new(Status::Io, error),
        }
    }

    pub fn out_of_memory() -> Failure {
        Failure::new(Status::OutOfMemory, "the system refused memory")
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::of_io(&error)
    }
}

impl From<std::collections::TryReserveError> for Failure {
    fn from(_: std::collections::TryReserveError) -> Failure {
        Failure::out_of_memory()
    }
}
