//! A tokenizer as the `tokenizer.ggml.*` metadata of a GGUF file.

use super::error::{TokenizerError, failure};
use super::gguf_keys as key;
use super::model::{Alphabet, TokenizerModel, score_of};
use super::normalize::NormalizerStep;
use super::pre_tokenizers::GgufPreTokenizer;
use super::vocabulary::TokenKind;
use super::{Tokenizer, TokenizerKind, byte_level};
use crate::manifest::{Array, Metadata, MetadataValue, Strings};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

impl Tokenizer {
    /// What a GGUF file has to say for this tokenizer.
    ///
    /// # Errors
    /// If it cuts text in a way for which GGUF has no name.
    pub fn to_gguf(&self) -> Result<Metadata, TokenizerError> {
        let mut metadata = Metadata::default();
        let mut put = |key: &str, value: MetadataValue| {
            metadata.0.insert(key.to_string(), value);
        };
        let text = |name: &str| MetadataValue::String(name.to_string());
        put(
            key::MODEL,
            text(match self.kind {
                TokenizerKind::ByteLevelBpe => "gpt2",
                TokenizerKind::SentencePieceBpe => "llama",
                TokenizerKind::Unigram => "t5",
                TokenizerKind::WordPiece => "bert",
                TokenizerKind::Longest => "rwkv",
            }),
        );
        let pre = match (&self.model, self.kind) {
            (TokenizerModel::Ranked(model), TokenizerKind::ByteLevelBpe) => {
                let found = GgufPreTokenizer::name_of(&self.pre_tokenizer, model.whole_words_first);
                found.ok_or_else(|| {
                    failure!(
                        Unsupported,
                        "GGUF has no name for the way in which this tokenizer cuts text"
                    )
                })?
            }
            (_, TokenizerKind::WordPiece) => "jina-v2-en",
            _ => "default",
        };
        put(key::PRE, text(pre));
        put(
            key::TOKENS,
            MetadataValue::Array(Array::String(self.texts())),
        );
        let ids = self.vocabulary.ids();
        let types = ids.map(|id| match self.vocabulary.kind(id) {
            TokenKind::Normal => 1,
            TokenKind::Unknown => 2,
            TokenKind::Control => 3,
            TokenKind::UserDefined => 4,
            TokenKind::Unused | TokenKind::Absent => 5,
            TokenKind::Byte => 6,
        });
        put(
            key::TYPES,
            MetadataValue::Array(Array::I32(types.collect())),
        );
        if let Some(scores) = self.scores() {
            put(key::SCORES, MetadataValue::Array(Array::F32(scores)));
        }
        if let Some(merges) = self.merges() {
            put(key::MERGES, MetadataValue::Array(Array::String(merges)));
        }
        let unknown = self
            .vocabulary
            .ids()
            .find(|id| self.vocabulary.kind(*id) == TokenKind::Unknown);
        let (first, last) = (self.prefix.first().copied(), self.suffix.first().copied());
        let is_encoder = self.kind == TokenizerKind::WordPiece;
        for (key, id) in [
            (key::BOS, self.bos.or(first.filter(|_| !is_encoder))),
            (key::EOS, self.eos.or(last.filter(|_| !is_encoder))),
            (key::UNKNOWN, unknown),
        ] {
            if let Some(id) = id {
                put(key, MetadataValue::U32(id));
            }
        }
        if is_encoder {
            for (key, id) in [(key::CLS, first), (key::SEPARATOR, last)] {
                if let Some(id) = id {
                    put(key, MetadataValue::U32(id));
                }
            }
        }
        for (key, id) in [(key::ADD_BOS, first), (key::ADD_EOS, last)] {
            // Readers of GGUF add an encoder's tokens unless the file says otherwise.
            if !(is_encoder && id.is_some()) {
                put(key, MetadataValue::Bool(id.is_some()));
            }
        }
        if self.kind == TokenizerKind::WordPiece {
            let does = |step: NormalizerStep| MetadataValue::Bool(self.normalizer.contains(&step));
            put(key::LOWERCASE, does(NormalizerStep::Lowercase));
            put(
                key::STRIP_ACCENTS,
                does(NormalizerStep::DropMarks { all: false }),
            );
        }
        if matches!(
            self.kind,
            TokenizerKind::SentencePieceBpe | TokenizerKind::Unigram
        ) {
            put(key::ADD_SPACE, MetadataValue::Bool(self.strips_space));
            // Words cut at white space, each with a space in front, encode alike.
            let collapses =
                self.normalizer.contains(&NormalizerStep::CollapseSpaces) || self.spaces_words;
            put(key::REMOVE_SPACES, MetadataValue::Bool(collapses));
        }
        let maps = self.normalizer.iter().find_map(|step| match step {
            NormalizerStep::Charsmap { map, .. } => Some(map.to_bytes()),
            _ => None,
        });
        if let Some(map) = maps {
            put(key::CHARSMAP, MetadataValue::Array(Array::U8(map)));
        }
        Ok(metadata)
    }

    /// Tokens as the format writes them.
    fn texts(&self) -> Strings {
        let mut texts = Strings::default();
        for id in self.vocabulary.ids() {
            let kind = self.vocabulary.kind(id);
            let piece = self.vocabulary.piece(id).unwrap_or_default();
            let text = match (kind, self.kind, piece) {
                (TokenKind::Absent, ..) => Cow::Owned(format!("[PAD{id}]").into_bytes()),
                (TokenKind::Byte, _, [byte]) => Cow::Owned(format!("<0x{byte:02X}>").into_bytes()),
                (TokenKind::Control | TokenKind::Unknown | TokenKind::UserDefined, ..) => {
                    Cow::Borrowed(piece)
                }
                (_, TokenizerKind::ByteLevelBpe, _) => Cow::Owned(byte_level::text_of(piece)),
                (_, TokenizerKind::Longest, _) => Cow::Owned(escaped(piece)),
                _ => Cow::Owned(marked(piece)),
            };
            texts.push(&text);
        }
        texts
    }

    fn scores(&self) -> Option<Vec<f32>> {
        match &self.model {
            TokenizerModel::Scored(model) => {
                let scores = model.order.iter();
                Some(scores.map(|order| score_of(*order)).map(finite).collect())
            }
            TokenizerModel::Unigram(model) => {
                let mut scores: Vec<f32> = model
                    .scores()
                    .iter()
                    .map(|score| finite(*score as f32))
                    .collect();
                scores.resize(self.vocabulary.len(), 0.0);
                Some(scores)
            }
            // GGUF merges by score, the highest first.
            TokenizerModel::Ranked(model) if matches!(model.alphabet, Alphabet::Characters(_)) => {
                let mut scores = vec![0.0; self.vocabulary.len()];
                for (_, merged) in model.merges.in_order().into_iter().rev() {
                    if let Some(score) = scores.get_mut(merged.id as usize) {
                        *score = -1.0 - merged.order as f32;
                    }
                }
                Some(scores)
            }
            _ => None,
        }
    }

    fn merges(&self) -> Option<Strings> {
        let TokenizerModel::Ranked(model) = &self.model else {
            return None;
        };
        if !matches!(model.alphabet, Alphabet::Bytes(_)) {
            return None;
        }
        let mut merges = Strings::default();
        for ((left, right), _) in model.merges.in_order() {
            let text = |id| byte_level::text_of(self.vocabulary.piece(id).unwrap_or_default());
            merges.push(&[text(left), text(right)].join(&b' '));
        }
        Some(merges)
    }
}

/// Some readers refuse infinite scores.
fn finite(score: f32) -> f32 {
    score.clamp(f32::MIN, f32::MAX)
}

/// Spaces as ▁.
fn marked(piece: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(piece.len());
    for &byte in piece {
        match byte {
            b' ' => text.extend_from_slice("▁".as_bytes()),
            byte => text.push(byte),
        }
    }
    text
}

/// What is no printable ASCII as `\\xHH`.
fn escaped(piece: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(piece.len());
    for &byte in piece {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.into_bytes()
}
