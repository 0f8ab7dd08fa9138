//! A bar on stderr for what takes longer than two seconds.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing is shown for work shorter than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows how far a counter has come, until dropped.
pub struct Progress {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Watches `counter` grow by `total`; `what` and `unit` say what is counted.
    pub fn watch(
        counter: Arc<AtomicU64>,
        total: u64,
        what: &'static str,
        unit: &'static str,
    ) -> Progress {
        let done = Arc::new(AtomicBool::new(false));
        let start = counter.load(Ordering::Relaxed);
        let seen = Arc::clone(&done);
        let began = Instant::now();
        let draw = move || {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let styled = |template: &str| {
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
            };
            // How long it takes is not known before something is done.
            styled("{prefix} {bar:30} {pos}/{len} {msg}");
            let mut begun = false;
            bar.set_prefix(what);
            bar.set_message(unit);
            while !seen.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(100));
                if began.elapsed() >= PATIENCE {
                    let position = counter.load(Ordering::Relaxed) - start;
                    if position > 0 && !std::mem::replace(&mut begun, true) {
                        styled("{prefix} {bar:30} {pos}/{len} {msg}, {eta} left");
                    }
                    bar.set_position(position);
                }
            }
            bar.finish_and_clear();
        };
        // Without a thread to draw with, work goes on in silence.
        let thread = std::thread::Builder::new().spawn(draw).ok();
        Progress { done, thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The drawing thread cannot fail in a way that matters here.
            let _ = thread.join();
        }
    }
}
