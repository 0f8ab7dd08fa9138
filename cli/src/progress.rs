//! A bar on stderr for what takes longer than two seconds, in a line of its own, which is blank
//! again when something else is written there.

use super::terminal;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing is shown for work shorter than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(100);

/// Characters of the bar itself.
const BAR: usize = 30;

/// How many columns of the terminal's line hold a bar.
static DRAWN: Mutex<usize> = Mutex::new(0);

fn drawn() -> MutexGuard<'static, usize> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes spaces over what is drawn: every terminal knows those.
fn erase(drawn: &mut usize) {
    if *drawn > 0 {
        let blank = format!("\r{:len$}\r", "", len = std::mem::take(drawn));
        // A bar is a courtesy.
        let _ = io::stderr().write_all(blank.as_bytes());
    }
}

/// Writes to the terminal where the bar is, which comes back in the next line.
pub fn above(write: impl FnOnce()) {
    let mut drawn = drawn();
    erase(&mut drawn);
    write();
}

/// Whether a bar would stand on the screen that standard output goes to.
pub fn shares_the_screen() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Shows how far a counter has come, until dropped. Meanwhile the terminal's cursor must be at the
/// beginning of a line, and only [`above`] may write there.
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
        let seen = Arc::clone(&done);
        let start = counter.load(Ordering::Relaxed);
        let draw = move || {
            let began = Instant::now();
            let mut pause = PATIENCE;
            loop {
                std::thread::park_timeout(pause);
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                pause = PATIENCE.saturating_sub(began.elapsed()).max(PAUSE);
                if began.elapsed() < PATIENCE {
                    continue;
                }
                let figures = Figures {
                    what,
                    unit,
                    total,
                    done: counter.load(Ordering::Relaxed).saturating_sub(start),
                    seconds: began.elapsed().as_secs_f64(),
                };
                let line = figures.line(terminal::width().saturating_sub(1));
                let mut drawn = drawn();
                // What a longer line has left behind it is blank again.
                let text = format!("\r{line:len$}", len = *drawn);
                *drawn = line.len();
                // As above.
                let _ = io::stderr().write_all(text.as_bytes());
            }
            erase(&mut drawn());
        };
        let mut thread = None;
        // Without a terminal nobody looks; without a thread to draw with, work goes on in silence.
        if io::stderr().is_terminal() {
            thread = std::thread::Builder::new().spawn(draw).ok();
        }
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

/// What a bar tells.
struct Figures {
    what: &'static str,
    unit: &'static str,
    total: u64,
    done: u64,
    seconds: f64,
}

impl Figures {
    /// As much of it as fits into so many columns, in ASCII.
    fn line(&self, columns: usize) -> String {
        let &Figures {
            what,
            unit,
            total,
            done,
            seconds,
        } = self;
        let done = done.min(total);
        let share = done as f64 / total.max(1) as f64;
        let full = (share * BAR as f64) as usize;
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR - full));
        let counts = format!("{done}/{total} {unit}");
        let percent = format!("{what} {:.0}%", 100.0 * share);
        // How long it takes is not known before something is done.
        let left = match done {
            0 => String::new(),
            _ => format!(", {} left", duration(seconds / share - seconds)),
        };
        let forms = [
            format!("{what} [{bar}] {counts}{left}"),
            format!("{what} {counts}{left}"),
            format!("{percent}{left}"),
            percent,
        ];
        let fits = forms.into_iter().find(|form| form.len() <= columns);
        fits.unwrap_or_default()
    }
}

/// 75 seconds are 1m 15s.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, duration};

    #[test]
    fn a_bar_fits_into_its_line() {
        let figures = |done| Figures {
            what: "quantizing",
            unit: "weights",
            total: 8_030_261_248,
            done,
            seconds: 60.0,
        };
        for done in [0, 1, 2_007_565_312, 8_030_261_248, u64::MAX] {
            for columns in 0..120 {
                let line = figures(done).line(columns);
                assert!(line.len() <= columns && line.is_ascii(), "{line}");
            }
        }
        let quarter = figures(2_007_565_312);
        assert_eq!(
            quarter.line(100),
            "quantizing [#######-----------------------] 2007565312/8030261248 weights, 3m 0s left"
        );
        assert_eq!(
            quarter.line(79),
            "quantizing 2007565312/8030261248 weights, 3m 0s left"
        );
        assert_eq!(quarter.line(39), "quantizing 25%, 3m 0s left");
        assert_eq!(quarter.line(15), "quantizing 25%");
        assert_eq!(quarter.line(5), "");
        assert_eq!(figures(0).line(29), "quantizing 0%");
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        for (seconds, text) in [
            (0.4, "0s"),
            (75.0, "1m 15s"),
            (3600.0, "1h 0m"),
            (90_061.0, "25h 1m"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
