//! SentencePiece's precompiled normalization, `precompiled_charsmap`: texts and their replacements.
//!
//! The file holds a double-array trie (Aoe 1989, in Darts' layout) whose values are places in a
//! list of texts that end in a zero byte.

use super::limits;
use alloc::string::String;
use alloc::vec::Vec;

/// Texts and their replacements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    texts: Vec<u8>,
}

impl Charsmap {
    /// Reads the file's bytes; `None` if they are no such map.
    pub(super) fn parse(bytes: &[u8]) -> Option<Charsmap> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (trie, texts) = rest.split_at_checked(len)?;
        let (units, odd) = trie.as_chunks::<4>();
        if !odd.is_empty() || units.is_empty() || texts.last().is_some_and(|last| *last != 0) {
            return None;
        }
        Some(Charsmap {
            units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            texts: texts.to_vec(),
        })
    }

    /// The file's bytes: the inverse of [`Charsmap::parse`].
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let len = u32::try_from(4 * self.units.len()).unwrap_or(0);
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend(self.units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend_from_slice(&self.texts);
        bytes
    }

    /// The beginnings of `text` that become something else: length and replacement, the
    /// shortest first.
    fn matches<'a, 't>(
        &'a self,
        text: &'t [u8],
    ) -> impl Iterator<Item = (usize, &'a str)> + use<'a, 't> {
        let unit = |place: u32| self.units.get(place as usize).copied();
        let offset = |unit: u32| (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let mut place = unit(0).map(offset);
        text.iter()
            .take(limits::SEARCHED_LEN)
            .enumerate()
            .map_while(move |(index, &byte)| {
                let here = place? ^ u32::from(byte);
                let found = unit(here)?;
                if found & (1 << 31 | 0xff) != u32::from(byte) {
                    return None;
                }
                let next = here ^ offset(found);
                place = Some(next);
                let value = (found & (1 << 8) != 0).then(|| unit(next)).flatten();
                let value = value.map(|value| value & !(1 << 31));
                Some(value.and_then(|value| Some((index + 1, self.text(value)?))))
            })
            .flatten()
    }

    fn text(&self, at: u32) -> Option<&str> {
        let rest = self.texts.get(usize::try_from(at).ok()?..)?;
        let mut bytes = rest.iter().take(limits::INSERTED_LEN + 1);
        let end = bytes.position(|byte| *byte == 0)?;
        core::str::from_utf8(rest.get(..end)?).ok()
    }

    /// The text after replacing, always the longest that matches: as SentencePiece does it.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut changed = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let longest = self.matches(rest.as_bytes()).last();
            let longest = longest.filter(|(len, _)| rest.is_char_boundary(*len));
            let len = match longest {
                Some((len, to)) => {
                    changed.push_str(to);
                    len
                }
                None => {
                    changed.push(character);
                    character.len_utf8()
                }
            };
            rest = rest.get(len..).unwrap_or_default();
        }
        changed
    }

    fn shortest(&self, text: &str) -> Option<&str> {
        self.matches(text.as_bytes()).next().map(|(_, to)| to)
    }

    /// The text after replacing, as Hugging Face's tokenizers do it.
    pub(super) fn apply_by_grapheme(&self, text: &str) -> String {
        let mut changed = String::with_capacity(text.len());
        changed.extend(self.parts_by_grapheme(text).map(|(_, to)| to));
        changed
    }

    /// The parts of a text and what each becomes, as Hugging Face's tokenizers go through it: grapheme by
    /// grapheme, a short one as a whole if it begins with something that is replaced, otherwise each of
    /// its characters.
    pub(super) fn parts_by_grapheme<'t>(
        &'t self,
        text: &'t str,
    ) -> impl Iterator<Item = (&'t str, &'t str)> {
        use unicode_segmentation::UnicodeSegmentation;
        text.graphemes(true).flat_map(move |grapheme| {
            let short = Some(grapheme).filter(|grapheme| grapheme.len() < 6);
            let whole = short.and_then(|grapheme| self.shortest(grapheme));
            let parts = grapheme.char_indices();
            let parts = parts.filter(move |(at, _)| *at == 0 || whole.is_none());
            parts.map(move |(at, character)| {
                if let Some(to) = whole {
                    return (grapheme, to);
                }
                let part = grapheme.get(at..at + character.len_utf8());
                let part = part.unwrap_or_default();
                (part, self.shortest(part).unwrap_or(part))
            })
        })
    }
}
