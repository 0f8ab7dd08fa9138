//! Why a tokenizer could not be built from a model's files.

use alloc::string::String;
use core::fmt;

/// What kind of defect a [`TokenizerError`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenizerErrorKind {
    /// A well-formed file describes a tokenizer this crate does not have (yet).
    Unsupported,
    /// Something the tokenizer needs is not in the file.
    Missing,
    /// The file contradicts itself or its format.
    Malformed,
    /// A count, length or nesting is over a named limit.
    Limit,
}

/// A tokenizer that could not be built: which key, token or merge, what was found, and the
/// way out where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerError {
    kind: TokenizerErrorKind,
    what: String,
}

impl TokenizerError {
    /// The class of defect, for callers that only branch on it.
    pub fn kind(&self) -> TokenizerErrorKind {
        self.kind
    }

    pub(super) fn new(kind: TokenizerErrorKind, what: String) -> TokenizerError {
        TokenizerError { kind, what }
    }
}

impl fmt::Display for TokenizerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

impl core::error::Error for TokenizerError {}

macro_rules! failure {
    ($kind:ident, $($text:tt)*) => {
        $crate::tokenizer::error::TokenizerError::new(
            $crate::tokenizer::error::TokenizerErrorKind::$kind,
            alloc::format!($($text)*),
        )
    };
}
pub(super) use failure;

/// File text as it may appear in an error: one line, of bounded length.
pub(super) struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 80;
        let cut = self.0.get(..LONGEST).unwrap_or(self.0);
        write!(formatter, "\"{}\"", cut.escape_ascii())?;
        if cut.len() < self.0.len() {
            formatter.write_str("…")?;
        }
        Ok(())
    }
}
