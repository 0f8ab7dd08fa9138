//! Ctrl-C while something is being written.

use super::progress;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};

/// The exit code of a program that Ctrl-C ended, as shells have it.
const CODE: i32 = 130;

/// Whether a text is being written, and whether Ctrl-C is to end it.
#[derive(Clone, Default)]
pub struct Interrupt {
    writing: Arc<AtomicBool>,
    pressed: Arc<AtomicBool>,
    /// What is raised together with `pressed`.
    flag: Arc<Mutex<Option<Arc<AtomicBool>>>>,
}

impl Interrupt {
    /// From now on Ctrl-C is noted while something is being written; at any other time, or a
    /// second time, it ends the program.
    pub fn watch(&self) {
        let Interrupt {
            writing,
            pressed,
            flag,
        } = self.clone();
        // Without a handler, Ctrl-C ends the program: no harm.
        let _ = ctrlc::set_handler(move || {
            if writing.load(Ordering::SeqCst) && !pressed.swap(true, Ordering::SeqCst) {
                if let Ok(Some(flag)) = flag.lock().as_deref() {
                    flag.store(true, Ordering::SeqCst);
                }
                return;
            }
            end_line();
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

    /// Does what takes long and ends soon after `flag` is raised, which Ctrl-C does meanwhile.
    pub fn raising<T>(&self, flag: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
        let hold = |held| {
            if let Ok(mut flag) = self.flag.lock() {
                *flag = held;
            }
        };
        hold(Some(Arc::clone(flag)));
        if self.pressed() {
            flag.store(true, Ordering::SeqCst);
        }
        let done = work();
        hold(None);
        // Raised too late it would end the next work.
        flag.store(false, Ordering::SeqCst);
        done
    }

    /// Whether it is to end.
    pub fn pressed(&self) -> bool {
        self.pressed.load(Ordering::SeqCst)
    }

    /// Ends the program as Ctrl-C does, if that was pressed.
    pub fn obey(&self) {
        if self.pressed() {
            exit();
        }
    }
}

/// Ends the program as Ctrl-C does.
pub fn exit() -> ! {
    std::process::exit(CODE)
}

/// Files that are not to outlive the program.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// From now on the program ends by Ctrl-C or SIGTERM without its unfinished files. Called before it
/// has other threads than those that wait, which would end it by themselves.
pub fn tidy() {
    static ENDING: Once = Once::new();
    ENDING.call_once(at_end);
}

/// A file that is removed if Ctrl-C or SIGTERM ends the program before this is dropped.
pub struct Unfinished(PathBuf);

impl Unfinished {
    /// Of a file that is about to be made. For the first of them holds what [`tidy`] says.
    pub fn new(path: PathBuf) -> Unfinished {
        tidy();
        if let Ok(mut all) = UNFINISHED.lock() {
            all.push(path.clone());
        }
        Unfinished(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Ok(mut all) = UNFINISHED.lock() {
            all.retain(|path| *path != self.0);
        }
    }
}

/// What comes next on the terminal begins a line.
fn end_line() {
    progress::above(|| {
        // A closed stderr is no failure.
        let _ = writeln!(io::stderr());
    });
}

/// Ends the program with `code` and without its unfinished files.
fn end_without_files(code: i32) -> ! {
    // Held until the end: no other is named meanwhile.
    let all = UNFINISHED.lock();
    for path in all.iter().flat_map(|all| all.iter()) {
        // It may not have been made yet.
        let _ = std::fs::remove_file(path);
    }
    end_line();
    std::process::exit(code)
}

/// From now on a thread waits for the signals that end a program; this one, and those that it
/// starts, leave them to it.
#[cfg(unix)]
fn at_end() {
    use nix::sys::signal::{SigSet, Signal};
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if signals.thread_block().is_err() {
        // They end the program at once, and files stay.
        return;
    }
    let wait = move || {
        if let Ok(signal) = signals.wait() {
            // As shells have it.
            end_without_files(128 + signal as i32);
        }
    };
    if std::thread::Builder::new().spawn(wait).is_err() {
        // Nobody waits: the program must end by them as before.
        let _ = signals.thread_unblock();
    }
}

#[cfg(not(unix))]
fn at_end() {
    // Without a handler, Ctrl-C ends the program and files stay.
    let _ = ctrlc::set_handler(|| end_without_files(CODE));
}
