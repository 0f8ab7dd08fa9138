//! Tokens by id and by text.

use super::error::{Shown, TokenizerError, failure};
use super::limits;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use hashbrown::{DefaultHashBuilder, HashTable};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// The model makes it from text.
    Normal,
    /// Stands for text that no other token covers. Treated as control: nobody types it.
    Unknown,
    /// Has a meaning to the model and no text of its own.
    Control,
    /// An added token: found in text as written, before the model sees it.
    UserDefined,
    /// May appear while merging, but not in the result.
    Unused,
    /// Its text is in no alphabet that words are written in: the model never makes it.
    Foreign,
    /// One byte, used when no other token covers a character.
    Byte,
    /// No token has this id.
    Absent,
}

impl TokenKind {
    pub(super) fn is_control(self) -> bool {
        matches!(self, TokenKind::Control | TokenKind::Unknown)
    }
}

/// All tokens.
#[derive(Clone, Default)]
pub(super) struct Vocabulary {
    /// By token: the text that the model looks for in words.
    keys: Texts,
    /// By token: the bytes it stands for, if those are others.
    pieces: Option<Texts>,
    kinds: Vec<TokenKind>,
    /// Ids by text, of tokens that the model may make.
    table: HashTable<u32>,
    /// Ids by text, of control tokens.
    controls: HashTable<u32>,
    hasher: DefaultHashBuilder,
    longest: usize,
    /// So many at the end are pieces of text that have no id: the model makes of them what it makes
    /// of what is unknown.
    unlisted: usize,
}

/// Texts in one buffer.
#[derive(Clone, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Texts {
    /// Appends a text, if all of them stay below 4 GiB.
    pub(super) fn push(&mut self, text: &[u8]) -> Option<()> {
        let end = self.bytes.len().checked_add(text.len())?;
        let end = u32::try_from(end).ok()?;
        self.bytes.extend_from_slice(text);
        self.ends.push(end);
        Some(())
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes
            .get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }
}

impl Vocabulary {
    /// Appends the token with the next id.
    pub(super) fn push(&mut self, text: &[u8], kind: TokenKind) -> Result<(), TokenizerError> {
        let id = self.kinds.len();
        let pushed = match id < limits::TOKENS {
            true => self.keys.push(text),
            false => None,
        };
        if pushed.is_none() {
            return Err(failure!(
                Limit,
                "vocabulary is over {} tokens or 4 GiB of text at token {id} {}",
                limits::TOKENS,
                Shown(text)
            ));
        }
        self.kinds.push(kind);
        Ok(())
    }

    /// Bytes of the longest token that the model makes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Sets what tokens stand for, by id.
    pub(super) fn stand_for(&mut self, pieces: Texts) {
        self.pieces = Some(pieces);
    }

    /// Makes tokens findable by text. Of tokens with the same text a normal one counts
    /// before a user-defined one, otherwise the later.
    pub(super) fn index(&mut self) {
        let made = [TokenKind::UserDefined, TokenKind::Unused, TokenKind::Normal];
        let ids = self.of_kinds(&made);
        self.index_made(ids);
    }

    /// Makes these tokens findable by text as those that the model makes; the later counts.
    pub(super) fn index_made(&mut self, made: Vec<u32>) {
        self.table = self.table_of(made.into_iter());
        let controls = [TokenKind::Unknown, TokenKind::Control];
        let ids = self.of_kinds(&controls);
        self.controls = self.table_of(ids.into_iter());
        let longest = self.table.iter().filter_map(|&id| self.key(id));
        self.longest = longest.map(<[u8]>::len).max().unwrap_or(0);
    }

    /// The ids of tokens of these kinds, kind by kind.
    fn of_kinds(&self, kinds: &[TokenKind]) -> Vec<u32> {
        let mut found = Vec::new();
        for kind in kinds {
            found.extend(self.ids().filter(|&id| self.kind(id) == *kind));
        }
        found
    }

    /// Ids by text; later ones win.
    fn table_of(&self, ids: impl Iterator<Item = u32>) -> HashTable<u32> {
        let hash = |id: u32| self.hasher.hash_one(self.key(id).unwrap_or_default());
        let mut table = HashTable::new();
        for id in ids {
            let Some(text) = self.key(id).filter(|text| !text.is_empty()) else {
                continue;
            };
            match table.find_mut(hash(id), |&other| self.key(other) == Some(text)) {
                Some(other) => *other = id,
                None => {
                    table.insert_unique(hash(id), id, |&other| hash(other));
                }
            }
        }
        table
    }

    /// The id of the token with this text, if the model may make it.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        match text.len() <= self.longest {
            true => self.find_in(&self.table, text),
            false => None,
        }
    }

    /// The tokens that the model may make.
    pub(super) fn made(&self) -> impl Iterator<Item = u32> {
        self.table.iter().copied()
    }

    /// Tokens that the model makes from text and that have no other use.
    pub(super) fn normal(&self) -> impl Iterator<Item = u32> {
        self.ids().filter(|id| self.kind(*id) == TokenKind::Normal)
    }

    /// The id of the control token with this text.
    pub(super) fn find_control(&self, text: &[u8]) -> Option<u32> {
        self.find_in(&self.controls, text)
    }

    fn find_in(&self, table: &HashTable<u32>, text: &[u8]) -> Option<u32> {
        table
            .find(self.hasher.hash_one(text), |&id| self.key(id) == Some(text))
            .copied()
    }

    /// How many ids there are.
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// How many of them are tokens to others.
    pub(super) fn listed_len(&self) -> usize {
        self.len() - self.unlisted
    }

    /// The ids that are tokens to others.
    pub(super) fn listed_ids(&self) -> core::ops::Range<u32> {
        0..u32::try_from(self.listed_len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_listed(&self, id: u32) -> bool {
        usize::try_from(id).is_ok_and(|id| id < self.listed_len())
    }

    pub(super) fn has_unlisted(&self) -> bool {
        self.unlisted > 0
    }

    /// Takes the ids of so many at the end.
    pub(super) fn unlist(&mut self, count: usize) {
        self.unlisted = count.min(self.len());
    }

    pub(super) fn ids(&self) -> core::ops::Range<u32> {
        // `push` keeps the count below `limits::TOKENS`.
        0..u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    /// The text of a token that the model looks for in words.
    pub(super) fn key(&self, id: u32) -> Option<&[u8]> {
        let index = usize::try_from(id).ok()?;
        match *self.kinds.get(index)? {
            TokenKind::Absent => None,
            _ => self.keys.get(index),
        }
    }

    /// The bytes that a token stands for.
    pub(super) fn piece(&self, id: u32) -> Option<&[u8]> {
        let key = self.key(id)?;
        match &self.pieces {
            Some(pieces) => pieces.get(usize::try_from(id).ok()?),
            None => Some(key),
        }
    }

    pub(super) fn kind(&self, id: u32) -> TokenKind {
        usize::try_from(id)
            .ok()
            .and_then(|index| self.kinds.get(index).copied())
            .unwrap_or(TokenKind::Absent)
    }

    /// The token that stands for each byte: the one of [`TokenKind::Byte`], whose text is the byte.
    pub(super) fn byte_tokens(&self) -> [Option<u32>; 256] {
        let mut tokens = [None; 256];
        for id in self.ids().filter(|&id| self.kind(id) == TokenKind::Byte) {
            let byte = match self.key(id) {
                Some(&[byte]) => Some(byte),
                text => text.and_then(byte_of),
            };
            if let Some(byte) = byte
                && let Some(slot) = tokens.get_mut(usize::from(byte))
            {
                *slot = Some(id);
            }
        }
        tokens
    }
}

/// The byte that `<0xHH>` stands for.
pub(super) fn byte_of(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digits = core::str::from_utf8(digits).ok()?;
    if digits.len() != 2 || digits.starts_with('+') {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}
