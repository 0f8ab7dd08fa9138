//! Tokenizers from the `tokenizer.ggml.*` metadata of a GGUF file.

use super::added::{Added, AddedTokens};
use super::error::{Shown, TokenizerError, failure};
use super::model::{Alphabet, Fallback, Merges, Model, Ranked, Scored, order_of};
use super::normalize::Step;
use super::presets::Preset;
use super::vocabulary::{Kind, Vocabulary, byte_of};
use super::{Tokenizer, TokenizerKind, byte_level, ends, limits, unescape};
use crate::manifest::{Array, Metadata, Strings, Value};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const EOT: &str = "tokenizer.ggml.eot_token_id";
const EOM: &str = "tokenizer.ggml.eom_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
const REMOVE_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";

pub(super) fn tokenizer(metadata: &Metadata) -> Result<Option<Tokenizer>, TokenizerError> {
    let kind = match metadata.value(MODEL) {
        None => return Ok(None),
        Some(Value::String(name)) => match name.as_str() {
            "none" | "no_vocab" => return Ok(None),
            "gpt2" => TokenizerKind::ByteLevelBpe,
            "llama" => TokenizerKind::SentencePieceBpe,
            other => return Err(unsupported(other)),
        },
        Some(_) => return Err(failure!(Malformed, "{MODEL} is not a string")),
    };
    match kind {
        TokenizerKind::ByteLevelBpe => byte_level_bpe(metadata),
        TokenizerKind::SentencePieceBpe => sentencepiece(metadata),
    }
    .map(Some)
}

fn unsupported(model: &str) -> TokenizerError {
    let kind = match model {
        "bert" => "WordPiece",
        "t5" => "SentencePiece unigram",
        "rwkv" => "RWKV trie",
        _ => "unknown",
    };
    failure!(
        Unsupported,
        "{MODEL} is {}, a {kind} tokenizer; supported are \"gpt2\" (byte-level BPE) and \
         \"llama\" (SentencePiece BPE); the model runs on token ids without it",
        Shown(model.as_bytes())
    )
}

fn byte_level_bpe(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let pre = match metadata.value(PRE) {
        None => "default",
        Some(Value::String(name)) => name,
        Some(_) => return Err(failure!(Malformed, "{PRE} is not a string")),
    };
    let Some((preset, stages)) = Preset::named(pre).and_then(|preset| {
        let stages = preset.stages()?;
        Some((preset, stages))
    }) else {
        return Err(failure!(
            Unsupported,
            "{PRE} names a pre-tokenizer that is not known here: {}; the model runs on token \
             ids without it",
            Shown(pre.as_bytes())
        ));
    };

    let facts = Facts::read(metadata)?;
    let vocabulary = facts.vocabulary(|text, kind| match kind {
        Kind::Normal | Kind::Unused | Kind::Byte => match byte_level::bytes_of(text) {
            Some(bytes) => Cow::Owned(bytes),
            None => Cow::Borrowed(text),
        },
        _ => Cow::Borrowed(text),
    })?;
    let Some(Array::String(lines)) = metadata.array(MERGES) else {
        return Err(failure!(
            Missing,
            "{MERGES} is missing or is no list of strings"
        ));
    };
    let mut merges = Merges::with_capacity(lines.len());
    let mut joined = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let (left, right) = split_merge(line).ok_or_else(|| {
            failure!(
                Malformed,
                "{MERGES}[{index}] is {}, expected two tokens with a space between",
                Shown(line)
            )
        })?;
        let left = byte_level::bytes_of(left).map_or(Cow::Borrowed(left), Cow::Owned);
        let right = byte_level::bytes_of(right).map_or(Cow::Borrowed(right), Cow::Owned);
        merges.add(index, &left, &right, &vocabulary, &mut joined)?;
    }
    let mut bytes = [None; 256];
    for (byte, slot) in (0u8..=255).zip(&mut bytes) {
        *slot = vocabulary.find(&[byte]);
    }
    let model = Model::Ranked(Ranked {
        alphabet: Alphabet::Bytes(bytes),
        merges,
        whole_words_first: preset.whole_words_first,
    });
    facts.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::ByteLevelBpe,
            stages,
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        preset.adds_bos,
    )
}

/// The two tokens of a merge. The first may itself be a space.
pub(super) fn split_merge(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = 1 + line.get(1..)?.iter().position(|&byte| byte == b' ')?;
    let (left, right) = (line.get(..space)?, line.get(space + 1..)?);
    (!right.is_empty()).then_some((left, right))
}

fn sentencepiece(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let facts = Facts::read(metadata)?;
    let vocabulary = facts.vocabulary(|text, kind| match kind {
        Kind::Normal | Kind::Unused => unescape(text),
        _ => Cow::Borrowed(text),
    })?;
    let order = scores(metadata, vocabulary.len())?;
    let fallback = Fallback {
        bytes: vocabulary.byte_tokens(),
        unknown: facts.unknown,
        fuses_unknown: true,
    };
    if fallback.unknown.is_none() && fallback.bytes.contains(&None) {
        return Err(failure!(
            Missing,
            "the vocabulary has neither an unknown token ({UNKNOWN}) nor tokens for all 256 bytes"
        ));
    }
    let model = Model::Scored(Scored { order, fallback });
    let adds_space = truth(metadata, ADD_SPACE)?.unwrap_or(true);
    let mut normalizer = Vec::new();
    if truth(metadata, REMOVE_SPACES)?.unwrap_or(false) {
        normalizer.push(Step::CollapseSpaces);
    }
    if adds_space {
        normalizer.push(Step::Prepend(" ".to_string()));
    }
    facts.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::SentencePieceBpe,
            normalizer,
            unescapes: true,
            strips_space: adds_space,
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        true,
    )
}

fn scores(metadata: &Metadata, tokens: usize) -> Result<Vec<u32>, TokenizerError> {
    let scores = match metadata.array(SCORES) {
        Some(Array::F32(scores)) => scores,
        _ => {
            return Err(failure!(
                Missing,
                "{SCORES} is missing or is no list of F32"
            ));
        }
    };
    if scores.len() != tokens {
        return Err(failure!(
            Malformed,
            "{SCORES} has {} entries, expected one for each of {tokens} tokens",
            scores.len()
        ));
    }
    scores
        .iter()
        .enumerate()
        .map(|(id, &score)| {
            order_of(score).ok_or_else(|| failure!(Malformed, "{SCORES}[{id}] is not a number"))
        })
        .collect()
}

/// What both kinds of vocabulary have.
struct Facts<'a> {
    tokens: &'a Strings,
    types: Option<&'a [i32]>,
    unknown: Option<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    /// The end-of-turn and end-of-message tokens.
    other_ends: Vec<u32>,
}

impl<'a> Facts<'a> {
    fn read(metadata: &'a Metadata) -> Result<Facts<'a>, TokenizerError> {
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
            Some(Value::Array(Array::I32(types))) if types.len() == tokens.len() => {
                Some(types.as_slice())
            }
            Some(Value::Array(Array::I32(types))) => {
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
        Ok(Facts {
            tokens,
            types,
            unknown: id(UNKNOWN)?,
            bos: id(BOS)?,
            eos: id(EOS)?,
            other_ends: [id(EOT)?, id(EOM)?].into_iter().flatten().collect(),
        })
    }

    fn kind(&self, index: usize, id: u32, text: &[u8]) -> Result<Kind, TokenizerError> {
        let Some(types) = self.types else {
            // Files from before token types: only these can be told.
            let special = [self.unknown, self.bos, self.eos];
            return Ok(match byte_of(text) {
                Some(_) => Kind::Byte,
                None if special.contains(&Some(id)) => Kind::Control,
                None => Kind::Normal,
            });
        };
        let kind = match types.get(index) {
            Some(0 | 1) => Kind::Normal,
            Some(2) => Kind::Unknown,
            Some(3) => Kind::Control,
            Some(4) => Kind::UserDefined,
            Some(5) => Kind::Unused,
            Some(6) => Kind::Byte,
            Some(other) => {
                return Err(failure!(
                    Malformed,
                    "{TYPES}[{index}] is {other}, expected 0 to 6"
                ));
            }
            None => Kind::Normal,
        };
        // What the file itself names as an end is no text that users add.
        let is_end = self.eos == Some(id) || self.other_ends.contains(&id);
        Ok(match kind {
            Kind::UserDefined if is_end || self.bos == Some(id) => Kind::Control,
            _ => kind,
        })
    }

    /// `raw` turns the file's text of a token into the bytes it stands for.
    fn vocabulary(
        &self,
        raw: impl for<'t> Fn(&'t [u8], Kind) -> Cow<'t, [u8]>,
    ) -> Result<Vocabulary, TokenizerError> {
        let mut vocabulary = Vocabulary::default();
        for ((index, id), text) in (0..).zip(0u32..).zip(self.tokens.iter()) {
            let kind = self.kind(index, id, text)?;
            match (kind, byte_of(text)) {
                (Kind::Byte, Some(byte)) => vocabulary.push(&[byte], kind)?,
                (Kind::Byte, None) if self.types.is_some() => {
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
        vocabulary.index();
        Ok(vocabulary)
    }

    fn finish(
        self,
        metadata: &Metadata,
        vocabulary: Vocabulary,
        build: impl FnOnce(AddedTokens, Vocabulary) -> Tokenizer,
        adds_bos: bool,
    ) -> Result<Tokenizer, TokenizerError> {
        let mut added = Vec::new();
        for id in vocabulary.ids() {
            let kind = vocabulary.kind(id);
            if !kind.is_control() && kind != Kind::UserDefined {
                continue;
            }
            let text = vocabulary.piece(id).unwrap_or_default();
            if text.len() > limits::ADDED_TOKEN_LEN {
                return Err(failure!(
                    Limit,
                    "{TOKENS}[{id}] is a special token of {} bytes, expected at most {}",
                    text.len(),
                    limits::ADDED_TOKEN_LEN
                ));
            }
            added.push(Added::plain(text, id, kind.is_control()));
        }
        let adds = |key: &str, unsaid: bool, id: Option<u32>, id_key: &str| match (
            truth(metadata, key)?,
            id,
        ) {
            (Some(true), None) => Err(failure!(Missing, "{key} is true, but {id_key} is missing")),
            (said, Some(id)) if said.unwrap_or(unsaid) => Ok(alloc::vec![id]),
            _ => Ok(Vec::new()),
        };
        let prefix = adds(ADD_BOS, adds_bos, self.bos, BOS)?;
        let suffix = adds(ADD_EOS, false, self.eos, EOS)?;
        let listed = self.eos.into_iter().chain(self.other_ends);
        let end_tokens = ends::end_tokens(&vocabulary, listed);
        Ok(Tokenizer {
            prefix,
            suffix,
            bos: self.bos,
            eos: self.eos,
            end_tokens,
            ..build(AddedTokens::new(added), vocabulary)
        })
    }
}

fn token_id(metadata: &Metadata, key: &str, tokens: usize) -> Result<Option<u32>, TokenizerError> {
    let Some(value) = metadata.value(key) else {
        return Ok(None);
    };
    // Converters write -1, stored as 4294967295, for "none".
    if matches!(
        value,
        Value::I32(-1) | Value::I64(-1) | Value::U32(u32::MAX)
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

fn truth(metadata: &Metadata, key: &str) -> Result<Option<bool>, TokenizerError> {
    match metadata.value(key) {
        None => Ok(None),
        Some(Value::Bool(truth)) => Ok(Some(*truth)),
        Some(_) => Err(failure!(Malformed, "{key} is not a truth value")),
    }
}
