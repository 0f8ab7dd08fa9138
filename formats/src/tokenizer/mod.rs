//! Text to token ids and back.
//!
//! A [`Tokenizer`] is built from the metadata of a GGUF file or from the files of a Hugging
//! Face folder, and is the same thing afterwards. Encoding finds added tokens (`added`),
//! normalizes what lies between them (`normalize`), cuts it into words (`split`, the
//! pre-tokenizer) and turns each word into tokens (`model`). Control tokens come from text only
//! where the caller asks for it.

mod added;
mod byte_level;
mod charsmap;
mod class;
mod decode;
mod end_of_generation;
mod error;
mod export;
mod gguf;
mod gguf_keys;
mod gguf_vocabulary;
mod hf;
mod hf_pipeline;
mod hf_settings;
mod json;
mod limits;
mod merge;
mod model;
mod normalize;
mod pattern;
mod pattern_text;
mod pre_tokenizers;
mod rwkv;
mod sentencepiece;
mod split;
mod trie;
mod unigram;
mod vocabulary;
mod vocabulary_builder;
mod word_cache;
mod word_piece;

pub use decode::{DecodeOptions, Decoder, Position};
pub use error::{TokenizerError, TokenizerErrorKind};

use crate::manifest::Metadata;
use added::{AddedTokens, Segment};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use merge::Merger;
use model::TokenizerModel;
use normalize::{NormalizerStep, TextPlace, normalize};
use split::SplitStep;
use vocabulary::Vocabulary;

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
    /// The pre-tokenizer's own changes to text, made after added tokens are cut out: Metaspace
    /// writes spaces as `▁`, and Metaspace and ByteLevel may put a space in front.
    metaspace: Vec<NormalizerStep>,
    pre_tokenizer: Vec<SplitStep>,
    /// Whether words write spaces as `▁`, which the vocabulary, having real spaces, lacks.
    reads_metaspace: bool,
    /// Whether each word gets a space in front, as Metaspace does after another split.
    spaces_words: bool,
    /// Whether decoding takes one space away at the start of a text.
    strips_space: bool,
    /// Whether no token crosses from a non-space to a space, so that words may be cut there.
    cuts_at_spaces: bool,
    /// Tokens that the post-processor puts before and after a text.
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
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
    /// A unigram language model over characters (T5, XLM-R).
    Unigram,
    /// Greedy longest match of pieces of words (BERT).
    WordPiece,
    /// Greedy longest match of bytes, without words (RWKV).
    Longest,
}

impl TokenizerKind {
    /// What the field calls it.
    pub fn name(self) -> &'static str {
        match self {
            TokenizerKind::ByteLevelBpe => "byte-level BPE",
            TokenizerKind::SentencePieceBpe => "SentencePiece BPE",
            TokenizerKind::Unigram => "unigram",
            TokenizerKind::WordPiece => "WordPiece",
            TokenizerKind::Longest => "longest match",
        }
    }
}

/// How text becomes tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodeOptions {
    /// Puts the tokens around the text that the model expects (BOS, EOS), as its files say.
    /// A BOS that the text itself begins with is not doubled.
    pub add_special: bool,
    /// Lets the names of control tokens in the text become those tokens. Only for text that
    /// its author controls, such as a rendered chat template: never for what users typed.
    pub parse_special: bool,
}

impl EncodeOptions {
    /// The text alone: nothing around it, and nothing in it is a control token.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            add_special: false,
            parse_special: false,
        }
    }

    /// Sets [`add_special`](field@Self::add_special).
    #[must_use]
    pub const fn add_special(mut self, add_special: bool) -> Self {
        self.add_special = add_special;
        self
    }

    /// Sets [`parse_special`](field@Self::parse_special).
    #[must_use]
    pub const fn parse_special(mut self, parse_special: bool) -> Self {
        self.parse_special = parse_special;
        self
    }
}

/// The contents of those files of a Hugging Face folder that bear on text.
#[derive(Clone, Copy, Debug, Default)]
pub struct HfFiles<'a> {
    /// `tokenizer.json`
    pub tokenizer_json: Option<&'a [u8]>,
    /// `tokenizer.model` (SentencePiece)
    pub tokenizer_model: Option<&'a [u8]>,
    /// `rwkv_vocab_*.txt`, where there is neither
    pub rwkv_vocabulary: Option<&'a [u8]>,
    /// `tokenizer_config.json`
    pub tokenizer_config: Option<&'a [u8]>,
    /// `generation_config.json`
    pub generation_config: Option<&'a [u8]>,
    /// `config.json`, which says what ends a text where `generation_config.json` does not
    pub config: Option<&'a [u8]>,
    /// `special_tokens_map.json`
    pub special_tokens_map: Option<&'a [u8]>,
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

    /// The tokens of `text`.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Vec<u32> {
        let mut ids = Vec::new();
        if options.add_special {
            ids.extend_from_slice(&self.prefix);
        }
        let body = ids.len();
        let mut merger = Merger::for_text(text.len());
        self.raw
            .segments(text, options.parse_special, &mut |segment| match segment {
                Segment::Token(id) => ids.push(id),
                Segment::Text(range) => {
                    let place = match range.start {
                        0 => TextPlace::Start,
                        _ => TextPlace::Later,
                    };
                    let stretch = text.get(range).unwrap_or_default();
                    self.encode_stretch(stretch, place, options, &mut merger, &mut ids);
                }
            });
        if options.parse_special
            && ids
                .get(body..)
                .is_some_and(|ids| ids.starts_with(&self.prefix))
        {
            ids.drain(..body);
        }
        if options.add_special {
            ids.extend_from_slice(&self.suffix);
        }
        ids
    }

    /// Encodes the text between two added tokens.
    fn encode_stretch(
        &self,
        text: &str,
        place: TextPlace,
        options: EncodeOptions,
        merger: &mut Merger,
        ids: &mut Vec<u32>,
    ) {
        let text = normalize(&self.normalizer, text, place);
        let mut segment = |segment: Segment| match segment {
            Segment::Token(id) => ids.push(id),
            Segment::Text(range) => {
                let place = match range.start {
                    0 => place,
                    _ => TextPlace::Later,
                };
                let stretch = text.get(range).unwrap_or_default();
                let stretch = normalize(&self.metaspace, stretch, place);
                split::words(&self.pre_tokenizer, &stretch, &mut |word| {
                    let mut word = match self.reads_metaspace && word.contains('▁') {
                        true => Cow::Owned(word.replace('▁', " ")),
                        false => Cow::Borrowed(word),
                    };
                    if self.spaces_words && !word.starts_with(' ') {
                        word.to_mut().insert(0, ' ');
                    }
                    let mut rest = word.as_ref();
                    while self.cuts_at_spaces
                        && let Some(at) = space_after_text(rest.as_bytes())
                        && let Some((word, after)) = rest.split_at_checked(at)
                    {
                        self.model.encode(word, &self.vocabulary, merger, ids);
                        rest = after;
                    }
                    self.model.encode(rest, &self.vocabulary, merger, ids);
                });
            }
        };
        self.normalized
            .segments(&text, options.parse_special, &mut segment);
    }

    /// The family this tokenizer is of.
    pub fn kind(&self) -> TokenizerKind {
        self.kind
    }

    /// How many ids there are: one more than the largest.
    pub fn vocabulary_len(&self) -> usize {
        self.vocabulary.len()
    }

    /// The exact bytes a token stands for (a space is a space); control tokens stand for
    /// their names. `None` if no token has this id.
    pub fn piece(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.piece(id)
    }

    /// Whether it is a control token: text becomes one only with [`EncodeOptions::parse_special`].
    pub fn is_control(&self, id: u32) -> bool {
        self.vocabulary.kind(id).is_control()
    }

    /// The token with this exact text: a control token if there is one.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.vocabulary
            .find_control(text.as_bytes())
            .or_else(|| self.vocabulary.find(text.as_bytes()))
    }

    /// The token that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, if the model names one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The end-of-generation tokens (end of text, of turn, of message), ascending.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// A tokenizer with nothing around the vocabulary and the model.
    fn bare(vocabulary: Vocabulary, model: TokenizerModel, raw: AddedTokens) -> Tokenizer {
        Tokenizer {
            kind: TokenizerKind::ByteLevelBpe,
            cuts_at_spaces: model.cuts_at_spaces(&vocabulary),
            vocabulary,
            model,
            raw,
            normalizer: Vec::new(),
            normalized: AddedTokens::default(),
            metaspace: Vec::new(),
            pre_tokenizer: Vec::new(),
            reads_metaspace: false,
            spaces_words: false,
            strips_space: false,
            prefix: Vec::new(),
            suffix: Vec::new(),
            bos: None,
            eos: None,
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

/// The place of the first space that follows a non-space.
fn space_after_text(text: &[u8]) -> Option<usize> {
    let is_start = |pair: &[u8]| matches!(pair, [before, b' '] if *before != b' ');
    Some(1 + text.windows(2).position(is_start)?)
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
