//! Text to token ids and back.
//!
//! A [`Tokenizer`] is built from the metadata of a GGUF file or from the files of a Hugging
//! Face folder, and is the same thing afterwards. Encoding finds added tokens (`added`),
//! normalizes what lies between them (`normalize`), cuts it into words (`split`, the
//! pre-tokenizer) and turns each word into tokens (`model`). Control tokens come from text only
//! where the caller asks for it.

mod added;
mod beginning;
mod budget;
mod byte_level;
mod characters;
mod charsmap;
mod class;
mod decode;
mod decoder_chain;
mod encode;
mod end_of_generation;
mod error;
mod export;
mod expression;
mod expression_run;
mod expression_text;
mod gguf;
mod gguf_keys;
mod gguf_pre_tokenizers;
mod gguf_vocabulary;
mod hf;
mod hf_class;
mod hf_component;
mod hf_decoder;
mod hf_normalizer;
mod hf_pre_tokenizer;
mod hf_sentencepiece;
mod hf_settings;
mod hf_slow;
mod json;
mod json_tree;
mod language_codes;
mod limits;
mod merge;
mod model;
mod normalize;
mod offsets;
mod pattern;
mod pattern_rules;
mod pre_tokenizer;
mod rwkv;
mod score_order;
mod sentencepiece;
mod sentencepiece_classes;
mod sentencepiece_ids;
mod set;
mod split;
mod trie;
mod unigram;
mod vocabulary;
mod vocabulary_builder;
mod word_cache;
mod word_piece;

pub use decode::{DecodeOptions, Decoder, Position};
pub use encode::EncodeOptions;
pub use error::{TokenizerError, TokenizerErrorKind};
pub use export::GgufTokenizer;
pub use offsets::TokenOffset;

use crate::manifest::Metadata;
use added::AddedTokens;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use budget::TextBudget;
use core::fmt;
use decode::Decoding;
use decoder_chain::Chain;
use model::TokenizerModel;
use normalize::NormalizerStep;
use pre_tokenizer::PreTokenizerStep;
use vocabulary::{Texts, TokenKind, Vocabulary, byte_of};

/// Turns text into token ids and ids into text.
#[derive(Clone)]
pub struct Tokenizer {
    kind: TokenizerKind,
    vocabulary: Vocabulary,
    model: TokenizerModel,
    /// Added tokens that are searched for in the text as given.
    raw: AddedTokens,
    normalizer: Vec<NormalizerStep>,
    /// Added tokens that are searched for in normalized text.
    normalized: AddedTokens,
    pre_tokenizer: Vec<PreTokenizerStep>,
    /// Whether words come in byte-level's alphabet, and the model takes bytes.
    unmaps_words: bool,
    /// Whether words write spaces as `▁`, which the vocabulary, having real spaces, lacks.
    reads_metaspace: bool,
    /// The sign for a space before which words may be cut, since no token has it after another.
    cuts_before: Option<&'static str>,
    /// Whether `>>…<<` at the beginning of a text names the language to write, as a token.
    takes_language_code: bool,
    /// Whether text never has special tokens, whoever asks for them.
    splits_special: bool,
    decoding: Decoding,
    /// What ids stand for in the texts that the model writes, if that is another list.
    targets: Option<Vocabulary>,
    /// Tokens that the post-processor puts before and after a text.
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    mask: Option<u32>,
    end_tokens: Vec<u32>,
}

/// The families of tokenizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenizerKind {
    /// BPE whose smallest units are bytes (GPT-2, LLaMA 3, Qwen).
    ByteLevelBpe,
    /// BPE over characters with spaces as part of words (LLaMA 1 and 2, Mistral).
    SentencePieceBpe,
    /// BPE over characters of words (GPT).
    Bpe,
    /// A unigram language model over characters (T5, XLM-R).
    Unigram,
    /// Greedy longest match of pieces of words (BERT).
    WordPiece,
    /// A token for each word.
    WordLevel,
    /// Greedy longest match of bytes, without words (RWKV).
    Longest,
}

impl TokenizerKind {
    /// What the field calls it.
    pub fn name(self) -> &'static str {
        match self {
            TokenizerKind::ByteLevelBpe => "byte-level BPE",
            TokenizerKind::SentencePieceBpe => "SentencePiece BPE",
            TokenizerKind::Bpe => "BPE",
            TokenizerKind::Unigram => "unigram",
            TokenizerKind::WordPiece => "WordPiece",
            TokenizerKind::WordLevel => "word level",
            TokenizerKind::Longest => "longest match",
        }
    }
}

/// The contents of those files of a Hugging Face folder that bear on text.
#[derive(Clone, Copy, Debug, Default)]
pub struct HfFiles<'a> {
    /// `tokenizer.json`
    pub tokenizer_json: Option<&'a [u8]>,
    /// `tokenizer.model`, or `spiece.model` and other names of it (SentencePiece)
    pub tokenizer_model: Option<&'a [u8]>,
    /// `source.spm`, the pieces that Marian encodes with; their ids stand in `vocab.json`
    pub source_spm: Option<&'a [u8]>,
    /// `target_vocab.json`, if the languages have a vocabulary each
    pub target_vocab_json: Option<&'a [u8]>,
    /// `vocab.json`, with `merges.txt` or a SentencePiece model
    pub vocab_json: Option<&'a [u8]>,
    /// `merges.txt`
    pub merges_txt: Option<&'a [u8]>,
    /// `vocab.txt` (WordPiece)
    pub vocab_txt: Option<&'a [u8]>,
    /// `added_tokens.json`
    pub added_tokens: Option<&'a [u8]>,
    /// `rwkv_vocab_*.txt`, where there is none of these
    pub rwkv_vocabulary: Option<&'a [u8]>,
    /// `tokenizer_config.json`
    pub tokenizer_config: Option<&'a [u8]>,
    /// `generation_config.json`
    pub generation_config: Option<&'a [u8]>,
    /// `config.json`, which says what ends a text where `generation_config.json` does not, and
    /// which tokenizer it is where only a vocabulary is there
    pub config: Option<&'a [u8]>,
    /// `special_tokens_map.json`
    pub special_tokens_map: Option<&'a [u8]>,
}

impl HfFiles<'_> {
    /// The `tokenizer.json` that these files amount to, if they hold or amount to one.
    ///
    /// # Errors
    /// If a vocabulary without one is of a class that is not known, or is malformed.
    pub fn tokenizer_json(&self) -> Result<Option<Cow<'_, [u8]>>, TokenizerError> {
        hf::tokenizer_json(self)
    }
}

impl Tokenizer {
    /// The tokenizer in a GGUF file's metadata; `None` if the file has no vocabulary.
    ///
    /// # Errors
    /// If the vocabulary is of a kind, or names a pre-tokenizer, that is not supported, or
    /// if its parts contradict each other.
    pub fn from_gguf(metadata: &Metadata) -> Result<Option<Tokenizer>, TokenizerError> {
        gguf::tokenizer(metadata)
    }

    /// The tokenizer in the files of a Hugging Face folder: `tokenizer.json` if it is there,
    /// otherwise `tokenizer.model` or RWKV's vocabulary; `None` if none is.
    ///
    /// # Errors
    /// If the tokenizer is of a kind, or has a part, that is not supported, or if a file is
    /// malformed.
    pub fn from_hf(files: HfFiles<'_>) -> Result<Option<Tokenizer>, TokenizerError> {
        hf::tokenizer(&files)
    }

    /// Works out what each token stands for by the decoder's steps.
    fn show_pieces(&mut self) -> Result<(), TokenizerError> {
        let ids = self.vocabulary.ids();
        let len = ids.map(|id| self.vocabulary.key(id).map_or(0, <[u8]>::len));
        let budget = TextBudget::for_text(len.sum());
        let mut pieces = Texts::default();
        let mut shown = Vec::new();
        for id in self.vocabulary.ids() {
            shown.clear();
            let text = self.written(id);
            match (&self.decoding, self.vocabulary.kind(id)) {
                (_, TokenKind::Byte) => shown.extend(byte_of(&text)),
                (_, TokenKind::Control | TokenKind::Unknown) => shown.extend_from_slice(&text),
                (Decoding::Steps(steps), _) => {
                    let mut chain = Chain::new(steps, false);
                    chain.push(steps, &text, &budget, &mut shown);
                    chain.finish(steps, true, &mut shown);
                }
                (Decoding::Pieces { .. }, _) => return Ok(()),
            }
            if pieces.push(&shown).is_none() {
                return Ok(());
            }
        }
        budget.result()?;
        self.vocabulary.stand_for(pieces);
        Ok(())
    }

    /// The family this tokenizer is of.
    pub fn kind(&self) -> TokenizerKind {
        self.kind
    }

    /// How many ids there are: one more than the largest.
    pub fn vocabulary_len(&self) -> usize {
        self.vocabulary.listed_len()
    }

    /// Bytes of the longest token that texts are cut into, but for those that are added: a text of more
    /// bytes than so many tokens can stand for need not be cut to know that it is too long.
    pub fn longest_token(&self) -> usize {
        self.vocabulary.longest()
    }

    /// The exact bytes a token stands for (a space is a space); control tokens stand for
    /// their names. `None` if no token has this id.
    pub fn piece(&self, id: u32) -> Option<&[u8]> {
        self.written_vocabulary().piece(id)
    }

    /// Whether it is a control token: text becomes one only with [`EncodeOptions::parse_special`].
    pub fn is_control(&self, id: u32) -> bool {
        self.written_vocabulary().kind(id).is_control()
    }

    /// What ids stand for in texts that the model writes.
    fn written_vocabulary(&self) -> &Vocabulary {
        self.targets.as_ref().unwrap_or(&self.vocabulary)
    }

    /// The token with this exact text: a control token if there is one.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.vocabulary
            .find_control(text.as_bytes())
            .or_else(|| self.vocabulary.find(text.as_bytes()))
    }

    /// The tokens that the model expects before a text.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// The tokens that the model expects after a text.
    pub fn suffix(&self) -> &[u32] {
        &self.suffix
    }

    /// The token that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, if the model names one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that stands for a hidden one, if the model is masked.
    pub fn mask(&self) -> Option<u32> {
        self.mask
    }

    /// The token for what no other token covers, if there is one.
    pub fn unknown(&self) -> Option<u32> {
        self.model.unknown()
    }

    /// The end-of-generation tokens (end of text, of turn, of message), ascending.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// A tokenizer with nothing around the vocabulary and the model.
    fn bare(vocabulary: Vocabulary, model: TokenizerModel, raw: AddedTokens) -> Tokenizer {
        Tokenizer {
            kind: TokenizerKind::ByteLevelBpe,
            cuts_before: model.cuts_before(&vocabulary, " "),
            vocabulary,
            model,
            raw,
            normalizer: Vec::new(),
            normalized: AddedTokens::default(),
            pre_tokenizer: Vec::new(),
            unmaps_words: false,
            reads_metaspace: false,
            takes_language_code: false,
            splits_special: false,
            targets: None,
            decoding: Decoding::Pieces {
                strips_space: false,
            },
            prefix: Vec::new(),
            suffix: Vec::new(),
            bos: None,
            eos: None,
            mask: None,
            end_tokens: Vec::new(),
        }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("kind", &self.kind)
            .field("vocabulary_len", &self.vocabulary_len())
            .field("bos", &self.bos)
            .field("end_tokens", &self.end_tokens)
            .finish_non_exhaustive()
    }
}

/// Token text with `▁` written as the space it stands for.
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    const MARK: &[u8] = "▁".as_bytes();
    if !text.windows(MARK.len()).any(|window| window == MARK) {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match rest.strip_prefix(MARK) {
            Some(after) => {
                plain.push(b' ');
                rest = after;
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(plain)
}
