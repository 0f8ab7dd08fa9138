//! Pre-tokenization: from a text to words; no token crosses from one word to the next.

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

/// Hands the words that the steps make of `text` to `word`, in order. What begins up to `origin`
/// stands at the beginning of the input: signs that are put there do not move it.
pub(super) fn words(
    steps: &[PreTokenizerStep],
    text: &str,
    origin: Option<usize>,
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
            origin_in(origin, piece, range.start),
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
            let origin = origin.map(|at| at + spaced.len() - text.len());
            words(rest, &spaced, origin, budget, word);
        }
        PreTokenizerStep::Bytes => {
            let len = |at: usize| {
                let (before, after) = text.split_at_checked(at)?;
                // All bytes of the first character stand there.
                let bytes = after.chars().next()?.len_utf8() - 1;
                Some(byte_level::mapped(before).len() + 2 * bytes)
            };
            let origin = origin.and_then(len);
            words(rest, &byte_level::mapped(text), origin, budget, word);
        }
        PreTokenizerStep::Metaspace { sign, prepends } => {
            let changed = metaspace(text, *sign, *prepends, origin.is_some());
            let len = |at: usize| {
                let changed = changed.len()
                    - text
                        .get(at..)?
                        .replace(' ', sign.encode_utf8(&mut [0; 4]))
                        .len();
                Some(changed)
            };
            let origin = origin.and_then(len);
            words(rest, &changed, origin, budget, word);
        }
    }
}

/// Where the origin of a text stands in a piece of it, of which all may begin there.
pub(super) fn origin_in(origin: Option<usize>, piece: &str, start: usize) -> Option<usize> {
    let at = origin?.checked_sub(start)?;
    let last = piece.char_indices().next_back().map_or(0, |(at, _)| at);
    Some(at.min(last))
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
