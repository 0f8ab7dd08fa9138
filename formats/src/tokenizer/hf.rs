//! Tokenizers from the files of a Hugging Face folder.

use super::added::{Added, AddedTokens};
use super::error::{Shown, TokenizerError, failure};
use super::hf_pipeline;
use super::hf_settings::{Settings, added_token, parse_json};
use super::json::{ModelJson, TokenizerJson};
use super::model::{Alphabet, Fallback, Merges, Ranked, Scored, TokenizerModel, order_of};
use super::normalize::{NormalizerStep, TextPlace, normalize};
use super::sentencepiece::SentencePiece;
use super::unigram::Unigram;
use super::vocabulary::{TokenKind, Vocabulary, byte_of};
use super::vocabulary_builder::VocabularyBuilder;
use super::word_piece::{BERT_CHARACTERS, WordPiece};
use super::{HfFiles, Tokenizer, TokenizerKind, byte_level, limits, rwkv, unescape};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

pub(super) const JSON: &str = "tokenizer.json";
const MODEL: &str = "tokenizer.model";

pub(super) fn tokenizer(files: &HfFiles<'_>) -> Result<Option<Tokenizer>, TokenizerError> {
    let settings = Settings::read(files)?;
    if let Some(json) = files.tokenizer_json {
        return from_json(json, &settings).map(Some);
    }
    if let Some(model) = files.tokenizer_model {
        return from_model(model, &settings).map(Some);
    }
    let lines = files.rwkv_vocabulary;
    lines
        .map(|lines| rwkv::tokenizer(lines, &settings))
        .transpose()
}

fn from_json(bytes: &[u8], settings: &Settings) -> Result<Tokenizer, TokenizerError> {
    let file: TokenizerJson = parse_json(bytes, JSON)?;
    let normalizer = hf_pipeline::normalizer(&file.normalizer)?;
    let pre_tokenizer = hf_pipeline::pre_tokenizer(&file.pre_tokenizer)?;
    let writes_metaspace = pre_tokenizer.writes_metaspace
        || normalizer.iter().any(
            |step| matches!(step, NormalizerStep::Replace { from, to } if from == " " && to == "▁"),
        );
    let kind = kind(&file, pre_tokenizer.is_byte_level, writes_metaspace)?;
    let vocabulary = vocabulary(&file, kind, settings)?;
    let model = match kind {
        TokenizerKind::WordPiece => word_piece(&file, &vocabulary)?,
        TokenizerKind::Unigram => unigram(&file, &vocabulary)?,
        _ => ranked(&file, kind, &vocabulary)?,
    };
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    for token in &file.added_tokens {
        let kind = settings.kind_of(token);
        if token.normalized {
            let text = normalize(&normalizer, &token.content, TextPlace::Start);
            normalized.push(added_token(token, &text, kind)?);
        } else {
            raw.push(added_token(token, &token.content, kind)?);
        }
    }
    let (prefix, suffix) = hf_pipeline::post_processor(&file.post_processor)?;
    settings.finish(Tokenizer {
        kind,
        normalizer,
        normalized: AddedTokens::new(normalized),
        metaspace: pre_tokenizer.metaspace,
        pre_tokenizer: pre_tokenizer.splits,
        reads_metaspace: writes_metaspace,
        spaces_words: pre_tokenizer.spaces_words,
        strips_space: hf_pipeline::strips_space(&file.decoder)?,
        prefix,
        suffix,
        ..Tokenizer::bare(vocabulary, model, AddedTokens::new(raw))
    })
}

fn kind(
    file: &TokenizerJson,
    is_byte_level: bool,
    writes_metaspace: bool,
) -> Result<TokenizerKind, TokenizerError> {
    match file.model.kind.as_deref() {
        Some("WordPiece") => return Ok(TokenizerKind::WordPiece),
        Some("Unigram") => return Ok(TokenizerKind::Unigram),
        Some("BPE") => {}
        None if !file.model.merges.sides.is_empty() => {}
        other => {
            return Err(failure!(
                Unsupported,
                "{JSON} has a model of type {}, supported are BPE, Unigram and WordPiece; the \
                 model runs on token ids without it",
                other.unwrap_or("(none)")
            ));
        }
    }
    check_bpe(&file.model)?;
    match (is_byte_level, writes_metaspace) {
        (true, false) => Ok(TokenizerKind::ByteLevelBpe),
        (false, true) => Ok(TokenizerKind::SentencePieceBpe),
        _ => Err(failure!(
            Unsupported,
            "{JSON} is a BPE that is neither byte-level nor writes spaces as ▁ (or both); the \
             model runs on token ids without it"
        )),
    }
}

fn word_piece(
    file: &TokenizerJson,
    vocabulary: &Vocabulary,
) -> Result<TokenizerModel, TokenizerError> {
    let prefix = file.model.continuing_subword_prefix.as_deref();
    if prefix.is_some_and(|prefix| prefix != CONTINUES) {
        return Err(failure!(
            Unsupported,
            "{JSON} has a WordPiece model whose tokens go on with another sign than \
             {CONTINUES}; the model runs on token ids without it"
        ));
    }
    let name = file.model.unk_token.as_deref().unwrap_or("[UNK]");
    let unknown = vocabulary.find_control(name.as_bytes());
    let unknown = unknown.ok_or_else(|| {
        failure!(
            Malformed,
            "{JSON}: unk_token is {}, which is not in the vocabulary",
            Shown(name.as_bytes())
        )
    })?;
    let most = file
        .model
        .max_input_chars_per_word
        .unwrap_or(BERT_CHARACTERS);
    Ok(TokenizerModel::WordPiece(WordPiece::new(
        vocabulary, unknown, most,
    )))
}

/// Stands before tokens that go on with a word.
const CONTINUES: &str = "##";

fn unigram(
    file: &TokenizerJson,
    vocabulary: &Vocabulary,
) -> Result<TokenizerModel, TokenizerError> {
    let model = &file.model;
    if model.vocab.scores.len() != model.vocab.ids.len() {
        return Err(failure!(
            Malformed,
            "{JSON} has a Unigram model without scores"
        ));
    }
    let fallback = Fallback {
        bytes: match model.byte_fallback {
            true => vocabulary.byte_tokens(),
            false => [None; 256],
        },
        unknown: model.unk_id,
        fuses_unknown: true,
    };
    let scores = model.vocab.scores.clone();
    Ok(TokenizerModel::Unigram(Unigram::new(
        vocabulary, scores, fallback,
    )))
}

fn check_bpe(model: &ModelJson) -> Result<(), TokenizerError> {
    for (key, value) in [
        (
            "continuing_subword_prefix",
            &model.continuing_subword_prefix,
        ),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if value.as_deref().is_some_and(|value| !value.is_empty()) {
            return Err(failure!(
                Unsupported,
                "{JSON} has a model with {key}, which is not supported; the model runs on token \
                 ids without it"
            ));
        }
    }
    Ok(())
}

fn vocabulary(
    file: &TokenizerJson,
    kind: TokenizerKind,
    settings: &Settings,
) -> Result<Vocabulary, TokenizerError> {
    let model = &file.model;
    let added = file.added_tokens.iter().map(|token| token.id);
    let mut builder = VocabularyBuilder::new(model.vocab.ids.iter().copied().chain(added), JSON)?;
    let unknown = model.unk_token.as_deref().map(str::as_bytes);
    for (&id, text) in model.vocab.ids.iter().zip(model.vocab.texts.iter()) {
        let kind = match byte_of(text) {
            Some(_) if model.byte_fallback => TokenKind::Byte,
            _ if unknown == Some(text) || model.unk_id == Some(id) => TokenKind::Unknown,
            _ => TokenKind::Normal,
        };
        builder.put(id, text, kind, JSON)?;
    }
    for token in &file.added_tokens {
        let text = token.content.as_bytes();
        builder.put(token.id, text, settings.kind_of(token), JSON)?;
    }
    builder.vocabulary(|text, token| match (kind, token) {
        (_, TokenKind::Control | TokenKind::Unknown) => Cow::Borrowed(text),
        (_, TokenKind::Byte) => match byte_of(text) {
            Some(byte) => Cow::Owned(vec![byte]),
            None => Cow::Borrowed(text),
        },
        (TokenizerKind::ByteLevelBpe, TokenKind::UserDefined) => Cow::Borrowed(text),
        (TokenizerKind::ByteLevelBpe, _) => byte_level::raw(text),
        (TokenizerKind::WordPiece, TokenKind::UserDefined) => Cow::Borrowed(text),
        (TokenizerKind::WordPiece, _) => match text.strip_prefix(CONTINUES.as_bytes()) {
            Some(rest) if !rest.is_empty() => Cow::Borrowed(rest),
            _ => Cow::Owned([b" ", text].concat()),
        },
        _ => unescape(text),
    })
}

fn ranked(
    file: &TokenizerJson,
    kind: TokenizerKind,
    vocabulary: &Vocabulary,
) -> Result<TokenizerModel, TokenizerError> {
    let model = &file.model;
    let sides = &model.merges.sides;
    let mut merges = Merges::with_capacity(sides.len() / 2);
    let mut joined = Vec::new();
    let raw = |text| match kind {
        TokenizerKind::ByteLevelBpe => byte_level::raw(text),
        _ => unescape(text),
    };
    let mut texts = sides.iter();
    for index in 0.. {
        let (Some(left), Some(right)) = (texts.next(), texts.next()) else {
            break;
        };
        merges.add(index, &raw(left), &raw(right), vocabulary, &mut joined)?;
    }
    let alphabet = match kind {
        TokenizerKind::ByteLevelBpe => {
            let mut bytes = [None; 256];
            for (byte, slot) in (0u8..=255).zip(&mut bytes) {
                *slot = vocabulary.find(&[byte]);
            }
            Alphabet::Bytes(bytes)
        }
        _ => {
            let unknown = model.unk_token.as_deref().and_then(|text| {
                let text = text.as_bytes();
                vocabulary
                    .find_control(text)
                    .or_else(|| vocabulary.find(text))
            });
            Alphabet::Characters(Fallback {
                bytes: match model.byte_fallback {
                    true => vocabulary.byte_tokens(),
                    false => [None; 256],
                },
                unknown,
                fuses_unknown: model.fuse_unk,
            })
        }
    };
    Ok(TokenizerModel::Ranked(Ranked {
        alphabet,
        merges,
        whole_words_first: model.ignore_merges,
    }))
}

fn from_model(bytes: &[u8], settings: &Settings) -> Result<Tokenizer, TokenizerError> {
    let file = SentencePiece::parse(bytes)?;
    let count = u32::try_from(file.kinds.len()).unwrap_or(u32::MAX);
    let ids = (0..count).chain(settings.added.iter().map(|token| token.id));
    let mut builder = VocabularyBuilder::new(ids, MODEL)?;
    for ((id, text), &kind) in (0..).zip(file.texts.iter()).zip(&file.kinds) {
        builder.put(id, text, kind, MODEL)?;
    }
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    for token in &settings.added {
        let kind = settings.kind_of(token);
        // Folders also list the tokens the model file has, sometimes with other flags.
        if token.id >= count {
            builder.put(
                token.id,
                token.content.as_bytes(),
                kind,
                "tokenizer_config.json",
            )?;
            raw.push(added_token(token, &token.content, kind)?);
        }
    }
    for ((id, text), &kind) in (0..).zip(file.texts.iter()).zip(&file.kinds) {
        if text.len() > limits::ADDED_TOKEN_LEN
            && (kind.is_control() || kind == TokenKind::UserDefined)
        {
            return Err(failure!(
                Limit,
                "{MODEL} piece {id} is a special token of {} bytes, expected at most {}",
                text.len(),
                limits::ADDED_TOKEN_LEN
            ));
        }
        match kind {
            TokenKind::Control | TokenKind::Unknown => raw.push(Added::plain(text, id, true)),
            TokenKind::UserDefined => normalized.push(Added::plain(text, id, false)),
            _ => {}
        }
    }
    let vocabulary = builder.vocabulary(|text, kind| match (kind, byte_of(text)) {
        (TokenKind::Control | TokenKind::Unknown, _) => Cow::Borrowed(text),
        (TokenKind::Byte, Some(byte)) => Cow::Owned(vec![byte]),
        _ => unescape(text),
    })?;
    let fallback = Fallback {
        bytes: match file.byte_fallback {
            true => vocabulary.byte_tokens(),
            false => [None; 256],
        },
        unknown: file.unknown,
        fuses_unknown: true,
    };
    let kind = match file.is_unigram {
        true => TokenizerKind::Unigram,
        false => TokenizerKind::SentencePieceBpe,
    };
    let model = if file.is_unigram {
        let scores = file.scores.iter().map(|&score| f64::from(score)).collect();
        TokenizerModel::Unigram(Unigram::new(&vocabulary, scores, fallback))
    } else {
        let order = file.scores.iter().filter_map(|&score| order_of(score));
        let mut order: Vec<u32> = order.collect();
        // Added tokens are never made by merging, so their order does not matter.
        order.resize(vocabulary.len(), u32::MAX);
        TokenizerModel::Scored(Scored { order, fallback })
    };
    let mut normalizer = Vec::new();
    if let Some(map) = file.charsmap {
        let by_grapheme = false;
        normalizer.push(NormalizerStep::Charsmap { map, by_grapheme });
    }
    if file.remove_extra_whitespaces {
        normalizer.push(NormalizerStep::CollapseSpaces);
    }
    if file.add_dummy_prefix {
        normalizer.push(NormalizerStep::Prepend(" ".to_string()));
    }
    normalizer.push(NormalizerStep::Replace {
        from: " ".to_string(),
        to: "▁".to_string(),
    });
    // What Hugging Face's slow tokenizers do: LLaMA's begins a text, T5's ends it.
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    if file.is_unigram {
        suffix.extend(file.eos.filter(|_| settings.adds_eos.is_none()));
    } else {
        prefix.extend(file.bos.filter(|_| settings.adds_bos.is_none()));
    }
    settings.finish(Tokenizer {
        kind,
        normalizer,
        normalized: AddedTokens::new(normalized),
        reads_metaspace: true,
        strips_space: file.add_dummy_prefix,
        prefix,
        suffix,
        bos: file.bos,
        eos: file.eos,
        ..Tokenizer::bare(vocabulary, model, AddedTokens::new(raw))
    })
}
