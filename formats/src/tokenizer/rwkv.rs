//! RWKV's vocabulary as its authors publish it, `rwkv_vocab_*.txt`: a line for each token with its
//! id, a literal of Python's (of a string, or of bytes that are none) and its length in bytes.

use super::added::{Added, AddedTokens};
use super::error::{Shown, TokenizerError, failure};
use super::hf_settings::{Settings, added_token};
use super::model::TokenizerModel;
use super::trie::Trie;
use super::vocabulary::TokenKind;
use super::vocabulary_builder::VocabularyBuilder;
use super::{Tokenizer, TokenizerKind};
use alloc::borrow::Cow;
use alloc::vec::Vec;

const FILE: &str = "rwkv_vocab";

/// The token that no line names: it ends a text.
const END: u32 = 0;
const END_NAME: &[u8] = b"<|endoftext|>";

pub(super) fn tokenizer(bytes: &[u8], settings: &Settings) -> Result<Tokenizer, TokenizerError> {
    let mut lines = Vec::new();
    for (number, line) in (1usize..).zip(bytes.split(|&byte| byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let token = token(line).ok_or_else(|| {
            failure!(
                Malformed,
                "{FILE} line {number} is {}, expected an id, a Python literal and its length",
                Shown(line)
            )
        })?;
        lines.push(token);
    }
    // Of lines with one text the highest id counts, as in GGUF, whatever their order.
    lines.sort_by_key(|(id, _)| *id);
    let added = settings.added.iter().map(|token| token.id);
    let ids = lines.iter().map(|(id, _)| *id).chain(added).chain([END]);
    let mut builder = VocabularyBuilder::new(ids, FILE)?;
    for (id, text) in &lines {
        builder.put(*id, text, TokenKind::Normal, FILE)?;
    }
    let mut raw = Vec::new();
    let is_line = |id: u32| lines.binary_search_by_key(&id, |(id, _)| *id).is_ok();
    for token in settings.added.iter().filter(|token| !is_line(token.id)) {
        let (text, kind) = (token.content.as_bytes(), settings.kind_of(token));
        builder.put(token.id, text, kind, FILE)?;
        raw.push(added_token(settings, token, &token.content)?);
    }
    if !is_line(END) && settings.added.iter().all(|token| token.id != END) {
        builder.put(END, END_NAME, TokenKind::Control, FILE)?;
        raw.push(Added::plain(END_NAME, END, true));
    }
    let vocabulary = builder.vocabulary(|_, text, _| Cow::Borrowed(text))?;
    let texts = lines.iter().map(|(id, text)| (text.as_slice(), *id));
    let model = TokenizerModel::Longest(Trie::new(texts.collect())?);
    settings.finish(Tokenizer {
        kind: TokenizerKind::Longest,
        eos: (!is_line(END)).then_some(END),
        ..Tokenizer::bare(vocabulary, model, AddedTokens::new(raw))
    })
}

/// A line's id and the bytes of its token.
fn token(line: &[u8]) -> Option<(u32, Vec<u8>)> {
    let first = line.iter().position(|&byte| byte == b' ')?;
    let last = line.iter().rposition(|&byte| byte == b' ')?;
    let number = |digits: &[u8]| core::str::from_utf8(digits).ok()?.parse::<u32>().ok();
    let text = literal(line.get(first.checked_add(1)?..last)?)?;
    let len = number(line.get(last.checked_add(1)?..)?)?;
    (usize::try_from(len) == Ok(text.len())).then_some((number(line.get(..first)?)?, text))
}

/// The bytes that a literal of a string (in UTF-8) or of bytes stands for.
fn literal(text: &[u8]) -> Option<Vec<u8>> {
    let (text, is_bytes) = match text.strip_prefix(b"b") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (&quote, text) = text.split_first()?;
    let (&end, text) = text.split_last()?;
    if end != quote || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte == quote || is_bytes && !byte.is_ascii() {
            return None;
        }
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let code = match rest.next()? {
            b'n' => 0x0A,
            b't' => 0x09,
            b'r' => 0x0D,
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'v' => 0x0B,
            same @ (b'\\' | b'\'' | b'"') => u32::from(same),
            b'x' => hexadecimal(&mut rest, 2)?,
            b'u' if !is_bytes => hexadecimal(&mut rest, 4)?,
            b'U' if !is_bytes => hexadecimal(&mut rest, 8)?,
            _ => return None,
        };
        match is_bytes {
            true => plain.push(u8::try_from(code).ok()?),
            false => {
                let character = char::from_u32(code)?;
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    Some(plain)
}

/// A number of so many hexadecimal digits.
fn hexadecimal(from: &mut impl Iterator<Item = u8>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0u32, |number, _| {
        let digit = char::from(from.next()?).to_digit(16)?;
        number.checked_mul(16)?.checked_add(digit)
    })
}
