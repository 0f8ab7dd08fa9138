//! Calls in a session.

use std::ffi::CStr;
use std::mem::{MaybeUninit, size_of};
use std::ptr::{null, null_mut};

use rillm::capi::*;

use super::{Listener, TOKENS, World, listen};

impl World<'_> {
    pub(super) unsafe fn feed(&mut self, session: *mut SessionHandle) {
        let (id, tokens) = (self.id(), self.ids());
        let positions: Vec<u64> = tokens.iter().map(|_| self.number() as u64).collect();
        let data = self.list(&tokens);
        let positions = match self.byte() % 4 {
            0 => positions.as_ptr(),
            _ => null(),
        };
        let count = tokens.len();
        // SAFETY: see `call`.
        unsafe {
            self.judge(|_, error| rillm_session_feed(session, id, data, positions, count, error));
        }
    }

    pub(super) unsafe fn rows(
        &mut self,
        session: *mut SessionHandle,
        call: unsafe extern "C" fn(
            *const SessionHandle,
            *const InputRow,
            usize,
            *mut CallError,
        ) -> Status,
    ) {
        let count = self.small();
        let row = |at: usize, world: &mut Self| InputRow {
            position: match world.byte() {
                byte @ 0..240 => u64::from(byte % 16),
                240..248 => at as u64,
                _ => world.number() as u64,
            },
            token: world.id(),
            sequence: world.id() % 3,
            token_type: u32::from(world.byte() > 250),
            emit: u32::from(world.byte() % 2),
        };
        let rows: Vec<InputRow> = (0..count).map(|at| row(at, self)).collect();
        let data = self.list(&rows);
        // SAFETY: see `call`.
        unsafe {
            self.judge(|_, error| call(session, data, count, error));
        }
    }

    pub(super) unsafe fn outputs(&mut self, session: *mut SessionHandle) {
        let mut count = MaybeUninit::<usize>::uninit();
        let mut logits = MaybeUninit::<*const f32>::uninit();
        let mut output = MaybeUninit::<OutputRow>::uninit();
        let (count_at, logits_at) = (self.place(&mut count), self.place(&mut logits));
        let (output_at, far) = (self.place(&mut output), self.number());
        let id = self.id();
        // SAFETY: see `call`; what a call has filled is there to be read.
        unsafe {
            self.judge(|_, error| rillm_session_length(session, id, count_at, error));
            let mut rows = 0;
            self.judge(|_, error| rillm_session_progress(session, &mut rows, error));
            if self.judge(|_, error| rillm_session_logits(session, logits_at, count_at, error))
                && !count_at.is_null()
            {
                let logits = std::slice::from_raw_parts(logits.assume_init(), count.assume_init());
                assert!(logits.iter().all(|logit| !logit.is_nan()));
            }
            if self.judge(|_, error| rillm_session_output_count(session, count_at, error)) {
                for index in (0..count.assume_init().min(100)).chain([far]) {
                    let there = self
                        .judge(|_, error| rillm_session_output(session, index, output_at, error));
                    if there {
                        let output = output.assume_init();
                        let values = std::slice::from_raw_parts(output.values, output.count);
                        assert!(values.iter().all(|value| !value.is_nan()));
                        CStr::from_ptr(output.name).to_str().expect("a name");
                    }
                }
            }
        }
    }

    pub(super) unsafe fn snapshot(&mut self, which: usize, session: *mut SessionHandle) {
        let (id, tokens) = (self.id(), self.ids());
        let data = self.list(&tokens);
        let mut made = MaybeUninit::new(null_mut());
        let place = self.place(&mut made);
        // SAFETY: see `call`.
        unsafe {
            rillm_bytes_free(std::mem::replace(&mut self.snapshots[which], null_mut()));
            let count = tokens.len();
            self.judge(|_, error| rillm_session_snapshot(session, id, data, count, place, error));
            self.snapshots[which] = made.assume_init();
        }
    }

    pub(super) unsafe fn restore(&mut self, which: usize, session: *mut SessionHandle) {
        let snapshot = self.snapshots[self.index() % 2];
        let mut data = MaybeUninit::<*const u8>::uninit();
        let mut len = MaybeUninit::<usize>::uninit();
        let mut tokens = MaybeUninit::<*const u32>::uninit();
        let (data_at, len_at) = (self.place(&mut data), self.place(&mut len));
        let (tokens_at, id) = (self.place(&mut tokens), self.id());
        let mut count = which;
        // SAFETY: see `call`.
        unsafe {
            let there = self.judge(|_, error| rillm_bytes_data(snapshot, data_at, len_at, error));
            if !there {
                return;
            }
            let bytes = std::slice::from_raw_parts(data.assume_init(), len.assume_init());
            let mut bytes = bytes.to_vec();
            match self.byte() {
                byte @ 200.. if !bytes.is_empty() => {
                    let at = usize::from(byte) * self.index() % bytes.len();
                    bytes[at] ^= 1 << (byte % 8);
                }
                byte @ 190..200 => bytes.truncate(bytes.len() / usize::from(byte - 188)),
                _ => {}
            }
            let (data, len) = (bytes.as_ptr(), bytes.len());
            let restored = self.judge(|_, error| {
                rillm_session_restore(session, id, data, len, tokens_at, &mut count, error)
            });
            if restored && !tokens_at.is_null() && count > 0 {
                let tokens = std::slice::from_raw_parts(tokens.assume_init(), count);
                assert!(tokens.len() < 12);
            }
        }
    }

    pub(super) unsafe fn snapshot_file(&mut self, session: *mut SessionHandle) {
        let (id, tokens, path) = (self.id(), self.ids(), self.path());
        let (data, count) = (self.list(&tokens), tokens.len());
        let path = path.as_ref().map_or(null(), |path| path.as_ptr());
        // SAFETY: see `call`.
        unsafe {
            self.judge(|_, error| {
                rillm_session_snapshot_file(session, id, data, count, path, error)
            });
            self.judge(|_, error| {
                rillm_session_restore_file(session, id, path, null_mut(), null_mut(), error)
            });
        }
    }

    pub(super) unsafe fn generate(&mut self, which: usize, session: *mut SessionHandle) {
        let sampler = self.samplers[self.index() % 2];
        let (prompt, limit) = (self.ids(), self.small());
        let data = self.list(&prompt);
        let what = self.byte();
        let mut listener = Listener {
            session,
            what,
            left: TOKENS,
        };
        let callback: TokenCallback = match what % 8 == 3 && limit > 0 {
            true => None,
            false => Some(listen),
        };
        let mut facts = self.sized(size_of::<GenerationFacts>());
        let facts = match which {
            0 => (&raw mut *facts).cast(),
            _ => null_mut(),
        };
        let user = (&raw mut listener).cast();
        // SAFETY: see `call`.
        unsafe {
            self.judge(|_, error| {
                rillm_generate(
                    session,
                    sampler,
                    data,
                    prompt.len(),
                    limit,
                    callback,
                    user,
                    facts,
                    error,
                )
            });
        }
    }
}
