//! What the system gives the program: the stack of its first thread, and signals that end it.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::process::ExitCode;

/// Stack that commands are written for. What a model computes takes up to half a megabyte of it.
const STACK: usize = 8 << 20;

/// Stack that is taken before anything else where memory has a limit: a stack that cannot grow any more
/// ends the program by a signal.
const CLAIMED: usize = 768 << 10;

/// Less than this is no stack to run on.
#[cfg(unix)]
const LEAST: u64 = 1 << 20;

/// The code of a command that panicked, as Rust has it.
const PANICKED: u8 = 101;

/// Runs the program: on a thread of its own where the first one has little stack.
pub fn run(program: fn() -> ExitCode) -> ExitCode {
    keep_file_errors();
    if !has_little_stack() {
        if has_limited_memory() {
            claim_stack();
        }
        return program();
    }
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(program);
    match thread {
        Ok(running) => running.join().unwrap_or(ExitCode::from(PANICKED)),
        // It may do.
        Err(_) => program(),
    }
}

/// Has the system give so much of the first thread's stack now: whoever enters touches every page.
#[inline(never)]
fn claim_stack() {
    // By reference: a copy would be as long again.
    black_box(&[const { MaybeUninit::<u8>::uninit() }; CLAIMED]);
}

/// Has a write that a limit forbids be an error, and not the program's end.
fn keep_file_errors() {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigSet, Signal};
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGXFSZ);
        // Else a file that is too large ends the program as before.
        let _ = signals.thread_block();
    }
}

#[cfg(unix)]
fn has_little_stack() -> bool {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_STACK).is_ok_and(|(soft, _)| soft < LEAST)
}

/// Whether addresses are limited.
#[cfg(unix)]
fn has_limited_memory() -> bool {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    getrlimit(Resource::RLIMIT_AS).is_ok_and(|(soft, _)| soft != RLIM_INFINITY)
}

#[cfg(not(unix))]
fn has_little_stack() -> bool {
    false
}

#[cfg(not(unix))]
fn has_limited_memory() -> bool {
    false
}
