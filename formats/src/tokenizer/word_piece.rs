//! WordPiece (Devlin et al. 2019): greedy longest match, from a word's beginning.

use super::error::TokenizerError;
use super::trie::Trie;
use super::vocabulary::{TokenKind, Vocabulary};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The most characters of a word, where the files do not say.
pub(super) const BERT_CHARACTERS: usize = 100;

/// Tokens that begin a word and tokens that go on with one.
#[derive(Clone)]
pub(super) struct WordPiece {
    begins: Trie,
    goes_on: Trie,
    /// Stands before tokens that go on with a word.
    continues: String,
    unknown: u32,
    /// Longer words are unknown.
    most_characters: usize,
}

impl WordPiece {
    /// Tokens that begin a word are written with a space, others without.
    pub(super) fn spaced(
        vocabulary: &Vocabulary,
        unknown: u32,
    ) -> Result<WordPiece, TokenizerError> {
        let (mut begins, mut goes_on) = (Vec::new(), Vec::new());
        let normal = |id: &u32| vocabulary.kind(*id) == TokenKind::Normal;
        for id in vocabulary.ids().filter(normal) {
            let text = vocabulary.key(id).unwrap_or_default();
            match text.strip_prefix(b" ") {
                Some(text) => begins.push((text, id)),
                None => goes_on.push((text, id)),
            }
        }
        Ok(WordPiece {
            begins: Trie::new(begins)?,
            goes_on: Trie::new(goes_on)?,
            continues: String::new(),
            unknown,
            most_characters: BERT_CHARACTERS,
        })
    }

    /// Tokens that go on with a word begin with `continues`; of a word that begins so itself, they
    /// may also be the beginning.
    pub(super) fn prefixed(
        vocabulary: &Vocabulary,
        continues: &str,
        unknown: u32,
        most_characters: usize,
    ) -> Result<WordPiece, TokenizerError> {
        let (mut begins, mut goes_on) = (Vec::new(), Vec::new());
        for id in vocabulary.made() {
            let text = vocabulary.key(id).unwrap_or_default();
            begins.push((text, id));
            if let Some(text) = text.strip_prefix(continues.as_bytes()) {
                goes_on.push((text, id));
            }
        }
        Ok(WordPiece {
            begins: Trie::new(begins)?,
            goes_on: Trie::new(goes_on)?,
            continues: continues.to_string(),
            unknown,
            most_characters,
        })
    }

    pub(super) fn unknown(&self) -> u32 {
        self.unknown
    }

    pub(super) fn continues(&self) -> &str {
        &self.continues
    }

    /// If any part of a word is unknown, the whole word is.
    pub(super) fn encode(&self, word: &str, allows: &impl Fn(u32) -> bool, ids: &mut Vec<u32>) {
        let before = ids.len();
        let mut rest = word.as_bytes();
        let mut trie = &self.begins;
        if word.chars().count() <= self.most_characters {
            while let Some((len, id)) = trie.longest_that(rest, allows) {
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
