//! Builds a vocabulary from tokens that come in any order, and some more than once.

use super::error::{Shown, TokenizerError, failure};
use super::limits;
use super::merge::NONE;
use super::vocabulary::{TokenKind, Vocabulary};
use crate::manifest::Strings;
use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

/// Tokens as the files give them, by id.
pub(super) struct VocabularyBuilder {
    texts: Strings,
    kinds: Vec<TokenKind>,
    /// Index into the two lists above, or `NONE`.
    by_id: Vec<u32>,
}

impl VocabularyBuilder {
    /// Room for tokens with these ids.
    pub(super) fn new(
        ids: impl Iterator<Item = u32>,
        file: &str,
    ) -> Result<VocabularyBuilder, TokenizerError> {
        let (mut count, mut len) = (0usize, 0usize);
        for id in ids {
            count = count.saturating_add(1);
            len = len.max(usize::try_from(id).map_or(usize::MAX, |id| id.saturating_add(1)));
        }
        let most = count.saturating_mul(2).saturating_add(limits::ID_GAP);
        if count == 0 || len > most.min(limits::TOKENS) {
            return Err(failure!(
                Limit,
                "{file} gives {count} tokens ids up to {}, expected between 1 and {} tokens and \
                 no large gaps between ids",
                len.saturating_sub(1),
                limits::TOKENS
            ));
        }
        Ok(VocabularyBuilder {
            texts: Strings::default(),
            kinds: Vec::new(),
            by_id: vec![NONE; len],
        })
    }

    /// Adds a token, or changes its kind if it is there with the same text.
    pub(super) fn put(
        &mut self,
        id: u32,
        text: &[u8],
        kind: TokenKind,
        file: &str,
    ) -> Result<(), TokenizerError> {
        let index = self.kinds.len();
        let next = u32::try_from(index).unwrap_or(NONE);
        let slot = usize::try_from(id)
            .ok()
            .and_then(|id| self.by_id.get_mut(id));
        let Some(slot) = slot.filter(|_| next != NONE) else {
            return Err(failure!(Limit, "{file} gives {} the id {id}", Shown(text)));
        };
        if *slot == NONE {
            *slot = next;
            self.texts.push(text);
            self.kinds.push(kind);
            return Ok(());
        }
        let present = usize::try_from(*slot).unwrap_or(usize::MAX);
        let other = self.texts.get(present).unwrap_or_default();
        if other != text {
            return Err(failure!(
                Malformed,
                "{file} gives the id {id} to {} and to {}",
                Shown(other),
                Shown(text)
            ));
        }
        if let Some(slot) = self.kinds.get_mut(present) {
            *slot = kind;
        }
        Ok(())
    }

    /// The vocabulary; `raw` turns the text of a token into what it is looked up by.
    pub(super) fn vocabulary(
        &self,
        raw: impl for<'t> Fn(u32, &'t [u8], TokenKind) -> Cow<'t, [u8]>,
    ) -> Result<Vocabulary, TokenizerError> {
        let mut vocabulary = Vocabulary::default();
        for (id, &index) in (0..).zip(&self.by_id) {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            match self.texts.get(index).zip(self.kinds.get(index)) {
                Some((text, &kind)) => vocabulary.push(&raw(id, text, kind), kind)?,
                None => vocabulary.push(&[], TokenKind::Absent)?,
            }
        }
        vocabulary.index();
        Ok(vocabulary)
    }
}
