//! Sparse attention: which rows are global (Beltagy et al. 2020).

use std::ops::Range;

/// Which rows of a sequence are global where nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalRows {
    /// None.
    None,
    /// The one in the first column.
    First,
    /// Those before the first separator: a question, which two more follow.
    BeforeSeparator(u32),
    /// Those behind the second of three separators: an answer that may be chosen.
    AfterSeparators(u32),
}

/// Separators of a pair of texts: one behind the first, one before and one behind the second.
const SEPARATORS: usize = 3;

impl GlobalRows {
    /// Their columns, in a sequence of these columns and tokens.
    ///
    /// # Errors
    /// A number of separators other than three, which leaves question and text untold: the
    /// separator, and the number.
    pub fn columns(
        self,
        rows: impl Iterator<Item = (u32, u32)>,
    ) -> Result<Range<u32>, (u32, usize)> {
        let (separator, before) = match self {
            GlobalRows::None => return Ok(0..0),
            GlobalRows::First => return Ok(0..1),
            GlobalRows::BeforeSeparator(separator) => (separator, true),
            GlobalRows::AfterSeparators(separator) => (separator, false),
        };
        let mut first = None;
        let mut count = 0;
        for (column, token) in rows {
            if token == separator {
                first = first.or(Some(column));
                count += 1;
            }
        }
        match first.filter(|_| count == SEPARATORS) {
            Some(first) if before => Ok(0..first),
            Some(first) => Ok(first.saturating_add(2)..u32::MAX),
            None => Err((separator, count)),
        }
    }
}
