//! The vocabulary in the `tokenizer.ggml.*` metadata of a GGUF file: tokens, their types, and the
//! special ones among them.

use super::added::{Added, AddedTokens};
use super::error::{Shown, TokenizerError, failure};
use super::gguf_keys::{
    ADD_BOS, ADD_EOS, ADDED, BOS, ENDS, EOM, EOS, EOT, MASK, PIECE_SCORES, PIECES, PREFIX, SCORES,
    SPLITS_SPECIAL, SUFFIX, TOKENS, TYPES, UNKNOWN,
};
use super::hf_settings::{is_mask_name, parse_json};
use super::json::AddedTokenJson;
use super::vocabulary::{TokenKind, Vocabulary, byte_of};
use super::{Tokenizer, end_of_generation, limits};
use crate::manifest::{Array, Metadata, MetadataValue, Strings};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// What every model's vocabulary has.
pub(super) struct GgufVocabulary<'a> {
    tokens: &'a Strings,
    types: Option<&'a [i32]>,
    /// Pieces of text that have no id.
    unlisted: Option<&'a Strings>,
    pub(super) unknown: Option<u32>,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    /// The end-of-turn and end-of-message tokens.
    other_ends: Vec<u32>,
}

impl<'a> GgufVocabulary<'a> {
    pub(super) fn read(metadata: &'a Metadata) -> Result<GgufVocabulary<'a>, TokenizerError> {
        let Some(Array::String(tokens)) = metadata.array(TOKENS) else {
            return Err(failure!(
                Missing,
                "{TOKENS} is missing or is no list of strings"
            ));
        };
        if tokens.is_empty() || tokens.len() > limits::TOKENS {
            return Err(failure!(
                Limit,
                "{TOKENS} has {} entries, expected between 1 and {}",
                tokens.len(),
                limits::TOKENS
            ));
        }
        let types = match metadata.value(TYPES) {
            None => None,
            Some(MetadataValue::Array(Array::I32(types))) if types.len() == tokens.len() => {
                Some(types.as_slice())
            }
            Some(MetadataValue::Array(Array::I32(types))) => {
                return Err(failure!(
                    Malformed,
                    "{TYPES} has {} entries, expected one for each of {} tokens",
                    types.len(),
                    tokens.len()
                ));
            }
            Some(_) => return Err(failure!(Malformed, "{TYPES} is no list of I32")),
        };
        let id = |key: &str| token_id(metadata, key, tokens.len());
        Ok(GgufVocabulary {
            tokens,
            types,
            unlisted: match metadata.value(PIECES) {
                None => None,
                Some(MetadataValue::Array(Array::String(pieces))) => Some(pieces),
                Some(_) => return Err(failure!(Malformed, "{PIECES} is no list of strings")),
            },
            unknown: id(UNKNOWN)?,
            bos: id(BOS)?,
            eos: id(EOS)?,
            other_ends: [id(EOT)?, id(EOM)?].into_iter().flatten().collect(),
        })
    }

    fn kind(&self, index: usize, id: u32, text: &[u8]) -> Result<TokenKind, TokenizerError> {
        let Some(types) = self.types else {
            // Files from before token types: only byte and special tokens can be recognised.
            let special = [self.unknown, self.bos, self.eos];
            return Ok(match byte_of(text) {
                Some(_) => TokenKind::Byte,
                None if special.contains(&Some(id)) => TokenKind::Control,
                None => TokenKind::Normal,
            });
        };
        let kind = match types.get(index) {
            Some(0 | 1) => TokenKind::Normal,
            Some(2) => TokenKind::Unknown,
            Some(3) => TokenKind::Control,
            Some(4) => TokenKind::UserDefined,
            Some(5) => TokenKind::Unused,
            Some(6) => TokenKind::Byte,
            Some(other) => {
                return Err(failure!(
                    Malformed,
                    "{TYPES}[{index}] is {other}, expected 0 to 6"
                ));
            }
            None => TokenKind::Normal,
        };
        // A token that the file names as BOS or as an end is a control token.
        let is_end = self.eos == Some(id) || self.other_ends.contains(&id);
        Ok(match kind {
            // Some converters store these as normal tokens, and then models never stop.
            TokenKind::Normal | TokenKind::UserDefined if end_of_generation::is_name(text) => {
                TokenKind::Control
            }
            TokenKind::UserDefined if is_end || self.bos == Some(id) => TokenKind::Control,
            _ => kind,
        })
    }

    /// `raw` turns the file's text of a token into the bytes it stands for.
    pub(super) fn vocabulary(
        &self,
        raw: impl for<'t> Fn(&'t [u8], TokenKind) -> Cow<'t, [u8]>,
    ) -> Result<Vocabulary, TokenizerError> {
        let mut vocabulary = Vocabulary::default();
        for ((index, id), text) in (0..).zip(0u32..).zip(self.tokens.iter()) {
            let kind = self.kind(index, id, text)?;
            match (kind, byte_of(text)) {
                (TokenKind::Byte, Some(byte)) => vocabulary.push(&[byte], kind)?,
                (TokenKind::Byte, None) if self.types.is_some() => {
                    return Err(failure!(
                        Malformed,
                        "{TOKENS}[{index}] has the type of a byte token but is {}, expected \
                         \"<0x00>\" to \"<0xFF>\"",
                        Shown(text)
                    ));
                }
                _ => vocabulary.push(&raw(text, kind), kind)?,
            }
        }
        let unlisted = self.unlisted.map_or(0, Strings::len);
        for text in self.unlisted.iter().flat_map(|pieces| pieces.iter()) {
            vocabulary.push(&raw(text, TokenKind::Normal), TokenKind::Normal)?;
        }
        vocabulary.unlist(unlisted);
        vocabulary.index();
        Ok(vocabulary)
    }

    pub(super) fn finish(
        self,
        metadata: &Metadata,
        vocabulary: Vocabulary,
        build: impl FnOnce(AddedTokens, Vocabulary) -> Tokenizer,
        adds_bos: bool,
    ) -> Result<Tokenizer, TokenizerError> {
        let mask = token_id(metadata, MASK, vocabulary.listed_len())?;
        let splits_special = truth(metadata, SPLITS_SPECIAL)?.unwrap_or(false);
        let mut found_mask = mask;
        let mut added = Vec::new();
        for id in vocabulary.ids() {
            let kind = vocabulary.kind(id);
            if !kind.is_control() && kind != TokenKind::UserDefined {
                continue;
            }
            let text = vocabulary.piece(id).unwrap_or_default();
            if text.len() > limits::SEARCHED_LEN {
                return Err(failure!(
                    Limit,
                    "{TOKENS}[{id}] is a special token of {} bytes, expected at most {}",
                    text.len(),
                    limits::SEARCHED_LEN
                ));
            }
            let is_mask = match mask {
                Some(mask) => mask == id,
                None => is_mask_name(text),
            };
            found_mask = found_mask.or(Some(id).filter(|_| is_mask));
            let is_plain = is_mask && !splits_special;
            added.push(Added::plain(text, id, kind.is_control() && !is_plain));
        }
        for said in said_to_match(metadata)? {
            let entry = added.iter_mut().find(|entry| entry.id == said.id);
            if let Some(entry) = entry {
                entry.strips_left = said.lstrip;
                entry.strips_right = said.rstrip;
                entry.is_word = said.single_word;
            }
        }
        let adds = |key: &str, unsaid: bool, id: Option<u32>, id_key: &str| match (
            truth(metadata, key)?,
            id,
        ) {
            (Some(true), None) => Err(failure!(Missing, "{key} is true, but {id_key} is missing")),
            (said, Some(id)) if said.unwrap_or(unsaid) => Ok(alloc::vec![id]),
            _ => Ok(Vec::new()),
        };
        let len = vocabulary.listed_len();
        let prefix = match token_ids(metadata, PREFIX, len)? {
            Some(prefix) => prefix,
            None => adds(ADD_BOS, adds_bos, self.bos, BOS)?,
        };
        let suffix = match token_ids(metadata, SUFFIX, len)? {
            Some(suffix) => suffix,
            None => adds(ADD_EOS, false, self.eos, EOS)?,
        };
        let listed = self.eos.into_iter().chain(self.other_ends);
        let end_tokens = match token_ids(metadata, ENDS, len)? {
            Some(ends) => ends,
            None => end_of_generation::tokens(&vocabulary, listed),
        };
        Ok(Tokenizer {
            prefix,
            suffix,
            bos: self.bos,
            eos: self.eos,
            mask: found_mask,
            end_tokens,
            splits_special,
            ..build(AddedTokens::new(added), vocabulary)
        })
    }
}

/// How added tokens match, if the file says.
fn said_to_match(metadata: &Metadata) -> Result<Vec<AddedTokenJson>, TokenizerError> {
    let mut said: Vec<AddedTokenJson> = match metadata.value(ADDED) {
        Some(MetadataValue::String(text)) => parse_json(text.as_bytes(), ADDED)?,
        _ => Vec::new(),
    };
    said.retain(|token| token.lstrip || token.rstrip || token.single_word);
    Ok(said)
}

pub(super) fn token_id(
    metadata: &Metadata,
    key: &str,
    tokens: usize,
) -> Result<Option<u32>, TokenizerError> {
    let Some(value) = metadata.value(key) else {
        return Ok(None);
    };
    // Converters write -1, stored as 4294967295, for "none".
    if matches!(
        value,
        MetadataValue::I32(-1) | MetadataValue::I64(-1) | MetadataValue::U32(u32::MAX)
    ) {
        return Ok(None);
    }
    let id = metadata
        .u64(key)
        .ok_or_else(|| failure!(Malformed, "{key} is not a token id"))?;
    match (usize::try_from(id), u32::try_from(id)) {
        (Ok(index), Ok(id)) if index < tokens => Ok(Some(id)),
        _ => Err(failure!(
            Malformed,
            "{key} is {id}, but the vocabulary has {tokens} tokens"
        )),
    }
}

/// A list of ids, of which there may not be many.
pub(super) fn token_ids(
    metadata: &Metadata,
    key: &str,
    tokens: usize,
) -> Result<Option<Vec<u32>>, TokenizerError> {
    let ids = match metadata.value(key) {
        None => return Ok(None),
        Some(MetadataValue::Array(Array::U32(ids))) => ids,
        Some(_) => return Err(failure!(Malformed, "{key} is no list of U32")),
    };
    let is_token = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < tokens);
    if let Some(id) = ids.iter().find(|id| !is_token(id)) {
        return Err(failure!(
            Malformed,
            "{key} has {id}, but the vocabulary has {tokens} tokens"
        ));
    }
    Ok(Some(ids.clone()))
}

pub(super) fn truth(metadata: &Metadata, key: &str) -> Result<Option<bool>, TokenizerError> {
    match metadata.value(key) {
        None => Ok(None),
        Some(MetadataValue::Bool(truth)) => Ok(Some(*truth)),
        Some(_) => Err(failure!(Malformed, "{key} is not a truth value")),
    }
}

/// The score of each token, and of the pieces after them.
pub(super) fn scores(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
) -> Result<Vec<f32>, TokenizerError> {
    let tokens = vocabulary.listed_len();
    let mut all = listed_scores(metadata, SCORES, tokens)?.to_vec();
    if vocabulary.has_unlisted() {
        let unlisted = vocabulary.len() - tokens;
        all.extend_from_slice(listed_scores(metadata, PIECE_SCORES, unlisted)?);
    }
    Ok(all)
}

fn listed_scores<'a>(
    metadata: &'a Metadata,
    key: &str,
    tokens: usize,
) -> Result<&'a [f32], TokenizerError> {
    let scores = match metadata.array(key) {
        Some(Array::F32(scores)) => scores,
        _ => {
            return Err(failure!(Missing, "{key} is missing or is no list of F32"));
        }
    };
    if scores.len() != tokens {
        return Err(failure!(
            Malformed,
            "{key} has {} entries, expected one for each of {tokens} tokens",
            scores.len()
        ));
    }
    match scores.iter().position(|score| score.is_nan()) {
        Some(id) => Err(failure!(Malformed, "{key}[{id}] is not a number")),
        None => Ok(scores),
    }
}
