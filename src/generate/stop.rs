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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is let through of a text in these pieces, and whether it was stopped.
    fn through(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut stops = StopStrings::new(stops.iter().map(|stop| (*stop).to_string()));
        let mut out = String::new();
        for piece in pieces {
            if stops.push(piece, &mut out) {
                return (out, true);
            }
        }
        stops.finish(&mut out);
        (out, false)
    }

    #[test]
    fn a_string_stops_however_it_is_cut() {
        let text = "one two\n\nUser: three";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let found = through(&["\nUser:"], &pieces);
                assert_eq!(found, ("one two\n".to_string(), true), "{pieces:?}");
            }
        }
    }

    #[test]
    fn the_first_of_several_counts() {
        let found = through(&["d", "bc"], &["a", "b", "c", "d"]);
        assert_eq!(found, ("a".to_string(), true));
        let found = through(&["d", "bcx"], &["a", "b", "c", "d"]);
        assert_eq!(found, ("abc".to_string(), true));
    }

    #[test]
    fn what_only_begins_like_one_goes_through() {
        assert_eq!(
            through(&["aab"], &["a", "a", "a"]),
            ("aaa".to_string(), false)
        );
        assert_eq!(
            through(&["aab"], &["a", "a", "a", "b"]),
            ("a".to_string(), true)
        );
        assert_eq!(through(&["émé"], &["ém", "è"]), ("émè".to_string(), false));
        assert_eq!(through(&[""], &["x"]), ("x".to_string(), false));
        assert_eq!(through(&[], &["x"]), ("x".to_string(), false));
    }

    #[test]
    fn nothing_is_held_that_cannot_be_one() {
        let mut stops = StopStrings::new(["END".to_string()]);
        let mut out = String::new();
        assert!(!stops.push("the E", &mut out));
        assert_eq!(out, "the ");
        assert!(!stops.push("nd", &mut out));
        assert_eq!(out, "the End");
    }
}
