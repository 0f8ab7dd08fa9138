//! From token ids back to text, whole or as it comes.

use super::{Tokenizer, TokenizerKind};
use alloc::string::String;
use alloc::vec::Vec;

/// How tokens become text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeOptions {
    /// Leaves control tokens out instead of writing their names.
    pub skip_special: bool,
    /// Whether the tokens begin a text or go on with one.
    pub position: Position,
}

impl DecodeOptions {
    /// All tokens, as the beginning of a text.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            skip_special: false,
            position: Position::Start,
        }
    }

    /// Sets [`skip_special`](field@Self::skip_special).
    #[must_use]
    pub const fn skip_special(mut self, skip_special: bool) -> Self {
        self.skip_special = skip_special;
        self
    }

    /// Sets [`position`](field@Self::position).
    #[must_use]
    pub const fn position(mut self, position: Position) -> Self {
        self.position = position;
        self
    }
}

/// Where decoded tokens stand in their text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// At its beginning: a space that encoding put there is taken away.
    #[default]
    Start,
    /// After other text, as generated tokens do after their prompt: nothing is taken away.
    Continued,
}

impl Tokenizer {
    /// The exact bytes these tokens stand for. Ids that are no token stand for nothing.
    pub fn decode(&self, ids: &[u32], options: DecodeOptions) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut strips = self.strips(options);
        for &id in ids {
            for part in self.shown(id, options, &mut strips) {
                bytes.extend_from_slice(part);
            }
        }
        bytes
    }

    /// These tokens as text. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode_text(&self, ids: &[u32], options: DecodeOptions) -> String {
        let mut text = String::new();
        let mut decoder = self.decoder(options);
        for &id in ids {
            decoder.push(id, &mut text);
        }
        decoder.finish(&mut text);
        text
    }

    /// A decoder for tokens that come one by one.
    pub fn decoder(&self, options: DecodeOptions) -> Decoder<'_> {
        Decoder {
            tokenizer: self,
            options,
            strips: self.strips(options),
            held: Vec::new(),
        }
    }

    fn strips(&self, options: DecodeOptions) -> bool {
        self.strips_space && options.position == Position::Start
    }

    /// The text of one token, in two parts; `strips` says whether a space before it is still to be taken
    /// away.
    fn shown(&self, id: u32, options: DecodeOptions, strips: &mut bool) -> [&[u8]; 2] {
        let is_control = self.is_control(id);
        if options.skip_special && is_control {
            return [&[], &[]];
        }
        let piece = self.piece(id).unwrap_or_default();
        if piece.is_empty() {
            return [&[], &[]];
        }
        if !core::mem::take(strips) {
            // Control tokens are words as well where words are told apart by spaces.
            let is_word = is_control && self.kind == TokenizerKind::WordPiece;
            return [if is_word { b" " } else { b"" }, piece];
        }
        let piece = match self.kind {
            TokenizerKind::ByteLevelBpe | TokenizerKind::Longest => piece,
            _ => piece.strip_prefix(b" ").unwrap_or(piece),
        };
        [b"", piece]
    }
}

/// Turns tokens into text as they come, never half a character: bytes of an unfinished one
/// wait for the next token.
#[derive(Clone)]
pub struct Decoder<'a> {
    tokenizer: &'a Tokenizer,
    options: DecodeOptions,
    strips: bool,
    /// Bytes not written yet; an unfinished character after each call.
    held: Vec<u8>,
}

impl Decoder<'_> {
    /// Appends what `id` completes to `text`. Bytes that can never become a character are
    /// written as U+FFFD.
    pub fn push(&mut self, id: u32, text: &mut String) {
        for part in self.tokenizer.shown(id, self.options, &mut self.strips) {
            self.held.extend_from_slice(part);
        }
        let mut written = 0;
        while let Some(rest) = self.held.get(written..).filter(|rest| !rest.is_empty()) {
            let (valid, wrong) = match core::str::from_utf8(rest) {
                Ok(_) => (rest.len(), 0),
                Err(error) => match error.error_len() {
                    Some(wrong) => (error.valid_up_to(), wrong),
                    None => {
                        push_valid(text, rest, error.valid_up_to());
                        written += error.valid_up_to();
                        break;
                    }
                },
            };
            push_valid(text, rest, valid);
            if wrong > 0 {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            written += valid + wrong;
        }
        self.held.drain(..written);
    }

    /// Ends the text: an unfinished character becomes U+FFFD.
    pub fn finish(&mut self, text: &mut String) {
        if !self.held.is_empty() {
            self.held.clear();
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

fn push_valid(text: &mut String, bytes: &[u8], len: usize) {
    if let Some(Ok(valid)) = bytes.get(..len).map(core::str::from_utf8) {
        text.push_str(valid);
    }
}
