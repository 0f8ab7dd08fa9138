//! What may be written to a terminal: text. Whatever else a model, its files or their names hold
//! (sequences that move the cursor, colour, retitle, type for the user, or turn the order of
//! letters round) is shown as `\u001b` and the like. A pipe or a file gets every byte as it is.

use super::progress;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, StdoutLock, Write};

/// Whether a terminal would take a character for more than itself: C0 but for newlines and tabs,
/// DEL, C1.
fn controls(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

/// Whether a character changes the order in which others are shown. Texts in Arabic or Hebrew
/// have them; in a name they make it look like another one.
fn reorders(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether it cannot stand in a name that is shown in one line.
fn spoils_a_line(character: char) -> bool {
    character.is_control()
        || reorders(character)
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// As JSON writes it: what is JSON stays JSON.
fn escape(character: char, out: &mut String) {
    // A String takes everything.
    let _ = match character {
        '\n' => out.write_str("\\n"),
        '\t' => out.write_str("\\t"),
        '\r' => out.write_str("\\r"),
        other => write!(out, "\\u{:04x}", u32::from(other)),
    };
}

fn escaped(text: &str, which: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&which) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match which(character) {
            true => escape(character, &mut out),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// A name, a key or a message in one line, wherever it goes.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, spoils_a_line)
}

/// Columns of the terminal; 80 where it does not say, or there is none.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0))
}

/// Whether lines of so many columns on standard output would be broken by the edge of a terminal.
pub fn is_too_narrow(columns: usize) -> bool {
    io::stdout().is_terminal() && width() < columns
}

/// Says something on stderr, in one line.
pub fn say(line: &str) {
    progress::above(|| {
        // If stderr is closed nobody wants to hear it.
        let _ = writeln!(io::stderr(), "{}", one_line(line));
    });
}

/// Standard output. What goes to a terminal is cleaned on the way.
pub struct Out {
    out: StdoutLock<'static>,
    cleaner: Option<Cleaner>,
}

impl Out {
    /// For names and figures: nothing turns the order of letters round.
    pub fn new() -> Out {
        Out::with(|character| controls(character) || reorders(character))
    }

    /// For texts, which may be written from right to left.
    pub fn text() -> Out {
        Out::with(controls)
    }

    /// Writes a sequence of our own, which a terminal obeys.
    pub fn style(&mut self, sequence: &str) -> io::Result<()> {
        match self.cleaner {
            Some(_) => self.out.write_all(sequence.as_bytes()),
            None => Ok(()),
        }
    }

    fn with(shown: fn(char) -> bool) -> Out {
        let out = io::stdout().lock();
        Out {
            cleaner: out.is_terminal().then(|| Cleaner::new(shown)),
            out,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.cleaner {
            None => self.out.write(bytes),
            Some(cleaner) => {
                let clean = cleaner.clean(bytes);
                self.out.write_all(clean.as_bytes())?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if let Some(cleaner) = &mut self.cleaner {
            // Whoever closed standard output misses nothing.
            let _ = self.out.write_all(cleaner.finish().as_bytes());
            let _ = self.out.flush();
        }
    }
}

/// Makes bytes that come in pieces a text without control characters.
struct Cleaner {
    /// What is shown and not obeyed.
    shown: fn(char) -> bool,
    /// The beginning of a character, or a carriage return of which it is not known whether a
    /// newline follows.
    held: Vec<u8>,
}

impl Cleaner {
    fn new(shown: fn(char) -> bool) -> Cleaner {
        Cleaner {
            shown,
            held: Vec::new(),
        }
    }

    fn clean(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut out = String::with_capacity(self.held.len());
        let mut keep = 0;
        let whole = self.held.len();
        let mut chunks = self.held.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            let valid = chunk.valid();
            let mut characters = valid.chars().peekable();
            while let Some(character) = characters.next() {
                match (character, characters.peek()) {
                    // Lines that end as on Windows end like others.
                    ('\r', Some('\n')) => {}
                    ('\r', None) if chunk.invalid().is_empty() => keep = 1,
                    (other, _) if (self.shown)(other) => escape(other, &mut out),
                    (other, _) => out.push(other),
                }
            }
            match chunk.invalid() {
                [] => {}
                begun if chunks.peek().is_none() && is_begun(begun) => keep = begun.len(),
                _ => out.push('\u{fffd}'),
            }
        }
        self.held.drain(..whole - keep);
        out
    }

    /// What was held back, when nothing follows.
    fn finish(&mut self) -> &'static str {
        match std::mem::take(&mut self.held)[..] {
            [] => "",
            [b'\r'] => "\\r",
            _ => "\u{fffd}",
        }
    }
}

/// Whether these bytes at the end are the beginning of a character.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::{Cleaner, controls, one_line};

    /// What a terminal gets of a text, whatever pieces it comes in.
    fn shown(bytes: &[u8]) -> String {
        let mut expected = None;
        for size in [1, 2, 3, 5, bytes.len().max(1)] {
            let mut cleaner = Cleaner::new(controls);
            let pieces = bytes.chunks(size);
            let mut out: String = pieces.map(|piece| cleaner.clean(piece)).collect();
            out += cleaner.finish();
            assert_eq!(*expected.get_or_insert(out.clone()), out, "{size}");
        }
        expected.unwrap_or_default()
    }

    #[test]
    fn a_terminal_gets_text_alone() {
        for (bytes, text) in [
            (&b"plain\n\ttext"[..], "plain\n\ttext"),
            (
                "Grüße, 終わり ☃ 👩‍👩‍👧 שלום\u{200f}!".as_bytes(),
                "Grüße, 終わり ☃ 👩‍👩‍👧 שלום\u{200f}!",
            ),
            (
                b"\x1b[2J\x1b]0;title\x07",
                "\\u001b[2J\\u001b]0;title\\u0007",
            ),
            (b"a\x08b\x7f\0", "a\\u0008b\\u007f\\u0000"),
            // One line written over another.
            (b"a\rb", "a\\rb"),
            (b"a\r\nb\r\n", "a\nb\n"),
            (b"a\r\r\n", "a\\r\n"),
            (b"a\r", "a\\r"),
            // C1, which some terminals obey: as UTF-8, and as a byte.
            ("\u{9b}31m\u{85}".as_bytes(), "\\u009b31m\\u0085"),
            (b"\x9b31m", "\u{fffd}31m"),
            (b"\xe2\x82", "\u{fffd}"),
            (b"\xe2\x82\x1b[m", "\u{fffd}\\u001b[m"),
            (b"\xf0\x9f\r\n", "\u{fffd}\n"),
        ] {
            assert_eq!(shown(bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn a_name_stays_in_its_line_and_its_order() {
        assert_eq!(one_line("plain ünd ☃"), "plain ünd ☃");
        assert_eq!(one_line("a\nb\tc\r\x1b[m"), "a\\nb\\tc\\r\\u001b[m");
        assert_eq!(
            one_line("photo\u{202e}gpj.gguf\u{2066}\u{200f}\u{61c}"),
            "photo\\u202egpj.gguf\\u2066\\u200f\\u061c"
        );
        assert_eq!(one_line("a\u{2028}b\u{feff}"), "a\\u2028b\\ufeff");
    }
}
