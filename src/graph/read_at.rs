//! Where classes that judge whole texts take their answer from the rows of a decoder, which sees all of a
//! text at its end.

/// The token whose row is the only one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAt {
    /// The last of these, which ends a text.
    LastOf(u32),
    /// The last that is not this one, the padding; the first if there is no other, as in the
    /// reference.
    LastBut(u32),
    /// The last.
    End,
}

impl ReadAt {
    /// The place of that token among `ids`.
    ///
    /// # Errors
    /// The token that is missing.
    pub fn place(self, ids: &[u32]) -> Result<usize, u32> {
        match self {
            ReadAt::LastOf(token) => ids.iter().rposition(|&id| id == token).ok_or(token),
            ReadAt::LastBut(padding) => {
                let place = ids.iter().rposition(|&id| id != padding);
                Ok(place.unwrap_or(0))
            }
            ReadAt::End => Ok(ids.len().saturating_sub(1)),
        }
    }
}
