//! From token ids back to text, whole or as it comes.

use super::budget::TextBudget;
use super::decoder_chain::{Chain, DecoderStep};
use super::model::TokenizerModel;
use super::vocabulary::TokenKind;
use super::{Tokenizer, TokenizerKind, byte_level};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
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

/// How the pieces of tokens make a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decoding {
    /// One after the other, without the space that the first may begin with.
    Pieces { strips_space: bool },
    /// By the steps of `tokenizer.json`.
    Steps(Vec<DecoderStep>),
}

impl Tokenizer {
    /// The exact bytes these tokens stand for. Ids that are no token stand for nothing.
    pub fn decode(&self, ids: &[u32], options: DecodeOptions) -> Vec<u8> {
        let mut decoder = self.decoder(options);
        for &id in ids {
            decoder.show(id);
        }
        decoder.end();
        decoder.held
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
        let starts = options.position == Position::Start;
        let (strips, chain) = match &self.decoding {
            Decoding::Pieces { strips_space } => (*strips_space && starts, None),
            Decoding::Steps(steps) => (false, Some(Chain::new(steps, starts))),
        };
        Decoder {
            tokenizer: self,
            options,
            strips,
            chain,
            held: Vec::new(),
        }
    }

    /// The text of a token as `tokenizer.json` writes it, with its signs for spaces and for tokens that go
    /// on with a word; bytes that are no text become replacement characters.
    pub fn token_text(&self, id: u32) -> String {
        let written = String::from_utf8_lossy(&self.written(id)).into_owned();
        let is_spaced = match &self.model {
            TokenizerModel::WordPiece(model) => model.continues().is_empty(),
            _ => false,
        };
        // GGUF files mark the tokens that begin a word instead.
        match written.strip_prefix(' ') {
            _ if !is_spaced || self.vocabulary.kind(id) != TokenKind::Normal => written,
            Some(begins) => begins.to_string(),
            None => format!("##{written}"),
        }
    }

    /// The text of a token as its file writes it.
    pub(super) fn written(&self, id: u32) -> Cow<'_, [u8]> {
        let key = self.vocabulary.key(id).unwrap_or_default();
        // What the model does not make is written in characters, not in bytes.
        let is_bytes = self.kind == TokenizerKind::ByteLevelBpe;
        match is_bytes && self.vocabulary.find(key) == Some(id) {
            true => Cow::Owned(byte_level::text_of(key)),
            false => Cow::Borrowed(key),
        }
    }
}

/// Turns tokens into text as they come, never half a character: bytes of an unfinished one
/// wait for the next token.
#[derive(Clone)]
pub struct Decoder<'a> {
    tokenizer: &'a Tokenizer,
    options: DecodeOptions,
    /// Whether a space before the next token is still to be taken away.
    strips: bool,
    chain: Option<Chain>,
    /// Bytes not written yet; an unfinished character after each call.
    held: Vec<u8>,
}

impl Decoder<'_> {
    /// Appends what `id` completes to `text`. Bytes that can never become a character are
    /// written as U+FFFD.
    pub fn push(&mut self, id: u32, text: &mut String) {
        self.show(id);
        self.write(text);
    }

    /// Appends what `id` shows to what is held.
    fn show(&mut self, id: u32) {
        let tokenizer = self.tokenizer;
        let is_control = tokenizer.is_control(id);
        if self.options.skip_special && is_control {
            return;
        }
        if let (Decoding::Steps(steps), Some(chain)) = (&tokenizer.decoding, &mut self.chain) {
            let token = tokenizer.written(id);
            if tokenizer.vocabulary.key(id).is_some() {
                let budget = TextBudget::for_text(token.len());
                chain.push(steps, &token, &budget, &mut self.held);
            }
            return;
        }
        let piece = tokenizer.piece(id).unwrap_or_default();
        if piece.is_empty() {
            return;
        }
        let keeps = matches!(
            tokenizer.kind,
            TokenizerKind::ByteLevelBpe | TokenizerKind::Longest
        );
        if core::mem::take(&mut self.strips) {
            let stripped = piece.strip_prefix(b" ").filter(|_| !keeps);
            self.held.extend_from_slice(stripped.unwrap_or(piece));
            return;
        }
        // Control tokens are words as well where words are told apart by spaces.
        if is_control && tokenizer.kind == TokenizerKind::WordPiece {
            self.held.push(b' ');
        }
        self.held.extend_from_slice(piece);
    }

    fn end(&mut self) {
        if let (Decoding::Steps(steps), Some(chain)) = (&self.tokenizer.decoding, &mut self.chain) {
            chain.finish(steps, false, &mut self.held);
        }
    }

    /// Writes the characters that are whole.
    fn write(&mut self, text: &mut String) {
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
        self.end();
        self.write(text);
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
