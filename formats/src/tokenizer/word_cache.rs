//! A cache of a text's words and their tokens: texts repeat most of their words.

use alloc::vec::Vec;

/// The cache keeps no longer words, and none of more tokens.
const WORD_LEN: usize = 23;
const WORD_TOKENS: usize = 7;

/// Words kept at a time: direct-mapped, each in the place its hash names; about 230 KB.
const PLACES: usize = 1 << 12;

/// Shorter texts are encoded in less time than the table takes to clear.
const LEAST_TEXT: usize = 1 << 12;

/// A table of words and their tokens, for one text.
#[derive(Default)]
pub(super) struct WordCache {
    places: Vec<CachedWord>,
}

#[derive(Clone, Copy, Default)]
struct CachedWord {
    word: Word,
    count: u32,
    ids: [u32; WORD_TOKENS],
}

/// A word's bytes, zeros, and its length in the last byte: no word is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word([u64; 3]);

impl WordCache {
    /// The table that a text of this length is worth.
    pub(super) fn for_text(len: usize) -> WordCache {
        let places = match len < LEAST_TEXT {
            true => Vec::new(),
            false => alloc::vec![CachedWord::default(); PLACES],
        };
        WordCache { places }
    }

    /// The word as it is looked up, if it is one of those that are kept.
    pub(super) fn word(&self, text: &[u8]) -> Option<Word> {
        if self.places.is_empty() || text.len() > WORD_LEN {
            return None;
        }
        let mut bytes = [0; 24];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        *bytes.last_mut()? = text.len() as u8;
        let (words, _) = bytes.as_chunks::<8>();
        let mut word = Word::default();
        for (part, bytes) in word.0.iter_mut().zip(words) {
            *part = u64::from_le_bytes(*bytes);
        }
        Some(word)
    }

    /// What became of the word.
    pub(super) fn tokens(&self, word: Word) -> Option<&[u32]> {
        let known = self.places.get(word.place())?;
        (known.word == word).then(|| known.ids.get(..known.count as usize))?
    }

    /// Keeps the word in place of another.
    pub(super) fn keep(&mut self, word: Word, tokens: &[u32]) {
        let mut ids = [0; WORD_TOKENS];
        let (Some(kept), Some(place)) = (
            ids.get_mut(..tokens.len()),
            self.places.get_mut(word.place()),
        ) else {
            return;
        };
        kept.copy_from_slice(tokens);
        *place = CachedWord {
            word,
            count: tokens.len() as u32,
            ids,
        };
    }
}

impl Word {
    fn place(self) -> usize {
        // Odd numbers with bits all over (of the golden ratio, and of the square root of two).
        let [a, b, c] = self.0;
        let mixed = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.rotate_left(23) ^ c.rotate_left(47);
        (mixed.wrapping_mul(0x6A09_E667_F3BC_C909) >> 52) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        let mut known = WordCache::for_text(LEAST_TEXT);
        let word =
            |known: &WordCache, text: &str| known.word(text.as_bytes()).expect("short enough");
        let (one, two) = (word(&known, " the"), word(&known, " the\0"));
        known.keep(one, &[1, 2]);
        assert_eq!(known.tokens(one), Some(&[1, 2][..]));
        assert_eq!(known.tokens(two), None);
        known.keep(two, &[]);
        assert_eq!(known.tokens(two), Some(&[][..]));
        known.keep(one, &[7; WORD_TOKENS + 1]);
        assert_ne!(known.tokens(one), Some(&[7; WORD_TOKENS + 1][..]));
        assert_eq!(known.word("x".repeat(WORD_LEN + 1).as_bytes()), None);
        assert_eq!(WordCache::default().word(b"x"), None);
        assert!(word(&known, &"x".repeat(WORD_LEN)).place() < PLACES);
    }
}
