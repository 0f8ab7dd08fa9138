//! Tokenizers from the files of a Hugging Face folder.

use super::added::AddedTokens;
use super::budget::TextBudget;
use super::characters::{Affixes, Fallback};
use super::decode::Decoding;
use super::decoder_chain::DecoderStep;
use super::error::{Shown, TokenizerError, failure};
use super::hf_sentencepiece::from_model;
use super::hf_settings::{Settings, added_token, parse_json};
use super::json::{AddedTokenJson, ModelJson, TokenizerJson};
use super::model::{Alphabet, Merges, Ranked, TokenizerModel};
use super::normalize::{NormalizerStep, normalize};
use super::pre_tokenizer::PreTokenizerStep;
use super::split::Matcher;
use super::unigram::Unigram;
use super::vocabulary::{TokenKind, Vocabulary, byte_of};
use super::vocabulary_builder::VocabularyBuilder;
use super::word_piece::{BERT_CHARACTERS, WordPiece};
use super::{HfFiles, Tokenizer, TokenizerKind, byte_level, hf_slow, rwkv};
use super::{hf_decoder, hf_normalizer, hf_pre_tokenizer, limits};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use hashbrown::{HashMap, HashSet};

pub(super) const JSON: &str = "tokenizer.json";

pub(super) fn tokenizer(files: &HfFiles<'_>) -> Result<Option<Tokenizer>, TokenizerError> {
    let mut settings = Settings::read(files)?;
    // Marian's class reads nothing else.
    if let Some(pieces) = files.source_spm {
        return from_model(pieces, files, &mut settings).map(Some);
    }
    if let Some(json) = files.tokenizer_json {
        if settings.class.keeps_post_processor {
            (settings.adds_bos, settings.adds_eos) = (None, None);
        }
        return from_json(json, &settings).map(Some);
    }
    if let Some(pieces) = files.tokenizer_model {
        return from_model(pieces, files, &mut settings).map(Some);
    }
    if let Some(json) = hf_slow::converted(files, &mut settings)? {
        return from_json(&json, &settings).map(Some);
    }
    let lines = files.rwkv_vocabulary;
    lines
        .map(|lines| rwkv::tokenizer(lines, &settings))
        .transpose()
}

pub(super) fn tokenizer_json<'a>(
    files: &HfFiles<'a>,
) -> Result<Option<Cow<'a, [u8]>>, TokenizerError> {
    if files.source_spm.is_some() {
        return Ok(None);
    }
    if let Some(json) = files.tokenizer_json {
        let class = Settings::read(files)?.class;
        return class.changed(json).map(Some);
    }
    if files.tokenizer_model.is_some() {
        return Ok(None);
    }
    let json = hf_slow::converted(files, &mut Settings::read(files)?)?;
    Ok(json.map(Cow::Owned))
}

pub(super) fn from_json(bytes: &[u8], settings: &Settings) -> Result<Tokenizer, TokenizerError> {
    let mut file: TokenizerJson = parse_json(bytes, JSON)?;
    settings
        .class
        .change(&mut file.normalizer, &mut file.pre_tokenizer);
    let own_tokens = add_named(&mut file, settings);
    let normalizer = hf_normalizer::normalizer(&file.normalizer)?;
    let mut pre_tokenizer = hf_pre_tokenizer::pre_tokenizer(&file.pre_tokenizer)?;
    let model_kind = model_kind(&file.model)?;
    let is_byte_level =
        model_kind == ModelKind::Bpe && is_byte_level(&file.model, &normalizer, &pre_tokenizer);
    let kind = match model_kind {
        ModelKind::WordPiece => TokenizerKind::WordPiece,
        ModelKind::WordLevel => TokenizerKind::WordLevel,
        ModelKind::Unigram => TokenizerKind::Unigram,
        ModelKind::Bpe if is_byte_level => TokenizerKind::ByteLevelBpe,
        ModelKind::Bpe if writes_metaspace(&normalizer, &pre_tokenizer) => {
            TokenizerKind::SentencePieceBpe
        }
        ModelKind::Bpe => TokenizerKind::Bpe,
    };
    // Where bytes are the last that is made of a word, the model takes them as they are.
    let ends_in_bytes = pre_tokenizer.last() == Some(&PreTokenizerStep::Bytes);
    let unmaps_words = is_byte_level && !ends_in_bytes;
    if is_byte_level && ends_in_bytes {
        pre_tokenizer.pop();
    }
    let vocabulary = vocabulary(&file, own_tokens, kind, settings)?;
    let model = match model_kind {
        ModelKind::WordPiece => word_piece(&file, &vocabulary)?,
        ModelKind::WordLevel => TokenizerModel::WordLevel {
            unknown: unknown_word(&file, "<unk>", &vocabulary)?,
        },
        ModelKind::Unigram => unigram(&file, &vocabulary)?,
        ModelKind::Bpe => ranked(&file, kind, &vocabulary)?,
    };
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    // Of those that normalization makes the same, the last of a list counts; in the reference it is
    // the first that is special, or else the first.
    let special = file.added_tokens.iter().filter(|token| token.special);
    let others = file.added_tokens.iter().filter(|token| !token.special);
    let texts = file.added_tokens.iter().map(|token| token.content.len());
    let budget = TextBudget::for_text(texts.sum());
    for token in special.chain(others).rev() {
        if token.normalized.unwrap_or(!token.special) {
            let text = normalize(&normalizer, &token.content, &mut 0, &budget);
            budget.result()?;
            normalized.push(added_token(settings, token, &text)?);
        } else {
            raw.push(added_token(settings, token, &token.content)?);
        }
    }
    let (prefix, suffix) = hf_decoder::post_processor(&file.post_processor)?;
    let decoding = match hf_decoder::decoder(&file.decoder)? {
        Decoding::Steps(steps) if is_byte_level && steps == [DecoderStep::Bytes] => {
            Decoding::Pieces {
                strips_space: false,
            }
        }
        decoding => decoding,
    };
    let mut tokenizer = Tokenizer {
        kind,
        normalizer,
        normalized: AddedTokens::new(normalized),
        pre_tokenizer,
        unmaps_words,
        decoding,
        prefix,
        suffix,
        cuts_before: model.cuts_before(&vocabulary, "▁"),
        ..Tokenizer::bare(vocabulary, model, AddedTokens::new(raw))
    };
    tokenizer.show_pieces()?;
    settings.finish(tokenizer)
}

/// Adds the tokens that the small files name and `tokenizer.json` does not, as its readers do: with
/// the ids of the vocabulary, or else with those that follow it. Returns how many `tokenizer.json`
/// has.
fn add_named(file: &mut TokenizerJson, settings: &Settings) -> usize {
    if let Some(added) = settings.gguf.as_ref().and_then(|gguf| gguf.added.clone()) {
        file.added_tokens = added;
        return file.added_tokens.len();
    }
    let own = file.added_tokens.len();
    if settings.says_flags {
        let listed = settings.added.iter();
        let listed: HashMap<&str, &AddedTokenJson> =
            listed.map(|said| (said.content.as_str(), said)).collect();
        for token in &mut file.added_tokens {
            if let Some(&said) = listed.get(token.content.as_str()) {
                *token = AddedTokenJson {
                    id: token.id,
                    special: token.special || said.special,
                    ..said.clone()
                };
            }
        }
    }
    let added = file.added_tokens.iter();
    let mut known: HashSet<String> = added.map(|token| token.content.clone()).collect();
    let mut is_new = |token: &AddedTokenJson| known.insert(token.content.clone());
    let listed = settings.added.iter().filter(|token| is_new(token));
    let mut listed: Vec<AddedTokenJson> = listed.cloned().collect();
    listed.sort_by_key(|token| token.id);
    let named = settings.special().filter(|token| is_new(token)).cloned();
    let named: Vec<AddedTokenJson> = named.collect();
    if listed.is_empty() && named.is_empty() {
        return own;
    }
    let vocabulary = &file.model.vocab;
    let known: HashMap<&[u8], u32> = vocabulary
        .texts
        .iter()
        .zip(vocabulary.ids.iter().copied())
        .collect();
    let taken: HashSet<u32> = known.values().copied().collect();
    let ids = file.added_tokens.iter().map(|token| token.id);
    let after = ids.max().map_or(0, |id| id.saturating_add(1));
    let mut next = after.max(u32::try_from(known.len()).unwrap_or(u32::MAX));
    let mut added = Vec::with_capacity(listed.len() + named.len());
    let is_listed = listed
        .iter()
        .map(|_| true)
        .chain(named.iter().map(|_| false));
    for (token, is_listed) in listed.iter().chain(&named).zip(is_listed) {
        let id = match known.get(token.content.as_bytes()) {
            Some(&id) => id,
            // A file that gives another's id to it is damaged, which is said later.
            None if is_listed && taken.contains(&token.id) => token.id,
            None => {
                next = next.saturating_add(1);
                next - 1
            }
        };
        added.push(AddedTokenJson {
            id,
            ..token.clone()
        });
    }
    file.added_tokens.append(&mut added);
    own
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ModelKind {
    Bpe,
    Unigram,
    WordPiece,
    WordLevel,
}

fn model_kind(model: &ModelJson) -> Result<ModelKind, TokenizerError> {
    match model.kind.as_deref() {
        Some("BPE") => Ok(ModelKind::Bpe),
        Some("WordPiece") => Ok(ModelKind::WordPiece),
        Some("Unigram") => Ok(ModelKind::Unigram),
        Some("WordLevel") => Ok(ModelKind::WordLevel),
        // Files from before models were named.
        None if !model.merges.sides.is_empty() => Ok(ModelKind::Bpe),
        None if !model.vocab.scores.is_empty() => Ok(ModelKind::Unigram),
        None if model.max_input_chars_per_word.is_some() => Ok(ModelKind::WordPiece),
        other => Err(failure!(
            Unsupported,
            "{JSON} has a model of type {}, supported are BPE, Unigram, WordPiece and WordLevel; \
             the model runs on token ids without it",
            Shown(other.unwrap_or("(none)").as_bytes())
        )),
    }
}

/// Whether the words of a BPE are of bytes, and nothing but splits comes after those are made.
fn is_byte_level(
    model: &ModelJson,
    normalizer: &[NormalizerStep],
    pre_tokenizer: &[PreTokenizerStep],
) -> bool {
    let is_bytes = |step: &PreTokenizerStep| *step == PreTokenizerStep::Bytes;
    let Some(made) = pre_tokenizer.iter().position(is_bytes) else {
        return false;
    };
    let after = pre_tokenizer.get(made + 1..).unwrap_or_default();
    let only_cuts = after.iter().all(|step| {
        matches!(
            step,
            PreTokenizerStep::Split(_) | PreTokenizerStep::Scripts | PreTokenizerStep::Length(_)
        )
    });
    let is_empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    // Bytes that the vocabulary lacks are unknown, if it says how to write that.
    let is_complete = || {
        let single = model
            .vocab
            .texts
            .iter()
            .filter(|text| byte_level::bytes_of(text).is_some_and(|bytes| bytes.len() == 1));
        single.count() >= 256
    };
    only_cuts
        && !normalizer.contains(&NormalizerStep::Bytes)
        && !model.byte_fallback
        && is_empty(&model.continuing_subword_prefix)
        && is_empty(&model.end_of_word_suffix)
        && (model.unk_token.is_none() || is_complete())
}

/// Whether words write spaces as ▁.
fn writes_metaspace(normalizer: &[NormalizerStep], pre_tokenizer: &[PreTokenizerStep]) -> bool {
    let replaces = |step: &NormalizerStep| matches!(step, NormalizerStep::Replace { from: Matcher::Text(from), to } if from == " " && to == "▁");
    let writes = |step: &PreTokenizerStep| matches!(step, PreTokenizerStep::Metaspace { .. });
    normalizer.iter().any(replaces) || pre_tokenizer.iter().any(writes)
}

fn word_piece(
    file: &TokenizerJson,
    vocabulary: &Vocabulary,
) -> Result<TokenizerModel, TokenizerError> {
    let model = &file.model;
    let continues = model.continuing_subword_prefix.as_deref().unwrap_or("##");
    let most = model.max_input_chars_per_word.unwrap_or(BERT_CHARACTERS);
    let unknown = unknown_word(file, "[UNK]", vocabulary)?;
    Ok(TokenizerModel::WordPiece(WordPiece::prefixed(
        vocabulary, continues, unknown, most,
    )?))
}

/// The token for words that are in no vocabulary.
fn unknown_word(
    file: &TokenizerJson,
    unsaid: &str,
    vocabulary: &Vocabulary,
) -> Result<u32, TokenizerError> {
    let name = file.model.unk_token.as_deref().unwrap_or(unsaid);
    vocabulary.find(name.as_bytes()).ok_or_else(|| {
        failure!(
            Malformed,
            "{JSON}: unk_token is {}, which is not in the vocabulary",
            Shown(name.as_bytes())
        )
    })
}

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
    let unknown = model.unk_id.map(|id| match model.vocab.ids.contains(&id) {
        true => Ok(id),
        false => Err(failure!(
            Malformed,
            "{JSON}: unk_id is {id}, which is not in the vocabulary"
        )),
    });
    let fallback = Fallback {
        bytes: match model.byte_fallback {
            true => vocabulary.byte_tokens(),
            false => [None; 256],
        },
        unknown: unknown.transpose()?,
        fuses_unknown: true,
    };
    let scores = model.vocab.scores.clone();
    Ok(TokenizerModel::Unigram(Unigram::new(
        vocabulary,
        vocabulary.made(),
        scores,
        fallback,
    )?))
}

/// The first of the added tokens, so many, are those of the file itself.
fn vocabulary(
    file: &TokenizerJson,
    own_tokens: usize,
    kind: TokenizerKind,
    settings: &Settings,
) -> Result<Vocabulary, TokenizerError> {
    let model = &file.model;
    let added = file.added_tokens.iter().map(|token| token.id);
    let mut builder = VocabularyBuilder::new(model.vocab.ids.iter().copied().chain(added), JSON)?;
    let unknown = model.unk_token.as_deref().map(str::as_bytes);
    let is_byte_level = kind == TokenizerKind::ByteLevelBpe;
    let mut made = Vec::with_capacity(model.vocab.ids.len());
    for (&id, text) in model.vocab.ids.iter().zip(model.vocab.texts.iter()) {
        let bytes = is_byte_level.then(|| byte_level::bytes_of(text));
        let kind = match byte_of(text) {
            Some(_) if model.byte_fallback => TokenKind::Byte,
            _ if unknown == Some(text) || model.unk_id == Some(id) => TokenKind::Unknown,
            _ if bytes == Some(None) => TokenKind::Foreign,
            _ => TokenKind::Normal,
        };
        builder.put(id, text, kind, JSON)?;
        if bytes != Some(None) {
            made.push(id);
        }
    }
    for (number, token) in file.added_tokens.iter().enumerate() {
        let text = token.content.as_bytes();
        let source = match number < own_tokens {
            true => JSON,
            false => "tokenizer_config.json",
        };
        builder.put(token.id, text, settings.kind_of(token), source)?;
    }
    let is_made: HashSet<u32> = made.iter().copied().collect();
    let mut vocabulary = builder.vocabulary(|id, text, _| match is_byte_level {
        true if is_made.contains(&id) => byte_level::raw(text),
        _ => Cow::Borrowed(text),
    })?;
    vocabulary.index_made(made);
    Ok(vocabulary)
}

fn ranked(
    file: &TokenizerJson,
    kind: TokenizerKind,
    vocabulary: &Vocabulary,
) -> Result<TokenizerModel, TokenizerError> {
    let model = &file.model;
    if let Some(dropout) = model.dropout.filter(|dropout| *dropout != 0.0) {
        return Err(failure!(
            Unsupported,
            "{JSON}: dropout is {dropout}, which cuts words at random and is for training; set it \
             to null"
        ));
    }
    let sides = &model.merges.sides;
    let mut merges = Merges::with_capacity(sides.len() / 2);
    let mut joined = Vec::new();
    let is_byte_level = kind == TokenizerKind::ByteLevelBpe;
    let affixes = Affixes {
        continues: model.continuing_subword_prefix.clone().unwrap_or_default(),
        ends: model.end_of_word_suffix.clone().unwrap_or_default(),
    };
    for affix in [&affixes.continues, &affixes.ends] {
        if affix.len() > limits::INSERTED_LEN {
            return Err(failure!(
                Limit,
                "{JSON}: what the model writes around characters has {} bytes, at most {} are",
                affix.len(),
                limits::INSERTED_LEN
            ));
        }
    }
    let mut texts = sides.iter();
    for index in 0.. {
        let (Some(left), Some(right)) = (texts.next(), texts.next()) else {
            break;
        };
        let continues = affixes.continues.as_bytes();
        if !is_byte_level {
            merges.add(index, (left, right), continues, vocabulary, &mut joined)?;
            continue;
        }
        // Others are of no word.
        if let Some((left, right)) = byte_level::bytes_of(left).zip(byte_level::bytes_of(right)) {
            merges.add(index, (&left, &right), continues, vocabulary, &mut joined)?;
        }
    }
    let alphabet = match is_byte_level {
        true => {
            let mut bytes = [None; 256];
            for (byte, slot) in (0u8..=255).zip(&mut bytes) {
                *slot = vocabulary.find(&[byte]);
            }
            Alphabet::Bytes(bytes)
        }
        false => {
            let unknown = model.unk_token.as_deref();
            Alphabet::Characters(Fallback {
                bytes: match model.byte_fallback {
                    true => vocabulary.byte_tokens(),
                    false => [None; 256],
                },
                unknown: unknown.and_then(|text| vocabulary.find(text.as_bytes())),
                fuses_unknown: model.fuse_unk,
            })
        }
    };
    Ok(TokenizerModel::Ranked(Ranked {
        alphabet,
        merges,
        affixes,
        whole_words_first: model.ignore_merges,
    }))
}
