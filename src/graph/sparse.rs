//! Sparse attention: which rows are global (Beltagy et al. 2020), and blocks (Zaheer et al. 2020).

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

/// Attention among blocks of columns (Zaheer et al. 2020, section 2): those of the first and the last
/// block see all and are seen by all; the others see their own block, its neighbours, and some at
/// random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSparse {
    /// Columns of a block.
    pub columns: u32,
    /// How many blocks each sees at random.
    pub random: u32,
    /// The layer's number, of which they are drawn.
    pub layer: u32,
}

impl BlockSparse {
    /// The blocks of a sequence so many columns wide; `None` of one so short that all see all.
    pub fn blocks(self, width: u32) -> Option<u32> {
        let least = (2 * u64::from(self.random) + 5) * u64::from(self.columns);
        (u64::from(width) > least).then(|| width.div_ceil(self.columns))
    }
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
