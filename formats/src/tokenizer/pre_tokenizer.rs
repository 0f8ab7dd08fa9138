//! Pre-tokenization: from a text to words; no token crosses from one word to the next.

use super::beginning;
use super::budget::TextBudget;
use super::byte_level;
use super::split::SplitStep;
use alloc::borrow::Cow;
use alloc::string::String;
use core::ops::Range;
use unicode_script::{Script, UnicodeScript};

/// One step; each works on the pieces that the one before left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PreTokenizerStep {
    Split(SplitStep),
    /// A space before each piece that begins with none, as ByteLevel puts it.
    Space,
    /// Each byte as a character of byte-level's alphabet.
    Bytes,
    /// Spaces as another sign, and one of those before the piece.
    Metaspace {
        sign: char,
        prepends: Prepends,
    },
    /// Cuts where the script changes.
    Scripts,
    /// Cuts after so many characters.
    Length(usize),
}

/// Before which pieces Metaspace puts its sign, unless they begin with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepends {
    None,
    /// The one that begins the text.
    First,
    All,
}

/// Hands the words that the steps make of `text` to `word`, in order. So many bytes of `text` stand
/// where the input's first character does: signs that are put before it are among them.
pub(super) fn words(
    steps: &[PreTokenizerStep],
    text: &str,
    beginning: usize,
    budget: &TextBudget,
    word: &mut dyn FnMut(&str),
) {
    let Some((step, rest)) = steps.split_first() else {
        if !text.is_empty() && !budget.is_spent() {
            word(text);
        }
        return;
    };
    if !budget.makes(text.len()) {
        return;
    }
    let mut pieces = |range: Range<usize>| {
        let piece = text.get(range.clone()).unwrap_or_default();
        words(
            rest,
            piece,
            beginning::within(beginning, piece, range.start),
            budget,
            word,
        );
    };
    match step {
        PreTokenizerStep::Split(split) => split.apply(text, budget, &mut pieces),
        PreTokenizerStep::Scripts => scripts(text, &mut pieces),
        PreTokenizerStep::Length(length) => lengths(text, *length, &mut pieces),
        PreTokenizerStep::Space => {
            let spaced = spaced(text);
            let beginning = reaches(beginning, spaced.len() - text.len());
            words(rest, &spaced, beginning, budget, word);
        }
        PreTokenizerStep::Bytes => {
            let beginning = text.get(..beginning).unwrap_or_default();
            let beginning = byte_level::mapped(beginning).len();
            words(rest, &byte_level::mapped(text), beginning, budget, word);
        }
        PreTokenizerStep::Metaspace { sign, prepends } => {
            let changed = metaspace(text, *sign, *prepends, beginning > 0);
            let rest_of = text.get(beginning..).unwrap_or_default();
            let rest_len = metaspace(rest_of, *sign, Prepends::None, false).len();
            let beginning = match beginning {
                0 => 0,
                _ => changed.len() - rest_len,
            };
            words(rest, &changed, beginning, budget, word);
        }
    }
}

/// A beginning with so many bytes put before it; what there is none of stays so.
pub(super) fn reaches(beginning: usize, before: usize) -> usize {
    match beginning {
        0 => 0,
        _ => beginning + before,
    }
}

pub(super) fn spaced(text: &str) -> Cow<'_, str> {
    match text.starts_with(' ') || text.is_empty() {
        true => Cow::Borrowed(text),
        false => {
            let mut changed = String::with_capacity(text.len() + 1);
            changed.push(' ');
            changed.push_str(text);
            Cow::Owned(changed)
        }
    }
}

pub(super) fn metaspace(text: &str, sign: char, prepends: Prepends, starts: bool) -> String {
    let begins = text.starts_with(sign) || text.starts_with(' ');
    let prepends = match prepends {
        Prepends::None => false,
        Prepends::First => starts,
        Prepends::All => true,
    };
    let mut changed = String::with_capacity(text.len() + text.len() / 2);
    if prepends && !begins && !text.is_empty() {
        changed.push(sign);
    }
    changed.extend(text.chars().map(|c| if c == ' ' { sign } else { c }));
    changed
}

/// Cuts as SentencePiece does: Japanese is of one script, spaces are of any.
pub(super) fn scripts(text: &str, piece: &mut dyn FnMut(Range<usize>)) {
    let script = |character: char| match (character, character.script()) {
        (' ', _) | (_, Script::Unknown) => None,
        ('ー', _) | (_, Script::Hiragana | Script::Katakana) => Some(Script::Han),
        (_, script) => Some(script),
    };
    // What comes before the first character of a script is dropped.
    let (mut start, mut last) = (None, None);
    for (at, character) in text.char_indices() {
        let Some(script) = script(character) else {
            continue;
        };
        if last != Some(script) {
            if let Some(start) = start.replace(at) {
                piece(start..at);
            }
            last = Some(script);
        }
    }
    if let Some(start) = start {
        piece(start..text.len());
    }
}

pub(super) fn lengths(text: &str, length: usize, piece: &mut dyn FnMut(Range<usize>)) {
    let mut start = 0;
    for (index, (at, _)) in text.char_indices().enumerate() {
        if index > 0 && index % length == 0 {
            piece(start..at);
            start = at;
        }
    }
    piece(start..text.len());
}
