//! Sets of characters as regular expressions name them: Unicode categories, white space
//! and ranges.

use alloc::vec::Vec;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use GeneralCategory as G;

/// White space has no general category of its own; it takes the first bit above them.
const SPACE: u32 = 1 << 31;

const LETTER: u32 = mask(&[
    G::UppercaseLetter,
    G::LowercaseLetter,
    G::TitlecaseLetter,
    G::ModifierLetter,
    G::OtherLetter,
]);
const MARK: u32 = mask(&[G::NonspacingMark, G::SpacingMark, G::EnclosingMark]);
const NUMBER: u32 = mask(&[G::DecimalNumber, G::LetterNumber, G::OtherNumber]);
const PUNCTUATION: u32 = mask(&[
    G::ConnectorPunctuation,
    G::DashPunctuation,
    G::OpenPunctuation,
    G::ClosePunctuation,
    G::InitialPunctuation,
    G::FinalPunctuation,
    G::OtherPunctuation,
]);
const SYMBOL: u32 = mask(&[
    G::MathSymbol,
    G::CurrencySymbol,
    G::ModifierSymbol,
    G::OtherSymbol,
]);

const fn mask(categories: &[GeneralCategory]) -> u32 {
    let mut bits = 0;
    let mut index = 0;
    while index < categories.len() {
        bits |= 1 << categories[index] as u32;
        index += 1;
    }
    bits
}

const OTHER: u32 = mask(&[
    G::Control,
    G::Format,
    G::PrivateUse,
    G::Surrogate,
    G::Unassigned,
]);

fn is_in(character: char, categories: u32) -> bool {
    categories & 1 << character.general_category() as u32 != 0
}

/// Combining marks.
pub(super) fn is_mark(character: char) -> bool {
    is_in(character, MARK)
}

/// Combining marks without a width.
pub(super) fn is_nonspacing_mark(character: char) -> bool {
    character.general_category() == G::NonspacingMark
}

/// Decimal digits (`\d`).
pub(super) fn is_decimal(character: char) -> bool {
    character.general_category() == G::DecimalNumber
}

/// What words are made of (`\w`).
pub(super) fn is_word(character: char) -> bool {
    const CONNECTOR: u32 = mask(&[G::ConnectorPunctuation, G::DecimalNumber]);
    is_in(character, LETTER | MARK | CONNECTOR)
}

/// Control characters, formatting, and what is not assigned.
pub(super) fn is_other(character: char) -> bool {
    is_in(character, OTHER)
}

/// A set of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Class {
    categories: u32,
    ranges: Vec<(char, char)>,
    negated: bool,
    /// Membership of the 128 ASCII characters, worked out once by [`Class::finish`].
    ascii: u128,
}

impl Class {
    /// White space (`\s`).
    pub(super) fn space() -> Class {
        let mut class = Class::default();
        class.add_space();
        class.finish(false)
    }

    pub(super) fn add_range(&mut self, first: char, last: char) {
        self.ranges.push((first, last));
    }

    pub(super) fn add_space(&mut self) {
        self.categories |= SPACE;
    }

    /// Adds a category by its regular-expression name (`L`, `Lu`, `P` …); `false` if it is
    /// not one of those.
    pub(super) fn add_category(&mut self, name: &str) -> bool {
        self.categories |= match name {
            "L" => LETTER,
            "Lu" => mask(&[G::UppercaseLetter]),
            "Ll" => mask(&[G::LowercaseLetter]),
            "Lt" => mask(&[G::TitlecaseLetter]),
            "Lm" => mask(&[G::ModifierLetter]),
            "Lo" => mask(&[G::OtherLetter]),
            "M" => MARK,
            "Mn" => mask(&[G::NonspacingMark]),
            "N" => NUMBER,
            "Nd" => mask(&[G::DecimalNumber]),
            "P" => PUNCTUATION,
            "S" => SYMBOL,
            _ => return false,
        };
        true
    }

    /// Completes the set, or its complement.
    pub(super) fn finish(mut self, negated: bool) -> Class {
        self.negated = negated;
        self.ranges.sort_unstable();
        // Disjoint ranges let a search look at one of them only.
        self.ranges.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        self.ascii = (0..128u8)
            .filter(|&byte| self.search(char::from(byte)))
            .fold(0, |bits, byte| bits | 1 << byte);
        self
    }

    /// Whether the character is in the set.
    pub(super) fn contains(&self, character: char) -> bool {
        match character.is_ascii() {
            true => self.ascii >> u32::from(character) & 1 == 1,
            false => self.search(character),
        }
    }

    fn search(&self, character: char) -> bool {
        let bits = 1 << character.general_category() as u32
            | if character.is_whitespace() { SPACE } else { 0 };
        let before = self.ranges.partition_point(|range| range.0 <= character);
        let listed = before
            .checked_sub(1)
            .and_then(|index| self.ranges.get(index))
            .is_some_and(|range| character <= range.1);
        (self.categories & bits != 0 || listed) != self.negated
    }

    /// How many bytes of `text` from `at` are characters of this set, `most` at the most,
    /// and how many characters that is.
    pub(super) fn run(&self, text: &str, at: usize, most: u32) -> (usize, u32) {
        let mut end = at;
        let mut count = 0;
        for character in text.get(at..).unwrap_or_default().chars() {
            if count == most || !self.contains(character) {
                break;
            }
            end += character.len_utf8();
            count += 1;
        }
        (end, count)
    }

    /// The byte after the character at `at`, if that is in the set.
    pub(super) fn step(&self, text: &str, at: usize) -> Option<usize> {
        let character = text.get(at..)?.chars().next()?;
        self.contains(character)
            .then_some(at + character.len_utf8())
    }
}
