//! Decoders that read their encoder's text once more, a place later, where they are given none: so
//! classes that judge a text make use of both halves.

/// What such a decoder reads, and where what it makes of it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondReading {
    /// What stands before the text.
    pub shift: Shift,
    /// The token of the encoder's text at whose last place the decoder's only output is; without
    /// one there is an output for each token.
    pub read_at: Option<u32>,
}

/// What stands before a text that is read a place later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// This token.
    From(u32),
    /// The text's own last token, found by how many are not this one, the padding.
    Around(u32),
}

impl SecondReading {
    /// What the decoder reads where the encoder reads `ids`.
    pub fn tokens(self, ids: &[u32]) -> Vec<u32> {
        let first = match self.shift {
            Shift::From(token) => Some(token),
            Shift::Around(padding) => {
                let real = ids.iter().filter(|&&id| id != padding).count();
                // Of padding alone, what the reference counts from the end.
                let last = real.checked_sub(1).unwrap_or(ids.len().saturating_sub(1));
                ids.get(last).copied()
            }
        };
        let rest = ids.iter().copied();
        first.into_iter().chain(rest).take(ids.len()).collect()
    }

    /// The place of the only output, if there is one for a text; an error if the text has no such
    /// place.
    ///
    /// # Errors
    /// The token that is missing.
    pub fn place(self, ids: &[u32]) -> Result<Option<usize>, u32> {
        let Some(token) = self.read_at else {
            return Ok(None);
        };
        let place = ids.iter().rposition(|&id| id == token);
        place.map(Some).ok_or(token)
    }
}
