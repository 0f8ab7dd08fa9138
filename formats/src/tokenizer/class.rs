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

const SEPARATOR: u32 = mask(&[G::SpaceSeparator, G::LineSeparator, G::ParagraphSeparator]);
const CONTROL: u32 = mask(&[G::Control, G::Format, G::PrivateUse]);
const OTHER: u32 = CONTROL | mask(&[G::Surrogate, G::Unassigned]);

/// The general categories that regular expressions call so.
pub(super) fn categories(name: &str) -> Option<u32> {
    Some(match name {
        "L" | "Letter" => LETTER,
        "Lu" | "Uppercase_Letter" => mask(&[G::UppercaseLetter]),
        "Ll" | "Lowercase_Letter" => mask(&[G::LowercaseLetter]),
        "Lt" | "Titlecase_Letter" => mask(&[G::TitlecaseLetter]),
        "Lm" | "Modifier_Letter" => mask(&[G::ModifierLetter]),
        "Lo" | "Other_Letter" => mask(&[G::OtherLetter]),
        "M" | "Mark" => MARK,
        "Mn" | "Nonspacing_Mark" => mask(&[G::NonspacingMark]),
        "Mc" | "Spacing_Mark" => mask(&[G::SpacingMark]),
        "Me" | "Enclosing_Mark" => mask(&[G::EnclosingMark]),
        "N" | "Number" => NUMBER,
        "Nd" | "Decimal_Number" => mask(&[G::DecimalNumber]),
        "Nl" | "Letter_Number" => mask(&[G::LetterNumber]),
        "No" | "Other_Number" => mask(&[G::OtherNumber]),
        "P" | "Punctuation" => PUNCTUATION,
        "Pc" => mask(&[G::ConnectorPunctuation]),
        "Pd" => mask(&[G::DashPunctuation]),
        "Ps" => mask(&[G::OpenPunctuation]),
        "Pe" => mask(&[G::ClosePunctuation]),
        "Pi" => mask(&[G::InitialPunctuation]),
        "Pf" => mask(&[G::FinalPunctuation]),
        "Po" => mask(&[G::OtherPunctuation]),
        "S" | "Symbol" => SYMBOL,
        "Sm" => mask(&[G::MathSymbol]),
        "Sc" => mask(&[G::CurrencySymbol]),
        "Sk" => mask(&[G::ModifierSymbol]),
        "So" => mask(&[G::OtherSymbol]),
        "Z" | "Separator" => SEPARATOR,
        "Zs" => mask(&[G::SpaceSeparator]),
        "Zl" => mask(&[G::LineSeparator]),
        "Zp" => mask(&[G::ParagraphSeparator]),
        "C" | "Other" => OTHER,
        "Cc" => mask(&[G::Control]),
        "Cf" => mask(&[G::Format]),
        "Co" => mask(&[G::PrivateUse]),
        "Cn" => mask(&[G::Unassigned]),
        _ => return None,
    })
}

/// What words are made of (`\w`), as Unicode's annex on regular expressions has it.
pub(super) fn is_unicode_word(character: char) -> bool {
    const OTHERS: u32 = mask(&[G::ConnectorPunctuation, G::DecimalNumber]);
    character.is_alphabetic()
        || is_in(character, MARK | OTHERS)
        || matches!(character, '\u{200C}' | '\u{200D}')
}

/// Whether the character has one of these general categories.
pub(super) fn is_in(character: char, categories: u32) -> bool {
    categories & 1 << character.general_category() as u32 != 0
}

/// Chinese characters: the script Han of Unicode 17.
const HAN: &[(char, char)] = &[
    ('\u{2E80}', '\u{2E99}'),
    ('\u{2E9B}', '\u{2EF3}'),
    ('\u{2F00}', '\u{2FD5}'),
    ('\u{3005}', '\u{3005}'),
    ('\u{3007}', '\u{3007}'),
    ('\u{3021}', '\u{3029}'),
    ('\u{3038}', '\u{303B}'),
    ('\u{3400}', '\u{4DBF}'),
    ('\u{4E00}', '\u{9FFF}'),
    ('\u{F900}', '\u{FA6D}'),
    ('\u{FA70}', '\u{FAD9}'),
    ('\u{16FE2}', '\u{16FE3}'),
    ('\u{16FF0}', '\u{16FF6}'),
    ('\u{20000}', '\u{2A6DF}'),
    ('\u{2A700}', '\u{2B81D}'),
    ('\u{2B820}', '\u{2CEAD}'),
    ('\u{2CEB0}', '\u{2EBE0}'),
    ('\u{2EBF0}', '\u{2EE5D}'),
    ('\u{2F800}', '\u{2FA1D}'),
    ('\u{30000}', '\u{3134A}'),
    ('\u{31350}', '\u{33479}'),
];

/// Whether one of these disjoint ranges, which are in order, has the character.
fn lists(ranges: &[(char, char)], character: char) -> bool {
    let before = ranges.partition_point(|range| range.0 <= character);
    let range = before.checked_sub(1).and_then(|index| ranges.get(index));
    range.is_some_and(|range| character <= range.1)
}

/// Combining marks.
pub(super) fn is_mark(character: char) -> bool {
    is_in(character, MARK)
}

/// Combining marks without a width.
pub(super) fn is_nonspacing_mark(character: char) -> bool {
    character.general_category() == G::NonspacingMark
}

/// Letters (`\p{L}`).
pub(super) fn is_letter(character: char) -> bool {
    is_in(character, LETTER)
}

/// Decimal digits (`\d`).
pub(super) fn is_decimal(character: char) -> bool {
    character.general_category() == G::DecimalNumber
}

/// What words are made of (`\w`), as Oniguruma has it: with the fractions and raised digits of
/// Latin-1 and with letters in circles and squares, without the other numbers.
pub(super) fn is_word(character: char) -> bool {
    const OTHERS: u32 = mask(&[G::ConnectorPunctuation, G::DecimalNumber, G::LetterNumber]);
    let is_listed = matches!(
        character,
        '²' | '³' | '¹' | '¼'..='¾' | '\u{24B6}'..='\u{24E9}' | '\u{1F130}'..='\u{1F149}'
            | '\u{1F150}'..='\u{1F169}' | '\u{1F170}'..='\u{1F189}'
    );
    is_in(character, LETTER | MARK | OTHERS) || is_listed
}

/// Control characters, formatting and private use. What Unicode has not assigned is none of these:
/// Hugging Face's tokenizers keep it.
pub(super) fn is_control(character: char) -> bool {
    is_in(character, CONTROL)
}

/// A set of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Class {
    categories: u32,
    ranges: Vec<(char, char)>,
    /// Left out, whatever puts them in.
    without: Vec<(char, char)>,
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

    /// Leaves out what `other` is the complement of; `false` if that is more than ranges.
    pub(super) fn intersect(&mut self, other: Class) -> bool {
        let is_ranges = other.negated && other.categories == 0 && other.without.is_empty();
        if is_ranges {
            self.without.extend(other.ranges);
        }
        is_ranges
    }

    /// Adds a category by its regular-expression name (`L`, `Lu`, `P` …), or the one script that
    /// patterns name; `false` if it is neither.
    pub(super) fn add_category(&mut self, name: &str) -> bool {
        if name == "Han" {
            self.ranges.extend_from_slice(HAN);
            return true;
        }
        match categories(name) {
            Some(mask) => self.categories |= mask,
            None => return false,
        }
        true
    }

    /// Completes the set, or its complement.
    pub(super) fn finish(mut self, negated: bool) -> Class {
        self.negated = negated;
        for ranges in [&mut self.ranges, &mut self.without] {
            ranges.sort_unstable();
            // Disjoint ranges let a search look at one of them only.
            ranges.dedup_by(|next, kept| {
                let overlaps = next.0 <= kept.1;
                if overlaps {
                    kept.1 = kept.1.max(next.1);
                }
                overlaps
            });
        }
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
        let listed = self.categories & bits != 0 || lists(&self.ranges, character);
        (listed && !lists(&self.without, character)) != self.negated
    }

    /// The one character of the set, if it is one range of one.
    pub(super) fn only(&self) -> Option<char> {
        let plain = self.categories == 0 && self.without.is_empty() && !self.negated;
        match self.ranges.as_slice() {
            [(first, last)] if plain && first == last => Some(*first),
            _ => None,
        }
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
