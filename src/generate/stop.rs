//! Texts that end a text.

/// Looks for stop strings in a text that comes in pieces, however they are cut.
#[derive(Clone, Debug)]
pub struct StopStrings {
    strings: Vec<String>,
    /// What may be the beginning of one.
    held: String,
}

impl StopStrings {
    /// Empty strings, which would stop everything, are left out.
    pub fn new(strings: impl IntoIterator<Item = String>) -> StopStrings {
        let strings = strings.into_iter().filter(|string| !string.is_empty());
        StopStrings {
            strings: strings.collect(),
            held: String::new(),
        }
    }

    /// Appends to `out` what is certain to stand before any stop string; true once one is
    /// complete. What follows it is dropped, and so is itself.
    pub fn push(&mut self, piece: &str, out: &mut String) -> bool {
        self.held.push_str(piece);
        let found = self
            .strings
            .iter()
            .filter_map(|stop| self.held.find(stop))
            .min();
        let safe = found.unwrap_or_else(|| self.held.len() - self.pending());
        out.push_str(&self.held[..safe]);
        if found.is_some() {
            self.held.clear();
        } else {
            self.held.drain(..safe);
        }
        found.is_some()
    }

    /// Appends what was held back in vain.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }

    /// Bytes at the end that begin a stop string.
    fn pending(&self) -> usize {
        let begins = |stop: &String| {
            let longest = self.held.len().min(stop.len() - 1);
            let lengths = (1..=longest)
                .rev()
                .filter(|len| stop.is_char_boundary(*len));
            let mut lengths = lengths.filter(|len| self.held.ends_with(&stop[..*len]));
            lengths.next().unwrap_or(0)
        };
        self.strings.iter().map(begins).max().unwrap_or(0)
    }
}
