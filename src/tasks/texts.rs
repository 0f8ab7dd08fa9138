//! From texts to what a model takes.

use super::run::TokenInput;
use crate::error::{LoadError, RunError};
use crate::model::Model;
use rillm_formats::tokenizer::{EncodeOptions, TokenOffset, Tokenizer};
use std::ops::Range;

/// The most tokens that a model takes, those around a text among them: what its positions, its
/// training and its tokenizer allow.
pub(super) fn max_length(model: &Model) -> usize {
    let limits = model.limits();
    let positions = match model.encodes() {
        true => limits.source_positions,
        false => limits.positions,
    };
    let positions = usize::try_from(positions).ok();
    let metadata = &model.manifest().metadata;
    let in_gguf = metadata.u64("tokenizer.rillm.model_max_length");
    let said = model.tokenizer_files().model_max_length().map(u64::from);
    let said = said.or(in_gguf.filter(|length| *length > 0));
    let said = said.and_then(|length| usize::try_from(length).ok());
    let all = [positions, model.context(), said];
    all.into_iter().flatten().min().unwrap_or(usize::MAX)
}

/// A text with the tokens around it, cut to so many in all; whether it was longer.
pub(super) fn single(
    model: &Model,
    text: &str,
    max_length: usize,
) -> Result<(TokenInput, bool), RunError> {
    let tokenizer = model.tokenizer().map_err(input)?;
    let (prefix, suffix) = (tokenizer.prefix(), tokenizer.suffix());
    let body = tokenizer
        .encode(text, EncodeOptions::new())
        .map_err(input)?;
    let room = max_length.saturating_sub(prefix.len() + suffix.len());
    let kept = &body[..body.len().min(room)];
    let input = alone(tokenizer, [prefix, kept, suffix].concat());
    Ok((input, kept.len() < body.len()))
}

/// Which of two texts is cut when both are too long together (names as in transformers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truncation {
    /// The longer one, then both alike.
    LongestFirst,
    OnlyFirst,
}

impl Truncation {
    /// How many tokens stay of texts of so many, of which so many may.
    fn kept(self, (first, second): (usize, usize), room: usize) -> (usize, usize) {
        if first + second <= room {
            return (first, second);
        }
        match self {
            Truncation::OnlyFirst => (room.saturating_sub(second), second),
            Truncation::LongestFirst => {
                let (short, long) = (first.min(second), first.max(second));
                let mut kept = (
                    short,
                    if short > room {
                        short
                    } else {
                        short.max(room - short)
                    },
                );
                if kept.0 + kept.1 > room {
                    kept = (room / 2, room / 2 + room % 2);
                }
                // The longer one keeps the odd one.
                if first > long.min(second) {
                    (kept.1, kept.0)
                } else {
                    kept
                }
            }
        }
    }
}

/// Two texts with the tokens around and between them, cut to so many in all; whether they were
/// longer.
pub(super) fn pair(
    model: &Model,
    first: &str,
    second: &str,
    max_length: usize,
    truncation: Truncation,
) -> Result<(TokenInput, bool), RunError> {
    let tokenizer = model.tokenizer().map_err(input)?;
    let (prefix, suffix) = (tokenizer.prefix(), tokenizer.suffix());
    let between = separator(tokenizer);
    let encode = |text: &str| tokenizer.encode(text, EncodeOptions::new()).map_err(input);
    let (first, second) = (encode(first)?, encode(second)?);
    let around = prefix.len() + between.len() + suffix.len();
    let room = max_length.saturating_sub(around);
    let lengths = (first.len(), second.len());
    let kept = truncation.kept(lengths, room);
    if kept.0 + kept.1 > room {
        let what = format!(
            "the second text has {} tokens, which leaves none of {max_length} for the first",
            second.len()
        );
        return Err(RunError::Input(what));
    }
    let begin = [prefix, &first[..kept.0], &between].concat();
    let end = [&second[..kept.1], suffix].concat();
    Ok((joined(model, tokenizer, begin, end), kept != lengths))
}

/// A part of a text as a model takes it, and where its tokens stand in the text.
#[derive(Clone, Debug)]
pub(super) struct TextWindow {
    pub(super) input: TokenInput,
    /// For each token its place; none for those around the text.
    pub(super) places: Vec<Option<TokenOffset>>,
}

/// A text in windows of at most so many tokens, those around them counted, each of which has `stride`
/// tokens in common with the next.
pub(super) fn windows(
    model: &Model,
    text: &str,
    max_length: usize,
    stride: usize,
) -> Result<Vec<TextWindow>, RunError> {
    let tokenizer = model.tokenizer().map_err(input)?;
    let (prefix, suffix) = (tokenizer.prefix(), tokenizer.suffix());
    let body = tokenizer.encode_with_offsets(text).map_err(input)?;
    let room = max_length.saturating_sub(prefix.len() + suffix.len());
    let windows = cut(body.len(), room, stride).map(|range| {
        let body = &body[range];
        let ids: Vec<u32> = body.iter().map(|token| token.id).collect();
        TextWindow {
            input: alone(tokenizer, [prefix, &ids, suffix].concat()),
            places: around(prefix.len(), body, suffix.len()),
        }
    });
    Ok(windows.collect())
}

/// A question before each window of a context; the question's tokens have no places.
pub(super) fn question_windows(
    model: &Model,
    question: &str,
    context: &str,
    max_length: usize,
    stride: usize,
) -> Result<Vec<TextWindow>, RunError> {
    let tokenizer = model.tokenizer().map_err(input)?;
    let (prefix, suffix) = (tokenizer.prefix(), tokenizer.suffix());
    let between = separator(tokenizer);
    let question = tokenizer
        .encode(question, EncodeOptions::new())
        .map_err(input)?;
    let body = tokenizer.encode_with_offsets(context).map_err(input)?;
    let taken = prefix.len() + question.len() + between.len() + suffix.len();
    let room = max_length.saturating_sub(taken);
    if stride >= room && body.len() > room {
        let what = format!(
            "the question and what stands around it have {taken} tokens, which leaves {room} of \
             {max_length} for the context, expected more than the stride of {stride}"
        );
        return Err(RunError::Input(what));
    }
    let windows = cut(body.len(), room, stride).map(|range| {
        let body = &body[range];
        let begin = [prefix, &question, &between].concat();
        let mut end: Vec<u32> = body.iter().map(|token| token.id).collect();
        end.extend_from_slice(suffix);
        let places = around(begin.len(), body, suffix.len());
        TextWindow {
            input: joined(model, tokenizer, begin, end),
            places,
        }
    });
    Ok(windows.collect())
}

fn around(before: usize, body: &[TokenOffset], after: usize) -> Vec<Option<TokenOffset>> {
    let body = body.iter().copied().map(Some);
    let before = std::iter::repeat_n(None, before);
    before
        .chain(body)
        .chain(std::iter::repeat_n(None, after))
        .collect()
}

/// Ranges of at most `room`, each of which begins `stride` before the end of the one before it; at
/// least one.
fn cut(len: usize, room: usize, stride: usize) -> impl Iterator<Item = Range<usize>> {
    let step = room.saturating_sub(stride).max(1);
    let mut start = Some(0);
    std::iter::from_fn(move || {
        let begin = start?;
        let end = len.min(begin + room);
        start = (end < len && room > 0).then_some(begin + step);
        Some(begin..end)
    })
}

/// A text with what is around it.
fn alone(tokenizer: &Tokenizer, ids: Vec<u32>) -> TokenInput {
    let mut types = Vec::new();
    if class_is_last(tokenizer) {
        types.resize(ids.len(), 0);
        types.splice(ids.len().saturating_sub(1).., [CLASS_TYPE]);
    }
    TokenInput { ids, types }
}

/// Two texts with what is around them; the second is of another token type, where there are any.
fn joined(model: &Model, tokenizer: &Tokenizer, begin: Vec<u32>, end: Vec<u32>) -> TokenInput {
    let mut types = match model.limits().token_types {
        u64::MAX | 0 | 1 => Vec::new(),
        _ => [vec![0; begin.len()], vec![1; end.len()]].concat(),
    };
    if let Some(last) = types.last_mut().filter(|_| class_is_last(tokenizer)) {
        *last = CLASS_TYPE;
    }
    let ids = [begin, end].concat();
    TokenInput { ids, types }
}

/// The type of the token for a text's class where that stands last, as XLNet has it.
const CLASS_TYPE: u32 = 2;

/// Whether a text ends with a separator and then with the token for its class.
fn class_is_last(tokenizer: &Tokenizer) -> bool {
    matches!(tokenizer.suffix(), [_, last] if tokenizer.piece(*last) == Some(b"<cls>"))
}

/// What stands between two texts: what ends one, without the token for the class, and in RoBERTa's
/// manner what ends one twice.
fn separator(tokenizer: &Tokenizer) -> Vec<u32> {
    let suffix = tokenizer.suffix();
    let is_doubled = matches!(suffix, [only] if tokenizer.piece(*only) == Some(b"</s>"));
    match suffix {
        [separator, _] if class_is_last(tokenizer) => vec![*separator],
        _ if is_doubled => [suffix, suffix].concat(),
        _ => suffix.to_vec(),
    }
}

/// Why a text cannot be given to a model.
pub(super) fn input(error: impl Into<LoadError>) -> RunError {
    RunError::Input(error.into().to_string())
}
