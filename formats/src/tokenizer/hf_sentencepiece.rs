//! Tokenizers from a SentencePiece model and the small files beside it.

use super::added::{Added, AddedTokens};
use super::characters::Fallback;
use super::decode::Decoding;
use super::error::{TokenizerError, failure};
use super::hf_settings::{Settings, added_token};
use super::model::{Scored, TokenizerModel};
use super::normalize::NormalizerStep;
use super::score_order::order_of;
use super::sentencepiece::SentencePiece;
use super::sentencepiece_classes::numbered;
use super::sentencepiece_ids::NumberedPieces;
use super::split::Matcher;
use super::unigram::Unigram;
use super::vocabulary::{TokenKind, Vocabulary, byte_of};
use super::vocabulary_builder::VocabularyBuilder;
use super::{HfFiles, Tokenizer, TokenizerKind, limits, unescape};
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

const MODEL: &str = "tokenizer.model";

pub(super) fn from_model(
    bytes: &[u8],
    files: &HfFiles<'_>,
    settings: &mut Settings,
) -> Result<Tokenizer, TokenizerError> {
    let numbered = numbered(SentencePiece::parse(bytes)?, files, settings)?;
    let NumberedPieces {
        pieces: file,
        unlisted,
        ..
    } = numbered;
    let count = u32::try_from(file.kinds.len()).unwrap_or(u32::MAX);
    let ids = (0..count).chain(settings.added.iter().map(|token| token.id));
    let mut builder = VocabularyBuilder::new(ids, MODEL)?;
    for ((id, text), &kind) in (0..).zip(file.texts.iter()).zip(&file.kinds) {
        if kind != TokenKind::Absent {
            builder.put(id, text, kind, MODEL)?;
        }
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
            raw.push(added_token(settings, token, &token.content)?);
        }
    }
    for ((id, text), &kind) in (0..).zip(file.texts.iter()).zip(&file.kinds) {
        if text.len() > limits::SEARCHED_LEN
            && (kind.is_control() || kind == TokenKind::UserDefined)
        {
            return Err(failure!(
                Limit,
                "{MODEL} piece {id} is a special token of {} bytes, expected at most {}",
                text.len(),
                limits::SEARCHED_LEN
            ));
        }
        match kind {
            TokenKind::Control | TokenKind::Unknown => raw.push(settings.special_piece(text, id)),
            TokenKind::UserDefined => normalized.push(Added::plain(text, id, false)),
            _ => {}
        }
    }
    let mut vocabulary = builder.vocabulary(|_, text, kind| match (kind, byte_of(text)) {
        (TokenKind::Control | TokenKind::Unknown, _) => Cow::Borrowed(text),
        (TokenKind::Byte, Some(byte)) => Cow::Owned(vec![byte]),
        _ => unescape(text),
    })?;
    vocabulary.unlist(unlisted);
    let targets = numbered
        .targets
        .map(|list| target_vocabulary(&list, &vocabulary));
    let targets = targets.transpose()?;
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
        let pieces = vocabulary.normal();
        TokenizerModel::Unigram(Unigram::new(&vocabulary, pieces, scores, fallback)?)
    } else {
        let order = file.scores.iter().filter_map(|&score| order_of(score));
        let mut order: Vec<u32> = order.collect();
        // Added tokens are never made by merging, so their order does not matter.
        order.resize(vocabulary.len(), u32::MAX);
        TokenizerModel::Scored(Scored { order, fallback })
    };
    let mut normalizer = Vec::new();
    if numbered.lowercases {
        normalizer.push(NormalizerStep::Lowercase);
    }
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
        from: Matcher::Text(" ".to_string()),
        to: "▁".to_string(),
    });
    // What Hugging Face's slow tokenizers do: LLaMA's begins a text, T5's ends it.
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    if let Some(around) = numbered.around {
        (prefix, suffix) = around;
    } else if file.is_unigram {
        suffix.extend(file.eos.filter(|_| settings.adds_eos.is_none()));
    } else {
        prefix.extend(file.bos.filter(|_| settings.adds_bos.is_none()));
    }
    settings.finish(Tokenizer {
        kind,
        normalizer,
        normalized: AddedTokens::new(normalized),
        reads_metaspace: true,
        decoding: Decoding::Pieces {
            strips_space: file.add_dummy_prefix,
        },
        takes_language_code: numbered.takes_language_code,
        targets,
        prefix,
        suffix,
        bos: file.bos,
        eos: file.eos,
        ..Tokenizer::bare(vocabulary, model, AddedTokens::new(raw))
    })
}

/// What ids stand for where the languages have a vocabulary each; control tokens by their names.
fn target_vocabulary(
    list: &[(u32, String)],
    source: &Vocabulary,
) -> Result<Vocabulary, TokenizerError> {
    const FILE: &str = "target_vocab.json";
    let mut builder = VocabularyBuilder::new(list.iter().map(|(id, _)| *id), FILE)?;
    for (id, text) in list {
        let kind = match source.find_control(text.as_bytes()) {
            Some(control) => source.kind(control),
            None => TokenKind::Unused,
        };
        builder.put(*id, text.as_bytes(), kind, FILE)?;
    }
    builder.vocabulary(|_, text, kind| match kind.is_control() {
        true => Cow::Borrowed(text),
        false => unescape(text),
    })
}
