//! The alphabet of byte-level vocabularies: each byte is written as a printable character.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The text of a byte-level token as the bytes it stands for, or `None` if it has a
/// character outside the alphabet (such tokens stand for their own text).
///
/// GPT-2's table: printable Latin-1 bytes are themselves; the other 68 are, in order, the
/// characters from U+0100 on.
pub(super) fn bytes_of(token: &[u8]) -> Option<Vec<u8>> {
    core::str::from_utf8(token)
        .ok()?
        .chars()
        .map(byte_of)
        .collect()
}

/// The bytes a token stands for, whether or not it is of the alphabet.
pub(super) fn raw(token: &[u8]) -> Cow<'_, [u8]> {
    bytes_of(token).map_or(Cow::Borrowed(token), Cow::Owned)
}

/// Bytes as a byte-level token's text: the inverse of [`bytes_of`].
pub(super) fn text_of(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        let character = character_of(byte);
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    text
}

/// A text whose bytes are written as characters of the alphabet.
pub(super) fn mapped(text: &str) -> String {
    text.bytes().map(character_of).collect()
}

/// The bytes of a word of the alphabet; other characters stand for nothing.
pub(super) fn unmap(word: &str, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend(word.chars().filter_map(byte_of));
}

fn character_of(byte: u8) -> char {
    let code = match byte {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => u32::from(byte),
        0..=0x20 => 0x100 + u32::from(byte),
        0x7F..=0xA0 => 0x121 + u32::from(byte - 0x7F),
        0xAD => 0x143,
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => u8::try_from(code).ok(),
        code @ 0x100..=0x143 => {
            let index = u8::try_from(code - 0x100).ok()?;
            Some(match index {
                0..=0x20 => index,
                0x21..=0x42 => 0x7F + (index - 0x21),
                _ => 0xAD,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    #[test]
    fn every_byte_has_one_character() {
        let bytes: BTreeSet<u8> = (0..0x400)
            .filter_map(char::from_u32)
            .filter_map(byte_of)
            .collect();
        assert_eq!(bytes.len(), 256);
        let characters = (0..0x400)
            .filter_map(char::from_u32)
            .filter(|&c| byte_of(c).is_some());
        assert_eq!(characters.count(), 256);
    }

    #[test]
    fn bytes_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes_of(&text_of(&all)), Some(all));
    }

    #[test]
    fn known_characters() {
        // From GPT-2's published vocabulary: a space, a line end, a tab, the soft hyphen.
        for (character, byte) in [
            ('Ġ', b' '),
            ('Ċ', b'\n'),
            ('ĉ', b'\t'),
            ('Ń', 0xAD),
            ('ġ', 0x7F),
            ('Ģ', 0x80),
            ('ł', 0xA0),
        ] {
            assert_eq!(
                bytes_of(character.to_string().as_bytes()),
                Some(alloc::vec![byte])
            );
        }
    }
}
