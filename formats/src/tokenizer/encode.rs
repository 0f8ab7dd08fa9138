//! Encoding: from a text to tokens.

use super::added::Segment;
use super::budget::TextBudget;
use super::error::TokenizerError;
use super::merge::Merger;
use super::normalize::normalize;
use super::{Tokenizer, beginning, byte_level, pre_tokenizer};
use alloc::borrow::Cow;
use alloc::vec::Vec;

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

/// What encoding one text needs.
struct EncodeWork {
    merger: Merger,
    budget: TextBudget,
    /// The bytes of a word that comes in byte-level's alphabet.
    bytes: Vec<u8>,
    with_control: bool,
}

impl Tokenizer {
    /// The tokens of `text`.
    ///
    /// # Errors
    /// If the tokenizer's files make a text grow, or be searched, without bound.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        if options.add_special {
            ids.extend_from_slice(&self.prefix);
        }
        let body = ids.len();
        let with_control = options.parse_special && !self.splits_special;
        let mut work = EncodeWork {
            merger: Merger::for_text(text.len()),
            budget: TextBudget::for_text(text.len()),
            bytes: Vec::new(),
            with_control,
        };
        self.raw
            .segments(text, with_control, &mut |segment| match segment {
                Segment::Token(id, _) => ids.push(id),
                Segment::Text(range) => {
                    let starts = range.start == 0;
                    let stretch = text.get(range).unwrap_or_default();
                    self.encode_stretch(stretch, starts, &mut work, &mut ids);
                }
            });
        work.budget.result()?;
        if with_control
            && ids
                .get(body..)
                .is_some_and(|ids| ids.starts_with(&self.prefix))
        {
            ids.drain(..body);
        }
        if options.add_special {
            ids.extend_from_slice(&self.suffix);
        }
        Ok(ids)
    }

    /// Encodes the text between two added tokens.
    fn encode_stretch(&self, text: &str, starts: bool, work: &mut EncodeWork, ids: &mut Vec<u32>) {
        let mut beginning = if starts { beginning::of(text) } else { 0 };
        let text = match self.takes_language_code {
            true => self.language_code(text, ids),
            false => text,
        };
        let text = normalize(&self.normalizer, text, &mut beginning, &work.budget);
        let with_control = work.with_control;
        let EncodeWork {
            merger,
            budget,
            bytes,
            ..
        } = work;
        let mut segment = |segment: Segment| match segment {
            Segment::Token(id, _) => ids.push(id),
            Segment::Text(range) => {
                let start = range.start;
                let stretch = text.get(range).unwrap_or_default();
                let beginning = beginning::within(beginning, stretch, start);
                pre_tokenizer::words(
                    &self.pre_tokenizer,
                    stretch,
                    beginning,
                    budget,
                    &mut |word| {
                        if self.unmaps_words {
                            byte_level::unmap(word, bytes);
                            let model = &self.model;
                            return model.encode(
                                bytes,
                                &self.vocabulary,
                                with_control,
                                merger,
                                ids,
                            );
                        }
                        let word = match self.reads_metaspace && word.contains('▁') {
                            true => Cow::Owned(word.replace('▁', " ")),
                            false => Cow::Borrowed(word),
                        };
                        self.encode_word(word.as_bytes(), with_control, merger, ids);
                    },
                );
            }
        };
        self.normalized.segments(&text, with_control, &mut segment);
    }

    /// Takes `>>…<<` off the beginning, as a token.
    fn language_code<'t>(&self, text: &'t str, ids: &mut Vec<u32>) -> &'t str {
        let end = text.starts_with(">>").then(|| text.find("<<")).flatten();
        let Some((code, rest)) = end.and_then(|end| text.split_at_checked(end + 2)) else {
            return text;
        };
        ids.extend(self.token(code).or(self.model.unknown()));
        rest
    }

    pub(super) fn encode_word(
        &self,
        word: &[u8],
        with_control: bool,
        merger: &mut Merger,
        ids: &mut Vec<u32>,
    ) {
        let (model, vocabulary) = (&self.model, &self.vocabulary);
        let mut rest = word;
        if let Some(sign) = self.cuts_before {
            while let Some(at) = sign_after_text(rest, sign.as_bytes())
                && let Some((word, after)) = rest.split_at_checked(at)
            {
                model.encode(word, vocabulary, with_control, merger, ids);
                rest = after;
            }
        }
        model.encode(rest, vocabulary, with_control, merger, ids);
    }
}

/// The place of the first sign that follows something else.
pub(super) fn sign_after_text(text: &[u8], sign: &[u8]) -> Option<usize> {
    let first = *sign.first()?;
    let mut signs_end = 0;
    for (at, _) in text.iter().enumerate().filter(|(_, byte)| **byte == first) {
        if text.get(at..)?.starts_with(sign) {
            if at > signs_end {
                return Some(at);
            }
            signs_end = at + sign.len();
        }
    }
    None
}
