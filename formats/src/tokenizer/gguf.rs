//! Tokenizers from the `tokenizer.ggml.*` metadata of a GGUF file.

use super::added::{Added, AddedTokens};
use super::charsmap::Charsmap;
use super::error::{Shown, TokenizerError, failure};
use super::model::{Alphabet, Fallback, Merges, Ranked, Scored, TokenizerModel, order_of};
use super::normalize::NormalizerStep;
use super::pre_tokenizers::GgufPreTokenizer;
use super::trie::Trie;
use super::unigram::Unigram;
use super::vocabulary::{TokenKind, Vocabulary, byte_of};
use super::word_piece::{BERT_CHARACTERS, WordPiece};
use super::{
    Tokenizer, TokenizerKind, byte_level, end_of_generation, hf_pipeline, limits, unescape,
};
use crate::manifest::{Array, Metadata, MetadataValue, Strings};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
pub(super) const BOS: &str = "tokenizer.ggml.bos_token_id";
pub(super) const EOS: &str = "tokenizer.ggml.eos_token_id";
const EOT: &str = "tokenizer.ggml.eot_token_id";
const EOM: &str = "tokenizer.ggml.eom_token_id";
pub(super) const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
pub(super) const CLS: &str = "tokenizer.ggml.cls_token_id";
/// As the format spells it.
pub(super) const SEPARATOR: &str = "tokenizer.ggml.seperator_token_id";
pub(super) const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
pub(super) const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
pub(super) const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
pub(super) const LOWERCASE: &str = "tokenizer.ggml.normalizer.lowercase";
pub(super) const STRIP_ACCENTS: &str = "tokenizer.ggml.normalizer.strip_accents";
pub(super) const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
pub(super) const REMOVE_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";

pub(super) fn tokenizer(metadata: &Metadata) -> Result<Option<Tokenizer>, TokenizerError> {
    let kind = match metadata.value(MODEL) {
        None => return Ok(None),
        Some(MetadataValue::String(name)) => match name.as_str() {
            "none" | "no_vocab" => return Ok(None),
            "gpt2" | "whitespace" if splits_at_white_space(metadata) => {
                return white_space_bpe(metadata).map(Some);
            }
            "gpt2" if writes_metaspace(metadata) => TokenizerKind::SentencePieceBpe,
            "gpt2" => TokenizerKind::ByteLevelBpe,
            "gemma4" => TokenizerKind::SentencePieceBpe,
            "llama" => TokenizerKind::SentencePieceBpe,
            "t5" => TokenizerKind::Unigram,
            "bert" => TokenizerKind::WordPiece,
            "rwkv" => TokenizerKind::Longest,
            other => return Err(unsupported(other)),
        },
        Some(_) => return Err(failure!(Malformed, "{MODEL} is not a string")),
    };
    match kind {
        TokenizerKind::ByteLevelBpe => byte_level_bpe(metadata),
        TokenizerKind::SentencePieceBpe if writes_metaspace(metadata) => metaspace_bpe(metadata),
        TokenizerKind::SentencePieceBpe | TokenizerKind::Unigram => sentencepiece(metadata, kind),
        TokenizerKind::WordPiece => word_piece(metadata),
        TokenizerKind::Longest => longest(metadata),
    }
    .map(Some)
}

/// Whether this is a BPE with a list of merges that writes spaces as ▁, as its own name or its
/// pre-tokenizer's says.
fn writes_metaspace(metadata: &Metadata) -> bool {
    let is = |key: &str, names: &[&str]| matches!(metadata.value(key), Some(MetadataValue::String(name)) if names.contains(&name.as_str()));
    let pres = ["gemma4", "granite-embed-multi-311m", "sarvam-moe"];
    is(MODEL, &["gemma4"]) || is(MODEL, &["gpt2"]) && is(PRE, &pres)
}

/// Whether this is a BPE over words between white space, as its own name or its pre-tokenizer's
/// says.
fn splits_at_white_space(metadata: &Metadata) -> bool {
    [MODEL, PRE].iter().any(|key| match metadata.value(key) {
        Some(MetadataValue::String(name)) => name == "whitespace",
        _ => false,
    })
}

fn unsupported(model: &str) -> TokenizerError {
    failure!(
        Unsupported,
        "{MODEL} is {}, which is not known here; supported are \"gpt2\" (byte-level BPE), \
         \"llama\" (SentencePiece BPE), \"t5\" (unigram), \"bert\" (WordPiece) and \"rwkv\"; the \
         model runs on token ids without it",
        Shown(model.as_bytes())
    )
}

/// WordPiece, of lowercase text unless the file says otherwise.
fn word_piece(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let facts = GgufVocabulary::read(metadata)?;
    // Converters write ▁ before tokens that begin a word, and leave ## out.
    let vocabulary = facts.vocabulary(|text, kind| match kind {
        TokenKind::Normal | TokenKind::Unused => unescape(text),
        _ => Cow::Borrowed(text),
    })?;
    let id = |key: &str| token_id(metadata, key, vocabulary.len());
    let named = |name: &str| vocabulary.find_control(name.as_bytes());
    let unknown = facts.unknown.or_else(|| named("[UNK]"));
    let unknown = unknown.ok_or_else(|| failure!(Missing, "{UNKNOWN} is missing"))?;
    let first = id(CLS)?.or(facts.bos).or_else(|| named("[CLS]"));
    let last = id(SEPARATOR)?.or(facts.eos).or_else(|| named("[SEP]"));
    let adds = |key: &str, id: Option<u32>| -> Result<Vec<u32>, TokenizerError> {
        let wanted = truth(metadata, key)?.unwrap_or(true);
        Ok(id.filter(|_| wanted).into_iter().collect())
    };
    let (prefix, suffix) = (adds(ADD_BOS, first)?, adds(ADD_EOS, last)?);
    let lowercases = truth(metadata, LOWERCASE)?.unwrap_or(true);
    let strips_accents = truth(metadata, STRIP_ACCENTS)?.unwrap_or(lowercases);
    let model = TokenizerModel::WordPiece(WordPiece::new(&vocabulary, unknown, BERT_CHARACTERS));
    let tokenizer = facts.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::WordPiece,
            normalizer: hf_pipeline::bert_normalizer(true, true, strips_accents, lowercases),
            pre_tokenizer: hf_pipeline::bert_splits(),
            strips_space: true,
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        false,
    )?;
    Ok(Tokenizer {
        prefix,
        suffix,
        ..tokenizer
    })
}

/// RWKV's, whose tokens are written with escapes.
fn longest(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let facts = GgufVocabulary::read(metadata)?;
    let vocabulary = facts.vocabulary(|text, kind| match kind {
        TokenKind::Normal | TokenKind::Unused | TokenKind::UserDefined => {
            Cow::Owned(unescaped(text))
        }
        _ => Cow::Borrowed(text),
    })?;
    let tokens = vocabulary
        .ids()
        .filter(|id| vocabulary.kind(*id) == TokenKind::Normal);
    let tokens = tokens.filter_map(|id| Some((vocabulary.piece(id)?, id)));
    let model = TokenizerModel::Longest(Trie::new(tokens.collect()));
    facts.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::Longest,
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        false,
    )
}

/// `\t`, `\n`, `\r` and `\xHH` as the bytes they stand for; after another backslash, any byte as
/// itself.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        match rest.next() {
            Some(b't') => plain.push(b'\t'),
            Some(b'n') => plain.push(b'\n'),
            Some(b'r') => plain.push(b'\r'),
            Some(b'x') => {
                let digits = [rest.next(), rest.next()];
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let [high, low] = digits.map(digit);
                if let (Some(high), Some(low)) = (high, low) {
                    plain.push((high * 16 + low) as u8);
                } else {
                    plain.push(b'x');
                    plain.extend(digits.into_iter().flatten());
                }
            }
            other => plain.extend(other),
        }
    }
    plain
}

fn byte_level_bpe(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let pre = match metadata.value(PRE) {
        None => "default",
        Some(MetadataValue::String(name)) => name,
        Some(_) => return Err(failure!(Malformed, "{PRE} is not a string")),
    };
    let Some((pre_tokenizer, splits)) = GgufPreTokenizer::named(pre).and_then(|pre_tokenizer| {
        let splits = pre_tokenizer.splits()?;
        Some((pre_tokenizer, splits))
    }) else {
        return Err(failure!(
            Unsupported,
            "{PRE} names a pre-tokenizer that is not known here: {}; the model runs on token \
             ids without it",
            Shown(pre.as_bytes())
        ));
    };

    let facts = GgufVocabulary::read(metadata)?;
    let vocabulary = facts.vocabulary(|text, kind| match kind {
        TokenKind::Normal | TokenKind::Unused | TokenKind::Byte => byte_level::raw(text),
        _ => Cow::Borrowed(text),
    })?;
    let merges = merges(metadata, &vocabulary, byte_level::raw)?;
    let mut bytes = [None; 256];
    for (byte, slot) in (0u8..=255).zip(&mut bytes) {
        *slot = vocabulary.find(&[byte]);
    }
    let model = TokenizerModel::Ranked(Ranked {
        alphabet: Alphabet::Bytes(bytes),
        merges,
        whole_words_first: pre_tokenizer.whole_words_first,
    });
    facts.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::ByteLevelBpe,
            pre_tokenizer: splits,
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        pre_tokenizer.adds_bos,
    )
}

/// Gemma 4's: a list of merges over text that writes spaces as ▁ and is one word.
fn metaspace_bpe(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let facts = GgufVocabulary::read(metadata)?;
    let vocabulary = facts.vocabulary(|text, kind| match kind {
        TokenKind::Normal | TokenKind::Unused => unescape(text),
        _ => Cow::Borrowed(text),
    })?;
    let fallback = Fallback {
        bytes: vocabulary.byte_tokens(),
        unknown: facts.unknown,
        fuses_unknown: true,
    };
    let model = TokenizerModel::Ranked(Ranked {
        alphabet: Alphabet::Characters(fallback),
        merges: merges(metadata, &vocabulary, unescape)?,
        whole_words_first: false,
    });
    let adds_space = truth(metadata, ADD_SPACE)?.unwrap_or(false);
    let prefix = adds_space.then(|| NormalizerStep::Prepend(" ".to_string()));
    facts.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::SentencePieceBpe,
            normalizer: prefix.into_iter().collect(),
            reads_metaspace: true,
            strips_space: adds_space,
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        true,
    )
}

/// Jina's Chinese: a list of merges over the characters of words between white space.
fn white_space_bpe(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let facts = GgufVocabulary::read(metadata)?;
    let vocabulary = facts.vocabulary(|text, _| Cow::Borrowed(text))?;
    let fallback = Fallback {
        bytes: vocabulary.byte_tokens(),
        unknown: facts.unknown,
        fuses_unknown: false,
    };
    let model = TokenizerModel::Ranked(Ranked {
        alphabet: Alphabet::Characters(fallback),
        merges: merges(metadata, &vocabulary, |text| Cow::Borrowed(text))?,
        whole_words_first: false,
    });
    let lowercases = truth(metadata, LOWERCASE)?.unwrap_or(false);
    facts.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::SentencePieceBpe,
            normalizer: lowercases
                .then_some(NormalizerStep::Lowercase)
                .into_iter()
                .collect(),
            pre_tokenizer: hf_pipeline::white_space_splits(),
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        false,
    )
}

/// The file's list of merges; `raw` turns the text of a token into the bytes it stands for.
fn merges(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    raw: impl for<'t> Fn(&'t [u8]) -> Cow<'t, [u8]>,
) -> Result<Merges, TokenizerError> {
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
        merges.add(index, &raw(left), &raw(right), vocabulary, &mut joined)?;
    }
    Ok(merges)
}

/// The two tokens of a merge. The first may itself be a space.
pub(super) fn split_merge(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = 1 + line.get(1..)?.iter().position(|&byte| byte == b' ')?;
    let (left, right) = (line.get(..space)?, line.get(space + 1..)?);
    (!right.is_empty()).then_some((left, right))
}

fn sentencepiece(metadata: &Metadata, kind: TokenizerKind) -> Result<Tokenizer, TokenizerError> {
    let facts = GgufVocabulary::read(metadata)?;
    let vocabulary = facts.vocabulary(|text, kind| match kind {
        TokenKind::Normal | TokenKind::Unused => unescape(text),
        _ => Cow::Borrowed(text),
    })?;
    let scores = scores(metadata, vocabulary.len())?;
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
    let is_unigram = kind == TokenizerKind::Unigram;
    let model = if is_unigram {
        let scores = scores.iter().map(|&score| f64::from(score)).collect();
        TokenizerModel::Unigram(Unigram::new(&vocabulary, scores, fallback))
    } else {
        let order = scores.iter().filter_map(|&score| order_of(score)).collect();
        TokenizerModel::Scored(Scored { order, fallback })
    };
    let adds_space = truth(metadata, ADD_SPACE)?.unwrap_or(true);
    let mut normalizer = Vec::new();
    if let Some(map) = charsmap(metadata)? {
        let by_grapheme = false;
        normalizer.push(NormalizerStep::Charsmap { map, by_grapheme });
    }
    if truth(metadata, REMOVE_SPACES)?.unwrap_or(is_unigram) {
        normalizer.push(NormalizerStep::CollapseSpaces);
    }
    if adds_space {
        normalizer.push(NormalizerStep::Prepend(" ".to_string()));
    }
    let eos = facts.eos.filter(|_| is_unigram);
    let tokenizer = facts.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind,
            normalizer,
            reads_metaspace: true,
            strips_space: adds_space,
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        !is_unigram,
    )?;
    // Encoders of this kind want their texts ended, unless the file says otherwise.
    Ok(match (eos, truth(metadata, ADD_EOS)?) {
        (Some(eos), None) => Tokenizer {
            suffix: alloc::vec![eos],
            ..tokenizer
        },
        _ => tokenizer,
    })
}

fn charsmap(metadata: &Metadata) -> Result<Option<Charsmap>, TokenizerError> {
    let bytes: Cow<'_, [u8]> = match metadata.value(CHARSMAP) {
        None => return Ok(None),
        Some(MetadataValue::Array(Array::U8(bytes))) => Cow::Borrowed(bytes),
        Some(MetadataValue::Array(Array::I8(bytes))) => {
            bytes.iter().map(|byte| byte.cast_unsigned()).collect()
        }
        Some(_) => return Err(failure!(Malformed, "{CHARSMAP} is no list of bytes")),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    match Charsmap::parse(&bytes) {
        Some(map) => Ok(Some(map)),
        None => Err(failure!(Malformed, "{CHARSMAP} is no precompiled map")),
    }
}

fn scores(metadata: &Metadata, tokens: usize) -> Result<&[f32], TokenizerError> {
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
    match scores.iter().position(|score| score.is_nan()) {
        Some(id) => Err(failure!(Malformed, "{SCORES}[{id}] is not a number")),
        None => Ok(scores),
    }
}

/// What every model's vocabulary has.
struct GgufVocabulary<'a> {
    tokens: &'a Strings,
    types: Option<&'a [i32]>,
    unknown: Option<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    /// The end-of-turn and end-of-message tokens.
    other_ends: Vec<u32>,
}

impl<'a> GgufVocabulary<'a> {
    fn read(metadata: &'a Metadata) -> Result<GgufVocabulary<'a>, TokenizerError> {
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
    fn vocabulary(
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
            if !kind.is_control() && kind != TokenKind::UserDefined {
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
        let end_tokens = end_of_generation::tokens(&vocabulary, listed);
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

fn truth(metadata: &Metadata, key: &str) -> Result<Option<bool>, TokenizerError> {
    match metadata.value(key) {
        None => Ok(None),
        Some(MetadataValue::Bool(truth)) => Ok(Some(*truth)),
        Some(_) => Err(failure!(Malformed, "{key} is not a truth value")),
    }
}
