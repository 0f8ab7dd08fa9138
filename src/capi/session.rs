//! Sessions: rows in, outputs out.

use super::arguments::{
    Versioned, borrow, broken, enter_handle, free, hand_over, in_use, init, put, put_if, read,
    slice, string,
};
use super::error::{CallError, Failure, Status, enter};
use super::model::ModelHandle;
use super::outputs::Outputs;
use crate::exec::{Output, Row};
use crate::graph::Role;
use crate::session::{Session, SessionOptions};
use crate::state::KvType;
use std::ffi::c_char;
use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How much a session can hold. Null options are what rillm_session_options_init writes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// sizeof(rillm_session_options).
    pub size: usize,
    /// Positions per sequence.
    pub context: usize,
    /// Sequences: numbers below this name one.
    pub sequences: usize,
    /// Rows that are computed at a time; longer feeds are cut.
    pub batch: usize,
    /// Rows of one encoder input.
    pub source: usize,
    /// Checkpoints of recurrent state.
    pub checkpoints: usize,
    /// The type of the KV cache: "f32", "f16" or "q8_0"; null for "f32".
    pub kv_type: *const c_char,
    /// Bytes that the model's weights, state and activations may take together; 0: weights are mapped.
    /// The first session that says so decides what of the weights stays in memory and what is read
    /// when it is needed; results are the same bits. If that cannot be, the error says
    /// RILLM_STATUS_OUT_OF_MEMORY and names the least number of bytes that works. A file that is cut
    /// short or written to later is RILLM_STATUS_IO.
    pub memory: u64,
}

// SAFETY: `repr(C)`, the size first, integers and a pointer.
unsafe impl Versioned for SessionSettings {
    const NAME: &'static str = "rillm_session_options";
    const FIRST: usize = offset_of!(SessionSettings, memory);
}

/// One token on its way in.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct InputRow {
    /// Position; padding is left out, and may leave gaps here.
    pub position: u64,
    /// Token.
    pub token: u32,
    /// Sequence that it extends.
    pub sequence: u32,
    /// Token type (BERT's segment); 0 for models without.
    pub token_type: u32,
    /// Not 0 if its outputs are asked for.
    pub emit: u32,
}

/// One output. Everything it points to lives until the session is next fed, encodes, generates
/// or is freed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct OutputRow {
    /// "logits", "last_hidden_state" ... as transformers names them.
    pub name: *const c_char,
    /// The values.
    pub values: *const f32,
    /// How many.
    pub count: usize,
    /// Index of its row in the feed; of an output per sequence: of the sequence's first row.
    pub row: usize,
    /// 1 if it belongs to a sequence and not to a row.
    pub of_sequence: u32,
}

/// A model's working memory: sequences, numbered from 0, and the outputs of the last feed.
pub struct SessionHandle {
    pub(super) inner: Mutex<Working>,
    abort: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
}

pub(super) struct Working {
    pub session: Session,
    outputs: Outputs,
    rows: Vec<Row>,
    pub restored: Vec<u32>,
    /// Set by a defect of the library.
    broken: bool,
}

impl Working {
    /// Before what computes without leaving outputs.
    pub fn clear_outputs(&mut self) {
        self.outputs.clear();
    }

    /// Feeds or encodes what lies in `rows`.
    fn run(&mut self, role: Role) -> Result<(), Failure> {
        let Working {
            session,
            outputs,
            rows,
            ..
        } = self;
        outputs.reserve(session.model(), role, rows)?;
        let sink = &mut |output: Output<'_>| outputs.push(output);
        let result = match role {
            Role::Encode => session.encode(rows, sink),
            Role::Decode | Role::Table | Role::Compress | Role::Reproject => {
                session.feed(rows, sink)
            }
        };
        if result.is_err() {
            outputs.clear();
        }
        Ok(result?)
    }
}

/// What is not null as [`SessionOptions`].
///
/// # Safety
/// As [`read`]; a name of a KV cache's type that is not null ends with a NUL.
pub(super) unsafe fn session_options(
    options: *const SessionSettings,
) -> Result<SessionOptions, Failure> {
    // SAFETY: the caller's.
    let given = unsafe { read(options, settings())? };
    let kv_type = match given.kv_type.is_null() {
        true => KvType::default(),
        false => {
            // SAFETY: the caller's.
            let name = unsafe { string(given.kv_type, "kv_type")? };
            let found = KvType::ALL.iter().find(|one| one.name() == name);
            *found.ok_or_else(|| {
                let what = format!("kv_type is {name:?}, expected f32, f16 or q8_0");
                Failure::new(Status::InvalidArgument, what)
            })?
        }
    };
    Ok(SessionOptions {
        kv_type,
        memory: Some(given.memory).filter(|&bytes| bytes > 0),
        context: given.context,
        sequences: given.sequences,
        batch: given.batch,
        source: given.source,
        checkpoints: given.checkpoints,
        ..SessionOptions::new()
    })
}

fn settings() -> SessionSettings {
    let SessionOptions {
        context,
        sequences,
        batch,
        source,
        checkpoints,
        ..
    } = SessionOptions::default();
    SessionSettings {
        size: size_of::<SessionSettings>(),
        context,
        sequences,
        batch,
        source,
        checkpoints,
        kv_type: std::ptr::null(),
        memory: 0,
    }
}

/// Runs a call in a session that nobody else is using.
///
/// # Safety
/// The contract of this module.
pub(super) unsafe fn with_session(
    session: *const SessionHandle,
    error: *mut CallError,
    call: impl FnOnce(&mut Working) -> Result<(), Failure>,
) -> Status {
    // SAFETY: the caller's.
    unsafe {
        enter(error, || {
            let mut inner = enter_handle(&borrow(session, "session")?.inner, "session")?;
            if inner.broken {
                return Err(broken("session"));
            }
            let result = call(&mut inner);
            if let Err(failure) = &result {
                // A worker that panicked was caught where it ran.
                inner.broken = failure.status == Status::Panicked;
            }
            result
        })
    }
}

/// Writes the defaults into options of the size given.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_options_init(
    options: *mut SessionSettings,
    size: usize,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe { enter(std::ptr::null_mut(), || init(options, size, &settings())) }
}

/// Reserves a session's memory. Null options are the defaults; after an error `*session` is
/// null. The model may be freed before its sessions.
/// Threads: any. Sessions of one model compute in turn.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_new(
    model: *const ModelHandle,
    options: *const SessionSettings,
    session: *mut *mut SessionHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            hand_over(session, "session", || {
                let model = &borrow(model, "model")?.model;
                let session = Session::new(model, session_options(options)?)?;
                Ok(SessionHandle {
                    abort: session.abort_flag(),
                    progress: session.progress(),
                    inner: Mutex::new(Working {
                        outputs: Outputs::new(model),
                        session,
                        rows: Vec::new(),
                        restored: Vec::new(),
                        broken: false,
                    }),
                })
            })
        })
    }
}

/// Frees a session; null is allowed, and one that a call is using stays.
/// Threads: any, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_free(session: *mut SessionHandle) {
    // SAFETY: the contract of this module.
    unsafe { free(session, |session| in_use(&session.inner)) }
}

/// Ends the call that feeds, encodes or generates, soon, with RILLM_STATUS_CANCELLED. If none is
/// running, the next one ends so.
/// Threads: any, also while another thread is in a call, and from callbacks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_cancel(
    session: *const SessionHandle,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let session = borrow(session, "session")?;
            session.abort.store(true, Ordering::Relaxed);
            Ok(())
        })
    }
}

/// Rows taken since the session was made, for whoever shows progress.
/// Threads: any, also while another thread is in a call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_progress(
    session: *const SessionHandle,
    rows: *mut u64,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        enter(error, || {
            let session = borrow(session, "session")?;
            put(rows, session.progress.load(Ordering::Relaxed), "rows")
        })
    }
}

/// Positions that a sequence holds.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_length(
    session: *const SessionHandle,
    sequence: u32,
    length: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        with_session(session, error, |inner| {
            put(length, inner.session.len(sequence)?, "length")
        })
    }
}

/// Extends a sequence by tokens and keeps the last one's outputs (rillm_session_logits).
/// `positions` are theirs, one for each; null goes on counting from the sequence's length.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_feed(
    session: *const SessionHandle,
    sequence: u32,
    tokens: *const u32,
    positions: *const u64,
    count: usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        with_session(session, error, |inner| {
            let tokens = slice(tokens, count, "tokens")?;
            let positions = match positions.is_null() {
                true => None,
                false => Some(slice(positions, count, "positions")?),
            };
            let held = inner.session.len(sequence)? as u64;
            inner.rows.clear();
            inner.rows.try_reserve(count)?;
            let row = |(index, &token): (usize, &u32)| Row {
                token,
                position: positions.map_or(held.saturating_add(index as u64), |all| all[index]),
                sequence,
                emit: index + 1 == count,
                ..Row::default()
            };
            inner.rows.extend(tokens.iter().enumerate().map(row));
            inner.run(Role::Decode)
        })
    }
}

/// Extends sequences by rows and keeps the outputs of those that ask for them: as many floats
/// each as the model has tokens, so ask for no more than are wanted.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_feed_rows(
    session: *const SessionHandle,
    rows: *const InputRow,
    count: usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe { rows_in(session, rows, count, Role::Decode, error) }
}

/// Encodes whole inputs: all rows of a sequence stand together. For an encoder-decoder model this
/// begins the sequences anew.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_encode_rows(
    session: *const SessionHandle,
    rows: *const InputRow,
    count: usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe { rows_in(session, rows, count, Role::Encode, error) }
}

/// # Safety
/// The contract of this module.
unsafe fn rows_in(
    session: *const SessionHandle,
    rows: *const InputRow,
    count: usize,
    role: Role,
    error: *mut CallError,
) -> Status {
    // SAFETY: the caller's.
    unsafe {
        with_session(session, error, |inner| {
            let rows = slice(rows, count, "rows")?;
            inner.rows.clear();
            inner.rows.try_reserve(count)?;
            let row = |row: &InputRow| Row {
                token: row.token,
                position: row.position,
                sequence: row.sequence,
                emit: row.emit != 0,
                token_type: row.token_type,
                ..Row::default()
            };
            inner.rows.extend(rows.iter().map(row));
            inner.run(role)
        })
    }
}

/// How many outputs the last feed or encoding left.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_output_count(
    session: *const SessionHandle,
    count: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        with_session(session, error, |inner| {
            put(count, inner.outputs.len(), "count")
        })
    }
}

/// Output `index` of the last feed or encoding.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_output(
    session: *const SessionHandle,
    index: usize,
    output: *mut OutputRow,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        with_session(session, error, |inner| {
            let outputs = &inner.outputs;
            let found = outputs.get(index).ok_or_else(|| {
                let held = outputs.len();
                let what = format!("there is no output {index}, the last call left {held}");
                Failure::new(Status::Input, what)
            })?;
            put(output, found, "output")
        })
    }
}

/// The last row's logits of the last feed, one float for each token. They live until the session
/// is next fed, encodes, generates or is freed.
/// Threads: one at a time, others get RILLM_STATUS_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_session_logits(
    session: *const SessionHandle,
    logits: *mut *const f32,
    count: *mut usize,
    error: *mut CallError,
) -> Status {
    // SAFETY: the contract of this module.
    unsafe {
        with_session(session, error, |inner| {
            let found = inner.outputs.last("logits").ok_or_else(|| {
                Failure::new(Status::State, "there are no logits, feed the session first")
            })?;
            put(logits, found.values, "logits")?;
            put_if(count, found.count, "count")
        })
    }
}
