//! Decoders that read their encoder's text once more, a place later, where they are given none: so
//! classes that judge a text make use of both halves.

/// What stands before a text that is read a place later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondReading {
    /// This token.
    From(u32),
    /// The text's own last token, found by how many are not this one, the padding.
    Around(u32),
}

impl SecondReading {
    /// What the decoder reads where the encoder reads `ids`.
    pub fn tokens(self, ids: &[u32]) -> Vec<u32> {
        let first = match self {
            SecondReading::From(token) => Some(token),
            SecondReading::Around(padding) => {
                let real = ids.iter().filter(|&&id| id != padding).count();
                // Of padding alone, what the reference counts from the end.
                let last = real.checked_sub(1).unwrap_or(ids.len().saturating_sub(1));
                ids.get(last).copied()
            }
        };
        let rest = ids.iter().copied();
        first.into_iter().chain(rest).take(ids.len()).collect()
    }
}
