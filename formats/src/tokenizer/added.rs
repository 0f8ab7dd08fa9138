//! Added tokens, which are found in text as written before the model sees it: control tokens (if
//! the caller asks for them) and user-defined ones.

use super::class::is_unicode_word as is_word;
use alloc::vec::Vec;
use core::ops::Range;

/// An added token and how it matches (as in `tokenizer.json`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) text: Vec<u8>,
    pub(super) id: u32,
    /// Whether it matches only where the caller asks for control tokens.
    pub(super) is_control: bool,
    /// Whether it takes the white space before it (`lstrip`).
    pub(super) strips_left: bool,
    /// Whether it takes the white space after it (`rstrip`).
    pub(super) strips_right: bool,
    /// Whether it does not match inside a word (`single_word`).
    pub(super) is_word: bool,
}

impl Added {
    pub(super) fn plain(text: &[u8], id: u32, is_control: bool) -> Added {
        Added {
            text: text.into(),
            id,
            is_control,
            strips_left: false,
            strips_right: false,
            is_word: false,
        }
    }
}

/// A set of added tokens, searched for leftmost first and longest first.
#[derive(Clone, Debug, Default)]
pub(super) struct AddedTokens {
    /// Sorted by text, so that tokens with a common prefix are neighbours, as in a trie.
    entries: Vec<Added>,
    first_bytes: FirstBytes,
    /// The same without control tokens.
    plain_first_bytes: FirstBytes,
}

/// The bytes that tokens begin with.
#[derive(Clone, Debug)]
struct FirstBytes([bool; 256]);

impl Default for FirstBytes {
    fn default() -> FirstBytes {
        FirstBytes([false; 256])
    }
}

impl FirstBytes {
    fn of<'a>(entries: impl Iterator<Item = &'a Added>) -> FirstBytes {
        let mut bytes = FirstBytes::default();
        for byte in entries.filter_map(|entry| entry.text.first()) {
            if let Some(flag) = bytes.0.get_mut(usize::from(*byte)) {
                *flag = true;
            }
        }
        bytes
    }

    fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)) == Some(&true)
    }
}

/// A stretch of text, or a token found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Text(Range<usize>),
    /// The token, and its own text.
    Token(u32, Range<usize>),
}

impl AddedTokens {
    /// Of tokens with the same text the last counts; empty ones match nothing.
    pub(super) fn new(mut entries: Vec<Added>) -> AddedTokens {
        entries.retain(|entry| !entry.text.is_empty());
        entries.reverse();
        entries.sort_by(|left, right| left.text.cmp(&right.text));
        entries.dedup_by(|later, kept| later.text == kept.text);
        AddedTokens {
            first_bytes: FirstBytes::of(entries.iter()),
            plain_first_bytes: FirstBytes::of(entries.iter().filter(|entry| !entry.is_control)),
            entries,
        }
    }

    pub(super) fn entries(&self) -> &[Added] {
        &self.entries
    }

    /// Whether a token matches otherwise than wherever its text is.
    pub(super) fn has_flags(&self) -> bool {
        let has = |entry: &Added| entry.strips_left || entry.strips_right || entry.is_word;
        self.entries.iter().any(has)
    }

    /// Cuts `text` at the tokens in it. Empty stretches are left out.
    pub(super) fn segments(
        &self,
        text: &str,
        with_control: bool,
        segment: &mut dyn FnMut(Segment),
    ) {
        let first_bytes = match with_control {
            true => &self.first_bytes,
            false => &self.plain_first_bytes,
        };
        let (mut from, mut at) = (0, 0);
        while let Some(rest) = text.as_bytes().get(at..) {
            let Some(skipped) = rest.iter().position(|byte| first_bytes.contains(*byte)) else {
                break;
            };
            at += skipped;
            let Some(entry) = self.longest_at(text, at, with_control) else {
                at += 1;
                continue;
            };
            let before = text.get(..at);
            let Some((before, after)) = before.zip(text.get(at + entry.text.len()..)) else {
                // Not on a character boundary: a token that is not whole characters.
                at += 1;
                continue;
            };
            let in_word = before.ends_with(is_word) || after.starts_with(is_word);
            if entry.is_word && in_word {
                at += entry.text.len();
                continue;
            }
            // White space that the token before took may begin this one, unless this one takes
            // white space before it: then it is that of the token before.
            let start = match entry.strips_left {
                true => before.trim_end().len().max(from),
                false => at,
            };
            at += entry.text.len();
            let end = match entry.strips_right {
                true => text.len() - after.trim_start().len(),
                false => at,
            };
            if from < start {
                segment(Segment::Text(from..start));
            }
            if start < end {
                segment(Segment::Token(entry.id, start..end));
                from = end;
            }
        }
        if from < text.len() {
            segment(Segment::Text(from..text.len()));
        }
    }

    fn longest_at(&self, text: &str, at: usize, with_control: bool) -> Option<&Added> {
        let mut candidates = self.entries.as_slice();
        let mut longest = None;
        for (depth, &byte) in text.as_bytes().get(at..)?.iter().enumerate() {
            // All candidates agree in their first `depth` bytes and are longer than that.
            let first = candidates.partition_point(|entry| entry.text.get(depth) < Some(&byte));
            let past = candidates.partition_point(|entry| entry.text.get(depth) <= Some(&byte));
            candidates = candidates.get(first..past)?;
            let Some(shortest) = candidates.first() else {
                break;
            };
            if shortest.text.len() == depth + 1 {
                if with_control || !shortest.is_control {
                    longest = Some(shortest);
                }
                candidates = candidates.get(1..)?;
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn cut(tokens: &[(&str, bool)], text: &str, with_control: bool) -> Vec<Segment> {
        let entries = tokens
            .iter()
            .zip(0..)
            .map(|(&(text, is_control), id)| Added::plain(text.as_bytes(), id, is_control))
            .collect();
        let mut found = Vec::new();
        AddedTokens::new(entries).segments(text, with_control, &mut |segment| found.push(segment));
        found
    }

    #[test]
    fn the_longest_token_wins_and_control_tokens_wait_to_be_asked_for() {
        use Segment::{Text, Token};
        let tokens = [("<a", false), ("<a>", true), ("<a>b", false), ("x", false)];
        assert_eq!(
            cut(&tokens, "y<a>bx", false),
            vec![Text(0..1), Token(2, 1..5), Token(3, 5..6)]
        );
        assert_eq!(cut(&tokens, "<a>", false), vec![Token(0, 0..2), Text(2..3)]);
        assert_eq!(cut(&tokens, "<a>", true), vec![Token(1, 0..3)]);
        assert_eq!(cut(&tokens, "", true), vec![]);
    }

    #[test]
    fn tokens_that_are_not_whole_characters_match_nothing() {
        let entries = vec![Added::plain(&[0xC3], 0, false)];
        let mut found = Vec::new();
        AddedTokens::new(entries).segments("é", true, &mut |segment| found.push(segment));
        assert_eq!(found, vec![Segment::Text(0..2)]);
    }
}
