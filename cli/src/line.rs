//! Standard output that may stop in the middle of a line.

use super::terminal::Out;
use std::io::{self, Write};

/// Ends the line it is in when dropped, so that an error that follows begins one.
pub struct Line {
    out: Out,
    /// Whether something is written in a line that is not ended.
    open: bool,
}

impl Line {
    pub fn stdout() -> Line {
        Line {
            out: Out::text(),
            open: false,
        }
    }

    /// Has a terminal show what follows otherwise.
    pub fn style(&mut self, sequence: &str) -> io::Result<()> {
        self.out.style(sequence)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        if let Some(last) = bytes[..count].last() {
            self.open = *last != b'\n';
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.open {
            // Whoever closed standard output sees no lines either.
            let _ = self.out.write_all(b"\n").and_then(|()| self.out.flush());
        }
    }
}
