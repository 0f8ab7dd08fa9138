//! WordPiece (Devlin et al. 2019): greedy longest match, from a word's beginning.

use super::trie::Trie;
use super::vocabulary::{TokenKind, Vocabulary};
use alloc::vec::Vec;

/// The most characters of a word, where the files do not say.
pub(super) const BERT_CHARACTERS: usize = 100;

/// The vocabulary writes tokens that begin a word with a space, others without.
#[derive(Clone)]
pub(super) struct WordPiece {
    begins: Trie,
    goes_on: Trie,
    unknown: u32,
    /// Longer words are unknown.
    most_characters: usize,
}

impl WordPiece {
    pub(super) fn new(vocabulary: &Vocabulary, unknown: u32, most_characters: usize) -> WordPiece {
        let (mut begins, mut goes_on) = (Vec::new(), Vec::new());
        let normal = |id: &u32| vocabulary.kind(*id) == TokenKind::Normal;
        for id in vocabulary.ids().filter(normal) {
            let text = vocabulary.piece(id).unwrap_or_default();
            match text.strip_prefix(b" ") {
                Some(text) => begins.push((text, id)),
                None => goes_on.push((text, id)),
            }
        }
        WordPiece {
            begins: Trie::new(begins),
            goes_on: Trie::new(goes_on),
            unknown,
            most_characters,
        }
    }

    /// If any part of a word is unknown, the whole word is.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        let mut rest = word.as_bytes();
        let mut trie = &self.begins;
        if word.chars().count() <= self.most_characters {
            while let Some((len, id)) = trie.longest(rest) {
                ids.push(id);
                rest = rest.get(len..).unwrap_or_default();
                trie = &self.goes_on;
            }
        }
        if !rest.is_empty() {
            ids.truncate(before);
            ids.push(self.unknown);
        }
    }
}
