//! Ctrl-C while something is being written.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a program that Ctrl-C ended, as shells have it.
const CODE: i32 = 130;

/// Whether a text is being written, and whether Ctrl-C is to end it.
#[derive(Clone, Default)]
pub struct Interrupt {
    writing: Arc<AtomicBool>,
    pressed: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on Ctrl-C is noted while something is being written; at any other time, or a
    /// second time, it ends the program.
    pub fn watch(&self) {
        let Interrupt { writing, pressed } = self.clone();
        // Without a handler, Ctrl-C ends the program: no harm.
        let _ = ctrlc::set_handler(move || {
            if writing.load(Ordering::SeqCst) && !pressed.swap(true, Ordering::SeqCst) {
                return;
            }
            let _ = writeln!(io::stderr());
            std::process::exit(CODE);
        });
    }

    /// Writing begins.
    pub fn begin(&self) {
        self.writing.store(true, Ordering::SeqCst);
    }

    /// It has ended, and a Ctrl-C with it.
    pub fn end(&self) {
        self.writing.store(false, Ordering::SeqCst);
        self.pressed.store(false, Ordering::SeqCst);
    }

    /// Whether it is to end.
    pub fn pressed(&self) -> bool {
        self.pressed.load(Ordering::SeqCst)
    }

    /// Ends the program as Ctrl-C does, if that was pressed.
    pub fn obey(&self) {
        if self.pressed() {
            std::process::exit(CODE);
        }
    }
}
