//! What can be done to a session's sequences.

use super::error::{CallError, Status};
use super::session::{SessionHandle, with_session};
use crate::error::RunError;
use crate::session::Session;

/// Forgets a sequence.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_reset(
    session: *const SessionHandle,
    sequence: u32,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe { change(session, error, |session| session.reset(sequence)) }
}

/// Makes sequence `to` a copy of `from`, sharing its KV cache until one of them grows.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_fork(
    session: *const SessionHandle,
    from: u32,
    to: u32,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe { change(session, error, |session| session.fork(from, to)) }
}

/// Shortens a sequence to `length` positions. A recurrent model goes back only to a checkpoint
/// or to 0.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_rewind(
    session: *const SessionHandle,
    sequence: u32,
    length: usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe { change(session, error, |session| session.rewind(sequence, length)) }
}

/// Saves a recurrent model's state, so that the sequence can be rewound to its present length;
/// others need none.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_checkpoint(
    session: *const SessionHandle,
    sequence: u32,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe { change(session, error, |session| session.checkpoint(sequence)) }
}

/// Frees a sequence's checkpoints.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_forget_checkpoints(
    session: *const SessionHandle,
    sequence: u32,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        change(session, error, |session| {
            session.forget_checkpoints(sequence)
        })
    }
}

/// # Safety
/// The contract of this module.
unsafe fn change(
    session: *const SessionHandle,
    error: *mut CallError,
    to: impl FnOnce(&mut Session) -> Result<(), RunError>,
) -> Status {
    // SAFETY: the caller's.
    unsafe { with_session(session, error, |inner| Ok(to(&mut inner.session)?)) }
}
