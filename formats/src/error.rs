//! Why a file was refused: one line that says where, what was found and what was expected.

use alloc::string::String;
use core::fmt;

/// The class of a refusal, for callers that react to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are another format altogether (wrong magic, not JSON).
    Foreign,
    /// A known format in a version or byte order that is not read.
    Version,
    /// The file ends, or claims to end, before what it announces.
    Truncated,
    /// A count, length or depth beyond what `limits` allows.
    Limit,
    /// Text that is not UTF-8 or not well formed.
    Syntax,
    /// A value of another type than its key demands.
    Type,
    /// A value that is well formed and impossible.
    Value,
    /// A key, tensor or file named twice.
    Duplicate,
    /// A key, tensor or file that should be there.
    Missing,
    /// A tensor type that is not read.
    Unsupported,
    /// A byte range outside the file, misaligned, overlapping, or at odds with its shape.
    Range,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormatError {
    offset: Option<u64>,
    kind: ErrorKind,
    what: String,
}

/// Longest text of an error: a hostile name must not flood a terminal.
const TEXT_LEN: usize = 500;

impl FormatError {
    pub(crate) fn new(kind: ErrorKind, offset: Option<u64>, mut what: String) -> FormatError {
        if what.len() > TEXT_LEN {
            let mut end = TEXT_LEN;
            while !what.is_char_boundary(end) {
                end -= 1;
            }
            what.truncate(end);
            what.push('…');
            what.shrink_to_fit();
        }
        if what.contains(char::is_control) {
            what = what.replace(char::is_control, "\u{fffd}");
        }
        FormatError { offset, kind, what }
    }

    /// The class of the refusal.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The byte at which the offending item begins, where there is one.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The text without the offset.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.offset {
            Some(offset) => write!(f, " (at byte {offset})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for FormatError {}

/// A name from a file, quoted, escaped and cut to a readable length.
pub(crate) struct Quoted<'a>(pub &'a str);

/// Longest name an error shows whole.
const QUOTED_CHARS: usize = 80;

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(QUOTED_CHARS) {
            write!(f, "{}", c.escape_debug())?;
        }
        f.write_str(if chars.next().is_some() {
            "…\""
        } else {
            "\""
        })
    }
}
