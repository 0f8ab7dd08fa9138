//! From a word to token ids.

use super::characters::{Affixes, Characters, Fallback, symbol};
use super::encode::sign_after_text;
use super::error::{Shown, TokenizerError, failure};
use super::limits;
use super::merge::{Merged, Merger, NONE, Symbol};
use super::trie::Trie;
use super::unigram::Unigram;
use super::vocabulary::{TokenKind, Vocabulary};
use super::word_piece::WordPiece;
use alloc::vec::Vec;
use hashbrown::HashMap;

/// How a word becomes tokens.
#[derive(Clone)]
pub(super) enum TokenizerModel {
    /// BPE that merges pairs in the order of a list.
    Ranked(Ranked),
    /// BPE that merges pairs by the score of the token they make (SentencePiece).
    Scored(Scored),
    /// The most likely pieces.
    Unigram(Unigram),
    /// Greedy longest match of pieces of a word.
    WordPiece(WordPiece),
    /// Whole words.
    WordLevel { unknown: u32 },
    /// Greedy longest match of bytes (RWKV).
    Longest(Trie),
}

/// The symbols of a word before its first merge.
#[derive(Clone)]
pub(super) enum Alphabet {
    /// Bytes: the token of each.
    Bytes([Option<u32>; 256]),
    /// Characters.
    Characters(Fallback),
}

#[derive(Clone)]
pub(super) struct Ranked {
    pub(super) alphabet: Alphabet,
    pub(super) merges: Merges,
    pub(super) affixes: Affixes,
    /// Whether a word that is a token is that token, without merging (`ignore_merges`).
    pub(super) whole_words_first: bool,
}

#[derive(Clone)]
pub(super) struct Scored {
    /// By token: smaller is merged earlier.
    pub(super) order: Vec<u32>,
    pub(super) fallback: Fallback,
}

/// BPE's merges: pairs of tokens and the token each becomes.
#[derive(Clone, Default)]
pub(super) struct Merges {
    pairs: HashMap<(u32, u32), Merged>,
    /// Of control tokens that are merged from others: the pairs.
    controls: HashMap<u32, (u32, u32)>,
}

impl Merges {
    pub(super) fn with_capacity(count: usize) -> Merges {
        Merges {
            pairs: HashMap::with_capacity(count),
            controls: HashMap::new(),
        }
    }

    /// Whether a control token is merged from others.
    pub(super) fn go_through_control(&self) -> bool {
        !self.controls.is_empty()
    }

    /// The tokens that pairs become.
    fn products(&self) -> impl Iterator<Item = u32> {
        self.pairs.values().map(|merged| merged.id)
    }

    /// The pairs, in their order.
    pub(super) fn in_order(&self) -> Vec<((u32, u32), Merged)> {
        let mut pairs: Vec<_> = self
            .pairs
            .iter()
            .map(|(pair, merged)| (*pair, *merged))
            .collect();
        pairs.sort_unstable_by_key(|(_, merged)| merged.order);
        pairs
    }

    /// Adds the merge with this index in the file's list; the texts are as the vocabulary has them,
    /// and the second begins with `continues` where tokens that go on with a word do.
    pub(super) fn add(
        &mut self,
        index: usize,
        (left, right): (&[u8], &[u8]),
        continues: &[u8],
        vocabulary: &Vocabulary,
        joined: &mut Vec<u8>,
    ) -> Result<(), TokenizerError> {
        joined.clear();
        joined.extend_from_slice(left);
        joined.extend_from_slice(right.get(continues.len()..).unwrap_or_default());
        let find = |text: &[u8]| {
            vocabulary.find(text).ok_or_else(|| {
                failure!(
                    Malformed,
                    "merge {index} of {} and {} needs {}, which is not in the vocabulary",
                    Shown(left),
                    Shown(right),
                    Shown(text)
                )
            })
        };
        let pair = (find(left)?, find(right)?);
        let order = u32::try_from(index)
            .map_err(|_| failure!(Limit, "merge {index} is beyond {}", u32::MAX))?;
        // A merge whose product is a control token is left out: users cannot type those.
        if vocabulary.find(joined).is_none() && vocabulary.find_control(joined).is_some() {
            return Ok(());
        }
        let id = find(joined)?;
        if vocabulary.kind(id).is_control() {
            self.controls.entry(id).or_insert(pair);
        }
        self.pairs.entry(pair).or_insert(Merged { order, id });
        Ok(())
    }

    /// Appends the token, or what it was merged from if it is a control token.
    fn unmerged(&self, id: u32, ids: &mut Vec<u32>) {
        let mut waiting = alloc::vec![id];
        while let Some(id) = waiting.pop() {
            match self.controls.get(&id) {
                // Each side is shorter, unless the other is empty, so this ends.
                Some((left, right)) if *left != id && *right != id => {
                    waiting.extend([*right, *left]);
                }
                _ => ids.push(id),
            }
        }
    }
}

impl TokenizerModel {
    /// Appends the tokens of one word, control tokens among them only `with_control`.
    pub(super) fn encode(
        &self,
        word: &[u8],
        vocabulary: &Vocabulary,
        with_control: bool,
        merger: &mut Merger,
        ids: &mut Vec<u32>,
    ) {
        let known = merger.known.word(word);
        if let Some(tokens) = known.and_then(|word| merger.known.tokens(word)) {
            ids.extend_from_slice(tokens);
            return;
        }
        let before = ids.len();
        let allows = |id: u32| with_control || !vocabulary.kind(id).is_control();
        let mut rest = word;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cut(rest));
            // Only words of bytes are not text.
            let text = || core::str::from_utf8(piece).unwrap_or_default();
            match self {
                TokenizerModel::Ranked(model) => {
                    model.encode(piece, vocabulary, &allows, merger, ids);
                }
                TokenizerModel::Scored(model) => model.encode(text(), vocabulary, merger, ids),
                TokenizerModel::Unigram(model) => {
                    model.encode(text(), vocabulary, &allows, merger, ids);
                }
                TokenizerModel::WordPiece(model) => model.encode(text(), &allows, ids),
                TokenizerModel::WordLevel { unknown } => {
                    let found = vocabulary.find(piece).filter(|id| allows(*id));
                    ids.push(found.unwrap_or(*unknown));
                }
                TokenizerModel::Longest(tokens) => longest(tokens, piece, ids),
            }
            rest = after;
        }
        if vocabulary.has_unlisted()
            && let Some(unknown) = self.unknown()
        {
            let made = ids.get_mut(before..).unwrap_or_default().iter_mut();
            made.filter(|id| !vocabulary.is_listed(**id))
                .for_each(|id| *id = unknown);
        }
        if let Some(word) = known {
            merger
                .known
                .keep(word, ids.get(before..).unwrap_or_default());
        }
    }

    /// What is written before tokens that go on with a word, and after those that end one.
    pub(super) fn affixes(&self) -> (&str, &str) {
        match self {
            TokenizerModel::Ranked(model) => (&model.affixes.continues, &model.affixes.ends),
            TokenizerModel::WordPiece(model) => (model.continues(), ""),
            TokenizerModel::Scored(_)
            | TokenizerModel::Unigram(_)
            | TokenizerModel::WordLevel { .. }
            | TokenizerModel::Longest(_) => ("", ""),
        }
    }

    /// The token for what no other token covers.
    pub(super) fn unknown(&self) -> Option<u32> {
        match self {
            TokenizerModel::Ranked(model) => match &model.alphabet {
                Alphabet::Bytes(_) => None,
                Alphabet::Characters(fallback) => fallback.unknown,
            },
            TokenizerModel::Scored(model) => model.fallback.unknown,
            TokenizerModel::Unigram(model) => model.unknown_token(),
            TokenizerModel::WordPiece(model) => Some(model.unknown()),
            TokenizerModel::WordLevel { unknown } => Some(*unknown),
            TokenizerModel::Longest(_) => None,
        }
    }

    /// The sign for a space, if words can be cut before it and encoded one by one: no token has it
    /// after something else.
    pub(super) fn cuts_before(
        &self,
        vocabulary: &Vocabulary,
        sign: &'static str,
    ) -> Option<&'static str> {
        let sign_text = sign.as_bytes();
        let goes_on = |id: u32| {
            let key = vocabulary.key(id).unwrap_or_default();
            sign_after_text(key, sign_text).is_some()
        };
        // A sign that is no token may fuse with its neighbours into one unknown token.
        let space = vocabulary.find(sign_text)?;
        let cuts = match self {
            TokenizerModel::Ranked(model) => match model.alphabet {
                Alphabet::Bytes(_) => false,
                Alphabet::Characters(_) => {
                    model.affixes == Affixes::default()
                        && !model.whole_words_first
                        && !model.merges.products().any(goes_on)
                }
            },
            TokenizerModel::Scored(_) => !vocabulary.made().any(goes_on),
            TokenizerModel::Unigram(_) => {
                vocabulary.kind(space) == TokenKind::Normal && !vocabulary.made().any(goes_on)
            }
            TokenizerModel::WordPiece(_)
            | TokenizerModel::WordLevel { .. }
            | TokenizerModel::Longest(_) => false,
        };
        cuts.then_some(sign)
    }
}

fn longest(tokens: &Trie, text: &[u8], ids: &mut Vec<u32>) {
    let mut rest = text;
    while !rest.is_empty() {
        let (len, id) = tokens.longest(rest).unzip();
        ids.extend(id);
        // A byte that the vocabulary lacks is left out.
        rest = rest.get(len.unwrap_or(1)..).unwrap_or_default();
    }
}

/// Where to cut a word so that the first part is within `limits::WORD_LEN`.
fn cut(word: &[u8]) -> usize {
    if word.len() <= limits::WORD_LEN {
        return word.len();
    }
    // A character has at most four bytes.
    let begins = |at: &usize| word.get(*at).is_none_or(|byte| byte & 0xC0 != 0x80);
    (limits::WORD_LEN - 3..=limits::WORD_LEN)
        .find(begins)
        .unwrap_or(limits::WORD_LEN)
}

impl Ranked {
    fn encode(
        &self,
        word: &[u8],
        vocabulary: &Vocabulary,
        allows: &dyn Fn(u32) -> bool,
        merger: &mut Merger,
        ids: &mut Vec<u32>,
    ) {
        if self.whole_words_first
            && let Some(id) = vocabulary.find(word).filter(|id| allows(*id))
        {
            ids.push(id);
            return;
        }
        let pair =
            |left: &Symbol, right: &Symbol| self.merges.pairs.get(&(left.id, right.id)).copied();
        let append = |symbol: Symbol, ids: &mut Vec<u32>| match allows(symbol.id) {
            true => ids.push(symbol.id),
            false => self.merges.unmerged(symbol.id, ids),
        };
        match &self.alphabet {
            Alphabet::Bytes(tokens) => {
                let symbols = || {
                    // As in the reference, a byte that the vocabulary lacks is left out.
                    (0..).zip(word).filter_map(|(start, &byte)| {
                        let id = tokens.get(usize::from(byte)).copied().flatten()?;
                        Some(Symbol { start, len: 1, id })
                    })
                };
                merger.merge(symbols, pair, ids, append);
            }
            Alphabet::Characters(fallback) => {
                let word = core::str::from_utf8(word).unwrap_or_default();
                let symbols = || Characters::of(word, fallback, &self.affixes, vocabulary);
                merger.merge(symbols, pair, ids, append);
            }
        }
    }
}

impl Scored {
    fn encode(&self, word: &str, vocabulary: &Vocabulary, merger: &mut Merger, ids: &mut Vec<u32>) {
        let bytes = word.as_bytes();
        let stretch =
            |start: u32, len: u32| bytes.get(start as usize..start as usize + len as usize);
        let symbols = || {
            let places = word.char_indices();
            places.map(|(at, character)| symbol(at, character.len_utf8(), NONE))
        };
        // For each unused token that was merged: the length of its left part.
        let unused = core::cell::RefCell::new(HashMap::<u32, u32>::new());
        let pair = |left: &Symbol, right: &Symbol| {
            let id = vocabulary.find(stretch(left.start, left.len + right.len)?)?;
            if vocabulary.kind(id) == TokenKind::Unused {
                unused.borrow_mut().insert(id, left.len);
            }
            let order = *self.order.get(id as usize)?;
            Some(Merged { order, id })
        };
        let mut was_unknown = false;
        merger.merge(symbols, pair, ids, |symbol, ids| {
            let whole = stretch(symbol.start, symbol.len);
            was_unknown &= symbol.start > 0;
            if let Some(id) = whole.and_then(|text| vocabulary.find(text))
                && vocabulary.kind(id) != TokenKind::Unused
            {
                ids.push(id);
                was_unknown = false;
                return;
            }
            // Parts still to be encoded, the next on top.
            let mut parts = alloc::vec![(symbol.start, symbol.len)];
            while let Some((start, len)) = parts.pop() {
                let Some(text) = stretch(start, len) else {
                    continue;
                };
                let id = vocabulary.find(text);
                match id {
                    Some(id) if vocabulary.kind(id) != TokenKind::Unused => {
                        ids.push(id);
                        was_unknown = false;
                        continue;
                    }
                    Some(id) => {
                        match unused.borrow().get(&id).filter(|left| **left < len) {
                            Some(&left) => {
                                parts.push((start + left, len - left));
                                parts.push((start, left));
                            }
                            None => ids.push(id),
                        }
                        was_unknown = false;
                        continue;
                    }
                    None => {}
                }
                if let Some(tokens) = self.fallback.byte_tokens(text) {
                    ids.extend(tokens);
                    was_unknown = false;
                } else if let Some(id) = self.fallback.unknown {
                    if !(was_unknown && self.fallback.fuses_unknown) {
                        ids.push(id);
                    }
                    was_unknown = true;
                }
            }
        });
    }
}
