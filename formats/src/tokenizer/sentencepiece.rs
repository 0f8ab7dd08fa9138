//! SentencePiece's `tokenizer.model`: a protocol buffer, read by hand.
//!
//! Only the fields that decide the encoding are looked at (`sentencepiece_model.proto`):
//! pieces with score and type, the trainer's model type and ids, the normalizer's flags.

use super::charsmap::Charsmap;
use super::error::{Shown, TokenizerError, failure};
use super::limits;
use super::vocabulary::{TokenKind, byte_of};
use crate::manifest::Strings;
use alloc::vec::Vec;

pub(super) struct SentencePiece {
    pub(super) texts: Strings,
    pub(super) kinds: Vec<TokenKind>,
    /// By piece: what merges go by, or logarithms of probabilities. All are numbers.
    pub(super) scores: Vec<f32>,
    pub(super) is_unigram: bool,
    pub(super) charsmap: Option<Charsmap>,
    pub(super) byte_fallback: bool,
    pub(super) unknown: Option<u32>,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_whitespaces: bool,
}

impl SentencePiece {
    pub(super) fn parse(bytes: &[u8]) -> Result<SentencePiece, TokenizerError> {
        let mut model = SentencePiece {
            texts: Strings::default(),
            kinds: Vec::new(),
            scores: Vec::new(),
            is_unigram: false,
            charsmap: None,
            byte_fallback: false,
            unknown: None,
            bos: None,
            eos: None,
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
        };
        // Where the file does not say: unigram, and these ids.
        let mut trainer = Trainer {
            model_type: 1,
            bos: 1,
            eos: 2,
        };
        for field in Fields(bytes) {
            match field? {
                (1, Data::Bytes(piece)) => model.piece(piece)?,
                (2, Data::Bytes(spec)) => model.trainer(spec, &mut trainer)?,
                (3, Data::Bytes(spec)) => model.normalizer(spec)?,
                _ => {}
            }
        }
        model.is_unigram = trainer.model_type == 1;
        if !matches!(trainer.model_type, 1 | 2) {
            let name = match trainer.model_type {
                3 => "word",
                4 => "character",
                _ => "unknown",
            };
            return Err(failure!(
                Unsupported,
                "tokenizer.model is a SentencePiece {name} model, supported are BPE and unigram; the \
                 model runs on token ids without it"
            ));
        }
        model.bos = model.control(trainer.bos);
        model.eos = model.control(trainer.eos);
        model.unknown = model
            .kinds
            .iter()
            .position(|&kind| kind == TokenKind::Unknown)
            .and_then(|id| u32::try_from(id).ok());
        match model.unknown {
            Some(_) => Ok(model),
            None => Err(failure!(Malformed, "tokenizer.model has no unknown piece")),
        }
    }

    /// The id if it is that of a control piece; -1 means none.
    fn control(&self, id: i32) -> Option<u32> {
        let kind = self.kinds.get(usize::try_from(id).ok()?)?;
        match kind {
            TokenKind::Control => u32::try_from(id).ok(),
            _ => None,
        }
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), TokenizerError> {
        let id = self.kinds.len();
        if id >= limits::TOKENS {
            return Err(failure!(
                Limit,
                "tokenizer.model has more than {} pieces",
                limits::TOKENS
            ));
        }
        let (mut text, mut score, mut kind) = (&[][..], 0.0, TokenKind::Normal);
        for field in Fields(bytes) {
            match field? {
                (1, Data::Bytes(bytes)) => text = bytes,
                (2, Data::Fixed32(bits)) => score = f32::from_bits(bits),
                (3, Data::Number(number)) => {
                    kind = match number {
                        1 => TokenKind::Normal,
                        2 => TokenKind::Unknown,
                        3 => TokenKind::Control,
                        4 => TokenKind::UserDefined,
                        5 => TokenKind::Unused,
                        6 => TokenKind::Byte,
                        other => {
                            return Err(failure!(
                                Malformed,
                                "tokenizer.model piece {id} has type {other}, expected 1 to 6"
                            ));
                        }
                    }
                }
                _ => {}
            }
        }
        if score.is_nan() {
            return Err(failure!(
                Malformed,
                "tokenizer.model piece {id} has a score that is no number"
            ));
        }
        if text.is_empty() || (kind == TokenKind::Byte && byte_of(text).is_none()) {
            return Err(failure!(
                Malformed,
                "tokenizer.model piece {id} is {}, which does not fit its type",
                Shown(text)
            ));
        }
        self.texts.push(text);
        self.kinds.push(kind);
        self.scores.push(score);
        Ok(())
    }

    fn trainer(&mut self, bytes: &[u8], trainer: &mut Trainer) -> Result<(), TokenizerError> {
        for field in Fields(bytes) {
            match field? {
                (3, Data::Number(number)) => trainer.model_type = number,
                (24, Data::Number(1)) => {
                    return Err(failure!(
                        Unsupported,
                        "tokenizer.model writes spaces after words \
                         (treat_whitespace_as_suffix), which is not supported"
                    ));
                }
                (35, Data::Number(number)) => self.byte_fallback = number != 0,
                (41, Data::Number(number)) => trainer.bos = signed(number),
                (42, Data::Number(number)) => trainer.eos = signed(number),
                _ => {}
            }
        }
        Ok(())
    }

    fn normalizer(&mut self, bytes: &[u8]) -> Result<(), TokenizerError> {
        for field in Fields(bytes) {
            match field? {
                (2, Data::Bytes([])) => {}
                (2, Data::Bytes(map)) => {
                    let map = Charsmap::parse(map).ok_or_else(|| {
                        failure!(
                            Malformed,
                            "tokenizer.model has a precompiled_charsmap that is none"
                        )
                    })?;
                    self.charsmap = Some(map);
                }
                (3, Data::Number(number)) => self.add_dummy_prefix = number != 0,
                (4, Data::Number(number)) => self.remove_extra_whitespaces = number != 0,
                (5, Data::Number(0)) => {
                    return Err(failure!(
                        Unsupported,
                        "tokenizer.model keeps spaces as they are (escape_whitespaces false), \
                         which is not supported"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

struct Trainer {
    model_type: u64,
    bos: i32,
    eos: i32,
}

/// A 32-bit number; negative ones are written in 64 bits.
fn signed(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(-1)
}

/// The fields of one message: number and data.
struct Fields<'a>(&'a [u8]);

enum Data<'a> {
    Number(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// Eight bytes; no field that is read here has them.
    Fixed64,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Data<'a>), TokenizerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let left = self.0.len();
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| {
            failure!(
                Malformed,
                "tokenizer.model is no SentencePiece model: a message is broken {left} bytes \
                 before its end"
            )
        }))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Data<'a>)> {
        let key = self.number()?;
        let data = match key & 7 {
            0 => Data::Number(self.number()?),
            1 => {
                self.bytes(8)?;
                Data::Fixed64
            }
            2 => {
                let len = usize::try_from(self.number()?).ok()?;
                Data::Bytes(self.bytes(len)?)
            }
            5 => Data::Fixed32(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, data))
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7F);
            // The tenth byte has room for one bit.
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}
