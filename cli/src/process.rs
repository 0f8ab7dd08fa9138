//! What the system gives the program: the stack of its first thread, and signals that end it.

use std::process::ExitCode;

/// Stack that commands are written for. What a model computes takes up to half a megabyte of it.
const STACK: usize = 8 << 20;

/// Less than this is no stack to run on.
#[cfg(unix)]
const LEAST: u64 = 1 << 20;

/// The code of a command that panicked, as Rust has it.
const PANICKED: u8 = 101;

/// Runs the program: on a thread of its own where the first one has little stack.
pub fn run(program: fn() -> ExitCode) -> ExitCode {
    keep_file_errors();
    if !has_little_stack() {
        return program();
    }
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(program);
    match thread {
        Ok(running) => running.join().unwrap_or(ExitCode::from(PANICKED)),
        // It may do.
        Err(_) => program(),
    }
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

#[cfg(not(unix))]
fn has_little_stack() -> bool {
    false
}
