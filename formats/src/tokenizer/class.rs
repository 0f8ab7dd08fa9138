//! Unicode's general categories, and the kinds of characters that tokenizers make of them.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use GeneralCategory as G;

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
