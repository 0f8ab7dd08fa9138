//! The symbols that a word of characters begins as, before its first merge.

use super::merge::Symbol;
use super::vocabulary::Vocabulary;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::str::CharIndices;

/// How characters are encoded that are no token: as bytes (byte fallback) or as unknown.
#[derive(Clone)]
pub(super) struct Fallback {
    pub(super) bytes: [Option<u32>; 256],
    pub(super) unknown: Option<u32>,
    /// Whether neighbouring unknown characters become one unknown token.
    pub(super) fuses_unknown: bool,
}

/// What the vocabulary writes around characters of a word: before those that do not begin it, after
/// the one that ends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Affixes {
    pub(super) continues: String,
    pub(super) ends: String,
}

impl Affixes {
    /// A character of a word as the vocabulary writes it.
    fn around<'t>(&self, character: &'t str, begins: bool, ends: bool) -> Cow<'t, str> {
        let before = if begins { "" } else { &self.continues };
        let after = if ends { &self.ends } else { "" };
        match before.is_empty() && after.is_empty() {
            true => Cow::Borrowed(character),
            false => Cow::Owned([before, character, after].concat()),
        }
    }
}

impl Fallback {
    /// The tokens of all these bytes, if each has one.
    pub(super) fn byte_tokens(&self, bytes: &[u8]) -> Option<impl Iterator<Item = u32>> {
        let token = |byte: &u8| self.bytes.get(usize::from(*byte)).copied().flatten();
        bytes
            .iter()
            .all(|byte| token(byte).is_some())
            .then(|| bytes.iter().filter_map(token))
    }
}

/// A word cut into characters, bytes and unknowns.
pub(super) struct Characters<'a> {
    fallback: &'a Fallback,
    affixes: &'a Affixes,
    vocabulary: &'a Vocabulary,
    word: &'a str,
    places: CharIndices<'a>,
    /// Where what is unknown begins, and how long it is.
    unknown: Option<(usize, usize)>,
    /// Those that are known already, the next one last.
    waiting: Vec<Symbol>,
}

impl<'a> Characters<'a> {
    pub(super) fn of(
        word: &'a str,
        fallback: &'a Fallback,
        affixes: &'a Affixes,
        vocabulary: &'a Vocabulary,
    ) -> Characters<'a> {
        Characters {
            fallback,
            affixes,
            vocabulary,
            word,
            places: word.char_indices(),
            unknown: None,
            waiting: Vec::new(),
        }
    }

    fn unknown(&mut self) -> Option<Symbol> {
        let (start, len) = self.unknown.take()?;
        Some(symbol(start, len, self.fallback.unknown?))
    }
}

impl Iterator for Characters<'_> {
    type Item = Symbol;

    fn next(&mut self) -> Option<Symbol> {
        loop {
            if let Some(next) = self.waiting.pop() {
                return Some(next);
            }
            let Some((at, character)) = self.places.next() else {
                return self.unknown();
            };
            let end = at + character.len_utf8();
            let text = self.word.get(at..end).unwrap_or_default();
            let key = self.affixes.around(text, at == 0, end == self.word.len());
            if let Some(id) = self.vocabulary.find(key.as_bytes()) {
                let known = symbol(at, text.len(), id);
                let Some(unknown) = self.unknown() else {
                    return Some(known);
                };
                self.waiting.push(known);
                return Some(unknown);
            }
            if let Some(tokens) = self.fallback.byte_tokens(key.as_bytes()) {
                // As in the reference, unknown characters before come after these.
                self.waiting.extend(tokens.map(|id| symbol(at, 1, id)));
                self.waiting.reverse();
                continue;
            }
            match &mut self.unknown {
                Some((_, len)) if self.fallback.fuses_unknown => *len += text.len(),
                _ => {
                    let before = self.unknown();
                    self.unknown = Some((at, text.len()));
                    if before.is_some() {
                        return before;
                    }
                }
            }
        }
    }
}

/// Words are cut at `limits::WORD_LEN`, so places and lengths fit.
pub(super) fn symbol(start: usize, len: usize, id: u32) -> Symbol {
    Symbol {
        start: start as u32,
        len: len as u32,
        id,
    }
}
