//! Tokenizers from the `tokenizer.ggml.*` metadata of a GGUF file.

use super::characters::{Affixes, Fallback};
use super::charsmap::Charsmap;
use super::decode::Decoding;
use super::error::{Shown, TokenizerError, TokenizerErrorKind, failure};
use super::gguf_keys::{
    ADD_BOS, ADD_EOS, ADD_SPACE, CHARSMAP, CLS, JSON, LANGUAGE_CODE, LOWERCASE, MERGES, MODEL, PRE,
    REMOVE_SPACES, SEPARATOR, STRIP_ACCENTS, TARGETS, UNKNOWN,
};
use super::gguf_pre_tokenizers::GgufPreTokenizer;
use super::gguf_vocabulary::{GgufVocabulary, scores, token_id, truth};
use super::hf_normalizer::bert_normalizer;
use super::hf_pre_tokenizer::{bert_splits, white_space_splits};
use super::hf_settings::Settings;
use super::model::{Alphabet, Merges, Ranked, Scored, TokenizerModel};
use super::normalize::NormalizerStep;
use super::pre_tokenizer::PreTokenizerStep;
use super::score_order::order_of;
use super::trie::Trie;
use super::unigram::Unigram;
use super::vocabulary::{TokenKind, Vocabulary};
use super::word_piece::WordPiece;
use super::{Tokenizer, TokenizerKind, byte_level, hf, unescape};
use crate::manifest::{Array, Metadata, MetadataValue};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;

pub(super) fn tokenizer(metadata: &Metadata) -> Result<Option<Tokenizer>, TokenizerError> {
    if let Some(MetadataValue::String(json)) = metadata.value(JSON) {
        let settings = Settings::from_gguf(metadata)?;
        match hf::from_json(json.as_bytes(), &settings) {
            // What this program cannot do exactly, the other keys may say well enough.
            Err(error) if error.kind() == TokenizerErrorKind::Unsupported => {}
            found => return found.map(Some),
        }
    }
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
        _ => longest(metadata),
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
    let file = GgufVocabulary::read(metadata)?;
    // Converters write ▁ before tokens that begin a word, and leave ## out.
    let vocabulary = file.vocabulary(|text, kind| match kind {
        TokenKind::Normal | TokenKind::Unused => unescape(text),
        _ => Cow::Borrowed(text),
    })?;
    let id = |key: &str| token_id(metadata, key, vocabulary.len());
    let named = |name: &str| vocabulary.find_control(name.as_bytes());
    let unknown = file.unknown.or_else(|| named("[UNK]"));
    let unknown = unknown.ok_or_else(|| failure!(Missing, "{UNKNOWN} is missing"))?;
    let first = id(CLS)?.or(file.bos).or_else(|| named("[CLS]"));
    let last = id(SEPARATOR)?.or(file.eos).or_else(|| named("[SEP]"));
    let adds = |key: &str, id: Option<u32>| -> Result<Vec<u32>, TokenizerError> {
        let wanted = truth(metadata, key)?.unwrap_or(true);
        Ok(id.filter(|_| wanted).into_iter().collect())
    };
    let (prefix, suffix) = (adds(ADD_BOS, first)?, adds(ADD_EOS, last)?);
    let lowercases = truth(metadata, LOWERCASE)?.unwrap_or(true);
    let strips_accents = truth(metadata, STRIP_ACCENTS)?.unwrap_or(lowercases);
    let model = TokenizerModel::WordPiece(WordPiece::spaced(&vocabulary, unknown)?);
    let tokenizer = file.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::WordPiece,
            normalizer: bert_normalizer(true, true, strips_accents, lowercases),
            pre_tokenizer: bert_splits(),
            decoding: Decoding::Pieces { strips_space: true },
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
    let file = GgufVocabulary::read(metadata)?;
    let vocabulary = file.vocabulary(|text, kind| match kind {
        TokenKind::Normal | TokenKind::Unused | TokenKind::UserDefined => {
            Cow::Owned(unescaped(text))
        }
        _ => Cow::Borrowed(text),
    })?;
    let tokens = vocabulary
        .ids()
        .filter(|id| vocabulary.kind(*id) == TokenKind::Normal);
    let tokens = tokens.filter_map(|id| Some((vocabulary.piece(id)?, id)));
    let model = TokenizerModel::Longest(Trie::new(tokens.collect())?);
    file.finish(
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

    let file = GgufVocabulary::read(metadata)?;
    let vocabulary = file.vocabulary(|text, kind| match kind {
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
        affixes: Affixes::default(),
        whole_words_first: pre_tokenizer.whole_words_first,
    });
    file.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::ByteLevelBpe,
            pre_tokenizer: splits.into_iter().map(PreTokenizerStep::Split).collect(),
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        pre_tokenizer.adds_bos,
    )
}

/// Gemma 4's: a list of merges over text that writes spaces as ▁ and is one word.
fn metaspace_bpe(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let file = GgufVocabulary::read(metadata)?;
    let vocabulary = file.vocabulary(|text, kind| match kind {
        TokenKind::Normal | TokenKind::Unused => unescape(text),
        _ => Cow::Borrowed(text),
    })?;
    let fallback = Fallback {
        bytes: vocabulary.byte_tokens(),
        unknown: file.unknown,
        fuses_unknown: true,
    };
    let model = TokenizerModel::Ranked(Ranked {
        alphabet: Alphabet::Characters(fallback),
        merges: merges(metadata, &vocabulary, unescape)?,
        affixes: Affixes::default(),
        whole_words_first: false,
    });
    let adds_space = truth(metadata, ADD_SPACE)?.unwrap_or(false);
    let prefix = adds_space.then(|| NormalizerStep::Prepend(" ".to_string()));
    file.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::SentencePieceBpe,
            normalizer: prefix.into_iter().collect(),
            reads_metaspace: true,
            decoding: Decoding::Pieces {
                strips_space: adds_space,
            },
            ..Tokenizer::bare(vocabulary, model, raw)
        },
        true,
    )
}

/// Jina's Chinese: a list of merges over the characters of words between white space.
fn white_space_bpe(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let file = GgufVocabulary::read(metadata)?;
    let vocabulary = file.vocabulary(|text, _| Cow::Borrowed(text))?;
    let fallback = Fallback {
        bytes: vocabulary.byte_tokens(),
        unknown: file.unknown,
        fuses_unknown: false,
    };
    let model = TokenizerModel::Ranked(Ranked {
        alphabet: Alphabet::Characters(fallback),
        merges: merges(metadata, &vocabulary, |text| Cow::Borrowed(text))?,
        affixes: Affixes::default(),
        whole_words_first: false,
    });
    let lowercases = truth(metadata, LOWERCASE)?.unwrap_or(false);
    file.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind: TokenizerKind::SentencePieceBpe,
            normalizer: lowercases
                .then_some(NormalizerStep::Lowercase)
                .into_iter()
                .collect(),
            pre_tokenizer: white_space_splits(),
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
        merges.add(
            index,
            (&raw(left), &raw(right)),
            b"",
            vocabulary,
            &mut joined,
        )?;
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
    let file = GgufVocabulary::read(metadata)?;
    let vocabulary = file.vocabulary(|text, kind| match kind {
        TokenKind::Normal | TokenKind::Unused => unescape(text),
        _ => Cow::Borrowed(text),
    })?;
    let scores = scores(metadata, &vocabulary)?;
    let fallback = Fallback {
        bytes: vocabulary.byte_tokens(),
        unknown: file.unknown,
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
        let pieces = vocabulary.normal();
        TokenizerModel::Unigram(Unigram::new(&vocabulary, pieces, scores, fallback)?)
    } else {
        let order = scores.iter().filter_map(|&score| order_of(score)).collect();
        TokenizerModel::Scored(Scored { order, fallback })
    };
    let adds_space = truth(metadata, ADD_SPACE)?.unwrap_or(true);
    let mut normalizer = Vec::new();
    if truth(metadata, LOWERCASE)?.unwrap_or(false) {
        normalizer.push(NormalizerStep::Lowercase);
    }
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
    let eos = file.eos.filter(|_| is_unigram);
    let takes_language_code = truth(metadata, LANGUAGE_CODE)?.unwrap_or(false);
    let targets = targets(metadata, &vocabulary)?;
    let tokenizer = file.finish(
        metadata,
        vocabulary,
        |raw, vocabulary| Tokenizer {
            kind,
            normalizer,
            reads_metaspace: true,
            takes_language_code,
            targets,
            decoding: Decoding::Pieces {
                strips_space: adds_space,
            },
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

/// What ids stand for in texts that the model writes; control tokens by their names.
fn targets(metadata: &Metadata, source: &Vocabulary) -> Result<Option<Vocabulary>, TokenizerError> {
    let texts = match metadata.value(TARGETS) {
        None => return Ok(None),
        Some(MetadataValue::Array(Array::String(texts))) => texts,
        Some(_) => return Err(failure!(Malformed, "{TARGETS} is no list of strings")),
    };
    let mut vocabulary = Vocabulary::default();
    for text in texts.iter() {
        match source.find_control(text) {
            Some(control) => vocabulary.push(text, source.kind(control))?,
            None => vocabulary.push(&unescape(text), TokenKind::Unused)?,
        }
    }
    Ok(Some(vocabulary))
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
