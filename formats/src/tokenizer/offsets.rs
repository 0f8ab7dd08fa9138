//! Where tokens stand in the text they are made of.
//!
//! Encoding keeps no track of that, and most callers want none. Here a text goes the same way once
//! more with a range of the text beside each of its bytes: what a normalizer or a pre-tokenizer makes of a
//! character stands where that stood, and what they put before it as well.

use super::added::{AddedTokens, Segment};
use super::budget::TextBudget;
use super::error::TokenizerError;
use super::merge::Merger;
use super::normalize::NormalizerStep;
use super::pre_tokenizer::{PreTokenizerStep, lengths, metaspace, reaches, scripts, spaced};
use super::vocabulary::{TokenKind, byte_of};
use super::{Tokenizer, beginning, byte_level};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

/// A token, and where in the text it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenOffset {
    /// The token.
    pub id: u32,
    /// Its first byte in the text; white space around a token's own characters is no part of it.
    pub start: usize,
    /// The byte behind its last.
    pub end: usize,
    /// Which word of the pre-tokenizer's it is of, counted from 0.
    pub word: usize,
}

/// Bytes of the most characters that are looked at together: none of those that mean something are more.
const JOINED_LEN: usize = 256;

/// Bytes of the text as it was given.
type GivenBytes = (usize, usize);

/// A text on its way, and of each of its bytes where it comes from.
#[derive(Clone, Debug, Default)]
struct Traced {
    text: String,
    from: Vec<GivenBytes>,
}

impl Traced {
    /// A part of the text as it was given.
    fn given(text: &str, start: usize) -> Traced {
        let mut traced = Traced::default();
        for (at, character) in text.char_indices() {
            let at = start + at;
            traced.push(
                character.encode_utf8(&mut [0; 4]),
                (at, at + character.len_utf8()),
            );
        }
        traced
    }

    /// Appends what comes from one stretch.
    fn push(&mut self, text: &str, from: GivenBytes) {
        self.text.push_str(text);
        self.from.resize(self.text.len(), from);
    }

    /// Appends a part as it is.
    fn keep(&mut self, of: &Traced, range: Range<usize>) {
        self.text
            .push_str(of.text.get(range.clone()).unwrap_or_default());
        self.from
            .extend_from_slice(of.from.get(range).unwrap_or_default());
    }

    /// All that the bytes of a range come from.
    fn stretch(&self, range: Range<usize>) -> GivenBytes {
        stretch(self.from.get(range).unwrap_or_default())
    }

    /// Where what is put before the text stands: where its first character does.
    fn beginning(&self) -> GivenBytes {
        self.from.first().copied().unwrap_or_default()
    }
}

fn stretch(from: &[GivenBytes]) -> GivenBytes {
    let start = from.iter().map(|from| from.0).min().unwrap_or(0);
    let end = from.iter().map(|from| from.1).max().unwrap_or(0);
    (start, end)
}

impl Tokenizer {
    /// The tokens of `text` alone, as [`Tokenizer::encode`] gives them, with where each stands.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_offsets(&self, text: &str) -> Result<Vec<TokenOffset>, TokenizerError> {
        let mut merger = Merger::for_text(text.len());
        let budget = TextBudget::for_text(text.len());
        let mut bytes = Vec::new();
        let mut tokens = Tokens::default();
        let whole = Traced::given(text, 0);
        self.added(&self.raw, &whole, &mut tokens, &mut |range, tokens| {
            let stretch = text.get(range.clone()).unwrap_or_default();
            let mut beginning = match range.start {
                0 => beginning::of(stretch),
                _ => 0,
            };
            let mut traced = Traced::given(stretch, range.start);
            for step in &self.normalizer {
                let Some(changed) = step.traced(&traced, &mut beginning, &budget) else {
                    continue;
                };
                if !budget.makes(changed.text.len()) {
                    break;
                }
                traced = changed;
            }
            self.added(&self.normalized, &traced, tokens, &mut |range, tokens| {
                let start = range.start;
                let mut stretch = Traced::default();
                stretch.keep(&traced, range);
                let beginning = beginning::within(beginning, &stretch.text, start);
                words(
                    &self.pre_tokenizer,
                    &stretch,
                    beginning,
                    &budget,
                    &mut |word| {
                        self.word(word, (&mut merger, &mut bytes), tokens);
                    },
                );
            });
        });
        budget.result()?;
        let mut found = tokens.found;
        for token in &mut found {
            trim(text, token);
        }
        Ok(found)
    }

    /// Finds added tokens, and hands over what lies between them.
    fn added(
        &self,
        added: &AddedTokens,
        traced: &Traced,
        tokens: &mut Tokens,
        between: &mut dyn FnMut(Range<usize>, &mut Tokens),
    ) {
        added.segments(&traced.text, false, &mut |segment| match segment {
            Segment::Text(range) => between(range, tokens),
            Segment::Token(id, range) => {
                let (start, end) = traced.stretch(range);
                tokens.push(id, start, end);
                tokens.word += 1;
            }
        });
    }

    /// The tokens of one word.
    fn word(
        &self,
        word: &Traced,
        (merger, unmapped): (&mut Merger, &mut Vec<u8>),
        tokens: &mut Tokens,
    ) {
        let mut ids = Vec::new();
        let (mut bytes, mut from) = (Vec::new(), Vec::new());
        if self.unmaps_words {
            for (at, character) in word.text.char_indices() {
                byte_level::unmap(character.encode_utf8(&mut [0; 4]), unmapped);
                bytes.append(unmapped);
                from.resize(bytes.len(), word.from.get(at).copied().unwrap_or_default());
            }
            let model = &self.model;
            model.encode(&bytes, &self.vocabulary, false, merger, &mut ids);
        } else {
            for (at, character) in word.text.char_indices() {
                let written = match self.reads_metaspace && character == '▁' {
                    true => ' ',
                    false => character,
                };
                bytes.extend_from_slice(written.encode_utf8(&mut [0; 4]).as_bytes());
                from.resize(bytes.len(), word.from.get(at).copied().unwrap_or_default());
            }
            self.encode_word(&bytes, false, merger, &mut ids);
        }
        let mut at = 0;
        for (index, id) in ids.iter().enumerate() {
            let rest = bytes.get(at..).unwrap_or_default();
            let len = match self.written_len(*id, rest, at > 0) {
                Some(len) => len,
                None => {
                    // What no token covers ends where the text of the next one is found.
                    let next = ids.get(index + 1);
                    let found = next.and_then(|next| {
                        (1..rest.len()).find(|len| {
                            let rest = rest.get(*len..).unwrap_or_default();
                            self.written_len(*next, rest, true)
                                .is_some_and(|len| len > 0)
                        })
                    });
                    found.unwrap_or(rest.len())
                }
            };
            let (start, end) = stretch(from.get(at..at + len).unwrap_or_default());
            tokens.push(*id, start, end);
            at += len;
        }
        tokens.word += usize::from(!ids.is_empty());
    }

    /// The bytes that a token covers at the beginning of `rest`, if its text is there.
    fn written_len(&self, id: u32, rest: &[u8], goes_on: bool) -> Option<usize> {
        if self.model.unknown() == Some(id) {
            return None;
        }
        let key = self.vocabulary.key(id)?;
        if self.vocabulary.kind(id) == TokenKind::Byte
            && let Some(byte) = byte_of(key)
        {
            return rest.starts_with(&[byte]).then_some(1);
        }
        let (continues, ends) = self.model.affixes();
        let without = key.strip_suffix(ends.as_bytes()).unwrap_or(key);
        let inside = key.strip_prefix(continues.as_bytes()).filter(|_| goes_on);
        let inside_without = without
            .strip_prefix(continues.as_bytes())
            .filter(|_| goes_on);
        let forms = [inside_without, inside, Some(without), Some(key)];
        let mut fits = forms
            .into_iter()
            .flatten()
            .filter(|form| rest.starts_with(form));
        fits.next().map(<[u8]>::len)
    }
}

/// The tokens found so far.
#[derive(Default)]
struct Tokens {
    found: Vec<TokenOffset>,
    word: usize,
}

impl Tokens {
    fn push(&mut self, id: u32, start: usize, end: usize) {
        let word = self.word;
        self.found.push(TokenOffset {
            id,
            start,
            end,
            word,
        });
    }
}

/// Leaves out white space at both ends; what is nothing else stays, unless it is spaces: of those there
/// is nothing, at their end.
fn trim(text: &str, token: &mut TokenOffset) {
    let Some(own) = text.get(token.start..token.end) else {
        return;
    };
    let trimmed = own.trim_start();
    if !trimmed.is_empty() || own.trim_start_matches(' ').is_empty() {
        token.start += own.len() - trimmed.len();
        token.end = token.start + trimmed.trim_end().len();
    }
}

impl NormalizerStep {
    /// What the step makes of a text, or `None` if nothing changes.
    fn traced(
        &self,
        before: &Traced,
        beginning: &mut usize,
        budget: &TextBudget,
    ) -> Option<Traced> {
        let changed = self.apply(&before.text, beginning, budget)?;
        let mut after = Traced::default();
        match self {
            NormalizerStep::Prepend(prefix) => {
                after.push(prefix, before.beginning());
                after.keep(before, 0..before.text.len());
            }
            NormalizerStep::Replace { from, to } => {
                from.segments(
                    &before.text,
                    budget,
                    &mut |range, is_match| match is_match {
                        true if budget.makes(to.len()) => after.push(to, before.stretch(range)),
                        true => {}
                        false => after.keep(before, range),
                    },
                );
            }
            // These only leave out.
            NormalizerStep::Strip { .. } | NormalizerStep::CollapseSpaces => {
                let mut kept = changed.chars().peekable();
                for (at, character) in before.text.char_indices() {
                    if kept.next_if_eq(&character).is_some() {
                        after.keep(before, at..at + character.len_utf8());
                    }
                }
            }
            NormalizerStep::Lowercase
            | NormalizerStep::DropMarks { .. }
            | NormalizerStep::CleanForTranslation
            | NormalizerStep::Bytes
            | NormalizerStep::Clean
            | NormalizerStep::SpaceChinese => self.each(before, &mut after, false),
            NormalizerStep::Nfc
            | NormalizerStep::Nfd
            | NormalizerStep::Nfkc
            | NormalizerStep::Nfkd
            | NormalizerStep::Charsmap { .. } => self.each(before, &mut after, true),
        }
        if after.text != changed {
            // What depends on more than its neighbours comes from all of it.
            after = Traced::default();
            after.push(&changed, before.stretch(0..before.text.len()));
        }
        Some(after)
    }

    /// Character by character, or if `joins` by those that become something else together.
    fn each(&self, before: &Traced, after: &mut Traced, joins: bool) {
        let changed = |text: &str| self.changed(text).unwrap_or_else(|| text.to_string());
        let text = before.text.as_str();
        let mut start = 0;
        let mut held = String::new();
        for (at, character) in text.char_indices() {
            let end = at + character.len_utf8();
            let own = text.get(at..end).unwrap_or_default();
            let alone = changed(own);
            let is_apart = !joins
                || at - start > JOINED_LEN
                || (own.is_ascii()
                    && text
                        .get(start..at)
                        .is_some_and(|held| held.is_ascii() && held != "\r"))
                || changed(text.get(start..end).unwrap_or_default())
                    == [&held, alone.as_str()].concat();
            if is_apart {
                after.push(&held, before.stretch(start..at));
                start = at;
                held = alone;
            } else {
                held = changed(text.get(start..end).unwrap_or_default());
            }
        }
        after.push(&held, before.stretch(start..text.len()));
    }
}

/// [`super::pre_tokenizer::words`] with where they come from.
fn words(
    steps: &[PreTokenizerStep],
    text: &Traced,
    beginning: usize,
    budget: &TextBudget,
    word: &mut dyn FnMut(&Traced),
) {
    let Some((step, rest)) = steps.split_first() else {
        if !text.text.is_empty() && !budget.is_spent() {
            word(text);
        }
        return;
    };
    if !budget.makes(text.text.len()) {
        return;
    }
    let mut pieces = |range: Range<usize>| {
        let start = range.start;
        let mut piece = Traced::default();
        piece.keep(text, range);
        let beginning = beginning::within(beginning, &piece.text, start);
        words(rest, &piece, beginning, budget, word);
    };
    let mut changed = Traced::default();
    let beginning = match step {
        PreTokenizerStep::Split(split) => return split.apply(&text.text, budget, &mut pieces),
        PreTokenizerStep::Scripts => return scripts(&text.text, &mut pieces),
        PreTokenizerStep::Length(length) => return lengths(&text.text, *length, &mut pieces),
        PreTokenizerStep::Space => {
            let added = spaced(&text.text).len() - text.text.len();
            if added > 0 {
                changed.push(" ", text.beginning());
            }
            changed.keep(text, 0..text.text.len());
            reaches(beginning, added)
        }
        PreTokenizerStep::Bytes => {
            let mut moved = 0;
            for (at, character) in text.text.char_indices() {
                let mapped = byte_level::mapped(character.encode_utf8(&mut [0; 4]));
                let from = text.from.get(at).copied().unwrap_or_default();
                changed.push(&mapped, from);
                if at < beginning {
                    moved = changed.text.len();
                }
            }
            moved
        }
        PreTokenizerStep::Metaspace { sign, prepends } => {
            let whole = metaspace(&text.text, *sign, *prepends, beginning > 0);
            let written = |character: char| if character == ' ' { *sign } else { character };
            let len: usize = text.text.chars().map(|c| written(c).len_utf8()).sum();
            if whole.len() > len {
                changed.push(sign.encode_utf8(&mut [0; 4]), text.beginning());
            }
            let mut moved = 0;
            for (at, character) in text.text.char_indices() {
                let from = text.from.get(at).copied().unwrap_or_default();
                changed.push(written(character).encode_utf8(&mut [0; 4]), from);
                if at < beginning {
                    moved = changed.text.len();
                }
            }
            moved
        }
    };
    words(rest, &changed, beginning, budget, word);
}
