//! What was typed in conversations before: a file in the user's folder of states, a line for each.

use super::terminal::one_line;
use super::{output, warn};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file, and what it holds.
pub struct History {
    path: PathBuf,
    entries: Vec<String>,
    /// Whether it cannot be written, which was said.
    failed: bool,
}

impl History {
    /// Entries that are kept.
    pub const ENTRIES: usize = 1000;

    /// Bytes that are read.
    const LONGEST: u64 = 4 << 20;

    /// The user's; `None` if the system does not say where that would be.
    pub fn open() -> Option<History> {
        let path = folder()?.join("rillm").join("chat_history");
        let mut history = History {
            entries: read(&path).unwrap_or_default(),
            path,
            failed: false,
        };
        if history.entries.len() > History::ENTRIES {
            history.shorten();
        }
        Some(history)
    }

    /// What it holds, the oldest first.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.entries)
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: &str) {
        if self.failed {
            return;
        }
        if let Err(error) = append(&self.path, entry) {
            self.failed = true;
            warn(&format!(
                "{}: {error}; what is typed is not kept (--no-history says so)",
                self.path.display()
            ));
        }
    }

    /// Forgets the oldest.
    fn shorten(&mut self) {
        self.entries.drain(..self.entries.len() - History::ENTRIES);
        // If it cannot be written, an entry that is added says so.
        let _ = output::replace(&self.path, |file| {
            let mut lines = self.entries.iter().map(|entry| escaped(entry));
            lines.try_for_each(|line| writeln!(file, "{line}"))
        });
    }
}

/// Where programs keep what they remember for a user.
fn folder() -> Option<PathBuf> {
    let named = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        folder.filter(|folder| folder.is_absolute())
    };
    named("XDG_STATE_HOME")
        .or_else(|| named("LOCALAPPDATA").filter(|_| cfg!(windows)))
        .or_else(|| {
            let home = std::env::home_dir().filter(|home| home.is_absolute())?;
            Some(home.join(".local").join("state"))
        })
}

fn read(path: &Path) -> io::Result<Vec<String>> {
    let facts = std::fs::metadata(path)?;
    if !facts.is_file() || facts.len() > History::LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let text = std::fs::read_to_string(path)?;
    let entries = text.lines().map(unescaped);
    // The editor writes them to the terminal as they are.
    let plain = entries.filter(|entry| {
        let mut lines = entry.split('\n');
        lines.all(|line| one_line(line) == line)
    });
    Ok(plain.filter(|entry| !entry.is_empty()).collect())
}

fn append(path: &Path, entry: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Opening a pipe would wait for its reader.
    if std::fs::metadata(path).is_ok_and(|facts| !facts.is_file()) {
        return Err(io::Error::other("is no regular file"));
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Nobody else's business.
        options.mode(0o600);
    }
    options
        .open(path)?
        .write_all(format!("{}\n", escaped(entry)).as_bytes())
}

/// An entry in one line.
fn escaped(entry: &str) -> String {
    entry.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescaped(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => out.push('\n'),
                other => out.extend(other),
            },
            (plain, false) => out.push(plain),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{append, escaped, read, unescaped};

    #[test]
    fn entries_of_several_lines_are_kept_in_one() {
        for entry in [
            "plain",
            "two\nlines",
            "a \\n that is none",
            "\\",
            "\\\n\\\\n",
        ] {
            let line = escaped(entry);
            assert!(!line.contains('\n'));
            assert_eq!(unescaped(&line), entry);
        }
    }

    #[test]
    fn a_history_is_read_back_without_what_a_terminal_obeys() {
        let folder = std::env::temp_dir().join(format!("rillm-history-{}", std::process::id()));
        let path = folder.join("deep").join("history");
        assert!(read(&path).is_err());
        for entry in ["one", "two\nlines", "\u{1b}[2J", "c1 \u{9b}m", "four"] {
            append(&path, entry).expect("it is written");
        }
        assert_eq!(
            read(&path).expect("it is read"),
            ["one", "two\nlines", "four"]
        );
        assert!(append(&folder, "x").is_err());
        std::fs::remove_dir_all(&folder).expect("it is there");
    }
}
